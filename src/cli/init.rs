//! `skm init`: token, database, certificate authority, first administrator.

use std::path::{Path, PathBuf};

use super::configuration;
use super::exit::{Exit, Failure};

/// `skm init`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Make a whole installation to try things with: a SoftHSM2 token, SQLite, demo keys. Reuses what is there
    #[arg(long)]
    dev: bool,
    /// Where that installation is
    #[arg(long, value_name = "DIRECTORY", default_value = ".skm", requires = "dev")]
    directory: PathBuf,
}

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.dev {
        let _config = configuration::load(named, false)?;
    }
    Err(Failure::new(Exit::Failed, format!("init into {}: not built yet", arguments.directory.display())))
}
