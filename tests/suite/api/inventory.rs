//! Making key stores, keys and entries through the API, and the limits of their fields.

use serde_json::{Value, json};

use super::data::fields;
use super::http::{INVALID_KEY_STORE, Refusal, Reply, exists, field};
use super::stage::{Ask, Stage};

fn key_store(stage: &Stage, change: Value) -> Reply {
    let mut body = json!({"name": "store", "description": "d", "ip4AuthUse": "Y", "macAuthUse": "N", "certificateAuthUse": "N", "authMode": "AND"});
    body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    stage.make("/keystores", &body)
}

const NAME_EMPTY: &str = "name must have 1 to 100 characters";
const NAME_LONG: &str = "name must have at most 100 characters";
const NAME_CONTROL: &str = "name must not contain control characters";

/// What names and descriptions can't be, in every route that takes them.
pub(super) fn wrong_texts() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"name": ""}), NAME_EMPTY),
        (json!({"name": " \u{a0}\t"}), NAME_EMPTY),
        (json!({"name": "x".repeat(101)}), NAME_LONG),
        (json!({"name": "é".repeat(101)}), NAME_LONG),
        (json!({"name": "e\u{301}".repeat(101)}), NAME_LONG),
        (json!({"name": "x".repeat(100_000)}), NAME_LONG),
        (json!({"name": "a\0b"}), NAME_CONTROL),
        (json!({"name": "a\nb"}), NAME_CONTROL),
        (json!({"name": "a\u{7f}b"}), NAME_CONTROL),
        (json!({"description": "x".repeat(1_001)}), "description must have at most 1000 characters"),
        (json!({"description": "a\0b"}), "description must not contain control characters"),
        (json!({"description": 7}), "description must be a text"),
    ]
}

fn key_stores_are_made_as_asked(stage: &Stage) {
    let made = key_store(stage, json!({"macAuthUse": "Y", "authMode": "OR", "name": " a  b\u{a0}", "description": "여러\n줄 🔑"})).body();
    let expected = json!({
        "keyStoreId": 3, "name": "a  b", "description": "여러\n줄 🔑", "ip4AuthUse": "Y", "macAuthUse": "Y", "certificateAuthUse": "N", "authMode": "OR",
        "creationUser": "admin", "creationDatetime": made["creationDatetime"], "lastChangeUser": "admin", "lastChangeDatetime": made["lastChangeDatetime"],
    });
    assert_eq!(made, expected);
    assert_eq!(made["creationDatetime"].as_str().map(str::len), Some(19));
    // What is missing or null is at its default.
    for body in [json!({"name": "least", "certificateAuthUse": "Y"}), json!({"name": "nulls", "certificateAuthUse": "Y", "ip4AuthUse": null, "authMode": null})]
    {
        let made = stage.make("/keystores", &body).body();
        let seen = ["description", "ip4AuthUse", "macAuthUse", "certificateAuthUse", "authMode"].map(|name| made[name].clone());
        assert_eq!(seen, ["", "N", "N", "Y", "AND"].map(Value::from));
    }
    // The longest there is, in characters.
    let longest = json!({"name": "é".repeat(100), "description": "🔑".repeat(1_000)});
    assert_eq!(key_store(stage, longest.clone()).body()["name"], longest["name"]);
    assert_eq!(key_store(stage, json!({"name": format!("{}x", "e\u{301}".repeat(99))})).body()["name"], format!("{}x", "é".repeat(99)));
    for (wrong, message) in wrong_texts() {
        key_store(stage, wrong.clone()).refused(field(message), &wrong.to_string());
    }
    const NONE: &str = "ip4AuthUse or macAuthUse or certificateAuthUse must be \"Y\": at least one client check is needed";
    for (wrong, message) in [
        (json!({"ip4AuthUse": "N"}), NONE),
        (json!({"ip4AuthUse": null}), NONE),
        (json!({"ip4AuthUse": "y"}), "ip4AuthUse must be \"Y\" or \"N\""),
        (json!({"ip4AuthUse": true}), "ip4AuthUse must be a text"),
        (json!({"macAuthUse": ""}), "macAuthUse must be \"Y\" or \"N\""),
        (json!({"certificateAuthUse": 1}), "certificateAuthUse must be a text"),
        (json!({"authMode": "XOR"}), "authMode must be \"AND\" or \"OR\""),
        (json!({"authMode": "and"}), "authMode must be \"AND\" or \"OR\""),
        (json!({"authMode": ""}), "authMode must be \"AND\" or \"OR\""),
        (json!({"authMode": 1}), "authMode must be a text"),
    ] {
        key_store(stage, wrong.clone()).refused(field(message), &wrong.to_string());
    }
    // What was refused took no number.
    assert_eq!(key_store(stage, json!({"name": "next"})).body()["keyStoreId"], 8);
}

fn names_are_unique_where_they_must_be(stage: &Stage) {
    const TAKEN: Refusal = exists("name is taken: a key store of that name exists");
    key_store(stage, json!({"name": "caf\u{e9}"})).body();
    key_store(stage, json!({"name": "caf\u{e9}"})).refused(TAKEN, "the same");
    key_store(stage, json!({"name": "cafe\u{301}"})).refused(TAKEN, "the same after NFC");
    key_store(stage, json!({"name": " caf\u{e9} "})).refused(TAKEN, "the same after trimming");
    key_store(stage, json!({"name": "Caf\u{e9}"})).body();

    let key =
        |store: &str, kind: &str, name: &str| stage.make(&format!("/keys/{kind}/create"), &json!({"keyStoreName": store, "name": name, "secretValue": "s"}));
    const KEY_TAKEN: Refusal = exists("name is taken: a key of that name exists");
    key("caf\u{e9}", "secrets", "n\u{e9}").body();
    for kind in ["secrets", "symmetric-keys", "asymmetric-keys"] {
        for name in ["n\u{e9}", "ne\u{301}", " n\u{e9}"] {
            key("cafe\u{301}", kind, name).refused(KEY_TAKEN, kind);
        }
    }
    key("caf\u{e9}", "secrets", "N\u{e9}").body();
    key("Caf\u{e9}", "secrets", "n\u{e9}").body();
    // Not even for a moment is there a second one.
    let outcomes: Vec<u16> = std::thread::scope(|scope| {
        let ask = Ask::post(stage.path("v1.2", "/keys/symmetric-keys/create"), &json!({"keyStoreName": "Caf\u{e9}", "name": "race"}));
        let ask = ask.headers(&stage.admin());
        let connections: Vec<_> = (0..4).map(|_| stage.connect(false)).collect();
        let started: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let bytes = ask.to_bytes();
                scope.spawn(move || {
                    connection.write(&bytes).expect("sent");
                    connection.read(false).expect("an answer").status
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().expect("a status")).collect()
    });
    let mut sorted = outcomes.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [200, 409, 409, 409]);
}

fn keys_are_made_as_asked(stage: &Stage) {
    by_bearer_token(stage);
    for (number, kind) in ["secrets", "symmetric-keys", "asymmetric-keys"].into_iter().enumerate() {
        let make = |change: Value| {
            let mut body = json!({"keyStoreName": "demo-by-address", "name": format!("key {number}"), "description": "d", "secretValue": "s"});
            body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            stage.make(&format!("/keys/{kind}/create"), &body)
        };
        for (wrong, message) in wrong_texts() {
            make(wrong.clone()).refused(field(message), &format!("{kind} {wrong}"));
        }
        for (wrong, expected) in [
            (json!({"keyStoreName": "no such store"}), INVALID_KEY_STORE),
            (json!({"keyStoreName": "DEMO-BY-ADDRESS"}), INVALID_KEY_STORE),
            (json!({"keyStoreName": "1"}), INVALID_KEY_STORE),
            (json!({"keyStoreName": ""}), field("keyStoreName must have 1 to 100 characters")),
            (json!({"keyStoreName": "x".repeat(101)}), field("keyStoreName must have at most 100 characters")),
        ] {
            make(wrong.clone()).refused(expected, &format!("{kind} {wrong}"));
        }
        let made = make(json!({"description": "🔑".repeat(1_000)})).body();
        assert_eq!((fields(&made), &made["keyStatus"]), (vec!["keyId", "keyStatus"], &json!("ACTIVE")));
        let id = made["keyId"].as_str().expect("an ID");
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{id}");
    }
}

/// In v1.3 as in v1.2, by an account that isn't the demo's.
fn by_bearer_token(stage: &Stage) {
    let bearer = format!("Bearer {}", stage.token("apiAdmin", "apiAdmin-secret"));
    let make = |rest: &str, body: Value| stage.ask(&Ask::post(stage.path("v1.3", rest), &body).header("X-NHN-Authorization", &bearer)).body();
    let store = make("/keystores", json!({"name": "by token", "ip4AuthUse": "Y"}));
    assert_eq!((&store["creationUser"], &store["lastChangeUser"]), (&json!("apiAdmin"), &json!("apiAdmin")));
    make("/auths/ipv4s", json!({"keyStoreName": "by token", "value": "127.0.0.1"}));
    let key = make("/keys/symmetric-keys/create", json!({"keyStoreName": "by token", "name": "k"}));
    let id = key["keyId"].as_str().expect("an ID");
    let encrypt = Ask::post(stage.path("v1.3", &format!("/symmetric-keys/{id}/encrypt")), &json!({"plaintext": "x"}));
    assert_eq!(stage.ask(&encrypt.header("X-NHN-Authorization", &bearer)).body()["keyVersion"], 0);
}

fn rotation_periods_are_0_or_30_days_and_more(stage: &Stage) {
    let make = |kind: &str, days: Value| {
        let body = json!({"keyStoreName": "demo-by-address", "name": format!("{kind} {days}"), "autoRotationPeriod": days});
        stage.make(&format!("/keys/{kind}/create"), &body)
    };
    for days in [json!(0), json!(30), json!(36_500), Value::Null] {
        make("symmetric-keys", days).body();
    }
    make("asymmetric-keys", json!(365)).body();
    for kind in ["symmetric-keys", "asymmetric-keys"] {
        const OUT: &str = "autoRotationPeriod must be 0 (never) or 30 to 36500 days";
        for days in [json!(1), json!(29), json!(-1), json!(-30), json!(36_501), json!(u32::MAX), json!(4_294_967_326_i64), json!(i64::MAX), json!(i64::MIN)] {
            make(kind, days.clone()).refused(field(OUT), &days.to_string());
        }
        for days in [json!(30.5), json!("30"), json!(""), json!(true), json!([30]), json!(u64::MAX), json!(1e30)] {
            make(kind, days.clone()).refused(field("autoRotationPeriod must be a whole number"), &days.to_string());
        }
    }
}

fn secrets_have_1_to_32768_bytes(stage: &Stage) {
    let make = |name: &str, value: Value| stage.make("/keys/secrets/create", &json!({"keyStoreName": "demo-by-address", "name": name, "secretValue": value}));
    for (name, value) in [("least", "\0".to_owned()), ("most", "x".repeat(32_768)), ("most keys", "🔑".repeat(8_192))] {
        let id = make(name, json!(value)).text("keyId");
        let read = stage.ask(&Ask::get(stage.v1(&format!("/secrets/{id}"))));
        assert!(read.text("secret") == value, "{name}");
    }
    make("none", json!("")).refused(field("secretValue must have 1 to 32768 bytes of UTF-8"), "an empty one");
    for longer in ["x".repeat(32_769), format!("{}x", "🔑".repeat(8_192))] {
        make("more", json!(longer)).refused(field("secretValue must be at most 32768 bytes of UTF-8"), "a longer one");
    }
    // What was refused took no name.
    make("more", json!("x")).body();
}

fn entries_are_kept_in_one_notation(stage: &Stage) {
    let make =
        |kind: &str, value: &str| stage.make(&format!("/auths/{kind}"), &json!({"keyStoreName": "demo-by-certificate", "value": value, "description": "d"}));
    const TAKEN: Refusal = exists("value is taken: that entry exists");
    for (kind, typed, shown) in [
        ("ipv4s", "10.0.0.1", "10.0.0.1"),
        ("ipv4s", "10.0.0.2/32", "10.0.0.2"),
        ("ipv4s", "10.1.0.0/16", "10.1.0.0/16"),
        ("macs", "AA-BB-CC-DD-EE-00", "aa:bb:cc:dd:ee:00"),
        ("macs", "Aa:bB:cc:dd:ee:02", "aa:bb:cc:dd:ee:02"),
    ] {
        assert_eq!(make(kind, typed).body(), json!({"value": shown, "description": "d"}));
        for same in [typed, shown] {
            make(kind, same).refused(TAKEN, same);
        }
    }
    for wrong in [
        "",
        "10.0.0",
        "10.0.0.256",
        "010.0.0.1",
        "10.0.0.1 ",
        "::1",
        "::/0",
        "fe80::/10",
        "::ffff:10.0.0.1",
        "localhost",
        "10.0.0.1:80",
        "0x0a000001",
        "10.0.0.0/",
        "10.0.0.0/-8",
        "10.0.0.0/+8",
        "10.0.0.0/ 8",
        "10.00.0.0/8",
        "010.0.0.0/8",
        "10.0.0.0/33",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "１0.0.0.1",
    ] {
        make("ipv4s", wrong).refused(field("value must be an IPv4 address or CIDR block"), wrong);
    }
    for wrong in ["", "aabbccddee00", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:ff:00", "aa:bb-cc:dd:ee:ff", "gg:bb:cc:dd:ee:ff", " aa:bb:cc:dd:ee:ff"] {
        make("macs", wrong).refused(field("value must be a MAC address like aa:bb:cc:dd:ee:ff"), wrong);
    }
    for wrong in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"] {
        make("macs", wrong).refused(field("value must be the address of one network card: not zero, not a group address"), wrong);
    }
    const HOST_BITS: &str = "value must have no bits set after the prefix";
    const EVERYBODY: &str = "value must not be /0, which admits everybody";
    const ZEROES: &str = "value must have a prefix length without leading zeroes";
    for (wrong, message) in [
        ("10.0.0.1/8", HOST_BITS),
        ("10.0.0.1/31", HOST_BITS),
        ("0.0.0.0/0", EVERYBODY),
        ("10.0.0.0/0", EVERYBODY),
        ("10.0.0.0/08", ZEROES),
        ("0.0.0.0/00", ZEROES),
    ] {
        make("ipv4s", wrong).refused(field(message), wrong);
    }
    for right in ["10.0.0.0/8", "128.0.0.0/1", "255.255.255.255", "0.0.0.0"] {
        assert_eq!(make("ipv4s", right).body()["value"], right);
    }
    entries_have_limits(stage);
    certificates(stage);
}

/// What every entry has beside its value.
fn entries_have_limits(stage: &Stage) {
    for (kind, entry) in [
        ("ipv4s", json!({"value": "10.7.7.7"})),
        ("macs", json!({"value": "02:00:00:00:07:07"})),
        ("certificates", json!({"name": "limits", "password": "p", "lifeTime": 1})),
    ] {
        let make = |change: Value| {
            let mut body = json!({"keyStoreName": "demo-by-certificate"});
            let fields = body.as_object_mut().expect("an object");
            fields.extend(entry.as_object().expect("an object").clone());
            fields.extend(change.as_object().expect("an object").clone());
            stage.make(&format!("/auths/{kind}"), &body)
        };
        for (wrong, message) in [
            (json!({"description": "x".repeat(1_001)}), "description must have at most 1000 characters"),
            (json!({"description": "a\0b"}), "description must not contain control characters"),
            (json!({"description": 7}), "description must be a text"),
            (json!({"keyStoreName": null}), "keyStoreName is required"),
            (json!({"keyStoreName": 7}), "keyStoreName must be a text"),
            (json!({"keyStoreName": ""}), "keyStoreName must have 1 to 100 characters"),
            (json!({"keyStoreName": "x".repeat(101)}), "keyStoreName must have at most 100 characters"),
        ] {
            make(wrong.clone()).refused(field(message), &format!("{kind} {wrong}"));
        }
        make(json!({"keyStoreName": "Demo-by-certificate"})).refused(INVALID_KEY_STORE, kind);
        let longest = "🔑".repeat(1_000);
        assert_eq!(make(json!({"description": longest})).body()["description"], longest, "{kind}");
    }
    // Nulls are as good as nothing.
    let made = stage.make("/auths/macs", &json!({"keyStoreName": "demo-by-certificate", "value": "02:00:00:00:07:08", "description": null}));
    assert_eq!(made.body()["description"], "");
}

fn certificates(stage: &Stage) {
    let make = |change: Value| {
        let mut body = json!({"keyStoreName": "demo-by-certificate", "name": "caf\u{e9}", "password": "p", "lifeTime": 1, "description": "d"});
        body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        stage.make("/auths/certificates", &body)
    };
    assert_eq!(make(json!({"name": " cafe\u{301}"})).body(), json!({"name": "caf\u{e9}", "description": "d"}));
    make(json!({})).refused(exists("name is taken: that entry exists"), "the same name");
    make(json!({"name": "Caf\u{e9}"})).body();
    make(json!({"name": "caf\u{e9}", "keyStoreName": "demo-by-address"})).body();
    const PASSWORD: &str = "password must have 1 to 128 printable ASCII characters";
    const LIFE: &str = "lifeTime must be 1 to 3650 days";
    for (wrong, message) in [
        (json!({"password": ""}), PASSWORD),
        (json!({"password": "x".repeat(129)}), PASSWORD),
        (json!({"password": "pässword"}), PASSWORD),
        (json!({"lifeTime": 0}), LIFE),
        (json!({"lifeTime": -1}), LIFE),
        (json!({"lifeTime": 3_651}), LIFE),
        (json!({"lifeTime": i64::MAX}), LIFE),
        (json!({"lifeTime": "1"}), "lifeTime must be a whole number"),
        (json!({"lifeTime": null}), "lifeTime is required"),
        (json!({"name": "x".repeat(101)}), NAME_LONG),
        (json!({"name": null}), "name is required"),
    ] {
        make(wrong.clone()).refused(field(message), &wrong.to_string());
    }
    make(json!({"name": "x".repeat(100), "password": "~ ".repeat(64), "lifeTime": 3_650})).body();
}

#[test]
fn key_stores_keys_and_entries_are_made() {
    let stage = Stage::new();
    key_stores_are_made_as_asked(&stage);
    names_are_unique_where_they_must_be(&stage);
    keys_are_made_as_asked(&stage);
    rotation_periods_are_0_or_30_days_and_more(&stage);
    secrets_have_1_to_32768_bytes(&stage);
    entries_are_kept_in_one_notation(&stage);
    stage.finish();
}
