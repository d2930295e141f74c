//! `skm audit`: the audit log, read and verified.

use std::path::{Path, PathBuf};

use super::configuration;
use super::exit::{Exit, Failure};

/// `skm audit`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Print the newest records, oldest first
    Tail {
        /// How many
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,
        /// Go on with every new record
        #[arg(long, short)]
        follow: bool,
        /// One JSON object per record
        #[arg(long)]
        json: bool,
    },
    /// Prove that no record was changed, dropped, reordered or cut off
    Verify {
        /// The public key of the checkpoints (PEM), kept apart from the database [default: the one in the database]
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// Checkpoints that were kept apart from the database, as the log prints them: each must still be there
        #[arg(long, value_name = "FILE")]
        anchor: Option<PathBuf>,
    },
}

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    let _config = configuration::load(named, true)?;
    Err(Failure::new(Exit::Failed, format!("{arguments:?}: not built yet")))
}
