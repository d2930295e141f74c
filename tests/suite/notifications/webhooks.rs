//! Webhooks: signed, retried, parked, sent again; at least once after a crash, once by two nodes.

use super::receiver::{Call, Identity, Receiver, Reply};
use super::{ORGANIZATION, PROJECT, add_webhook, admin, calls_of, client, count, make_due, open, rotate, wait_for};
use crate::clockwork::metric;
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;

#[test]
fn a_call_is_signed_and_tried_again_under_the_same_name_until_it_is_taken() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Status(500));
    let running = installation.start();
    let admin = admin(&installation, &running);
    let secret = add_webhook(&admin, PROJECT, &receiver.named_url("/hook?a=b"), &["ROTATED"]);
    rotate(&installation, &running);
    for failures in 1..=3 {
        calls_of(&receiver, "ROTATED", failures);
        wait_for("the failure is noted", || count(&installation, &format!("attempts = {failures} AND lease_until IS NULL AND problem LIKE '%500%'")) == 1);
        // It isn't tried again at once.
        assert_eq!(count(&installation, "state = 'QUEUED' AND due_at > happened_at + 10000000"), 1);
        if failures == 3 {
            receiver.answers(Reply::Status(204));
        }
        make_due(&installation);
    }
    let calls = calls_of(&receiver, "ROTATED", 4);
    wait_for("it is sent", || count(&installation, "state = 'SENT'") == 1);
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|call| call.id() == calls[0].id() && call.body == calls[0].body && call.is_signed_with(&secret)), "{calls:?}");
    assert!(!calls[0].is_signed_with("whsec_AAAA"));
    check_as_the_readme_says(&calls[3], &secret);
    let (call, body) = (&calls[0], calls[0].json());
    assert_eq!(call.path, "/hook?a=b");
    assert_eq!((call.header("content-type"), call.header("authorization")), ("application/json", ""));
    // With many services whoever knows the whole URL may call it.
    let told = |text: &str| installation.database().count(&format!("audit_records WHERE detail LIKE '%{text}%'"));
    assert_eq!((told("https://localhost:%/…: ROTATED"), told("hook"), running.log().contains("/hook")), (1, 0, false));
    let now = crate::clockwork::now() / 1_000_000;
    assert!((now - call.header("webhook-timestamp").parse::<i64>().expect("seconds")).abs() < 300);
    assert_eq!(body["data"]["keyId"], installation.demo("SYMMETRIC_ID"));
    assert_eq!((body["data"]["project"].as_str(), body["data"]["keyVersion"].as_str()), (Some("demo"), Some("1")));
    wait_for("counted", || metric(&running, "skm_notifications_queued") == Some(0.0));
    assert_eq!(metric(&running, "skm_notification_attempts_total{channel=\"WEBHOOK\",outcome=\"sent\"}"), Some(1.0));
    assert_eq!(metric(&running, "skm_notification_attempts_total{channel=\"WEBHOOK\",outcome=\"failed\"}"), Some(3.0));
}

/// The receiver's program of README.md takes the call, and neither another secret's, nor another body's, nor an old one.
fn check_as_the_readme_says(call: &Call, secret: &str) {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let (_, program) = readme.split_once("    import base64, hashlib, hmac, time\n").expect("the program");
    let lines = program.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let program: String = lines.map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or_default())).collect();
    let Some(python) = super::mail::python() else { return };
    let headers: serde_json::Map<String, serde_json::Value> =
        call.headers.iter().filter(|(name, _)| name.starts_with("webhook-")).map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let test = format!(
        "import base64, hashlib, hmac, json, sys, time\n{program}\nheaders, body, secret = json.loads(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
assert is_genuine(secret, headers, body)
assert not is_genuine('whsec_AAAA', headers, body)
assert not is_genuine(secret, headers, body + b' ')
assert not is_genuine(secret, {{**headers, 'webhook-timestamp': '1'}}, body)
assert not is_genuine(secret, {{**headers, 'webhook-id': 'x'}}, body)"
    );
    let arguments = ["-c", &test, &serde_json::Value::from(headers).to_string(), &call.body, secret];
    let output = std::process::Command::new(python).args(arguments).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_message_is_parked_after_the_last_attempt_shown_sent_again_or_discarded() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Status(503));
    let running = installation.start();
    let admin = admin(&installation, &running);
    add_webhook(&admin, PROJECT, &receiver.url("/"), &["ROTATED"]);
    for parked in 1..=2 {
        rotate(&installation, &running);
        wait_for("a failure", || count(&installation, "state = 'QUEUED' AND attempts = 1 AND lease_until IS NULL AND problem IS NOT NULL") == 1);
        // As if 18 more had failed since.
        installation.database().run("UPDATE notification_messages SET due_at = 1, attempts = 19 WHERE state = 'QUEUED'");
        wait_for("parked", || count(&installation, "state = 'PARKED' AND attempts = 20") == parked);
    }
    wait_for("shown in the metrics", || metric(&running, "skm_notifications_parked") == Some(2.0));
    assert_eq!(running.operations("/readyz").0, 200, "readiness is another matter");
    let recipient = installation.database().number("id", "notification_recipients");
    let page = format!("{PROJECT}/{recipient}");
    assert!(admin.get(&page).has("Parked") && admin.get(&page).has("it answered 503"));
    receiver.answers(Reply::Status(200));
    let ids = installation.database().texts("id", "notification_messages ORDER BY id");
    let csrf = admin.get(&page).hidden("csrf");
    let again = admin.post(&format!("{page}/messages/{}/send", ids[0]), &[("csrf", &csrf)]);
    assert_eq!(again.to.as_deref(), Some(format!("{page}?done=resent").as_str()));
    wait_for("sent", || count(&installation, &format!("state = 'SENT' AND id = '{}'", ids[0])) == 1);
    let discarded = admin.fill_in(&format!("{page}/messages/{}/discard", ids[1]), &[]);
    assert_eq!(discarded.to.as_deref(), Some(format!("{page}?done=discarded").as_str()));
    assert_eq!(count(&installation, "state <> 'SENT'"), 0);
    let records = |operation: &str| installation.database().count(&format!("audit_records WHERE operation = '{operation}' AND result_code = 0"));
    assert_eq!((records("RESEND_NOTIFICATION"), records("DISCARD_NOTIFICATION"), records("CREATE_RECIPIENT")), (1, 1, 1));
    // What was sent is no message to be sent again.
    assert_eq!(admin.post(&format!("{page}/messages/{}/send", ids[0]), &[("csrf", &csrf)]).status, 404);
}

#[test]
fn one_that_hangs_redirects_or_never_ends_keeps_nobody_waiting_and_is_not_followed() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let target = Receiver::start(&identity, Reply::Status(200));
    let hangs = Receiver::start(&identity, Reply::Hang);
    let redirects = Receiver::start(&identity, Reply::Redirect(target.url("/redirected")));
    let endless = Receiver::start(&identity, Reply::Endless);
    let running = installation.start();
    let admin = admin(&installation, &running);
    for receiver in [&hangs, &redirects, &endless, &target] {
        add_webhook(&admin, PROJECT, &receiver.url("/hook"), &["ROTATED"]);
    }
    // Nobody is there any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    add_webhook(&admin, PROJECT, &format!("https://{closed}/"), &["ROTATED"]);
    // Another CA.
    let foreign = Receiver::start(&Identity::new(), Reply::Status(200));
    add_webhook(&admin, PROJECT, &foreign.url("/"), &["ROTATED"]);
    rotate(&installation, &running);
    assert_eq!(calls_of(&target, "ROTATED", 1).len(), 1);
    wait_for("all others have failed", || count(&installation, "state = 'QUEUED' AND problem IS NOT NULL") == 5);
    assert_eq!(target.calls().iter().map(|call| call.path.clone()).collect::<Vec<_>>(), ["/hook"]);
    let problems = installation.database().texts("problem", "notification_messages WHERE problem IS NOT NULL").join("\n");
    for told in ["it took too long", "redirects are not followed", "no connection: connection refused", "TLS: ", "HTTP: "] {
        assert!(problems.contains(told), "no {told:?} in\n{problems}");
    }
    assert!(foreign.calls().is_empty());
    rotate(&installation, &running);
    assert_eq!(calls_of(&target, "ROTATED", 2).len(), 2, "it waits for nobody else");
}

#[test]
fn a_crash_between_sending_and_saying_so_sends_it_once_more_under_the_same_name() {
    crash_between_sending_and_saying_so(Installation::new());
}

#[test]
fn a_crash_between_sending_and_saying_so_sends_it_once_more_on_postgresql() {
    let cluster = Cluster::start();
    crash_between_sending_and_saying_so(Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
}

fn crash_between_sending_and_saying_so(mut installation: Installation) {
    let identity = Identity::new();
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Hang);
    let running = installation.start();
    let person = admin(&installation, &running);
    let secret = add_webhook(&person, PROJECT, &receiver.url("/"), &["ROTATED"]);
    rotate(&installation, &running);
    // It has the message, and the service doesn't know that.
    calls_of(&receiver, "ROTATED", 1);
    running.kill();
    receiver.answers(Reply::Status(200));
    let running = installation.start();
    let calls = calls_of(&receiver, "ROTATED", 2);
    wait_for("sent", || count(&installation, "state = 'SENT'") == 1);
    assert!(calls.iter().all(|call| call.id() == calls[0].id() && call.is_signed_with(&secret)), "{calls:?}");
    running.stop();
}

#[test]
fn whoever_hangs_does_not_keep_the_service_from_stopping_and_is_asked_again() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Hang);
    let running = installation.start();
    add_webhook(&admin(&installation, &running), PROJECT, &receiver.url("/"), &["ROTATED"]);
    rotate(&installation, &running);
    calls_of(&receiver, "ROTATED", 1);
    running.stop();
    // It was broken off, not waited for: then it would have taken too long.
    assert_eq!(count(&installation, "state = 'QUEUED' AND attempts = 1 AND lease_until IS NULL AND problem LIKE '%stopped%'"), 1);
    receiver.answers(Reply::Status(200));
    let running = installation.start();
    let calls = calls_of(&receiver, "ROTATED", 2);
    assert_eq!(calls[0].id(), calls[1].id());
    wait_for("sent", || count(&installation, "state = 'SENT'") == 1);
    running.stop();
}

#[test]
fn a_crash_right_after_the_change_loses_no_message_and_one_that_fails_tells_nothing() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Status(500));
    let mut running = installation.start();
    add_webhook(&admin(&installation, &running), PROJECT, &receiver.url("/"), &["ROTATED", "DELETION_SCHEDULED"]);
    for _ in 0..5 {
        rotate(&installation, &running);
        running.kill();
        running = installation.start();
    }
    let refused = client(&installation, &running).own("POST", &format!("/keys/{}/rotate", installation.demo("SECRET_ID")), None).expect("an answer");
    assert_ne!(refused.status, 200);
    receiver.answers(Reply::Status(200));
    make_due(&installation);
    wait_for("all are sent", || count(&installation, "state = 'SENT'") == 5);
    let mut names: Vec<_> = receiver.calls().iter().map(|call| call.id().to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), count(&installation, "state <> 'SENT'")), (5, 0), "as many as were rotated, and no more");
}

#[test]
fn two_nodes_send_each_message_once() {
    let (cluster, identity) = (Cluster::start(), Identity::new());
    let mut installation = Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]);
    open(&mut installation, &identity);
    let receivers = [0, 1, 2].map(|_| Receiver::start(&identity, Reply::Status(200)));
    let nodes = ["one", "two"].map(|node| installation.start_node(node));
    let person = admin(&installation, &nodes[0]);
    for receiver in &receivers {
        add_webhook(&person, PROJECT, &receiver.url("/"), &["ROTATED"]);
    }
    for round in 0..10 {
        rotate(&installation, &nodes[round % 2]);
    }
    wait_for("all are sent", || count(&installation, "state = 'SENT'") == 30);
    for receiver in &receivers {
        let mut names: Vec<_> = receiver.calls().iter().map(|call| call.id().to_owned()).collect();
        let calls = names.len();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), calls), (10, 10), "each once");
    }
    // One of them dies in the midst: the other takes it over when its lease ends.
    receivers[0].answers(Reply::Hang);
    rotate(&installation, &nodes[0]);
    calls_of(&receivers[0], "ROTATED", 11);
    let senders = || installation.database().texts("node", "notification_messages WHERE state = 'QUEUED' AND lease_until IS NOT NULL");
    wait_for("the others have it", || count(&installation, "state = 'SENT'") == 32 && !senders().is_empty());
    let sender = senders().pop();
    let [one, two] = nodes;
    let (dies, lives) = if sender.as_deref() == Some("one") { (one, two) } else { (two, one) };
    dies.kill();
    receivers[0].answers(Reply::Status(200));
    installation.database().run("UPDATE notification_messages SET lease_until = 1 WHERE state = 'QUEUED'");
    wait_for("sent by the other", || count(&installation, "state = 'SENT'") == 33);
    let calls = receivers[0].calls();
    assert_eq!(calls[10].id(), calls[11].id());
    lives.stop();
}

#[test]
fn lock_outs_are_told_once_to_the_installation_and_not_the_password() {
    let (mut installation, identity) = (Installation::new(), Identity::new());
    open(&mut installation, &identity);
    let receiver = Receiver::start(&identity, Reply::Status(200));
    let running = installation.start();
    add_webhook(&admin(&installation, &running), ORGANIZATION, &receiver.url("/"), &["SIGN_IN_LOCKED_OUT", "TOKEN_TROUBLE"]);
    let mut failed = 0;
    while count(&installation, "event = 'SIGN_IN_LOCKED_OUT'") == 0 {
        failed += 1;
        assert!(failed < 200, "no lock-out is told");
        let fields = [("login", "somebody"), ("password", "a-wrong-password-4711")];
        crate::console::person::try_to_sign_in(&installation, &running, &fields);
    }
    let calls = calls_of(&receiver, "SIGN_IN_LOCKED_OUT", 1);
    assert_eq!((calls[0].json()["data"]["login"].as_str(), calls[0].json()["data"]["address"].as_str()), (Some("somebody"), Some("127.0.0.1")));
    assert!(!calls[0].body.contains("4711"));
    assert_eq!(count(&installation, "event = 'SIGN_IN_LOCKED_OUT'"), 1);
}
