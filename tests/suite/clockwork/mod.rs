//! What happens by the clock, and several processes at once: due rotations and deletions, limits of use, two nodes on one database and token.

pub(crate) mod clock;
mod due;
mod limits;
pub(crate) mod missing;
mod nodes;

use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::load::{Client, STORE, wait_until};
use crate::support::installation::{Answer, Installation, Running};
use crate::support::postgres::Cluster;

/// What a task that runs at the start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A day in microseconds.
pub(crate) const DAY: i64 = 86_400_000_000;

/// An installation, on PostgreSQL if a cluster is given.
fn installation(cluster: Option<&Cluster>) -> Installation {
    match cluster {
        Some(cluster) => Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]),
        None => Installation::new(),
    }
}

/// An answer that is a success.
pub(crate) fn done(answer: Result<Answer, ureq::Error>) -> Answer {
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// Makes a key of a kind (`symmetric-keys`, `asymmetric-keys`) in the demo's key store and answers its ID.
pub(crate) fn make_key(client: &Client, kind: &str, name: &str, period: i64) -> String {
    done(client.change("POST", &format!("/keys/{kind}/create"), &json!({"keyStoreName": STORE, "name": name, "autoRotationPeriod": period}))).text("keyId")
}

fn encrypt(client: &Client, key: &str, text: &str) -> String {
    done(client.encrypt(key, text)).text("ciphertext")
}

fn decrypts(client: &Client, key: &str, ciphertext: &str, text: &str) {
    assert_eq!(done(client.decrypt(key, ciphertext)).text("plaintext"), text);
}

/// The version that encrypts.
fn current_version(client: &Client, key: &str) -> Value {
    done(client.encrypt(key, "text")).body()["keyVersion"].clone()
}

/// The value of a metric's line, name and labels as they stand.
pub(crate) fn metric(running: &Running, name: &str) -> Option<f64> {
    let (_, text) = running.operations("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

/// Waits until a task has run at least once since the start.
pub(crate) fn wait_for_task(running: &Running, task: &str) {
    let runs = |outcome: &str| metric(running, &format!("skm_task_runs_total{{task=\"{task}\",outcome=\"{outcome}\"}}")).unwrap_or_default();
    wait_until(task, PATIENCE, || runs("success") + runs("failed") >= 1.0);
}

/// How many records of what the service did by itself there are: the operation, and what else must hold.
fn own_records(installation: &Installation, operation: &str, and: &str) -> i64 {
    installation.database().count(&format!("audit_records WHERE actor_kind = 'service' AND result_code = 0 AND operation = '{operation}' AND {and}"))
}

pub(crate) fn now() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("a clock").as_micros()).expect("microseconds")
}
