//! `skm backup` and `skm restore`.

use std::path::{Path, PathBuf};

use super::configuration;
use super::exit::{Exit, Failure};

/// `skm backup`
#[derive(Debug, clap::Args)]
pub(super) struct BackupArguments {
    /// The directory to make; it must not exist, or be empty
    #[arg(value_name = "DIRECTORY")]
    target: PathBuf,
}

/// `skm restore`
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArguments {
    /// The directory that `skm backup` made
    #[arg(value_name = "DIRECTORY")]
    source: PathBuf,
}

pub(super) fn back_up(named: Option<&Path>, arguments: &BackupArguments) -> Result<(), Failure> {
    let _config = configuration::load(named, true)?;
    Err(Failure::new(Exit::Failed, format!("backup to {}: not built yet", arguments.target.display())))
}

pub(super) fn restore(named: Option<&Path>, arguments: &RestoreArguments) -> Result<(), Failure> {
    let _config = configuration::load(named, true)?;
    Err(Failure::new(Exit::Failed, format!("restore from {}: not built yet", arguments.source.display())))
}
