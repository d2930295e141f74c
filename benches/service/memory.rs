//! Memory under load, with many keys in use, beside what the token needs for them.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Problem;
use crate::installation::{Installation, Service};
use crate::jobs::{self, Job, Kind};
use crate::load::{Load, Script, outcome};
use crate::raw_token;
use crate::settings::Settings;

/// Connections of the load.
const CONNECTIONS: usize = 32;
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What was found, in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) keys: usize,
    /// The most that the service had resident under load.
    pub(crate) service: u64,
    /// What opening the token with the same objects adds to a process that does nothing else.
    pub(crate) token: u64,
    /// The most in the last third of the load, less the most in the second third.
    pub(crate) growth: i64,
    /// Requests in the last two thirds.
    pub(crate) requests: f64,
    pub(crate) seconds: u64,
}

impl Memory {
    /// What the service needs beside the token.
    pub(crate) fn own(&self) -> u64 {
        self.service.saturating_sub(self.token)
    }
}

/// Encrypts with all keys in turn, and watches.
pub(crate) fn measure(settings: &Settings, installation: &Installation, service: &Service<'_>, jobs: &[Job], keys: &[String]) -> Result<Memory, Problem> {
    let job = jobs.iter().find(|job| job.kind == Kind::Encrypt).ok_or("no job to encrypt")?;
    let paths = keys.iter().map(|key| jobs::path(service, Kind::Encrypt, key)).collect::<Result<Vec<_>, _>>()?;
    let script = Script::write(installation.directory.join("many-keys.lua"), &paths, &job.request)?;
    let duration = Duration::from_secs(settings.growth_seconds);
    let load = Load { address: &service.address, script: &script, connections: CONNECTIONS, threads: 2, duration };
    let mut running = load.start()?;
    let began = Instant::now();
    let mut highest = [0_u64; 3];
    while running.try_wait()?.is_none() {
        let third = (began.elapsed().as_millis() * 3 / duration.as_millis()).min(2);
        if let Some(high) = highest.get_mut(usize::try_from(third)?) {
            *high = service.process.resident_bytes()?.max(*high);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let sample = outcome(running, std::path::Path::new("many-keys.lua"))?;
    let [_, second, last] = highest;
    Ok(Memory {
        keys: keys.len(),
        service: highest.into_iter().max().unwrap_or_default(),
        token: raw_token::open(installation)?.bytes,
        growth: i64::try_from(last)? - i64::try_from(second)?,
        requests: sample.per_second * duration.as_secs_f64() * 2.0 / 3.0,
        seconds: settings.growth_seconds,
    })
}
