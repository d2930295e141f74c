//! Callers that ask too often, and callers that guess.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{INVALID_APPKEY, INVALID_KEY_ID, IPV4_AUTH_FAILURE, Reply, TOO_MANY_REQUESTS, UNAUTHORIZED};
use super::stage::{Ask, FOREIGN_APPKEY, NO_KEY, Stage, access_key, records, token_request};
use crate::support::installation::Installation;

const GRANT: &str = "grant_type=client_credentials";
const OFF: &str = "0";

/// A service with these limits: requests of an address, of a project, and failures, each a second and at once.
fn stage(address: [&str; 2], project: [&str; 2], failures: [&str; 2], more: &[(&str, &str)]) -> Stage {
    let mut overrides = vec![("SKM_LIMITS__RECORD_INTERVAL", "1 h")];
    let names = [
        (["SKM_LIMITS__ADDRESS_PER_SECOND", "SKM_LIMITS__ADDRESS_BURST"], address),
        (["SKM_LIMITS__PROJECT_PER_SECOND", "SKM_LIMITS__PROJECT_BURST"], project),
        (["SKM_LIMITS__FAILURES_PER_SECOND", "SKM_LIMITS__FAILURES_BURST"], failures),
    ];
    for (names, values) in names {
        overrides.extend(names.into_iter().zip(values));
    }
    overrides.extend_from_slice(more);
    Stage::with(Installation::new(), &overrides)
}

/// Asks until it is too much: how many passed, and the refusal, which is exactly what it must be.
fn until_refused(mut ask: impl FnMut() -> Reply) -> (usize, Reply) {
    for passed in 0..1_000 {
        let reply = ask();
        if reply.status == 429 {
            assert!(reply.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0)), "{reply}");
            return (passed, reply);
        }
    }
    panic!("a thousand requests passed");
}

fn wait_as_told(reply: &Reply) {
    std::thread::sleep(Duration::from_secs(reply.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("seconds")));
}

/// A refusal of the token endpoint.
fn oauth_too_many(reply: &Reply) {
    let expected = json!({"error": "temporarily_unavailable", "error_description": "Too Many Requests"});
    assert_eq!((reply.status, reply.json(), reply.header("retry-after")), (429, expected, Some("1")), "{reply}");
}

/// The records of what was counted, as project (whether there is one), address, and detail without its times.
fn counted(records: &[Value]) -> Vec<(bool, Value, String)> {
    let of_limits = records.iter().filter(|record| record["operation"] == "REFUSE_TOO_MANY");
    let describe = |record: &Value| {
        assert_eq!((&record["resultCode"], &record["actorKind"], &record["key"]), (&json!(1006), &json!("unknown"), &Value::Null), "{record}");
        let detail = record["detail"].as_str().expect("a detail");
        let (what, times) = detail.split_once("; first 20").expect("times");
        assert!(times.contains("Z; last 20"), "{detail}");
        (!record["project"].is_null(), record["address"].clone(), what.to_owned())
    };
    of_limits.map(describe).collect()
}

/// A metric's value now; 0 if it was never counted.
fn metric(stage: &Stage, name: &str) -> u64 {
    let (_, text) = stage.running.operations("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(|value| value.parse::<f64>().expect("a number"));
    value.map_or(0, |value| format!("{value:.0}").parse().expect("a whole number"))
}

fn forwarded(stage: &Stage, address: &str) -> Reply {
    stage.ask(&Ask::get(stage.v1("/confirm")).header("X-Forwarded-For", address))
}

#[test]
fn an_address_that_asks_too_often_waits_and_others_do_not() {
    let stage = stage(["1", "3"], [OFF, "1"], [OFF, "1"], &[("SKM_API__TRUSTED_PROXIES", "127.0.0.1/32"), ("SKM_LIMITS__RECORD_INTERVAL", "1 s")]);
    let confirm = Ask::get(stage.v1("/confirm"));
    let (passed, refused) = until_refused(|| stage.ask(&confirm));
    assert!((3..10).contains(&passed), "{passed}");
    refused.refused(TOO_MANY_REQUESTS, "confirm");
    assert_eq!(refused.header("retry-after"), Some("1"));
    wait_as_told(&refused);
    stage.ask(&confirm).body();
    // Whatever it asks for; what names no project is in the metrics alone.
    let mut of_project = 1;
    for path in [stage.v1("/confirm"), stage.v1("/nothing"), stage.path("v1.2", "/confirm"), "/keymanager/v1.0/appkey/unknown/confirm".to_owned()] {
        let (_, refused) = until_refused(|| {
            let reply = stage.ask(&Ask::get(&path));
            of_project += usize::from(reply.status == 429 && !path.contains("unknown"));
            reply
        });
        refused.refused(TOO_MANY_REQUESTS, &path);
    }
    for what in ["create", "revoke"] {
        let (_, refused) = until_refused(|| stage.ask(&token_request(what, "unknown", "secret", if what == "create" { GRANT } else { "token=x" })));
        oauth_too_many(&refused);
    }
    assert_eq!(metric(&stage, "skm_requests_over_limit_total{limit=\"address\"}"), 7);
    // Another address has its own; all of an IPv6 site's are one.
    let mut other = stage.connect_from([127, 0, 0, 2]);
    for _ in 0..3 {
        assert_eq!(stage.ask_on(&mut other, &confirm).text("clientIp"), "127.0.0.2");
    }
    let host = Cell::new(0);
    let (passed, _) = until_refused(|| {
        host.set(host.get() + 1);
        forwarded(&stage, &format!("2001:db8:0:1::{:x}", host.get()))
    });
    assert!((3..10).contains(&passed), "{passed}");
    forwarded(&stage, "2001:db8:0:2::1").body();
    assert!((1..=5).contains(&metric(&stage, "skm_limited_addresses")));
    // The count becomes a record while the service runs.
    let until = Instant::now() + Duration::from_secs(20);
    let is_total = |records: &[Value]| {
        let counts =
            counted(records).into_iter().map(|(_, _, detail)| detail.split(' ').nth(4).and_then(|count| count.parse::<usize>().ok()).expect("a count"));
        counts.sum::<usize>() == of_project + 1
    };
    while !is_total(&stage.records()) {
        assert!(Instant::now() < until, "{:?}", counted(&stage.records()));
        std::thread::sleep(Duration::from_millis(100));
    }
    stage.finish();
}

#[test]
fn a_project_that_asks_too_often_waits_and_failures_do_not_count() {
    let stage = stage([OFF, "1"], ["1", "3"], [OFF, "1"], &[]);
    let confirm = Ask::get(stage.v1("/confirm"));
    let foreign = Ask::get(format!("/keymanager/v1.2/appkey/{FOREIGN_APPKEY}/confirm"));
    // Whoever knows the appkey alone can't use up the project's.
    for _ in 0..20 {
        stage.ask(&Ask::get(stage.path("v1.2", "/confirm"))).refused(UNAUTHORIZED, "no credentials");
        stage.ask(&Ask::get(stage.v1(&format!("/secrets/{NO_KEY}")))).refused(INVALID_KEY_ID, "no key");
    }
    let (passed, refused) = until_refused(|| stage.ask(&confirm));
    assert!((3..10).contains(&passed), "{passed}");
    refused.refused(TOO_MANY_REQUESTS, "confirm");
    // By another of its appkeys, from another address, and however it proves itself: it is the project's.
    let mut other = stage.connect_from([127, 0, 0, 2]);
    until_refused(|| stage.ask_on(&mut other, &confirm));
    until_refused(|| stage.ask(&Ask::get(format!("/keymanager/v1.0/appkey/{}/confirm", super::stage::INTEGRATED_APPKEY))));
    until_refused(|| stage.ask(&Ask::get(stage.path("v1.2", "/confirm")).headers(&stage.admin())));
    for _ in 0..3 {
        stage.ask(&foreign.clone().headers(&access_key("foreigner", "foreigner-secret"))).body();
    }
    wait_as_told(&refused);
    stage.ask(&confirm).body();
    assert_eq!(metric(&stage, "skm_requests_over_limit_total{limit=\"project\"}"), 4);
    // At the end at the latest there is a record.
    let records = records(&stage.finish());
    assert_eq!(counted(&records), [(true, Value::Null, "requests over a limit: 4 (project 4); addresses: 2 (127.0.0.1, 127.0.0.2)".to_owned())]);
}

/// Guesses from 127.0.0.1 until it is too much: nothing but failures is refused then, for a good part of a second.
struct Guessing<'a> {
    stage: &'a Stage,
    guesses: Cell<u32>,
}

impl Guessing<'_> {
    fn guess(&self) -> Reply {
        self.guesses.set(self.guesses.get() + 1);
        self.stage.ask(&Ask::get(format!("/keymanager/v1.0/appkey/guess{}/confirm", self.guesses.get())))
    }

    /// A failure, which is refused while guesses are: at most a token that came in at that very moment lets it through.
    fn refused_too(&self, failure: &Ask) -> Reply {
        let (passed, refused) = until_refused(|| self.meanwhile(failure));
        assert!(passed < 4, "{passed}: {failure:?}");
        refused
    }

    /// What is asked while failures are refused.
    fn meanwhile(&self, ask: &Ask) -> Reply {
        until_refused(|| self.guess()).1.refused(TOO_MANY_REQUESTS, "a guess");
        self.stage.ask(ask)
    }

    /// Each of these that is looked up is answered by what it is, and each that is refused is not looked up.
    fn read_only_as_allowed(&self, view: &str, ask: impl Fn(u32) -> Ask, found: super::http::Refusal) {
        let name = format!("skm_view_reads_total{{view=\"{view}\"}}");
        let (before, mut looked_up) = (metric(self.stage, &name), 0);
        for number in 0..100 {
            let reply = self.stage.ask(&ask(number));
            if reply.status == 429 {
                reply.refused(TOO_MANY_REQUESTS, view);
            } else {
                reply.refused(found, view);
                looked_up += 1;
            }
        }
        assert_eq!(metric(self.stage, &name) - before, looked_up, "{view}");
        assert!(looked_up < 30, "{looked_up} of 100 {view}");
    }
}

/// Right requests of every kind, from the address that guesses.
fn the_right_pass(stage: &Stage, guessing: &Guessing<'_>) {
    let secret = |version: &str| Ask::get(stage.path(version, &format!("/secrets/{}", stage.id("SECRET_ID"))));
    guessing.meanwhile(&secret("v1.0")).body();
    guessing.meanwhile(&secret("v1.2").headers(&access_key("apiViewer", "apiViewer-secret"))).body();
    // A new token and a new key are nobody's guess.
    let issued = guessing.meanwhile(&token_request("create", "apiViewer", "apiViewer-secret", GRANT)).json();
    let bearer = format!("Bearer {}", issued["access_token"].as_str().expect("a token"));
    guessing.meanwhile(&secret("v1.3").header("X-NHN-Authorization", &bearer)).body();
    let made = stage.make_key("secrets", &format!("made after guess {}", guessing.guesses.get()));
    guessing.meanwhile(&Ask::get(stage.v1(&format!("/secrets/{made}")))).body();
}

#[test]
fn whoever_guesses_is_refused_unread_and_keeps_nobody_out() {
    let stage = stage([OFF, "1"], [OFF, "1"], ["1", "5"], &[]);
    let guessing = Guessing { stage: &stage, guesses: Cell::new(0) };
    let with_key = |id: &str, login: &str| {
        let secret = format!("{login}-secret");
        stage.ask(&Ask::get(stage.path("v1.2", &format!("/secrets/{id}"))).headers(&access_key(login, &secret)))
    };
    with_key(stage.id("SECRET_ID"), "apiViewer").body();
    with_key(stage.id("SECRET_ID"), "admin2").body();
    stage.ask(&Ask::get(stage.path("v1.2", "/confirm")).headers(&stage.admin())).body();
    let (guessed, refused) = until_refused(|| guessing.guess());
    assert!((5..20).contains(&guessed), "{guessed}");
    refused.refused(TOO_MANY_REQUESTS, "a guess");
    // It is a failure that is refused, whichever; and each wait is long enough.
    let mac = Ask::get(stage.v1(&format!("/secrets/{}", stage.id("MTLS_SYMMETRIC_ID"))));
    let wrong = Ask::get(stage.path("v1.2", "/confirm")).headers(&access_key("apiViewer", "wrong"));
    for failure in [Ask::get(stage.v1(&format!("/secrets/{NO_KEY}"))), mac, wrong.clone(), Ask::get(stage.path("v1.3", "/nothing"))] {
        guessing.refused_too(&failure).refused(TOO_MANY_REQUESTS, &failure.path);
    }
    oauth_too_many(&guessing.refused_too(&token_request("create", "apiViewer", "wrong", GRANT)));
    oauth_too_many(&guessing.refused_too(&token_request("create", "unknown", "wrong", GRANT)));
    wait_as_told(&refused);
    stage.ask(&wrong).refused(UNAUTHORIZED, "after the wait");

    the_right_pass(&stage, &guessing);
    // Nor when all cached views were dropped: what was right is remembered.
    stage.database.change("UPDATE projects SET name = name");
    the_right_pass(&stage, &guessing);

    guessing.read_only_as_allowed("project", |number| Ask::get(format!("/keymanager/v1.0/appkey/x{number}/confirm")), INVALID_APPKEY);
    guessing.read_only_as_allowed("key", |number| Ask::get(stage.v1(&format!("/secrets/{number:032x}"))), INVALID_KEY_ID);
    let unknown = |number| Ask::get(stage.path("v1.2", "/confirm")).headers(&access_key(&format!("x{number}"), "x"));
    guessing.read_only_as_allowed("access_key", unknown, UNAUTHORIZED);
    // Another address has a bucket of its own.
    let mut other = stage.connect_from([127, 0, 0, 2]);
    stage.ask_on(&mut other, &Ask::get("/keymanager/v1.0/appkey/guess/confirm")).refused(INVALID_APPKEY, "another address");
    stage.ask_on(&mut other, &Ask::get(stage.v1(&format!("/secrets/{}", stage.id("SECRET_ID"))))).refused(IPV4_AUTH_FAILURE, "another address");
    // Who proved an access key is to blame for himself alone.
    let (passed, refused) = until_refused(|| with_key(NO_KEY, "admin2"));
    assert!((5..20).contains(&passed), "{passed}");
    refused.refused(TOO_MANY_REQUESTS, "an access key's guesses");
    with_key(NO_KEY, "apiViewer").refused(INVALID_KEY_ID, "another access key");

    let over = metric(&stage, "skm_requests_over_limit_total{limit=\"failures\"}");
    let records = counted(&records(&stage.finish()));
    let (of_project, without): (Vec<_>, Vec<_>) = records.iter().partition(|(of_project, ..)| *of_project);
    assert_eq!(without, [&(false, json!("127.0.0.1"), "requests over a limit: 1 (failures 1); addresses: 1 (127.0.0.1)".to_owned())]);
    assert_eq!(of_project.len(), 1, "{records:?}");
    let count: u64 = of_project[0].2.split(' ').nth(4).and_then(|count| count.parse().ok()).expect("a count");
    assert!((100..over).contains(&count), "{count} of {over}: {records:?}");
}
