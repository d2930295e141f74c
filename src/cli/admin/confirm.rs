//! Before something is lost: `--yes`, or a question at the terminal.

use std::io::{self, BufRead as _, IsTerminal as _};

use crate::cli::exit::{Exit, Failure};
use crate::cli::output;

/// The longest answer that is read.
const ANSWER_MAX_BYTES: u64 = 64;

/// `--yes`
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Confirmation {
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

impl Confirmation {
    /// Asks, unless that was answered on the command line.
    pub(super) fn ask(self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::new(Exit::Usage, format!("{question} Say --yes: there is no terminal to ask at")));
        }
        output::question(&format!("{question} [y/N] "))?;
        let mut answer = String::new();
        io::Read::take(io::stdin().lock(), ANSWER_MAX_BYTES).read_line(&mut answer)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::new(Exit::Failed, "nothing was done")) }
    }
}
