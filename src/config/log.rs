//! `[log]`: what is logged to standard error, and how.

use tracing_subscriber::EnvFilter;

use super::document::section;
use super::setting::FromText;

section! {
    /// `[log]`
    pub Log is "log" {
        /// How a line looks.
        format: LogFormat = LogFormat::Json;
        /// What is logged: a level, or levels by target.
        filter: String = "info".to_owned(), filter;
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Human,
}

impl FromText for LogFormat {
    const ALLOWED: &'static str = "\"json\" or \"human\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "human" => Some(Self::Human),
            _ => None,
        }
    }
}

fn filter(filter: &String) -> Result<(), String> {
    let allowed = "must be a level (error, warn, info, debug, trace) or levels by target, such as \"info,skm::api=debug\"";
    EnvFilter::try_new(filter).map(|_| ()).map_err(|_| allowed.to_owned())
}
