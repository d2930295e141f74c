//! Changes of keys through the API, what doesn't rotate, and how many versions there may be.

use serde_json::{Value, json};

use super::http::{CONFLICT, INVALID_KEY_VERSION, KEY_NOT_ROTATABLE, field};
use super::life::{Keeper, NOT_THIS, is_now, key_taken, now, parsed};

/// Names, descriptions and rotation periods.
pub(super) fn changes(keeper: &Keeper<'_>) {
    let [key, other] = ["changing", "in the way"].map(|name| keeper.stage.make_key("symmetric-keys", name));
    let same = |changed: &Value, name: &str, description: &str, days: u32| {
        let expected = json!({
            "keyId": key, "name": name, "description": description, "autoRotationPeriod": days, "lastChangeUser": "admin",
            "nextAutoRotationDate": changed["nextAutoRotationDate"], "lastChangeDatetime": changed["lastChangeDatetime"],
        });
        assert_eq!(*changed, expected);
        is_now(&changed["lastChangeDatetime"]);
    };
    let changed = keeper.change(&key, json!({"description": "d", "name": null, "unknown": 1})).body();
    same(&changed, "changing", "d", 0);
    assert_eq!(changed["nextAutoRotationDate"], Value::Null);
    let changed = keeper.change(&key, json!({"autoRotationPeriod": 30})).body();
    same(&changed, "changing", "d", 30);
    let due = parsed(&changed["nextAutoRotationDate"]);
    assert!((due - now() - chrono::Duration::days(30)).num_seconds().abs() < 120, "{due}");
    // The same once more puts nothing off.
    let earlier = "UPDATE keys SET next_rotation_at = next_rotation_at - 86400000000 WHERE id =";
    keeper.stage.database.change(&format!("{earlier} '{key}'"));
    let again = keeper.change(&key, json!({"autoRotationPeriod": 30, "name": "cafe\u{301}"})).body();
    same(&again, "caf\u{e9}", "d", 30);
    assert_eq!(parsed(&again["nextAutoRotationDate"]), due - chrono::Duration::days(1));
    let rotated = keeper.rotate(&key);
    assert!((parsed(&rotated["nextAutoRotationDate"]) - due).num_seconds().abs() < 120, "a rotation by hand counts: {rotated}");
    let changed = keeper.change(&key, json!({"autoRotationPeriod": 0, "description": ""})).body();
    same(&changed, "caf\u{e9}", "", 0);
    assert_eq!(changed["nextAutoRotationDate"], Value::Null);

    for own in ["caf\u{e9}", "cafe\u{301}", " caf\u{e9} "] {
        keeper.change(&key, json!({"name": own})).body();
    }
    for taken in ["caf\u{e9}", "cafe\u{301}"] {
        keeper.change(&other, json!({"name": taken, "description": "not kept"})).refused(key_taken(), taken);
    }
    keeper.change(&other, json!({"name": "Caf\u{e9}"})).body();
    keeper.change(&key, json!({"name": "in the way"})).body();
    const PERIOD: &str = "autoRotationPeriod must be 0 (never) or 30 to 36500 days";
    const NOTHING: &str = "name or description or autoRotationPeriod is required";
    for (wrong, message) in [
        (json!({}), NOTHING),
        (json!({"name": null, "description": null}), NOTHING),
        (json!({"name": ""}), "name must have 1 to 100 characters"),
        (json!({"name": "x".repeat(101)}), "name must have at most 100 characters"),
        (json!({"name": 1}), "name must be a text"),
        (json!({"description": "x".repeat(1_001)}), "description must have at most 1000 characters"),
        (json!({"autoRotationPeriod": 29}), PERIOD),
        (json!({"autoRotationPeriod": -1}), PERIOD),
        (json!({"autoRotationPeriod": 36_501}), PERIOD),
        (json!({"autoRotationPeriod": "30"}), "autoRotationPeriod must be a whole number"),
    ] {
        keeper.change(&key, wrong.clone()).refused(field(message), &wrong.to_string());
    }
    let longest = json!({"name": "é".repeat(100), "description": "🔑".repeat(1_000), "autoRotationPeriod": 36_500});
    let changed = keeper.change(&key, longest.clone()).body();
    for name in ["name", "description", "autoRotationPeriod"] {
        assert_eq!(changed[name], longest[name]);
    }
    keeper.change(&key, json!({"autoRotationPeriod": 0})).body();
    imported_keys_do_not_rotate(keeper, &key);
}

fn imported_keys_do_not_rotate(keeper: &Keeper<'_>, key: &str) {
    keeper.stage.database.change(&format!("UPDATE key_versions SET origin = 'IMPORTED' WHERE key_id = '{key}'"));
    keeper.change(key, json!({"autoRotationPeriod": 30})).refused(NOT_THIS, "an imported key");
    keeper.send("POST", &format!("/keys/{key}/rotate")).refused(KEY_NOT_ROTATABLE, "an imported key");
    keeper.change(key, json!({"description": "imported"})).body();
    // A version that somebody is making: nobody makes another one.
    let other = keeper.stage.make_key("symmetric-keys", "rotating");
    keeper.stage.database.change(&format!(
        "INSERT INTO key_versions (key_id, version, state, origin, created_by, created_at, changed_by, changed_at)
         VALUES ('{other}', 1, 'PROVISIONING', 'GENERATED', 'x', 1, 'x', 1);
         INSERT INTO token_objects (object_id, key_id, version, state, node, lease_until, created_at)
         VALUES ('cccccccccccccccccccccccccccccccc', '{other}', 1, 'PROVISIONING', 'another', 9000000000000000, 1)"
    ));
    keeper.send("POST", &format!("/keys/{other}/rotate")).refused(CONFLICT, "a rotation under way");
    keeper.send("PUT", &format!("/keys/{other}/versions/1/delete")).refused(INVALID_KEY_VERSION, "a version that isn't made yet");
    assert_eq!(keeper.versions(&other).1.len(), 1);
    // Its key's end isn't kept waiting by it: once its lease is over, all of it is gone.
    keeper.send("PUT", &format!("/keys/{other}/delete")).body();
    keeper.send("DELETE", &format!("/keys/{other}")).body();
    keeper.stage.database.change("UPDATE token_objects SET lease_until = 1 WHERE object_id = 'cccccccccccccccccccccccccccccccc'");
    crate::faults::load::wait_until("destroyed", std::time::Duration::from_secs(75), || {
        keeper.stage.installation.database().count(&format!("keys WHERE id = '{other}' AND state = 'DESTROYED'")) == 1
    });
    keeper.stage.make_key("symmetric-keys", "rotating");
}

/// Callers make at most 1,000 versions; what is destroyed doesn't count.
pub(super) fn versions_are_bounded(keeper: &Keeper<'_>) {
    let key = keeper.stage.make_key("symmetric-keys", "often rotated");
    let ciphertext = keeper.encrypt(&key, "x").text("ciphertext");
    let numbers = (1..1_000).map(|number| format!("('{key}', {number}, 'ACTIVE', 'GENERATED', 'x', 1, 'x', 1)")).collect::<Vec<_>>().join(", ");
    let objects = (1..1_000).map(|number| format!("('{number:032x}', '{key}', {number}, 'ACTIVE', 1)")).collect::<Vec<_>>().join(", ");
    keeper.stage.database.change(&format!(
        "INSERT INTO key_versions (key_id, version, state, origin, created_by, created_at, changed_by, changed_at) VALUES {numbers};
         INSERT INTO token_objects (object_id, key_id, version, state, created_at) VALUES {objects}"
    ));
    let rotate = format!("/keys/{key}/rotate");
    keeper.send("POST", &rotate).refused(field("keyid has 1000 versions already: delete old ones first"), "one too many");
    assert_eq!(keeper.decrypt(&key, &ciphertext).text("plaintext"), "x");
    assert_eq!(keeper.versions(&key).1.len(), 1_000);
    for (method, rest) in [("PUT", "/delete"), ("DELETE", "")] {
        keeper.send(method, &format!("/keys/{key}/versions/999{rest}")).body();
    }
    assert_eq!(keeper.rotate(&key)["currentKeyValueVersion"], 1_000, "numbers are never used again");
    // What was never in the token mustn't be missed there.
    keeper.stage.database.change(&format!(
        "UPDATE key_versions SET state = 'DESTROYED' WHERE key_id = '{key}' AND created_by = 'x';
         UPDATE token_objects SET state = 'DESTROYED' WHERE key_id = '{key}' AND created_at = 1"
    ));
}
