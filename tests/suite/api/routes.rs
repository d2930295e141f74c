//! Which routes there are in which version: a copy of the contract's tables, walked.

use serde_json::json;

use super::http::{INVALID_APPKEY, METHOD_NOT_ALLOWED, URL_NOT_FOUND};
use super::stage::{Ask, Stage, VERSIONS, access_key};

/// Method, path, and the first version that has it.
const ROUTES: [(&str, &str, &str); 40] = [
    ("GET", "/confirm", "v1.0"),
    ("GET", "/secrets/{keyid}", "v1.0"),
    ("PUT", "/secrets/{keyid}", "v1.2"),
    ("POST", "/symmetric-keys/{keyid}/encrypt", "v1.0"),
    ("POST", "/symmetric-keys/{keyid}/decrypt", "v1.0"),
    ("POST", "/symmetric-keys/{keyid}/create-local-key", "v1.0"),
    ("GET", "/symmetric-keys/{keyid}/symmetric-key", "v1.0"),
    ("POST", "/asymmetric-keys/{keyid}/sign", "v1.0"),
    ("POST", "/asymmetric-keys/{keyid}/verify", "v1.0"),
    ("POST", "/asymmetric-keys/{keyid}/sign-standard", "v1.0"),
    ("POST", "/asymmetric-keys/{keyid}/verify-standard", "v1.0"),
    ("GET", "/asymmetric-keys/{keyid}/privateKey", "v1.0"),
    ("GET", "/asymmetric-keys/{keyid}/publicKey", "v1.0"),
    ("POST", "/keystores", "v1.2"),
    ("POST", "/keys/secrets/create", "v1.2"),
    ("POST", "/keys/symmetric-keys/create", "v1.2"),
    ("POST", "/keys/asymmetric-keys/create", "v1.2"),
    ("POST", "/auths/ipv4s", "v1.2"),
    ("POST", "/auths/macs", "v1.2"),
    ("POST", "/auths/certificates", "v1.2"),
    ("PUT", "/auths/ipv4s/delete", "v1.2"),
    ("PUT", "/auths/macs/delete", "v1.2"),
    ("PUT", "/auths/certificates/delete", "v1.2"),
    ("GET", "/keys/symmetric-keys/import-parameters", "v1.3"),
    ("POST", "/keys/symmetric-keys/import", "v1.3"),
    ("POST", "/auths/ipv4s/delete", "v1.2"),
    ("POST", "/auths/macs/delete", "v1.2"),
    ("POST", "/auths/certificates/delete", "v1.2"),
    ("PUT", "/keys/{keyid}/delete", "v1.2"),
    ("DELETE", "/keys/{keyid}", "v1.2"),
    ("PUT", "/keys/{keyid}", "v1.3"),
    ("POST", "/keys/{keyid}/rotate", "v1.3"),
    ("PUT", "/keys/{keyid}/restore", "v1.3"),
    ("GET", "/keys/{keyid}/versions", "v1.3"),
    ("PUT", "/keys/{keyid}/versions/0/delete", "v1.3"),
    ("PUT", "/keys/{keyid}/versions/0/restore", "v1.3"),
    ("DELETE", "/keys/{keyid}/versions/0", "v1.3"),
    ("PUT", "/auths/ipv4s/restore", "v1.3"),
    ("PUT", "/auths/macs/restore", "v1.3"),
    ("PUT", "/auths/certificates/restore", "v1.3"),
];

/// Credentials for a version, of the demo's administrator.
pub(super) fn credentials<'a>(stage: &'a Stage, version: &str, bearer: &'a str) -> Vec<(&'a str, &'a str)> {
    match version {
        "v1.2" => stage.admin().to_vec(),
        "v1.3" => vec![("X-NHN-Authorization", bearer)],
        _ => vec![],
    }
}

fn every_route_is_in_its_versions_and_no_other(stage: &Stage) {
    let bearer = format!("Bearer {}", stage.token(stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY")));
    let mut missing = Vec::new();
    for version in VERSIONS {
        for (method, path, since) in ROUTES {
            // A key ID that is none, and a body that is none: whatever is answered tells that the route was found.
            let rest = path.replace("{keyid}", "no-key");
            let ask = Ask::new(method, stage.path(version, &rest)).headers(&credentials(stage, version, &bearer));
            let reply = stage.ask(&if method == "GET" { ask } else { ask.bytes("{").header("Content-Type", "application/json") });
            let code = reply.json()["header"]["resultCode"].as_i64().expect("a code");
            let is_there = code != 1004 && code != 1005;
            if is_there != (version >= since) {
                missing.push(format!("{version} {method} {path}: {reply}"));
            }
        }
    }
    assert!(missing.is_empty(), "missing, or there too early:\n{}", missing.join("\n"));
}

fn other_routes_and_methods_are_refused_and_recorded(stage: &Stage) {
    let bearer = format!("Bearer {}", stage.token(stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY")));
    for version in VERSIONS {
        let headers = credentials(stage, version, &bearer);
        for rest in ["", "/", "/nothing", "/confirm/", "/confirm/x", "/Confirm", "/secrets", "/symmetric-keys/x/encrypt/", "//confirm", "/%2e%2e/confirm"] {
            stage.ask(&Ask::get(stage.path(version, rest)).headers(&headers)).refused(URL_NOT_FOUND, &format!("{version} {rest}"));
        }
        for (method, rest) in [
            ("POST", "/confirm"),
            ("DELETE", "/confirm"),
            ("OPTIONS", "/confirm"),
            ("PATCH", "/secrets/x"),
            ("GET", "/symmetric-keys/x/encrypt"),
            ("PUT", "/symmetric-keys/x/encrypt"),
            ("POST", "/asymmetric-keys/x/publicKey"),
            ("BREW", "/confirm"),
        ] {
            let reply = stage.ask(&Ask::new(method, stage.path(version, rest)).headers(&headers));
            reply.refused(METHOD_NOT_ALLOWED, &format!("{version} {method} {rest}"));
            assert!(reply.header("allow").is_some_and(|allow| !allow.is_empty()), "{version} {method} {rest}: {reply}");
        }
    }
    // The answer is the same whoever asks, and so is the record's code.
    for headers in [vec![], access_key("stranger", "stranger-secret").to_vec(), access_key("x", "y").to_vec()] {
        stage.ask(&Ask::get(stage.path("v1.2", "/nothing")).headers(&headers)).refused(URL_NOT_FOUND, "an unknown route");
        stage.ask(&Ask::new("PATCH", stage.path("v1.2", "/confirm")).headers(&headers)).refused(METHOD_NOT_ALLOWED, "an unknown method");
    }
    let appkey = stage.id("APPKEY");
    for path in [
        "/".to_owned(),
        "/nothing".to_owned(),
        "//".to_owned(),
        "/keymanager".to_owned(),
        format!("/keymanager/v1.4/appkey/{appkey}/confirm"),
        format!("/keymanager/v1/appkey/{appkey}/confirm"),
        format!("/keymanager/V1.0/appkey/{appkey}/confirm"),
        format!("/keymanager/v1.00/appkey/{appkey}/confirm"),
        format!("/keymanager//appkey/{appkey}/confirm"),
        format!("/keymanager/v1.0/Appkey/{appkey}/confirm"),
        format!("/keymanager/v1.0/{appkey}/confirm"),
        "/keymanager/v1.0/appkey/".to_owned(),
        "/oauth2/token".to_owned(),
        "/oauth2/token/create/".to_owned(),
        "/keymanager/v1.0/appkey/%E9/nothing".to_owned(),
    ] {
        stage.ask(&Ask::get(&path)).refused(URL_NOT_FOUND, &path);
    }
    stage.ask(&Ask::get("/keymanager/v1.0/appkey//confirm")).refused(INVALID_APPKEY, "no appkey");
    // A request's name is given here, not by whoever asks.
    let name = "00112233445566778899aabbccddeeff";
    let named = stage.ask(&Ask::get(stage.v1("/confirm")).header("X-Request-ID", name));
    assert_ne!(named.header("x-request-id"), Some(name));
    // `HEAD` is `GET` without the body.
    let head = stage.ask(&Ask::new("HEAD", stage.v1("/confirm")));
    assert_eq!((head.status, head.body.len()), (200, 0));
    stage.ask(&Ask::post(stage.v1("/confirm?x=y&x=%FF"), &json!({}))).refused(METHOD_NOT_ALLOWED, "a query changes nothing");
    stage.ask(&Ask::get(stage.v1("/confirm?x=y&x=%FF&&&="))).body();
}

#[test]
fn routes_are_as_the_contract_has_them() {
    let stage = Stage::new();
    every_route_is_in_its_versions_and_no_other(&stage);
    other_routes_and_methods_are_refused_and_recorded(&stage);
    stage.finish();
}
