//! Keys that are changed by many at a time, and used meanwhile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{INVALID_KEY_ID, Reply};
use super::life::Keeper;
use super::stage::{Ask, Stage};
use crate::faults::load::{Client, wait_until};
use crate::faults::settled::{short_leases, token_and_database_agree, wait_until_ready, wait_until_settled};
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};

/// Sends all of these at once, each on a connection of its own, and answers what came back, in their order.
fn at_once(stage: &Stage, asks: &[Ask]) -> Vec<Reply> {
    let mut connections: Vec<_> = asks.iter().map(|_| stage.connect(false)).collect();
    std::thread::scope(|scope| {
        for (connection, ask) in connections.iter_mut().zip(asks) {
            scope.spawn(move || connection.write(&ask.to_bytes()).expect("sent"));
        }
    });
    connections.iter_mut().zip(asks).map(|(connection, ask)| stage.read(connection, ask)).collect()
}

fn code(reply: &Reply) -> i64 {
    reply.json()["header"]["resultCode"].as_i64().expect("a code")
}

/// Both succeed, or one is told of a conflict; never a gap, never two current versions.
fn rotations(keeper: &Keeper<'_>) {
    for kind in ["symmetric-keys", "asymmetric-keys"] {
        let key = keeper.stage.make_key(kind, &format!("{kind} rotated at once"));
        let mut successes = 0;
        for _ in 0..3 {
            let replies = at_once(keeper.stage, &vec![keeper.request("POST", &format!("/keys/{key}/rotate")); 4]);
            let mut made: Vec<u64> = Vec::new();
            for reply in &replies {
                match code(reply) {
                    0 => made.push(reply.body()["currentKeyValueVersion"].as_u64().expect("a number")),
                    other => assert_eq!((other, reply.status), (4007, 409), "{reply}"),
                }
            }
            made.sort_unstable();
            assert!(!made.is_empty(), "{replies:?}");
            let expected: Vec<u64> = (successes + 1..=successes + made.len() as u64).collect();
            assert_eq!(made, expected, "neither twice nor left out");
            successes += made.len() as u64;
        }
        let listed = keeper.send("GET", &format!("/keys/{key}/versions")).body();
        let numbers: Vec<u64> =
            listed["keyVersionList"].as_array().expect("a list").iter().map(|shown| shown["keyVersion"].as_u64().expect("a number")).collect();
        assert_eq!((numbers, &listed["currentKeyValueVersion"]), ((0..=successes).collect(), &json!(successes)));
    }
}

/// Of many who want the same, one gets it, and the others are told what is so.
fn only_once(keeper: &Keeper<'_>) {
    let key = keeper.stage.make_key("symmetric-keys", "deleted at once");
    let expect = |method: &str, rest: &str, code_of_others: &[i64]| {
        let replies = at_once(keeper.stage, &vec![keeper.request(method, &format!("/keys/{key}{rest}")); 4]);
        let others: Vec<i64> = replies.iter().map(code).filter(|code| *code != 0).collect();
        assert_eq!(others.len(), 3, "{method} {rest}: {replies:?}");
        assert!(others.iter().all(|code| code_of_others.contains(code)), "{method} {rest}: {others:?}");
    };
    expect("PUT", "/delete", &[3003]);
    expect("PUT", "/restore", &[3003]);
    keeper.rotate(&key);
    expect("PUT", "/versions/0/delete", &[3004]);
    expect("DELETE", "/versions/0", &[3002]);
    expect("PUT", "/delete", &[3003]);
    expect("DELETE", "", &[3001]);
    let address = json!({"keyStoreName": "demo-by-address", "value": "10.3.3.3"});
    keeper.json("POST", "/auths/ipv4s", &address).body();
    for (method, what, others) in [("PUT", "delete", 4010), ("PUT", "restore", 4010), ("PUT", "delete", 4010), ("POST", "delete", 4008)] {
        let replies = at_once(keeper.stage, &vec![keeper.request(method, &format!("/auths/ipv4s/{what}")).json(&address); 4]);
        let mut codes: Vec<i64> = replies.iter().map(code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, others, others, others], "{what}");
    }
}

/// Deleted or restored, rotated or pending, renamed or made: never something of both.
fn one_or_the_other(keeper: &Keeper<'_>) {
    for round in 0..6 {
        let key = keeper.stage.make_key("symmetric-keys", &format!("either {round}"));
        let path = format!("/keys/{key}");
        let replies = at_once(keeper.stage, &[keeper.request("POST", &format!("{path}/rotate")), keeper.request("PUT", &format!("{path}/delete"))]);
        assert_eq!(code(&replies[1]), 0, "{}", replies[1]);
        assert!([0, 3003].contains(&code(&replies[0])), "{}", replies[0]);
        let listed = keeper.send("GET", &format!("{path}/versions")).body();
        let versions = listed["keyVersionList"].as_array().expect("a list").len();
        assert_eq!(versions, if code(&replies[0]) == 0 { 2 } else { 1 }, "{listed}");
        let replies = at_once(keeper.stage, &[keeper.request("DELETE", &path), keeper.request("PUT", &format!("{path}/restore"))]);
        match (code(&replies[0]), code(&replies[1])) {
            (0, 3001) => keeper.send("GET", &format!("{path}/versions")).refused(INVALID_KEY_ID, "deleted"),
            (3003, 0) => assert_eq!(keeper.send("GET", &format!("{path}/versions")).body(), listed),
            other => panic!("{other:?}: {replies:?}"),
        }
        let taken = keeper.stage.make_key("symmetric-keys", &format!("named {round}"));
        let name = json!({"name": format!("wanted {round}"), "keyStoreName": "demo-by-address"});
        let make = keeper.request("POST", "/keys/symmetric-keys/create").json(&name);
        let replies = at_once(keeper.stage, &[keeper.request("PUT", &format!("/keys/{taken}")).json(&name), make]);
        let mut codes: Vec<i64> = replies.iter().map(code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 4005], "{replies:?}");
    }
}

/// A random walk: what is answered must be what a plain model of the key says.
fn as_the_model_says(keeper: &Keeper<'_>, random: &mut Random) {
    const KEY_STATUS: i64 = 3003;
    let key = keeper.stage.make_key("symmetric-keys", "walked");
    let (mut pending, mut versions) = (false, vec!["ACTIVE"]);
    for step in 0..if is_full() { 600 } else { 120 } {
        let number = random.below(versions.len() + 1);
        let current = versions.len() - 1;
        let version = versions.get(number).copied().unwrap_or("DESTROYED");
        let of_version = |needed: &str| match version {
            _ if pending => KEY_STATUS,
            "DESTROYED" => 3002,
            _ if number == current => 3009,
            state if state == needed => 0,
            _ => 3004,
        };
        let of_key = |needed: bool| if pending == needed { 0 } else { KEY_STATUS };
        let (method, rest, expected) = match random.below(8) {
            0 | 1 => ("POST", "/rotate".to_owned(), of_key(false)),
            2 => ("PUT", "/delete".to_owned(), of_key(false)),
            3 | 4 => ("PUT", "/restore".to_owned(), of_key(true)),
            5 => ("PUT", format!("/versions/{number}/delete"), of_version("ACTIVE")),
            6 => ("PUT", format!("/versions/{number}/restore"), of_version("PENDING_DELETION")),
            _ => ("DELETE", format!("/versions/{number}"), of_version("PENDING_DELETION")),
        };
        let reply = keeper.send(method, &format!("/keys/{key}{rest}"));
        assert_eq!(code(&reply), expected, "step {step}: {method} {rest} with {pending} {versions:?}: {reply}");
        if expected == 0 {
            match (method, rest.as_str()) {
                ("POST", _) => versions.push("ACTIVE"),
                ("PUT", "/delete") => pending = true,
                ("PUT", "/restore") => pending = false,
                ("PUT", rest) => versions[number] = if rest.ends_with("delete") { "PENDING_DELETION" } else { "ACTIVE" },
                _ => versions[number] = "DESTROYED",
            }
        }
        let listed = keeper.send("GET", &format!("/keys/{key}/versions")).body();
        let shown = |shown: &Value| (shown["keyVersion"].as_u64().expect("a number"), shown["keyVersionStatus"].as_str().expect("a status").to_owned());
        let shown: Vec<_> = listed["keyVersionList"].as_array().expect("a list").iter().map(shown).collect();
        let all = versions.iter().enumerate().map(|(number, state)| (number as u64, (*state).to_owned()));
        assert_eq!(shown, all.filter(|(_, state)| state != "DESTROYED").collect::<Vec<_>>(), "step {step}");
        assert_eq!(listed["currentKeyValueVersion"], versions.len() - 1);
    }
}

fn races(stage: Stage) {
    let keeper = Keeper::new(&stage);
    rotations(&keeper);
    only_once(&keeper);
    one_or_the_other(&keeper);
    as_the_model_says(&keeper, &mut Random::of_test("api::life_races"));
    // Nothing is left that somebody would have to settle, and the token has what the database names.
    wait_until_settled(&stage.installation);
    token_and_database_agree(&stage.installation);
    stage.finish();
}

#[test]
fn races_on_sqlite() {
    races(Stage::new());
}

#[test]
fn races_on_postgresql() {
    let cluster = Cluster::start();
    races(Stage::on(&cluster));
}

/// The token isn't there when a key is deleted: the deletion is decided all the same, and finished once the token is back.
#[test]
fn a_deletion_that_the_token_fails_is_finished_later() {
    let installation = short_leases(Installation::new());
    let running = installation.start();
    let client = Client::new(&installation, &running);
    let make = || client.change("POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": "demo-by-address", "name": "stuck"})).expect("an answer");
    let key = make().text("keyId");
    let path = format!("/keys/{key}");
    client.change("PUT", &format!("{path}/delete"), &json!({})).expect("an answer").body();
    let (place, away) = (installation.path().join("tokens"), installation.path().join("tokens.away"));
    std::fs::rename(&place, &away).expect("moved away");
    assert_eq!(client.change("DELETE", &path, &json!({})).expect("an answer").body()["keyId"], key.as_str(), "it is decided, and recorded");
    assert_eq!(client.change("DELETE", &path, &json!({})).expect("an answer").refusal(), "Invalid Key ID", "there is no way back");
    assert_eq!(make().status, 409, "its name is taken until it is gone");
    std::fs::rename(&away, &place).expect("put back");
    wait_until_ready(&running, Duration::from_secs(20));
    wait_until_settled(&installation);
    assert_eq!(make().status, 200);
    assert_eq!(running.operations("/readyz").0, 200);
    let record = installation.database().count(&format!("audit_records WHERE operation = 'DELETE_KEY' AND result_code = 0 AND key_id = '{key}'"));
    let finished = installation.database().count(&format!("audit_records WHERE operation = 'RECONCILE' AND detail LIKE '%destroyed' AND key_id = '{key}'"));
    assert_eq!((record, finished), (1, 1));
    let (status, log) = running.stop();
    assert!(status.success(), "{status}\n{log}");
    token_and_database_agree(&installation);
}

/// One client's work: what it encrypts decrypts at once, and what it encrypted long ago still does.
fn use_key(client: &Client, key: &str, stop: &AtomicBool, done: &AtomicUsize, kept: &Mutex<Vec<(String, String)>>, name: usize) {
    let mut own: Vec<(String, String)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let plaintext = format!("{name} {}", own.len());
        let made = client.encrypt(key, &plaintext).expect("an answer");
        assert_eq!(made.status, 200, "{made:?}");
        own.push((plaintext, made.text("ciphertext")));
        let (plaintext, ciphertext) = &own[own.len() / 2];
        let opened = client.decrypt(key, ciphertext).expect("an answer");
        assert_eq!(opened.status, 200, "{opened:?}");
        assert_eq!(opened.text("plaintext"), *plaintext);
        done.fetch_add(2, Ordering::Relaxed);
    }
    // A sample of each client's is looked at once more, at the end.
    let step = (own.len() / 20).max(1);
    kept.lock().expect("the ciphertexts").extend(own.into_iter().step_by(step));
}

#[test]
fn clients_go_on_while_their_key_rotates_every_second() {
    let (clients, seconds) = if is_full() { (64, 60) } else { (16, 10) };
    let stage = Stage::new();
    let keeper = Keeper::new(&stage);
    let key = stage.make_key("symmetric-keys", "rotating all the time");
    let (stop, done, kept) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let _guard = crate::faults::token_away::Stop(&stop);
        for name in 0..clients {
            let client = Client::new(&stage.installation, &stage.running);
            let (key, stop, done, kept) = (&key, &stop, &done, &kept);
            scope.spawn(move || use_key(&client, key, stop, done, kept, name));
        }
        let began = Instant::now();
        for second in 1..=seconds {
            std::thread::sleep((began + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
            assert_eq!(keeper.rotate(&key)["currentKeyValueVersion"], second);
        }
    });
    let kept = kept.into_inner().expect("the ciphertexts");
    println!("{} operations of {clients} clients in {seconds} s, {} ciphertexts looked at once more", done.into_inner(), kept.len());
    let client = Client::new(&stage.installation, &stage.running);
    let mut versions = std::collections::BTreeSet::new();
    for (plaintext, ciphertext) in kept {
        let opened = client.decrypt(&key, &ciphertext).expect("an answer");
        assert_eq!(opened.text("plaintext"), plaintext);
        versions.insert(opened.body()["keyVersion"].as_u64());
    }
    assert!(versions.len() as u64 > seconds / 2, "{versions:?}");
    wait_until("settled", Duration::from_secs(5), || stage.running.operations("/readyz").0 == 200);
    let (status, log) = stage.running.stop();
    assert!(status.success() && !log.contains("panick"), "{status}\n{log}");
}
