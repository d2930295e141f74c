//! Commands of operators, `skm admin` and others: carried out by the process that owns the data directory, since there is one.
//! That is the running server, reached over its socket, or else the command itself, once it has the directory's lock.
//!
//! ```text
//! skm admin, backup, hsm orphans … ──► reach ──► lock taken: token and database opened here ─┐
//!                                        └─────► lock held: socket ──► the server ───────────┴─► Command::run ──► service
//! ```
//!
//! A new command is a type that implements [`Command`], in a file of its own, and a line in [`commands`].

pub(super) mod reach;
mod reply;
pub(super) mod socket;

use std::path::PathBuf;

use axum::Router;
use axum::routing::post;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::assembly::Assembly;
use super::backup;
use super::exit::Failure;
use crate::service::{Operator, Service};
use crate::store::Store;

/// What commands work on.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    pub(super) service: Service,
    pub(super) store: Store,
    /// Where the token keeps its files, if it does.
    pub(super) token_directory: Option<PathBuf>,
}

impl Admin {
    pub(super) fn new(assembly: &Assembly, token_directory: Option<PathBuf>) -> Self {
        Self { service: assembly.service.clone(), store: assembly.store.clone(), token_directory }
    }
}

/// A command as it crosses the socket: the type is the request, in JSON, and should refuse unknown fields.
pub(super) trait Command: Serialize + DeserializeOwned + Send + 'static {
    /// Its place on the socket, `/project/create`.
    const PATH: &'static str;
    /// What it answers, in JSON.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Carries it out, on behalf of `operator`. A failure carries exit code and message to whoever typed the command. It runs to
    /// its end even if nobody waits for it any more.
    fn run(self, admin: Admin, operator: Operator) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;
}

/// The commands that the server takes.
#[derive(Default)]
pub(super) struct Commands(Router<Admin>);

impl Commands {
    /// These and one more.
    pub(super) fn with<C: Command>(self) -> Self {
        Self(self.0.route(C::PATH, post(socket::answer::<C>)))
    }
}

fn commands() -> Commands {
    Commands::default().with::<backup::BackUp>()
}
