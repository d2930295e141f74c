//! Every kind of change: asked for, nothing is changed; approved, exactly that is done.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::{Value, json};

use super::recorded::Log;
use super::{STORE, Scene, installation};
use crate::support::postgres::Cluster;

/// A change as it is asked for: method, path, body.
type Change = (&'static str, String, Value);

/// What was applied: the request, who asked, who approved, and all that the approver could read of it.
type Applied = (String, &'static str, &'static str, Value);

struct Walk<'a> {
    scene: &'a Scene,
    applied: RefCell<Vec<Applied>>,
}

impl Walk<'_> {
    /// Asks, looks that nothing is changed, lets it be denied once and approved then; answers what was different afterwards.
    fn through(&self, (method, path, body): &Change) -> Vec<String> {
        let scene = self.scene;
        let before = scene.snapshot();
        let id = scene.ask("amy1", method, path, body);
        assert_eq!(scene.snapshot(), before, "{method} {path} is only asked for");
        let denied = scene.decide("bob1", &id, "deny", &json!({"reason": "not yet"}));
        assert_eq!(denied.body()["approvalStatus"], "DENIED", "{denied:?}");
        assert_eq!(scene.snapshot(), before, "{method} {path} is denied");
        let id = scene.ask("mia1", method, path, body);
        scene.approve("cat1", &id);
        let after = scene.snapshot();
        let changed: Vec<String> = after.iter().filter(|row| !before.contains(row)).cloned().collect();
        let gone = before.iter().any(|row| !after.contains(row));
        assert!(!changed.is_empty() || gone, "{method} {path} is applied");
        self.is_applied(id, "mia", "cat");
        changed
    }

    fn is_applied(&self, id: String, asker: &'static str, approver: &'static str) {
        let details = self.scene.get("cat1", &format!("/approvals/{id}")).body().clone();
        self.applied.borrow_mut().push((id, asker, approver, details));
    }

    /// The audit log alone tells of each who asked, who approved, exactly what, and when it was applied.
    fn is_told(&self) {
        let (log, applied) = (Log::of(&self.scene.installation), self.applied.borrow());
        let kinds: HashSet<_> = applied.iter().map(|(.., details)| details["changeList"][0]["change"].to_string()).collect();
        assert_eq!(kinds.len(), 25, "every operation that a change is recorded as: {kinds:?}");
        for (id, asker, approver, details) in applied.iter() {
            log.tells_what_was_applied(id, asker, approver, details);
        }
    }
}

fn make(name: &str) -> Value {
    json!({"keyStoreName": STORE, "name": name, "description": "d", "secretValue": "very secret", "autoRotationPeriod": 30})
}

fn keys(walk: &Walk<'_>) {
    let scene = walk.scene;
    for kind in ["secrets", "symmetric-keys", "asymmetric-keys"] {
        let name = format!("a {kind}");
        walk.through(&("POST", format!("/keys/{kind}/create"), make(&name)));
        assert!(scene.key(&name).is_some(), "{name}");
    }
    let imported = json!({"keyStoreName": STORE, "name": "imported", "keyData": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="});
    walk.through(&("POST", "/keys/symmetric-keys/import".to_owned(), imported));
    let (secret, key, imported) = (scene.key("a secrets").unwrap(), scene.key("a symmetric-keys").unwrap(), scene.key("imported").unwrap());
    let value = |key: &str| scene.get("amy1", &format!("/secrets/{key}")).text("secret");
    assert_eq!(value(&secret), "very secret");
    let uses = |key: &str| scene.own("amy1", "POST", &format!("/symmetric-keys/{key}/encrypt"), &json!({"plaintext": "text"}));
    assert_eq!(uses(&imported).body()["keyVersion"], 0);
    walk.through(&("PUT", format!("/secrets/{secret}"), json!({"secretValue": "another"})));
    assert_eq!(value(&secret), "another");
    walk.through(&("PUT", format!("/keys/{key}"), json!({"name": "renamed", "autoRotationPeriod": 60})));
    assert_eq!(scene.key("renamed").as_deref(), Some(key.as_str()));
    let ciphertext = uses(&key).text("ciphertext");
    walk.through(&("POST", format!("/keys/{key}/rotate"), json!({})));
    assert_eq!(uses(&key).body()["keyVersion"], 1);
    walk.through(&("PUT", format!("/keys/{key}/versions/0/delete"), json!({})));
    walk.through(&("PUT", format!("/keys/{key}/versions/0/restore"), json!({})));
    let decrypts = scene.own("amy1", "POST", &format!("/symmetric-keys/{key}/decrypt"), &json!({"ciphertext": ciphertext}));
    assert_eq!(decrypts.text("plaintext"), "text");
    walk.through(&("PUT", format!("/keys/{key}/versions/0/delete"), json!({})));
    walk.through(&("DELETE", format!("/keys/{key}/versions/0"), json!({})));
    walk.through(&("PUT", format!("/keys/{key}/delete"), json!({})));
    assert_eq!(uses(&key).refusal(), "Invalid Key Status");
    walk.through(&("PUT", format!("/keys/{key}/restore"), json!({})));
    assert_eq!(uses(&key).status, 200);
    for key in [&key, &secret] {
        walk.through(&("PUT", format!("/keys/{key}/delete"), json!({})));
        walk.through(&("DELETE", format!("/keys/{key}"), json!({})));
    }
    assert_eq!(uses(&key).refusal(), "Invalid Key ID");
}

fn clients(walk: &Walk<'_>) {
    for (kind, value) in [("ipv4s", "10.9.8.0/24"), ("macs", "02:00:00:00:00:09")] {
        let entry = json!({"keyStoreName": STORE, "value": value, "description": "one"});
        walk.through(&("POST", format!("/auths/{kind}"), entry.clone()));
        for (method, what) in [("PUT", "delete"), ("PUT", "restore"), ("PUT", "delete"), ("POST", "delete")] {
            walk.through(&(method, format!("/auths/{kind}/{what}"), entry.clone()));
        }
    }
    let wanted = json!({"keyStoreName": STORE, "name": "laptop", "password": "correct horse battery", "lifeTime": 90});
    walk.through(&("POST", "/auths/certificates".to_owned(), wanted));
    let file = walk.scene.count("client_rules WHERE value = 'laptop' AND state = 'ACTIVE' AND sealed_p12 IS NOT NULL");
    assert_eq!(file, 1, "its file is kept");
    // The one that was denied is on the revocation lists.
    assert_eq!(walk.scene.count("client_rules WHERE value = 'laptop' AND state = 'DESTROYED' AND revoked_at IS NOT NULL AND issuer IS NOT NULL"), 1);
    let named = json!({"keyStoreName": STORE, "name": "laptop"});
    for (method, what) in [("PUT", "delete"), ("PUT", "restore"), ("PUT", "delete"), ("POST", "delete")] {
        walk.through(&(method, format!("/auths/certificates/{what}"), named.clone()));
    }
    let directory = walk.scene.installation.path().join("asked.key");
    let file = directory.to_str().expect("a path");
    crate::certificates::openssl(&["genpkey", "-out", file, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let csr = crate::certificates::openssl(&["req", "-new", "-key", file, "-subj", "/CN=x"]);
    let wanted = json!({"keyStoreName": STORE, "name": "signed", "csr": csr, "lifeTime": 90});
    let viewer = walk.scene.get("viv1", "/approvals");
    assert_eq!(viewer.status, 403, "{viewer:?}");
    let id = walk.scene.ask("amy1", "POST", "/auths/certificates/sign", &wanted);
    let certificate = |id: &str| walk.scene.get("amy1", &format!("/approvals/{id}")).body()["changeList"][0]["certificate"].clone();
    assert_eq!(certificate(&id), Value::Null, "not before it admits");
    walk.scene.approve("bob1", &id);
    assert!(certificate(&id).as_str().is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE-----")));
    walk.is_applied(id, "amy", "bob");
}

fn key_stores(walk: &Walk<'_>) {
    let store = json!({"name": "new", "description": "store", "ip4AuthUse": "Y"});
    walk.through(&("POST", "/keystores".to_owned(), store));
    let number = walk.scene.installation.database().number("number", "key_stores WHERE name = 'new' AND state = 'ACTIVE'");
    walk.through(&("PUT", format!("/keystores/{number}"), json!({"name": "newer", "macAuthUse": "Y", "ip4AuthUse": "Y"})));
    let secret = json!({"keyStoreName": "newer", "name": "in new", "secretValue": "v"});
    let id = walk.scene.ask("amy1", "POST", "/keys/secrets/create", &secret);
    walk.scene.approve("bob1", &id);
    let refused = walk.scene.send("amy1", "DELETE", &format!("/keystores/{number}"), &[("x-skm-approval-note", "x")], None);
    assert_eq!(refused.refusal(), "Key Store Not Empty");
    let key = walk.scene.key("in new").unwrap();
    walk.through(&("PUT", format!("/keys/{key}/delete"), json!({})));
    walk.through(&("DELETE", format!("/keys/{key}"), json!({})));
    walk.through(&("DELETE", format!("/keystores/{number}"), json!({})));
}

/// Changes of the project itself are asked for by an ADMIN.
fn project(walk: &Walk<'_>) {
    let scene = walk.scene;
    let through = |body: Value| {
        let before = scene.snapshot();
        let id = asked_of_project(scene, &body);
        assert_eq!(scene.snapshot(), before, "{body}");
        scene.approve("bob1", &id);
        assert_ne!(scene.snapshot(), before, "{body}");
        walk.is_applied(id, "dan", "bob");
    };
    let viewer = json!({"change": "GRANT_ROLE", "login": "amy", "role": "VIEWER", "note": "n"});
    super::refused(&scene.own("amy1", "POST", "/approvals", &viewer), 403, "Forbidden");
    super::refused(&scene.own("bob1", "POST", "/approvals", &viewer), 403, "Forbidden");
    through(viewer);
    through(json!({"change": "REVOKE_ROLE", "login": "amy", "role": "VIEWER", "note": "n"}));
    let password = "correct horse battery";
    through(json!({"change": "CREATE_ACCOUNT", "login": "eve", "role": "APPROVAL ADMIN", "password": password, "note": "n"}));
    through(json!({"change": "RESET_PASSWORD", "login": "eve", "password": format!("{password} 2"), "note": "n"}));
    scene.operator(&["account", "disable", "eve"]);
    through(json!({"change": "ENABLE_ACCOUNT", "login": "eve", "note": "n"}));
    through(json!({"change": "SET_MAY_APPROVE", "accessKeyId": "amy1", "mayApprove": "Y", "note": "n"}));
    through(json!({"change": "CHANGE_EXPIRY", "expiryDays": 3, "note": "n"}));
    assert_eq!(scene.count("change_items WHERE change LIKE '%argon%' OR base LIKE '%argon%'"), 0, "no hash beside the sealed part");
    // Whoever is left must be able to decide.
    for login in ["eve", "bob"] {
        through(json!({"change": "REVOKE_ROLE", "login": login, "role": "APPROVAL ADMIN", "note": "n"}));
        if login == "eve" {
            continue;
        }
        let last = json!({"change": "REVOKE_ROLE", "login": "cat", "role": "APPROVAL ADMIN", "note": "n"});
        let refusal = scene.own("dan1", "POST", "/approvals", &last);
        assert!(refusal.refusal().starts_with("approval needs an enabled account with the role APPROVAL ADMIN"), "{refusal:?}");
    }
    let id = asked_of_project(scene, &json!({"change": "TURN_APPROVAL_OFF", "note": "n"}));
    scene.approve("cat1", &id);
    walk.is_applied(id, "dan", "cat");
    let made = scene.own("amy1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": "alone again"}));
    assert_eq!(made.status, 200, "{made:?}");
}

fn asked_of_project(scene: &Scene, body: &Value) -> String {
    super::asked(&scene.own("dan1", "POST", "/approvals", body), "READY")
}

fn every_kind(cluster: Option<&Cluster>) {
    let scene = Scene::governed(installation(cluster), cluster);
    let walk = Walk { scene: &scene, applied: RefCell::default() };
    keys(&walk);
    clients(&walk);
    key_stores(&walk);
    project(&walk);
    walk.is_told();
    scene.finish();
}

#[test]
fn every_kind_on_sqlite() {
    every_kind(None);
}

#[test]
fn every_kind_on_postgresql() {
    every_kind(Some(&Cluster::start()));
}
