//! How the service does: what `/readyz`, the metrics and the console's page for people show.

use std::time::Duration;

use super::Service;
use super::authorities::AuthorityInfo;
use super::certificates::Expiry;
use super::reconcile::MissingObject;
use crate::domain::clock_watch::ClockState;
use crate::domain::ids::{KeyId, KeyVersion};
use crate::hsm::TokenHealth;
use crate::telemetry::metrics::TaskRun;

/// The most missing objects, and key versions near their limit, that are named.
const NAMED_MAX: usize = 20;

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

/// The same for people, with what it is about.
#[derive(Debug, Clone)]
pub struct HealthReport {
    /// How the service does.
    pub health: Health,
    /// This process's name among all that share the database.
    pub node: String,
    /// The database's name.
    pub database: &'static str,
    /// What is wrong with the database.
    pub database_problem: Option<String>,
    /// Data operations are refused once the change log was last read longer ago than this.
    pub freshness_limit: Duration,
    /// Objects in the token that no row names, as last compared; `None` before the first time.
    pub orphans: Option<usize>,
    /// Objects that keys in service need and the token doesn't have: the first 20.
    pub missing: Vec<MissingObject>,
    /// Key versions near the limit of their use that get no successor by themselves: 20 of them at most.
    pub near_use_limit: Vec<(KeyId, KeyVersion)>,
    /// The internal certificate authorities, oldest first; `None` while they are not loaded.
    pub authorities: Option<Vec<AuthorityInfo>>,
    /// What of clients' certificates expires when; `None` before the first look.
    pub expiry: Option<Expiry>,
    /// The last run of each task by the clock.
    pub task_runs: Vec<(&'static str, TaskRun)>,
}

impl Service {
    /// How the service does, for people; asking never waits.
    pub(super) fn health_report(&self) -> HealthReport {
        let comparison = self.0.comparison.load_full();
        let near = self.0.near_use_limit.load();
        let mut near_use_limit: Vec<_> = near.iter().copied().take(NAMED_MAX).collect();
        near_use_limit.sort_unstable();
        HealthReport {
            health: self.health(),
            node: self.0.settings.node.clone(),
            database: self.store().kind(),
            database_problem: self.store().health().err(),
            freshness_limit: self.0.settings.freshness_limit,
            orphans: comparison.as_ref().map(|comparison| comparison.orphans.len()),
            missing: comparison.map(|comparison| comparison.missing.iter().copied().take(NAMED_MAX).collect()).unwrap_or_default(),
            near_use_limit,
            authorities: self.list_authorities().ok(),
            expiry: self.expiry(),
            task_runs: self.metrics().task_runs(),
        }
    }

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
