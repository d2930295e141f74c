//! Bodies that are not what a route wants.

use serde_json::{Value, json};

use super::http::{INVALID_APPKEY, INVALID_KEY_ID, Refusal, UNAUTHORIZED, UNSUPPORTED_MEDIA_TYPE, field, malformed};
use super::stage::{Ask, NO_KEY, Stage};

/// All routes that read a body: method, path, a field that must be a text, a body that would be right.
fn routes(stage: &Stage) -> Vec<(&'static str, String, &'static str, Value)> {
    let (symmetric, asymmetric) = (format!("/symmetric-keys/{}", stage.id("SYMMETRIC_ID")), format!("/asymmetric-keys/{}", stage.id("ASYMMETRIC_ID")));
    let key = json!({"keyStoreName": "demo-by-address", "name": "n", "secretValue": "s", "autoRotationPeriod": 0});
    let entry = json!({"keyStoreName": "demo-by-address", "name": "n", "value": "10.0.0.1", "password": "p", "lifeTime": 1});
    vec![
        ("POST", format!("{symmetric}/encrypt"), "plaintext", json!({"plaintext": "x"})),
        ("POST", format!("{symmetric}/decrypt"), "ciphertext", json!({"ciphertext": "AAAA"})),
        ("POST", format!("{asymmetric}/sign"), "plaintext", json!({"plaintext": "x"})),
        ("POST", format!("{asymmetric}/verify"), "plaintext", json!({"plaintext": "x", "signature": "AAAA"})),
        ("POST", format!("{asymmetric}/verify"), "signature", json!({"plaintext": "x", "signature": "AAAA"})),
        ("POST", format!("{asymmetric}/sign-standard"), "plaintext", json!({"plaintext": "eA==", "algorithm": "RSASSA-PSS"})),
        ("POST", format!("{asymmetric}/sign-standard"), "algorithm", json!({"plaintext": "eA==", "algorithm": "RSASSA-PSS"})),
        (
            "POST",
            format!("{asymmetric}/verify-standard"),
            "signature",
            json!({"plaintext": "eA==", "algorithm": "RSASSA-PSS", "signature": "AAAA", "keyVersion": 0}),
        ),
        ("PUT", format!("/secrets/{}", stage.id("SECRET_ID")), "secretValue", json!({"secretValue": "x"})),
        ("POST", "/keystores".to_owned(), "name", json!({"name": "n", "ip4AuthUse": "Y"})),
        ("POST", "/keys/secrets/create".to_owned(), "secretValue", key.clone()),
        ("POST", "/keys/secrets/create".to_owned(), "keyStoreName", key.clone()),
        ("POST", "/keys/symmetric-keys/create".to_owned(), "name", key.clone()),
        ("POST", "/keys/asymmetric-keys/create".to_owned(), "name", key),
        ("POST", "/auths/ipv4s".to_owned(), "value", entry.clone()),
        ("POST", "/auths/macs".to_owned(), "value", entry.clone()),
        ("POST", "/auths/certificates".to_owned(), "password", entry.clone()),
        ("PUT", "/auths/ipv4s/delete".to_owned(), "value", entry.clone()),
        ("PUT", "/auths/macs/delete".to_owned(), "keyStoreName", entry.clone()),
        ("PUT", "/auths/certificates/delete".to_owned(), "name", entry),
    ]
}

/// What is no JSON object, and what is said about it.
fn malformed_bodies() -> Vec<(Vec<u8>, Refusal)> {
    let deep = |open: &str, close: &str, times: usize| format!("{{\"a\":{}1{}}}", open.repeat(times), close.repeat(times)).into_bytes();
    let fields: Vec<String> = (0..65).map(|number| format!("\"f{number}\":1")).collect();
    vec![
        (b"".to_vec(), malformed("Malformed Body: not JSON, line 1, column 0")),
        (b" \n ".to_vec(), malformed("Malformed Body: not JSON, line 2, column 1")),
        (b"plaintext=x".to_vec(), malformed("Malformed Body: not JSON, line 1, column 1")),
        (b"{".to_vec(), malformed("Malformed Body: not JSON, line 1, column 1")),
        (b"{\"plaintext\":\"x\"".to_vec(), malformed("Malformed Body: not JSON, line 1, column 16")),
        (b"{\"plaintext\":\"x\"}}".to_vec(), malformed("Malformed Body: not JSON, line 1, column 18")),
        (b"{\"plaintext\":\"x\"}{}".to_vec(), malformed("Malformed Body: not JSON, line 1, column 18")),
        (b"{\"plaintext\":\"x\",}".to_vec(), malformed("Malformed Body: not JSON, line 1, column 18")),
        (b"{\"plaintext\":hunter2}".to_vec(), malformed("Malformed Body: not JSON, line 1, column 14")),
        (b"{\"plaintext\":\"\xff\"}".to_vec(), malformed("Malformed Body: not JSON, line 1, column 15")),
        (b"{\"plaintext\":\"\\ud800\"}".to_vec(), malformed("Malformed Body: not JSON, line 1, column 21")),
        (b"{\"plaintext\":\"a\nb\"}".to_vec(), malformed("Malformed Body: not JSON, line 2, column 0")),
        (b"\xef\xbb\xbf{\"plaintext\":\"x\"}".to_vec(), malformed("Malformed Body: not JSON, line 1, column 1")),
        (b"{\"a\":1e999}".to_vec(), malformed("Malformed Body: not JSON, line 1, column 10")),
        (b"null".to_vec(), malformed("Malformed Body: not a JSON object, line 1, column 4")),
        (b"\"plaintext\"".to_vec(), malformed("Malformed Body: not a JSON object, line 1, column 11")),
        (b"[{\"plaintext\":\"x\"}]".to_vec(), malformed("Malformed Body: not a JSON object, line 1, column 0")),
        (b"17".to_vec(), malformed("Malformed Body: not a JSON object, line 1, column 2")),
        (b"{\"plaintext\":\"x\",\"plaintext\":\"x\"}".to_vec(), malformed("Malformed Body: a field comes twice, line 1, column 33")),
        (b"{\"unknown\":1,\"unknown\":2}".to_vec(), malformed("Malformed Body: a field comes twice, line 1, column 25")),
        (b"{\"plaintext\":null,\"plaintext\":\"x\"}".to_vec(), malformed("Malformed Body: a field comes twice, line 1, column 34")),
        (b"{\"\\u0070laintext\":\"x\",\"plaintext\":\"x\"}".to_vec(), malformed("Malformed Body: a field comes twice, line 1, column 38")),
        (deep("[", "]", 200), malformed("Malformed Body: nested too deeply, line 1, column 132")),
        (deep("[", "]", 100_000), malformed("Malformed Body: nested too deeply, line 1, column 132")),
        (deep("{\"a\":", "}", 30_000), malformed("Malformed Body: nested too deeply, line 1, column 636")),
        (format!("{{{}}}", fields.join(",")).into_bytes(), malformed("Malformed Body: too many fields, line 1, column 511")),
    ]
}

fn send(stage: &Stage, method: &str, rest: &str, body: impl Into<Vec<u8>>) -> super::http::Reply {
    let ask = Ask::new(method, stage.path("v1.2", rest)).bytes(body).header("Content-Type", "application/json");
    stage.ask(&ask.headers(&stage.admin()))
}

fn what_is_no_json_object_is_malformed(stage: &Stage) {
    let routes = routes(stage);
    for (body, expected) in malformed_bodies() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        send(stage, "POST", &routes[0].1, body.clone()).refused(expected, &shown);
    }
    let deepest = format!("{{\"a\":{}1{},\"plaintext\":\"x\"}}", "[".repeat(126), "]".repeat(126));
    send(stage, "POST", &routes[0].1, deepest).body();
    // Every route reads its body the same way.
    for (method, rest, ..) in &routes {
        for (body, expected) in malformed_bodies().into_iter().step_by(6) {
            send(stage, method, rest, body).refused(expected, rest);
        }
    }
    // What is wrong with a body is told to those who may ask at all.
    let encrypt = |path: String| Ask::new("POST", path).bytes("{").header("Content-Type", "application/json");
    let path = format!("/symmetric-keys/{NO_KEY}/encrypt");
    stage.ask(&encrypt(format!("/keymanager/v1.0/appkey/unknown{path}"))).refused(INVALID_APPKEY, "no project");
    stage.ask(&encrypt(stage.path("v1.2", &path))).refused(UNAUTHORIZED, "no credentials");
    stage.ask(&encrypt(stage.v1(&path))).refused(INVALID_KEY_ID, "no key");
    assert!(!stage.running.log().contains("hunter2"));
}

fn fields_are_named_when_they_are_wrong(stage: &Stage) {
    for (method, rest, name, good) in routes(stage) {
        let say = |problem: &str| -> Refusal { field(Box::leak(format!("{name} {problem}").into_boxed_str())) };
        for wrong in [json!(17), json!(1.5), json!(true), json!(["x"]), json!({"x": "y"}), json!(-1), json!(1e300)] {
            let mut body = good.clone();
            body[name] = wrong;
            send(stage, method, &rest, body.to_string()).refused(say("must be a text"), &format!("{rest} {body}"));
        }
        let mut body = good.clone();
        body[name] = Value::Null;
        send(stage, method, &rest, body.to_string()).refused(say("is required"), &format!("{rest} {body}"));
        body.as_object_mut().expect("an object").remove(name);
        send(stage, method, &rest, body.to_string()).refused(say("is required"), &format!("{rest} {body}"));
        // Names of fields are compared to the letter.
        body[name.to_uppercase()] = json!("x");
        send(stage, method, &rest, body.to_string()).refused(say("is required"), &format!("{rest} {body}"));
    }
}

fn unknown_fields_and_missing_content_types_are_taken(stage: &Stage) {
    let path = stage.v1(&format!("/symmetric-keys/{}/encrypt", stage.id("SYMMETRIC_ID")));
    let more = json!({"x": {"y": [1, null]}, "plaintext": "x", "": 1e3});
    stage.ask(&Ask::post(&path, &more)).body();
    let plain = |content_type: &[&str]| {
        let ask = Ask::new("POST", &path).bytes(r#"{"plaintext":"x"}"#);
        stage.ask(&content_type.iter().fold(ask, |ask, value| ask.header("Content-Type", value)))
    };
    for right in ["application/json", "Application/JSON", "application/json;charset=UTF-8", "application/json ; charset=utf-8; x=y"] {
        plain(&[right]).body();
    }
    plain(&[]).body();
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "json", "*/*", "", "\u{ff}"] {
        plain(&[wrong]).refused(UNSUPPORTED_MEDIA_TYPE, wrong);
    }
    plain(&["application/json", "text/plain"]).refused(UNSUPPORTED_MEDIA_TYPE, "two of them");
    // Where nothing is read, nothing is wrong.
    let local_key = stage.v1(&format!("/symmetric-keys/{}/create-local-key", stage.id("SYMMETRIC_ID")));
    for body in ["", "{", "{}"] {
        stage.ask(&Ask::new("POST", &local_key).bytes(body).header("Content-Type", "text/plain")).body();
    }
}

#[test]
fn bodies_are_read_with_care() {
    let stage = Stage::new();
    what_is_no_json_object_is_malformed(&stage);
    fields_are_named_when_they_are_wrong(&stage);
    unknown_fields_and_missing_content_types_are_taken(&stage);
    stage.finish();
}
