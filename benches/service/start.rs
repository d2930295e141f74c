//! The start, with many keys, beside the token's own.

use serde::Serialize;

use crate::Problem;
use crate::installation::Installation;
use crate::sample::median;
use crate::settings::Settings;
use crate::{many_keys, raw_token};

/// How often each is measured.
const STARTS: usize = 3;

/// What was found, in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Start {
    pub(crate) keys: usize,
    /// From the program's start until it says that it is ready.
    pub(crate) service: f64,
    /// Loading the module, logging in, listing all objects.
    pub(crate) token: f64,
}

/// Adds keys until there are enough, and starts a few times; `None` where that is left out.
pub(crate) fn measure(settings: &Settings, installation: &Installation) -> Result<Option<Start>, Problem> {
    if settings.start_keys == 0 {
        return Ok(None);
    }
    let keys = settings.start_keys.max(settings.keys);
    println!("start with {keys} keys");
    many_keys::make(installation, settings.keys, keys)?;
    let (mut service, mut token) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        token.push(raw_token::open(installation)?.seconds);
        let running = installation.serve()?;
        service.push(running.ready_after.as_secs_f64());
        running.stop()?;
    }
    Ok(Some(Start { keys, service: median(service), token: median(token) }))
}
