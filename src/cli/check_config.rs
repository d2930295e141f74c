//! `skm check-config`: `ok`, or everything that is wrong.

use std::path::Path;

use super::configuration;
use super::exit::{Exit, Failure};
use super::output;
use crate::config::Config;

/// `skm check-config`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Accept settings that are too weak for production
    #[arg(long)]
    dev: bool,
}

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    let file = configuration::file(named)?;
    let wrong: Vec<String> = match Config::load(&file) {
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
        Ok(config) => {
            let weak = if arguments.dev { Vec::new() } else { config.weaknesses() };
            let no_profile = configuration::token_settings(&config, &file).and_then(|settings| configuration::check_profile(&settings)).err();
            let no_courier = configuration::courier(&config).err();
            let weak = weak.iter().map(ToString::to_string);
            weak.chain(no_profile.iter().chain(&no_courier).flat_map(|failure| failure.lines().to_vec()))
                .map(|line| format!("{}: {line}", file.display()))
                .collect()
        }
    };
    if wrong.is_empty() { Ok(output::line(&format!("{}: ok", file.display()))?) } else { Err(Failure::of_lines(Exit::Configuration, wrong)) }
}
