//! Drafts: many changes that are asked for, and applied, as one.

use serde_json::{Value, json};

use super::{STORE, Scene, installation, refused};
use crate::support::postgres::Cluster;

fn positions(scene: &Scene, id: &str) -> Vec<(u64, String)> {
    let details = scene.get("mia1", &format!("/approvals/{id}"));
    let list = details.body()["changeList"].as_array().expect("a list").clone();
    list.iter().map(|change| (change["position"].as_u64().expect("a number"), change["change"].as_str().expect("a word").to_owned())).collect()
}

fn ask_for(scene: &Scene, key: &str, id: &str) {
    let asked = scene.own(key, "POST", &format!("/approvals/{id}/request"), &json!({"note": "all of it"}));
    assert_eq!(asked.body()["approvalStatus"], "READY", "{asked:?}");
}

const IMPORT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// A draft of a key store that is there.
fn of_a_key_store(scene: &Scene) {
    let made = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": "old name"}));
    scene.approve("bob1", &made);
    let key = scene.key("old name").expect("a key");
    let before = scene.snapshot();
    let draft = |key: &str, method: &str, rest: &str, body: Value| scene.draft(key, method, rest, &body);
    let id = draft("amy1", "PUT", &format!("/keys/{key}"), json!({"name": "new name"}));
    // The name that is free only once the change before it is done.
    draft("mia1", "POST", "/keys/symmetric-keys/import", json!({"keyStoreName": STORE, "name": "old name", "keyData": IMPORT}));
    draft("amy1", "POST", "/keys/secrets/create", json!({"keyStoreName": STORE, "name": "a secret", "secretValue": "hidden text"}));
    draft("amy1", "POST", &format!("/keys/{key}/rotate"), json!({}));
    draft("amy1", "POST", "/auths/ipv4s", json!({"keyStoreName": STORE, "value": "10.0.0.1"}));
    draft("cat1", "POST", "/auths/certificates", json!({"keyStoreName": STORE, "name": "c", "password": "correct horse battery", "lifeTime": 90}));
    assert_eq!(scene.snapshot(), before, "a draft changes nothing");
    // What can't be done together is told at once.
    let twice = scene.send("amy1", "POST", "/auths/ipv4s", &[("x-skm-approval-draft", "add")], Some(&json!({"keyStoreName": STORE, "value": "10.0.0.1"})));
    assert_eq!(twice.status, 409, "{twice:?}");
    let gone = scene.send("amy1", "DELETE", &format!("/keys/{key}"), &[("x-skm-approval-draft", "add")], None);
    refused(&gone, 409, "Invalid Key Status");
    let both = [("x-skm-approval-draft", "add"), ("x-skm-approval-note", "n")];
    let both = scene.send("amy1", "POST", &format!("/keys/{key}/rotate"), &both, None);
    assert!(both.refusal().starts_with("X-SKM-Approval-Draft must not come with a note"), "{both:?}");
    // Taken out again: the entry, and the certificate, which is revoked.
    let operations = ["CHANGE_KEY", "IMPORT_KEY", "CREATE_KEY", "ROTATE_KEY", "CREATE_CLIENT_RULE", "CREATE_CLIENT_RULE"];
    let expected: Vec<(u64, String)> = (0..).zip(operations.map(str::to_owned)).collect();
    assert_eq!(positions(scene, &id), expected);
    for position in [4, 5] {
        scene.send("mia1", "DELETE", &format!("/approvals/{id}/changes/{position}"), &[], None).body();
    }
    // A place isn't given twice: whoever withdraws the change that he saw doesn't withdraw another one.
    let entry = json!({"keyStoreName": STORE, "value": "10.0.0.2"});
    draft("mia1", "POST", "/auths/ipv4s", entry);
    assert_eq!(positions(scene, &id).last().map(|(position, _)| *position), Some(8), "{:?}", positions(scene, &id));
    scene.send("mia1", "DELETE", &format!("/approvals/{id}/changes/8"), &[], None).body();
    // Nor does anybody ask for a draft that he hasn't seen.
    let seen = scene.get("bob1", &format!("/approvals/{id}")).body()["revision"].clone();
    assert_eq!(seen, 10);
    for (revision, code) in [(json!(9), 409), (json!(-1), 400), (json!("10"), 400)] {
        let asked = scene.own("amy1", "POST", &format!("/approvals/{id}/request"), &json!({"note": "n", "revision": revision}));
        assert_eq!(asked.status, code, "{asked:?}");
    }
    refused(&scene.send("mia1", "DELETE", &format!("/approvals/{id}/changes/5"), &[], None), 404, "Invalid Approval Request");
    assert_eq!(scene.count("client_rules WHERE value = 'c' AND state = 'DESTROYED' AND revoked_at IS NOT NULL"), 1);
    let details = scene.get("bob1", &format!("/approvals/{id}"));
    assert!(!details.json.to_string().contains("hidden text") && !details.json.to_string().contains(IMPORT), "secrets are none of it");
    assert_eq!(details.body()["changeList"][0]["before"][1], json!({"name": "name", "value": "old name"}));
    assert_eq!(details.body()["changeList"][0]["after"][1], json!({"name": "name", "value": "new name"}));
    refused(&scene.decide("bob1", &id, "approve", &json!({})), 409, "Invalid Approval Request Status");
    ask_for(scene, "amy1", &id);
    let frozen = scene.send("amy1", "POST", &format!("/keys/{key}/rotate"), &[("x-skm-approval-draft", "add")], None);
    refused(&frozen, 409, "Open Approval Request");
    refused(&scene.send("mia1", "DELETE", &format!("/approvals/{id}/changes/0"), &[], None), 409, "Invalid Approval Request Status");
    assert_eq!(scene.snapshot(), before, "a request changes nothing");
    // Who had a hand in the draft doesn't decide, though what he put there was taken out.
    refused(&scene.decide("cat1", &id, "approve", &json!({})), 403, "Own Approval Request");
    scene.approve("bob1", &id);
    assert_eq!(scene.key("new name").as_deref(), Some(key.as_str()));
    assert_eq!(scene.installation.database().number("current_version", &format!("keys WHERE id = '{key}'")), 1);
    let imported = scene.key("old name").expect("the imported key");
    assert_eq!(scene.own("amy1", "POST", &format!("/symmetric-keys/{imported}/encrypt"), &json!({"plaintext": "x"})).status, 200);
    let secret = scene.key("a secret").expect("a secret");
    assert_eq!(scene.get("amy1", &format!("/secrets/{secret}")).text("secret"), "hidden text");
    assert_eq!(scene.count(&format!("audit_records WHERE request = '{id}'")), 5, "one for each change, and one for all");
}

/// A key store that comes into being with all that is in it; and one that doesn't.
fn of_a_new_key_store(scene: &Scene) {
    let before = scene.snapshot();
    let fill = |name: &str| {
        let id = scene.draft("amy1", "POST", "/keystores", &json!({"name": name, "ip4AuthUse": "Y"}));
        let within = |rest: &str, body: Value| {
            let mut body = body;
            body["keyStoreName"] = json!(name);
            assert_eq!(scene.draft("mia1", "POST", rest, &body), id, "{rest}");
        };
        within("/keys/secrets/create", json!({"name": "secret of the new", "secretValue": "new value"}));
        within("/keys/symmetric-keys/import", json!({"name": "import of the new", "keyData": IMPORT}));
        within("/keys/asymmetric-keys/create", json!({"name": "pair of the new"}));
        within("/auths/ipv4s", json!({"value": "127.0.0.1"}));
        assert_eq!(scene.snapshot(), before);
        ask_for(scene, "amy1", &id);
        id
    };
    let denied = fill("brand-new");
    scene.decide("bob1", &denied, "deny", &json!({"reason": "r"})).body();
    crate::faults::settled::wait_until_settled(&scene.installation);
    assert_eq!(scene.snapshot(), before);
    let id = fill("brand-new");
    scene.approve("bob1", &id);
    let secret = scene.key("secret of the new").expect("a secret");
    assert_eq!(scene.get("amy1", &format!("/secrets/{secret}")).text("secret"), "new value");
    let (imported, pair) = (scene.key("import of the new").expect("a key"), scene.key("pair of the new").expect("a pair"));
    assert_eq!(scene.own("amy1", "POST", &format!("/symmetric-keys/{imported}/encrypt"), &json!({"plaintext": "x"})).status, 200);
    assert_eq!(scene.own("amy1", "POST", &format!("/asymmetric-keys/{pair}/sign"), &json!({"plaintext": "x"})).status, 200);
    // Without its key store there is nothing to put the rest into.
    let id = scene.draft("amy1", "POST", "/keystores", &json!({"name": "never", "ip4AuthUse": "Y"}));
    scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &json!({"keyStoreName": "never", "name": "n", "keyData": IMPORT}));
    scene.send("amy1", "DELETE", &format!("/approvals/{id}/changes/0"), &[], None).body();
    assert_eq!(scene.status(&id), "WITHDRAWN");
}

/// A draft that is withdrawn leaves nothing.
fn withdrawn(scene: &Scene) {
    let before = scene.snapshot();
    let import = json!({"keyStoreName": STORE, "name": "never", "keyData": IMPORT});
    let id = scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &import);
    scene.decide("mia1", &id, "withdraw", &json!({})).body();
    assert_eq!(scene.status(&id), "WITHDRAWN");
    // The last change takes the draft along.
    let id = scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &import);
    scene.send("amy1", "DELETE", &format!("/approvals/{id}/changes/0"), &[], None).body();
    assert_eq!(scene.status(&id), "WITHDRAWN");
    let expired = scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &import);
    scene.installation.database().run(&format!("UPDATE change_requests SET expires_at = 1 WHERE id = '{expired}'"));
    scene.wait_for(&expired, "EXPIRED");
    crate::faults::settled::wait_until_settled(&scene.installation);
    assert_eq!(scene.snapshot(), before);
    let left = "token_objects JOIN change_items ON token_objects.object_id = change_items.object_id JOIN change_requests ON id = request_id";
    assert_eq!(scene.count(&format!("{left} WHERE token_objects.state <> 'DESTROYED' AND change_requests.state IN ('WITHDRAWN', 'EXPIRED')")), 0);
}

/// Lists are filtered and paged.
fn listed(scene: &Scene) {
    let of = |query: &str| scene.get("mia1", &format!("/approvals{query}"));
    let all = of("?pageSize=100");
    let total = all.body()["totalCount"].as_u64().expect("a number");
    assert_eq!(all.body()["approvalList"].as_array().map(Vec::len), Some(usize::try_from(total).expect("few")));
    let withdrawn = of("?status=WITHDRAWN");
    assert_eq!(withdrawn.body()["totalCount"], 2);
    let list = withdrawn.body()["approvalList"].as_array().expect("a list").clone();
    assert!(list.iter().all(|entry| entry["approvalStatus"] == "WITHDRAWN" && entry["keyStoreName"] == STORE), "{list:?}");
    assert_eq!(of(&format!("?keyStoreId={}", list[0]["keyStoreId"])).body()["totalCount"], total);
    refused(&of("?keyStoreId=999"), 404, "Invalid Key Store");
    assert!(of("?status=x").refusal().starts_with("status must be one of"));
    let pages: Vec<Value> = (1..=2).map(|page| of(&format!("?pageSize=10&pageNumber={page}")).body()["approvalList"].clone()).collect();
    assert_ne!(pages[0], pages[1]);
}

/// Where approval is turned off nobody could ask for a draft; what is asked for waits for its decision.
fn turned_off(scene: &Scene) {
    let before = scene.snapshot();
    let import = |name: &str| json!({"keyStoreName": STORE, "name": name, "keyData": IMPORT});
    let asked = scene.ask("amy1", "POST", "/keystores", &json!({"name": "asked for", "ip4AuthUse": "Y"}));
    let drafted = scene.draft("amy1", "POST", "/keys/symmetric-keys/import", &import("drafted"));
    scene.operator(&["approval", "disable", "--project", "demo", "--reason", "a test"]);
    scene.wait_for(&drafted, "EXPIRED");
    let told = scene.installation.database().texts("detail", "audit_records WHERE operation = 'EXPIRE_REQUEST' AND result_code = 0 ORDER BY at DESC LIMIT 1");
    assert!(told[0].contains(&drafted) && told[0].contains("approval was turned off"), "{told:?}");
    assert_eq!(scene.status(&asked), "READY");
    scene.decide("bob1", &asked, "deny", &json!({"reason": "no longer"})).body();
    crate::faults::settled::wait_until_settled(&scene.installation);
    scene.turn_on();
    assert_eq!(scene.snapshot(), before);
}

/// Each new key store that is asked for has a key in the token: there is an end to that.
fn many_new_key_stores(scene: &Scene) {
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
        INSERT INTO change_requests (id, project_id, new_key_store, state, requester_id, requester, note, created_at, expires_at, attempts)";
    let of = "1, TRUE, 'DRAFT', (SELECT MIN(id) FROM accounts), 'x', '', 1, 9000000000000000, 0 FROM n";
    scene.installation.database().run(&format!("{fill} SELECT 'filler ' || i, {of}"));
    let objects = scene.count("token_objects");
    let asked = scene.send("amy1", "POST", "/keystores", &[("x-skm-approval-note", "n")], Some(&json!({"name": "one more", "ip4AuthUse": "Y"})));
    assert_eq!(asked.refusal(), "name can't be of one more: 50 new key stores are asked for already");
    assert_eq!(scene.count("token_objects"), objects);
    scene.installation.database().run("DELETE FROM change_requests WHERE id LIKE 'filler %'");
}

fn drafts(cluster: Option<&Cluster>) {
    let scene = Scene::governed(installation(cluster), cluster);
    of_a_key_store(&scene);
    withdrawn(&scene);
    listed(&scene);
    of_a_new_key_store(&scene);
    many_new_key_stores(&scene);
    turned_off(&scene);
    scene.finish();
}

#[test]
fn drafts_on_sqlite() {
    drafts(None);
}

#[test]
fn drafts_on_postgresql() {
    drafts(Some(&Cluster::start()));
}

/// What was made for a request outlives a long time without any process.
#[test]
fn what_waits_survives_a_restart() {
    let mut scene = Scene::governed(crate::faults::settled::short_leases(installation(None)), None);
    let import = json!({"keyStoreName": STORE, "name": "patient", "keyData": IMPORT});
    let id = scene.ask("amy1", "POST", "/keys/symmetric-keys/import", &import);
    let lease = scene.installation.database().number("lease_until", "token_objects WHERE state = 'PROVISIONING'");
    let expires = scene.installation.database().number("expires_at", &format!("change_requests WHERE id = '{id}'"));
    assert!(expires < lease && lease == 253_402_300_799_000_000, "it ends with the request, and by no clock");
    let (status, log) = scene.running.take().expect("a running service").stop();
    assert!(status.success(), "{log}");
    scene.restart();
    scene.approve("bob1", &id);
    let key = scene.key("patient").expect("the key");
    assert_eq!(scene.own("amy1", "POST", &format!("/symmetric-keys/{key}/encrypt"), &json!({"plaintext": "x"})).status, 200);
    scene.finish();
}
