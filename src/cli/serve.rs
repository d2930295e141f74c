//! `skm serve`: the service.

use std::path::Path;

use super::configuration;
use super::exit::{Exit, Failure};

/// `skm serve`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Accept settings that are too weak for production
    #[arg(long)]
    dev: bool,
}

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    let _config = configuration::load(named, arguments.dev)?;
    Err(Failure::new(Exit::Failed, "serve: not built yet"))
}
