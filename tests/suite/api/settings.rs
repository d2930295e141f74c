//! Settings that change answers.

use serde_json::json;

use super::http::{Connection, Reply};
use super::stage::{Ask, NO_KEY, Stage};
use crate::support::installation::Installation;

/// That refusal, with the status that hides it.
fn hidden(reply: &Reply, code: i64, message: &str) {
    assert_eq!(reply.status, 200, "{reply}");
    assert_eq!(reply.json(), json!({"header": {"resultCode": code, "resultMessage": message, "isSuccessful": false}, "body": null}));
}

#[test]
fn always_http_200_hides_the_status_and_the_zone_moves_the_dates() {
    let stage = Stage::with(Installation::new(), &[("SKM_SERVER__ALWAYS_HTTP_200", "true"), ("SKM_SERVER__TIMEZONE", "Asia/Seoul")]);
    let encrypt = |id: &str, body: &str| {
        let ask = Ask::new("POST", stage.v1(&format!("/symmetric-keys/{id}/encrypt"))).bytes(body);
        stage.ask(&ask.header("Content-Type", "application/json"))
    };
    hidden(&encrypt(NO_KEY, "{}"), 3001, "Invalid Key ID");
    hidden(&encrypt(stage.id("SYMMETRIC_ID"), "{}"), 4003, "plaintext is required");
    hidden(&encrypt(stage.id("SYMMETRIC_ID"), "{"), 4002, "Malformed Body: not JSON, line 1, column 1");
    hidden(&encrypt(stage.id("SYMMETRIC_ID"), &"x".repeat(300_000)), 4004, "Body Too Large: at most 262144 bytes");
    hidden(&encrypt(stage.id("MTLS_SYMMETRIC_ID"), "{}"), 2003, "Certificate Auth Failure");
    let ask = |ask: Ask| stage.ask(&ask);
    hidden(&ask(Ask::get(stage.v1(&format!("/symmetric-keys/{}/symmetric-key", stage.id("SYMMETRIC_ID"))))), 3005, "Key Not Exportable");
    hidden(&ask(Ask::get(stage.path("v1.2", "/confirm"))), 1002, "Unauthorized");
    hidden(&ask(Ask::get("/keymanager/v1.0/appkey/unknown/confirm")), 1001, "Invalid Appkey");
    hidden(&ask(Ask::get(stage.v1("/nothing"))), 1004, "URL NOT FOUND");
    hidden(&ask(Ask::get(stage.v1("/secrets/%FF"))), 1004, "URL NOT FOUND");
    hidden(&ask(Ask::get("/")), 1004, "URL NOT FOUND");
    hidden(&ask(Ask::new("DELETE", stage.v1("/confirm"))), 1005, "Method Not Allowed");
    assert_eq!(encrypt(stage.id("SYMMETRIC_ID"), r#"{"plaintext":"x"}"#).body()["keyVersion"], 0);
    // OAuth 2 has no envelope to hide a status in (RFC 6749, 5.2).
    assert_eq!(ask(super::stage::token_request("create", "x", "y", "grant_type=client_credentials")).status, 401);

    let made = stage.make("/keystores", &json!({"name": "in Seoul", "macAuthUse": "Y"}));
    let shown = chrono::NaiveDateTime::parse_from_str(&made.text("creationDatetime"), "%Y-%m-%dT%H:%M:%S").expect("a date-time");
    let ahead = (shown - chrono::Utc::now().naive_utc()).num_seconds();
    assert!((9 * 3_600 - 300..=9 * 3_600).contains(&ahead), "{shown} is not nine hours ahead");
    stage.finish();
}

fn client_ip(stage: &Stage, forwarded: &[&str]) -> String {
    let ask = forwarded.iter().fold(Ask::get(stage.v1("/confirm")), |ask, line| ask.header("X-Forwarded-For", line));
    stage.ask(&ask).text("clientIp")
}

#[test]
fn forwarded_addresses_are_believed_from_trusted_proxies_alone() {
    let stage = Stage::new();
    for lie in [["10.1.2.3"].as_slice(), &["10.1.2.3, 127.0.0.1"], &["10.1.2.3", "10.1.2.4"], &["rubbish"]] {
        assert_eq!(client_ip(&stage, lie), "127.0.0.1", "{lie:?}");
    }
    for other in ["X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"] {
        let ask = Ask::get(stage.v1("/confirm")).header(other, "10.1.2.3");
        assert_eq!(stage.ask(&ask).text("clientIp"), "127.0.0.1", "{other}");
    }
    // The client check sees what `confirm` shows.
    let secret = Ask::get(stage.v1(&format!("/secrets/{}", stage.id("SECRET_ID")))).header("X-Forwarded-For", "10.1.2.3");
    stage.ask(&secret).body();
    stage.finish();

    let stage = Stage::with(Installation::new(), &[("SKM_API__TRUSTED_PROXIES", "127.0.0.1/32,10.0.0.0/8")]);
    for (lines, expected) in [
        ([].as_slice(), "127.0.0.1"),
        (&["192.0.2.1"], "192.0.2.1"),
        (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
        (&["127.0.0.1, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (&["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["192.0.2.1, rubbish"], "127.0.0.1"),
        (&["192.0.2.1,"], "127.0.0.1"),
    ] {
        assert_eq!(client_ip(&stage, lines), expected, "{lines:?}");
    }
    let secret = |from: &str| stage.ask(&Ask::get(stage.v1(&format!("/secrets/{}", stage.id("SECRET_ID")))).header("X-Forwarded-For", from));
    secret("127.0.0.1").body();
    for from in ["192.0.2.1", "2001:db8::1", "::1"] {
        secret(from).refused(super::http::IPV4_AUTH_FAILURE, from);
    }
    let mut connection: Connection = stage.connect(false);
    stage.ask_on(&mut connection, &Ask::get(stage.v1("/confirm"))).body();
    stage.finish();
}
