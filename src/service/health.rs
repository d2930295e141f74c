//! How the service does: what `/readyz` and the metrics show.

use std::time::Duration;

use super::Service;
use crate::domain::clock_watch::ClockState;
use crate::hsm::TokenHealth;

/// How the service does, as of now; asking never waits.
#[derive(Debug, Clone)]
pub struct Health {
    /// Why it isn't ready; empty when it is.
    pub problems: Vec<String>,
    /// Objects that keys in service need and the token doesn't have, as last compared. An alarm, but no reason to take the
    /// node out of service: every node has the same token.
    pub missing_objects: usize,
    /// Key versions that near the limit of their use and don't rotate by themselves, as last looked at: a warning.
    pub keys_near_use_limit: usize,
    /// What is thought of this machine's clock: doubted or skewed is an alarm, but the service goes on.
    pub clock: ClockState,
    /// How far it was ahead of the database server's, in seconds, when that was last asked; `None` where there is none.
    pub clock_skew_s: Option<f64>,
    /// The token.
    pub token: TokenHealth,
    /// How long ago the change log was read.
    pub staleness: Option<Duration>,
    /// Records and changes that wait for the writer.
    pub writer_queue: usize,
    /// Keys kept ready.
    pub keys_kept: usize,
    /// Use cases under way.
    pub tasks: usize,
}

impl Service {
    /// How the service does.
    pub fn health(&self) -> Health {
        let token = self.token().health();
        let staleness = self.store().staleness();
        let mut problems = Vec::new();
        if !token.ready {
            problems.push(format!("token: {}", token.problem.as_deref().unwrap_or("not ready")));
        }
        if let Err(problem) = self.store().health() {
            problems.push(format!("database: {problem}"));
        }
        if self.require_freshness().is_err() {
            problems.push("freshness: the change log could not be read in time".to_owned());
        }
        let missing = self.0.comparison.load().as_ref().map_or(0, |comparison| comparison.missing.len());
        Health {
            missing_objects: missing,
            keys_near_use_limit: self.near_use_limit(),
            clock: self.0.clock_watch.state(),
            clock_skew_s: self.0.clock_watch.skew_micros().map(seconds),
            problems,
            token,
            staleness,
            writer_queue: self.store().queued(),
            keys_kept: self.views().keys_kept(),
            tasks: self.tasks().len(),
        }
    }
}

/// Microseconds as seconds; those of some decades are whole in a float.
fn seconds(micros: i64) -> f64 {
    let seconds = Duration::from_micros(micros.unsigned_abs()).as_secs_f64();
    if micros < 0 { -seconds } else { seconds }
}
