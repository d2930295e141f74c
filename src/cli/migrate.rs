//! `skm migrate`: the database's schema.

use std::path::Path;

use super::exit::{Exit, Failure};
use super::lock::DataDirectoryLock;
use super::{configuration, output};
use crate::store::Store;

pub(super) fn run(named: Option<&Path>) -> Result<(), Failure> {
    let config = configuration::load(named, true)?;
    let settings = configuration::store_settings(&config)?;
    let _lock = DataDirectoryLock::take(&config.server.data_dir).map_err(|error| Failure::new(Exit::Locked, error.to_string()))?;
    let ran = Store::migrate(&settings.database)?;
    for migration in &ran {
        output::line(&format!("ran {migration}"))?;
    }
    Ok(output::line(if ran.is_empty() { "the schema is up to date" } else { "the schema is now up to date" })?)
}
