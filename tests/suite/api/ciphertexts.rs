//! Ciphertexts that are not what `encrypt` made: cut, altered, of another key, of another version.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::json;

use super::http::{INVALID_KEY_ID, INVALID_KEY_STATUS, INVALID_KEY_VERSION, INVALID_KEY_VERSION_STATUS, INVALID_USER_DATA, Refusal, Reply};
use super::sample::Sample;
use super::stage::{Ask, Stage};

fn decrypt(stage: &Stage, key: &str, ciphertext: &str) -> Reply {
    stage.ask(&Ask::post(stage.v1(&format!("/symmetric-keys/{key}/decrypt")), &json!({"ciphertext": ciphertext})))
}

fn encrypt(stage: &Stage, key: &str, plaintext: &str) -> Vec<u8> {
    let made = stage.ask(&Ask::post(stage.v1(&format!("/symmetric-keys/{key}/encrypt")), &json!({"plaintext": plaintext})));
    STANDARD.decode(made.text("ciphertext")).expect("Base64")
}

/// What a change in the byte at `position` leads to: bytes 1 to 3 are the version's.
fn refusal_at(position: usize) -> Refusal {
    if (1..4).contains(&position) { INVALID_KEY_VERSION } else { INVALID_USER_DATA }
}

fn cut_and_altered_ciphertexts_are_invalid_user_data(stage: &Stage) {
    let mut sample = Sample::new("altered ciphertexts");
    let key = stage.id("SYMMETRIC_ID");
    for plaintext in ["", "a plaintext of somewhat more than two blocks, so that all parts are there"] {
        let good = encrypt(stage, key, plaintext);
        let refused = |bytes: &[u8], expected, what: &str| decrypt(stage, key, &STANDARD.encode(bytes)).refused(expected, what);
        assert_eq!(decrypt(stage, key, &STANDARD.encode(&good)).text("plaintext"), plaintext);
        for length in sample.numbers(good.len(), 24) {
            refused(&good[..length], INVALID_USER_DATA, &format!("cut to {length}"));
        }
        for position in sample.numbers(good.len(), 24) {
            let mut altered = good.clone();
            altered[position] ^= 1 << sample.below(8);
            refused(&altered, refusal_at(position), &format!("byte {position} altered"));
            let mut without = good.clone();
            without.remove(position);
            // A zero less in the prefix makes the IV's first byte the last of the version.
            let moved = position < 4 && good[4] != 0 && without.len() >= 4 + 12 + 16;
            refused(&without, if moved { INVALID_KEY_VERSION } else { INVALID_USER_DATA }, &format!("without byte {position}"));
        }
        refused(&[good.as_slice(), &[0]].concat(), INVALID_USER_DATA, "a byte more");
        refused(&[good.as_slice(), &good].concat(), INVALID_USER_DATA, "twice");
    }
}

fn base64_is_standard_and_padded(stage: &Stage) {
    let key = stage.id("SYMMETRIC_ID");
    // Bytes whose Base64 has padding, `+` and `/`: chance makes them soon.
    let good = std::iter::repeat_with(|| encrypt(stage, key, "x")).take(1_000).find(|bytes| {
        let text = STANDARD.encode(bytes);
        text.contains('+') || text.contains('/')
    });
    let good = good.expect("a ciphertext with + or /");
    let text = STANDARD.encode(&good);
    assert_eq!((good.len() % 3, decrypt(stage, key, &text).text("plaintext").as_str()), (0, "x"));
    for wrong in [
        String::new(),
        "=".to_owned(),
        "====".to_owned(),
        "A".to_owned(),
        "AAAA".to_owned(),
        "no Base64!".to_owned(),
        URL_SAFE.encode(&good),
        format!("{text}="),
        format!("{text}===="),
        format!(" {text}"),
        format!("{text} "),
        format!("{text}\n"),
        format!("{}\r\n{}", &text[..20], &text[20..]),
        format!("{}\0", text),
        format!("{}\u{e9}{}", &text[..20], &text[20..]),
    ] {
        decrypt(stage, key, &wrong).refused(INVALID_USER_DATA, &wrong);
    }
    // One with padding: too little, too much, and bits that mean nothing.
    let padded = encrypt(stage, key, "xy");
    let text = STANDARD.encode(&padded);
    assert!(text.ends_with("==") && !text.ends_with("==="));
    assert_eq!(decrypt(stage, key, &text).text("plaintext"), "xy");
    let next = char::from(text.as_bytes()[text.len() - 3] + 1);
    for wrong in [STANDARD_NO_PAD.encode(&padded), text[..text.len() - 1].to_owned(), format!("{text}="), format!("{}{next}==", &text[..text.len() - 3])] {
        decrypt(stage, key, &wrong).refused(INVALID_USER_DATA, &wrong);
    }
}

fn keys_and_versions_are_not_exchanged(stage: &Stage) {
    let (key, other) = (stage.make_key("symmetric-keys", "one"), stage.make_key("symmetric-keys", "other"));
    let (ours, theirs) = (encrypt(stage, &key, "ours"), encrypt(stage, &other, "theirs"));
    let refused = |key: &str, bytes: &[u8], expected, what| decrypt(stage, key, &STANDARD.encode(bytes)).refused(expected, what);
    refused(&key, &theirs, INVALID_USER_DATA, "of another key");
    refused(&other, &ours, INVALID_USER_DATA, "of another key");
    let prefixed = |prefix: [u8; 4], bytes: &[u8]| [prefix.as_slice(), &bytes[4..]].concat();
    for prefix in [[0, 0, 0, 1], [0, 0, 1, 0], [0, 0xff, 0xff, 0xff]] {
        refused(&key, &prefixed(prefix, &ours), INVALID_KEY_VERSION, "a version that isn't there");
    }
    for format in [1, 0x7f, 0xff] {
        refused(&key, &prefixed([format, 0, 0, 0], &ours), INVALID_USER_DATA, "an unknown format");
    }

    stage.database.move_version(&other, &key);
    let newer = encrypt(stage, &key, "newer");
    assert_eq!(newer[..4], [0, 0, 0, 1]);
    assert_eq!(decrypt(stage, &key, &STANDARD.encode(&newer)).body(), json!({"plaintext": "newer", "keyVersion": 1}));
    assert_eq!(decrypt(stage, &key, &STANDARD.encode(&ours)).body(), json!({"plaintext": "ours", "keyVersion": 0}));
    refused(&key, &prefixed([0, 0, 0, 1], &ours), INVALID_USER_DATA, "of version 0, said to be of version 1");
    refused(&key, &prefixed([0; 4], &newer), INVALID_USER_DATA, "of version 1, said to be of version 0");
    // The very bytes that this version's key encrypted when it was another key's.
    refused(&key, &prefixed([0, 0, 0, 1], &theirs), INVALID_USER_DATA, "of the same token object under another key ID");
    refused(&other, &theirs, INVALID_KEY_ID, "of a key that is no more");

    let state = |what: &str, state: &str| stage.database.change(&format!("UPDATE {what} SET state = '{state}' WHERE {}", condition(what, &key)));
    state("key_versions", "PENDING_DELETION");
    refused(&key, &ours, INVALID_KEY_VERSION_STATUS, "a version that is to be deleted");
    assert_eq!(decrypt(stage, &key, &STANDARD.encode(&newer)).text("plaintext"), "newer");
    state("key_versions", "DESTROYED");
    refused(&key, &ours, INVALID_KEY_VERSION, "a version that was destroyed");
    state("keys", "PENDING_DELETION");
    refused(&key, &newer, INVALID_KEY_STATUS, "a key that is to be deleted");
    state("keys", "DESTROYED");
    refused(&key, &newer, INVALID_KEY_ID, "a key that was destroyed");
}

fn condition(table: &str, key: &str) -> String {
    if table == "keys" { format!("id = '{key}'") } else { format!("key_id = '{key}' AND version = 0") }
}

#[test]
fn ciphertexts_are_opened_only_as_they_were_made() {
    let stage = Stage::new();
    cut_and_altered_ciphertexts_are_invalid_user_data(&stage);
    base64_is_standard_and_padded(&stage);
    keys_and_versions_are_not_exchanged(&stage);
    stage.finish();
}
