//! What people hear of requests: it is in the outbox as soon as it is so. That and how it is sent: `notifications`.

use serde_json::{Value, json};

use super::{STORE, Scene, installation};

/// Somebody at whose address nobody listens, so that what he is told stays in the outbox.
fn add_listener(scene: &Scene) {
    scene.installation.database().run(
        "INSERT INTO notification_recipients (project_id, channel, target, events, enabled, dropped, created_by, created_at, changed_by, changed_at)
         VALUES (1, 'MAIL', 'officer@example.com', 'APPROVAL_REQUESTED APPROVAL_DECIDED APPROVAL_DISABLED', 1, 0, 'test', 0, 'test', 0)",
    );
}

/// What was told of a request since the last time, in order: the event and its facts.
fn told(scene: &Scene) -> Vec<(String, Value)> {
    let mut database = scene.installation.database();
    let kept = "notification_messages ORDER BY happened_at, rowid";
    let (events, facts) = (database.texts("event", kept), database.texts("facts", kept));
    database.run("DELETE FROM notification_messages");
    let object = |facts: &str| {
        let pairs: Vec<(String, String)> = serde_json::from_str(facts).expect("facts");
        pairs.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<serde_json::Map<_, _>>().into()
    };
    events.into_iter().zip(facts.iter().map(|facts| object(facts))).collect()
}

fn asked(id: &str, by: &str) -> (String, Value) {
    ("APPROVAL_REQUESTED".to_owned(), json!({"request": id, "keyStore": STORE, "by": by}))
}

fn ended(id: &str, outcome: &str, by: &str) -> (String, Value) {
    ("APPROVAL_DECIDED".to_owned(), json!({"request": id, "keyStore": STORE, "outcome": outcome, "by": by, "requestedBy": "amy"}))
}

#[test]
fn requests_and_what_becomes_of_them_are_told() {
    let scene = Scene::governed(installation(None), None);
    add_listener(&scene);
    let ask = |name: &str| scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": name}));
    let id = ask("approved");
    assert_eq!(told(&scene), [asked(&id, "amy")]);
    scene.approve("bob1", &id);
    assert_eq!(told(&scene), [ended(&id, "Approved", "bob")]);
    let id = ask("denied");
    scene.decide("bob1", &id, "deny", &json!({"reason": "not now"})).body();
    assert_eq!(told(&scene), [asked(&id, "amy"), ended(&id, "Denied", "bob")]);
    let id = ask("withdrawn");
    scene.decide("amy1", &id, "withdraw", &json!({})).body();
    assert_eq!(told(&scene), [asked(&id, "amy"), ended(&id, "Withdrawn", "amy")]);
    let id = ask("expired");
    scene.installation.database().run(&format!("UPDATE change_requests SET expires_at = 1 WHERE id = '{id}'"));
    scene.wait_for(&id, "EXPIRED");
    assert_eq!(told(&scene), [asked(&id, "amy"), ended(&id, "Expired", "skm")]);
    // A key of that name comes in meanwhile.
    let id = ask("failed");
    scene.installation.database().run("UPDATE keys SET name = 'failed' WHERE name = 'approved'");
    assert_eq!(scene.decide("bob1", &id, "approve", &json!({})).status, 200);
    scene.wait_for(&id, "FAILED");
    assert_eq!(told(&scene), [asked(&id, "amy"), ended(&id, "Failed", "bob")]);
    // Of a draft nobody hears, until somebody asks for it.
    let id = scene.draft("amy1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": "drafted"}));
    assert_eq!(told(&scene), []);
    scene.own("amy1", "POST", &format!("/approvals/{id}/request"), &json!({"note": "now"})).body();
    assert_eq!(told(&scene), [asked(&id, "amy")]);
    scene.decide("amy1", &id, "withdraw", &json!({})).body();
    told(&scene);
    scene.operator(&["approval", "disable", "--project", "demo", "--reason", "everybody is ill"]);
    let disabled = told(&scene);
    assert_eq!(disabled.iter().map(|(event, _)| event.as_str()).collect::<Vec<_>>(), ["APPROVAL_DISABLED"]);
    assert!(disabled[0].1["by"].as_str().is_some_and(|by| by.contains("uid")), "{disabled:?}");
    scene.finish();
}
