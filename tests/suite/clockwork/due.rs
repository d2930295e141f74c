//! What came due while nothing ran, on one node and on two that start at the same moment.

use serde_json::json;

use super::{DAY, PATIENCE, current_version, decrypts, done, encrypt, installation, make_key, metric, now, own_records, wait_for_task};
use crate::faults::load::{Client, STORE, wait_until};
use crate::faults::settled::{audit_is_intact, token_and_database_agree, wait_until_settled};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

/// What there is before the clock comes to it.
struct Scene {
    /// Rotate each 30 days, and have missed it twice.
    rotating: [String; 2],
    ciphertext: String,
    /// Would rotate, but its deletion is pending.
    resting: String,
    /// Their seven days are over.
    doomed: Vec<String>,
    /// Was to be deleted; somebody thought better of it.
    kept: String,
    /// Its version 0 is due.
    with_old_version: String,
    old_ciphertext: String,
}

const KINDS: [&str; 2] = ["symmetric-keys", "asymmetric-keys"];

fn request_deletion(client: &Client, key: &str) {
    done(client.change("PUT", &format!("/keys/{key}/delete"), &json!({})));
}

fn prepare(client: &Client) -> Scene {
    let rotating = KINDS.map(|kind| make_key(client, kind, &format!("rotating {kind}"), 30));
    let resting = make_key(client, KINDS[0], "resting", 30);
    let secret = json!({"keyStoreName": STORE, "name": "doomed secret", "secretValue": "value"});
    let mut doomed = vec![done(client.change("POST", "/keys/secrets/create", &secret)).text("keyId")];
    doomed.extend(KINDS.map(|kind| make_key(client, kind, &format!("doomed {kind}"), 0)));
    let kept = make_key(client, KINDS[0], "kept", 0);
    for key in doomed.iter().chain([&kept, &resting]) {
        request_deletion(client, key);
    }
    done(client.own("PUT", &format!("/keys/{kept}/restore"), None));
    let with_old_version = make_key(client, KINDS[0], "with an old version", 0);
    let old_ciphertext = encrypt(client, &with_old_version, "old");
    done(client.own("POST", &format!("/keys/{with_old_version}/rotate"), None));
    done(client.own("PUT", &format!("/keys/{with_old_version}/versions/0/delete"), None));
    let ciphertext = encrypt(client, &rotating[0], "before");
    for (route, field, value) in
        [("ipv4s", "value", "10.9.9.9"), ("ipv4s", "value", "10.9.9.8"), ("macs", "value", "02:00:00:00:00:09"), ("certificates", "name", "old")]
    {
        let mut entry = json!({"keyStoreName": STORE, field: value});
        let selector = entry.clone();
        if route == "certificates" {
            (entry["password"], entry["lifeTime"]) = (json!("p"), json!(30));
        }
        done(client.change("POST", &format!("/auths/{route}"), &entry));
        done(client.change("PUT", &format!("/auths/{route}/delete"), &selector));
    }
    Scene { rotating, ciphertext, resting, doomed, kept, with_old_version, old_ciphertext }
}

/// As if the service had been down for weeks.
fn let_time_pass(installation: &Installation, scene: &Scene) {
    let long_ago = now() - 65 * DAY;
    let list = |keys: &[String]| keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
    let rotating = list(&[&scene.rotating[..], std::slice::from_ref(&scene.resting)].concat());
    installation.database().run(&format!(
        "UPDATE keys SET next_rotation_at = {long_ago} WHERE id IN ({rotating});
         UPDATE keys SET deletion_at = {long_ago} WHERE id IN ({});
         UPDATE key_versions SET deletion_at = {long_ago} WHERE key_id = '{}' AND version = 0;
         UPDATE client_rules SET deletion_at = {long_ago} WHERE value IN ('10.9.9.9/32', '02:00:00:00:00:09', 'old');",
        list(&scene.doomed),
        scene.with_old_version,
    ));
}

fn rotations_happened_once(installation: &Installation, client: &Client, scene: &Scene) {
    let mut database = installation.database();
    for key in &scene.rotating {
        assert_eq!(
            own_records(installation, "ROTATE_KEY", &format!("key_id = '{key}' AND version = 1 AND project_id IS NOT NULL AND key_store IS NOT NULL")),
            1
        );
        assert_eq!(database.texts("version", &format!("key_versions WHERE key_id = '{key}' ORDER BY version")), ["0", "1"]);
        let next = database.number("next_rotation_at", &format!("keys WHERE id = '{key}' AND current_version = 1 AND changed_by = 'skm'"));
        assert!((now() + 29 * DAY..=now() + 30 * DAY).contains(&next), "{next}");
    }
    assert_eq!(current_version(client, &scene.rotating[0]), 1);
    decrypts(client, &scene.rotating[0], &scene.ciphertext, "before");
    assert_eq!(database.texts("version", &format!("key_versions WHERE key_id = '{}'", scene.resting)), ["0"]);
}

fn deletions_happened_once(installation: &Installation, client: &Client, scene: &Scene) {
    let mut database = installation.database();
    for key in &scene.doomed {
        assert_eq!(own_records(installation, "DELETE_KEY", &format!("key_id = '{key}' AND project_id IS NOT NULL AND key_store IS NOT NULL")), 1);
        assert_eq!(database.texts("state", &format!("keys WHERE id = '{key}'")), ["DESTROYED"]);
        assert_eq!(client.own("GET", &format!("/keys/{key}/versions"), None).expect("an answer").refusal(), "Invalid Key ID");
    }
    assert_eq!(database.count("key_versions WHERE state = 'DESTROYED' AND sealed IS NOT NULL"), 0);
    make_key(client, KINDS[0], "doomed symmetric-keys", 0);
    let old = &scene.with_old_version;
    assert_eq!(
        own_records(installation, "DELETE_VERSION", &format!("key_id = '{old}' AND version = 0 AND project_id IS NOT NULL AND key_store IS NOT NULL")),
        1
    );
    assert_eq!(client.decrypt(old, &scene.old_ciphertext).expect("an answer").refusal(), "Invalid Key Version");
    assert_eq!(current_version(client, old), 1);
    assert_eq!(current_version(client, &scene.kept), 0);
    for (value, detail) in [("10.9.9.9/32", "IPV4 10.9.9.9, due"), ("02:00:00:00:00:09", "MAC 02:00:00:00:00:09, due"), ("old", "CERTIFICATE old, due")] {
        assert_eq!(
            own_records(installation, "DELETE_CLIENT_RULE", &format!("detail = '{detail}' AND project_id IS NOT NULL AND key_store IS NOT NULL")),
            1,
            "{detail}"
        );
        assert_eq!(database.count(&format!("client_rules WHERE value = '{value}' AND state = 'DESTROYED' AND sealed_p12 IS NULL")), 1, "{value}");
    }
    assert_eq!(database.texts("state", "client_rules WHERE value = '10.9.9.8/32'"), ["PENDING_DELETION"]);
    assert_eq!(own_records(installation, "DELETE_CLIENT_RULE", "key_id IS NULL"), 3);
}

fn comes_about(installation: &Installation, start: impl FnOnce() -> Vec<Running>) {
    let running = installation.start();
    let scene = prepare(&Client::new(installation, &running));
    running.stop();
    let_time_pass(installation, &scene);
    let running = start();
    for node in &running {
        ["rotate_due", "delete_due"].into_iter().for_each(|task| wait_for_task(node, task));
    }
    wait_until_settled(installation);
    let mut database = installation.database();
    wait_until("both rotations", PATIENCE, || database.count("keys WHERE name LIKE 'rotating %' AND current_version = 1") == 2);
    for node in &running {
        let client = Client::new(installation, node);
        rotations_happened_once(installation, &client, &scene);
        assert_eq!(metric(node, "skm_task_last_failed{task=\"rotate_due\"}"), Some(0.0));
        assert!(metric(node, "skm_task_last_run_seconds{task=\"delete_due\"}").is_some_and(|seconds| seconds > 1e9));
        assert!(metric(node, "skm_task_last_duration_seconds{task=\"delete_due\"}").is_some());
    }
    deletions_happened_once(installation, &Client::new(installation, &running[0]), &scene);
    for node in running {
        let (status, log) = node.stop();
        assert!(status.success(), "{status}\n{log}");
    }
    token_and_database_agree(installation);
    audit_is_intact(installation);
}

#[test]
fn what_is_due_happens_once_at_the_start() {
    let installation = installation(None);
    comes_about(&installation, || vec![installation.start()]);
}

#[test]
fn two_nodes_do_nothing_twice() {
    let cluster = Cluster::start();
    let installation = installation(Some(&cluster));
    comes_about(&installation, || {
        std::thread::scope(|scope| {
            let nodes = ["one", "two"].map(|node| scope.spawn(|| installation.start_node(node)));
            nodes.into_iter().map(|node| node.join().expect("a node")).collect()
        })
    });
}
