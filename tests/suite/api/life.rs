//! The life of keys and versions through the API, from making to the end, on both databases.

use serde_json::{Value, json};

use super::http::{
    CURRENT_KEY_VERSION, FORBIDDEN, INVALID_KEY_ID, INVALID_KEY_STATUS, INVALID_KEY_VERSION, INVALID_KEY_VERSION_STATUS, KEY_NOT_ROTATABLE, METHOD_NOT_ALLOWED,
    Refusal, Reply, URL_NOT_FOUND, exists, field,
};
use super::life_changes::{changes, versions_are_bounded};
use super::stage::{Ask, FOREIGN_APPKEY, NO_KEY, Stage};
use crate::faults::settled::token_objects;
use crate::support::postgres::Cluster;

/// Somebody who keeps keys, in v1.3.
pub(super) struct Keeper<'a> {
    pub(super) stage: &'a Stage,
    bearer: String,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(stage: &'a Stage) -> Self {
        let bearer = format!("Bearer {}", stage.token(stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY")));
        Self { stage, bearer }
    }

    pub(super) fn request(&self, method: &str, rest: &str) -> Ask {
        Ask::new(method, self.stage.path("v1.3", rest)).header("X-NHN-Authorization", &self.bearer)
    }

    pub(super) fn send(&self, method: &str, rest: &str) -> Reply {
        self.stage.ask(&self.request(method, rest))
    }

    pub(super) fn json(&self, method: &str, rest: &str, body: &Value) -> Reply {
        self.stage.ask(&self.request(method, rest).json(body))
    }

    pub(super) fn rotate(&self, key: &str) -> Value {
        self.send("POST", &format!("/keys/{key}/rotate")).body()
    }

    pub(super) fn change(&self, key: &str, body: Value) -> Reply {
        self.json("PUT", &format!("/keys/{key}"), &body)
    }

    pub(super) fn encrypt(&self, key: &str, plaintext: &str) -> Reply {
        self.json("POST", &format!("/symmetric-keys/{key}/encrypt"), &json!({"plaintext": plaintext}))
    }

    pub(super) fn decrypt(&self, key: &str, ciphertext: &str) -> Reply {
        self.json("POST", &format!("/symmetric-keys/{key}/decrypt"), &json!({"ciphertext": ciphertext}))
    }

    /// Numbers, states and dates of deletion of a key's versions, and which is current.
    pub(super) fn versions(&self, key: &str) -> (Value, Vec<(u64, String, bool)>) {
        let body = self.send("GET", &format!("/keys/{key}/versions")).body();
        assert_eq!(super::data::fields(&body), ["currentKeyValueVersion", "keyId", "keyVersionList"]);
        assert_eq!(body["keyId"], key);
        let list = body["keyVersionList"].as_array().expect("a list").iter();
        let shown = |version: &Value| {
            let state = version["keyVersionStatus"].as_str().expect("a status").to_owned();
            (version["keyVersion"].as_u64().expect("a number"), state, version["deletionDatetime"].is_string())
        };
        (body["currentKeyValueVersion"].clone(), list.map(shown).collect())
    }

    fn objects(&self) -> usize {
        token_objects(&self.stage.installation).len()
    }
}

pub(super) fn key_taken() -> Refusal {
    exists("name is taken: a key of that name exists")
}

/// Now, as the API shows it in UTC.
pub(super) fn now() -> chrono::NaiveDateTime {
    chrono::Utc::now().naive_utc()
}

pub(super) fn parsed(text: &Value) -> chrono::NaiveDateTime {
    chrono::NaiveDateTime::parse_from_str(text.as_str().expect("a date-time"), "%Y-%m-%dT%H:%M:%S").expect("a date-time")
}

pub(super) fn is_now(text: &Value) {
    assert!((now() - parsed(text)).num_seconds().abs() < 120, "{text} is not now");
}

/// Seven days on, rounded up to the hour, in a zone so many hours ahead of UTC.
pub(super) fn is_in_seven_days(text: &Value, ahead: i64) {
    let ahead = parsed(text) - (now() + chrono::Duration::hours(ahead));
    assert!(text.as_str().expect("a date-time").ends_with(":00:00"), "{text}");
    assert!((7 * 86_400 - 60..=7 * 86_400 + 3_600).contains(&ahead.num_seconds()), "{text}");
}

fn symmetric(keeper: &Keeper<'_>) {
    let before = keeper.objects();
    let key = keeper.stage.make_key("symmetric-keys", "a life");
    let path = format!("/keys/{key}");
    let first = keeper.encrypt(&key, "first").text("ciphertext");
    assert_eq!(keeper.rotate(&key), json!({"keyId": key, "currentKeyValueVersion": 1, "nextAutoRotationDate": null}));
    let second = keeper.encrypt(&key, "second").body();
    assert_eq!(second["keyVersion"], 1);
    assert_eq!(keeper.decrypt(&key, &first).body(), json!({"plaintext": "first", "keyVersion": 0}));
    assert_eq!(keeper.rotate(&key)["currentKeyValueVersion"], 2);
    assert_eq!(keeper.objects(), before + 3);
    versions_are_listed(keeper, &key);
    one_old_version(keeper, &key, &first);
    assert_eq!(keeper.objects(), before + 2);

    // A key that is pending is out of use as a whole, and comes back as it was.
    keeper.send("PUT", &format!("{path}/versions/1/delete")).body();
    for method_and_path in [("DELETE", path.clone()), ("PUT", format!("{path}/restore"))] {
        keeper.send(method_and_path.0, &method_and_path.1).refused(INVALID_KEY_STATUS, "a key in service");
    }
    let asked = keeper.send("PUT", &format!("{path}/delete")).body();
    assert_eq!(asked, json!({"keyId": key, "deletionDateTime": asked["deletionDateTime"]}));
    is_in_seven_days(&asked["deletionDateTime"], 0);
    let ciphertext = second["ciphertext"].as_str().expect("a ciphertext");
    for (method, rest) in [
        ("PUT", "/delete"),
        ("POST", "/rotate"),
        ("PUT", "/versions/1/delete"),
        ("PUT", "/versions/1/restore"),
        ("DELETE", "/versions/1"),
        ("PUT", "/versions/2/delete"),
        ("PUT", "/versions/9/delete"),
    ] {
        keeper.send(method, &format!("{path}{rest}")).refused(INVALID_KEY_STATUS, rest);
    }
    keeper.change(&key, json!({"name": "another"})).refused(INVALID_KEY_STATUS, "a change of a pending key");
    keeper.encrypt(&key, "x").refused(INVALID_KEY_STATUS, "encrypt");
    keeper.decrypt(&key, ciphertext).refused(INVALID_KEY_STATUS, "decrypt");
    assert_eq!(keeper.versions(&key), (json!(2), vec![(1, "PENDING_DELETION".to_owned(), true), (2, "ACTIVE".to_owned(), false)]));
    assert_eq!(keeper.send("PUT", &format!("{path}/restore")).body(), json!({"keyId": key, "keyStatus": "ACTIVE"}));
    assert_eq!(keeper.versions(&key), (json!(2), vec![(1, "PENDING_DELETION".to_owned(), true), (2, "ACTIVE".to_owned(), false)]));
    keeper.decrypt(&key, ciphertext).refused(INVALID_KEY_VERSION_STATUS, "a version that was pending before");
    keeper.send("PUT", &format!("{path}/versions/1/restore")).body();
    assert_eq!(keeper.decrypt(&key, ciphertext).text("plaintext"), "second");

    ends(keeper, &key, "a life", "symmetric-keys");
    assert_eq!(keeper.objects(), before + 1, "what is left is the new key of that name");
    keeper.decrypt(&key, ciphertext).refused(INVALID_KEY_ID, "a key that is no more");
}

/// Asks for a key's deletion, deletes it, and makes another one of its name.
fn ends(keeper: &Keeper<'_>, key: &str, name: &str, kind: &str) {
    let path = format!("/keys/{key}");
    keeper.send("PUT", &format!("{path}/delete")).body();
    let body = json!({"keyStoreName": "demo-by-address", "name": name, "secretValue": "s"});
    keeper.json("POST", &format!("/keys/{kind}/create"), &body).refused(key_taken(), "a key that is only pending keeps its name");
    let deleted = keeper.send("DELETE", &path).body();
    assert_eq!(deleted, json!({"keyId": key, "deletionDateTime": deleted["deletionDateTime"]}));
    is_now(&deleted["deletionDateTime"]);
    for (method, rest) in [
        ("DELETE", ""),
        ("PUT", "/delete"),
        ("PUT", "/restore"),
        ("POST", "/rotate"),
        ("GET", "/versions"),
        ("PUT", "/versions/0/delete"),
        ("PUT", "/versions/0/restore"),
        ("DELETE", "/versions/x"),
    ] {
        let (gone, unknown) = (keeper.send(method, &format!("{path}{rest}")), keeper.send(method, &format!("/keys/{NO_KEY}{rest}")));
        gone.refused(INVALID_KEY_ID, rest);
        assert_eq!(gone.body, unknown.body, "{method} {rest}");
    }
    keeper.change(key, json!({"name": ""})).refused(INVALID_KEY_ID, "a key that is no more");
    keeper.json("POST", &format!("/keys/{kind}/create"), &body).body();
}

fn versions_are_listed(keeper: &Keeper<'_>, key: &str) {
    let listed = keeper.send("GET", &format!("/keys/{key}/versions")).body();
    let version = |number: usize, used: bool| {
        let shown = &listed["keyVersionList"][number];
        is_now(&shown["creationDatetime"]);
        assert_eq!(shown["lastAccessDatetime"].is_string(), used, "{shown}");
        json!({
            "keyVersion": number, "keyVersionStatus": "ACTIVE", "origin": "GENERATED", "lastAccessDatetime": shown["lastAccessDatetime"],
            "deletionDatetime": null, "creationUser": "admin", "creationDatetime": shown["creationDatetime"],
        })
    };
    let list = [version(0, true), version(1, true), version(2, false)];
    assert_eq!(listed, json!({"keyId": key, "currentKeyValueVersion": 2, "keyVersionList": list}));
}

/// Version 0's end is asked for, called off, and brought about.
fn one_old_version(keeper: &Keeper<'_>, key: &str, first: &str) {
    let path = |rest: &str| format!("/keys/{key}/versions/{rest}");
    keeper.send("DELETE", &path("0")).refused(INVALID_KEY_VERSION_STATUS, "a version in service");
    keeper.send("PUT", &path("0/restore")).refused(INVALID_KEY_VERSION_STATUS, "a version in service");
    for (method, rest) in [("PUT", "2/delete"), ("PUT", "2/restore"), ("DELETE", "2")] {
        keeper.send(method, &path(rest)).refused(CURRENT_KEY_VERSION, rest);
    }
    for wrong in ["3", "16777215", "16777216", "-1", "x", "00", "%30%30", "+0", "0.0", "99999999999999999999", "%20"] {
        for (method, rest) in [("PUT", format!("{wrong}/delete")), ("PUT", format!("{wrong}/restore")), ("DELETE", wrong.to_owned())] {
            keeper.send(method, &path(&rest)).refused(INVALID_KEY_VERSION, &rest);
        }
    }
    let asked = keeper.send("PUT", &path("0/delete")).body();
    assert_eq!(asked, json!({"keyId": key, "keyVersion": 0, "deletionDateTime": asked["deletionDateTime"]}));
    is_in_seven_days(&asked["deletionDateTime"], 0);
    keeper.send("PUT", &path("0/delete")).refused(INVALID_KEY_VERSION_STATUS, "twice");
    keeper.decrypt(key, first).refused(INVALID_KEY_VERSION_STATUS, "a pending version");
    assert_eq!(keeper.send("PUT", &path("0/restore")).body(), json!({"keyId": key, "keyVersion": 0, "keyVersionStatus": "ACTIVE"}));
    assert_eq!(keeper.decrypt(key, first).text("plaintext"), "first");
    keeper.send("PUT", &path("0/delete")).body();
    let deleted = keeper.send("DELETE", &path("0")).body();
    assert_eq!(deleted, json!({"keyId": key, "keyVersion": 0, "deletionDateTime": deleted["deletionDateTime"]}));
    is_now(&deleted["deletionDateTime"]);
    for (method, rest) in [("DELETE", "0"), ("PUT", "0/delete"), ("PUT", "0/restore")] {
        keeper.send(method, &path(rest)).refused(INVALID_KEY_VERSION, rest);
    }
    keeper.decrypt(key, first).refused(INVALID_KEY_VERSION, "a version that is no more");
    assert_eq!(keeper.versions(key), (json!(2), vec![(1, "ACTIVE".to_owned(), false), (2, "ACTIVE".to_owned(), false)]));
}

fn asymmetric(keeper: &Keeper<'_>) {
    let before = keeper.objects();
    let key = keeper.stage.make_key("asymmetric-keys", "a signer");
    let post = |rest: &str, body: Value| keeper.json("POST", &format!("/asymmetric-keys/{key}/{rest}"), &body);
    let signed = post("sign", json!({"plaintext": "order"})).text("signature");
    let standard = json!({"plaintext": "b3JkZXI=", "algorithm": "RSASSA-PSS"});
    let by_standard = post("sign-standard", standard.clone()).text("signature");
    assert_eq!(keeper.rotate(&key)["currentKeyValueVersion"], 1);
    assert_eq!(post("sign", json!({"plaintext": "order"})).body()["keyVersion"], 1);
    assert_eq!(post("verify", json!({"plaintext": "order", "signature": signed})).body(), json!({"result": true, "keyVersion": 0}));
    let mut shown = standard;
    shown["signature"] = json!(by_standard);
    for (version, result) in [(0, true), (1, false)] {
        shown["keyVersion"] = json!(version);
        assert_eq!(post("verify-standard", shown.clone()).body(), json!({"result": result, "keyVersion": version}));
    }
    keeper.send("PUT", &format!("/keys/{key}/versions/0/delete")).body();
    post("verify", json!({"plaintext": "order", "signature": signed})).refused(INVALID_KEY_VERSION_STATUS, "a pending version");
    keeper.send("GET", &format!("/asymmetric-keys/{key}/publicKey?keyVersion=0")).refused(INVALID_KEY_VERSION_STATUS, "a pending version");
    keeper.send("DELETE", &format!("/keys/{key}/versions/0")).body();
    post("verify", json!({"plaintext": "order", "signature": signed})).refused(INVALID_KEY_VERSION, "a version that is no more");
    // A pair is two objects in the token.
    assert_eq!(keeper.objects(), before + 2);
    keeper.send("PUT", &format!("/keys/{key}/delete")).body();
    keeper.send("GET", &format!("/asymmetric-keys/{key}/publicKey")).refused(INVALID_KEY_STATUS, "a pending key");
    keeper.send("DELETE", &format!("/keys/{key}")).body();
    assert_eq!(keeper.objects(), before);
}

fn confidential_data(keeper: &Keeper<'_>) {
    let key = keeper.stage.make_key("secrets", "a secret");
    let path = format!("/keys/{key}");
    keeper.json("PUT", &format!("/secrets/{key}"), &json!({"secretValue": "changed"})).body();
    assert_eq!(keeper.versions(&key), (json!(1), vec![(1, "ACTIVE".to_owned(), false)]));
    keeper.send("POST", &format!("{path}/rotate")).refused(KEY_NOT_ROTATABLE, "confidential data");
    keeper.send("PUT", &format!("{path}/versions/1/delete")).refused(CURRENT_KEY_VERSION, "the only one");
    keeper.send("PUT", &format!("{path}/versions/0/delete")).refused(INVALID_KEY_VERSION, "one that was replaced");
    keeper.change(&key, json!({"autoRotationPeriod": 30})).refused(NOT_THIS, "confidential data");
    keeper.change(&key, json!({"autoRotationPeriod": 0, "description": "d"})).body();
    keeper.send("PUT", &format!("{path}/delete")).body();
    keeper.send("GET", &format!("/secrets/{key}")).refused(INVALID_KEY_STATUS, "a pending secret");
    keeper.json("PUT", &format!("/secrets/{key}"), &json!({"secretValue": "x"})).refused(INVALID_KEY_STATUS, "a pending secret");
    keeper.send("PUT", &format!("{path}/restore")).body();
    assert_eq!(keeper.send("GET", &format!("/secrets/{key}")).text("secret"), "changed");
    ends(keeper, &key, "a secret", "secrets");
    let from = format!("key_versions WHERE key_id = '{key}' AND (sealed IS NOT NULL OR state <> 'DESTROYED')");
    assert_eq!(keeper.stage.installation.database().count(&from), 0, "the data is erased");
}

pub(super) const NOT_THIS: Refusal = field("autoRotationPeriod must be 0: confidential data and imported keys don't rotate");

/// Who may, and in which version.
fn rights(keeper: &Keeper<'_>) {
    let stage = keeper.stage;
    let key = stage.make_key("symmetric-keys", "not yours");
    for (version, method, expected) in [("v1.0", "PUT", URL_NOT_FOUND), ("v1.1", "PUT", URL_NOT_FOUND), ("v1.2", "GET", METHOD_NOT_ALLOWED)] {
        let ask = Ask::new(method, stage.path(version, &format!("/keys/{key}/delete"))).headers(&stage.admin());
        stage.ask(&ask).refused(expected, version);
    }
    for rest in ["rotate", "restore", "versions"] {
        stage.ask(&Ask::get(stage.path("v1.2", &format!("/keys/{key}/{rest}"))).headers(&stage.admin())).refused(URL_NOT_FOUND, rest);
    }
    let viewer = format!("Bearer {}", stage.token("apiViewer", "apiViewer-secret"));
    let as_viewer = |method: &str, rest: &str| {
        let ask = Ask::new(method, stage.path("v1.3", &format!("/keys/{key}{rest}"))).header("X-NHN-Authorization", &viewer);
        stage.ask(&ask.json(&json!({"name": "x"})))
    };
    for (method, rest) in [
        ("PUT", ""),
        ("PUT", "/delete"),
        ("DELETE", ""),
        ("PUT", "/restore"),
        ("POST", "/rotate"),
        ("PUT", "/versions/0/delete"),
        ("PUT", "/versions/0/restore"),
        ("DELETE", "/versions/0"),
    ] {
        as_viewer(method, rest).refused(FORBIDDEN, rest);
    }
    assert_eq!(as_viewer("GET", "/versions").body()["currentKeyValueVersion"], 0);
    // Another project's key is as good as none.
    let foreign = stage.make_foreign_key("symmetric-keys");
    for (method, rest) in [("PUT", "/delete"), ("DELETE", ""), ("POST", "/rotate"), ("GET", "/versions"), ("PUT", "/versions/0/delete")] {
        keeper.send(method, &format!("/keys/{foreign}{rest}")).refused(INVALID_KEY_ID, rest);
    }
    keeper.change(&foreign, json!({"name": "mine"})).refused(INVALID_KEY_ID, "another project's key");
    let encrypt = Ask::post(format!("/keymanager/v1.0/appkey/{FOREIGN_APPKEY}/symmetric-keys/{foreign}/encrypt"), &json!({"plaintext": "x"}));
    assert_eq!(stage.ask(&encrypt).body()["keyVersion"], 0);
    // In v1.2 as in v1.3, and without the key store's client checks.
    let by_access_key = |method: &str, rest: &str| stage.ask(&Ask::new(method, stage.path("v1.2", rest)).headers(&stage.admin()));
    let hidden = stage.id("MTLS_SYMMETRIC_ID");
    is_in_seven_days(&by_access_key("PUT", &format!("/keys/{hidden}/delete")).body()["deletionDateTime"], 0);
    by_access_key("PUT", &format!("/keys/{hidden}/delete")).refused(INVALID_KEY_STATUS, "twice");
    is_now(&by_access_key("DELETE", &format!("/keys/{hidden}")).body()["deletionDateTime"]);
}

/// What the audit log says of each operation, by its newest record.
fn records(keeper: &Keeper<'_>) {
    let records = keeper.stage.records();
    for (operation, with_version) in [
        ("CHANGE_KEY", false),
        ("ROTATE_KEY", true),
        ("REQUEST_KEY_DELETION", false),
        ("RESTORE_KEY", false),
        ("DELETE_KEY", false),
        ("REQUEST_VERSION_DELETION", true),
        ("RESTORE_VERSION", true),
        ("DELETE_VERSION", true),
    ] {
        let found = records.iter().rfind(|record| record["operation"] == operation && record["resultCode"] == 0);
        let record = found.unwrap_or_else(|| panic!("no record of {operation}"));
        assert!(record["key"].is_string() && record["keyStore"].is_number(), "{record}");
        assert_eq!(record["version"].is_number(), with_version, "{record}");
        assert_eq!(record["actorKind"], "access-key", "{record}");
    }
    let renamed = records.iter().find(|record| record["detail"] == "name caf\u{e9}, autoRotationPeriod 30");
    assert!(renamed.is_some(), "what was changed is told");
}

fn whole_life(stage: Stage) {
    let keeper = Keeper::new(&stage);
    symmetric(&keeper);
    asymmetric(&keeper);
    confidential_data(&keeper);
    changes(&keeper);
    versions_are_bounded(&keeper);
    rights(&keeper);
    records(&keeper);
    assert_eq!(stage.running.operations("/readyz").0, 200);
    stage.finish();
}

#[test]
fn a_whole_life_on_sqlite() {
    whole_life(Stage::new());
}

#[test]
fn a_whole_life_on_postgresql() {
    let cluster = Cluster::start();
    whole_life(Stage::on(&cluster));
}
