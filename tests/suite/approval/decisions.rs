//! Decisions: by whom, when, and what a request that isn't applied leaves: nothing.

use serde_json::{Value, json};

use super::{STORE, Scene, installation, refused};
use crate::support::installation::Answer;
use crate::support::postgres::Cluster;

const IMPORT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn new_key(name: &str) -> Value {
    json!({"keyStoreName": STORE, "name": name})
}

/// Asks for an imported key, which is in the token already.
fn ask_for_import(scene: &Scene, key: &str, name: &str) -> String {
    scene.ask(key, "POST", "/keys/symmetric-keys/import", &json!({"keyStoreName": STORE, "name": name, "keyData": IMPORT}))
}

fn waiting_objects(scene: &Scene) -> i64 {
    scene.count("token_objects WHERE state = 'PROVISIONING'")
}

/// Nobody decides upon his own, with whichever access key; nor without the role, nor with an access key that may not.
fn not_by_everybody(scene: &Scene) {
    let id = scene.ask("bob1", "POST", "/keys/symmetric-keys/create", &new_key("bob's own"));
    for key in ["bob1", "bob2"] {
        refused(&scene.decide(key, &id, "approve", &json!({})), 403, "Own Approval Request");
        refused(&scene.decide(key, &id, "deny", &json!({"reason": "r"})), 403, "Own Approval Request");
    }
    for key in ["amy1", "mia1", "dan1", "viv1"] {
        refused(&scene.decide(key, &id, "approve", &json!({})), 403, "Forbidden");
        refused(&scene.decide(key, &id, "deny", &json!({"reason": "r"})), 403, "Forbidden");
    }
    scene.operator(&["access-key", "set", "cat1", "--may-approve", "off"]);
    refused(&scene.decide("cat1", &id, "approve", &json!({})), 403, "Forbidden");
    let (code, _, told) = scene.installation.run(&["admin", "access-key", "set", "cat1", "--may-approve", "on"]);
    assert_eq!((code, told.trim_end()), (1, "skm: Approval Required"), "nobody gives himself an accomplice");
    let allowed = super::asked(
        &scene.own("dan1", "POST", "/approvals", &json!({"change": "SET_MAY_APPROVE", "accessKeyId": "cat1", "mayApprove": "Y", "note": "n"})),
        "READY",
    );
    scene.approve("bob2", &allowed);
    refused(&scene.decide("cat1", &id, "approve", &json!({"digest": "0".repeat(64)})), 409, "Conflict");
    let digest = scene.get("cat1", &format!("/approvals/{id}")).text("digest");
    let approved = scene.decide("cat1", &id, "approve", &json!({"digest": digest}));
    assert_eq!(approved.status, 200, "{approved:?}");
    scene.wait_for(&id, "APPROVED");
    for what in ["approve", "deny", "withdraw"] {
        let key = if what == "withdraw" { "bob1" } else { "cat1" };
        refused(&scene.decide(key, &id, what, &json!({"reason": "r"})), 409, "Invalid Approval Request Status");
    }
    for unknown in ["0".repeat(32), "x".to_owned()] {
        refused(&scene.decide("cat1", &unknown, "approve", &json!({})), 404, "Invalid Approval Request");
        refused(&scene.get("cat1", &format!("/approvals/{unknown}")), 404, "Invalid Approval Request");
    }
    assert!(scene.decide("cat1", &id, "deny", &json!({})).refusal().starts_with("reason is required"));
}

/// Denied, withdrawn and expired: nothing is left of it.
fn nothing_comes_of_it(scene: &Scene) {
    let before = scene.snapshot();
    let denied = ask_for_import(scene, "amy1", "denied");
    assert_eq!(waiting_objects(scene), 1);
    let again = scene.send("mia1", "POST", "/keys/symmetric-keys/create", &[("x-skm-approval-note", "n")], Some(&new_key("second")));
    refused(&again, 409, "Open Approval Request");
    let answer = scene.decide("bob1", &denied, "deny", &json!({"reason": "because not"}));
    assert_eq!((answer.text("approvalStatus"), answer.text("reason")), ("DENIED".to_owned(), "because not".to_owned()));
    let withdrawn = ask_for_import(scene, "amy1", "withdrawn");
    refused(&scene.decide("mia1", &withdrawn, "withdraw", &json!({})), 403, "Forbidden");
    scene.decide("amy1", &withdrawn, "withdraw", &json!({})).body();
    let expired = ask_for_import(scene, "amy1", "expired");
    scene.installation.database().run(&format!("UPDATE change_requests SET expires_at = 1 WHERE id = '{expired}'"));
    refused_or_gone(&scene.decide("bob1", &expired, "approve", &json!({})));
    scene.wait_for(&expired, "EXPIRED");
    crate::faults::settled::wait_until_settled(&scene.installation);
    assert_eq!(scene.snapshot(), before);
    assert_eq!(scene.count("keys WHERE name = 'denied' OR name = 'withdrawn' OR name = 'expired'"), 0, "a name is given with the rest");
    for (id, operation) in [(&denied, "DENY_REQUEST"), (&withdrawn, "WITHDRAW_REQUEST"), (&expired, "EXPIRE_REQUEST")] {
        let told = scene.count(&format!("audit_records WHERE operation = '{operation}' AND result_code = 0 AND detail LIKE 'request {id} by amy%, SHA-256 %'"));
        assert_eq!(told, 1, "{operation}");
    }
}

fn refused_or_gone(answer: &Answer) {
    refused(answer, 409, "Invalid Approval Request Status");
}

/// What was changed meanwhile, or whoever is no longer who he was, makes it fail, and nothing is left.
fn failed(scene: &Scene) {
    let id = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &new_key("rests"));
    scene.approve("bob1", &id);
    let key = scene.key("rests").expect("a key");
    let fails = |id: &str, before: &str, after: &str, why: &str| {
        scene.installation.database().run(before);
        let snapshot = scene.snapshot();
        let answer = scene.decide("bob1", id, "approve", &json!({}));
        assert_eq!(answer.status, 200, "{answer:?}");
        scene.wait_for(id, "FAILED");
        assert!(scene.reason(id).contains(why), "{}", scene.reason(id));
        assert_eq!(scene.snapshot(), snapshot, "{why}");
        assert_eq!(scene.count(&format!("audit_records WHERE request = '{id}' AND operation = 'FAIL_REQUEST'")), 1);
        scene.installation.database().run(after);
    };
    let touched = format!("UPDATE keys SET changed_at = changed_at + 1 WHERE id = '{key}'");
    let id = scene.ask("amy1", "POST", &format!("/keys/{key}/rotate"), &json!({}));
    fails(&id, &touched, "SELECT 1", "ROTATE_KEY");
    let id = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &new_key("taken meanwhile"));
    fails(
        &id,
        &format!("UPDATE keys SET name = 'taken meanwhile' WHERE id = '{key}'"),
        &format!("UPDATE keys SET name = 'rests' WHERE id = '{key}'"),
        "a key of that name exists",
    );
    let id = ask_for_import(scene, "amy1", "altered");
    let altered = format!("UPDATE change_items SET change = replace(change, 'altered', 'forged!') WHERE request_id = '{id}'");
    fails(&id, &altered, "SELECT 1", "the digest is another");
    let secret = json!({"keyStoreName": STORE, "name": "sealed", "secretValue": "v"});
    let id = scene.ask("amy1", "POST", "/keys/secrets/create", &secret);
    let altered = format!("UPDATE change_items SET sealed = (SELECT secret_hash FROM access_keys LIMIT 1) WHERE request_id = '{id}'");
    fails(&id, &altered, "SELECT 1", "the sealed part of change 0 is another");
    let id = ask_for_import(scene, "mia1", "asker gone");
    let disable = |on: bool| format!("UPDATE accounts SET enabled = {on} WHERE login = 'mia'");
    fails(&id, &disable(false), &disable(true), "whoever asked may not ask any more");
    // The approver's own standing is looked at when he decides, and again in the transaction that applies it.
    let id = ask_for_import(scene, "amy1", "approver gone");
    scene.installation.database().run("UPDATE account_roles SET role = 'VIEWER' WHERE account_id = (SELECT id FROM accounts WHERE login = 'bob')");
    refused(&scene.decide("bob1", &id, "approve", &json!({})), 403, "Forbidden");
    scene.installation.database().run("UPDATE account_roles SET role = 'APPROVAL ADMIN' WHERE account_id = (SELECT id FROM accounts WHERE login = 'bob')");
    scene.decide("amy1", &id, "withdraw", &json!({})).body();
    crate::faults::settled::wait_until_settled(&scene.installation);
}

/// Of two who decide at the same moment, one wins.
fn one_wins(scene: &Scene) {
    for round in 0..4 {
        let id = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &new_key(&format!("raced {round}")));
        let others: [(&str, &str, Value); 4] =
            [("bob1", "approve", json!({})), ("cat1", "approve", json!({})), ("bob2", "deny", json!({"reason": "r"})), ("amy1", "withdraw", json!({}))];
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asked: Vec<_> = others.iter().map(|(key, what, body)| scope.spawn(|| scene.decide(key, &id, what, body))).collect();
            asked.into_iter().map(|asked| asked.join().expect("an answer")).collect()
        });
        let winners: Vec<_> = answers.iter().zip(&others).filter(|(answer, _)| answer.status == 200).map(|(_, (key, what, _))| (*key, *what)).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        answers.iter().filter(|answer| answer.status != 200).for_each(refused_or_gone);
        let expected = match winners[0].1 {
            "approve" => "APPROVED",
            "deny" => "DENIED",
            _ => "WITHDRAWN",
        };
        scene.wait_for(&id, expected);
        assert_eq!(scene.key(&format!("raced {round}")).is_some(), expected == "APPROVED");
    }
}

fn decisions(cluster: Option<&Cluster>) {
    let scene = Scene::ungoverned(installation(cluster), cluster);
    // Off, it means nothing.
    let made = scene.send("amy1", "POST", "/keys/symmetric-keys/create", &[("x-skm-approval-note", "n")], Some(&new_key("at once")));
    assert_eq!(made.status, 200, "{made:?}");
    scene.turn_on();
    not_by_everybody(&scene);
    nothing_comes_of_it(&scene);
    failed(&scene);
    one_wins(&scene);
    scene.finish();
}

#[test]
fn decisions_on_sqlite() {
    decisions(None);
}

#[test]
fn decisions_on_postgresql() {
    decisions(Some(&Cluster::start()));
}

/// What was to be made is in the token: the token going away meanwhile must not lose it, nor apply a part of it.
#[test]
fn a_job_that_cannot_go_on_is_taken_over() {
    let mut scene = Scene::governed(crate::faults::settled::short_leases(installation(None)), None);
    let id = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &new_key("taken over"));
    // As a process left it that died right after the approval.
    scene.running.take().expect("a running service").kill();
    scene.installation.database().run(&format!(
        "UPDATE change_requests SET state = 'APPLYING', decider = 'bob', decider_id = (SELECT id FROM accounts WHERE login = 'bob'), decided_at = 1,
         node = 'dead', lease_until = 1, attempts = 1 WHERE id = '{id}'"
    ));
    scene.restart();
    scene.wait_for(&id, "APPROVED");
    assert!(scene.key("taken over").is_some());
    let taken_over = id;
    let id = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &new_key("given up"));
    scene.running.take().expect("a running service").kill();
    scene.installation.database().run(&format!(
        "UPDATE change_requests SET state = 'APPLYING', decider = 'bob', decider_id = (SELECT id FROM accounts WHERE login = 'bob'), decided_at = 1,
         node = 'dead', lease_until = 1, attempts = 5 WHERE id = '{id}'"
    ));
    scene.restart();
    scene.wait_for(&id, "FAILED");
    assert!(scene.reason(&id).contains("begun 5 times") && scene.key("given up").is_none(), "{}", scene.reason(&id));
    let (status, log) = scene.running.take().expect("a running service").stop();
    assert!(status.success(), "{log}");
    crate::faults::settled::token_and_database_agree(&scene.installation);
    // Whoever can write to the database can have it that somebody approved; the log knows nothing of it.
    let (code, told, _) = scene.installation.run(&["audit", "verify"]);
    let findings: Vec<&str> = told.lines().filter(|line| line.starts_with("ALTERED")).collect();
    let finding = |id: &str| format!("ALTERED  request {id}: it was applied, or failed, and nobody had approved it");
    assert!(code != 0 && findings.len() == 2 && [taken_over, id].iter().all(|id| findings.contains(&finding(id).as_str())), "{told}");
}

/// What somebody asks of the project falls with his role; and a role is granted to the account as it was when that was asked for, and to none of
/// the access keys that somebody has made for it.
#[test]
fn roles_are_granted_to_whom_they_were_asked_for() {
    let scene = Scene::governed(installation(None), None);
    let grant = json!({"change": "GRANT_ROLE", "login": "amy", "role": "APPROVAL ADMIN", "note": "n"});
    let ask = || super::asked(&scene.own("dan1", "POST", "/approvals", &grant), "READY");
    let fails = |id: &str, change: &str, why: &str| {
        scene.installation.database().run(change);
        assert_eq!(scene.decide("bob1", id, "approve", &json!({})).status, 200);
        scene.wait_for(id, "FAILED");
        assert!(scene.reason(id).contains(why), "{}", scene.reason(id));
    };
    let role_of_dan = |role: &str| format!("UPDATE account_roles SET role = '{role}' WHERE account_id = (SELECT id FROM accounts WHERE login = 'dan')");
    fails(&ask(), &role_of_dan("APPROVAL MEMBER"), "whoever asked may not ask any more");
    scene.installation.database().run(&role_of_dan("ADMIN"));
    fails(&ask(), "UPDATE accounts SET changed_at = changed_at + 1 WHERE login = 'amy'", "GRANT_ROLE");
    scene.installation.database().run("UPDATE access_keys SET may_approve = TRUE WHERE id = 'amy1'");
    scene.approve("bob1", &ask());
    assert_eq!(scene.count("access_keys WHERE id = 'amy1' AND may_approve"), 0);
    let id = scene.ask("mia1", "POST", "/keys/symmetric-keys/create", &new_key("of mia"));
    refused(&scene.decide("amy1", &id, "approve", &json!({})), 403, "Forbidden");
    scene.decide("mia1", &id, "withdraw", &json!({})).body();
    scene.finish();
}

/// Whoever asks and withdraws, again and again, comes to an end: the audit log keeps all of it.
fn as_often_as_one_likes(cluster: Option<&Cluster>) {
    let scene = Scene::governed(installation(cluster), cluster);
    let draft = scene.draft("mia1", "POST", "/keys/symmetric-keys/create", &new_key("drafted"));
    let half_an_hour_ago = crate::clockwork::now() - 1_800_000_000;
    let asked = (0..500).map(|number| format!("('{number:032x}', {half_an_hour_ago} + {number})")).collect::<Vec<_>>().join(", ");
    scene.installation.database().run(&format!(
        "WITH earlier (id, at) AS (VALUES {asked})
         INSERT INTO change_requests (id, project_id, new_key_store, state, requester_id, requester, note, created_at, requested_at, expires_at, attempts)
         SELECT earlier.id, projects.id, FALSE, 'WITHDRAWN', accounts.id, 'mia', 'n', at, at, at, 0 FROM earlier, projects, accounts
         WHERE projects.name = 'demo' AND accounts.login = 'mia'"
    ));
    let before = scene.snapshot();
    let note = [("x-skm-approval-note", "n")];
    let create = |key: &str, name: &str| scene.send(key, "POST", "/keys/symmetric-keys/create", &note, Some(&new_key(name)));
    let ask_for_it = || scene.own("mia1", "POST", &format!("/approvals/{draft}/request"), &json!({"note": "n"}));
    for answer in [create("mia1", "one more"), ask_for_it()] {
        refused(&answer, 429, "Too Many Requests");
        assert!(answer.retry_after.is_some_and(|seconds| (1_700..=1_801).contains(&seconds)), "{answer:?}");
    }
    assert_eq!((scene.status(&draft).as_str(), scene.snapshot() == before), ("DRAFT", true));
    // The oldest of them was asked for more than an hour ago.
    scene.installation.database().run(&format!("UPDATE change_requests SET requested_at = requested_at - 3600000000 WHERE id = '{:032x}'", 0));
    ask_for_it().body();
    refused(&create("mia1", "one more"), 429, "Too Many Requests");
    // Others ask as ever.
    scene.approve("bob1", &draft);
    let of_amy = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &new_key("of amy"));
    scene.decide("amy1", &of_amy, "withdraw", &json!({})).body();
    scene.finish();
}

#[test]
fn nobody_asks_as_often_as_he_likes_on_sqlite() {
    as_often_as_one_likes(None);
}

#[test]
fn nobody_asks_as_often_as_he_likes_on_postgresql() {
    as_often_as_one_likes(Some(&Cluster::start()));
}

/// A token that was restored, or lost something: what was made with the draft is looked for before the key comes into service.
#[test]
fn what_the_token_has_lost_fails() {
    let scene = Scene::governed(installation(None), None);
    let files = || crate::clockwork::missing::object_files(&scene.installation);
    let there = files();
    let id = ask_for_import(&scene, "amy1", "lost");
    let before = scene.snapshot();
    let made: Vec<_> = files().into_iter().filter(|file| !there.contains(file)).collect();
    assert!(!made.is_empty());
    made.iter().for_each(|file| std::fs::remove_file(file).expect("removed"));
    assert_eq!(scene.decide("bob1", &id, "approve", &json!({})).status, 200);
    scene.wait_for(&id, "FAILED");
    assert!(scene.reason(&id).contains("lack the key in the token that was made for number 0"), "{}", scene.reason(&id));
    assert_eq!((scene.key("lost"), scene.snapshot() == before), (None, true));
    scene.finish();
}
