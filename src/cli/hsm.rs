//! `skm hsm`: the token, looked at by itself; but for `orphans`, without a running service.

use std::path::Path;
use std::time::Duration;

use super::exit::{Exit, Failure};
use super::{assembly, configuration, orphans, output, probe};
use crate::hsm::{self, ObjectInfo, Token};

/// `skm hsm`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Open the token, make, use and destroy a key of each kind that the service needs, and say how it did
    Probe,
    /// List the token's objects with what tells whether they are protected
    Objects,
    /// Compare the token with the database: list objects that no row names, and rows in service without their object; exit code 3 if
    /// there are any. Goes through the running server, or without one
    Orphans {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// The most time that the token gets to end what it is at.
const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    match arguments {
        Arguments::Probe => with_token(named, async |token| probe::probe(token).await),
        Arguments::Objects => with_token(named, async |token| list(token).await),
        Arguments::Orphans { json } => orphans::run(named, *json),
    }
}

fn with_token(named: Option<&Path>, look: impl AsyncFnOnce(&Token) -> Result<(), Failure>) -> Result<(), Failure> {
    let file = configuration::file(named)?;
    let config = configuration::load(Some(&file), true)?;
    let settings = configuration::token_settings(&config, &file)?;
    configuration::check_profile(&settings)?;
    let pin = config.token.pin.read().map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    let runtime = assembly::runtime()?;
    let token = Token::open(&settings, &pin)?;
    let outcome = runtime.block_on(look(&token));
    if !token.shut_down(SHUT_DOWN_WITHIN) {
        let exit = outcome.err().map_or(Exit::HandOff, |failure| {
            failure.lines().iter().for_each(|line| output::problem(line));
            failure.exit()
        });
        hsm::leave(exit as i32);
    }
    outcome
}

async fn list(token: &Token) -> Result<(), Failure> {
    let objects = token.objects().await?;
    for object in &objects {
        output::line(&row(object))?;
    }
    Ok(output::line(&format!("{} objects", objects.len()))?)
}

fn row(object: &ObjectInfo) -> String {
    let flag = |name: &str, value: Option<bool>| match value {
        Some(true) => name.to_owned(),
        Some(false) => format!("not {name}"),
        None => String::new(),
    };
    let id = object.id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let flags = [flag("sensitive", object.sensitive), flag("extractable", object.extractable)]
        .into_iter()
        .filter(|flag| !flag.is_empty())
        .collect::<Vec<_>>()
        .join(", ");
    format!("{:<15} {id:<32} {} {flags}", object.class, object.label)
}
