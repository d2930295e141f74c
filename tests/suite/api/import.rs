//! Keys from outside: in the clear, and wrapped by a pair of the token.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::{Value, json};

use super::http::*;
use super::stage::{Ask, FOREIGN_APPKEY, Stage};
use crate::faults::settled::token_objects;
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;
use crate::support::wrapping::{self, wrap};

const KEY: [u8; 32] = *b"\x00\xff23456789abcdef0123456789ABCDEF";
const LENGTH: &str = "keyData must be Base64 of exactly 32 bytes";
const WRAPPED_LENGTH: &str = "wrappedKey must be Base64 of exactly 256 bytes";
const NOT_UNWRAPPED: &str = "wrappedKey must be exactly 32 bytes, wrapped by publicKey as the import parameters say";
const IMPORT: &str = "/keys/symmetric-keys/import";
const PARAMETERS: &str = "/keys/symmetric-keys/import-parameters";

/// A stage, with the administrator's bearer token.
struct Importer {
    stage: Stage,
    bearer: String,
    /// How many objects must be in the token.
    objects: RefCell<usize>,
}

impl Importer {
    fn new(stage: Stage) -> Self {
        let bearer = format!("Bearer {}", stage.token(stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY")));
        let objects = RefCell::new(token_objects(&stage.installation).len());
        Self { stage, bearer, objects }
    }

    fn ask(&self, ask: Ask) -> Reply {
        self.stage.ask(&ask.header("X-NHN-Authorization", &self.bearer))
    }

    fn import(&self, name: &str, fields: &Value) -> Reply {
        let mut body = json!({"keyStoreName": "demo-by-address", "name": name, "description": "from outside"});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        self.ask(Ask::post(self.stage.path("v1.3", IMPORT), &body))
    }

    fn parameters(&self) -> Parameters {
        Parameters::read(&self.ask(Ask::get(self.stage.path("v1.3", PARAMETERS))))
    }

    fn import_wrapped(&self, name: &str, token: &str, wrapped: &[u8]) -> Reply {
        self.import(name, &json!({"importToken": token, "wrappedKey": STANDARD.encode(wrapped)}))
    }

    /// The token has so many objects more than at the last look, of which none is of the service's own making half done.
    fn grown_by(&self, more: isize, what: &str) {
        let expected = self.objects.borrow().checked_add_signed(more).expect("a number");
        let (found, named) = (token_objects(&self.stage.installation), self.stage.installation.database().count("token_objects WHERE state <> 'DESTROYED'"));
        assert_eq!(found.len(), expected, "{what}: {found:?}");
        let mut ids: Vec<_> = found.iter().map(|object| &object.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(i64::try_from(ids.len()).expect("a few"), named, "{what}: token and database don't agree");
        let under_way = self.stage.installation.database().count("token_objects WHERE state IN ('PROVISIONING', 'DESTROYING')");
        assert_eq!(under_way, 0, "{what}: something is half done");
        *self.objects.borrow_mut() = expected;
    }

    /// What `key` encrypts opens with [`KEY`] outside, and it decrypts what was encrypted outside of it.
    fn must_be_the_key(&self, key: &str) {
        let path = |what: &str| self.stage.v1(&format!("/symmetric-keys/{key}/{what}"));
        let made = self.stage.ask(&Ask::post(path("encrypt"), &json!({"plaintext": "attack at dawn"}))).body();
        assert_eq!(made["keyVersion"], 0);
        let ciphertext = STANDARD.decode(made["ciphertext"].as_str().expect("a text")).expect("Base64");
        let aad = [b"skm".as_slice(), &ciphertext[..4], &hex::decode(key).expect("hex")].concat();
        assert_eq!(wrapping::open(&KEY, &aad, &ciphertext[4..]).as_deref(), Some(b"attack at dawn".as_slice()));
        let opened = self.stage.ask(&Ask::post(path("decrypt"), &json!({"ciphertext": made["ciphertext"]})));
        assert_eq!(opened.text("plaintext"), "attack at dawn");
        let mut database = self.stage.installation.database();
        let row = format!("key_versions JOIN keys ON keys.id = key_id WHERE key_id = '{key}' AND rotation_days = 0 AND next_rotation_at IS NULL");
        assert_eq!(database.texts("origin", &row), ["IMPORTED"]);
    }

    /// How many requests of that kind were recorded, by result code.
    fn records(&self, operation: &str, code: i64) -> usize {
        self.stage.records().iter().filter(|record| record["operation"] == operation && record["resultCode"] == code).count()
    }
}

/// What was answered to a request for parameters.
struct Parameters {
    spki: Vec<u8>,
    token: String,
}

impl Parameters {
    fn read(reply: &Reply) -> Self {
        let mut body = reply.body();
        let mut take =
            |field: &str| body.as_object_mut().and_then(|body| body.remove(field)).and_then(|value| value.as_str().map(str::to_owned)).expect("a text");
        let (spki, token, expires) = (take("publicKey"), take("importToken"), take("expirationDatetime"));
        assert_eq!(body, json!({"keyAlgorithm": "RSA-2048", "wrappingAlgorithm": "RSAES-OAEP", "hashAlgorithm": "SHA-1", "mgfAlgorithm": "MGF1-SHA-1"}));
        assert_eq!(token.len(), 43, "256 bits");
        let expires = chrono::NaiveDateTime::parse_from_str(&expires, "%Y-%m-%dT%H:%M:%S").expect("a date-time");
        let ahead = (expires - chrono::Utc::now().naive_utc()).num_seconds();
        assert!((3_500..=3_600).contains(&ahead), "{expires} is not an hour ahead");
        Self { spki: STANDARD.decode(spki).expect("Base64"), token }
    }

    fn wrap(&self, material: &[u8]) -> Vec<u8> {
        wrap(&self.spki, "sha1", material)
    }
}

fn keys_in_the_clear(importer: &Importer) {
    let made = importer.import("in the clear", &json!({"keyData": STANDARD.encode(KEY)})).body();
    let id = made["keyId"].as_str().expect("an ID");
    assert_eq!(made, json!({"keyId": id, "keyStatus": "ACTIVE"}));
    importer.grown_by(1, "a key in the clear");
    importer.must_be_the_key(id);
    let wrong_lengths = [0, 1, 16, 24, 31, 33, 64].map(|length| json!(STANDARD.encode(vec![7; length])));
    let good = STANDARD.encode(KEY);
    let broken = [URL_SAFE.encode([0xff; 32]), STANDARD_NO_PAD.encode(KEY), format!("{good} "), good.replacen('P', "\n", 1), "é".repeat(22), "0x00".to_owned()];
    for value in wrong_lengths.into_iter().chain(broken.map(|text| json!(text))) {
        importer.import("refused", &json!({"keyData": value})).refused(field(LENGTH), &value.to_string());
    }
    for value in [json!(1), json!([1, 2]), json!(true)] {
        importer.import("refused", &json!({"keyData": value})).refused(field("keyData must be a text"), &value.to_string());
    }
    importer
        .import("in the clear", &json!({"keyData": STANDARD.encode(KEY)}))
        .refused(exists("name is taken: a key of that name exists"), "a name that is taken");
    importer.import("refused", &json!({"keyStoreName": "no such store", "keyData": STANDARD.encode(KEY)})).refused(INVALID_KEY_STORE, "no such store");
    importer.import("", &json!({"keyData": STANDARD.encode(KEY)})).refused(field("name must have 1 to 100 characters"), "no name");
    importer.grown_by(0, "what was refused");
}

fn either_in_the_clear_or_wrapped(importer: &Importer) {
    let (plain, token, wrapped) = (json!(STANDARD.encode(KEY)), json!("token"), json!(STANDARD.encode([7; 256])));
    const BOTH: &str = "keyData must not come with importToken or wrappedKey";
    for (fields, message) in [
        (json!({}), "keyData is required, or importToken and wrappedKey"),
        (json!({"keyData": null, "importToken": null, "wrappedKey": null}), "keyData is required, or importToken and wrappedKey"),
        (json!({"keyData": plain, "importToken": token, "wrappedKey": wrapped}), BOTH),
        (json!({"keyData": plain, "importToken": token}), BOTH),
        (json!({"keyData": plain, "wrappedKey": wrapped}), BOTH),
        (json!({"importToken": token}), "wrappedKey is required with importToken"),
        (json!({"wrappedKey": wrapped}), "importToken is required with wrappedKey"),
        (json!({"importToken": 1, "wrappedKey": wrapped}), "importToken must be a text"),
        (json!({"importToken": token, "wrappedKey": 1}), "wrappedKey must be a text"),
        (json!({"importToken": token, "wrappedKey": "rubbish!"}), WRAPPED_LENGTH),
        (json!({"importToken": token, "wrappedKey": STANDARD.encode([7; 255])}), WRAPPED_LENGTH),
        (json!({"importToken": token, "wrappedKey": STANDARD.encode([7; 257])}), WRAPPED_LENGTH),
        (json!({"importToken": token, "wrappedKey": ""}), WRAPPED_LENGTH),
    ] {
        importer.import("refused", &fields).refused(field(message), &fields.to_string());
    }
    importer
        .import("refused", &json!({"keyData": plain, "importToken": null, "description": "x".repeat(1_001)}))
        .refused(field("description must have at most 1000 characters"), "a long description");
    importer.grown_by(0, "what was refused");
}

fn wrapped_keys(importer: &Importer) {
    let parameters = importer.parameters();
    importer.grown_by(2, "a pair");
    let id = importer.import_wrapped("wrapped", &parameters.token, &parameters.wrap(&KEY)).text("keyId");
    importer.grown_by(-1, "the key in, the pair gone");
    importer.must_be_the_key(&id);
    let again = importer.import_wrapped("wrapped again", &parameters.token, &parameters.wrap(&KEY));
    again.refused(INVALID_IMPORT_TOKEN, "a spent token");
    importer.grown_by(0, "a spent token");
}

fn imported_keys_do_not_rotate_and_are_destroyed_like_others(importer: &Importer) {
    let id = importer.import("short lived", &json!({"keyData": STANDARD.encode(KEY)})).text("keyId");
    let path = |rest: &str| importer.stage.path("v1.3", &format!("/keys/{id}{rest}"));
    importer.ask(Ask::new("POST", path("/rotate"))).refused(KEY_NOT_ROTATABLE, "a rotation");
    let period = importer.ask(Ask::put(path(""), &json!({"autoRotationPeriod": 30})));
    period.refused(field("autoRotationPeriod must be 0: confidential data and imported keys don't rotate"), "a rotation period");
    importer.must_be_the_key(&id);
    importer.grown_by(1, "one version");
    importer.ask(Ask::new("PUT", path("/delete"))).body();
    importer.ask(Ask::new("DELETE", path(""))).body();
    importer.grown_by(-1, "destroyed");
}

fn of_two_who_spend_a_token_one_does(importer: &Importer) {
    let parameters = importer.parameters();
    let asks = ["one", "other"].map(|name| {
        let body =
            json!({"keyStoreName": "demo-by-address", "name": name, "importToken": parameters.token, "wrappedKey": STANDARD.encode(parameters.wrap(&KEY))});
        Ask::post(importer.stage.path("v1.3", IMPORT), &body).header("X-NHN-Authorization", &importer.bearer)
    });
    let mut connections = [importer.stage.connect(false), importer.stage.connect(false)];
    for (connection, ask) in connections.iter_mut().zip(&asks) {
        connection.write(&ask.to_bytes()).expect("written");
    }
    let mut replies: Vec<_> = connections.iter_mut().zip(&asks).map(|(connection, ask)| importer.stage.read(connection, ask)).collect();
    replies.sort_by_key(|reply| reply.status);
    replies[0].body();
    replies[1].refused(INVALID_IMPORT_TOKEN, "the second");
    importer.grown_by(1, "one key");
}

fn what_cannot_be_unwrapped_spends_the_token_and_leaves_nothing(importer: &Importer) {
    type Wrapped = fn(&Parameters) -> Vec<u8>;
    let wrong: [(&str, Wrapped); 9] = [
        ("16 bytes", |parameters| parameters.wrap(&[7; 16])),
        ("24 bytes", |parameters| parameters.wrap(&[7; 24])),
        ("31 bytes", |parameters| parameters.wrap(&[7; 31])),
        ("33 bytes", |parameters| parameters.wrap(&[7; 33])),
        ("64 bytes", |parameters| parameters.wrap(&[7; 64])),
        ("the key in Base64", |parameters| parameters.wrap(STANDARD.encode(KEY).as_bytes())),
        ("garbage", |_| vec![7; 256]),
        ("more than the modulus", |_| vec![0xff; 256]),
        ("another hash", |parameters| wrap(&parameters.spki, "sha256", &KEY)),
    ];
    for (what, wrapped) in wrong {
        let parameters = importer.parameters();
        importer.import_wrapped("refused", &parameters.token, &wrapped(&parameters)).refused(field(NOT_UNWRAPPED), what);
        importer.grown_by(0, what);
        importer.import_wrapped("refused", &parameters.token, &parameters.wrap(&KEY)).refused(INVALID_IMPORT_TOKEN, what);
    }
    // The name is free, and the token in good health.
    let parameters = importer.parameters();
    let other = importer.parameters();
    importer.import_wrapped("refused", &other.token, &parameters.wrap(&KEY)).refused(field(NOT_UNWRAPPED), "another pair's");
    importer.import_wrapped("refused", &parameters.token, &parameters.wrap(&KEY)).body();
    importer.grown_by(1, "a key of the name that was free");
    assert_eq!(importer.stage.running.operations("/readyz").0, 200);
}

fn a_token_is_of_its_project_and_of_its_hour(importer: &Importer) {
    let stage = &importer.stage;
    importer.import_wrapped("refused", "no such token", &[7; 256]).refused(INVALID_IMPORT_TOKEN, "an unknown token");
    importer.import_wrapped("refused", "", &[7; 256]).refused(INVALID_IMPORT_TOKEN, "no token");
    importer.grown_by(0, "unknown tokens");

    let foreigner = format!("Bearer {}", stage.token("foreigner", "foreigner-secret"));
    let path = format!("/keymanager/v1.3/appkey/{FOREIGN_APPKEY}{PARAMETERS}");
    let foreign = Parameters::read(&stage.ask(&Ask::get(path).header("X-NHN-Authorization", &foreigner)));
    importer.import_wrapped("refused", &foreign.token, &foreign.wrap(&KEY)).refused(INVALID_IMPORT_TOKEN, "a foreign token");
    importer.grown_by(2, "a foreign pair, which is not spent");

    // What stands in the way of planning the key leaves the token unspent.
    let parameters = importer.parameters();
    let wrapped = parameters.wrap(&KEY);
    importer.import_wrapped("wrapped", &parameters.token, &wrapped).refused(exists("name is taken: a key of that name exists"), "a name that is taken");
    importer.grown_by(2, "a pair, which is not spent");
    stage.database.execute("UPDATE import_pairs SET expires_at = 1 WHERE state = 'ACTIVE'");
    importer.import_wrapped("refused", &parameters.token, &wrapped).refused(INVALID_IMPORT_TOKEN, "an expired token");
    let began = Instant::now();
    while stage.installation.database().count("import_pairs WHERE state <> 'DESTROYED'") > 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "expired pairs are still there");
        std::thread::sleep(Duration::from_millis(100));
    }
    importer.grown_by(-4, "expired pairs are destroyed");
    assert_eq!(importer.records("EXPIRE_IMPORT", 0), 2);
}

fn a_project_has_few_pairs_at_a_time(importer: &Importer) {
    let pairs: Vec<_> = (0..16).map(|_| importer.parameters()).collect();
    // Unlike what is over a caller's limit, it is recorded.
    let refused = importer.ask(Ask::get(importer.stage.path("v1.3", PARAMETERS)).recorded(true));
    refused.refused(TOO_MANY_REQUESTS, "the 17th pair");
    assert_eq!(refused.header("retry-after"), Some("60"));
    importer.grown_by(32, "16 pairs");
    importer.import_wrapped("makes room", &pairs[7].token, &pairs[7].wrap(&KEY)).body();
    importer.parameters();
    assert_eq!(importer.records("PREPARE_IMPORT", 1006), 1);
}

fn only_who_may_change_may_import(importer: &Importer) {
    let stage = &importer.stage;
    let body = json!({"keyStoreName": "demo-by-address", "name": "forbidden", "keyData": STANDARD.encode(KEY)});
    for (login, refusal) in [("apiViewer", FORBIDDEN), ("viewer", FORBIDDEN), ("foreigner", FORBIDDEN)] {
        let bearer = format!("Bearer {}", stage.token(login, &format!("{login}-secret")));
        let refused = |ask: Ask| stage.ask(&ask.header("X-NHN-Authorization", &bearer)).refused(refusal, login);
        refused(Ask::get(stage.path("v1.3", PARAMETERS)));
        refused(Ask::post(stage.path("v1.3", IMPORT), &body));
        refused(Ask::post(stage.path("v1.3", IMPORT), &json!({})));
    }
    stage.ask(&Ask::get(stage.path("v1.3", PARAMETERS))).refused(UNAUTHORIZED, "no credentials");
    stage.ask(&Ask::post(stage.path("v1.2", IMPORT), &body).headers(&stage.admin())).refused(URL_NOT_FOUND, "v1.2");
    importer.grown_by(0, "what was refused");
}

fn nothing_of_a_key_is_seen_in_log_or_database(importer: &Importer) {
    let records = importer.stage.records();
    let of_imports: Vec<_> = records.iter().filter(|record| record["operation"] == "IMPORT_KEY").collect();
    assert!(of_imports.iter().any(|record| record["detail"] == "SYMMETRIC_KEY in the clear, imported in the clear"), "{of_imports:?}");
    assert!(of_imports.iter().any(|record| record["detail"].as_str().is_some_and(|detail| detail.starts_with("SYMMETRIC_KEY wrapped, imported wrapped by "))));
    let log = importer.stage.running.log();
    for shown in [STANDARD.encode(KEY), hex::encode(KEY), hex::encode_upper(KEY)] {
        assert!(!log.contains(&shown) && !records.iter().any(|record| record.to_string().contains(&shown)));
    }
}

fn everything(stage: Stage) {
    let importer = Importer::new(stage);
    keys_in_the_clear(&importer);
    either_in_the_clear_or_wrapped(&importer);
    wrapped_keys(&importer);
    imported_keys_do_not_rotate_and_are_destroyed_like_others(&importer);
    of_two_who_spend_a_token_one_does(&importer);
    what_cannot_be_unwrapped_spends_the_token_and_leaves_nothing(&importer);
    only_who_may_change_may_import(&importer);
    a_token_is_of_its_project_and_of_its_hour(&importer);
    a_project_has_few_pairs_at_a_time(&importer);
    nothing_of_a_key_is_seen_in_log_or_database(&importer);
    importer.stage.finish();
}

#[test]
fn keys_come_in_and_what_is_none_leaves_nothing_on_sqlite() {
    everything(Stage::new());
}

#[test]
fn keys_come_in_and_what_is_none_leaves_nothing_on_postgresql() {
    everything(Stage::on(&Cluster::start()));
}

/// An installation whose profile says that this way leads into the token.
fn by_way_of(path: &str) -> Importer {
    let installation = Installation::new();
    let profile = installation.path().join("profile.toml");
    let text = std::fs::read_to_string("hsm-config/softhsm2.toml").expect("the profile");
    std::fs::write(&profile, text.replace("path = \"create\"", &format!("path = \"{path}\""))).expect("written");
    Importer::new(Stage::with(installation, &[("SKM_TOKEN__PROFILE", profile.to_str().expect("UTF-8"))]))
}

#[test]
fn a_token_that_takes_no_keys_says_so() {
    let importer = by_way_of("none");
    importer.ask(Ask::get(importer.stage.path("v1.3", PARAMETERS))).refused(IMPORT_NOT_SUPPORTED, "parameters");
    importer.import("refused", &json!({"keyData": STANDARD.encode(KEY)})).refused(IMPORT_NOT_SUPPORTED, "in the clear");
    importer.import_wrapped("refused", "token", &[7; 256]).refused(IMPORT_NOT_SUPPORTED, "wrapped");
    importer.grown_by(0, "nothing");
    importer.stage.finish();
}

#[test]
fn a_token_that_takes_wrapped_keys_alone_says_so() {
    let importer = by_way_of("unwrap");
    let clear = importer.import("refused", &json!({"keyData": STANDARD.encode(KEY)}));
    clear.refused(field("keyData can't be taken by this token: send importToken and wrappedKey"), "in the clear");
    let parameters = importer.parameters();
    let id = importer.import_wrapped("wrapped", &parameters.token, &parameters.wrap(&KEY)).text("keyId");
    importer.must_be_the_key(&id);
    importer.grown_by(1, "a key");
    importer.stage.finish();
}
