//! A database that is full, locked, or gone.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::load::{Client, Kind, Ledger, wait_until};
use super::settled::{audit_is_intact, short_leases, the_acknowledged_are_audited, the_others_are_whole_or_free, token_and_database_agree, wait_until_settled};
use crate::support::installation::{Answer, Installation, Running};
use crate::support::postgres::Cluster;

/// The database's `deadline`, 2 s, for a read and for the record, and what a busy machine adds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2 + 2 + 4);
/// How long until it is served again; the writer tries each second at least.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// How often the demo's symmetric key was used for encryption: as counted, and as recorded.
pub(super) fn encryptions(installation: &Installation) -> (i64, i64) {
    let key = installation.demo("SYMMETRIC_ID");
    let mut database = installation.database();
    let counted = database.number("COALESCE(SUM(encryptions), 0)", &format!("usage WHERE key_id = '{key}'"));
    (counted, database.count(&format!("audit_records WHERE operation = 'ENCRYPT' AND result_code = 0 AND key_id = '{key}'")))
}

/// A refusal that shows nothing of what the token did, in time.
fn must_be_unavailable(ask: impl FnOnce() -> Result<Answer, ureq::Error>) {
    let began = Instant::now();
    let answer = ask().expect("an answer");
    assert_eq!((answer.status, answer.refusal()), (503, "Service Unavailable"), "{answer:?}");
    assert!(answer.retry_after.is_some(), "{answer:?}");
    let text = answer.json.to_string();
    assert!(!text.contains("plaintext") && !text.contains("ciphertext") && !text.contains("secret") && !text.contains("signature"), "{answer:?}");
    assert!(began.elapsed() < ANSWERED_WITHIN, "took {:?}: {answer:?}", began.elapsed());
}

/// The service as a client sees it, with a ciphertext and a signature from better times.
struct Trial<'a> {
    installation: &'a Installation,
    running: Running,
    client: Client,
    ledger: Ledger,
    ciphertext: String,
}

impl<'a> Trial<'a> {
    fn new(installation: &'a Installation, running: Running) -> Self {
        let client = Client::new(installation, &running);
        let ciphertext = client.encrypt(installation.demo("SYMMETRIC_ID"), "from better times").expect("an answer").text("ciphertext");
        let trial = Self { installation, running, client, ledger: Ledger::default(), ciphertext };
        trial.must_serve();
        trial
    }

    /// What uses keys works, and its record is there when the answer is.
    fn must_serve(&self) {
        let decrypted = self.client.decrypt(self.installation.demo("SYMMETRIC_ID"), &self.ciphertext).expect("an answer");
        assert_eq!(decrypted.text("plaintext"), "from better times");
        let records = self.installation.database().count(&format!("audit_records WHERE request = '{}' AND operation = 'DECRYPT'", decrypted.request_id));
        assert_eq!(records, 1, "{decrypted:?}");
    }

    /// Nothing is done that can't be recorded, and nothing leaves.
    fn must_refuse_everything(&self) {
        let (symmetric, asymmetric) = (self.installation.demo("SYMMETRIC_ID"), self.installation.demo("ASYMMETRIC_ID"));
        must_be_unavailable(|| self.client.encrypt(symmetric, "now"));
        must_be_unavailable(|| self.client.decrypt(symmetric, &self.ciphertext));
        must_be_unavailable(|| self.client.data("POST", &format!("/symmetric-keys/{symmetric}/create-local-key"), None));
        must_be_unavailable(|| self.client.data("POST", &format!("/asymmetric-keys/{asymmetric}/sign"), Some(&json!({"plaintext": "x"}))));
        must_be_unavailable(|| self.client.data("GET", &format!("/secrets/{}", self.installation.demo("SECRET_ID")), None));
        must_be_unavailable(|| self.client.data("GET", "/confirm", None));
        for kind in Kind::ALL {
            self.ledger.make(&self.client, kind);
        }
        assert!(self.ledger.acknowledged().is_empty(), "{:?}", self.ledger);
    }

    fn must_be_unready(&self, problem: &str) {
        wait_until(problem, Duration::from_secs(10), || {
            let (status, text) = self.running.operations("/readyz");
            let problems: Vec<String> = serde_json::from_str::<Value>(&text).expect("JSON")["problems"]
                .as_array()
                .expect("problems")
                .iter()
                .map(|problem| problem.as_str().expect("a text").to_owned())
                .collect();
            status == 503 && problems.iter().any(|told| told.starts_with(problem))
        });
    }

    /// It comes back by itself, and nothing is half done.
    fn must_recover(self) {
        let took = wait_until("ready", BACK_WITHIN, || self.running.operations("/readyz").0 == 200);
        println!("ready {took:?} after the database was back");
        self.must_serve();
        self.client.encrypt(self.installation.demo("SYMMETRIC_ID"), "again").expect("an answer").text("ciphertext");
        wait_until_settled(self.installation);
        the_others_are_whole_or_free(self.installation, &self.client, &self.ledger);
        wait_until_settled(self.installation);
        let (status, log) = self.running.stop();
        assert!(status.success(), "{status}\n{log}");
        the_acknowledged_are_audited(self.installation, &self.ledger);
        token_and_database_agree(self.installation);
        audit_is_intact(self.installation);
        let (counted, recorded) = encryptions(self.installation);
        assert_eq!(counted, recorded);
    }
}

#[test]
fn locked_by_another_process() {
    let installation = short_leases(Installation::new());
    let trial = Trial::new(&installation, installation.start());
    let mut other = installation.database();
    other.run("BEGIN EXCLUSIVE");
    trial.must_refuse_everything();
    trial.must_be_unready("database: ");
    other.run("ROLLBACK");
    trial.must_recover();
}

#[test]
fn its_file_gone() {
    let installation = short_leases(Installation::new());
    let trial = Trial::new(&installation, installation.start());
    let data = installation.path().join("data");
    let away = installation.path().join("away");
    std::fs::DirBuilder::new().mode(0o700).create(&away).expect("a directory");
    let files = ["skm.sqlite3", "skm.sqlite3-wal", "skm.sqlite3-shm"];
    let move_all = |from: &Path, to: &Path| files.iter().for_each(|name| std::fs::rename(from.join(name), to.join(name)).expect("moved"));
    move_all(&data, &away);
    // Nothing is written while nobody asks; the change log is read all the time.
    trial.must_be_unready("freshness: ");
    trial.must_refuse_everything();
    assert!(!data.join(files[0]).exists(), "an empty database was made in its place");
    move_all(&away, &data);
    trial.must_recover();
}

/// A file system of 3 MiB, where we may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "none"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    /// Fills what is left of it, and answers the file that does.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = std::fs::File::create(&ballast).expect("a file");
        let full = std::iter::repeat_with(|| std::io::Write::write_all(&mut file, &[0; 4096])).take(4096).find_map(Result::err);
        assert_eq!(full.expect("a full disk").kind(), std::io::ErrorKind::StorageFull);
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The service may still be about to end.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn its_disk_full() {
    let mut installation = short_leases(Installation::new());
    let disk = installation.path().join("disk");
    std::fs::DirBuilder::new().mode(0o700).create(&disk).expect("a directory");
    let Some(small) = SmallDisk::mount(&disk) else {
        println!("no right to mount a small file system: not tried");
        return;
    };
    installation.move_database(&disk.join("skm.sqlite3"));
    let trial = Trial::new(&installation, installation.start());
    let ballast = small.fill();
    // What room is left in the pages and the log's file is used up first.
    let key = installation.demo("SYMMETRIC_ID");
    wait_until("full", Duration::from_secs(60), || (0..50).any(|_| trial.client.encrypt(key, "until nothing more goes in").expect("an answer").status == 503));
    let (_, before) = encryptions(&installation);
    trial.must_be_unready("database: ");
    trial.must_refuse_everything();
    assert_eq!(encryptions(&installation), (before, before));
    std::fs::remove_file(ballast).expect("removed");
    trial.must_recover();
}

/// Limits how large files may become that the service writes to (`RLIMIT_FSIZE`, its soft limit).
fn limit_files(running: &Running, bytes: &str) {
    let limited = Command::new("prlimit").args(["--pid", &running.pid().to_string(), &format!("--fsize={bytes}:unlimited")]).status();
    assert!(limited.expect("prlimit").success());
}

/// Every write that makes a file longer fails, as on a disk that breaks.
#[test]
fn its_files_must_not_grow() {
    let installation = short_leases(Installation::new());
    let serve = installation.command(&["serve", "--dev"]);
    // The signal that comes with such a write is ignored, as service managers let it be.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    for (name, value) in serve.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let running = installation.try_start_with(command).unwrap_or_else(|log| panic!("{log}"));
    let trial = Trial::new(&installation, running);
    let log = installation.database_file().with_extension("sqlite3-wal");
    limit_files(&trial.running, &std::fs::metadata(log).expect("the write-ahead log").len().to_string());
    let key = installation.demo("SYMMETRIC_ID");
    wait_until("limited", Duration::from_secs(60), || trial.client.encrypt(key, "until nothing more goes in").expect("an answer").status == 503);
    let (_, before) = encryptions(&installation);
    trial.must_be_unready("database: ");
    trial.must_refuse_everything();
    assert_eq!(encryptions(&installation), (before, before));
    limit_files(&trial.running, "unlimited");
    trial.must_recover();
}

#[test]
fn postgresql_stopped_and_started() {
    let mut cluster = Cluster::start();
    let installation = short_leases(Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
    let trial = Trial::new(&installation, installation.start());
    cluster.stop();
    // The change log can't be read: its rules are fresh for a second at most.
    trial.must_be_unready("freshness: ");
    trial.must_refuse_everything();
    cluster.start_again();
    trial.must_recover();
}

#[test]
fn postgresql_silent() {
    let cluster = Cluster::start();
    let installation = short_leases(Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
    let trial = Trial::new(&installation, installation.start());
    cluster.freeze();
    trial.must_be_unready("freshness: ");
    trial.must_refuse_everything();
    cluster.thaw();
    trial.must_recover();
}
