//! A log worth tampering with: several processes' chains, one of which ended in a crash, and many checkpoints.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::faults::load::{Client, Kind, Ledger};
use crate::support::installation::Installation;
use crate::support::raw_database::RawDatabase;

/// An installation with a log, nothing running.
pub(super) struct Log {
    pub(super) installation: Installation,
    /// What the services said, checkpoints among it.
    pub(super) anchor: PathBuf,
    /// The checkpoints' public key.
    pub(super) public_key: PathBuf,
}

/// Makes a log: three starts, of which the second crashes.
pub(super) fn write_log(mut installation: Installation) -> Log {
    installation.set("SKM_AUDIT__CHECKPOINT_INTERVAL", "1 s");
    let (mut said, ledger) = (String::new(), Ledger::default());
    for start in 0..3 {
        let running = installation.start();
        let client = Client::new(&installation, &running);
        for kind in [Kind::Secret, Kind::Symmetric, Kind::Rule] {
            ledger.make(&client, kind);
        }
        let claimed = [("x-toast-client-mac-addr", "aa:bb:cc:dd:ee:ff"), ("user-agent", "somebody/1.0")];
        for number in 0..4 {
            let path = format!("/keymanager/v1.0/appkey/{}/symmetric-keys/{}/encrypt", installation.demo("APPKEY"), installation.demo("MTLS_SYMMETRIC_ID"));
            let body = json!({"plaintext": format!("{number}")}).to_string();
            // With the client certificate: every column of these records is filled.
            assert_eq!(running.call(true, "POST", &path, &claimed, Some(body.as_bytes())).expect("an answer").status, 200);
            assert_eq!(client.data("GET", "/symmetric-keys/nothing/symmetric-key", None).expect("an answer").status, 404);
        }
        // One checkpoint more lists what was written so far.
        let seen = running.log().matches("audit checkpoint").count();
        crate::faults::load::wait_until("a checkpoint", std::time::Duration::from_secs(20), || running.log().matches("audit checkpoint").count() > seen);
        if start == 1 {
            said += &running.log();
            running.kill();
        } else {
            let (status, log) = running.stop();
            assert!(status.success(), "{log}");
            said += &log;
        }
    }
    let (code, pem, problems) = installation.run(&["audit", "public-key"]);
    assert_eq!(code, 0, "{problems}");
    let (anchor, public_key) = (installation.path().join("anchor.log"), installation.path().join("audit.pem"));
    std::fs::write(&anchor, said).expect("written");
    std::fs::write(&public_key, pem).expect("written");
    Log { installation, anchor, public_key }
}

/// What `skm audit verify` answered.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) code: i32,
    pub(super) text: String,
}

impl Verdict {
    pub(super) fn must_be_intact(&self) {
        assert!(self.code == 0 && self.text.contains("intact: "), "{self:?}");
    }

    pub(super) fn must_name(&self, case: &str, finding: &str) {
        assert_eq!(self.code, 3, "{case}: {self:?}");
        let named = self.text.lines().any(|line| line.starts_with("ALTERED  ") && line.contains(finding));
        assert!(named, "{case}: nothing says {finding:?}: {self:?}");
    }
}

impl Log {
    /// Verifies with the key pinned and the anchor.
    pub(super) fn verify(&self) -> Verdict {
        self.verify_with(&["--public-key", path(&self.public_key), "--anchor", path(&self.anchor)])
    }

    pub(super) fn verify_with(&self, arguments: &[&str]) -> Verdict {
        let (code, mut text, problems) = self.installation.run(&[&["audit", "verify"], arguments].concat());
        text += &problems;
        Verdict { code, text }
    }

    /// The database, with nothing checked that the schema checks.
    pub(super) fn database(&self) -> RawDatabase {
        let mut database = self.installation.database();
        if matches!(database, RawDatabase::Sqlite(_)) {
            database.run("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA journal_mode = DELETE");
        }
        database
    }

    /// The SQLite file as it was written, to be put back after each case.
    pub(super) fn keep(&self) -> Vec<u8> {
        drop(self.database());
        std::fs::read(self.installation.database_file()).expect("the database")
    }

    pub(super) fn put_back(&self, kept: &[u8]) {
        let file = self.installation.database_file();
        for left in ["-wal", "-shm", "-journal"] {
            let mut name = file.clone().into_os_string();
            name.push(left);
            // There may be none.
            let _ = std::fs::remove_file(name);
        }
        std::fs::write(file, kept).expect("put back");
    }
}

pub(super) fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
