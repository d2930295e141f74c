//! What is taken away stops working at once, and what is given works.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{done, field, typed};
use crate::support::installation::{Answer, Installation, Running};

/// An account with an access key, in a project of its own.
pub(super) struct Person {
    pub(super) appkey: String,
    pub(super) id: String,
    pub(super) secret: String,
}

impl Person {
    /// `alice`, `API.ADMIN` in the project `shop`.
    pub(super) fn make(installation: &Installation) -> Self {
        let appkey = field(&done(installation, &["admin", "project", "create", "shop"])[0], "appkey");
        let (code, _, problems) = typed(installation, &["admin", "account", "create", "alice", "--password-file", "-"], "correct horse battery");
        assert_eq!(code, 0, "{problems}");
        done(installation, &["admin", "role", "grant", "alice", "API.ADMIN", "--project", "shop"]);
        Self::with_new_key(installation, appkey)
    }

    fn with_new_key(installation: &Installation, appkey: String) -> Self {
        let made = done(installation, &["admin", "access-key", "create", "alice"]).remove(0);
        Self { appkey, id: field(&made, "accessKeyId"), secret: field(&made, "secretAccessKey") }
    }

    /// Asks for a key store, with the access key: v1.2.
    pub(super) fn change(&self, running: &Running, name: &str) -> Answer {
        let headers = [("x-tc-authentication-id", self.id.as_str()), ("x-tc-authentication-secret", self.secret.as_str())];
        let path = format!("/keymanager/v1.2/appkey/{}/keystores", self.appkey);
        running.ask("POST", &path, &headers, Some(&json!({"name": name, "ip4AuthUse": "Y"})))
    }

    /// A new bearer token.
    pub(super) fn token(&self, running: &Running) -> Result<String, u16> {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", self.id, self.secret)));
        let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let answer = running.call(false, "POST", "/oauth2/token/create", &headers, Some(b"grant_type=client_credentials")).expect("an answer");
        if answer.status == 200 { Ok(answer.json["access_token"].as_str().expect("a token").to_owned()) } else { Err(answer.status) }
    }

    /// Status of a request with a bearer token: v1.3.
    pub(super) fn by_token(&self, running: &Running, token: &str) -> u16 {
        let bearer = format!("Bearer {token}");
        running.ask("GET", &format!("/keymanager/v1.3/appkey/{}/confirm", self.appkey), &[("x-nhn-authorization", &bearer)], None).status
    }
}

#[test]
fn what_is_taken_away_stops_working_at_once() {
    let installation = Installation::new();
    let running = installation.start();
    let person = Person::make(&installation);
    assert_eq!(person.change(&running, "one").status, 200);
    // A role.
    done(&installation, &["admin", "role", "revoke", "alice", "API.ADMIN", "--project", "shop"]);
    assert_eq!(person.change(&running, "two").refusal(), "Forbidden");
    done(&installation, &["admin", "role", "grant", "alice", "API.ADMIN", "--project", "shop"]);
    assert_eq!(person.change(&running, "two").status, 200);
    // What an appkey alone may do.
    let inventory = || running.ask("GET", &format!("/keymanager/v1.0/appkey/{}/keystores", person.appkey), &[], None);
    assert_eq!(inventory().status, 200);
    done(&installation, &["admin", "project", "set", "shop", "--appkey-reads", "off"]);
    assert_eq!(inventory().refusal(), "Forbidden");
    done(&installation, &["admin", "project", "set", "shop", "--appkey-reads", "on"]);
    assert_eq!(inventory().status, 200);
    // An account: its tokens don't come back with it, though they were in use.
    let token = person.token(&running).expect("a token");
    assert_eq!(person.by_token(&running, &token), 200);
    done(&installation, &["admin", "account", "disable", "alice"]);
    assert_eq!((person.by_token(&running, &token), person.change(&running, "three").status, person.token(&running)), (401, 401, Err(401)));
    done(&installation, &["admin", "account", "enable", "alice"]);
    assert_eq!((person.by_token(&running, &token), person.change(&running, "three").status), (401, 200));
    // An access key, likewise.
    let token = person.token(&running).expect("a token");
    assert_eq!(person.by_token(&running, &token), 200);
    done(&installation, &["admin", "access-key", "disable", &person.id]);
    assert_eq!((person.by_token(&running, &token), person.change(&running, "four").status), (401, 401));
    done(&installation, &["admin", "access-key", "enable", &person.id]);
    assert_eq!((person.by_token(&running, &token), person.change(&running, "four").status), (401, 200));
    let (token, other) = (person.token(&running).expect("a token"), Person::with_new_key(&installation, person.appkey.clone()));
    done(&installation, &["admin", "access-key", "delete", &person.id, "--yes"]);
    assert_eq!((person.by_token(&running, &token), person.change(&running, "five").status, person.token(&running)), (401, 401, Err(401)));
    assert_eq!(installation.database().count(&format!("bearer_tokens WHERE access_key_id = '{}'", person.id)), 0);
    assert_eq!(other.change(&running, "five").status, 200);
    // An appkey.
    let second = field(&done(&installation, &["admin", "appkey", "create", "shop"])[0], "appkey");
    done(&installation, &["admin", "appkey", "delete", &other.appkey, "--yes"]);
    assert_eq!(other.change(&running, "six").refusal(), "Invalid Appkey");
    assert_eq!(Person { appkey: second, ..other }.change(&running, "six").status, 200);
}

#[test]
fn a_token_life_is_that_of_the_next_token() {
    let installation = Installation::new();
    let running = installation.start();
    let person = Person::make(&installation);
    let token = person.token(&running).expect("a token");
    done(&installation, &["admin", "access-key", "set", &person.id, "--token-life", "60"]);
    person.token(&running).expect("another");
    let lives = installation.database().texts("(expires_at - issued_at) / 1000000", "bearer_tokens ORDER BY issued_at");
    assert_eq!(lives, ["86400", "60"]);
    assert_eq!(person.by_token(&running, &token), 200, "an earlier one lives on");
}

#[test]
fn what_was_changed_with_no_server_is_so_when_it_starts() {
    let installation = Installation::new();
    let person = Person::make(&installation);
    let running = installation.start();
    assert_eq!(person.change(&running, "one").status, 200);
    let (status, log) = running.stop();
    assert!(status.success(), "{log}");
    done(&installation, &["admin", "account", "disable", "alice"]);
    let running = installation.start();
    assert_eq!(person.change(&running, "two").status, 401);
}
