//! SIGKILL while an approved request is applied, and around that. A crash with nothing else wrong changes nothing of what was decided: all of it is
//! applied, exactly as it was approved, once, and whoever wants to hear of requests hears of each, and of its end.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE, STORE, Scene, end_leases, installation};
use crate::faults::load::wait_until;
use crate::faults::settled::{short_leases, token_and_database_agree, wait_until_settled};
use crate::notifications::receiver::{Identity, Receiver, Reply};
use crate::notifications::{PROJECT, add_webhook, admin, open};
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};

/// What one request makes, beside an imported key, a rotation, and deletions.
const KINDS: [&str; 6] = ["secrets", "symmetric-keys", "asymmetric-keys", "symmetric-keys", "asymmetric-keys", "asymmetric-keys"];
const IMPORT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// When the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// While a recipient is told that somebody asks.
    Asked,
    /// Some time after somebody approved, be that durable or not.
    Decided,
    /// Some time after it was durable that it is applied.
    Applying,
    /// Right after all of it was done: nobody was told, and what is deleted is still in the token.
    Applied,
    /// While a recipient is told that it is done.
    Told,
}

/// Each, and amid the job more often.
const MOMENTS: [Moment; 8] =
    [Moment::Applying, Moment::Told, Moment::Applied, Moment::Asked, Moment::Decided, Moment::Applying, Moment::Applying, Moment::Decided];

struct Round {
    id: String,
    names: Vec<String>,
    rotated: String,
    doomed: String,
    /// What an earlier round left to be deleted.
    ended: Option<String>,
}

fn prepare(scene: &Scene, round: usize, ended: Option<String>) -> Round {
    let make = |name: &str| json!({"keyStoreName": STORE, "name": name, "secretValue": name});
    let first = scene.draft("amy1", "POST", "/keys/symmetric-keys/create", &make(&format!("rotated {round}")));
    scene.draft("amy1", "POST", "/keys/symmetric-keys/create", &make(&format!("doomed {round}")));
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
    scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &json!({"keyStoreName": STORE, "name": names.last(), "keyData": IMPORT}));
    scene.draft("amy1", "PUT", &format!("/keys/{doomed}/delete"), &json!({}));
    if let Some(ended) = &ended {
        scene.draft("amy1", "DELETE", &format!("/keys/{ended}"), &json!({}));
    }
    Round { id, names, rotated, doomed, ended }
}

fn ask(scene: &Scene, round: &Round) {
    scene.own("amy1", "POST", &format!("/approvals/{}/request", round.id), &json!({"note": "n"})).body();
}

/// What is sent of a request of that kind.
fn told(receiver: &Receiver, kind: &str, id: &str) -> Vec<Value> {
    receiver.of_kind(kind).into_iter().map(|call| call.json()).filter(|call| call["data"]["request"] == id).collect()
}

/// Waits until nothing is left in the outbox, as if the pause after a failure were over.
fn all_is_sent(scene: &Scene) {
    wait_until("all is sent", PATIENCE, || {
        scene.installation.database().run("UPDATE notification_messages SET due_at = 1 WHERE state = 'QUEUED' AND lease_until IS NULL");
        scene.count("notification_messages WHERE state <> 'SENT'") == 0
    });
}

/// Has `approve` asked, and kills the service at that moment.
fn kill_at(scene: &mut Scene, round: &Round, moment: Moment, receiver: &Receiver, random: &mut Random) {
    if moment == Moment::Asked {
        all_is_sent(scene);
        receiver.answers(Reply::Hang);
        ask(scene, round);
        wait_until("a recipient hears that somebody asks", PATIENCE, || !told(receiver, "APPROVAL_REQUESTED", &round.id).is_empty());
        return scene.running.take().expect("a running service").kill();
    }
    ask(scene, round);
    if moment == Moment::Told {
        all_is_sent(scene);
        receiver.answers(Reply::Hang);
    }
    let wait = random.between(Duration::from_millis(5), Duration::from_millis(900));
    let running = scene.running.take().expect("a running service");
    let (path, bearer) = (scene.path(&format!("/approvals/{}/approve", round.id)), scene.tokens["bob1"].clone());
    std::thread::scope(|scope| {
        let (approving, watched) = (&running, &*scene);
        // Whether it is answered doesn't matter.
        scope.spawn(move || drop(approving.call(false, "POST", &path, &[("x-nhn-authorization", &bearer)], Some(b"{}"))));
        match moment {
            Moment::Asked | Moment::Decided => std::thread::sleep(wait),
            Moment::Applying => {
                wait_until("the job", PATIENCE, || watched.status(&round.id) != "READY");
                std::thread::sleep(wait / 2);
            }
            Moment::Applied => drop(wait_until("the end", PATIENCE, || watched.status(&round.id) == "APPROVED")),
            Moment::Told => {
                let heard = || !told(receiver, "APPROVAL_DECIDED", &round.id).is_empty();
                wait_until("a recipient hears of the end", PATIENCE, heard);
            }
        }
        approving.signal("KILL");
    });
    running.kill();
}

/// All of it is done and works, and nothing else is.
fn exactly_as_approved(scene: &Scene, round: &Round, before: &[String]) {
    let (before, after): (BTreeSet<String>, BTreeSet<String>) = (before.iter().cloned().collect(), scene.snapshot().into_iter().collect());
    let changed: Vec<&str> = [&round.rotated, &round.doomed].into_iter().chain(&round.ended).map(String::as_str).collect();
    let is_of = |row: &String, keys: &[&str]| keys.iter().any(|key| row.contains(key));
    let lost: Vec<_> = before.difference(&after).filter(|row| !is_of(row, &changed)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let new: Vec<String> = round.names.iter().map(|name| scene.key(name).unwrap_or_else(|| panic!("{name} is missing"))).collect();
    let (of_changed, of_new): (Vec<_>, Vec<_>) = after.difference(&before).partition(|row| is_of(row, &changed));
    // Each with its one version.
    assert_eq!(of_new.len(), 2 * new.len(), "{of_new:?}");
    assert!(new.iter().all(|key| of_new.iter().filter(|row| row.contains(key.as_str())).count() == 2), "{of_new:?}");
    let rotated: Vec<_> = of_changed.iter().filter(|row| row.starts_with("key_versions ") && row.contains(&round.rotated)).collect();
    assert_eq!(rotated.len(), 1, "one new version: {rotated:?}");
    let mut database = scene.installation.database();
    assert_eq!(database.count(&format!("keys WHERE id = '{}' AND current_version >= 1 AND state = 'ACTIVE'", round.rotated)), 1);
    assert_eq!(database.count(&format!("keys WHERE id = '{}' AND state = 'PENDING_DELETION'", round.doomed)), 1);
    if let Some(ended) = &round.ended {
        assert_eq!(database.texts("state", &format!("keys WHERE id = '{ended}'")), ["DESTROYED"]);
    }
    for (operation, many) in
        [("CREATE_KEY", KINDS.len()), ("IMPORT_KEY", 1), ("ROTATE_KEY", 1), ("REQUEST_KEY_DELETION", 1), ("APPLY_REQUEST", 1), ("FAIL_REQUEST", 0)]
    {
        let kept = database.count(&format!("audit_records WHERE request = '{}' AND operation = '{operation}' AND result_code = 0", round.id));
        assert_eq!(kept, i64::try_from(many).expect("few"), "{operation}");
    }
    let used = |path: &str| scene.own("amy1", "POST", path, &json!({"plaintext": "x"}));
    for (key, kind) in new.iter().zip(KINDS.iter().chain(["symmetric-keys"].iter())) {
        let answer = match *kind {
            "secrets" => scene.get("amy1", &format!("/secrets/{key}")),
            "symmetric-keys" => used(&format!("/symmetric-keys/{key}/encrypt")),
            _ => used(&format!("/asymmetric-keys/{key}/sign")),
        };
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
    }
    assert_eq!(used(&format!("/symmetric-keys/{}/encrypt", round.rotated)).status, 200);
}

/// Whoever wants to hear of it has heard of each request and of its end, each under one name however often it was sent.
fn each_was_told(scene: &Scene, receiver: &Receiver) {
    let ids = scene.installation.database().texts("id", "change_requests");
    all_is_sent(scene);
    for id in ids {
        for kind in ["APPROVAL_REQUESTED", "APPROVAL_DECIDED"] {
            let calls: Vec<_> = receiver.of_kind(kind).into_iter().filter(|call| call.json()["data"]["request"] == id.as_str()).collect();
            let names: BTreeSet<&str> = calls.iter().map(crate::notifications::receiver::Call::id).collect();
            assert_eq!(names.len(), 1, "{id} {kind}: {calls:?}");
            let outcomes = calls.iter().all(|call| kind != "APPROVAL_DECIDED" || call.json()["data"]["outcome"] == "Approved");
            assert!(outcomes, "{calls:?}");
        }
    }
}

fn survives_crashes(cluster: Option<&Cluster>, rounds: usize, mut random: Random) {
    let identity = Identity::new();
    let mut installation = short_leases(installation(cluster));
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Status(200));
    let mut scene = Scene::governed(installation, cluster);
    add_webhook(&admin(&scene.installation, scene.running()), PROJECT, &receiver.url("/"), &["APPROVAL_REQUESTED", "APPROVAL_DECIDED"]);
    let (mut amid, mut ended) = (0, None);
    for number in 0..rounds {
        let moment = MOMENTS.get(number).copied().unwrap_or_else(|| MOMENTS[random.below(MOMENTS.len())]);
        let round = prepare(&scene, number, ended.take());
        let before = scene.snapshot();
        kill_at(&mut scene, &round, moment, &receiver, &mut random);
        receiver.answers(Reply::Status(200));
        let (status, prepared) = (scene.status(&round.id), scene.count("token_objects WHERE state = 'PROVISIONING'"));
        amid += usize::from(status == "APPLYING");
        // Now and then the leases end by themselves, of job and objects at the same moment.
        let waits = if is_full() { random.below(5) == 0 } else { number == 0 };
        println!("round {number}: killed at {moment:?}, {status}, {prepared} objects begun, {}", if waits { "leases end" } else { "leases are ended" });
        if !waits {
            end_leases(&scene);
        }
        scene.restart();
        // Killed before the decision was durable: it is decided now.
        if scene.status(&round.id) == "READY" {
            assert_eq!(scene.snapshot(), before);
            scene.decide("bob1", &round.id, "approve", &json!({})).body();
        }
        scene.wait_for(&round.id, "APPROVED");
        wait_until_settled(&scene.installation);
        exactly_as_approved(&scene, &round, &before);
        token_and_database_agree(&scene.installation);
        ended = Some(round.doomed);
    }
    println!("{amid} of {rounds} amid the job");
    assert!(amid > 0, "no process was killed amid the job");
    each_was_told(&scene, &receiver);
    scene.finish();
}

#[test]
fn amid_a_job_on_sqlite() {
    survives_crashes(None, if is_full() { 100 } else { 5 }, Random::of_test("approval::crash::amid_a_job_on_sqlite"));
}

#[test]
fn amid_a_job_on_postgresql() {
    let random = Random::of_test("approval::crash::amid_a_job_on_postgresql");
    survives_crashes(Some(&Cluster::start()), if is_full() { 100 } else { 4 }, random);
}
