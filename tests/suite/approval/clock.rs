//! A clock that is wrong while drafts and requests are open: it ends none of them, destroys nothing that was made for them, and takes no job from whoever
//! is at work on it.

use serde_json::{Value, json};

use super::outages::move_token;
use super::{PATIENCE, STORE, Scene, installation, refused};
use crate::clockwork::clock::shift_server_clock;
use crate::clockwork::{DAY, metric, now};
use crate::faults::load::wait_until;
use crate::faults::settled::short_leases;
use crate::support::postgres::Cluster;

const IMPORT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn import(store: &str) -> Value {
    json!({"keyStoreName": store, "name": "imported", "keyData": IMPORT})
}

fn runs(scene: &Scene, outcome: &str) -> f64 {
    metric(scene.running(), &format!("skm_task_runs_total{{task=\"approvals\",outcome=\"{outcome}\"}}")).unwrap_or_default()
}

fn with_stores(cluster: Option<&Cluster>) -> Scene {
    let scene = Scene::ungoverned(short_leases(installation(cluster)), cluster);
    for name in ["second", "third"] {
        scene.own("amy1", "POST", "/keystores", &json!({"name": name, "ip4AuthUse": "Y"})).body();
    }
    scene.turn_on();
    scene
}

fn stop(scene: &mut Scene) {
    let (status, log) = scene.running.take().expect("a running service").stop();
    assert!(status.success(), "{log}");
}

/// Approves a request while the token is away, and kills the process: as if another node were applying it, until then.
fn applied_elsewhere(scene: &mut Scene, id: &str, lease_until: i64) {
    move_token(scene, "tokens", "tokens.away", 503);
    assert_eq!(scene.decide("bob1", id, "approve", &json!({})).text("approvalStatus"), "APPLYING");
    scene.running.take().expect("a running service").kill();
    let place = |name: &str| scene.installation.path().join(name);
    std::fs::rename(place("tokens.away"), place("tokens")).expect("moved back");
    let elsewhere = format!("UPDATE change_requests SET node = 'elsewhere', attempts = 1, lease_until = {lease_until} WHERE id = '{id}'");
    scene.installation.database().run(&elsewhere);
}

/// For a node that is eight days ahead of the database server every lease is over, and every request has expired.
#[test]
fn a_node_that_is_days_ahead_ends_no_request_and_takes_over_no_job() {
    let cluster = Cluster::start();
    let mut scene = with_stores(Some(&cluster));
    let waits = scene.ask("amy1", "POST", "/keys/symmetric-keys/import", &import(STORE));
    let draft = scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &import("second"));
    let applied = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": "third", "name": "made"}));
    // By the server's time, which is that of leases, there are minutes left, and of the others a day.
    let there = now() - 8 * DAY;
    applied_elsewhere(&mut scene, &applied, there + DAY / 24);
    scene.installation.database().run(&format!("UPDATE change_requests SET expires_at = {} WHERE state <> 'APPLYING'", there + DAY));
    let before = (scene.snapshot(), scene.count("token_objects WHERE state = 'PROVISIONING'"));
    shift_server_clock(&mut scene.installation.database(), "-8 days");
    scene.restart();
    wait_until("two looks at what is to be done", PATIENCE, || runs(&scene, "failed") >= 2.0);
    assert!(runs(&scene, "success") < 1.0);
    assert_eq!([&waits, &draft, &applied].map(|id| scene.status(id)), ["READY", "DRAFT", "APPLYING"]);
    assert_eq!(scene.count(&format!("change_requests WHERE id = '{applied}' AND node = 'elsewhere' AND attempts = 1")), 1, "somebody is at work on it");
    assert_eq!((scene.snapshot(), scene.count("token_objects WHERE state = 'PROVISIONING'")), before);
    // Once the clocks agree all of it goes on.
    stop(&mut scene);
    let mut database = scene.installation.database();
    shift_server_clock(&mut database, "0");
    database.run(&format!("UPDATE change_requests SET expires_at = {} WHERE state <> 'APPLYING'", now() + DAY));
    scene.restart();
    scene.wait_for(&applied, "APPROVED");
    scene.approve("bob1", &waits);
    scene.decide("amy1", &draft, "withdraw", &json!({})).body();
    scene.finish();
}

/// A start so long after anybody believed the clock that it may be days ahead.
#[test]
fn while_the_clock_is_doubted_nothing_expires_and_what_is_approved_is_applied() {
    let mut scene = with_stores(None);
    let over = scene.ask("amy1", "POST", "/keys/symmetric-keys/import", &import(STORE));
    let waits = scene.ask("amy1", "POST", "/keys/symmetric-keys/import", &import("second"));
    let draft = scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &import("third"));
    stop(&mut scene);
    let believed = |at: i64| format!("UPDATE settings SET value = X'{}' WHERE name = 'clock believed at'", hex::encode(at.to_be_bytes()));
    let mut database = scene.installation.database();
    database.run(&believed(now() - 3 * DAY));
    database.run(&format!("UPDATE change_requests SET expires_at = {} WHERE id IN ('{over}', '{draft}')", now() - DAY));
    scene.restart();
    wait_until("two looks at what is over", PATIENCE, || runs(&scene, "failed") >= 2.0);
    assert_eq!([&over, &draft].map(|id| scene.status(id)), ["READY", "DRAFT"]);
    assert_eq!(scene.count("token_objects WHERE state = 'PROVISIONING'"), 3);
    // Nobody approves what may have expired; what hasn't by any clock is applied.
    refused(&scene.decide("bob1", &over, "approve", &json!({})), 409, "Invalid Approval Request Status");
    scene.approve("bob1", &waits);
    stop(&mut scene);
    database.run(&believed(now() - DAY / 2));
    database.run("UPDATE settings SET value = X'' WHERE name LIKE 'clock doubted by %'");
    scene.restart();
    for id in [&over, &draft] {
        scene.wait_for(id, "EXPIRED");
    }
    scene.finish();
}
