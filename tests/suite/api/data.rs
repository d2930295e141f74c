//! Every data operation in every version, on both databases.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::http::{FORBIDDEN, KEY_NOT_EXPORTABLE, METHOD_NOT_ALLOWED, Reply};
use super::stage::{Ask, Stage, VERSIONS};
use super::{rsa, stage};
use crate::support::postgres::Cluster;

/// A stage seen through one version of the API, with that version's credentials.
struct Caller<'a> {
    stage: &'a Stage,
    version: &'static str,
    headers: Vec<(&'a str, &'a str)>,
}

impl Caller<'_> {
    fn ask(&self, ask: Ask) -> Reply {
        self.stage.ask(&ask.headers(&self.headers))
    }

    fn get(&self, rest: &str) -> Reply {
        self.ask(Ask::get(self.stage.path(self.version, rest)))
    }

    fn post(&self, rest: &str, body: &Value) -> Reply {
        self.ask(Ask::post(self.stage.path(self.version, rest), body))
    }
}

fn decoded(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().expect("a text")).expect("Base64")
}

/// The names of the fields, sorted.
pub(super) fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn confirm(caller: &Caller<'_>) {
    let seen = caller.get("/confirm").body();
    assert_eq!(seen, json!({"clientIp": "127.0.0.1", "clientMacHeader": null, "clientSentCertificate": false}));
    let with_all = Ask::get(caller.stage.path(caller.version, "/confirm")).header("X-TOAST-CLIENT-MAC-ADDR", "AA-BB-CC-DD-EE-0F").certified();
    let seen = caller.ask(with_all).body();
    assert_eq!(seen, json!({"clientIp": "127.0.0.1", "clientMacHeader": "aa:bb:cc:dd:ee:0f", "clientSentCertificate": true}));
}

fn symmetric(caller: &Caller<'_>) {
    let key = format!("/symmetric-keys/{}", caller.stage.id("SYMMETRIC_ID"));
    for text in ["order 4711", "", "안녕, skm 🔑", "a\0b\u{1}\n\"\\"] {
        let made = caller.post(&format!("{key}/encrypt"), &json!({"plaintext": text})).body();
        assert_eq!(fields(&made), ["ciphertext", "keyVersion"]);
        assert_eq!(made["keyVersion"], 0);
        let bytes = decoded(&made["ciphertext"]);
        assert_eq!((&bytes[..4], bytes.len()), ([0; 4].as_slice(), 4 + 12 + text.len() + 16));
        let opened = caller.post(&format!("{key}/decrypt"), &json!({"ciphertext": made["ciphertext"]})).body();
        assert_eq!(opened, json!({"plaintext": text, "keyVersion": 0}));
    }
    let local = caller.ask(Ask::new("POST", caller.stage.path(caller.version, &format!("{key}/create-local-key")))).body();
    assert_eq!(fields(&local), ["keyVersion", "localKeyCiphertext", "localKeyPlaintext"]);
    assert_eq!((local["keyVersion"].as_i64(), decoded(&local["localKeyPlaintext"]).len()), (Some(0), 32));
    let opened = caller.post(&format!("{key}/decrypt"), &json!({"ciphertext": local["localKeyCiphertext"]})).body();
    assert_eq!(opened, json!({"plaintext": local["localKeyPlaintext"], "keyVersion": 0}));
    for query in ["", "?keyVersion=0", "?keyVersion=99", "?keyVersion=x"] {
        caller.get(&format!("{key}/symmetric-key{query}")).refused(KEY_NOT_EXPORTABLE, query);
    }
}

fn asymmetric(caller: &Caller<'_>) {
    let key = format!("/asymmetric-keys/{}", caller.stage.id("ASYMMETRIC_ID"));
    let public = caller.get(&format!("{key}/publicKey")).body();
    assert_eq!(fields(&public), ["encodedKey", "key", "keyType", "keyVersion", "standardEncodedKey"]);
    assert_eq!((public["keyType"].as_str(), public["keyVersion"].as_i64()), (Some("PublicKey"), Some(0)));
    let spki = decoded(&public["standardEncodedKey"]);
    assert_eq!(public["encodedKey"], public["standardEncodedKey"]);
    let shown = spki.iter().map(|byte| format!("0x{byte:02X}")).collect::<Vec<_>>().join(", ");
    assert_eq!(public["key"], shown);
    assert!(shown.starts_with("0x30, 0x82, 0x01, 0x22, 0x30, "), "{shown}");
    assert_eq!(caller.get(&format!("{key}/publicKey?keyVersion=0")).body(), public);

    for text in ["order 4711", "", "서명 🔑"] {
        let made = caller.post(&format!("{key}/sign"), &json!({"plaintext": text})).body();
        assert_eq!(fields(&made), ["keyVersion", "signature"]);
        assert_eq!(made["keyVersion"], 0);
        let signature = decoded(&made["signature"]);
        assert_eq!((&signature[..4], signature.len()), ([0; 4].as_slice(), 4 + 256));
        assert_eq!(rsa::recover(&spki, &signature[4..]), rsa::padded(text.as_bytes()), "{text}");
        let verify = |text: &str| caller.post(&format!("{key}/verify"), &json!({"plaintext": text, "signature": made["signature"]})).body();
        assert_eq!(verify(text), json!({"result": true, "keyVersion": 0}));
        assert_eq!(verify("another text"), json!({"result": false, "keyVersion": 0}));
    }
    for query in ["", "?keyVersion=0", "?keyVersion=99"] {
        caller.get(&format!("{key}/privateKey{query}")).refused(KEY_NOT_EXPORTABLE, query);
    }
    standard(caller, &key, &spki);
}

fn standard(caller: &Caller<'_>, key: &str, spki: &[u8]) {
    let public = rsa::bare_key(spki);
    for message in [b"order 4711".as_slice(), b"", b"\xff\0\xfe"] {
        let plaintext = STANDARD.encode(message);
        let mut answers = Vec::new();
        for algorithm in ["RSASSA-PSS", "RSASSA-PKCS1-v1_5"] {
            let made = caller.post(&format!("{key}/sign-standard"), &json!({"plaintext": plaintext, "algorithm": algorithm})).body();
            let mut expected = json!({"signature": made["signature"], "algorithm": algorithm, "hashAlgorithm": "SHA-256", "keyVersion": 0});
            let signature = decoded(&made["signature"]);
            let right = if algorithm == "RSASSA-PSS" {
                expected["mgfAlgorithm"] = json!("MGF1-SHA-256");
                expected["saltLength"] = json!(32);
                UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &public).verify(message, &signature)
            } else {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public).verify(message, &signature)
            };
            assert_eq!(made, expected);
            assert!(right.is_ok(), "{algorithm}");
            answers.push((algorithm, made["signature"].clone()));
        }
        for (algorithm, signature) in &answers {
            let verify = |plaintext: &str, algorithm: &str| {
                let body = json!({"plaintext": plaintext, "algorithm": algorithm, "signature": signature, "keyVersion": 0});
                caller.post(&format!("{key}/verify-standard"), &body).body()
            };
            assert_eq!(verify(&plaintext, algorithm), json!({"result": true, "keyVersion": 0}));
            assert_eq!(verify("YW5vdGhlcg==", algorithm), json!({"result": false, "keyVersion": 0}));
            let other = if *algorithm == "RSASSA-PSS" { "RSASSA-PKCS1-v1_5" } else { "RSASSA-PSS" };
            assert_eq!(verify(&plaintext, other), json!({"result": false, "keyVersion": 0}));
        }
    }
}

fn secret(caller: &Caller<'_>, id: &str, expected: &str) {
    let path = format!("/secrets/{id}");
    assert_eq!(caller.get(&path).body(), json!({"secret": expected}));
    let value = format!("바뀐 value of {} 🔑\0\n", caller.version);
    let reply = caller.ask(Ask::put(caller.stage.path(caller.version, &path), &json!({"secretValue": value})));
    if caller.version < "v1.2" {
        return reply.refused(METHOD_NOT_ALLOWED, caller.version);
    }
    let changed = reply.body();
    let expected = json!({
        "keyId": id, "name": "to be changed", "description": "", "secretValue": value, "creationUser": "admin", "lastChangeUser": "admin",
        "creationDatetime": changed["creationDatetime"], "lastChangeDatetime": changed["lastChangeDatetime"],
    });
    assert_eq!(changed, expected);
    for field in ["creationDatetime", "lastChangeDatetime"] {
        let text = changed[field].as_str().expect("a date-time");
        let parsed = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!((chrono::Utc::now().naive_utc() - parsed).num_seconds().abs() < 300, "{text} is not now in UTC");
    }
    assert_eq!(caller.get(&path).body(), json!({"secret": value}));
}

/// What the audit records say about one request of each operation, in order.
fn records(caller: &Caller<'_>, actor: (&str, &str)) {
    let stage = caller.stage;
    let (symmetric, asymmetric) = (stage.id("SYMMETRIC_ID"), stage.id("ASYMMETRIC_ID"));
    let text = json!({"plaintext": "eA==", "ciphertext": "AAAAAAAA", "signature": "AAAA", "algorithm": "RSASSA-PSS", "keyVersion": 0});
    let post = |path: String| Ask::post(path, &text);
    let [no_version, version] = [Value::Null, json!(0)];
    let cases = [
        (Ask::get("/confirm"), "CONFIRM", "", &no_version, 0),
        (Ask::get(format!("/secrets/{}", stage.id("SECRET_ID"))), "READ_SECRET", stage.id("SECRET_ID"), &version, 0),
        (post(format!("/symmetric-keys/{symmetric}/encrypt")), "ENCRYPT", symmetric, &version, 0),
        (post(format!("/symmetric-keys/{symmetric}/decrypt")), "DECRYPT", symmetric, &no_version, 4001),
        (post(format!("/symmetric-keys/{symmetric}/create-local-key")), "CREATE_LOCAL_KEY", symmetric, &version, 0),
        (Ask::get(format!("/symmetric-keys/{symmetric}/symmetric-key")), "EXPORT_SYMMETRIC_KEY", symmetric, &no_version, 3005),
        (post(format!("/asymmetric-keys/{asymmetric}/sign")), "SIGN", asymmetric, &version, 0),
        (post(format!("/asymmetric-keys/{asymmetric}/verify")), "VERIFY", asymmetric, &no_version, 4001),
        (post(format!("/asymmetric-keys/{asymmetric}/sign-standard")), "SIGN_STANDARD", asymmetric, &version, 0),
        (post(format!("/asymmetric-keys/{asymmetric}/verify-standard")), "VERIFY_STANDARD", asymmetric, &no_version, 4001),
        (Ask::get(format!("/asymmetric-keys/{asymmetric}/privateKey")), "EXPORT_PRIVATE_KEY", asymmetric, &no_version, 3005),
        (Ask::get(format!("/asymmetric-keys/{asymmetric}/publicKey")), "READ_PUBLIC_KEY", asymmetric, &version, 0),
        (Ask::get("/nothing"), "UNKNOWN_ROUTE", "", &no_version, 1004),
    ];
    let asked: Vec<_> = cases
        .into_iter()
        .map(|(mut ask, operation, key, version, code)| {
            ask.path = stage.path(caller.version, &ask.path);
            let reply = caller.ask(ask.header("User-Agent", "a client").header("X-TOAST-CLIENT-MAC-ADDR", "02-00-00-00-00-0A"));
            let key = (!key.is_empty()).then_some(key);
            let expected = json!({
                "request": reply.header("x-request-id"), "project": 1, "actorKind": actor.0, "actor": actor.1, "address": "127.0.0.1",
                "mac": "02:00:00:00:00:0a", "certificate": null, "userAgent": "a client", "operation": operation, "key": key,
                "keyStore": key.map(|_| 1), "version": version, "resultCode": code, "detail": null,
            });
            (reply, expected)
        })
        .collect();
    let records = stage.records();
    for (reply, expected) in asked {
        let found = records.iter().find(|record| record["request"].as_str() == reply.header("x-request-id"));
        let mut found = found.unwrap_or_else(|| panic!("no record of {expected}")).clone();
        for own in ["chain", "sequence", "at", "hash"] {
            found.as_object_mut().expect("an object").remove(own);
        }
        assert_eq!(found, expected);
    }
}

fn works(stage: Stage) {
    let token = format!("Bearer {}", stage.token(stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY")));
    let id = stage.make_key("secrets", "to be changed");
    for version in VERSIONS {
        let headers = match version {
            "v1.2" => stage.admin().to_vec(),
            "v1.3" => vec![("X-NHN-Authorization", token.as_str())],
            _ => vec![],
        };
        let caller = Caller { stage: &stage, version, headers };
        confirm(&caller);
        symmetric(&caller);
        asymmetric(&caller);
        let by_access_key = format!("{}/admin", stage.id("ACCESS_KEY_ID"));
        records(&caller, if version < "v1.2" { ("appkey", "") } else { ("access-key", &by_access_key) });
        secret(&caller, &id, if version == "v1.3" { "바뀐 value of v1.2 🔑\0\n" } else { "to be changed" });
    }
    // Whatever appkey of the project, it is the same key.
    let integrated = format!("/keymanager/v1.1/appkey/{}/secrets/{id}", stage::INTEGRATED_APPKEY);
    assert_eq!(stage.ask(&Ask::get(integrated)).body(), json!({"secret": "바뀐 value of v1.3 🔑\0\n"}));
    let change = Ask::put(stage.path("v1.2", &format!("/secrets/{id}")), &json!({"secretValue": "x"}));
    stage.ask(&change.headers(&stage::access_key("apiViewer", "apiViewer-secret"))).refused(FORBIDDEN, "a change by a viewer");
    stage.finish();
}

#[test]
fn every_operation_works_on_sqlite() {
    works(Stage::new());
}

#[test]
fn every_operation_works_on_postgresql() {
    let cluster = Cluster::start();
    works(Stage::on(&cluster));
}
