//! Commands of operators, `skm admin` and others: carried out by the process that owns the data directory, since there is one.
//! That is the running server, reached over its socket, or else the command itself, once it has the directory's lock.
//!
//! ```text
//! skm admin, backup, hsm orphans … ──► reach ──► lock taken: token and database opened here ─┐
//!                                        └─────► lock held: socket ──► the server ───────────┴─► Command::run ──► service
//! ```
//!
//! A new command is a type that implements [`Command`], in a file of its own, and a line in [`commands`].

mod access_key;
mod account;
mod appkey;
mod approval;
mod confirm;
mod list;
mod project;
pub(super) mod reach;
mod reply;
mod role;
pub(super) mod socket;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use super::assembly::Assembly;
use super::exit::{Exit, Failure};
use super::server_certificate::ServerCertificate;
use super::{backup, certificate, configuration, orphans, output};
use crate::domain::secret::SecretText;
use crate::service::{Operator, Service};
use crate::store::Store;

/// `skm admin`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print answers as JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Projects
    #[command(subcommand)]
    Project(project::Arguments),
    /// Appkeys: what names a project in the API
    #[command(subcommand)]
    Appkey(appkey::Arguments),
    /// Accounts of people
    #[command(subcommand)]
    Account(account::Arguments),
    /// Roles of accounts in projects
    #[command(subcommand)]
    Role(role::Arguments),
    /// Access keys: what programs show for an account
    #[command(subcommand)]
    AccessKey(access_key::Arguments),
    /// Approval: whether changes of a project need a second person
    #[command(subcommand)]
    Approval(approval::Arguments),
}

pub(super) fn run(named: Option<&Path>, arguments: Arguments) -> Result<(), Failure> {
    // Before anything is read or asked: it may replace the process by itself, with the token's environment set.
    configuration::load(named, true)?;
    let show = Show { json: arguments.json };
    match arguments.what {
        What::Project(arguments) => project::run(named, show, arguments),
        What::Appkey(arguments) => appkey::run(named, show, arguments),
        What::Account(arguments) => account::run(named, show, arguments),
        What::Role(arguments) => role::run(named, show, arguments),
        What::AccessKey(arguments) => access_key::run(named, show, arguments),
        What::Approval(arguments) => approval::run(named, show, arguments),
    }
}

/// What commands work on.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    pub(super) service: Service,
    pub(super) store: Store,
    /// Where the token keeps its files, if it does.
    pub(super) token_directory: Option<PathBuf>,
    pub(super) certificate: Arc<ServerCertificate>,
}

impl Admin {
    pub(super) fn new(assembly: &Assembly, token_directory: Option<PathBuf>, certificate: Arc<ServerCertificate>) -> Self {
        Self { service: assembly.service.clone(), store: assembly.store.clone(), token_directory, certificate }
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
    let commands = Commands::default().with::<backup::BackUp>().with::<orphans::CompareToken>();
    let commands = certificate::add(commands);
    [project::add, appkey::add, account::add, role::add, access_key::add, approval::add].into_iter().fold(commands, |commands, add| add(commands))
}

/// How answers are printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    /// As JSON rather than for people.
    pub(super) json: bool,
}

impl Show {
    /// One answer: as JSON, or as these lines.
    pub(super) fn answer<A: Serialize>(self, answer: &A, lines: &[String]) -> Result<(), Failure> {
        if self.json {
            return Ok(output::line(&json(answer)?)?);
        }
        lines.iter().try_for_each(|line| Ok(output::line(line)?))
    }

    /// That something is done which has no answer.
    pub(super) fn done(self, what: &str) -> Result<(), Failure> {
        if self.json { Ok(output::line(&serde_json::json!({ "done": what }).to_string())?) } else { Ok(output::line(what)?) }
    }
}

pub(super) fn json<A: Serialize>(answer: &A) -> Result<String, Failure> {
    serde_json::to_string(answer).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

/// A field that holds a secret: shown here, and nowhere else.
fn exposed<S: Serializer>(secret: &SecretText, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}
