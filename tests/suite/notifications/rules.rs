//! Who may set recipients, where webhooks may go, what the clock tells once, and that nothing secret is anywhere.

use serde_json::json;

use super::receiver::{Identity, Receiver, Reply};
use super::{ORGANIZATION, PROJECT, add_webhook, admin, calls_of, client, count, open, rotate, wait_for};
use crate::clockwork::{DAY, done, make_key, metric, now, wait_for_task};
use crate::console::person::{PASSWORD, Person, make_account};
use crate::faults::load::STORE;
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

/// Somebody with a role in the demo's project.
fn somebody<'a>(installation: &Installation, running: &'a Running, login: &str, role: &str) -> Person<'a> {
    make_account(installation, login, &[(role, "demo")]);
    Person::sign_in(installation, running, login, PASSWORD)
}

#[test]
fn only_administrators_see_and_change_recipients() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Status(200));
    let running = installation.start();
    let admin = admin(&installation, &running);
    for place in [PROJECT, ORGANIZATION] {
        let event = if place == PROJECT { "ROTATED" } else { "TOKEN_TROUBLE" };
        add_webhook(&admin, place, &receiver.url("/"), &[event]);
    }
    let id = |and: &str| installation.database().number("id", &format!("notification_recipients WHERE project_id IS {and}"));
    let (of_project, of_installation) = (id("NOT NULL"), id("NULL"));
    let message = "00".repeat(16);
    let viewer = somebody(&installation, &running, "viewer", "VIEWER");
    let project_admin = somebody(&installation, &running, "projectadmin", "ADMIN");
    let tries = |person: &Person<'_>, place: &str, id: i64, expected: u16| {
        let csrf = person.get("/account").hidden("csrf");
        for path in ["", "/new", &format!("/{id}"), &format!("/{id}/edit"), &format!("/{id}/delete"), &format!("/{id}/messages/{message}/discard")] {
            assert_eq!(person.get(&format!("{place}{path}")).status, expected, "GET {place}{path}");
        }
        let fields = [("csrf", csrf.as_str()), ("target", "https://example.com/"), ("events", "ROTATED"), ("events", "TOKEN_TROUBLE")];
        for path in ["new", &format!("{id}/edit"), &format!("{id}/test"), &format!("{id}/enable"), &format!("{id}/disable"), &format!("{id}/delete")] {
            assert_eq!(person.post(&format!("{place}/{path}"), &fields).status, expected, "POST {place}/{path}");
        }
        for path in ["send", "discard"] {
            assert_eq!(person.post(&format!("{place}/{id}/messages/{message}/{path}"), &fields).status, expected, "{path}");
        }
    };
    tries(&viewer, PROJECT, of_project, 403);
    tries(&viewer, ORGANIZATION, of_installation, 403);
    tries(&project_admin, ORGANIZATION, of_installation, 403);
    assert_eq!(project_admin.get(PROJECT).status, 200);
    // The installation's recipient is none of the project's, and other projects are not his.
    for path in [
        format!("{PROJECT}/{of_installation}"),
        format!("{PROJECT}/999"),
        format!("{PROJECT}/x"),
        format!("{PROJECT}/{of_project}/messages/{message}/discardx"),
    ] {
        assert_eq!(project_admin.get(&path).status, 404, "{path}");
    }
    assert_ne!(project_admin.get("/projects/2/notifications").status, 200);
    assert!(receiver.calls().is_empty());
    assert_eq!(installation.database().count("notification_recipients WHERE enabled"), 2);
    let refused = installation
        .database()
        .count("audit_records WHERE operation IN ('CREATE_RECIPIENT', 'CHANGE_RECIPIENT', 'DELETE_RECIPIENT', 'TEST_RECIPIENT') AND result_code = 1003");
    assert_eq!(refused, 4);
}

#[test]
fn a_form_says_what_is_wrong_at_its_field() {
    let installation = Installation::new();
    let running = installation.start();
    let admin = admin(&installation, &running);
    let add = |place: &str, target: &str, event: &str| admin.fill_in(&format!("{place}/new"), &[("target", target), ("events", event)]);
    for (target, event, told) in [
        ("nobody", "ROTATED", "must be a mail address"),
        ("keys@example.com\r\nBcc: x@example.com", "ROTATED", "must be a mail address"),
        ("keys@example.com", "ROTATED", "mail is not set up"),
        ("https://user:secret@example.com/", "ROTATED", "must be a URL"),
        ("http://example.com/", "ROTATED", "must begin with https"),
        ("https://127.0.0.1:9090/metrics", "ROTATED", "not allowed for webhooks"),
        ("https://169.254.169.254/latest", "ROTATED", "not allowed for webhooks"),
        ("https://[::ffff:127.0.0.1]/", "ROTATED", "not allowed for webhooks"),
        ("https://example.com/", "", "must have one or more"),
        ("https://example.com/", "TOKEN_TROUBLE", "must have one or more"),
    ] {
        let answer = add(PROJECT, target, event);
        assert_eq!(answer.status, 422, "{target}: {}", answer.text);
        assert!(answer.has(told), "{target}: no {told:?} in {}", answer.text);
        assert!(!answer.has("whsec_"));
    }
    assert_eq!(add(PROJECT, "https://example.com/", "ROTATED").status, 200);
    let again = add(PROJECT, "https://example.com/", "ROTATED");
    assert!(again.status == 422 && again.has("is taken"), "{}", again.text);
    assert_eq!(add(ORGANIZATION, "https://example.com/", "TOKEN_TROUBLE").status, 200, "elsewhere it is another");
    for number in 1..20 {
        assert_eq!(add(PROJECT, &format!("https://example.com/{number}"), "ROTATED").status, 200);
    }
    let full = add(PROJECT, "https://example.com/20", "ROTATED");
    assert!(full.status == 422 && full.has("there are 20 already"), "{}", full.text);
    // A name that leads to this machine is found out when it is called.
    let named = add(ORGANIZATION, "https://localhost:1/", "TOKEN_TROUBLE");
    assert_eq!(named.status, 200, "{}", named.text);
    let recipient = installation.database().number("id", "notification_recipients WHERE target = 'https://localhost:1/'");
    let csrf = admin.get("/account").hidden("csrf");
    let tested = admin.send_form(&format!("{ORGANIZATION}/{recipient}/test"), &[("csrf", &csrf)]);
    assert!(tested.status == 200 && tested.has("not allowed for webhooks"), "{}", tested.text);
}

#[test]
fn a_disabled_recipient_gets_nothing_a_deleted_one_leaves_nothing_and_a_full_outbox_stops_no_change() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Status(500));
    let running = installation.start();
    let admin = admin(&installation, &running);
    add_webhook(&admin, PROJECT, &receiver.url("/"), &["ROTATED", "APPROVAL_DISABLED"]);
    let id = installation.database().number("id", "notification_recipients");
    let csrf = admin.get("/account").hidden("csrf");
    let post = |path: &str| admin.post(&format!("{PROJECT}/{id}/{path}"), &[("csrf", &csrf)]).status;
    assert_eq!(post("disable"), 303);
    rotate(&installation, &running);
    assert_eq!(count(&installation, "1 = 1"), 0);
    assert_eq!(post("enable"), 303);
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        INSERT INTO notification_messages (id, recipient_id, event, project, facts, happened_at, state, attempts, due_at, done_at)";
    installation.database().run(&format!("{many} SELECT printf('%032d', i), {id}, 'ROTATED', '', '[]', 1, 'PARKED', 20, 1, {} FROM n", now()));
    rotate(&installation, &running);
    assert_eq!(count(&installation, "state = 'QUEUED'"), 0);
    assert_eq!(installation.database().number("dropped", "notification_recipients"), 1);
    assert!(admin.get(&format!("{PROJECT}/{id}")).has("500 waited already: 1"));
    // What nobody should miss has room of its own.
    installation.database().run("UPDATE governance SET approval = 1");
    let (code, _, told) = installation.run(&["admin", "approval", "disable", "--project", "demo", "--reason", "a test"]);
    assert_eq!((code, count(&installation, "event = 'APPROVAL_DISABLED'")), (0, 1), "{told}");
    let gone = admin.fill_in(&format!("{PROJECT}/{id}/delete"), &[]);
    assert_eq!(gone.to.as_deref(), Some(format!("{PROJECT}?done=deleted").as_str()));
    assert_eq!(count(&installation, "1 = 1") + installation.database().count("notification_recipients"), 0);
    rotate(&installation, &running);
    assert!(receiver.calls().is_empty());
}

#[test]
fn what_the_clock_notices_is_told_once() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Status(200));
    let running = installation.start();
    let person = admin(&installation, &running);
    let of_project = ["DELETION_SCHEDULED", "DELETION_DUE_SOON", "DELETED", "CERTIFICATE_EXPIRES", "ROTATED"];
    add_webhook(&person, PROJECT, &receiver.url("/project"), &of_project);
    add_webhook(&person, ORGANIZATION, &receiver.url("/installation"), &["SERVER_CERTIFICATE_EXPIRES", "AUTHORITY_EXPIRES"]);
    let client = client(&installation, &running);
    let [soon, over] = ["soon", "over"].map(|name| {
        let key = make_key(&client, "symmetric-keys", name, 0);
        done(client.change("PUT", &format!("/keys/{key}/delete"), &json!({})));
        key
    });
    done(client.change("POST", "/auths/ipv4s", &json!({"keyStoreName": STORE, "value": "10.7.7.7"})));
    done(client.change("PUT", "/auths/ipv4s/delete", &json!({"keyStoreName": STORE, "value": "10.7.7.7"})));
    let certificate = json!({"keyStoreName": STORE, "name": "expiring", "password": "p", "lifeTime": 60});
    done(client.change("POST", "/auths/certificates", &certificate));
    let scheduled = calls_of(&receiver, "DELETION_SCHEDULED", 3);
    assert_eq!(scheduled[0].json()["data"]["keyId"], soon.as_str());
    assert_eq!(scheduled[2].json()["data"]["what"], "client entry");
    running.stop();
    // As if days had passed.
    installation.database().run(&format!(
        "UPDATE keys SET deletion_at = {} WHERE id = '{soon}'; UPDATE keys SET deletion_at = {} WHERE id = '{over}';
         UPDATE client_rules SET not_after = {} WHERE value = 'expiring'",
        now() + DAY / 2,
        now() - DAY,
        now() + 20 * DAY
    ));
    for _ in 0..3 {
        let running = installation.start();
        wait_for_task(&running, "notice_due");
        wait_for_task(&running, "delete_due");
        wait_for("all is sent", || count(&installation, "state = 'QUEUED'") == 0);
        running.stop();
    }
    let due = receiver.of_kind("DELETION_DUE_SOON");
    assert_eq!((due.len(), due[0].json()["data"]["name"].as_str(), due[0].path.as_str()), (1, Some("soon"), "/project"));
    let deleted = receiver.of_kind("DELETED");
    assert_eq!((deleted.len(), deleted[0].json()["data"]["by"].as_str()), (1, Some("skm")));
    let expires = receiver.of_kind("CERTIFICATE_EXPIRES");
    assert_eq!((expires.len(), expires[0].json()["data"]["name"].as_str()), (1, Some("CERTIFICATE expiring")));
    // A week before there is another one.
    installation.database().run(&format!("UPDATE client_rules SET not_after = {} WHERE value = 'expiring'", now() + 5 * DAY));
    let running = installation.start();
    calls_of(&receiver, "CERTIFICATE_EXPIRES", 2);
    running.stop();
}

/// Waits until the service has looked twice for trouble: then it knows the recipients, and their secrets.
fn looks_twice(running: &Running) {
    let looks = || metric(running, "skm_task_runs_total{task=\"notice_trouble\",outcome=\"success\"}").unwrap_or_default();
    let before = looks();
    wait_for("two looks for trouble", || looks() >= before + 2.0);
}

#[test]
fn trouble_with_the_token_is_told_while_it_lasts_and_when_it_is_over() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Status(200));
    let running = installation.start();
    let secret = add_webhook(&admin(&installation, &running), ORGANIZATION, &receiver.url("/"), &["TOKEN_TROUBLE", "TOKEN_RECOVERED"]);
    running.stop();
    // A process that has sent the webhook nothing yet.
    let running = installation.start();
    looks_twice(&running);
    let tokens = installation.path().join("tokens");
    let away = installation.path().join("tokens-away");
    std::fs::rename(&tokens, &away).expect("the token is taken away");
    let told = calls_of(&receiver, "TOKEN_TROUBLE", 1);
    assert!(told[0].is_signed_with(&secret));
    std::fs::rename(&away, &tokens).expect("the token is put back");
    let over = calls_of(&receiver, "TOKEN_RECOVERED", 1);
    assert!(over[0].json()["data"]["since"].as_str().is_some());
    assert_eq!(receiver.of_kind("TOKEN_TROUBLE").len(), 1);
}

#[test]
fn trouble_with_the_database_is_told_while_it_lasts_and_when_it_is_over() {
    let (mut cluster, identity) = (Cluster::start(), Identity::new());
    let mut installation = Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]);
    open(&mut installation, &identity);
    let [receiver, away] = [0, 1].map(|_| Receiver::start(&identity, Reply::Status(200)));
    away.answers(Reply::Status(500));
    let running = installation.start();
    let person = admin(&installation, &running);
    let secret = add_webhook(&person, ORGANIZATION, &receiver.url("/"), &["AUDIT_TROUBLE"]);
    add_webhook(&person, ORGANIZATION, &away.url("/"), &["AUDIT_TROUBLE"]);
    add_webhook(&person, PROJECT, &receiver.url("/"), &["ROTATED"]);
    looks_twice(&running);
    cluster.stop();
    let told = calls_of(&receiver, "AUDIT_TROUBLE", 1);
    assert!(told[0].is_signed_with(&secret) && told[0].json()["data"]["until"].is_null(), "{told:?}");
    // Whom it did not reach is tried again, under the same name; whom it reached is not.
    let again = calls_of(&away, "AUDIT_TROUBLE", 2);
    assert_eq!((again[0].id(), receiver.calls().len()), (again[1].id(), 1));
    cluster.start_again();
    let over = calls_of(&receiver, "AUDIT_TROUBLE", 2);
    assert!(over[1].is_signed_with(&secret) && over[1].id() != told[0].id(), "{over:?}");
    assert_eq!(over[1].json()["data"]["since"], told[0].json()["data"]["since"]);
    assert!(over[1].json()["data"]["until"].as_str().is_some());
    running.stop();
}
