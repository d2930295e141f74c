//! Approval is turned off, by two people or by an operator alone, while drafts and requests are open: nothing of them is done by that. Drafts end; what
//! somebody has asked for still comes to an end, and is applied only if somebody else approves it.

use serde_json::{Value, json};

use super::{PATIENCE, STORE, Scene, asked, installation, refused};
use crate::faults::load::wait_until;
use crate::faults::settled::wait_until_settled;
use crate::support::postgres::Cluster;

const IMPORT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn import(store: &str, name: &str) -> Value {
    json!({"keyStoreName": store, "name": name, "keyData": IMPORT})
}

/// All but whether approval is on.
fn without_governance(scene: &Scene) -> Vec<String> {
    scene.snapshot().into_iter().filter(|row| !row.starts_with("governance ")).collect()
}

/// Makes what the requests are about.
fn setup(scene: &Scene, number: usize) -> (Vec<String>, String) {
    let stores = ["denied", "own", "spoilt", "deleted"].map(|name| format!("{name} {number}"));
    for name in &stores {
        scene.own("amy1", "POST", "/keystores", &json!({"name": name, "ip4AuthUse": "Y"})).body();
    }
    let key = json!({"keyStoreName": stores[2], "name": format!("key {number}")});
    (stores.to_vec(), scene.own("amy1", "POST", "/keys/symmetric-keys/create", &key).text("keyId"))
}

fn come_to_an_end(scene: &Scene, number: usize, off: impl Fn(&Scene)) {
    let (stores, key) = setup(scene, number);
    scene.turn_on();
    let name = |what: &str| format!("{what} {number}");
    let drafted = scene.draft("mia1", "POST", "/keys/symmetric-keys/import", &import(STORE, &name("drafted")));
    let born = scene.draft("mia1", "POST", "/keystores", &json!({"name": name("never born"), "ip4AuthUse": "Y"}));
    let denied = scene.ask("amy1", "POST", "/keys/symmetric-keys/import", &import(&stores[0], "asked"));
    let own = scene.ask("bob1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": stores[1], "name": name("of bob")}));
    let spoilt = scene.ask("amy1", "PUT", &format!("/keys/{key}"), &json!({"description": "asked for"}));
    let deleted = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": stores[3], "name": "in vain"}));
    let grant = json!({"change": "GRANT_ROLE", "login": "viv", "role": "VIEWER", "note": "n"});
    let of_project = asked(&scene.own("dan1", "POST", "/approvals", &grant), "READY");
    let before = without_governance(scene);
    assert_eq!(scene.count("token_objects WHERE state = 'PROVISIONING'"), 3, "two imported keys, and a key store's own");
    off(scene);
    assert_eq!(without_governance(scene), before, "nothing comes of anything by that");
    for id in [&drafted, &born] {
        scene.wait_for(id, "EXPIRED");
    }
    assert_eq!([&denied, &own, &spoilt, &deleted, &of_project].map(|id| scene.status(id)), ["READY"; 5]);
    let waiting = || scene.count("token_objects WHERE state IN ('PROVISIONING', 'DESTROYING')");
    wait_until("what was made for drafts is gone", PATIENCE, || waiting() == 1);
    // Still nobody decides upon his own, nor without the role.
    refused(&scene.decide("bob1", &own, "approve", &json!({})), 403, "Own Approval Request");
    for key in ["amy1", "mia1", "dan1", "viv1"] {
        refused(&scene.decide(key, &denied, "approve", &json!({})), 403, "Forbidden");
    }
    assert_eq!(without_governance(scene), before);
    // What somebody else approves is done, by two people as ever.
    scene.approve("cat1", &own);
    assert!(scene.key(&name("of bob")).is_some());
    // What was done at once meanwhile is not undone by what was asked for before.
    scene.own("amy1", "PUT", &format!("/keys/{key}"), &json!({"description": "done at once"})).body();
    let store = scene.installation.database().number("number", &format!("key_stores WHERE name = '{}'", stores[3]));
    scene.send("amy1", "DELETE", &format!("/keystores/{store}"), &[], None).body();
    let before = without_governance(scene);
    for id in [&spoilt, &deleted] {
        assert_eq!(scene.decide("cat1", id, "approve", &json!({})).status, 200);
        scene.wait_for(id, "FAILED");
    }
    assert_eq!(scene.installation.database().texts("description", &format!("keys WHERE id = '{key}'")), ["done at once"]);
    // The others are ended by whom they concern, and leave nothing.
    scene.decide("bob1", &denied, "deny", &json!({"reason": "r"})).body();
    scene.decide("dan1", &of_project, "withdraw", &json!({})).body();
    assert_eq!([&denied, &of_project].map(|id| scene.status(id)), ["DENIED", "WITHDRAWN"]);
    for key in ["amy1", "mia1"] {
        refused(&scene.decide(key, &drafted, "withdraw", &json!({})), 409, "Invalid Approval Request Status");
    }
    wait_until_settled(&scene.installation);
    assert_eq!(without_governance(scene), before);
    for name in ["drafted", "never born"] {
        assert_eq!(scene.count(&format!("keys WHERE name = '{name} {number}'")) + scene.count(&format!("key_stores WHERE name = '{name} {number}'")), 0);
    }
    // It can be turned on again, and nothing is left that would be in the way.
    scene.turn_on();
    let again = scene.ask("amy1", "PUT", &format!("/keys/{key}"), &json!({"description": "again"}));
    scene.approve("bob1", &again);
    scene.operator(&["approval", "disable", "--project", "demo", "--reason", "for what comes next"]);
}

fn with_open_requests(cluster: Option<&Cluster>) {
    let scene = Scene::ungoverned(installation(cluster), cluster);
    come_to_an_end(&scene, 1, |scene| {
        let off = asked(&scene.own("dan1", "POST", "/approvals", &json!({"change": "TURN_APPROVAL_OFF", "note": "n"})), "READY");
        scene.approve("bob1", &off);
    });
    come_to_an_end(&scene, 2, |scene| drop(scene.operator(&["approval", "disable", "--project", "demo", "--reason", "everybody is ill"])));
    scene.finish();
}

#[test]
fn open_requests_come_to_an_end_on_sqlite() {
    with_open_requests(None);
}

#[test]
fn open_requests_come_to_an_end_on_postgresql() {
    with_open_requests(Some(&Cluster::start()));
}
