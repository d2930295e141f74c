//! Nobody alone comes to hold two identities of a project with approval on: passwords in two parts, accounts that are enabled again, access keys
//! that somebody else made, and the last ones who are left.

use serde_json::{Value, json};

use super::{PATIENCE, STORE, Scene, asked, installation, refused};
use crate::console::person::Person;
use crate::faults::load::wait_until;
use crate::faults::settled::short_leases;
use crate::support::installation::Running;
use crate::support::postgres::Cluster;

const FIRST_PART: &str = "what dan has typed";

fn ask_of_project(scene: &Scene, body: &Value) -> String {
    let mut body = body.clone();
    body["note"] = json!("because");
    asked(&scene.own("dan1", "POST", "/approvals", &body), "READY")
}

fn new_account(login: &str) -> Value {
    json!({"change": "CREATE_ACCOUNT", "login": login, "role": "APPROVAL ADMIN", "password": FIRST_PART})
}

fn signs_in(scene: &Scene, login: &str, password: &str) -> bool {
    let page = Person::stranger(&scene.installation, scene.running()).post("/sign-in", &[("login", login), ("password", password)]);
    assert!([303, 401].contains(&page.status), "{}: {}", page.status, page.text);
    page.status == 303
}

/// The second part, as whoever approves gets it.
fn approved_part(scene: &Scene, key: &str, id: &str) -> String {
    let answer = scene.decide(key, id, "approve", &json!({}));
    let part = answer.text("passwordPart");
    scene.wait_for(id, "APPROVED");
    let groups: Vec<&str> = part.split('-').collect();
    assert!(groups.len() == 4 && groups.iter().all(|group| group.len() == 5), "{part}");
    part
}

/// What is kept anywhere in the database, but for hashes of passwords of accounts.
fn holds(scene: &Scene, text: &str) -> bool {
    let mut database = scene.installation.database();
    let hex = hex::encode(text);
    let kept = [
        ("change || base || COALESCE(password_hash, '')", "change_items"),
        ("note || COALESCE(reason, '')", "change_requests"),
        ("COALESCE(detail, '')", "audit_records"),
        ("facts", "notification_messages"),
    ];
    let sealed = match scene.installation.database() {
        crate::support::raw_database::RawDatabase::Sqlite(_) => "lower(hex(sealed))",
        crate::support::raw_database::RawDatabase::Postgresql(_) => "encode(sealed, 'hex')",
    };
    let in_sealed = database.texts(&format!("COALESCE({sealed}, '')"), "change_items").iter().any(|kept| kept.contains(&hex));
    in_sealed || kept.iter().any(|(what, from)| database.texts(what, from).iter().any(|kept| kept.contains(text)))
}

/// Whoever asks knows the one half of the password, whoever approves the other, and neither signs in.
fn passwords(scene: &Scene) {
    for wrong in ["short", &"p".repeat(234)] {
        let body = json!({"change": "CREATE_ACCOUNT", "login": "eve", "role": "ADMIN", "password": wrong, "note": "n"});
        assert!(scene.own("dan1", "POST", "/approvals", &body).refusal().starts_with("password must have 12 characters or more and at most 233 bytes"));
    }
    let id = ask_of_project(scene, &new_account("eve"));
    assert!(!holds(scene, FIRST_PART) && !holds(scene, "argon"), "the first part is sealed");
    assert_eq!(scene.count("change_items WHERE sealed IS NOT NULL"), 1);
    // Whoever may not approve opens nothing.
    refused(&scene.decide("dan1", &id, "approve", &json!({})), 403, "Forbidden");
    refused(&scene.decide("bob1", &id, "approve", &json!({"digest": "0".repeat(64)})), 409, "Conflict");
    let second_part = approved_part(scene, "bob1", &id);
    let read = scene.get("bob1", &format!("/approvals/{id}"));
    assert!(!read.body().to_string().contains(&second_part), "it is shown once");
    for half in [FIRST_PART, &second_part] {
        assert!(!signs_in(scene, "eve", half), "{half}");
        assert!(!holds(scene, half) && !scene.running().log().contains(half), "{half} is kept somewhere");
    }
    assert_eq!(scene.count("change_items WHERE sealed IS NOT NULL OR password_hash IS NOT NULL"), 0);
    assert_eq!(scene.count("accounts WHERE login = 'eve' AND must_change_password AND password_hash LIKE '$argon2id$%'"), 1);
    assert!(signs_in(scene, "eve", &format!("{FIRST_PART}{second_part}")));
    // Another password comes in two parts as well.
    let id = ask_of_project(scene, &json!({"change": "RESET_PASSWORD", "login": "eve", "password": FIRST_PART}));
    let another = approved_part(scene, "cat1", &id);
    assert_ne!(another, second_part);
    assert!(!signs_in(scene, "eve", &format!("{FIRST_PART}{second_part}")));
    assert!(signs_in(scene, "eve", &format!("{FIRST_PART}{another}")));
    assert_eq!(scene.count("console_sessions"), 1, "those of the other password have ended");
    // Of what is denied nothing is left, and of what sets no password there is no part.
    let id = ask_of_project(scene, &new_account("gus"));
    let denied = scene.decide("bob1", &id, "deny", &json!({"reason": "no"}));
    assert_eq!((denied.text("approvalStatus").as_str(), scene.count("change_items WHERE sealed IS NOT NULL")), ("DENIED", 0));
    let id = ask_of_project(scene, &json!({"change": "CHANGE_EXPIRY", "expiryDays": 20}));
    assert_eq!(scene.decide("bob1", &id, "approve", &json!({})).body()["passwordPart"], Value::Null);
    scene.operator(&["account", "disable", "eve"]);
}

/// What was enabled before is not enabled again by one alone, and neither is what an access key may.
fn enabling(scene: &Scene) {
    let status = scene.operator(&["approval", "status", "--project", "demo"]);
    assert!(status.contains("disabled   eve\n") && status.contains("key        bob1 approves for bob, made by an operator"), "{status}");
    let (code, _, told) = scene.installation.run(&["admin", "account", "enable", "eve"]);
    assert_eq!((code, told.trim_end()), (1, "skm: Approval Required"));
    let enable = |login: &str| json!({"change": "ENABLE_ACCOUNT", "login": login, "note": "n"});
    assert_eq!(scene.own("dan1", "POST", "/approvals", &enable("bob")).refusal(), "login names an account that is enabled");
    assert_eq!(scene.own("dan1", "POST", "/approvals", &enable("nobody")).refusal(), "login names no account");
    let is_enabled = || scene.count("accounts WHERE login = 'eve' AND enabled") == 1;
    let id = ask_of_project(scene, &enable("eve"));
    assert!(!is_enabled());
    scene.approve("bob1", &id);
    assert!(is_enabled());
    // Two of this project don't decide upon what is more than this project's.
    scene.operator(&["project", "create", "third"]);
    let reset = json!({"change": "RESET_PASSWORD", "login": "eve", "password": FIRST_PART, "note": "n"});
    for (more, less, problem) in [
        ("UPDATE accounts SET administrator = TRUE", "UPDATE accounts SET administrator = FALSE", "administers the installation"),
        (
            "UPDATE accounts SET enabled = FALSE, administrator = TRUE",
            "UPDATE accounts SET enabled = TRUE, administrator = FALSE",
            "administers the installation",
        ),
    ] {
        scene.installation.database().run(&format!("{more} WHERE login = 'eve'"));
        let asked = scene.own("dan1", "POST", "/approvals", &if more.contains("enabled") { enable("eve") } else { reset.clone() });
        assert!(asked.status == 400 && asked.refusal().contains(problem), "{asked:?}");
        scene.installation.database().run(&format!("{less} WHERE login = 'eve'"));
    }
    scene.operator(&["role", "grant", "eve", "VIEWER", "--project", "third"]);
    assert!(scene.own("dan1", "POST", "/approvals", &reset).refusal().contains("a role in another project"));
    scene.operator(&["role", "revoke", "eve", "VIEWER", "--project", "third"]);
    // An access key that was disabled, or whose account was, approves nothing once it is enabled again.
    let request = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": "never"}));
    scene.operator(&["access-key", "disable", "bob2"]);
    let wanted = json!({"change": "SET_MAY_APPROVE", "accessKeyId": "bob2", "mayApprove": "Y", "note": "n"});
    assert!(scene.own("dan1", "POST", "/approvals", &wanted).refusal().starts_with("id names an access key that is disabled"));
    let (code, _, told) = scene.installation.run(&["admin", "access-key", "enable", "bob2"]);
    assert_eq!((code, told.trim_end()), (1, "skm: Approval Required"), "its owner does that");
    scene.installation.database().run("UPDATE access_keys SET enabled = TRUE WHERE id = 'bob2'");
    assert_eq!(scene.count("access_keys WHERE id = 'bob2' AND may_approve"), 0);
    let token = scene.tokens["bob2"].clone();
    let again = scene.running().ask("POST", &scene.path(&format!("/approvals/{request}/approve")), &[("x-nhn-authorization", &token)], Some(&json!({})));
    assert!([401, 403].contains(&again.status), "{again:?}");
    scene.decide("amy1", &request, "withdraw", &json!({})).body();
}

fn made_by(scene: &Scene, key: &str, login: &str) {
    let maker = format!("UPDATE access_keys SET maker_id = (SELECT id FROM accounts WHERE login = '{login}') WHERE id = '{key}'");
    scene.installation.database().run(&maker);
}

/// An access key approves nothing that whoever made it has asked for, or had a hand in.
fn makers(scene: &Scene) {
    made_by(scene, "bob1", "amy");
    let new_key = |name: &str| json!({"keyStoreName": STORE, "name": name});
    let own = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &new_key("by amy"));
    for (what, body) in [("approve", json!({})), ("deny", json!({"reason": "r"}))] {
        refused(&scene.decide("bob1", &own, what, &body), 403, "Own Approval Request");
    }
    scene.approve("cat1", &own);
    let id = scene.draft("amy1", "POST", "/keys/symmetric-keys/create", &new_key("edited by amy"));
    scene.own("mia1", "POST", &format!("/approvals/{id}/request"), &json!({"note": "n"})).body();
    refused(&scene.decide("bob1", &id, "approve", &json!({})), 403, "Own Approval Request");
    scene.decide("mia1", &id, "withdraw", &json!({})).body();
    // Whoever made the access key that asks, or that puts something into a draft, could have done that himself.
    made_by(scene, "amy1", "bob");
    let by_key = scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &new_key("asked with bob's"));
    for (what, body) in [("approve", json!({})), ("deny", json!({"reason": "r"}))] {
        refused(&scene.decide("bob1", &by_key, what, &body), 403, "Own Approval Request");
    }
    scene.decide("amy1", &by_key, "withdraw", &json!({})).body();
    let drafted = scene.draft("amy1", "POST", "/keys/symmetric-keys/create", &new_key("drafted with bob's"));
    scene.own("mia1", "POST", &format!("/approvals/{drafted}/request"), &json!({"note": "n"})).body();
    refused(&scene.decide("bob1", &drafted, "approve", &json!({})), 403, "Own Approval Request");
    scene.decide("mia1", &drafted, "withdraw", &json!({})).body();
    scene.installation.database().run("UPDATE access_keys SET maker_id = NULL WHERE id = 'amy1'");
    // Of somebody else it approves, and so does one that the account made itself.
    for maker in ["amy", "bob"] {
        made_by(scene, "bob1", maker);
        let id = scene.ask("mia1", "POST", "/keys/symmetric-keys/create", &new_key(&format!("by mia, key of {maker}")));
        scene.approve("bob1", &id);
        assert_eq!(scene.installation.database().texts("decider_key", &format!("change_requests WHERE id = '{id}'")), ["bob1"]);
    }
}

/// Nobody disables the last one who is needed.
fn the_last_ones(scene: &Scene) {
    for login in ["eve", "bob"] {
        scene.operator(&["account", "disable", login]);
    }
    let before = scene.snapshot();
    let (code, _, told) = scene.installation.run(&["admin", "account", "disable", "cat"]);
    assert!(code == 1 && told.contains("login names an account that project demo needs, which has approval on"), "{told}");
    assert_eq!(scene.snapshot(), before);
    // Somebody who asks is left, however many are gone.
    let people = super::PEOPLE.map(|(login, ..)| format!("'{login}'")).join(", ");
    let others = format!("SELECT id FROM accounts WHERE login NOT IN ({people})");
    scene.installation.database().run(&format!("DELETE FROM account_roles WHERE account_id IN ({others})"));
    for login in ["amy", "mia", "dan"] {
        let (code, _, told) = scene.installation.run(&["admin", "account", "disable", login]);
        assert_eq!(code == 0, login != "dan", "{login}: {told}");
    }
    assert_eq!(scene.count("access_keys WHERE may_approve AND account_id = (SELECT id FROM accounts WHERE login = 'bob')"), 0);
    let ids = "SELECT id FROM accounts WHERE login IN ('bob', 'amy', 'mia')";
    scene.installation.database().run(&format!("UPDATE accounts SET enabled = TRUE WHERE id IN ({ids})"));
}

fn custody(cluster: Option<&Cluster>) {
    let scene = Scene::ungoverned(installation(cluster), cluster);
    // What one alone has allowed counts for nothing.
    scene.operator(&["approval", "enable", "--project", "demo"]);
    assert_eq!(scene.count("access_keys WHERE may_approve"), 0);
    let record = scene.installation.database().texts("detail", "audit_records WHERE operation = 'TURN_APPROVAL_ON' AND result_code = 0");
    let taken = "\"demo\": 3 access keys may not approve any more: bob1, bob2, cat1";
    assert!(record.len() == 1 && record[0].starts_with(taken), "{record:?}");
    scene.operator(&["approval", "disable", "--project", "demo", "--reason", "to begin again"]);
    scene.turn_on();
    passwords(&scene);
    enabling(&scene);
    makers(&scene);
    the_last_ones(&scene);
    scene.finish();
}

#[test]
fn nobody_holds_two_on_sqlite() {
    custody(None);
}

#[test]
fn nobody_holds_two_on_postgresql() {
    custody(Some(&Cluster::start()));
}

/// As a process leaves a request that died right after its approval.
fn abandon(scene: &mut Scene, id: &str, more: &str) {
    scene.running.take().expect("a running service").kill();
    scene.installation.database().run(&format!(
        "UPDATE change_requests SET state = 'APPLYING', decider = 'bob', decider_id = (SELECT id FROM accounts WHERE login = 'bob'), decided_at = 1,
         node = 'dead', lease_until = 1, attempts = 1, decider_key = 'bob1' WHERE id = '{id}'; {more}"
    ));
    scene.restart();
}

/// Another node applies what was approved, with the access key's standing as it is by then.
#[test]
fn a_job_that_is_taken_over_needs_both_parts_and_the_access_key() {
    let mut scene = Scene::governed(short_leases(installation(None)), None);
    let id = ask_of_project(&scene, &new_account("eve"));
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Cd5gIcVbSZUNIbN9RKnwLfQWdGh2pJ0bJf0Q5QbIv8U";
    abandon(&mut scene, &id, &format!("UPDATE change_items SET password_hash = '{hash}' WHERE request_id = '{id}'"));
    scene.wait_for(&id, "APPROVED");
    assert_eq!(scene.installation.database().texts("password_hash", "accounts WHERE login = 'eve'"), [hash]);
    let mut fails = |ask: &dyn Fn(&Scene) -> String, more: &str, why: &str| {
        let id = ask(&scene);
        let before = scene.snapshot();
        abandon(&mut scene, &id, more);
        scene.wait_for(&id, "FAILED");
        assert!(scene.reason(&id).contains(why), "{}", scene.reason(&id));
        let same = |row: &&String| !row.starts_with("access_keys");
        assert_eq!(scene.snapshot().iter().filter(same).collect::<Vec<_>>(), before.iter().filter(same).collect::<Vec<_>>());
    };
    fails(&|scene| ask_of_project(scene, &new_account("gus")), "SELECT 1", "has no second part");
    let key = |scene: &Scene| scene.ask("amy1", "POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": "never"}));
    let of_bob = |change: &str| format!("UPDATE access_keys SET {change} WHERE id = 'bob1'");
    let gone = "the access key that approved may not approve any more";
    fails(&key, &of_bob("may_approve = FALSE"), gone);
    fails(&key, &of_bob("may_approve = TRUE, enabled = FALSE"), gone);
    let made_by_amy = of_bob("enabled = TRUE, maker_id = (SELECT id FROM accounts WHERE login = 'amy')");
    fails(&key, &made_by_amy, "was made by somebody who asked for it");
    scene.finish_forged(5);
}

/// With the token away nothing is decided: the first part can't be opened.
#[test]
fn no_password_is_approved_while_the_token_is_away() {
    let scene = Scene::governed(installation(None), None);
    let id = ask_of_project(&scene, &new_account("eve"));
    let before = scene.snapshot();
    crate::faults::token_away::while_away(&scene.installation, scene.running(), || {
        let answer = scene.decide("bob1", &id, "approve", &json!({}));
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!((scene.status(&id).as_str(), scene.count("change_items WHERE password_hash IS NOT NULL")), ("READY", 0));
    });
    assert_eq!(scene.snapshot(), before);
    let second_part = approved_part(&scene, "bob1", &id);
    assert!(signs_in(&scene, "eve", &format!("{FIRST_PART}{second_part}")));
    scene.finish();
}

/// Each takes the other's approver away, on a node of his own: one of them is too late.
#[test]
fn of_two_who_take_the_last_approvers_away_one_fails() {
    let cluster = Cluster::start();
    let scene = Scene::governed(short_leases(installation(Some(&cluster))), Some(&cluster));
    let other = scene.installation.start_node("two");
    let revoke = |login: &str| json!({"change": "REVOKE_ROLE", "login": login, "role": "APPROVAL ADMIN"});
    let (of_bob, of_cat) = (ask_of_project(&scene, &revoke("bob")), ask_of_project(&scene, &revoke("cat")));
    let mut held = scene.installation.database();
    held.run("BEGIN; SELECT approval FROM governance FOR UPDATE");
    let is_over = |id: &str| !["READY", "APPLYING"].contains(&scene.status(id).as_str());
    let approve = |running: &Running, key: &str, id: &str| {
        let path = scene.path(&format!("/approvals/{id}/approve"));
        running.ask("POST", &path, &[("x-nhn-authorization", scene.tokens[key].as_str())], Some(&json!({})))
    };
    std::thread::scope(|scope| {
        let both = [scope.spawn(|| approve(scene.running(), "cat1", &of_bob)), scope.spawn(|| approve(&other, "bob1", &of_cat))];
        // Both have looked who may approve, and taken a role away.
        wait_until("both to wait, or to be done", PATIENCE, || {
            let waiting = "pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FROM governance%FOR UPDATE'";
            scene.count(waiting) == 2 || is_over(&of_bob) && is_over(&of_cat)
        });
        held.run("COMMIT");
        both.into_iter().for_each(|answer| assert_eq!(answer.join().expect("an answer").status, 200));
    });
    wait_until("both to be over", PATIENCE, || is_over(&of_bob) && is_over(&of_cat));
    let mut states = [scene.status(&of_bob), scene.status(&of_cat)];
    states.sort();
    assert_eq!(states, ["APPROVED", "FAILED"]);
    assert_eq!(scene.count("account_roles WHERE role = 'APPROVAL ADMIN'"), 1);
    let (status, log) = other.stop();
    assert!(status.success(), "{log}");
    scene.running().logs("an approved request");
    scene.finish();
}

#[test]
fn access_keys_that_are_made_from_now_on_have_their_maker() {
    let scene = Scene::ungoverned(installation(None), None);
    scene.operator(&["access-key", "create", "mia"]);
    assert_eq!(scene.count("access_keys WHERE account_id = (SELECT id FROM accounts WHERE login = 'mia') AND maker_id IS NULL"), 2, "an operator has none");
    let admin = Person::administrator(&scene.installation, scene.running());
    let made = admin.fill_in("/account/access-keys/new", &[("tokenLife", "600")]);
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(scene.count("access_keys WHERE maker_id = account_id"), 1);
    scene.finish();
}
