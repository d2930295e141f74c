//! Keys that have encrypted often: those that can get a new version, those that can't are a warning.

use serde_json::{Value, json};

use super::{PATIENCE, current_version, decrypts, done, encrypt, installation, make_key, metric, own_records};
use crate::faults::load::{Client, STORE, wait_until};
use crate::faults::settled::{audit_is_intact, token_and_database_agree};
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;

/// Half of what a version may encrypt.
const RENEW_AT: i64 = 1 << 31;

/// Counts encryptions of a key version on two nodes, half each.
fn count(installation: &Installation, key: &str, version: i64, encryptions: i64) {
    let half = encryptions / 2;
    installation.database().run(&format!(
        "INSERT INTO usage (key_id, version, node, encryptions, operations, last_access)
         VALUES ('{key}', {version}, 'n1', {half}, 1, 1), ('{key}', {version}, 'n2', {}, 1, 1)",
        encryptions - half
    ));
}

fn internal_key(installation: &Installation, which: &str) -> String {
    let ids = installation.database().texts("key_id", &format!("internal_keys WHERE version = 0 AND {which}"));
    assert_eq!(ids.len(), 1, "{which}");
    ids[0].clone()
}

fn make_secret(client: &Client, name: &str) -> String {
    done(client.change("POST", "/keys/secrets/create", &json!({"keyStoreName": STORE, "name": name, "secretValue": name}))).text("keyId")
}

fn secret(client: &Client, key: &str) -> String {
    done(client.data("GET", &format!("/secrets/{key}"), None)).text("secret")
}

/// Uses of a key's version that this installation's node counted.
fn sealed_with(installation: &Installation, key: &str, version: i64) -> i64 {
    installation.database().count(&format!("usage WHERE key_id = '{key}' AND version = {version} AND node = 'dev' AND encryptions > 0"))
}

fn keys_renew(installation: &Installation) {
    let running = installation.start();
    let client = Client::new(installation, &running);
    let [used, nearly, imported, pending] = ["used", "nearly", "imported", "pending"].map(|name| make_key(&client, "symmetric-keys", name, 0));
    let ciphertext = encrypt(&client, &used, "before");
    let value = make_secret(&client, "old value");
    done(client.change("PUT", &format!("/keys/{pending}/delete"), &json!({})));
    running.stop();
    installation.database().run(&format!("UPDATE key_versions SET origin = 'IMPORTED' WHERE key_id = '{imported}'"));
    let of_store = internal_key(installation, &format!("key_store_id = (SELECT id FROM key_stores WHERE name = '{STORE}')"));
    let seal = internal_key(installation, "purpose = 'SEAL'");
    for key in [&used, &imported, &pending, &of_store, &seal] {
        count(installation, key, 0, RENEW_AT);
    }
    count(installation, &nearly, 0, RENEW_AT - 100);

    let running = installation.start();
    let client = Client::new(installation, &running);
    let mut database = installation.database();
    wait_until("new versions", PATIENCE, || {
        database.count(&format!("keys WHERE id = '{used}' AND current_version = 1")) == 1
            && database.count("internal_keys WHERE version = 1 AND state = 'ACTIVE'") == 2
    });
    wait_until("the warning", PATIENCE, || metric(&running, "skm_keys_near_use_limit") == Some(2.0));
    let readiness: Value = serde_json::from_str(&running.operations("/readyz").1).expect("JSON");
    assert_eq!((&readiness["ready"], &readiness["keysNearUseLimit"]), (&json!(true), &json!(2)), "{readiness}");
    for key in [&imported, &pending] {
        let warnings = || running.log().lines().filter(|line| line.contains("nears the limit") && line.contains(key.as_str())).count();
        wait_until("the warning in the log", PATIENCE, || warnings() > 0);
        assert_eq!(warnings(), 1, "{}", running.log());
    }
    decrypts(&client, &used, &ciphertext, "before");
    assert_eq!([&used, &nearly, &imported].map(|key| current_version(&client, key)), [json!(1), json!(0), json!(0)]);

    // What the old versions sealed is read; what is sealed now is sealed by the new ones.
    assert_eq!(secret(&client, &value), "old value");
    let newer = make_secret(&client, "new value");
    assert_eq!(secret(&client, &newer), "new value");
    assert_eq!([0, 1].map(|version| sealed_with(installation, &of_store, version)), [1, 1]);
    let sealed_before = sealed_with(installation, &seal, 0);
    done(client.change("POST", "/auths/certificates", &json!({"keyStoreName": STORE, "name": "new", "password": "p", "lifeTime": 30})));
    assert_eq!((sealed_with(installation, &seal, 0), sealed_with(installation, &seal, 1)), (sealed_before, 1));
    assert_eq!(own_records(installation, "ROTATE_KEY", &format!("key_id = '{used}' AND detail = 'used up' AND key_store IS NOT NULL")), 1);
    assert_eq!(own_records(installation, "ROTATE_KEY", &format!("key_id = '{of_store}' AND version = 1 AND key_store IS NOT NULL")), 1);
    assert_eq!(own_records(installation, "ROTATE_KEY", "version = 1"), 3);
    let (status, log) = running.stop();
    assert!(status.success(), "{status}\n{log}");

    // Again, where everything is done: nothing happens.
    let running = installation.start();
    wait_until("the warning", PATIENCE, || metric(&running, "skm_keys_near_use_limit") == Some(2.0));
    let client = Client::new(installation, &running);
    assert_eq!([secret(&client, &value), secret(&client, &newer)], ["old value", "new value"]);
    assert_eq!(own_records(installation, "ROTATE_KEY", "version >= 1"), 3);
    running.stop();
    token_and_database_agree(installation);
    audit_is_intact(installation);
}

#[test]
fn keys_that_encrypted_often_get_a_new_version_on_sqlite() {
    keys_renew(&installation(None));
}

#[test]
fn keys_that_encrypted_often_get_a_new_version_on_postgresql() {
    let cluster = Cluster::start();
    keys_renew(&installation(Some(&cluster)));
}
