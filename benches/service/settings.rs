//! What can be set, by environment variables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Problem;

/// What `--help` says.
pub(crate) const HELP: &str = "\
SKM_BENCH_SECONDS         seconds of each measurement (2)
SKM_BENCH_ROUNDS          rounds; medians over them are reported (3)
SKM_BENCH_CONNECTIONS     numbers of connections (1,8,32)
SKM_BENCH_JOBS            which of encrypt,decrypt,sign,verify (all)
SKM_BENCH_KEYS            keys in the token and in use while memory is measured (1000)
SKM_BENCH_GROWTH_SECONDS  seconds of load over which memory may not grow (15; an hour is 3600)
SKM_BENCH_START_KEYS      keys with which the start is measured (10000; 0 leaves it out)
SKM_BENCH_DIRECTORY       where the installation is made, on a disk (target/bench)";

/// The settings of a run.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) measurement: Duration,
    pub(crate) rounds: usize,
    pub(crate) connections: Vec<usize>,
    pub(crate) jobs: Option<Vec<String>>,
    pub(crate) keys: usize,
    pub(crate) growth_seconds: u64,
    pub(crate) start_keys: usize,
    pub(crate) directory: PathBuf,
}

impl Settings {
    /// From the environment.
    pub(crate) fn read() -> Result<Self, Problem> {
        let list = |name| text(name).map(|value| value.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>());
        let connections = match list("SKM_BENCH_CONNECTIONS") {
            None => vec![1, 8, 32],
            Some(parts) => parts.iter().map(|part| positive("SKM_BENCH_CONNECTIONS", part)).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            measurement: Duration::from_secs(number("SKM_BENCH_SECONDS", 2)?.max(1)),
            rounds: usize::try_from(number("SKM_BENCH_ROUNDS", 3)?.max(1))?,
            connections,
            jobs: list("SKM_BENCH_JOBS"),
            keys: usize::try_from(number("SKM_BENCH_KEYS", 1_000)?.max(1))?,
            growth_seconds: number("SKM_BENCH_GROWTH_SECONDS", 15)?.max(5),
            start_keys: usize::try_from(number("SKM_BENCH_START_KEYS", 10_000)?)?,
            directory: text("SKM_BENCH_DIRECTORY").map_or_else(default_directory, PathBuf::from),
        })
    }
}

/// `target/bench`: cargo names a directory beside it.
pub(crate) fn default_directory() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().unwrap_or(temporary).join("bench")
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str, otherwise: u64) -> Result<u64, Problem> {
    text(name).map_or(Ok(otherwise), |value| value.parse().map_err(|_| format!("{name} must be a whole number, not {value:?}").into()))
}

fn positive(name: &str, part: &str) -> Result<usize, Problem> {
    part.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("{name} must be whole numbers above 0, not {part:?}").into())
}
