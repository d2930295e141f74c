//! Who may ask: access keys, bearer tokens, roles.

use serde_json::{Value, json};
use skm::store::TOKENS_MAX;

use super::http::{FORBIDDEN, INVALID_APPKEY, Reply, UNAUTHORIZED};
use super::stage::{Ask, FOREIGN_APPKEY, Stage, access_key, token_request};

/// Headers as they are sent, which need not be text.
type Headers<'a> = Vec<(&'a str, &'a [u8])>;

/// A data operation and a change, in that version.
fn both(stage: &Stage, version: &str, headers: &[(&str, &str)]) -> [Reply; 2] {
    let secret = Ask::get(stage.path(version, &format!("/secrets/{}", stage.id("SECRET_ID"))));
    let change = Ask::post(stage.path(version, "/auths/macs"), &json!({"keyStoreName": "demo-by-address", "value": "nonsense"}));
    [secret, change].map(|ask| stage.ask(&ask.headers(headers)))
}

fn may(replies: &[Reply; 2], use_it: bool, change_it: bool, what: &str) {
    let [used, changed] = replies;
    if use_it {
        assert_eq!(used.text("secret"), "postgres://demo:not-a-real-password@db.example/demo", "{what}");
    } else {
        used.refused(FORBIDDEN, what);
    }
    if change_it {
        changed.refused(super::http::field("value must be a MAC address like aa:bb:cc:dd:ee:ff"), what);
    } else {
        changed.refused(FORBIDDEN, what);
    }
}

fn unauthorized(replies: &[Reply; 2], what: &str) {
    for reply in replies {
        reply.refused(UNAUTHORIZED, what);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"skm\""), "{what}");
    }
}

fn roles_decide_in_v1_2_and_v1_3(stage: &Stage) {
    for (login, use_it, change_it) in [
        ("stranger", false, false),
        ("foreigner", false, false),
        ("admin2", true, true),
        ("viewer", true, false),
        ("approvalAdmin", true, false),
        ("approvalMember", true, false),
        ("apiAdmin", true, true),
        ("apiViewer", true, false),
    ] {
        let secret = format!("{login}-secret");
        may(&both(stage, "v1.2", &access_key(login, &secret)), use_it, change_it, login);
        let bearer = format!("Bearer {}", stage.token(login, &secret));
        may(&both(stage, "v1.3", &[("X-NHN-Authorization", &bearer)]), use_it, change_it, login);
    }
    for login in ["disabledAccount", "disabledKey"] {
        let secret = format!("{login}-secret");
        unauthorized(&both(stage, "v1.2", &access_key(login, &secret)), login);
        let refused = stage.ask(&token_request("create", login, &secret, "grant_type=client_credentials"));
        assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("invalid_client")), "{refused}");
    }
    // In the other project it is the other way round.
    let confirm = format!("/keymanager/v1.2/appkey/{FOREIGN_APPKEY}/confirm");
    stage.ask(&Ask::get(&confirm).headers(&access_key("foreigner", "foreigner-secret"))).body();
    stage.ask(&Ask::get(&confirm).headers(&stage.admin())).refused(FORBIDDEN, "the demo's administrator in the other project");
    // A token and an access key that were taken away stop working, seen before or not.
    let bearer = format!("Bearer {}", stage.token("apiAdmin", "apiAdmin-secret"));
    may(&both(stage, "v1.3", &[("X-NHN-Authorization", &bearer)]), true, true, "apiAdmin");
    stage.database.change("UPDATE access_keys SET enabled = FALSE WHERE id = 'apiAdmin'");
    unauthorized(&both(stage, "v1.3", &[("X-NHN-Authorization", &bearer)]), "token of an access key that was disabled");
    unauthorized(&both(stage, "v1.2", &access_key("apiAdmin", "apiAdmin-secret")), "an access key that was disabled");
}

fn wrong_access_keys_are_unauthorized(stage: &Stage) {
    let [(id_name, id), (secret_name, secret)] = stage.admin();
    let (upper, longer, cut) = (secret.to_uppercase(), format!("{secret}x"), &secret[1..]);
    let cases: Vec<(&str, Headers<'_>)> = vec![
        ("none", vec![]),
        ("no secret", vec![(id_name, id.as_bytes())]),
        ("no ID", vec![(secret_name, secret.as_bytes())]),
        ("wrong secret", vec![(id_name, id.as_bytes()), (secret_name, b"wrong")]),
        ("secret in upper case", vec![(id_name, id.as_bytes()), (secret_name, upper.as_bytes())]),
        ("longer secret", vec![(id_name, id.as_bytes()), (secret_name, longer.as_bytes())]),
        ("shorter secret", vec![(id_name, id.as_bytes()), (secret_name, cut.as_bytes())]),
        ("empty secret", vec![(id_name, id.as_bytes()), (secret_name, b"")]),
        ("empty ID", vec![(id_name, b""), (secret_name, secret.as_bytes())]),
        ("unknown ID", vec![(id_name, b"unknown"), (secret_name, secret.as_bytes())]),
        ("no ID at all", vec![(id_name, b"' OR 1=1 --"), (secret_name, secret.as_bytes())]),
        ("ID not ASCII", vec![(id_name, b"\xff\xfe"), (secret_name, secret.as_bytes())]),
        ("secret not ASCII", vec![(id_name, id.as_bytes()), (secret_name, b"\xff\xfe")]),
        ("another key's secret", vec![(id_name, id.as_bytes()), (secret_name, b"apiAdmin-secret")]),
        ("ID twice", vec![(id_name, id.as_bytes()), (id_name, id.as_bytes()), (secret_name, secret.as_bytes())]),
        ("secret twice", vec![(id_name, id.as_bytes()), (secret_name, secret.as_bytes()), (secret_name, secret.as_bytes())]),
    ];
    for (what, headers) in cases {
        let mut ask = Ask::get(stage.path("v1.2", "/confirm"));
        ask.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        stage.ask(&ask).refused(UNAUTHORIZED, what);
        // The appkey comes first, and v1.0 asks for nothing.
        ask.path = "/keymanager/v1.2/appkey/unknown/confirm".to_owned();
        stage.ask(&ask).refused(INVALID_APPKEY, what);
        ask.path = stage.v1("/confirm");
        stage.ask(&ask).body();
    }
    // An account without a role learns nothing of the keys.
    let no_key = Ask::get(stage.path("v1.2", &format!("/secrets/{}", super::stage::NO_KEY))).headers(&access_key("stranger", "stranger-secret"));
    stage.ask(&no_key).refused(FORBIDDEN, "an unknown key");
}

fn wrong_tokens_are_unauthorized(stage: &Stage) {
    let (id, secret) = (stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY"));
    let good = stage.token(id, secret);
    let bearer = |token: &str| both(stage, "v1.3", &[("X-NHN-Authorization", token)]);
    for right in [format!("Bearer {good}"), format!("bearer {good}"), format!("BEARER  {good}")] {
        may(&bearer(&right), true, true, &right);
    }
    for wrong in [
        String::new(),
        "Bearer".to_owned(),
        format!("Bearer{good}"),
        good.clone(),
        format!("Basic {good}"),
        format!("Bearer {good}x"),
        format!("Bearer {}", &good[1..]),
        format!("Bearer {}", good.to_uppercase()),
        format!("Bearer {good} {good}"),
        format!("Bearer {}", "x".repeat(8_000)),
        "Bearer \u{ff}".to_owned(),
    ] {
        unauthorized(&bearer(&wrong), &wrong);
    }
    unauthorized(&both(stage, "v1.3", &[]), "no header");
    unauthorized(&both(stage, "v1.3", &stage.admin()), "the headers of v1.2");
    unauthorized(&both(stage, "v1.3", &[("Authorization", &format!("Bearer {good}"))]), "another header");
    let twice = format!("Bearer {good}");
    unauthorized(&both(stage, "v1.3", &[("X-NHN-Authorization", &twice), ("X-NHN-Authorization", &twice)]), "twice");

    let expired = stage.token("viewer", "viewer-secret");
    stage.database.change("UPDATE bearer_tokens SET expires_at = issued_at + 1 WHERE access_key_id = 'viewer'");
    unauthorized(&bearer(&format!("Bearer {expired}")), "expired");

    // Only its own access key revokes a token; then it stops working at once.
    let revoke = |id: &str, secret: &str, token: &str| stage.ask(&token_request("revoke", id, secret, &format!("token={token}")));
    assert_eq!(revoke("viewer", "viewer-secret", &good).status, 200);
    may(&bearer(&format!("Bearer {good}")), true, true, "revoked by somebody else");
    let revoked = revoke(id, secret, &good);
    assert_eq!((revoked.status, revoked.json()), (200, json!({})));
    unauthorized(&bearer(&format!("Bearer {good}")), "revoked");
    assert_eq!(revoke(id, secret, &good).status, 200);
    assert_eq!(revoke(id, secret, "unknown").status, 200);
}

/// A client that asks for a token per request goes on: its oldest token ends, at once.
fn one_token_too_many_ends_the_oldest(stage: &Stage) {
    let (id, secret) = (stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY"));
    let tokens = [stage.token(id, secret), stage.token(id, secret)];
    let use_of = |token: &str| both(stage, "v1.3", &[("X-NHN-Authorization", &format!("Bearer {token}"))]);
    tokens.iter().for_each(|token| may(&use_of(token), true, true, "before"));
    // These two are the oldest of as many as there may be.
    stage.database.change(&format!(
        "DELETE FROM bearer_tokens WHERE access_key_id = '{id}' AND token_hash NOT IN
             (SELECT token_hash FROM bearer_tokens WHERE access_key_id = '{id}' ORDER BY issued_at DESC LIMIT 2);
         INSERT INTO bearer_tokens (token_hash, access_key_id, issued_at, expires_at)
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {TOKENS_MAX} - 2)
             SELECT CAST(n AS BLOB), '{id}', newest.issued_at + 1, newest.expires_at FROM numbers,
                 (SELECT MAX(issued_at) AS issued_at, MAX(expires_at) AS expires_at FROM bearer_tokens) AS newest"
    ));
    let newest = stage.token(id, secret);
    let told = |record: &serde_json::Value| record["operation"] == "CREATE_TOKEN" && record["detail"] == "ended 1 of the oldest";
    assert!(stage.records().iter().any(told), "it is told that one ended");
    unauthorized(&use_of(&tokens[0]), "the oldest");
    may(&use_of(&tokens[1]), true, true, "the second oldest");
    may(&use_of(&newest), true, true, "the newest");
    stage.database.change(&format!("DELETE FROM bearer_tokens WHERE access_key_id = '{id}'"));
}

fn token_endpoints_speak_oauth(stage: &Stage) {
    const GRANT: &str = "grant_type=client_credentials";
    let (id, secret) = (stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY"));
    for (id, secret, life) in [(id, secret, 86_400), ("apiViewer", "apiViewer-secret", 60)] {
        let made = stage.ask(&token_request("create", id, secret, GRANT));
        let json = made.json();
        assert_eq!((made.status, &json), (200, &json!({"access_token": json["access_token"], "token_type": "Bearer", "expires_in": life})));
        assert_eq!(json["access_token"].as_str().map(str::len), Some(43));
    }
    let error = |ask: Ask, status: u16, expected: &str| {
        let reply = stage.ask(&ask);
        let json = reply.json();
        assert_eq!((reply.status, &json["error"]), (status, &Value::from(expected)), "{ask:?}");
        assert_eq!(super::data::fields(&json), ["error", "error_description"], "{ask:?}");
        let challenge = (status == 401).then_some("Basic realm=\"skm\", charset=\"UTF-8\"");
        assert_eq!(reply.header("www-authenticate"), challenge, "{ask:?}");
    };
    let authorized = |value: &str| {
        let mut ask = token_request("create", id, secret, GRANT);
        ask.headers.retain(|(name, _)| name != "Authorization");
        if value.is_empty() { ask } else { ask.header("Authorization", value) }
    };
    for what in ["create", "revoke"] {
        let form = if what == "create" { GRANT } else { "token=x" };
        for (id, secret) in [(id, "wrong"), ("unknown", secret), ("", ""), (id, ""), ("disabledKey", "disabledKey-secret")] {
            error(token_request(what, id, secret, form), 401, "invalid_client");
        }
        for wrong in ["", "grant=client_credentials", "%ff=%ff", "{}"] {
            error(token_request(what, id, secret, wrong), 400, "invalid_request");
        }
        error(token_request(what, id, secret, &format!("{form}&{form}")), 400, "invalid_request");
        error(token_request(what, id, secret, &"x".repeat(300_000)), 413, "invalid_request");
        let mut as_json = token_request(what, id, secret, "{}");
        as_json.headers[0].1 = b"application/json".to_vec();
        error(as_json, 415, "invalid_request");
        let get = Ask::get(format!("/oauth2/token/{what}"));
        stage.ask(&get).refused(super::http::METHOD_NOT_ALLOWED, "GET");
    }
    for grant in ["password", "client_credentials%20", "CLIENT_CREDENTIALS", ""] {
        error(token_request("create", id, secret, &format!("grant_type={grant}")), 400, "unsupported_grant_type");
    }
    for wrong in ["", "Basic", "Basic !!!", "Basic //8=", "Basic bm9jb2xvbg==", "Bearer abc", "Digest x"] {
        error(authorized(wrong), 401, "invalid_client");
    }
    let mut twice = token_request("create", id, secret, GRANT);
    let header = twice.headers[1].clone();
    twice.headers.push(header);
    error(twice, 401, "invalid_client");

    // Who tries secrets leaves traces, though there is no project to hold them.
    let refused = stage.ask(&token_request("create", id, "wrong", GRANT));
    let made = stage.ask(&token_request("create", id, secret, GRANT));
    let records = stage.records();
    for (reply, code, actor) in [(&refused, 1002, "unknown"), (&made, 0, "access-key")] {
        let found: Vec<_> = records.iter().filter(|record| record["request"].as_str() == reply.header("x-request-id")).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        let record = found[0];
        assert_eq!((&record["operation"], &record["resultCode"]), (&json!("CREATE_TOKEN"), &json!(code)));
        assert_eq!((&record["project"], &record["actorKind"]), (&Value::Null, &json!(actor)));
    }
}

#[test]
fn credentials_decide_who_may() {
    let stage = Stage::new();
    roles_decide_in_v1_2_and_v1_3(&stage);
    wrong_access_keys_are_unauthorized(&stage);
    wrong_tokens_are_unauthorized(&stage);
    one_token_too_many_ends_the_oldest(&stage);
    token_endpoints_speak_oauth(&stage);
    stage.finish();
}
