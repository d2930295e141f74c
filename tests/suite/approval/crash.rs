//! SIGKILL while an approved request is applied: all of it, or nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::{STORE, Scene, installation};
use crate::faults::settled::short_leases;
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};

/// What one request makes, beside a rotation and a deletion.
const KINDS: [&str; 8] = ["secrets", "symmetric-keys", "asymmetric-keys", "symmetric-keys", "asymmetric-keys", "secrets", "symmetric-keys", "asymmetric-keys"];

struct Round {
    id: String,
    names: Vec<String>,
    rotated: String,
    doomed: String,
}

fn prepare(scene: &Scene, round: usize) -> Round {
    let make = |name: &str| json!({"keyStoreName": STORE, "name": name, "secretValue": name});
    let first = scene.draft("amy1", "POST", "/keys/symmetric-keys/create", &make(&format!("rotated {round}")));
    scene.draft("amy1", "POST", "/keys/secrets/create", &make(&format!("doomed {round}")));
    scene.own("amy1", "POST", &format!("/approvals/{first}/request"), &json!({"note": "n"})).body();
    scene.approve("bob1", &first);
    let (rotated, doomed) = (scene.key(&format!("rotated {round}")).expect("a key"), scene.key(&format!("doomed {round}")).expect("a key"));
    let mut names = Vec::new();
    let mut id = scene.draft("amy1", "POST", &format!("/keys/{rotated}/rotate"), &json!({}));
    for (number, kind) in KINDS.iter().enumerate() {
        names.push(format!("crashed {round} {number}"));
        id = scene.draft("amy1", "POST", &format!("/keys/{kind}/create"), &make(names.last().expect("a name")));
    }
    names.push(format!("crashed {round} imported"));
    let import = json!({"keyStoreName": STORE, "name": names.last(), "keyData": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="});
    scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &import);
    scene.draft("amy1", "PUT", &format!("/keys/{doomed}/delete"), &json!({}));
    scene.own("amy1", "POST", &format!("/approvals/{id}/request"), &json!({"note": "n"})).body();
    Round { id, names, rotated, doomed }
}

/// All of it works, or nothing of it is there.
fn whole_or_nothing(scene: &Scene, round: &Round, before: &[String]) -> bool {
    let applied = scene.status(&round.id) == "APPROVED";
    let mut database = scene.installation.database();
    let records = format!("audit_records WHERE request = '{}' AND result_code = 0 AND actor_kind = 'account'", round.id);
    if !applied {
        assert_eq!(scene.status(&round.id), "FAILED", "{}", scene.reason(&round.id));
        assert_eq!(scene.snapshot(), before, "{}", scene.reason(&round.id));
        assert_eq!(database.count(&records), 0);
        return false;
    }
    assert_eq!(database.count(&records), i64::try_from(round.names.len() + 2).expect("few"));
    assert_eq!(database.count(&format!("keys WHERE id = '{}' AND current_version >= 1", round.rotated)), 1);
    assert_eq!(database.count(&format!("keys WHERE id = '{}' AND state = 'PENDING_DELETION'", round.doomed)), 1);
    let used = |path: &str, body: &Value| scene.own("amy1", "POST", path, body);
    for (name, kind) in round.names.iter().zip(KINDS.iter().chain(["symmetric-keys"].iter())) {
        let key = scene.key(name).unwrap_or_else(|| panic!("{name} is missing"));
        let answer = match *kind {
            "secrets" => scene.get("amy1", &format!("/secrets/{key}")),
            "symmetric-keys" => used(&format!("/symmetric-keys/{key}/encrypt"), &json!({"plaintext": "x"})),
            _ => used(&format!("/asymmetric-keys/{key}/sign"), &json!({"plaintext": "x"})),
        };
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    }
    assert_eq!(used(&format!("/symmetric-keys/{}/encrypt", round.rotated), &json!({"plaintext": "x"})).status, 200);
    true
}

fn survives_crashes(cluster: Option<&Cluster>, rounds: usize, mut random: Random) {
    let mut scene = Scene::governed(short_leases(installation(cluster)), cluster);
    let (mut whole, mut nothing) = (0, 0);
    for number in 0..rounds {
        let round = prepare(&scene, number);
        let before = scene.snapshot();
        let running = scene.running.take().expect("a running service");
        let (path, bearer) = (scene.path(&format!("/approvals/{}/approve", round.id)), scene.tokens["bob1"].clone());
        let wait = random.between(Duration::from_millis(5), Duration::from_millis(1_500));
        std::thread::scope(|scope| {
            let approving = &running;
            // Whether it is answered doesn't matter.
            scope.spawn(move || drop(approving.call(false, "POST", &path, &[("x-nhn-authorization", &bearer)], Some(b"{}"))));
            std::thread::sleep(wait);
            let killed = std::process::Command::new("kill").arg("-KILL").arg(approving.pid().to_string()).status().expect("kill");
            assert!(killed.success());
        });
        drop(running);
        scene.restart();
        // Killed before the decision was durable: it is decided now.
        if scene.status(&round.id) == "READY" {
            scene.decide("bob1", &round.id, "approve", &json!({})).body();
        }
        crate::faults::load::wait_until("the end of a job", super::PATIENCE, || !["READY", "APPLYING"].contains(&scene.status(&round.id).as_str()));
        *(if whole_or_nothing(&scene, &round, &before) { &mut whole } else { &mut nothing }) += 1;
    }
    println!("{whole} whole, {nothing} undone");
    scene.finish();
}

#[test]
fn amid_a_job_on_sqlite() {
    survives_crashes(None, if is_full() { 100 } else { 3 }, Random::of_test("approval::crash::amid_a_job_on_sqlite"));
}

#[test]
fn amid_a_job_on_postgresql() {
    let random = Random::of_test("approval::crash::amid_a_job_on_postgresql");
    survives_crashes(Some(&Cluster::start()), if is_full() { 100 } else { 2 }, random);
}
