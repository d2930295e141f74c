//! With approval on nobody changes anything alone, whichever way: every changing route of the API, every command of operators. One that this
//! test doesn't know fails it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{STORE, Scene, installation, refused};
use crate::faults::load::wait_until;
use crate::support::postgres::Cluster;

/// Routes that change no key store, and none of what decides who may: uses and tokens, what goes before an import, and approval itself.
const NO_CHANGES: [&str; 15] = [
    "POST /symmetric-keys/{keyid}/encrypt",
    "POST /symmetric-keys/{keyid}/decrypt",
    "POST /symmetric-keys/{keyid}/create-local-key",
    "POST /asymmetric-keys/{keyid}/sign",
    "POST /asymmetric-keys/{keyid}/verify",
    "POST /asymmetric-keys/{keyid}/sign-standard",
    "POST /asymmetric-keys/{keyid}/verify-standard",
    "POST /oauth2/token/create",
    "POST /oauth2/token/revoke",
    "POST /approvals",
    "POST /approvals/{approvalid}/request",
    "POST /approvals/{approvalid}/approve",
    "POST /approvals/{approvalid}/deny",
    "POST /approvals/{approvalid}/withdraw",
    "DELETE /approvals/{approvalid}/changes/{position}",
];

/// Routes that change something, with what to send: it would be done if approval were off.
fn changes(key: &str, secret: &str, old: &str, pending: &str, store: &str) -> Vec<(&'static str, String, Value)> {
    let entry = json!({"keyStoreName": STORE, "value": "10.1.1.1"});
    let mac = json!({"keyStoreName": STORE, "value": "02:00:00:00:00:01"});
    let certificate = json!({"keyStoreName": STORE, "name": "c", "password": "correct horse battery", "lifeTime": 90, "csr": "-----BEGIN "});
    let new = json!({"keyStoreName": STORE, "name": "new", "secretValue": "v", "keyData": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="});
    let store_body = json!({"name": "new store", "ip4AuthUse": "Y"});
    let nothing = json!({});
    vec![
        ("POST /keystores", "/keystores".to_owned(), store_body.clone()),
        ("PUT /keystores/{id}", format!("/keystores/{store}"), store_body),
        ("DELETE /keystores/{id}", format!("/keystores/{store}"), nothing.clone()),
        ("POST /keys/secrets/create", "/keys/secrets/create".to_owned(), new.clone()),
        ("POST /keys/symmetric-keys/create", "/keys/symmetric-keys/create".to_owned(), new.clone()),
        ("POST /keys/asymmetric-keys/create", "/keys/asymmetric-keys/create".to_owned(), new.clone()),
        ("POST /keys/symmetric-keys/import", "/keys/symmetric-keys/import".to_owned(), new),
        ("PUT /secrets/{keyid}", format!("/secrets/{secret}"), json!({"secretValue": "another"})),
        ("PUT /keys/{keyid}", format!("/keys/{key}"), json!({"name": "another"})),
        ("POST /keys/{keyid}/rotate", format!("/keys/{key}/rotate"), nothing.clone()),
        ("PUT /keys/{keyid}/delete", format!("/keys/{key}/delete"), nothing.clone()),
        ("PUT /keys/{keyid}/restore", format!("/keys/{pending}/restore"), nothing.clone()),
        ("DELETE /keys/{keyid}", format!("/keys/{pending}"), nothing.clone()),
        ("PUT /keys/{keyid}/versions/{version}/delete", format!("/keys/{old}/versions/1/delete"), nothing.clone()),
        ("PUT /keys/{keyid}/versions/{version}/restore", format!("/keys/{old}/versions/0/restore"), nothing.clone()),
        ("DELETE /keys/{keyid}/versions/{version}", format!("/keys/{old}/versions/0"), nothing),
        ("POST /auths/ipv4s", "/auths/ipv4s".to_owned(), entry.clone()),
        ("PUT /auths/ipv4s/delete", "/auths/ipv4s/delete".to_owned(), entry.clone()),
        ("PUT /auths/ipv4s/restore", "/auths/ipv4s/restore".to_owned(), entry.clone()),
        ("POST /auths/ipv4s/delete", "/auths/ipv4s/delete".to_owned(), entry),
        ("POST /auths/macs", "/auths/macs".to_owned(), mac.clone()),
        ("PUT /auths/macs/delete", "/auths/macs/delete".to_owned(), mac.clone()),
        ("PUT /auths/macs/restore", "/auths/macs/restore".to_owned(), mac.clone()),
        ("POST /auths/macs/delete", "/auths/macs/delete".to_owned(), mac),
        ("POST /auths/certificates", "/auths/certificates".to_owned(), certificate.clone()),
        ("POST /auths/certificates/sign", "/auths/certificates/sign".to_owned(), certificate.clone()),
        ("PUT /auths/certificates/delete", "/auths/certificates/delete".to_owned(), certificate.clone()),
        ("PUT /auths/certificates/restore", "/auths/certificates/restore".to_owned(), certificate.clone()),
        ("POST /auths/certificates/delete", "/auths/certificates/delete".to_owned(), certificate),
    ]
}

/// All routes that aren't reads, without their versions.
fn routes() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&skm::api::openapi_document()).expect("JSON");
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let rest = path.split_once("/appkey/{appkey}").map_or(path.as_str(), |(_, rest)| rest);
        for method in ["put", "post", "delete", "patch"].iter().filter(|method| item.get(**method).is_some()) {
            routes.insert(format!("{} {rest}", method.to_uppercase()));
        }
    }
    routes
}

fn setup(scene: &Scene) -> [String; 5] {
    let make = |kind: &str, name: &str| {
        let body = json!({"keyStoreName": STORE, "name": name, "secretValue": "v"});
        scene.own("amy1", "POST", &format!("/keys/{kind}/create"), &body).text("keyId")
    };
    let (key, secret, old, pending) = (make("symmetric-keys", "k"), make("secrets", "s"), make("symmetric-keys", "o"), make("symmetric-keys", "p"));
    for _ in 0..2 {
        scene.own("amy1", "POST", &format!("/keys/{old}/rotate"), &json!({})).body();
    }
    scene.own("amy1", "PUT", &format!("/keys/{old}/versions/0/delete"), &json!({})).body();
    scene.own("amy1", "PUT", &format!("/keys/{pending}/delete"), &json!({})).body();
    let store = scene.own("amy1", "POST", "/keystores", &json!({"name": "empty", "ip4AuthUse": "Y"})).body()["keyStoreId"].to_string();
    [key, secret, old, pending, store]
}

fn no_route_changes_anything_alone(scene: &Scene, [key, secret, old, pending, store]: &[String; 5]) {
    let changes = changes(key, secret, old, pending, store);
    let known: BTreeSet<String> = changes.iter().map(|(route, ..)| (*route).to_owned()).chain(NO_CHANGES.map(str::to_owned)).collect();
    let unknown: Vec<String> = routes().difference(&known).cloned().collect();
    assert!(unknown.is_empty(), "routes that this test doesn't know: say whether they change anything: {unknown:?}");
    let before = scene.snapshot();
    for (route, path, body) in &changes {
        let method = route.split_once(' ').expect("a path").0;
        for key in ["amy1", "dan1"] {
            let answer = scene.own(key, method, path, body);
            refused(&answer, 403, "Approval Required");
        }
        let headers = [("x-tc-authentication-id", "dan1"), ("x-tc-authentication-secret", "dan1-secret")];
        let in_v1_2 = format!("/keymanager/v1.2/appkey/{}{path}", scene.installation.demo("APPKEY"));
        let answer = scene.running().ask(method, &in_v1_2, &headers, Some(body));
        assert!(["Approval Required", "URL NOT FOUND", "Method Not Allowed"].contains(&answer.refusal()), "{route}: {answer:?}");
        // Whoever may not even ask is refused as ever, note or not.
        for headers in [&[][..], &[("x-skm-approval-note", "n")]] {
            refused(&scene.send("viv1", method, path, headers, Some(body)), 403, "Forbidden");
        }
        let wrong = scene.send("amy1", method, path, &[("x-skm-approval-note", " ")], Some(body));
        assert_eq!(wrong.refusal(), "X-SKM-Approval-Note must have 1 to 1000 characters", "{route}");
    }
    assert_eq!(scene.snapshot(), before);
}

/// Commands below `skm admin`, as their help lists them: `role grant`.
fn commands(scene: &Scene) -> BTreeSet<String> {
    let listed = |arguments: &[&str]| -> Vec<String> {
        let (_, told, _) = scene.installation.run(&[arguments, &["--help"]].concat());
        let lines = told.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with("  "));
        lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).filter(|word| word != "help").collect()
    };
    let groups = listed(&["admin"]);
    groups.iter().flat_map(|group| listed(&["admin", group]).into_iter().map(move |command| format!("{group} {command}"))).collect()
}

/// What may be done, with arguments that mean those who ask and approve: reads, one more restriction, what gives nobody a part in decisions.
fn harmless_commands(password: &str) -> [(&'static str, Vec<&str>); 18] {
    [
        ("project create", vec!["a project"]),
        ("project list", vec![]),
        ("project set", vec!["demo", "--appkey-reads", "on"]),
        ("project set", vec!["demo", "--appkey-reads", "off"]),
        ("project rename", vec!["demo", "renamed"]),
        ("project rename", vec!["renamed", "demo"]),
        ("appkey list", vec![]),
        ("account create", vec!["eve", "--password-file", password]),
        ("account list", vec![]),
        ("account make-administrator", vec!["amy"]),
        ("account unmake-administrator", vec!["amy"]),
        ("role list", vec![]),
        ("access-key list", vec![]),
        ("access-key disable", vec!["cat1"]),
        ("access-key delete", vec!["cat1", "--yes"]),
        ("account disable", vec!["cat"]),
        ("account enable", vec!["cat"]),
        ("approval status", vec!["--project", "demo"]),
    ]
}

/// What gives somebody a part in decisions: roles and passwords of enabled accounts, and their access keys, by which they ask, or may approve.
fn parts(scene: &Scene) -> BTreeSet<String> {
    let mut database = scene.installation.database();
    let roles = database.texts("login || ' ' || role || ' ' || password_hash", "accounts JOIN account_roles ON account_id = accounts.id WHERE enabled");
    let keys = "access_keys JOIN accounts ON accounts.id = account_id WHERE access_keys.enabled AND accounts.enabled";
    roles.into_iter().chain(database.texts("access_keys.id || CASE WHEN may_approve THEN ' approves' ELSE '' END", keys)).collect()
}

/// What needs approval itself.
fn inventory(scene: &Scene) -> Vec<String> {
    let is_of_people = |row: &String| ["account_roles ", "accounts ", "access_keys "].iter().any(|table| row.starts_with(table));
    let is_of_others = |row: &String| row.starts_with("governance ") && !row.starts_with("governance 1|");
    scene.snapshot().into_iter().filter(|row| !is_of_people(row) && !is_of_others(row)).collect()
}

fn no_command_changes_anything_alone(scene: &Scene) {
    // What is refused; and what may be done: reads, one more restriction, what gives nobody a part in decisions.
    let password = scene.installation.path().join("password");
    std::fs::write(&password, "correct horse battery 1").expect("a file");
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let file = password.to_str().expect("UTF-8");
    let refused_commands: [(&str, Vec<&str>); 7] = [
        ("role grant", vec!["amy", "APPROVAL ADMIN", "--project", "demo"]),
        ("role revoke", vec!["cat", "APPROVAL ADMIN", "--project", "demo"]),
        ("account password", vec!["bob", "--password-file", file]),
        ("account enable", vec!["bob"]),
        ("access-key create", vec!["bob"]),
        ("access-key enable", vec!["cat1"]),
        ("access-key set", vec!["amy1", "--may-approve", "on"]),
    ];
    let harmless = harmless_commands(file);
    let others = ["appkey create", "appkey delete", "approval enable", "approval disable"];
    let known: BTreeSet<String> = refused_commands.iter().chain(&harmless).map(|(command, _)| *command).chain(others).map(str::to_owned).collect();
    assert_eq!(commands(scene), known, "commands that this test doesn't know: say whether they change anything");
    let before = scene.snapshot();
    let run = |command: &str, arguments: &[&str]| {
        let words: Vec<&str> = ["admin"].into_iter().chain(command.split(' ')).chain(arguments.iter().copied()).collect();
        scene.installation.run(&words)
    };
    for (command, arguments) in &refused_commands {
        let (code, _, told) = run(command, arguments);
        assert_eq!((code, told.trim_end()), (1, "skm: Approval Required"), "{command}");
    }
    assert_eq!(scene.snapshot(), before);
    // What is allowed is tried on those who ask and approve, too: whatever comes of it, nobody has more of a part in decisions than before.
    for (command, arguments) in &harmless {
        let (before, inventory) = (parts(scene), inventory(scene));
        let (code, told, problems) = run(command, arguments);
        assert!(code == 0 || (code, problems.trim_end()) == (1, "skm: Approval Required"), "{command} {arguments:?}: {told}{problems}");
        let more: Vec<_> = parts(scene).difference(&before).cloned().collect();
        assert!(more.is_empty(), "{command} {arguments:?} gives a part in decisions: {more:?}");
        assert_eq!(self::inventory(scene), inventory, "{command} {arguments:?}");
    }
    let made = scene.operator(&["appkey", "create", "demo", "--json"]);
    let appkey: Value = serde_json::from_str(&made).expect("JSON");
    scene.operator(&["appkey", "delete", appkey["appkey"].as_str().expect("an appkey"), "--yes"]);
    assert_eq!(scene.installation.database().texts("login", "accounts WHERE NOT enabled"), ["cat"], "who was stopped stays so");
    // As it was, for what comes next.
    scene.installation.database().run("UPDATE accounts SET enabled = TRUE WHERE login = 'cat'");
    // Elsewhere, and to people who decide nothing here, it is as it was.
    scene.operator(&["account", "create", "new", "--password-file", file]);
    scene.operator(&["account", "password", "new", "--password-file", file]);
    scene.operator(&["project", "create", "other"]);
    scene.operator(&["role", "grant", "new", "ADMIN", "--project", "other"]);
    scene.operator(&["access-key", "create", "new"]);
}

/// On and off, and the way out for operators.
fn on_and_off(scene: &Scene, key: &str) {
    let run = |arguments: &[&str]| scene.installation.run(&[&["admin", "approval"], arguments].concat());
    let (code, _, told) = run(&["enable", "--project", "demo"]);
    assert_eq!((code, told.trim_end()), (1, "skm: approval is on already"));
    scene.operator(&["project", "create", "lonely"]);
    let (code, _, told) = run(&["enable", "--project", "lonely"]);
    assert!(code == 1 && told.contains("needs an enabled account with the role APPROVAL ADMIN"), "{told}");
    let told = scene.operator(&["approval", "status", "--project", "demo"]);
    assert!(told.contains("approval   on") && told.contains("approve    bob, cat"), "{told}");
    let (code, _, told) = run(&["disable", "--project", "demo", "--reason", " "]);
    assert!(code == 1 && told.contains("reason must have 1 to 1000 characters"), "{told}");
    scene.operator(&["approval", "disable", "--project", "demo", "--reason", "everybody is ill"]);
    let record = scene.installation.database().texts("actor_kind || ' ' || detail", "audit_records WHERE operation = 'DISABLE_APPROVAL' AND result_code = 0");
    assert_eq!(record, ["operator EMERGENCY: approval of \"demo\" turned off alone: \"everybody is ill\""]);
    wait_until("the log", super::PATIENCE, || scene.running().log().contains("EMERGENCY"));
    let told = || scene.running().operations("/metrics").1;
    wait_until("the metrics", super::PATIENCE, || told().contains("skm_approval_emergencies 1"));
    let renamed = scene.own("amy1", "PUT", &format!("/keys/{key}"), &json!({"name": "alone"}));
    assert_eq!(renamed.status, 200, "{renamed:?}");
    // Whoever did it covers nothing up by turning it on again.
    scene.turn_on();
    let status = scene.operator(&["approval", "status", "--project", "demo"]);
    assert!(status.contains("approval   on") && status.contains("everybody is ill"), "{status}");
    assert!(told().contains("skm_approval_emergencies 1"));
}

fn gate(cluster: Option<&Cluster>) {
    let scene = Scene::ungoverned(installation(cluster), cluster);
    let made = setup(&scene);
    scene.turn_on();
    no_route_changes_anything_alone(&scene, &made);
    no_command_changes_anything_alone(&scene);
    // Uses go on.
    assert_eq!(scene.own("viv1", "POST", &format!("/symmetric-keys/{}/encrypt", made[0]), &json!({"plaintext": "x"})).status, 200);
    on_and_off(&scene, &made[0]);
    scene.finish();
}

#[test]
fn nobody_changes_anything_alone_on_sqlite() {
    gate(None);
}

#[test]
fn nobody_changes_anything_alone_on_postgresql() {
    gate(Some(&Cluster::start()));
}
