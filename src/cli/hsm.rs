//! `skm hsm`: the token, looked at without a running service.

use std::path::Path;

use super::configuration;
use super::exit::{Exit, Failure};

/// `skm hsm`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Open the token, try what the service needs of it, and say how it did
    Probe,
    /// List the token's objects with what tells whether they are protected
    Objects,
}

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    let file = configuration::file(named)?;
    let config = configuration::load(Some(&file), true)?;
    let _settings = configuration::token_settings(&config, &file)?;
    Err(Failure::new(Exit::Failed, format!("hsm {arguments:?}: not built yet")))
}
