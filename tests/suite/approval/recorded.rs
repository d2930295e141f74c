//! The audit log alone tells for every change who asked, who approved, exactly what, and when it was applied: from the exported log, and nothing else,
//! everything is reconstructed here, by other means than those that wrote it.

use serde_json::{Value, json};
use sha2::Digest as _;

use super::{STORE, Scene, installation};
use crate::console::person::{PASSWORD, Person, make_account};
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;

/// The exported log: its records in their order.
pub(super) struct Log(Vec<Value>);

/// A record of a request, taken apart.
#[derive(Debug, PartialEq)]
struct Said<'a> {
    who: &'a str,
    /// What comes before the first colon.
    head: &'a str,
    /// What comes after it.
    rest: &'a str,
    at: &'a str,
    place: (&'a str, i64),
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_default()
}

fn hash(text: &str) -> String {
    hex::encode(sha2::Sha256::digest(text))
}

impl Log {
    pub(super) fn of(installation: &Installation) -> Self {
        let (code, lines, problems) = installation.run(&["audit", "tail", "-n", "10000", "--json"]);
        assert_eq!((code, problems.as_str()), (0, ""));
        let mut records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
        assert!(records.len() < 10_000, "all of it");
        let place = |record: &Value| (text(record, "chain").to_owned(), record["sequence"].as_i64());
        records.sort_by_key(place);
        Self(records)
    }

    /// The records of an operation that went well, of a request.
    fn said(&self, operation: &str, id: &str) -> Vec<Said<'_>> {
        let of_request = |record: &&Value| {
            let detail = text(record, "detail");
            text(record, "operation") == operation && record["resultCode"] == 0 && detail.starts_with(&format!("request {id} "))
        };
        let said = |record| {
            let detail = text(record, "detail");
            let (head, rest) = detail.split_once(": ").unwrap_or((detail, ""));
            let who = text(record, "actor").rsplit('/').next().unwrap_or_default();
            Said { who, head, rest, at: text(record, "at"), place: (text(record, "chain"), record["sequence"].as_i64().expect("a number")) }
        };
        self.0.iter().filter(of_request).map(said).collect()
    }

    fn said_once(&self, operation: &str, id: &str) -> Said<'_> {
        let mut said = self.said(operation, id);
        assert_eq!(said.len(), 1, "{operation} {id}: {said:?}");
        said.remove(0)
    }

    /// What was asked for, word for word, by whom: `{"format":…}`, and its digest.
    fn content(&self, id: &str) -> (String, String) {
        let asked = self.said_once("REQUEST_APPROVAL", id);
        let parts = self.said("DESCRIBE_REQUEST", id);
        let mut content = String::new();
        for (number, part) in (1_i64..).zip(&parts) {
            assert_eq!(part.head, format!("request {id} part {number}/{}", parts.len()));
            assert_eq!((part.who, part.place), (asked.who, (asked.place.0, asked.place.1 + number)), "right after that he asked");
            content.push_str(part.rest);
        }
        let (digest, parts) = (hash(&content), if parts.len() == 1 { "part 1".to_owned() } else { format!("parts 1-{}", parts.len()) });
        let read: Value = serde_json::from_str(&content).expect("JSON");
        let changes = read["changes"].as_array().expect("a list").len();
        assert_eq!(asked.head, format!("request {id} by {}, SHA-256 {digest}, changes {changes}, {parts}", asked.who));
        assert_eq!(serde_json::from_str::<Value>(asked.rest).expect("the note"), read["note"]);
        (content, digest)
    }

    /// Who asked for what: `details` is what the approver could read.
    fn tells_what_was_asked(&self, id: &str, asker: &str, details: &Value) -> String {
        let (content, digest) = self.content(id);
        let content: Value = serde_json::from_str(&content).expect("JSON");
        assert_eq!(self.said_once("REQUEST_APPROVAL", id).who, asker);
        assert_eq!(details["digest"], json!(digest));
        let pairs = |fields: &Value| -> Value { fields.as_array().expect("fields").iter().map(|field| json!([field["name"], field["value"]])).collect() };
        let expected = |change: &Value| json!([change["position"], change["change"], change["editUser"], pairs(&change["before"]), pairs(&change["after"])]);
        let found = |change: &Value| json!([change["position"], change["operation"], change["editor"]["login"], change["before"], change["after"]]);
        let each = |list: &Value, of: &dyn Fn(&Value) -> Value| -> Vec<Value> { list.as_array().expect("a list").iter().map(of).collect() };
        assert_eq!(each(&content["changes"], &found), each(&details["changeList"], &expected));
        let beside = json!({"format": "skm change request 3", "request": id, "project": 1, "note": details["note"], "requester": asker});
        let found = json!({"format": content["format"], "request": content["request"], "project": content["project"], "note": content["note"],
            "requester": content["requester"]["login"]});
        assert_eq!(found, beside);
        digest
    }

    /// That it was approved and applied: by whom, what, in this order.
    pub(super) fn tells_what_was_applied(&self, id: &str, asker: &str, approver: &str, details: &Value) {
        let digest = self.tells_what_was_asked(id, asker, details);
        let head = format!("request {id} by {asker}, approved by {approver}, SHA-256 {digest}");
        let (asked, approved, applied) = (self.said_once("REQUEST_APPROVAL", id), self.said_once("APPROVE_REQUEST", id), self.said_once("APPLY_REQUEST", id));
        assert_eq!((approved.who, approved.head, approved.rest), (approver, head.as_str(), ""));
        let changes = details["changeList"].as_array().expect("a list");
        assert_eq!((applied.head, applied.rest), (format!("{head}, changes {}", changes.len()).as_str(), ""));
        assert!(asked.at <= approved.at && approved.at <= applied.at, "{asked:?} {approved:?} {applied:?}");
        let of_changes = |record: &&Value| text(record, "request") == id && record["resultCode"] == 0 && text(record, "operation") != "APPLY_REQUEST";
        let records: Vec<&Value> = self.0.iter().filter(of_changes).collect();
        assert_eq!(records.len(), changes.len(), "{records:?}");
        for (record, change) in records.iter().zip(changes) {
            let (told, rest) = text(record, "detail").split_once(": ").unwrap_or((text(record, "detail"), ""));
            let part = told.strip_prefix(&format!("{head}, change {}, part", change["position"])).unwrap_or_else(|| panic!("{record}"));
            assert!(part.trim_start_matches('s').trim_start().bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'), "{record}");
            assert_eq!((text(record, "operation"), text(record, "actor"), text(record, "at")), (change["change"].as_str().expect("a word"), asker, applied.at));
            is_told(rest, &change["after"]);
        }
    }

    fn tells_its_end(&self, operation: &str, id: &str, asker: &str, decision: &str) -> String {
        let (_, digest) = self.content(id);
        let said = self.said_once(operation, id);
        assert_eq!(said.head, format!("request {id} by {asker}{decision}, SHA-256 {digest}"));
        if said.rest.is_empty() { String::new() } else { serde_json::from_str(said.rest).expect("a reason") }
    }
}

/// `name "…", description "…"`: all of a change, or its beginning and how much more there is.
fn is_told(mut told: &str, fields: &Value) {
    let fields = fields.as_array().expect("fields");
    for (count, field) in fields.iter().enumerate() {
        if let Some(more) = told.strip_prefix("… ") {
            return assert_eq!(more, format!("{} more", fields.len() - count));
        }
        let (name, rest) = told.split_once(' ').unwrap_or_else(|| panic!("{field} is missing: {told}"));
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let value = values.next().expect("a value").expect("a string");
        assert_eq!(json!({"name": name, "value": value}), *field);
        told = rest[values.byte_offset()..].trim_start_matches(", ");
    }
    assert_eq!(told, "");
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().cycle().take(chars).collect()
}

/// What people call things, and say about them, pretends to be nothing else, and is there to the last character.
fn words_of_people(scene: &Scene) -> Vec<(String, &'static str)> {
    let note = cut("n\", approved by mallory, SHA-256 00, change 9: \\ \n\t;=1 열쇠", 999) + ".";
    let reason = cut("r: \", approved by cat: request 00 by x, é", 999) + ".";
    let name = |number: usize| cut(&format!("{number}\", approved by mallory, SHA-256 00: \\"), 100);
    let description = cut("d\", approved by mallory;=1\u{202e}\u{200b}\u{feff}\r\n열", 1_000);
    let make = |number| json!({"keyStoreName": STORE, "name": name(number), "description": description, "secretValue": "very hidden"});
    let draft = |number| scene.draft("mia1", "POST", "/keys/secrets/create", &make(number));
    let ask = |id: &str| scene.own("amy1", "POST", &format!("/approvals/{id}/request"), &json!({"note": note})).body().clone();
    let details = |id: &str| scene.get("bob1", &format!("/approvals/{id}")).body().clone();
    let id = draft(1);
    for number in 2..=30 {
        assert_eq!(draft(number), id);
    }
    scene.send("amy1", "DELETE", &format!("/approvals/{id}/changes/3"), &[], None).body();
    ask(&id);
    scene.approve("bob1", &id);
    let denied = draft(31);
    ask(&denied);
    scene.decide("cat1", &denied, "deny", &json!({"reason": reason})).body();
    let withdrawn = draft(32);
    ask(&withdrawn);
    scene.decide("amy1", &withdrawn, "withdraw", &json!({})).body();
    let expired = draft(33);
    ask(&expired);
    scene.installation.database().run(&format!("UPDATE change_requests SET expires_at = 1 WHERE id = '{expired}'"));
    scene.wait_for(&expired, "EXPIRED");
    let failed = draft(34);
    ask(&failed);
    scene.installation.database().run("UPDATE keys SET name = 'taken' WHERE state = 'ACTIVE' AND name LIKE '1\"%'");
    scene.installation.database().run(&format!("UPDATE keys SET name = '{}' WHERE name = 'taken'", name(34)));
    assert_eq!(scene.decide("bob1", &failed, "approve", &json!({})).status, 200);
    scene.wait_for(&failed, "FAILED");
    let log = Log::of(&scene.installation);
    assert!(!format!("{:?}", log.0).contains("very hidden"), "no secret");
    log.tells_what_was_applied(&id, "amy", "bob", &details(&id));
    for id in [&denied, &withdrawn, &expired, &failed] {
        log.tells_what_was_asked(id, "amy", &details(id));
    }
    assert_eq!(log.tells_its_end("DENY_REQUEST", &denied, "amy", ", denied by cat"), reason);
    assert_eq!(log.tells_its_end("WITHDRAW_REQUEST", &withdrawn, "amy", ""), "");
    assert_eq!(log.tells_its_end("EXPIRE_REQUEST", &expired, "amy", ""), "");
    let why = log.tells_its_end("FAIL_REQUEST", &failed, "amy", ", approved by bob");
    assert!(why.starts_with("change 0 (CREATE_KEY keyId \"") && why == scene.reason(&failed), "{why}");
    assert_eq!(log.said("EDIT_DRAFT", &id).len(), 31);
    vec![(id, "APPLY"), (denied, "DENY"), (withdrawn, "WITHDRAW"), (expired, "EXPIRE"), (failed, "FAIL")]
}

/// An upload of the most entries there may be is in the log to the last one; what would be too much is refused.
fn the_largest_upload(scene: &Scene) {
    let una = Person::sign_in(&scene.installation, scene.running(), "una", PASSWORD);
    let store = scene.installation.database().number("number", &format!("key_stores WHERE name = '{STORE}'"));
    let at = format!("/projects/1/management/{store}/ipv4/csv");
    let csrf = una.get(&at).hidden("csrf");
    let file = |count: usize, description: &str| (0..count).map(|n| format!("172.16.{}.{},{n} {description}\n", n / 256, n % 256)).collect::<String>();
    let most = 10_000 - scene.count("client_rules WHERE method = 'IPV4' AND state <> 'DESTROYED'");
    let most = usize::try_from(most).expect("room");
    let refused = una.upload(&format!("{at}/register"), &csrf, file(most, &cut("열쇠", 120)).as_bytes());
    assert!(refused.status == 422 && refused.has("One request takes at most 100 changes, and 2 MiB of text."), "{}", refused.status);
    let drafted = una.upload(&format!("{at}/register"), &csrf, file(most, "approved by \"\"nobody").as_bytes());
    assert!(drafted.to.as_deref().is_some_and(|to| to.ends_with("?done=drafted")), "{}", drafted.status);
    let id = scene.installation.database().texts("id", "change_requests WHERE state = 'DRAFT'").remove(0);
    scene.own("mia1", "POST", &format!("/approvals/{id}/request"), &json!({"note": "all of it"})).body();
    scene.approve("bob1", &id);
    let log = Log::of(&scene.installation);
    let details = scene.get("bob1", &format!("/approvals/{id}")).body().clone();
    log.tells_what_was_applied(&id, "mia", "bob", &details);
    let (content, digest) = log.content(&id);
    let content: Value = serde_json::from_str(&content).expect("JSON");
    assert_eq!(content["changes"][0]["after"].as_array().map(Vec::len), Some(1 + 2 * most));
    // The file for spreadsheets has the same.
    let export = una.get("/projects/1/usage/download?operation=DESCRIBE_REQUEST");
    let mut rows = csv::Reader::from_reader(export.text.trim_start_matches('\u{feff}').as_bytes());
    let column = rows.headers().expect("names").iter().position(|name| name == "detail").expect("details");
    let mut parts: Vec<String> =
        rows.records().map(|row| row.expect("a row")[column].to_owned()).filter(|detail| detail.starts_with(&format!("request {id} "))).collect();
    parts.reverse();
    assert!(parts.len() > 30, "{}", parts.len());
    let whole: String = parts.iter().map(|detail| detail.split_once(": ").expect("a part").1).collect();
    assert_eq!(hash(&whole), digest);
    // The list says which part is which, and shows none of them until somebody asks.
    let list = una.get("/projects/1/usage?operation=DESCRIBE_REQUEST");
    assert!(list.has(&format!("1/{}", parts.len())) && list.bytes < 400_000 && !list.has("172.16."), "{} bytes", list.bytes);
}

/// Whatever is changed of what was asked for, decided and applied is found, and named.
fn what_is_altered_is_found(installation: &Installation, requests: &[(String, &str)]) {
    let file = installation.database_file();
    let kept = std::fs::read(&file).expect("the database");
    let id = &requests[0].0;
    let of = |operation: &str| format!("operation = '{operation}' AND result_code = 0 AND detail LIKE 'request {id} %'");
    let part = |number: usize| format!("{} AND detail LIKE 'request {id} part {number}/%'", of("DESCRIBE_REQUEST"));
    let set = |what: &str, only: &str| format!("UPDATE audit_records SET {what} WHERE {only}");
    let drop = |only: &str| format!("DELETE FROM audit_records WHERE {only}");
    for (statement, finding) in [
        (set("detail = replace(detail, 'mallory', 'someone')", &part(1)), "what the log has of it is not what its digest says"),
        (set("detail = replace(detail, 'mia', 'eve')", &part(2)), "what the log has of it is not what its digest says"),
        (drop(&part(2)), "part 2 of what was asked for is missing"),
        (drop(&of("REQUEST_APPROVAL")), "never asked for"),
        (set("detail = replace(detail, 'by amy', 'by eve')", &of("REQUEST_APPROVAL")), "what was decided or applied is not what was asked for"),
        (set("detail = replace(detail, 'approved by bob', 'approved by cat')", &of("APPROVE_REQUEST")), "somebody else decided than its record says"),
        (set("detail = replace(detail, 'approved by bob', 'approved by mia')", &of("APPROVE_REQUEST")), "asked for it, or for some of it"),
        (set("detail = replace(detail, 'approved by bob', 'approved by amy')", &of("APPROVE_REQUEST")), "asked for it, or for some of it"),
        (drop(&of("APPROVE_REQUEST")), "nobody had approved it"),
        (set("operation = 'DENY_REQUEST'", &of("APPROVE_REQUEST")), "its decision is recorded as another one"),
        (drop(&format!("request = '{id}' AND operation = 'CREATE_KEY' AND detail LIKE '%, change 7, %'")), "are not those that were asked for"),
        (set("operation = 'ROTATE_KEY'", &format!("request = '{id}' AND detail LIKE '%, change 7, %'")), "are not those that were asked for"),
        (drop(&of("APPLY_REQUEST")), "some of it was applied, and not all of it"),
    ] {
        installation.database().run(&statement);
        let (code, told, problems) = installation.run(&["audit", "verify"]);
        let found = told.lines().any(|line| line.starts_with(&format!("ALTERED  request {id}: ")) && line.contains(finding));
        assert!(code != 0 && found, "{statement}: {told}{problems}");
        for suffix in ["-wal", "-shm"] {
            std::fs::remove_file(format!("{}{suffix}", file.display())).ok();
        }
        std::fs::write(&file, &kept).expect("restored");
    }
    crate::faults::settled::audit_is_intact(installation);
}

fn recorded(cluster: Option<&Cluster>) {
    let mut scene = Scene::ungoverned(installation(cluster), cluster);
    make_account(&scene.installation, "una", &[("APPROVAL MEMBER", "demo")]);
    scene.turn_on();
    let requests = words_of_people(&scene);
    the_largest_upload(&scene);
    // Records of one request are in the chains of two processes.
    let id = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": "later"}));
    let (status, log) = scene.running.take().expect("a running service").stop();
    assert!(status.success(), "{log}");
    crate::faults::settled::audit_is_intact(&scene.installation);
    scene.restart();
    scene.approve("bob1", &id);
    let details = scene.get("bob1", &format!("/approvals/{id}")).body().clone();
    Log::of(&scene.installation).tells_what_was_applied(&id, "amy", "bob", &details);
    if cluster.is_some() {
        return scene.finish();
    }
    let (status, log) = scene.running.take().expect("a running service").stop();
    assert!(status.success(), "{log}");
    what_is_altered_is_found(&scene.installation, &requests);
}

#[test]
fn recorded_on_sqlite() {
    recorded(None);
}

#[test]
fn recorded_on_postgresql() {
    recorded(Some(&Cluster::start()));
}

/// Whoever goes round the gate, here by the database, leaves a change in the log that nobody was asked for.
#[test]
fn a_change_past_the_gate_is_found() {
    let mut scene = Scene::governed(installation(None), None);
    let make = |name: &str| json!({"keyStoreName": STORE, "name": name});
    let id = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &make("asked for"));
    scene.approve("bob1", &id);
    let stop = |scene: &mut Scene| {
        let (status, log) = scene.running.take().expect("a running service").stop();
        assert!(status.success(), "{log}");
    };
    stop(&mut scene);
    crate::faults::settled::audit_is_intact(&scene.installation);
    scene.installation.database().run("UPDATE governance SET approval = FALSE");
    // Two processes of a node tell by its clock what was first, but for a second.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    scene.restart();
    scene.own("amy1", "POST", "/keys/symmetric-keys/create", &make("alone")).body();
    stop(&mut scene);
    let (code, told, problems) = scene.installation.run(&["audit", "verify"]);
    let findings: Vec<&str> = told.lines().filter(|line| line.starts_with("ALTERED")).collect();
    let is_told = |line: &str| line.contains(" changes project ") && line.ends_with("which had approval on, and nobody was asked for it");
    assert!(code != 0 && findings.len() == 1 && is_told(findings[0]), "{told}{problems}");
}
