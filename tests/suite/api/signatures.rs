//! What can be signed, and what passes for a signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http::{INVALID_KEY_STATUS, INVALID_KEY_VERSION, INVALID_KEY_VERSION_STATUS, INVALID_USER_DATA, Reply, field, malformed};
use super::sample::Sample;
use super::stage::{Ask, Stage};

struct Key<'a> {
    stage: &'a Stage,
    id: String,
}

impl Key<'_> {
    fn post(&self, operation: &str, body: &Value) -> Reply {
        self.stage.ask(&Ask::post(self.stage.v1(&format!("/asymmetric-keys/{}/{operation}", self.id)), body))
    }

    fn sign(&self, plaintext: &str) -> Vec<u8> {
        STANDARD.decode(self.post("sign", &json!({"plaintext": plaintext})).text("signature")).expect("Base64")
    }

    fn verify(&self, plaintext: &str, signature: &[u8]) -> Reply {
        self.post("verify", &json!({"plaintext": plaintext, "signature": STANDARD.encode(signature)}))
    }
}

/// A `DigestInfo` (RFC 8017, 9.2) of SHA-1 over a digest of the caller's choice, which is valid UTF-8.
fn digest_info(outer: &[u8]) -> String {
    let algorithm = [0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];
    String::from_utf8([outer, &algorithm, &[7; 20]].concat()).expect("UTF-8")
}

fn sign_takes_245_bytes_and_no_digest_info(stage: &Stage) {
    let key = Key { stage, id: stage.id("ASYMMETRIC_ID").to_owned() };
    const TOO_LONG: &str = "plaintext must be at most 245 bytes of UTF-8";
    for most in ["x".repeat(245), format!("{}x", "🔑".repeat(61)), "\0".repeat(245)] {
        assert_eq!(key.verify(&most, &key.sign(&most)).body(), json!({"result": true, "keyVersion": 0}));
    }
    let signature = key.sign("x");
    for longer in ["x".repeat(246), "🔑".repeat(62), "x".repeat(100_000)] {
        key.post("sign", &json!({"plaintext": longer})).refused(field(TOO_LONG), "sign");
        key.verify(&longer, &signature).refused(field(TOO_LONG), "verify");
    }
    let minimal = digest_info(&[0x30, 0x21]);
    key.post("sign", &json!({"plaintext": minimal})).refused(field("plaintext must not be a DigestInfo; use sign-standard"), "a DigestInfo");
    // Whatever is no DigestInfo to the byte is text.
    for text in [&minimal[..34], &format!("{minimal}x"), "0!0"] {
        assert_eq!(key.verify(text, &key.sign(text)).body()["result"], true);
    }
    // One that `sign` would never make is verified, and is none.
    assert_eq!(key.verify(&minimal, &signature).body(), json!({"result": false, "keyVersion": 0}));

    let standard = |bytes: usize| key.post("sign-standard", &json!({"plaintext": STANDARD.encode(vec![b'x'; bytes]), "algorithm": "RSASSA-PSS"}));
    standard(65_536).body();
    standard(65_537).refused(field("plaintext must be at most 65536 bytes, decoded"), "sign-standard");
}

fn altered_signatures_are_false_and_broken_ones_invalid(stage: &Stage) {
    let mut sample = Sample::new("altered signatures");
    let key = Key { stage, id: stage.id("ASYMMETRIC_ID").to_owned() };
    let good = key.sign("text");
    let wrong = json!({"result": false, "keyVersion": 0});
    for position in sample.numbers(good.len(), 24) {
        let mut altered = good.clone();
        altered[position] ^= 1 << sample.below(8);
        let reply = key.verify("text", &altered);
        match position {
            0 => reply.refused(INVALID_USER_DATA, "format"),
            1..=3 => reply.refused(INVALID_KEY_VERSION, "version"),
            _ => assert_eq!(reply.body(), wrong, "byte {position}"),
        }
    }
    for length in sample.numbers(good.len(), 8) {
        key.verify("text", &good[..length]).refused(INVALID_USER_DATA, &format!("cut to {length}"));
    }
    key.verify("text", &[good.as_slice(), &[0]].concat()).refused(INVALID_USER_DATA, "a byte more");
    // Numbers at the ends of the range, and beyond the modulus.
    for filler in [0, 0xff] {
        assert_eq!(key.verify("text", &[[0; 4].as_slice(), &[filler; 256]].concat()).body(), wrong);
    }
    let one = [vec![0; 4 + 255], vec![1]].concat();
    assert_eq!(key.verify("", &one).body(), wrong);
    for text in ["", "=", "no Base64!", &STANDARD.encode(&good)[1..], &STANDARD.encode(&good).replace('=', "")] {
        key.post("verify", &json!({"plaintext": "text", "signature": text})).refused(INVALID_USER_DATA, text);
    }
    // A signature of the wire contract is not one of the standard, and the other way round.
    let standard = key.post("sign-standard", &json!({"plaintext": "dGV4dA==", "algorithm": "RSASSA-PKCS1-v1_5"})).text("signature");
    let standard = STANDARD.decode(standard).expect("Base64");
    assert_eq!(key.verify("text", &[[0; 4].as_slice(), &standard].concat()).body(), wrong);
    key.verify("text", &standard).refused(INVALID_USER_DATA, "bare");
}

fn standard_signatures_name_algorithm_and_version(stage: &Stage) {
    let key = Key { stage, id: stage.id("ASYMMETRIC_ID").to_owned() };
    let signature = key.post("sign-standard", &json!({"plaintext": "eA==", "algorithm": "RSASSA-PSS"})).text("signature");
    let bytes = STANDARD.decode(&signature).expect("Base64");
    let good = json!({"plaintext": "eA==", "algorithm": "RSASSA-PSS", "signature": signature, "keyVersion": 0});
    assert_eq!(key.post("verify-standard", &good).body(), json!({"result": true, "keyVersion": 0}));
    const ALGORITHM: &str = "algorithm must be RSASSA-PSS or RSASSA-PKCS1-v1_5";
    const NUMBER: &str = "keyVersion must be a whole number";
    for (name, value, expected) in [
        ("plaintext", Value::Null, field("plaintext is required")),
        ("plaintext", json!("x"), field("plaintext must be Base64")),
        ("plaintext", json!("eB=="), field("plaintext must be Base64")),
        ("algorithm", Value::Null, field("algorithm is required")),
        ("algorithm", json!("rsassa-pss"), field(ALGORITHM)),
        ("algorithm", json!(""), field(ALGORITHM)),
        ("algorithm", json!(7), field("algorithm must be a text")),
        ("signature", Value::Null, field("signature is required")),
        ("signature", json!([]), field("signature must be a text")),
        ("signature", json!(""), INVALID_USER_DATA),
        ("signature", json!("!"), INVALID_USER_DATA),
        ("signature", json!(STANDARD.encode(&bytes[1..])), INVALID_USER_DATA),
        ("signature", json!(STANDARD.encode([[0; 4].as_slice(), &bytes].concat())), INVALID_USER_DATA),
        ("keyVersion", Value::Null, field("keyVersion is required")),
        ("keyVersion", json!("0"), field(NUMBER)),
        ("keyVersion", json!(0.5), field(NUMBER)),
        ("keyVersion", json!(false), field(NUMBER)),
        ("keyVersion", json!(1e30), field(NUMBER)),
        ("keyVersion", json!(-1), INVALID_KEY_VERSION),
        ("keyVersion", json!(1), INVALID_KEY_VERSION),
        ("keyVersion", json!(16_777_216), INVALID_KEY_VERSION),
        ("keyVersion", json!(4_294_967_296_i64), INVALID_KEY_VERSION),
        ("keyVersion", json!(i64::MAX), INVALID_KEY_VERSION),
    ] {
        let mut body = good.clone();
        body[name] = value;
        key.post("verify-standard", &body).refused(expected, &body.to_string());
        if name == "plaintext" || name == "algorithm" {
            key.post("sign-standard", &body).refused(expected, &body.to_string());
        }
    }
    key.post("sign-standard", &json!([])).refused(malformed("Malformed Body: not a JSON object, line 1, column 0"), "a list");
}

fn old_versions_verify_and_public_keys_are_of_their_version(stage: &Stage) {
    let key = Key { stage, id: stage.make_key("asymmetric-keys", "one") };
    let other = Key { stage, id: stage.make_key("asymmetric-keys", "other") };
    let public = |id: &str, query: &str| stage.ask(&Ask::get(stage.v1(&format!("/asymmetric-keys/{id}/publicKey{query}"))));
    let (first, second) = (public(&key.id, "").text("key"), public(&other.id, "").text("key"));
    assert_ne!(first, second);
    let old = key.sign("old");
    stage.database.move_version(&other.id, &key.id);
    let new = key.sign("new");
    assert_eq!(new[..4], [0, 0, 0, 1]);
    for (query, expected, version) in [("", &second, 1), ("?keyVersion=", &second, 1), ("?keyVersion=1", &second, 1), ("?keyVersion=0", &first, 0)] {
        let body = public(&key.id, query).body();
        assert_eq!((&body["key"], &body["keyVersion"]), (&json!(expected), &json!(version)), "{query}");
    }
    for wrong in ["2", "-1", "16777216", "99999999999999999"] {
        public(&key.id, &format!("?keyVersion={wrong}")).refused(INVALID_KEY_VERSION, wrong);
    }
    for wrong in ["x", "1.0", "+1", "0x0", "%00", "%ff", "1%2C0", "99999999999999999999"] {
        public(&key.id, &format!("?keyVersion={wrong}")).refused(field("keyVersion must be a whole number"), wrong);
    }
    public(&key.id, "?keyVersion=0&keyVersion=0").refused(field("keyVersion comes twice"), "twice");
    assert_eq!(key.verify("old", &old).body(), json!({"result": true, "keyVersion": 0}));
    assert_eq!(key.verify("new", &new).body(), json!({"result": true, "keyVersion": 1}));
    let mut crossed = old.clone();
    crossed[3] = 1;
    assert_eq!(key.verify("old", &crossed).body(), json!({"result": false, "keyVersion": 1}));

    stage.database.change(&format!("UPDATE key_versions SET state = 'PENDING_DELETION' WHERE key_id = '{}' AND version = 0", key.id));
    key.verify("old", &old).refused(INVALID_KEY_VERSION_STATUS, "a version that is to be deleted");
    public(&key.id, "?keyVersion=0").refused(INVALID_KEY_VERSION_STATUS, "a version that is to be deleted");
    stage.database.change(&format!("UPDATE keys SET state = 'PENDING_DELETION' WHERE id = '{}'", key.id));
    for reply in [public(&key.id, ""), key.verify("new", &new), key.post("sign", &json!({"plaintext": "x"}))] {
        reply.refused(INVALID_KEY_STATUS, "a key that is to be deleted");
    }
}

#[test]
fn signatures_are_made_and_checked() {
    let stage = Stage::new();
    sign_takes_245_bytes_and_no_digest_info(&stage);
    altered_signatures_are_false_and_broken_ones_invalid(&stage);
    standard_signatures_name_algorithm_and_version(&stage);
    old_versions_verify_and_public_keys_are_of_their_version(&stage);
    stage.finish();
}
