//! Key stores are replaced and deleted, and what happens to them at the same moment.

use serde_json::{Value, json};

use super::http::{
    CONFLICT, FORBIDDEN, INVALID_KEY_STORE, IPV4_AUTH_FAILURE, KEY_STORE_NOT_EMPTY, MAC_AUTH_FAILURE, METHOD_NOT_ALLOWED, Refusal, Reply, URL_NOT_FOUND,
    exists, field, malformed,
};
use super::inventory::wrong_texts;
use super::stage::{Ask, FOREIGN_APPKEY, Stage, access_key};
use crate::support::postgres::Cluster;

const TAKEN: Refusal = exists("name is taken: a key store of that name exists");
const KEY_TAKEN: Refusal = exists("name is taken: a key of that name exists");

fn ask(stage: &Stage, ask: Ask) -> Reply {
    stage.ask(&ask.headers(&stage.admin()))
}

fn path(stage: &Stage, store: &str) -> String {
    stage.path("v1.2", &format!("/keystores/{store}"))
}

fn put(stage: &Stage, store: &str, body: &Value) -> Reply {
    ask(stage, Ask::put(path(stage, store), body))
}

fn delete(stage: &Stage, store: &str) -> Reply {
    ask(stage, Ask::new("DELETE", path(stage, store)))
}

fn new_store(stage: &Stage, name: &str) -> String {
    stage.make("/keystores", &json!({"name": name, "ip4AuthUse": "Y"})).body()["keyStoreId"].to_string()
}

fn new_secret(stage: &Stage, store: &str, name: &str) -> Reply {
    stage.make("/keys/secrets/create", &json!({"keyStoreName": store, "name": name, "secretValue": "s"}))
}

fn key_stores_are_replaced(stage: &Stage) {
    let store = new_store(stage, "before");
    stage.make("/auths/ipv4s", &json!({"keyStoreName": "before", "value": "127.0.0.1"})).body();
    stage.make("/auths/macs", &json!({"keyStoreName": "before", "value": "02:00:00:00:00:01"})).body();
    let key = new_secret(stage, "before", "key").text("keyId");
    let read = || stage.ask(&Ask::get(stage.v1(&format!("/secrets/{key}"))));
    assert_eq!(read().text("secret"), "s");
    let shown = || ask(stage, Ask::get(path(stage, &store))).body();
    let before = shown();
    let body = json!({"name": " after ", "description": "여러\n줄", "ip4AuthUse": "Y", "macAuthUse": "Y", "certificateAuthUse": "Y", "authMode": "OR"});
    let by_other = Ask::put(path(stage, &store), &body).headers(&access_key("apiAdmin", "apiAdmin-secret"));
    assert_eq!(stage.ask(&by_other).body(), Value::Null);
    let after = shown();
    let expected = json!({
        "keyStoreId": before["keyStoreId"], "name": "after", "description": "여러\n줄", "ip4AuthUse": "Y", "macAuthUse": "Y", "certificateAuthUse": "Y",
        "authMode": "OR", "creationUser": "admin", "creationDatetime": before["creationDatetime"], "lastChangeUser": "apiAdmin",
        "lastChangeDatetime": after["lastChangeDatetime"],
    });
    assert_eq!(after, expected);
    // The old name is free, the new one names it, and what is in it is still there.
    new_secret(stage, "before", "second").refused(INVALID_KEY_STORE, "the old name");
    new_secret(stage, "after", "second").body();
    assert_eq!(read().text("secret"), "s");
    // The checks are in force with the answer.
    put(stage, &store, &json!({"name": "after", "macAuthUse": "Y"})).body();
    read().refused(MAC_AUTH_FAILURE, "without the header");
    put(stage, &store, &json!({"name": "after", "ip4AuthUse": "Y", "macAuthUse": "Y", "authMode": "OR"})).body();
    assert_eq!(read().text("secret"), "s");
    // What is missing or null is at its default, not as it was.
    for body in
        [json!({"name": "least", "ip4AuthUse": "Y"}), json!({"name": "least", "ip4AuthUse": "Y", "description": null, "authMode": null, "macAuthUse": null})]
    {
        put(stage, &store, &json!({"name": "least", "description": "d", "certificateAuthUse": "Y", "authMode": "OR"})).body();
        put(stage, &store, &body).body();
        let seen = ["name", "description", "ip4AuthUse", "macAuthUse", "certificateAuthUse", "authMode"].map(|name| shown()[name].clone());
        assert_eq!(seen, ["least", "", "Y", "N", "N", "AND"].map(Value::from));
    }
    let record = stage.records().into_iter().rev().find(|record| record["operation"] == "CHANGE_KEY_STORE").expect("a record");
    assert_eq!([&record["keyStore"], &record["detail"]], [&before["keyStoreId"], &json!("least")], "{record}");
}

fn what_is_wrong_is_named(stage: &Stage) {
    let store = new_store(stage, "unchanged");
    let change = |change: &Value| {
        let mut body = json!({"name": "unchanged", "description": "d", "ip4AuthUse": "Y"});
        body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        put(stage, &store, &body)
    };
    let none = "ip4AuthUse or macAuthUse or certificateAuthUse must be \"Y\": at least one client check is needed";
    let others = [
        (json!({"name": null}), "name is required"),
        (json!({"name": 7}), "name must be a text"),
        (json!({"ip4AuthUse": null}), none),
        (json!({"ip4AuthUse": "N", "macAuthUse": "N"}), none),
        (json!({"macAuthUse": "y"}), "macAuthUse must be \"Y\" or \"N\""),
        (json!({"certificateAuthUse": true}), "certificateAuthUse must be a text"),
        (json!({"authMode": "XOR"}), "authMode must be \"AND\" or \"OR\""),
    ];
    for (wrong, message) in wrong_texts().into_iter().chain(others) {
        change(&wrong).refused(field(message), &wrong.to_string());
    }
    put(stage, &store, &json!([])).refused(malformed("Malformed Body: not a JSON object, line 1, column 0"), "a list");
    let shown = ask(stage, Ask::get(path(stage, &store))).body();
    assert_eq!([&shown["name"], &shown["description"], &shown["ip4AuthUse"]], [&json!("unchanged"), &json!(""), &json!("Y")]);
    for wrong in ["0", "-1", "x", "999", "9223372036854775808", "01"] {
        put(stage, wrong, &json!({"name": "n", "ip4AuthUse": "Y"})).refused(INVALID_KEY_STORE, wrong);
        delete(stage, wrong).refused(INVALID_KEY_STORE, wrong);
    }
    // Another project's key store is none, whatever its number.
    let foreign = format!("/keymanager/v1.2/appkey/{FOREIGN_APPKEY}/keystores/{store}");
    let foreigner = access_key("foreigner", "foreigner-secret");
    stage.ask(&Ask::new("DELETE", &foreign).headers(&foreigner)).refused(INVALID_KEY_STORE, "foreign");
    stage.ask(&Ask::put(&foreign, &json!({"name": "n", "ip4AuthUse": "Y"})).headers(&foreigner)).refused(INVALID_KEY_STORE, "foreign");
    stage.ask(&Ask::new("DELETE", &foreign).headers(&stage.admin())).refused(FORBIDDEN, "no role there");
    for method in ["PUT", "DELETE"] {
        let rest = format!("/keystores/{store}");
        stage.ask(&Ask::new(method, stage.v1(&rest))).refused(METHOD_NOT_ALLOWED, "v1.0 only reads");
        stage.ask(&Ask::new(method, stage.path("v1.1", &rest))).refused(URL_NOT_FOUND, "v1.1 has no inventory");
    }
}

fn names_are_taken_or_free(stage: &Stage) {
    let (store, other) = (new_store(stage, "caf\u{e9}"), new_store(stage, "other"));
    let rename = |store: &str, name: &str| put(stage, store, &json!({"name": name, "ip4AuthUse": "Y"}));
    rename(&store, "cafe\u{301}").body();
    for taken in ["caf\u{e9}", "cafe\u{301}", " caf\u{e9}"] {
        rename(&other, taken).refused(TAKEN, taken);
    }
    rename(&other, "Caf\u{e9}").body();
    rename(&other, "other").body();
    new_store(stage, "Caf\u{e9}");

    // A key's name is taken as long as the key is not destroyed.
    let key = new_secret(stage, "other", "name").text("keyId");
    for state in ["PENDING_DELETION", "DESTROYING", "PROVISIONING", "ACTIVE"] {
        stage.database.change(&format!("UPDATE keys SET state = '{state}' WHERE id = '{key}'"));
        new_secret(stage, "other", "name").refused(KEY_TAKEN, state);
    }
    new_secret(stage, "other", "Name").body();
    new_secret(stage, "caf\u{e9}", "name").body();
    stage.database.change(&format!("UPDATE keys SET state = 'DESTROYED' WHERE id = '{key}'"));
    new_secret(stage, "other", "name").body();
    new_secret(stage, "other", " name").refused(KEY_TAKEN, "twice");
}

fn key_stores_are_deleted(stage: &Stage) {
    let store = new_store(stage, "short-lived");
    let number: i64 = store.parse().expect("a number");
    stage.make("/auths/ipv4s", &json!({"keyStoreName": "short-lived", "value": "127.0.0.1"})).body();
    stage.make("/auths/certificates", &json!({"keyStoreName": "short-lived", "name": "c", "password": "p", "lifeTime": 1})).body();
    let key = new_secret(stage, "short-lived", "key").text("keyId");
    for state in ["PROVISIONING", "ACTIVE", "PENDING_DELETION", "DESTROYING"] {
        stage.database.change(&format!("UPDATE keys SET state = '{state}' WHERE id = '{key}'"));
        delete(stage, &store).refused(KEY_STORE_NOT_EMPTY, state);
    }
    ask(stage, Ask::get(path(stage, &store))).body();
    stage.database.change(&format!("UPDATE keys SET state = 'DESTROYED' WHERE id = '{key}'"));
    // A body means nothing, and doesn't cost the connection.
    let reply = ask(stage, Ask::new("DELETE", path(stage, &store)).json(&json!({"x": 1})));
    assert_eq!((reply.body(), reply.header("connection")), (Value::Null, None));
    for _ in 0..2 {
        delete(stage, &store).refused(INVALID_KEY_STORE, "deleted");
        put(stage, &store, &json!({"name": "n", "ip4AuthUse": "Y"})).refused(INVALID_KEY_STORE, "deleted");
        ask(stage, Ask::get(path(stage, &store))).refused(INVALID_KEY_STORE, "deleted");
        new_secret(stage, "short-lived", "key").refused(INVALID_KEY_STORE, "deleted");
        stage.make("/auths/macs", &json!({"keyStoreName": "short-lived", "value": "02:00:00:00:00:01"})).refused(INVALID_KEY_STORE, "deleted");
    }
    let numbers = ask(stage, Ask::get(stage.path("v1.2", "/keystores"))).body();
    assert!(!numbers["keyStoreIdList"].as_array().expect("a list").contains(&json!(number)), "{numbers}");
    // Its own key left the token, its entries are no more; the name comes back, the number doesn't.
    let left = "token_objects JOIN internal_keys USING (key_id) JOIN key_stores ON key_stores.id = key_store_id
                WHERE key_stores.name = 'short-lived' AND (token_objects.state <> 'DESTROYED' OR key_stores.state <> 'DESTROYED')";
    assert_eq!(stage.installation.database().count(left), 0);
    let rules = "client_rules JOIN key_stores ON key_stores.id = key_store_id
                 WHERE key_stores.name = 'short-lived' AND (client_rules.state <> 'DESTROYED' OR sealed_p12 IS NOT NULL)";
    assert_eq!(stage.installation.database().count(rules), 0);
    let again = new_store(stage, "short-lived");
    assert!(again.parse::<i64>().expect("a number") > number);
    assert_eq!(ask(stage, Ask::get(stage.path("v1.2", &format!("/keystores/{again}/ips")))).body(), json!({"ipv4List": []}));
    let key = new_secret(stage, "short-lived", "key").text("keyId");
    stage.ask(&Ask::get(stage.v1(&format!("/secrets/{key}")))).refused(IPV4_AUTH_FAILURE, "none of the old entries");
    // By token too, in the newest version.
    let empty = new_store(stage, "empty");
    let bearer = format!("Bearer {}", stage.token("apiAdmin", "apiAdmin-secret"));
    let by_token = Ask::new("DELETE", stage.path("v1.3", &format!("/keystores/{empty}"))).header("X-NHN-Authorization", bearer);
    assert_eq!(stage.ask(&by_token).body(), Value::Null);
    let record = stage.records().into_iter().rev().find(|record| record["operation"] == "DELETE_KEY_STORE").expect("a record");
    assert_eq!([&record["keyStore"].to_string(), record["detail"].as_str().unwrap_or_default()], [&empty, "empty"], "{record}");
}

fn one_on_its_way_out_takes_nothing(stage: &Stage) {
    let store = new_store(stage, "leaving");
    for state in ["DESTROYING", "PROVISIONING"] {
        stage.database.change(&format!("UPDATE key_stores SET state = '{state}' WHERE name = 'leaving'"));
        put(stage, &store, &json!({"name": "n", "ip4AuthUse": "Y"})).refused(INVALID_KEY_STORE, state);
        delete(stage, &store).refused(INVALID_KEY_STORE, state);
        for kind in ["secrets", "symmetric-keys"] {
            stage.make(&format!("/keys/{kind}/create"), &json!({"keyStoreName": "leaving", "name": "n", "secretValue": "s"})).refused(INVALID_KEY_STORE, state);
        }
        stage.make("/auths/ipv4s", &json!({"keyStoreName": "leaving", "value": "10.0.0.1"})).refused(INVALID_KEY_STORE, state);
        // The name is taken until it is gone.
        stage.make("/keystores", &json!({"name": "leaving", "ip4AuthUse": "Y"})).refused(TAKEN, state);
    }
}

/// Asks both at once: the second goes out before the first is answered.
fn at_once(stage: &Stage, asks: [Ask; 2]) -> [Reply; 2] {
    let mut connections = [stage.connect(false), stage.connect(false)];
    let asks = asks.map(|ask| ask.headers(&stage.admin()));
    for (connection, ask) in connections.iter_mut().zip(&asks) {
        connection.write(&ask.to_bytes()).expect("sent");
    }
    let [first, second] = &mut connections;
    [stage.read(first, &asks[0]), stage.read(second, &asks[1])]
}

fn is_one_of(reply: &Reply, refusals: &[Refusal], what: &str) {
    let fits = refusals.iter().any(|Refusal(status, code, _)| reply.status == *status && reply.json()["header"]["resultCode"] == *code);
    assert!(fits, "{what}: {reply}");
}

fn one_of_two_wins(stage: &Stage) {
    const ROUNDS: usize = 6;
    for round in 0..ROUNDS {
        let name = format!("contended {round}");
        let store = new_store(stage, &name);
        let kind = ["secrets", "symmetric-keys"][round % 2];
        let create = Ask::post(stage.path("v1.2", &format!("/keys/{kind}/create")), &json!({"keyStoreName": name, "name": "n", "secretValue": "s"}));
        let [first, second] = match round % 3 {
            0 => [create, Ask::new("DELETE", path(stage, &store))],
            _ => [Ask::new("DELETE", path(stage, &store)), create],
        };
        let [first, second] = at_once(stage, [first, second]);
        let (created, deleted) = if round % 3 == 0 { (first, second) } else { (second, first) };
        if created.status == 200 {
            deleted.refused(KEY_STORE_NOT_EMPTY, "the key was first");
            let listed = ask(stage, Ask::get(format!("{}/keys", path(stage, &store)))).body();
            assert_eq!(listed, json!({"keyIdList": [created.text("keyId")]}));
        } else {
            is_one_of(&created, &[INVALID_KEY_STORE, CONFLICT], "the deletion was first");
            assert_eq!(deleted.body(), Value::Null);
            ask(stage, Ask::get(path(stage, &store))).refused(INVALID_KEY_STORE, "deleted");
        }
    }

    let [one, two] = ["first of two", "second of two"].map(|name| new_store(stage, name));
    let rename = |store: &str, name: &str| Ask::put(path(stage, store), &json!({"name": name, "ip4AuthUse": "Y"}));
    let renamed = at_once(stage, [rename(&one, "wanted by two"), rename(&two, "wanted by two")]);
    let won = renamed.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(won, 1, "{renamed:?}");
    renamed.iter().filter(|reply| reply.status != 200).for_each(|reply| reply.refused(TAKEN, "the second"));
    let made = at_once(stage, [rename(&one, "wanted again"), Ask::post(stage.path("v1.2", "/keystores"), &json!({"name": "wanted again", "ip4AuthUse": "Y"}))]);
    assert_eq!(made.iter().filter(|reply| reply.status == 200).count(), 1, "{made:?}");
    let deleted = at_once(stage, [Ask::new("DELETE", path(stage, &two)), Ask::new("DELETE", path(stage, &two))]);
    assert_eq!(deleted.iter().filter(|reply| reply.status == 200).count(), 1, "{deleted:?}");
    deleted.iter().filter(|reply| reply.status != 200).for_each(|reply| is_one_of(reply, &[INVALID_KEY_STORE, CONFLICT], "twice"));
    let changed = at_once(stage, [Ask::new("DELETE", path(stage, &one)), rename(&one, "too late?")]);
    changed[0].body();
    if changed[1].status != 200 {
        is_one_of(&changed[1], &[INVALID_KEY_STORE, CONFLICT], "changed while deleted");
    }
    ask(stage, Ask::get(path(stage, &one))).refused(INVALID_KEY_STORE, "deleted");
}

fn live_and_die(stage: Stage) {
    key_stores_are_replaced(&stage);
    what_is_wrong_is_named(&stage);
    names_are_taken_or_free(&stage);
    key_stores_are_deleted(&stage);
    one_on_its_way_out_takes_nothing(&stage);
    one_of_two_wins(&stage);
    stage.finish();
}

#[test]
fn key_stores_live_and_die_on_sqlite() {
    live_and_die(Stage::new());
}

#[test]
fn key_stores_live_and_die_on_postgresql() {
    let cluster = Cluster::start();
    live_and_die(Stage::on(&cluster));
}
