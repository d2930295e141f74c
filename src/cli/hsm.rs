//! `skm hsm`: the token, looked at without a running service.

use std::path::Path;
use std::time::Duration;

use super::exit::{Exit, Failure};
use super::{assembly, configuration, output};
use crate::hsm::{ObjectInfo, Token};

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
    let settings = configuration::token_settings(&config, &file)?;
    let pin = config.token.pin.read().map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    let token = Token::open(&settings, &pin)?;
    let outcome = match arguments {
        Arguments::Probe => probe(&token),
        Arguments::Objects => list(&token),
    };
    token.shut_down(Duration::from_secs(10));
    outcome
}

fn probe(token: &Token) -> Result<(), Failure> {
    let runtime = assembly::runtime()?;
    let health = token.health();
    output::line(&format!("token      {}", health.identity))?;
    output::line(&format!("objects    {} with a cached handle", health.cached_objects))?;
    let random = runtime.block_on(token.random(32))?;
    output::line(&format!("random     {} bytes from C_GenerateRandom", random.len()))?;
    Ok(output::line("mechanisms as the profile wants them")?)
}

fn list(token: &Token) -> Result<(), Failure> {
    let objects = assembly::runtime()?.block_on(token.objects())?;
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
