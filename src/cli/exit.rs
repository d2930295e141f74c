//! How a command ends.

use std::io;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// The exit codes, for `skm --help`. Those from 64 up are BSD's `sysexits.h`.
pub const HELP: &str = "Exit codes:
  0   done
  1   it failed; standard error says why
  2   the command line is wrong
  3   the answer is no: the signature is not valid, the audit log was altered, token and database differ
  69  service, token or database can't be used now: try later
  70  the token hangs: the process left without cleaning up and wants to be started again
  75  another process has the data directory
  77  the service refuses this caller
  78  the configuration is wrong; everything that is wrong is on standard error";

/// How a command ends when it isn't done. See [`HELP`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The answer is no.
    No = 3,
    /// Something that it needs can't be used now.
    Unavailable = 69,
    /// The token hangs; the supervisor starts the process again.
    HandOff = 70,
    /// Another process has the data directory.
    Locked = 75,
    /// The service refuses the caller.
    Refused = 77,
    /// The configuration is wrong.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command isn't done, in words for whoever typed it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    exit: Exit,
    lines: Vec<String>,
}

impl Failure {
    /// A failure that is said in one line.
    pub fn new(exit: Exit, line: impl Into<String>) -> Self {
        Self { exit, lines: vec![line.into()] }
    }

    /// A failure that is said in several lines.
    pub fn of_lines(exit: Exit, lines: Vec<String>) -> Self {
        Self { exit, lines }
    }

    /// A failure about which everything has been said.
    pub fn silent(exit: Exit) -> Self {
        Self { exit, lines: Vec::new() }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What is said on standard error.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever read our output has seen enough (`skm … | head`).
        if error.kind() == io::ErrorKind::BrokenPipe { Self::silent(Exit::Failed) } else { Self::new(Exit::Failed, error.to_string()) }
    }
}
