//! Two processes on one PostgreSQL and one token.

use std::time::{Duration, Instant};

use serde_json::json;

use super::missing::object_files;
use super::{PATIENCE, current_version, decrypts, done, encrypt, installation, make_key};
use crate::faults::load::{Client, Kind, STORE, Thing, wait_until};
use crate::faults::settled::{audit_is_intact, token_and_database_agree, wait_until_settled};
use crate::support::installation::{Answer, Running};
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};
use crate::support::raw_database::RawDatabase;

fn stop_in_order(node: Running) {
    let (status, log) = node.stop();
    assert!(status.success(), "{status}\n{log}");
}

fn thing(kind: Kind, name: &str, id: &str) -> Thing {
    Thing { kind, name: name.to_owned(), id: Some(id.to_owned()) }
}

/// Each right after the answer, and more than once: it must not be luck.
fn what_is_made_on_one_works_on_the_other(here: &Client, there: &Client) {
    for round in 0..5 {
        let key = make_key(here, "symmetric-keys", &format!("key {round}"), 0);
        there.must_work(&thing(Kind::Symmetric, "text", &key));
        let pair = make_key(here, "asymmetric-keys", &format!("pair {round}"), 0);
        there.must_work(&thing(Kind::Asymmetric, "text", &pair));
        // Its view, kept there, doesn't have the version that encrypts here from now on.
        done(here.own("POST", &format!("/keys/{key}/rotate"), None));
        let ciphertext = encrypt(here, &key, "new version");
        decrypts(there, &key, &ciphertext, "new version");
        assert_eq!(current_version(there, &key), 1);
        done(here.own("POST", &format!("/keys/{pair}/rotate"), None));
        let path = format!("/asymmetric-keys/{pair}");
        let signature = done(here.data("POST", &format!("{path}/sign"), Some(&json!({"plaintext": "text"})))).text("signature");
        let verified = done(there.data("POST", &format!("{path}/verify"), Some(&json!({"plaintext": "text", "signature": signature}))));
        assert_eq!(verified.body()["result"], true, "{verified:?}");
    }
}

/// How long after the answer here `there` still serves who is no longer admitted.
fn refused_within_a_second(there: &Client, key: &str, what: &str) {
    let answered = Instant::now();
    let mut last_served = None;
    while answered.elapsed() < Duration::from_millis(2_500) {
        let asked = answered.elapsed();
        let answer = there.encrypt(key, "text").expect("an answer");
        if answer.status == 200 {
            last_served = Some(asked);
        }
    }
    println!("{what}: last served {last_served:?} after the answer");
    assert!(last_served.is_none_or(|asked| asked < Duration::from_secs(1)), "{what}: served {last_served:?} after it was revoked elsewhere");
}

#[test]
fn what_one_does_holds_on_the_other() {
    let cluster = Cluster::start();
    let installation = installation(Some(&cluster));
    let [one, two] = ["one", "two"].map(|node| installation.start_node(node));
    let [here, there] = [&one, &two].map(|node| Client::new(&installation, node));
    what_is_made_on_one_works_on_the_other(&here, &there);
    what_is_made_on_one_works_on_the_other_way_round(&there, &here);
    let entry = json!({"keyStoreName": STORE, "value": "127.0.0.1"});
    for (revoking, serving) in [(&here, &there), (&there, &here)] {
        let key = make_key(revoking, "symmetric-keys", &format!("served by {serving:p}"), 0);
        encrypt(serving, &key, "text");
        done(revoking.change("PUT", "/auths/ipv4s/delete", &entry));
        refused_within_a_second(serving, &key, "an entry");
        assert_eq!(serving.encrypt(&key, "text").expect("an answer").refusal(), "IPv4 Auth Failure");
        done(revoking.own("PUT", "/auths/ipv4s/restore", Some(&entry)));
        wait_until("admitted again", PATIENCE, || serving.encrypt(&key, "text").expect("an answer").status == 200);
        done(revoking.change("PUT", &format!("/keys/{key}/delete"), &json!({})));
        refused_within_a_second(serving, &key, "a key");
    }
    [one, two].into_iter().for_each(stop_in_order);
    token_and_database_agree(&installation);
    audit_is_intact(&installation);
}

fn what_is_made_on_one_works_on_the_other_way_round(here: &Client, there: &Client) {
    done(here.change("POST", "/keystores", &json!({"name": "made elsewhere", "ip4AuthUse": "Y"})));
    there.must_work(&thing(Kind::KeyStore, "made elsewhere", ""));
    let secret = json!({"keyStoreName": STORE, "name": "secret", "secretValue": "first"});
    let key = done(here.change("POST", "/keys/secrets/create", &secret)).text("keyId");
    assert_eq!(done(there.data("GET", &format!("/secrets/{key}"), None)).text("secret"), "first");
}

/// Objects whose destruction a dead node began: whichever of two looks first finishes each, and nobody does it twice.
#[test]
fn two_nodes_finish_what_a_dead_one_began() {
    let cluster = Cluster::start();
    let installation = installation(Some(&cluster));
    let running = installation.start();
    let client = Client::new(&installation, &running);
    let keys: Vec<String> = (0..12).map(|number| make_key(&client, "symmetric-keys", &format!("key {number}"), 0)).collect();
    stop_in_order(running);
    let list = keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
    installation.database().run(&format!(
        "UPDATE keys SET state = 'DESTROYING' WHERE id IN ({list});
         UPDATE key_versions SET state = 'DESTROYING' WHERE key_id IN ({list});
         UPDATE token_objects SET state = 'DESTROYING', node = 'dead', lease_until = 1 WHERE key_id IN ({list});"
    ));
    let nodes: Vec<Running> = std::thread::scope(|scope| {
        let starting = ["one", "two"].map(|node| scope.spawn(|| installation.start_node(node)));
        starting.into_iter().map(|node| node.join().expect("a node")).collect()
    });
    wait_until_settled(&installation);
    let mut database = installation.database();
    for key in &keys {
        assert_eq!(database.texts("state", &format!("keys WHERE id = '{key}'")), ["DESTROYED"]);
        assert_eq!(database.count(&format!("audit_records WHERE operation = 'RECONCILE' AND key_id = '{key}'")), 1, "{key}");
    }
    nodes.into_iter().for_each(stop_in_order);
    token_and_database_agree(&installation);
    audit_is_intact(&installation);
}

/// Keeps the row of an object that is being made, so that its maker can't make it `ACTIVE`; answers its key.
fn hold_new_object(database: &mut RawDatabase, holder: &mut RawDatabase) -> String {
    let making = "token_objects WHERE state = 'PROVISIONING'";
    wait_until("an object that is being made", PATIENCE, || database.count(making) == 1);
    let object = database.texts("object_id", making).pop().expect("an object");
    holder.run(&format!("BEGIN; UPDATE token_objects SET state = state WHERE object_id = '{object}'"));
    assert_eq!(database.texts("state", &format!("token_objects WHERE object_id = '{object}'")), ["PROVISIONING"], "it was too late");
    database.texts("key_id", &format!("token_objects WHERE object_id = '{object}'")).pop().expect("its key")
}

/// A node rotates a pair; between the object and the rows that say so it is stopped for longer than its lease (`KILL`: for good).
fn stopped_between_token_and_database(signal: &str) {
    let cluster = Cluster::start();
    let mut installation = installation(Some(&cluster));
    // Leases of 9 s, and transactions that a process leaves open end after 4 s.
    installation.set("SKM_TOKEN__SLOW_DEADLINE", "3 s");
    let [one, two] = ["one", "two"].map(|node| installation.start_node(node));
    let [here, there] = [&one, &two].map(|node| Client::new(&installation, node));
    let key = make_key(&here, "asymmetric-keys", "pair", 0);
    let files = object_files(&installation).len();
    let (mut database, mut holder) = (installation.database(), installation.database());
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| here.own("POST", &format!("/keys/{key}/rotate"), None));
        assert_eq!(hold_new_object(&mut database, &mut holder), key);
        wait_until("the pair in the token", PATIENCE, || object_files(&installation).len() == files + 2);
        wait_until("its maker waits for the row", PATIENCE, || database.count("pg_locks WHERE NOT granted") > 0);
        one.signal(signal);
        holder.run("ROLLBACK");
        wait_until_settled(&installation);
        if signal == "STOP" {
            // It comes back and knows nothing of the time that went by.
            one.signal("CONT");
            // The client may have given up meanwhile.
            let answer = asked.join().expect("a thread");
            assert!(answer.as_ref().map_or(true, |answer| answer.status == 503), "{answer:?}");
        } else {
            asked.join().expect("a thread").expect_err("nobody to answer");
        }
    });
    assert_eq!(object_files(&installation).len(), files, "the new pair is still in the token");
    let undone = installation.database().count(&format!("audit_records WHERE operation = 'RECONCILE' AND key_id = '{key}' AND version = 1"));
    assert_eq!(undone, 1);
    there.must_work(&thing(Kind::Asymmetric, "text", &key));
    let rotated = done(there.own("POST", &format!("/keys/{key}/rotate"), None));
    assert_eq!(rotated.body()["currentKeyValueVersion"], 2, "numbers are never used again: {rotated:?}");
    if signal == "STOP" {
        wait_until("ready again", PATIENCE, || one.operations("/readyz").0 == 200);
        here.must_work(&thing(Kind::Asymmetric, "text", &key));
        stop_in_order(one);
    } else {
        drop(one);
    }
    stop_in_order(two);
    token_and_database_agree(&installation);
    audit_is_intact(&installation);
}

#[test]
fn the_lease_of_a_node_that_hangs_is_taken_over() {
    stopped_between_token_and_database("STOP");
}

#[test]
fn the_lease_of_a_node_that_dies_is_taken_over() {
    stopped_between_token_and_database("KILL");
}

/// Both are asked at the same moment, and may say no, but never end with a gap or two current versions.
#[test]
fn rotations_on_both_nodes_at_once_come_one_after_the_other() {
    let cluster = Cluster::start();
    let installation = installation(Some(&cluster));
    let nodes = ["one", "two"].map(|node| installation.start_node(node));
    let clients = [&nodes[0], &nodes[1]].map(|node| Client::new(&installation, node));
    let key = make_key(&clients[0], "symmetric-keys", "key", 0);
    let mut ciphertexts = vec![encrypt(&clients[0], &key, "text")];
    let mut rotated = 0;
    for _ in 0..5 {
        let answers = std::thread::scope(|scope| {
            let asked = clients.each_ref().map(|client| scope.spawn(|| client.own("POST", &format!("/keys/{key}/rotate"), None).expect("an answer")));
            asked.map(|thread| thread.join().expect("a thread"))
        });
        let done = answers.iter().filter(|answer| answer.status == 200).count();
        assert!(done > 0 && answers.iter().all(|answer| [200, 409].contains(&answer.status)), "{answers:?}");
        rotated += done;
        ciphertexts.push(encrypt(&clients[0], &key, "text"));
    }
    // What the other node did last, this one learns from the change log.
    wait_until("the last version on both nodes", PATIENCE, || clients.iter().all(|client| current_version(client, &key) == rotated));
    for ciphertext in &ciphertexts {
        clients.iter().for_each(|client| decrypts(client, &key, ciphertext, "text"));
    }
    nodes.into_iter().for_each(stop_in_order);
    token_and_database_agree(&installation);
}

/// One of what people ask of a key and its versions, whether or not it can be done now.
fn anything(client: &Client, key: &str, random: &mut Random) -> Answer {
    let version = random.below(3);
    let (method, rest) = match random.below(7) {
        0 | 1 => ("POST", "/rotate".to_owned()),
        2 => ("PUT", "/delete".to_owned()),
        3 => ("PUT", "/restore".to_owned()),
        4 => ("PUT", format!("/versions/{version}/delete")),
        5 => ("PUT", format!("/versions/{version}/restore")),
        _ => ("DELETE", format!("/versions/{version}")),
    };
    client.own(method, &format!("/keys/{key}{rest}"), None).expect("an answer")
}

/// Many on both nodes change the same few keys at once: whoever waits for a row waits for somebody who goes on.
#[test]
fn many_who_change_the_same_keys_on_both_nodes_never_deadlock() {
    const EACH: usize = 4;
    let cluster = Cluster::start();
    let installation = installation(Some(&cluster));
    let nodes = ["one", "two"].map(|node| installation.start_node(node));
    let client = Client::new(&installation, &nodes[0]);
    let keys: Vec<String> = (0..3).map(|number| make_key(&client, "symmetric-keys", &format!("key {number}"), 0)).collect();
    let mut random = Random::of_test("clockwork::nodes::many_who_change_the_same_keys_on_both_nodes_never_deadlock");
    let rounds = if is_full() { 300 } else { 40 };
    let done: usize = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..2 * EACH)
            .map(|number| {
                let (client, keys, mut random) = (Client::new(&installation, &nodes[number % 2]), &keys, random.fork());
                scope.spawn(move || {
                    let answers = (0..rounds).map(|_| anything(&client, &keys[random.below(keys.len())], &mut random));
                    answers.inspect(|answer| assert!([200, 404, 409].contains(&answer.status), "{answer:?}")).filter(|answer| answer.status == 200).count()
                })
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    });
    println!("{done} of {} done", 2 * EACH * rounds);
    assert!(done > rounds, "hardly anything was done");
    wait_until_settled(&installation);
    nodes.into_iter().for_each(stop_in_order);
    // The server counts when a connection has ended.
    let ours = "pg_stat_activity WHERE application_name = 'skm'";
    wait_until("no connection", PATIENCE, || installation.database().count(ours) == 0);
    assert_eq!(installation.database().number("deadlocks", "pg_stat_database WHERE datname = 'skm'"), 0);
    token_and_database_agree(&installation);
    audit_is_intact(&installation);
}
