//! Texts at the ends of what is taken, and key IDs that aren't right.

use serde_json::json;

use super::http::{INVALID_APPKEY, INVALID_KEY_ID, Refusal, Reply, URL_NOT_FOUND, field};
use super::stage::{Ask, FOREIGN_APPKEY, NO_KEY, Stage};

fn plaintexts_and_secrets_have_at_most_32768_bytes(stage: &Stage) {
    let key = stage.v1(&format!("/symmetric-keys/{}", stage.id("SYMMETRIC_ID")));
    let secret = stage.make_key("secrets", "secret");
    let secret_path = format!("/secrets/{secret}");
    let put = |value: &str| stage.ask(&Ask::put(stage.path("v1.2", &secret_path), &json!({"secretValue": value})).headers(&stage.admin()));
    // The longest in few and in many characters, and with escapes that take six times the bytes on the wire.
    for most in ["x".repeat(32_768), "🔑".repeat(8_192), "\u{1}".repeat(32_768), "\0".repeat(32_768)] {
        let made = stage.ask(&Ask::post(format!("{key}/encrypt"), &json!({"plaintext": most})));
        let opened = stage.ask(&Ask::post(format!("{key}/decrypt"), &json!({"ciphertext": made.text("ciphertext")})));
        assert!(opened.text("plaintext") == most);
        assert!(put(&most).text("secretValue") == most);
        assert!(stage.ask(&Ask::get(stage.v1(&secret_path))).text("secret") == most);
    }
    for longer in ["x".repeat(32_769), format!("{}x", "🔑".repeat(8_192)), "\0".repeat(32_769)] {
        let reply = stage.ask(&Ask::post(format!("{key}/encrypt"), &json!({"plaintext": longer})));
        reply.refused(field("plaintext must be at most 32768 bytes of UTF-8"), "plaintext");
        put(&longer).refused(field("secretValue must be at most 32768 bytes of UTF-8"), "secret");
    }
    put("").refused(field("secretValue must have 1 to 32768 bytes of UTF-8"), "an empty secret");
    assert_eq!(put("🔑").text("secretValue"), "🔑");
}

/// Everything in an answer but its date and the request's ID.
fn bare(reply: &Reply) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let headers = reply.headers.iter().filter(|(name, _)| name != "x-request-id" && name != "date").cloned().collect();
    (reply.status, headers, reply.body.clone())
}

/// Every operation on a key, with a body that would be right.
fn operations(key: &str) -> Vec<Ask> {
    let text = json!({"plaintext": "eA==", "ciphertext": "AAAA", "signature": "AAAA", "algorithm": "RSASSA-PSS", "keyVersion": 0});
    let mut asks: Vec<Ask> = ["encrypt", "decrypt", "create-local-key"].map(|name| Ask::post(format!("/symmetric-keys/{key}/{name}"), &text)).into();
    asks.extend(["sign", "verify", "sign-standard", "verify-standard"].map(|name| Ask::post(format!("/asymmetric-keys/{key}/{name}"), &text)));
    asks.push(Ask::get(format!("/secrets/{key}")));
    asks.push(Ask::get(format!("/symmetric-keys/{key}/symmetric-key")));
    asks.extend(["privateKey", "publicKey"].map(|name| Ask::get(format!("/asymmetric-keys/{key}/{name}"))));
    asks
}

fn keys_of_other_projects_are_not_told_from_unknown_ones(stage: &Stage) {
    let foreign = ["secrets", "symmetric-keys", "asymmetric-keys"].map(|kind| stage.make_foreign_key(kind));
    for id in &foreign {
        for (theirs, unknown) in operations(id).into_iter().zip(operations(NO_KEY)) {
            let [theirs, unknown] = [theirs, unknown].map(|mut ask| {
                ask.path = stage.v1(&ask.path);
                stage.ask(&ask)
            });
            unknown.refused(INVALID_KEY_ID, "an unknown key");
            assert_eq!(bare(&theirs), bare(&unknown));
        }
        let change = |id: &str| stage.ask(&Ask::put(stage.path("v1.2", &format!("/secrets/{id}")), &json!({"secretValue": "x"})).headers(&stage.admin()));
        assert_eq!(bare(&change(id)), bare(&change(NO_KEY)));
    }
    // They are there, for their own project.
    let path = |appkey: &str| format!("/keymanager/v1.0/appkey/{appkey}/secrets/{}", foreign[0]);
    assert_eq!(stage.ask(&Ask::get(path(FOREIGN_APPKEY))).text("secret"), "foreign");
    let appkey = stage.id("APPKEY");
    for unknown in ["unknown", &appkey[1..], &format!("{appkey}x"), &appkey.to_lowercase(), &"x".repeat(64), &"x".repeat(65), &"x".repeat(4_000), "-"] {
        stage.ask(&Ask::get(path(unknown))).refused(INVALID_APPKEY, unknown);
    }
}

fn keys_of_another_kind_are_no_keys(stage: &Stage) {
    for (id, kind) in [("SECRET_ID", "/secrets/"), ("SYMMETRIC_ID", "/symmetric-keys/"), ("ASYMMETRIC_ID", "/asymmetric-keys/")] {
        for mut ask in operations(stage.id(id)).into_iter().filter(|ask| !ask.path.starts_with(kind)) {
            ask.path = stage.v1(&ask.path);
            stage.ask(&ask).refused(INVALID_KEY_ID, &ask.path);
        }
    }
}

fn path_parts_are_decoded_and_then_compared(stage: &Stage) {
    let (id, appkey) = (stage.id("SECRET_ID"), stage.id("APPKEY"));
    let encoded: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert!(!stage.ask(&Ask::get(stage.v1(&format!("/secrets/{encoded}")))).text("secret").is_empty());
    let encoded_appkey = format!("%{:02x}{}", appkey.as_bytes()[0], &appkey[1..]);
    let by_encoded_appkey = format!("/keymanager/v1.0/appkey/{encoded_appkey}");
    stage.ask(&Ask::get(format!("{by_encoded_appkey}/confirm")).recorded(true)).body();
    stage.ask(&Ask::get(format!("{by_encoded_appkey}/nothing")).recorded(true)).refused(URL_NOT_FOUND, "an unknown route");

    let upper = id.to_uppercase();
    let (dashed, braces) = (format!("{}-{}", &id[..8], &id[8..]), format!("%7B{id}%7D"));
    let cases: Vec<(String, Refusal)> = vec![
        (if upper == id { NO_KEY.to_owned() } else { upper }, INVALID_KEY_ID),
        (dashed, INVALID_KEY_ID),
        (braces, INVALID_KEY_ID),
        (format!("{id}0"), INVALID_KEY_ID),
        (id[1..].to_owned(), INVALID_KEY_ID),
        (format!("{id}%00"), INVALID_KEY_ID),
        ("%00".to_owned(), INVALID_KEY_ID),
        (format!("%20{id}"), INVALID_KEY_ID),
        (format!("{id}%20"), INVALID_KEY_ID),
        (format!("{id}%2F"), INVALID_KEY_ID),
        ("%2F".to_owned(), INVALID_KEY_ID),
        ("..%2F..".to_owned(), INVALID_KEY_ID),
        ("%2e%2e".to_owned(), INVALID_KEY_ID),
        ("%F0%9F%94%91".to_owned(), INVALID_KEY_ID),
        ("'%20OR%201=1%20--".to_owned(), INVALID_KEY_ID),
        ("x".repeat(4_000), INVALID_KEY_ID),
        // No text once decoded, or not even encoded: it names nothing.
        ("%FF".to_owned(), URL_NOT_FOUND),
        ("%C3%28".to_owned(), URL_NOT_FOUND),
        ("%ED%A0%80".to_owned(), URL_NOT_FOUND),
        (format!("{id}/"), URL_NOT_FOUND),
        (format!("{id}/x"), URL_NOT_FOUND),
        (String::new(), URL_NOT_FOUND),
    ];
    for (part, expected) in cases {
        stage.ask(&Ask::get(stage.v1(&format!("/secrets/{part}")))).refused(expected, &part);
    }
    for part in ["%", "%4", "%GG"] {
        // Not percent-encoded at all: taken as it stands, which is no key ID.
        stage.ask(&Ask::get(stage.v1(&format!("/secrets/{part}")))).refused(INVALID_KEY_ID, part);
    }
    for wrong in ["%00", "%FF", &format!("{appkey}%00"), &format!("{appkey}%2F"), "%2F", "%20"] {
        let reply = stage.ask(&Ask::get(format!("/keymanager/v1.0/appkey/{wrong}/confirm")));
        reply.refused(if wrong == "%FF" { URL_NOT_FOUND } else { INVALID_APPKEY }, wrong);
    }
}

#[test]
fn texts_and_names_are_taken_to_the_letter() {
    let stage = Stage::new();
    plaintexts_and_secrets_have_at_most_32768_bytes(&stage);
    keys_of_other_projects_are_not_told_from_unknown_ones(&stage);
    keys_of_another_kind_are_no_keys(&stage);
    path_parts_are_decoded_and_then_compared(&stage);
    stage.finish();
}
