//! Whoever takes a job over finishes it, once: the same node after one crash and the next, another one while the first hangs and after it comes back.

use serde_json::json;

use super::{PATIENCE, STORE, Scene, end_leases, installation};
use crate::clockwork::missing::object_files;
use crate::clockwork::wait_for_task;
use crate::faults::load::wait_until;
use crate::faults::settled::{short_leases, token_and_database_agree, wait_until_settled};
use crate::support::installation::Running;
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};

const IMPORT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// How many pairs a request makes.
const PAIRS: usize = 5;

/// How often the operation is told of as done by the request.
fn done(scene: &Scene, id: &str, operation: &str) -> i64 {
    scene.count(&format!("audit_records WHERE request = '{id}' AND operation = '{operation}' AND result_code = 0"))
}

/// What was planned for a request while it is applied, beside `waiting` objects that were there before.
fn planned(scene: &Scene, id: &str) -> i64 {
    scene.count(&format!("change_items WHERE request_id = '{id}' AND object_id IS NOT NULL"))
}

/// A key store that is to come into being with an imported key, killed while that is done, three times in a row.
fn of_a_new_key_store(cluster: Option<&Cluster>, mut random: Random) {
    let mut scene = Scene::governed(short_leases(installation(cluster)), cluster);
    let id = scene.draft("amy1", "POST", "/keystores", &json!({"name": "born", "ip4AuthUse": "Y"}));
    let within = |scene: &Scene, rest: &str, body: serde_json::Value| {
        let mut body = body;
        body["keyStoreName"] = json!("born");
        assert_eq!(scene.draft("mia1", "POST", rest, &body), id, "{rest}");
    };
    within(&scene, "/keys/symmetric-keys/import", json!({"name": "imported", "keyData": IMPORT}));
    within(&scene, "/keys/secrets/create", json!({"name": "secret", "secretValue": "its value"}));
    for number in 0..PAIRS {
        within(&scene, "/keys/asymmetric-keys/create", json!({"name": format!("pair {number}")}));
    }
    within(&scene, "/auths/ipv4s", json!({"value": "127.0.0.1"}));
    scene.own("amy1", "POST", &format!("/approvals/{id}/request"), &json!({"note": "n"})).body();
    let before = scene.snapshot();
    let mut killed = 0;
    for attempt in 1..=3_i64 {
        let running = scene.running.take().expect("a running service");
        let (path, bearer) = (scene.path(&format!("/approvals/{id}/approve")), scene.tokens["bob1"].clone());
        std::thread::scope(|scope| {
            let approving = &running;
            if attempt == 1 {
                scope.spawn(move || drop(approving.call(false, "POST", &path, &[("x-nhn-authorization", &bearer)], Some(b"{}"))));
            }
            let begun = format!("change_requests WHERE id = '{id}' AND attempts >= {attempt}");
            wait_until("an attempt", PATIENCE, || scene.count(&begun) == 1);
            std::thread::sleep(random.between(std::time::Duration::ZERO, std::time::Duration::from_millis(600)));
            approving.signal("KILL");
        });
        running.kill();
        let state = scene.status(&id);
        println!("attempt {attempt}: {state}, {} objects planned", planned(&scene, &id));
        if state == "APPLYING" {
            assert_eq!(scene.snapshot(), before, "nothing is done by halves");
            killed += 1;
        }
        end_leases(&scene);
        scene.restart();
    }
    assert!(killed > 0, "never amid the job");
    scene.wait_for(&id, "APPROVED");
    wait_until_settled(&scene.installation);
    let [imported, secret, pair] = ["imported", "secret", "pair 0"].map(|name| scene.key(name).unwrap_or_else(|| panic!("{name} is missing")));
    assert_eq!(scene.own("amy1", "POST", &format!("/symmetric-keys/{imported}/encrypt"), &json!({"plaintext": "x"})).status, 200);
    assert_eq!(scene.own("amy1", "POST", &format!("/asymmetric-keys/{pair}/sign"), &json!({"plaintext": "x"})).status, 200);
    assert_eq!(scene.get("amy1", &format!("/secrets/{secret}")).text("secret"), "its value");
    assert_eq!(scene.count("key_stores WHERE name = 'born' AND state = 'ACTIVE'"), 1);
    for (operation, many) in [("CREATE_KEY_STORE", 1), ("IMPORT_KEY", 1), ("CREATE_KEY", PAIRS + 1), ("CREATE_CLIENT_RULE", 1), ("APPLY_REQUEST", 1)] {
        assert_eq!(done(&scene, &id, operation), i64::try_from(many).expect("few"), "{operation}");
    }
    // Key, rule, and each key with its version.
    assert_eq!(scene.snapshot().len() - before.len(), 2 + 2 * (PAIRS + 2));
    token_and_database_agree(&scene.installation);
    scene.finish();
}

#[test]
fn a_new_key_store_comes_into_being_after_one_crash_and_the_next() {
    let mut random = Random::of_test("approval::takeover::a_new_key_store");
    for _ in 0..if is_full() { 5 } else { 1 } {
        of_a_new_key_store(None, random.fork());
    }
    if is_full() {
        of_a_new_key_store(Some(&Cluster::start()), random);
    }
}

/// Where the node that applies a request is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// While it makes objects: one more of them comes into the token when it goes on.
    InTheToken,
    /// When all objects are made, in the transaction that is to change everything.
    InTheTransaction,
}

/// Stops a process while it has none of the token's files locked: a token in the network isn't locked by whoever hangs.
fn stop_without_locks(node: &Running) {
    let tasks = format!("/proc/{}/task", node.pid());
    let state = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).ok()?.rsplit(") ").next()?.chars().next();
    let all_stopped = || std::fs::read_dir(&tasks).expect("its threads").flatten().filter_map(state).all(|state| state == 'T');
    let pid = format!(" {} ", node.pid());
    wait_until("a moment without locks", PATIENCE, || {
        node.signal("STOP");
        wait_until("all its threads to stop", PATIENCE, all_stopped);
        let holds = std::fs::read_to_string("/proc/locks").expect("locks").lines().any(|lock| lock.contains("POSIX") && lock.contains(&pid));
        if holds {
            node.signal("CONT");
        }
        !holds
    });
}

fn by_another_node(stopped: Stopped) {
    let cluster = Cluster::start();
    let mut installation = installation(Some(&cluster));
    // Leases of 9 s, and transactions that a process leaves open end after 2 s.
    installation.set("SKM_TOKEN__SLOW_DEADLINE", "3 s");
    installation.set("SKM_DATABASE__DEADLINE", "4 s");
    let mut scene = Scene::ungoverned_on(installation, Some(&cluster), |installation| installation.start_node("one"));
    let two = scene.installation.start_node("two");
    let make = |name: &str| json!({"keyStoreName": STORE, "name": name});
    let rotated = scene.own("amy1", "POST", "/keys/symmetric-keys/create", &make("rotated")).text("keyId");
    scene.turn_on();
    // The nodes hear of it from the change log.
    let (path, header) = (format!("/keys/{rotated}/rotate"), [("x-skm-approval-draft", "add")]);
    wait_until("approval is on", PATIENCE, || scene.send("amy1", "POST", &path, &header, None).status == 202);
    let mut id = String::new();
    for number in 0..PAIRS {
        id = scene.draft("amy1", "POST", "/keys/asymmetric-keys/create", &make(&format!("pair {number}")));
    }
    scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &json!({"keyStoreName": STORE, "name": "imported", "keyData": IMPORT}));
    scene.own("amy1", "POST", &format!("/approvals/{id}/request"), &json!({"note": "n"})).body();
    let before = scene.snapshot();
    let files = object_files(&scene.installation).len();
    let all = i64::try_from(PAIRS + 2).expect("few");
    let mut holder = scene.installation.database();
    let (path, bearer) = (scene.path(&format!("/approvals/{id}/approve")), scene.tokens["bob1"].clone());
    let one = scene.running.take().expect("a node");
    std::thread::scope(|scope| {
        let approving = &one;
        scope.spawn(move || drop(approving.call(false, "POST", &path, &[("x-nhn-authorization", &bearer)], Some(b"{}"))));
        wait_until("the plan", PATIENCE, || planned(&scene, &id) == all);
        match stopped {
            Stopped::InTheToken => {
                wait_until("objects in the token", PATIENCE, || object_files(&scene.installation).len() > files + 1);
                stop_without_locks(&one);
            }
            Stopped::InTheTransaction => {
                holder.run(&format!("BEGIN; UPDATE change_requests SET state = state WHERE id = '{id}'"));
                wait_until("its maker waits for the row", PATIENCE, || scene.count("pg_locks WHERE NOT granted") > 0);
                one.signal("STOP");
                holder.run("ROLLBACK");
            }
        }
        assert_eq!((scene.status(&id).as_str(), scene.snapshot() == before), ("APPLYING", true));
        // Beyond its lease the other one takes over.
        scene.wait_for(&id, "APPROVED");
        assert_eq!(scene.count(&format!("change_requests WHERE id = '{id}' AND attempts >= 2")), 1);
        let applied = scene.snapshot();
        // It comes back and knows nothing of the time that went by.
        one.signal("CONT");
        let too_late = ["could not be applied yet", "could not be ended yet", "ending the process, to be started again"];
        wait_until("it says that it was too late", PATIENCE, || too_late.iter().any(|words| one.log().contains(words)));
        assert_eq!((scene.status(&id).as_str(), scene.snapshot() == applied), ("APPROVED", true), "once and no more");
    });
    for (operation, many) in [("ROTATE_KEY", 1), ("IMPORT_KEY", 1), ("CREATE_KEY", PAIRS), ("APPLY_REQUEST", 1), ("FAIL_REQUEST", 0)] {
        assert_eq!(done(&scene, &id, operation), i64::try_from(many).expect("few"), "{operation}");
    }
    assert_eq!(scene.count(&format!("key_versions WHERE key_id = '{rotated}' AND state = 'ACTIVE'")), 2);
    let (status, log) = two.stop();
    assert!(status.success(), "{status}\n{log}");
    let (status, log) = one.stop();
    // A process whose token seems to hang may ask its supervisor for another one.
    assert!(status.success() || (stopped == Stopped::InTheToken && status.code() == Some(70)), "{status}\n{log}");
    // An object that came too late is found when a node starts, at the latest.
    scene.restart();
    wait_for_task(scene.running(), "compare_token");
    for number in 0..PAIRS {
        let key = scene.key(&format!("pair {number}")).expect("a pair");
        assert_eq!(scene.own("amy1", "POST", &format!("/asymmetric-keys/{key}/sign"), &json!({"plaintext": "x"})).status, 200);
    }
    scene.finish();
}

#[test]
fn another_node_takes_over_from_one_that_hangs() {
    by_another_node(Stopped::InTheToken);
    if is_full() {
        by_another_node(Stopped::InTheTransaction);
    }
}
