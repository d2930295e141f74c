//! Every command, with what it answers, refuses and leaves in the audit log.

use serde_json::json;

use super::{done, field, records, refused, typed};
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;

const PASSWORD: &str = "correct horse battery";

fn projects_and_appkeys(installation: &Installation) {
    let made = done(installation, &["admin", "project", "create", " shop "]).remove(0);
    let first = field(&made, "appkey");
    assert!(first.len() == 20 && made["name"] == "shop", "{made}");
    assert_eq!(refused(installation, &["admin", "project", "create", "shop"]), "name is taken: a project of that name exists");
    assert_eq!(refused(installation, &["admin", "project", "create", " "]), "name must have 1 to 100 characters");
    assert_eq!(done(installation, &["admin", "project", "rename", "shop", "store"]), [json!({"done": "renamed project shop to store"})]);
    assert_eq!(refused(installation, &["admin", "project", "rename", "store", "demo"]), "name is taken: a project of that name exists");
    assert_eq!(refused(installation, &["admin", "project", "rename", "shop", "other"]), "project names no project");
    done(installation, &["admin", "project", "set", "store", "--appkey-reads", "off"]);
    assert_eq!(refused(installation, &["admin", "project", "set", "shop", "--appkey-reads", "on"]), "project names no project");
    let given = "clientsHaveThis00001";
    let made = done(installation, &["admin", "appkey", "create", "store", "--appkey", given]);
    assert_eq!(made, [json!({"project": "store", "appkey": given})]);
    assert_eq!(refused(installation, &["admin", "appkey", "create", "demo", "--appkey", given]), "appkey is taken: that appkey exists");
    let short = refused(installation, &["admin", "appkey", "create", "store", "--appkey", "short"]);
    assert_eq!(short, "appkey must have 16 to 64 ASCII letters and digits");
    assert_eq!(refused(installation, &["admin", "appkey", "create", "nowhere"]), "project names no project");
    let listed = done(installation, &["admin", "project", "list"]);
    let shown: Vec<_> = listed.iter().map(|row| (field(row, "name"), row["appkeys"].clone(), row["appkeyReads"].clone())).collect();
    assert_eq!(shown, [("demo".to_owned(), json!(1), json!(true)), ("store".to_owned(), json!(2), json!(false))]);
    // What loses something asks first, and there is nobody to ask.
    let (code, _, told) = installation.run(&["admin", "appkey", "delete", &first]);
    assert!(code == 2 && told.contains("Say --yes"), "{code} {told}");
    assert_eq!(done(installation, &["admin", "appkey", "list", "--project", "store"]).len(), 2);
    done(installation, &["admin", "appkey", "delete", &first, "--yes"]);
    assert_eq!(refused(installation, &["admin", "appkey", "delete", &first, "-y"]), "appkey names no project");
    assert_eq!(refused(installation, &["admin", "appkey", "delete", given, "-y"]), "appkey is the only one of its project: make another first");
    let listed = done(installation, &["admin", "appkey", "list", "--project", "store"]);
    assert!(listed.len() == 1 && listed[0]["appkey"] == given, "{listed:?}");
    assert_eq!(done(installation, &["admin", "appkey", "list"]).len(), 2);
}

fn accounts_and_roles(installation: &Installation) {
    let create = ["admin", "account", "create", "alice", "--password-file", "-"];
    let (code, told, problems) = typed(installation, &create, &format!("{PASSWORD}\n"));
    assert_eq!((code, told.as_str(), problems.as_str()), (0, "made account alice\n", ""));
    let (code, _, problems) = typed(installation, &create, PASSWORD);
    assert_eq!((code, problems.as_str()), (1, "skm: login is taken: an account of that login name exists\n"));
    let (code, _, problems) = typed(installation, &create, "short");
    assert_eq!((code, problems.as_str()), (1, "skm: password must have 12 characters or more and at most 256 bytes\n"));
    let (code, _, problems) = typed(installation, &["admin", "account", "create", "a b", "--password-file", "-"], PASSWORD);
    assert_eq!((code, problems.as_str()), (1, "skm: login must have 1 to 64 letters, digits, '.', '-', '_' or '@'\n"));
    let hash = |login: &str| installation.database().texts("password_hash", &format!("accounts WHERE login = '{login}'")).remove(0);
    let before = hash("alice");
    assert!(before.starts_with("$argon2id$"), "{before}");
    let (code, _, problems) = typed(installation, &["admin", "account", "password", "alice", "--password-file", "-", "--keep-password"], PASSWORD);
    assert_eq!((code, problems.as_str()), (0, ""));
    assert_ne!(hash("alice"), before);
    let (code, _, problems) = typed(installation, &["admin", "account", "password", "bob", "--password-file", "-"], PASSWORD);
    assert_eq!((code, problems.as_str()), (1, "skm: login names no account\n"));
    done(installation, &["admin", "account", "disable", "alice"]);
    assert_eq!(refused(installation, &["admin", "account", "disable", "bob"]), "login names no account");
    let listed = done(installation, &["admin", "account", "list"]);
    let alice = |listed: &[serde_json::Value]| (listed[1]["login"].clone(), listed[1]["enabled"].clone(), listed[1]["mustChangePassword"].clone());
    assert_eq!(alice(&listed), (json!("alice"), json!(false), json!(false)));
    done(installation, &["admin", "account", "enable", "alice"]);
    let grant = |login: &str, role: &str, project: &str| refused(installation, &["admin", "role", "grant", login, role, "--project", project]);
    done(installation, &["admin", "role", "grant", "alice", "APPROVAL ADMIN", "--project", "store"]);
    assert_eq!(grant("alice", "APPROVAL ADMIN", "store"), "role is taken: that role of the account in the project exists");
    assert_eq!(grant("alice", "ROOT", "store"), "role must be one of ADMIN, VIEWER, APPROVAL ADMIN, APPROVAL MEMBER, API.ADMIN, API.VIEWER");
    assert_eq!(grant("bob", "VIEWER", "store"), "login names no account");
    assert_eq!(grant("alice", "VIEWER", "nowhere"), "project names no project");
    let listed = done(installation, &["admin", "role", "list", "--account", "alice"]);
    assert!(listed.len() == 1 && listed[0]["role"] == "APPROVAL ADMIN" && listed[0]["project"] == "store", "{listed:?}");
    assert_eq!(done(installation, &["admin", "role", "list", "--project", "demo"]).len(), 2);
    done(installation, &["admin", "role", "revoke", "alice", "APPROVAL ADMIN", "--project", "store"]);
    let again = refused(installation, &["admin", "role", "revoke", "alice", "APPROVAL ADMIN", "--project", "store"]);
    assert_eq!(again, "role is none that the account has in the project");
    assert_eq!(done(installation, &["admin", "role", "list"]).len(), 2);
}

fn access_keys(installation: &Installation) -> String {
    let made = done(installation, &["admin", "access-key", "create", "alice", "--token-life", "60"]).remove(0);
    let (id, secret) = (field(&made, "accessKeyId"), field(&made, "secretAccessKey"));
    assert!(id.len() == 20 && secret.len() == 43 && made["tokenLifeSeconds"] == 60, "{made}");
    for _ in 0..4 {
        done(installation, &["admin", "access-key", "create", "alice"]);
    }
    let sixth = refused(installation, &["admin", "access-key", "create", "alice"]);
    assert_eq!(sixth, "login names an account with 5 access keys: delete one first");
    assert_eq!(refused(installation, &["admin", "access-key", "create", "bob"]), "login names no account");
    let limits = "tokenLife must be 60 to 86400 seconds";
    assert_eq!(refused(installation, &["admin", "access-key", "create", "alice", "--token-life", "59"]), limits);
    assert_eq!(refused(installation, &["admin", "access-key", "set", &id, "--token-life", "86401"]), limits);
    done(installation, &["admin", "access-key", "set", &id, "--token-life", "86400"]);
    done(installation, &["admin", "access-key", "disable", &id]);
    let listed = done(installation, &["admin", "access-key", "list", "--account", "alice"]);
    assert_eq!(
        (listed.len(), &listed[0]["accessKeyId"], &listed[0]["enabled"], &listed[0]["tokenLifeSeconds"]),
        (5, &json!(id), &json!(false), &json!(86_400))
    );
    assert!(!listed.iter().any(|row| row.to_string().contains(&secret)));
    done(installation, &["admin", "access-key", "enable", &id]);
    assert_eq!(installation.run(&["admin", "access-key", "delete", &id]).0, 2);
    done(installation, &["admin", "access-key", "delete", &id, "--yes"]);
    for arguments in [&["delete", id.as_str(), "--yes"][..], &["enable", &id], &["set", &id, "--token-life", "60"], &["disable", "a b"]] {
        assert_eq!(refused(installation, &[&["admin", "access-key"], arguments].concat()), "id names no access key");
    }
    assert_eq!(done(installation, &["admin", "access-key", "list"]).len(), 5);
    id
}

/// Plain lists are for people: headings, and one line each.
fn tables(installation: &Installation) {
    let (code, told, _) = installation.run(&["admin", "account", "list"]);
    let lines: Vec<_> = told.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!((code, lines.as_slice()), (0, ["LOGIN ENABLED".to_owned(), "admin yes".to_owned(), "alice yes".to_owned()].as_slice()), "{told}");
}

/// One record for each command that reached the service, with what it did and what became of it, and nothing secret.
fn everything_is_recorded(installation: &Installation, access_key: &str) {
    let records = records(installation);
    let count = |wanted: &str| records.iter().filter(|record| record.starts_with(wanted)).count();
    for (wanted, times) in [
        ("CREATE_PROJECT 0 shop", 1),
        ("CREATE_PROJECT 4005 shop", 1),
        ("CREATE_PROJECT 4003 name must have", 1),
        ("CHANGE_PROJECT 0 shop to store", 1),
        ("CHANGE_PROJECT 4005 store to demo", 1),
        ("CHANGE_PROJECT 0 store: inventory by appkey alone off", 1),
        ("CREATE_APPKEY 0 appkey clie… of store", 1),
        ("CREATE_APPKEY 4005 appkey clie… of demo", 1),
        ("CREATE_APPKEY 4003", 2),
        ("DELETE_APPKEY 0", 1),
        ("DELETE_APPKEY 4003", 2),
        ("CREATE_ACCOUNT 0 alice", 1),
        ("CREATE_ACCOUNT 4005 alice", 1),
        ("CHANGE_ACCOUNT 0 password of alice", 1),
        ("CHANGE_ACCOUNT 4003 password of bob", 1),
        ("CHANGE_ACCOUNT 0 alice disabled", 1),
        ("CHANGE_ACCOUNT 0 alice enabled", 1),
        ("GRANT_ROLE 0 APPROVAL ADMIN of alice in store", 1),
        ("GRANT_ROLE 4005 APPROVAL ADMIN of alice in store", 1),
        ("GRANT_ROLE 4003", 3),
        ("REVOKE_ROLE 0 APPROVAL ADMIN of alice in store", 1),
        ("REVOKE_ROLE 4003", 1),
        ("CREATE_ACCESS_KEY 4003", 3),
        ("CREATE_ACCESS_KEY 4003 tokenLife must be 60 to 86400 seconds", 1),
        ("CHANGE_ACCESS_KEY 4003 tokenLife must be 60 to 86400 seconds", 1),
        (&format!("CHANGE_ACCESS_KEY 0 {access_key} token life 86400 s"), 1),
        (&format!("CHANGE_ACCESS_KEY 0 {access_key} disabled"), 1),
        (&format!("DELETE_ACCESS_KEY 0 {access_key}"), 1),
        ("READ_INVENTORY 0 access keys of alice", 1),
    ] {
        assert_eq!(count(wanted), times, "{wanted}: {records:#?}");
    }
    let all = records.join("\n");
    assert!(!all.contains(PASSWORD) && !all.contains("clientsHaveThis00001"), "{all}");
    let (code, told, problems) = installation.run(&["audit", "verify"]);
    assert_eq!(code, 0, "{told}{problems}");
}

fn every_command(installation: &Installation) {
    projects_and_appkeys(installation);
    accounts_and_roles(installation);
    let access_key = access_keys(installation);
    tables(installation);
    everything_is_recorded(installation, &access_key);
}

#[test]
fn through_a_running_server() {
    let installation = Installation::new();
    let running = installation.start();
    every_command(&installation);
    // All of it by the server: its chain and that of `skm init` are the only ones.
    assert_eq!(installation.database().count("audit_chains"), 2);
    let (status, log) = running.stop();
    assert!(status.success(), "{log}");
    assert!(!log.contains(PASSWORD), "{log}");
}

#[test]
fn with_no_server() {
    every_command(&Installation::new());
}

#[test]
fn on_postgresql_with_no_server() {
    let cluster = Cluster::start();
    every_command(&Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
}

#[test]
fn a_long_list_is_fetched_page_by_page() {
    let installation = Installation::new();
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2300)";
    let stamp = "'x', 1, 'x', 1";
    let mut database = installation.database();
    database.run(&format!(
        "INSERT INTO accounts (login, password_hash, must_change_password, enabled, created_by, created_at, changed_by, changed_at)
             {rows} SELECT 'login' || i, '', 0, 1, {stamp} FROM n;
         INSERT INTO account_roles (account_id, project_id, role, created_by, created_at, changed_by, changed_at)
             SELECT a.id, p.id, r.role, {stamp} FROM accounts a, projects p, (SELECT 'VIEWER' AS role UNION SELECT 'API.VIEWER') r WHERE a.login <> 'admin';
         INSERT INTO access_keys (id, account_id, secret_hash, token_life_seconds, enabled, created_by, created_at, changed_by, changed_at)
             SELECT 'key' || id, id, x'00', 60, 1, {stamp} FROM accounts WHERE login <> 'admin';
         UPDATE access_keys SET secret_hash = zeroblob(32) WHERE id LIKE 'key%';"
    ));
    let _running = installation.start();
    for (what, count) in [("account", 2_301), ("role", 4_602), ("access-key", 2_301)] {
        let listed = done(&installation, &["admin", what, "list"]);
        let mut lines: Vec<_> = listed.iter().map(ToString::to_string).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!((listed.len(), lines.len()), (count, count), "{what}");
    }
    assert_eq!(records(&installation).iter().filter(|record| record.starts_with("READ_INVENTORY")).count(), 3);
}
