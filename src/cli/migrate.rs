//! `skm migrate`: the database's schema.

use std::path::Path;

use super::configuration;
use super::exit::{Exit, Failure};

pub(super) fn run(named: Option<&Path>) -> Result<(), Failure> {
    let config = configuration::load(named, true)?;
    let _settings = configuration::store_settings(&config)?;
    Err(Failure::new(Exit::Failed, "migrate: not built yet"))
}
