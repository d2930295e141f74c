//! Imports that are cut off, and pairs that are asked for on one node and used on another.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::load::wait_until;
use super::settled::{audit_is_intact, short_leases, token_and_database_agree, wait_until_settled};
use crate::support::installation::{Answer, Installation, Running, agent, send};
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};
use crate::support::wrapping::{open, wrap};

/// Clients that import at the same time.
const CLIENTS: usize = 3;
/// The sweep's period of 10 s, and what a busy machine adds.
const SWEPT_WITHIN: Duration = Duration::from_secs(60);

/// The key that is imported under a name.
fn key_of(name: &str) -> Vec<u8> {
    Sha256::digest(name).to_vec()
}

/// A client with a bearer token.
#[derive(Clone)]
pub(super) struct Importer {
    agent: ureq::Agent,
    base: String,
    appkey: String,
    bearer: String,
}

impl Importer {
    pub(super) fn new(installation: &Installation, running: &Running) -> Self {
        let agent = agent(&std::fs::read(installation.demo("CA")).expect("the CA's certificate"), None);
        let base = format!("https://{}", running.api_address());
        let basic = STANDARD.encode(format!("{}:{}", installation.demo("ACCESS_KEY_ID"), installation.demo("SECRET_ACCESS_KEY")));
        let headers = [("authorization", format!("Basic {basic}")), ("content-type", "application/x-www-form-urlencoded".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let issued = send(&agent, "POST", &format!("{base}/oauth2/token/create"), &headers, Some(b"grant_type=client_credentials")).expect("an answer");
        let token = issued.json["access_token"].as_str().unwrap_or_else(|| panic!("{issued:?}"));
        Self { bearer: format!("Bearer {token}"), agent, base, appkey: installation.demo("APPKEY").to_owned() }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, ureq::Error> {
        let url = format!("{}/keymanager/v1.3/appkey/{}{path}", self.base, self.appkey);
        send(&self.agent, method, &url, &[("x-nhn-authorization", &self.bearer)], body.map(|body| body.to_string().into_bytes()).as_deref())
    }

    /// A wrapped key and the token for it, ready to be sent.
    pub(super) fn wrapped(&self, name: &str) -> Option<Value> {
        let answer = self.ask("GET", "/keys/symmetric-keys/import-parameters", None).ok().filter(|answer| answer.status == 200)?;
        let spki = STANDARD.decode(answer.text("publicKey")).expect("Base64");
        Some(json!({"importToken": answer.text("importToken"), "wrappedKey": STANDARD.encode(wrap(&spki, "sha1", &key_of(name)))}))
    }

    pub(super) fn import(&self, name: &str, mut body: Value) -> Result<Answer, ureq::Error> {
        let fields = body.as_object_mut().expect("an object");
        fields.extend([("keyStoreName".to_owned(), json!("demo-by-address")), ("name".to_owned(), json!(name))]);
        self.ask("POST", "/keys/symmetric-keys/import", Some(&body))
    }

    fn import_in_the_clear(&self, name: &str) -> Result<Answer, ureq::Error> {
        self.import(name, json!({"keyData": STANDARD.encode(key_of(name))}))
    }

    /// What the key encrypts opens with its name's key.
    fn must_be_the_key(&self, id: &str, name: &str) {
        let made = self.ask("POST", &format!("/symmetric-keys/{id}/encrypt"), Some(&json!({"plaintext": name}))).expect("an answer");
        let ciphertext = STANDARD.decode(made.text("ciphertext")).expect("Base64");
        let aad = [b"skm".as_slice(), &ciphertext[..4], &hex::decode(id).expect("hex")].concat();
        assert_eq!(open(&key_of(name), &aad, &ciphertext[4..]).as_deref(), Some(name.as_bytes()), "{name}");
    }
}

/// Names with the IDs that were acknowledged for them, and names without.
#[derive(Default)]
struct Imports {
    acknowledged: Mutex<Vec<(String, String)>>,
    others: Mutex<Vec<String>>,
    next: AtomicUsize,
}

impl Imports {
    /// Imports until `stop`: in the clear, wrapped, and now and then a pair that nobody uses.
    fn import_until(&self, stop: &AtomicBool, importer: &Importer, mut random: Random) {
        while !stop.load(Ordering::Relaxed) {
            let name = format!("import {}", self.next.fetch_add(1, Ordering::Relaxed));
            let wrapped = if random.below(4) == 0 { None } else { importer.wrapped(&name) };
            if wrapped.is_some() && random.below(8) == 0 {
                continue;
            }
            let answer = wrapped.map_or_else(|| importer.import_in_the_clear(&name), |wrapped| importer.import(&name, wrapped));
            match answer {
                Ok(answer) if answer.status == 200 => self.acknowledged.lock().expect("the list").push((name, answer.text("keyId"))),
                _ => self.others.lock().expect("the list").push(name),
            }
        }
    }

    fn acknowledged(&self) -> Vec<(String, String)> {
        self.acknowledged.lock().expect("the list").clone()
    }

    /// A name that wasn't acknowledged is free, or stands for the whole key.
    fn others_are_whole_or_free(&self, installation: &Installation, importer: &Importer) {
        for name in self.others.lock().expect("the list").iter() {
            let again = importer.import_in_the_clear(name).expect("an answer");
            if again.status != 200 {
                assert_eq!(again.refusal(), "name is taken: a key of that name exists", "{name}");
                let ids = installation.database().texts("id", &format!("keys WHERE state = 'ACTIVE' AND name = '{name}'"));
                assert_eq!(ids.len(), 1, "{name}");
                importer.must_be_the_key(&ids[0], name);
            }
        }
    }
}

/// Lets every pair expire that nobody used, and waits until it is gone.
fn unused_pairs_go(installation: &Installation) {
    installation.database().run("UPDATE import_pairs SET expires_at = 1 WHERE state = 'ACTIVE'");
    wait_until("expired pairs are gone", SWEPT_WITHIN, || installation.database().count("import_pairs WHERE state <> 'DESTROYED'") == 0);
}

fn survives_crashes(installation: &Installation, rounds: usize, mut random: Random) {
    let imports = Imports::default();
    let mut running = installation.start();
    for round in 1..=rounds {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let (importer, random, imports, stop) = (Importer::new(installation, &running), random.fork(), &imports, &stop);
                scope.spawn(move || imports.import_until(stop, &importer, random));
            }
            std::thread::sleep(random.between(Duration::from_millis(300), Duration::from_millis(1_500)));
            // A busy machine may not have got anywhere yet.
            if round == rounds {
                wait_until("an import", SWEPT_WITHIN, || !imports.acknowledged().is_empty());
            }
            running.kill();
            stop.store(true, Ordering::Relaxed);
        });
        running = installation.start();
    }
    let acknowledged = imports.acknowledged();
    println!("{} acknowledged, {} not", acknowledged.len(), imports.others.lock().expect("the list").len());
    assert!(!acknowledged.is_empty(), "nothing was ever acknowledged");
    wait_until_settled(installation);
    unused_pairs_go(installation);
    let importer = Importer::new(installation, &running);
    acknowledged.iter().for_each(|(name, id)| importer.must_be_the_key(id, name));
    imports.others_are_whole_or_free(installation, &importer);
    wait_until_settled(installation);
    assert!(running.stop().0.success());
    let recorded = installation.database().texts("key_id", "audit_records WHERE operation = 'IMPORT_KEY' AND result_code = 0");
    assert!(acknowledged.iter().all(|(_, id)| recorded.contains(id)), "an import has no audit record");
    token_and_database_agree(installation);
    audit_is_intact(installation);
}

#[test]
fn crashes_amid_imports_on_sqlite() {
    let installation = short_leases(Installation::new());
    survives_crashes(&installation, if is_full() { 50 } else { 4 }, Random::of_test("faults::import::crashes_amid_imports_on_sqlite"));
}

#[test]
fn crashes_amid_imports_on_postgresql() {
    let cluster = Cluster::start();
    let installation = short_leases(Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
    survives_crashes(&installation, if is_full() { 50 } else { 2 }, Random::of_test("faults::import::crashes_amid_imports_on_postgresql"));
}

/// As processes left things that died right after a pair was planned, and right after another was spent and a key planned with it.
const HALF_DONE: &str = "
    INSERT INTO import_pairs (key_id, project_id, token_hash, state, expires_at, created_by, created_at)
        SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', project_id, CAST(key_id AS BLOB), 'PROVISIONING', expires_at, 'x', 1 FROM import_pairs;
    INSERT INTO token_objects (object_id, key_id, version, state, node, lease_until, created_at)
        VALUES ('bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 0, 'PROVISIONING', 'dead', 1, 1);
    UPDATE import_pairs SET state = 'DESTROYING' WHERE state = 'ACTIVE';
    UPDATE token_objects SET state = 'DESTROYING', node = 'dead', lease_until = 1 WHERE key_id IN (SELECT key_id FROM import_pairs WHERE state = 'DESTROYING');
    INSERT INTO keys (id, key_store_id, kind, name, description, state, current_version, rotation_days, created_by, created_at, changed_by, changed_at)
        SELECT 'cccccccccccccccccccccccccccccccc', id, 'SYMMETRIC_KEY', 'half', '', 'PROVISIONING', 0, 0, 'x', 1, 'x', 1
        FROM key_stores WHERE name = 'demo-by-address';
    INSERT INTO key_versions (key_id, version, state, origin, created_by, created_at, changed_by, changed_at)
        VALUES ('cccccccccccccccccccccccccccccccc', 0, 'PROVISIONING', 'IMPORTED', 'x', 1, 'x', 1);
    INSERT INTO token_objects (object_id, key_id, version, state, node, lease_until, created_at)
        VALUES ('dddddddddddddddddddddddddddddddd', 'cccccccccccccccccccccccccccccccc', 0, 'PROVISIONING', 'dead', 1, 1);";

#[test]
fn what_a_dead_process_left_of_an_import_is_undone() {
    let installation = short_leases(Installation::new());
    let running = installation.start();
    let wrapped = Importer::new(&installation, &running).wrapped("half").expect("parameters");
    running.kill();
    installation.database().run(HALF_DONE);
    let running = installation.start();
    wait_until_settled(&installation);
    assert_eq!(installation.database().texts("state", "import_pairs"), ["DESTROYED", "DESTROYED"]);
    assert_eq!(installation.database().count("audit_records WHERE operation = 'RECONCILE'"), 3);
    // Each tells the project, and a client's key its key store, so that the project's history shows it.
    let told = "audit_records WHERE operation = 'RECONCILE' AND project_id = (SELECT project_id FROM key_stores WHERE name = 'demo-by-address')";
    assert_eq!(installation.database().count(told), 3);
    let of_key = "key_id = 'cccccccccccccccccccccccccccccccc' AND key_store = (SELECT number FROM key_stores WHERE name = 'demo-by-address')";
    assert_eq!(installation.database().count(&format!("{told} AND {of_key}")), 1);
    let importer = Importer::new(&installation, &running);
    assert_eq!(importer.import("half", wrapped).expect("an answer").refusal(), "Invalid Import Token");
    let made = importer.import_in_the_clear("half").expect("an answer");
    importer.must_be_the_key(&made.text("keyId"), "half");
    assert!(running.stop().0.success());
    token_and_database_agree(&installation);
}

#[test]
fn a_pair_of_one_node_is_used_on_another() {
    let cluster = Cluster::start();
    let installation = Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]);
    let other_directory = installation.path().join("other");
    let start_other = || {
        let mut command = installation.command(&["serve", "--dev"]);
        command.env("SKM_SERVER__DATA_DIR", &other_directory).env("SKM_SERVER__NODE", "other");
        installation.try_start_with(command).expect("another node")
    };
    let (one, other) = (installation.start(), start_other());
    let (on_one, on_other) = (Importer::new(&installation, &one), Importer::new(&installation, &other));
    for (asked, used, name) in [(&on_one, &on_other, "there"), (&on_other, &on_one, "and back")] {
        let wrapped = asked.wrapped(name).expect("parameters");
        let made = used.import(name, wrapped.clone()).expect("an answer").text("keyId");
        assert_eq!(asked.import("again", wrapped).expect("an answer").refusal(), "Invalid Import Token");
        asked.must_be_the_key(&made, name);
        used.must_be_the_key(&made, name);
    }
    let unused = on_one.wrapped("unused");
    assert!(unused.is_some());
    unused_pairs_go(&installation);
    assert!(one.stop().0.success() && other.stop().0.success());
    assert_eq!(installation.database().count("audit_records WHERE operation = 'EXPIRE_IMPORT' AND project_id IS NOT NULL"), 1);
    token_and_database_agree(&installation);
    audit_is_intact(&installation);
}
