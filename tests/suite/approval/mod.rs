//! Approval, as people and their programs meet it: who asks, who approves, what is done and what isn't.

mod clock;
mod crash;
mod custody;
mod decisions;
mod drafts;
mod gate;
mod kinds;
mod outages;
mod recorded;
mod takeover;
mod told;
mod turned_off;
mod two_nodes;
mod walk;

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::faults::load::wait_until;
use crate::support::installation::{Answer, Installation, Running};
use crate::support::postgres::Cluster;

/// The demo's key store that admits 127.0.0.1.
const STORE: &str = "demo-by-address";
/// What may take a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Login name, role in the demo's project, access keys: each is named after its account and its number, with the secret `{key}-secret`.
const PEOPLE: [(&str, &str, usize); 6] = [
    ("amy", "API.ADMIN", 1),
    ("mia", "APPROVAL MEMBER", 1),
    ("bob", "APPROVAL ADMIN", 2),
    ("cat", "APPROVAL ADMIN", 1),
    ("dan", "ADMIN", 1),
    ("viv", "API.VIEWER", 1),
];

/// An installation with people of whom some ask and some approve.
struct Scene {
    installation: Installation,
    running: Option<Running>,
    tokens: HashMap<String, String>,
}

fn installation(cluster: Option<&Cluster>) -> Installation {
    let mut installation = match cluster {
        Some(cluster) => Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]),
        None => Installation::new(),
    };
    // What is asked for changes something: on a machine that stalls it must not be unknown whether it was done.
    installation.set("SKM_DATABASE__DEADLINE", "8 s");
    installation
}

impl Scene {
    /// With approval off.
    fn ungoverned(installation: Installation, cluster: Option<&Cluster>) -> Self {
        Self::ungoverned_on(installation, cluster, Installation::start)
    }

    /// The same on a process that is started so.
    fn ungoverned_on(installation: Installation, cluster: Option<&Cluster>, start: impl FnOnce(&Installation) -> Running) -> Self {
        add_people(&installation, cluster.is_some());
        let mut scene = Self { running: Some(start(&installation)), installation, tokens: HashMap::new() };
        scene.sign_in();
        scene
    }

    /// With approval on.
    fn governed(installation: Installation, cluster: Option<&Cluster>) -> Self {
        let scene = Self::ungoverned(installation, cluster);
        scene.turn_on();
        scene
    }

    /// Turns approval on. Access keys lose then that they may approve: those of people who approve get it back, as if that had been asked for.
    fn turn_on(&self) {
        self.operator(&["approval", "enable", "--project", "demo"]);
        let approvers: Vec<String> = PEOPLE.iter().filter(|(_, role, _)| *role == "APPROVAL ADMIN").map(|(login, ..)| format!("'{login}'")).collect();
        let accounts = format!("SELECT id FROM accounts WHERE login IN ({})", approvers.join(", "));
        self.installation.database().run(&format!("UPDATE access_keys SET may_approve = TRUE WHERE account_id IN ({accounts})"));
    }

    fn sign_in(&mut self) {
        let keys: Vec<String> = PEOPLE.iter().flat_map(|(login, _, keys)| (1..=*keys).map(move |number| format!("{login}{number}"))).collect();
        for key in keys {
            let basic = format!("Basic {}", STANDARD.encode(format!("{key}:{key}-secret")));
            let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
            let answer = self.running().call(false, "POST", "/oauth2/token/create", &headers, Some(b"grant_type=client_credentials")).expect("an answer");
            let token = answer.json["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}"));
            self.tokens.insert(key, format!("Bearer {token}"));
        }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a running service")
    }

    fn restart(&mut self) {
        self.running = Some(self.installation.start());
    }

    /// `skm admin …`, which must succeed.
    fn operator(&self, arguments: &[&str]) -> String {
        let (code, told, problems) = self.installation.run(&[&["admin"], arguments].concat());
        assert_eq!((code, problems.as_str()), (0, ""), "{arguments:?}: {told}");
        told
    }

    fn path(&self, rest: &str) -> String {
        format!("/keymanager/v1.3/appkey/{}{rest}", self.installation.demo("APPKEY"))
    }

    /// A request in v1.3 with these headers besides.
    fn send(&self, key: &str, method: &str, rest: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let headers = [&[("x-nhn-authorization", self.tokens[key].as_str())], headers].concat();
        self.running().ask(method, &self.path(rest), &headers, body)
    }

    /// A request that means what it says.
    fn own(&self, key: &str, method: &str, rest: &str, body: &Value) -> Answer {
        self.send(key, method, rest, &[], Some(body))
    }

    fn get(&self, key: &str, rest: &str) -> Answer {
        self.send(key, "GET", rest, &[], None)
    }

    /// Asks for a change; answers the request's ID.
    fn ask(&self, key: &str, method: &str, rest: &str, body: &Value) -> String {
        let answer = self.send(key, method, rest, &[("x-skm-approval-note", "because")], Some(body));
        asked(&answer, "READY")
    }

    /// Puts a change into its key store's draft; answers the draft's ID.
    fn draft(&self, key: &str, method: &str, rest: &str, body: &Value) -> String {
        let answer = self.send(key, method, rest, &[("x-skm-approval-draft", "add")], Some(body));
        asked(&answer, "DRAFT")
    }

    fn decide(&self, key: &str, id: &str, what: &str, body: &Value) -> Answer {
        self.own(key, "POST", &format!("/approvals/{id}/{what}"), body)
    }

    /// Approves a request, which must then be applied.
    fn approve(&self, key: &str, id: &str) {
        let answer = self.decide(key, id, "approve", &json!({}));
        assert_eq!(answer.status, 200, "{answer:?}");
        self.wait_for(id, "APPROVED");
    }

    fn status(&self, id: &str) -> String {
        self.installation.database().texts("state", &format!("change_requests WHERE id = '{id}'")).remove(0)
    }

    fn reason(&self, id: &str) -> String {
        self.installation.database().texts("COALESCE(reason, '')", &format!("change_requests WHERE id = '{id}'")).remove(0)
    }

    /// Waits until a request has come to its end, which must be this.
    fn wait_for(&self, id: &str, state: &str) {
        wait_until(&format!("{id} to be {state}"), PATIENCE, || !["DRAFT", "READY", "APPLYING"].contains(&self.status(id).as_str()));
        assert_eq!(self.status(id), state, "{}", self.reason(id));
    }

    /// Everything that people can see, or that decides what they may do: two that are the same look the same to everybody.
    fn snapshot(&self) -> Vec<String> {
        let mut database = self.installation.database();
        let visible = "state IN ('ACTIVE', 'PENDING_DELETION')";
        let joined = |columns: &[&str]| columns.iter().map(|column| format!("COALESCE(CAST({column} AS TEXT), '-')")).collect::<Vec<_>>().join(" || '|' || ");
        let stamps = ["changed_by", "changed_at"];
        let mut seen = Vec::new();
        let mut take = |table: &str, columns: &[&str], only: &str| {
            let rows = database.texts(&joined(columns), &format!("{table} WHERE {only} ORDER BY 1"));
            seen.extend(rows.into_iter().map(|row| format!("{table} {row}")));
        };
        let of_store = ["id", "name", "description", "ipv4_check", "mac_check", "certificate_check", "check_mode", "state"];
        take("key_stores", &[&of_store[..], &stamps].concat(), visible);
        let of_key = ["id", "name", "description", "state", "current_version", "rotation_days", "next_rotation_at", "deletion_at"];
        take("keys", &[&of_key[..], &stamps].concat(), visible);
        take("key_versions", &["key_id", "version", "state", "origin", "deletion_at"], visible);
        take("client_rules", &["id", "method", "value", "description", "state", "deletion_at", "changed_by", "changed_at"], visible);
        take("account_roles", &["account_id", "project_id", "role"], "1 = 1");
        take("accounts", &["login", "password_hash", "enabled"], "1 = 1");
        take("access_keys", &["id", "enabled", "may_approve"], "1 = 1");
        take("governance", &["project_id", "approval", "expiry_days"], "1 = 1");
        seen
    }

    /// A key in service of that name.
    fn key(&self, name: &str) -> Option<String> {
        self.installation.database().texts("id", &format!("keys WHERE state = 'ACTIVE' AND name = '{name}'")).pop()
    }

    fn count(&self, from: &str) -> i64 {
        self.installation.database().count(from)
    }

    /// Nothing is left that a draft or request was waiting with, and audit log and token are as they should be.
    fn finish(mut self) {
        self.stop();
        crate::faults::settled::audit_is_intact(&self.installation);
    }

    /// The same where so many approvals were forged in the database: the log knows nothing of them, and verifying it tells of these and nothing else.
    fn finish_forged(mut self, forged: usize) {
        self.stop();
        let (code, told, _) = self.installation.run(&["audit", "verify"]);
        let findings: Vec<&str> = told.lines().filter(|line| line.starts_with("ALTERED")).collect();
        let is_known = |line: &&str| line.ends_with(": it was applied, or failed, and nobody had approved it");
        assert!(code != 0 && findings.len() == forged && findings.iter().all(is_known), "{told}");
    }

    fn stop(&mut self) {
        crate::faults::settled::wait_until_settled(&self.installation);
        let open = self.count("change_requests WHERE state IN ('DRAFT', 'READY', 'APPLYING')");
        assert_eq!(open, 0, "still open");
        assert_eq!(self.count("change_items WHERE sealed IS NOT NULL"), 0, "what was sealed is erased");
        let (status, log) = self.running.take().expect("a running service").stop();
        assert!(status.success(), "{status}\n{log}");
        assert!(!log.contains("panick"), "{log}");
        crate::faults::settled::token_and_database_agree(&self.installation);
    }
}

/// As if the leases of what is under way had ended: what waits for a decision has much longer ones.
fn end_leases(scene: &Scene) {
    let soon = crate::clockwork::now() + 3_600_000_000;
    scene.installation.database().run(&format!(
        "UPDATE change_requests SET lease_until = 1 WHERE state = 'APPLYING';
         UPDATE token_objects SET lease_until = 1 WHERE state IN ('PROVISIONING', 'DESTROYING') AND lease_until < {soon};"
    ));
}

/// The ID of the draft or request that a change became.
fn asked(answer: &Answer, state: &str) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.body()["approvalStatus"], state, "{answer:?}");
    answer.text("approvalId")
}

fn refused(answer: &Answer, status: u16, message: &str) {
    assert_eq!((answer.status, answer.refusal()), (status, message), "{answer:?}");
}

fn add_people(installation: &Installation, is_postgresql: bool) {
    const BY: &str = "'test', 0, 'test', 0";
    const STAMP: &str = "created_by, created_at, changed_by, changed_at";
    let blob = |bytes: &[u8]| if is_postgresql { format!("'\\x{}'::bytea", hex::encode(bytes)) } else { format!("X'{}'", hex::encode(bytes)) };
    let mut sql = String::new();
    for (login, role, keys) in PEOPLE {
        sql.push_str(&format!(
            "INSERT INTO accounts (login, password_hash, must_change_password, enabled, {STAMP}) VALUES ('{login}', 'none', FALSE, TRUE, {BY});
             INSERT INTO account_roles (account_id, project_id, role, {STAMP})
             SELECT accounts.id, projects.id, '{role}', {BY} FROM accounts, projects WHERE login = '{login}' AND name = 'demo';"
        ));
        for number in 1..=keys {
            let key = format!("{login}{number}");
            let (secret, may_approve) = (blob(&sha2::Sha256::digest(format!("{key}-secret"))), role == "APPROVAL ADMIN");
            sql.push_str(&format!(
                "INSERT INTO access_keys (id, account_id, secret_hash, token_life_seconds, enabled, may_approve, {STAMP})
                 SELECT '{key}', id, {secret}, 86400, TRUE, {may_approve}, {BY} FROM accounts WHERE login = '{login}';"
            ));
        }
    }
    installation.database().run(&sql);
}
