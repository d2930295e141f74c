//! SIGKILL at random points while keys live: made, imported, rotated, asked to be deleted, restored, destroyed, and their old versions likewise.
//! Each client has keys of its own, so that it knows what each of them must be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::load::{Client, Kind, STORE};
use super::settled::{audit_is_intact, short_leases, token_and_database_agree, wait_until_settled};
use crate::support::installation::{Answer, Installation, Running};
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};

/// Clients at the same time.
const CLIENTS: usize = 3;
/// Keys that a client has at most; it goes on with those.
const KEYS: usize = 12;

/// Where the life of a key or a version stands, as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    InService,
    Pending,
    Gone,
}

impl Step {
    /// What a state in the database means to clients; `None`: nobody knows of it yet.
    fn of(state: &str) -> Option<Self> {
        match state {
            "PROVISIONING" => None,
            "ACTIVE" => Some(Self::InService),
            "PENDING_DELETION" => Some(Self::Pending),
            _ => Some(Self::Gone),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Rotate,
    RequestDeletion,
    Restore,
    Delete,
    RequestVersionDeletion(u64),
    RestoreVersion(u64),
    DeleteVersion(u64),
}

impl Command {
    /// Method and path below the key, and the operation of its audit record.
    fn parts(self) -> (&'static str, String, &'static str) {
        match self {
            Self::Rotate => ("POST", "/rotate".to_owned(), "ROTATE_KEY"),
            Self::RequestDeletion => ("PUT", "/delete".to_owned(), "REQUEST_KEY_DELETION"),
            Self::Restore => ("PUT", "/restore".to_owned(), "RESTORE_KEY"),
            Self::Delete => ("DELETE", String::new(), "DELETE_KEY"),
            Self::RequestVersionDeletion(version) => ("PUT", format!("/versions/{version}/delete"), "REQUEST_VERSION_DELETION"),
            Self::RestoreVersion(version) => ("PUT", format!("/versions/{version}/restore"), "RESTORE_VERSION"),
            Self::DeleteVersion(version) => ("DELETE", format!("/versions/{version}"), "DELETE_VERSION"),
        }
    }
}

/// What a key is: all that a command changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    step: Step,
    current: u64,
    versions: BTreeMap<u64, Step>,
}

impl Life {
    /// After `command`; the number of a new version is not foreseen, since those that were never finished are passed over.
    fn after(&self, command: Command, new_version: u64) -> Self {
        let mut life = self.clone();
        match command {
            Command::Rotate => {
                life.current = new_version;
                life.versions.insert(new_version, Step::InService);
            }
            Command::RequestDeletion => life.step = Step::Pending,
            Command::Restore => life.step = Step::InService,
            Command::Delete => {
                life.step = Step::Gone;
                life.versions.values_mut().for_each(|step| *step = Step::Gone);
            }
            Command::RequestVersionDeletion(version) => drop(life.versions.insert(version, Step::Pending)),
            Command::RestoreVersion(version) => drop(life.versions.insert(version, Step::InService)),
            Command::DeleteVersion(version) => drop(life.versions.insert(version, Step::Gone)),
        }
        life
    }

    /// What may be asked of it now.
    fn commands(&self) -> Vec<Command> {
        match self.step {
            Step::Gone => Vec::new(),
            Step::Pending => vec![Command::Restore, Command::Restore, Command::Delete],
            Step::InService => {
                let old = self.versions.iter().filter(|(version, _)| **version != self.current);
                let of_versions = old.flat_map(|(version, step)| match step {
                    Step::InService => vec![Command::RequestVersionDeletion(*version)],
                    Step::Pending => vec![Command::RestoreVersion(*version), Command::DeleteVersion(*version)],
                    Step::Gone => Vec::new(),
                });
                [Command::Rotate, Command::Rotate, Command::RequestDeletion].into_iter().chain(of_versions).collect()
            }
        }
    }
}

/// A key of one client.
#[derive(Debug)]
struct LivingKey {
    id: String,
    kind: Kind,
    /// One that came from outside doesn't rotate.
    is_imported: bool,
    life: Life,
    /// A ciphertext or a signature of each version, where there was time to get one.
    proofs: BTreeMap<u64, String>,
    /// What was asked for and not answered.
    uncertain: Option<Command>,
    /// How often an operation was acknowledged, and asked for.
    records: BTreeMap<&'static str, (usize, usize)>,
}

const TEXT: &str = "what a key is for";

impl LivingKey {
    fn make(client: &Client, kind: Kind, is_imported: bool, name: &str) -> Option<Self> {
        let import = json!({"keyStoreName": STORE, "name": name, "keyData": STANDARD.encode([7; 32])});
        let answer = if is_imported { client.own("POST", "/keys/symmetric-keys/import", Some(&import)) } else { client.make(kind, name) };
        let answer = answer.ok().filter(|answer| answer.status == 200)?;
        let life = Life { step: Step::InService, current: 0, versions: BTreeMap::from([(0, Step::InService)]) };
        let records = BTreeMap::from([(if is_imported { "IMPORT_KEY" } else { "CREATE_KEY" }, (1, 1))]);
        let mut key = Self { id: answer.text("keyId"), kind, is_imported, life, proofs: BTreeMap::new(), uncertain: None, records };
        key.prove(client);
        Some(key)
    }

    fn command(&mut self, client: &Client, random: &mut Random) {
        let mut commands = self.life.commands();
        commands.retain(|command| !self.is_imported || *command != Command::Rotate);
        let command = commands[random.below(commands.len())];
        let (method, below, operation) = command.parts();
        let answer = client.own(method, &format!("/keys/{}{below}", self.id), None);
        let record = self.records.entry(operation).or_default();
        record.1 += 1;
        match answer {
            Ok(answer) if answer.status == 200 => {
                record.0 += 1;
                let new_version = answer.body()["currentKeyValueVersion"].as_u64().unwrap_or_default();
                self.life = self.life.after(command, new_version);
                self.prove(client);
            }
            // What a crash left of a rotation is in the way until its lease ends.
            Ok(answer) if answer.status == 409 && command == Command::Rotate => assert_eq!(answer.refusal(), "Conflict", "{self:?}"),
            Ok(answer) if answer.status != 503 => panic!("{command:?} of {self:?}: {answer:?}"),
            Ok(_) | Err(_) => self.uncertain = Some(command),
        }
    }

    /// Keeps a ciphertext or a signature of the current version, if there is none yet.
    fn prove(&mut self, client: &Client) {
        if self.life.step != Step::InService || self.proofs.contains_key(&self.life.current) {
            return;
        }
        let (action, field) = self.uses().0;
        let answer = client.data("POST", &self.path(action), Some(&json!({"plaintext": TEXT})));
        if let Some(answer) = answer.ok().filter(|answer| answer.status == 200) {
            assert_eq!(answer.body()["keyVersion"], self.life.current, "{self:?}");
            self.proofs.insert(self.life.current, answer.text(field));
        }
    }

    /// What makes a proof and where it is in the answer; what takes it.
    fn uses(&self) -> ((&'static str, &'static str), &'static str) {
        if self.kind == Kind::Symmetric { (("encrypt", "ciphertext"), "decrypt") } else { (("sign", "signature"), "verify") }
    }

    fn path(&self, action: &str) -> String {
        let kind = if self.kind == Kind::Symmetric { "symmetric-keys" } else { "asymmetric-keys" };
        format!("/{kind}/{}/{action}", self.id)
    }

    /// Finds out what became of it: as it was, or as it was asked to be, and nothing else.
    fn resolve(&mut self, installation: &Installation) {
        let mut database = installation.database();
        let of_key = format!("keys WHERE id = '{}'", self.id);
        let step = Step::of(&database.texts("state", &of_key)[0]).expect("a key that was acknowledged");
        let current = database.number("current_version", &of_key).unsigned_abs();
        let rows = database.texts("CAST(version AS TEXT) || ' ' || state", &format!("key_versions WHERE key_id = '{}'", self.id));
        let versions = rows.iter().filter_map(|row| {
            let (version, state) = row.split_once(' ').expect("two words");
            let version: u64 = version.parse().expect("a number");
            // Versions that never were in service are no more than numbers.
            let known = self.life.versions.contains_key(&version) || version == current;
            Step::of(state).filter(|_| known).map(|step| (version, step))
        });
        let found = Life { step, current, versions: versions.collect() };
        let possible: Vec<Life> = std::iter::once(self.life.clone()).chain(self.uncertain.map(|command| self.life.after(command, current))).collect();
        assert!(possible.contains(&found), "{found:?} is none of {possible:?}: {self:?}");
        (self.life, self.uncertain) = (found, None);
    }

    fn must_be_as_it_is(&mut self, client: &Client) {
        let ((make, _), take) = self.uses();
        let asked = |action: &str, body: &Value| client.data("POST", &self.path(action), Some(body)).unwrap_or_else(|error| panic!("{self:?}: {error}"));
        let fresh = asked(make, &json!({"plaintext": TEXT}));
        match self.life.step {
            Step::Gone => return assert_eq!(fresh.refusal(), "Invalid Key ID", "{self:?}"),
            Step::Pending => return assert_eq!(fresh.refusal(), "Invalid Key Status", "{self:?}"),
            Step::InService => assert_eq!(fresh.body()["keyVersion"], self.life.current, "{self:?}"),
        }
        for (version, proof) in &self.proofs {
            let body = if self.kind == Kind::Symmetric { json!({"ciphertext": proof}) } else { json!({"plaintext": TEXT, "signature": proof}) };
            let taken = asked(take, &body);
            match self.life.versions[version] {
                Step::InService => self.must_be_right(&taken),
                Step::Pending => assert_eq!(taken.refusal(), "Invalid Key Version Status", "version {version} of {self:?}"),
                Step::Gone => assert_eq!(taken.refusal(), "Invalid Key Version", "version {version} of {self:?}"),
            }
        }
        self.prove(client);
    }

    fn must_be_right(&self, taken: &Answer) {
        assert_eq!(taken.status, 200, "{self:?}: {taken:?}");
        if self.kind == Kind::Symmetric {
            assert_eq!(taken.body()["plaintext"], TEXT, "{self:?}");
        } else {
            assert_eq!(taken.body()["result"], true, "{self:?}");
        }
    }
}

/// One client's keys.
#[derive(Debug, Default)]
struct Household {
    keys: Vec<LivingKey>,
    made: usize,
}

impl Household {
    /// Lets keys live until `stop`, or until there is nothing left that a client is certain of.
    fn live(&mut self, number: usize, client: &Client, stop: &AtomicBool, mut random: Random) {
        while !stop.load(Ordering::Relaxed) {
            let mut alive: Vec<&mut LivingKey> = self.keys.iter_mut().filter(|key| key.uncertain.is_none() && key.life.step != Step::Gone).collect();
            if alive.is_empty() || (alive.len() < KEYS && random.below(5) == 0) {
                let kind = if random.below(4) == 0 { Kind::Asymmetric } else { Kind::Symmetric };
                self.made += 1;
                let is_imported = kind == Kind::Symmetric && random.below(4) == 0;
                self.keys.extend(LivingKey::make(client, kind, is_imported, &format!("{kind:?} {} of {number}", self.made)));
                continue;
            }
            let chosen = random.below(alive.len());
            alive[chosen].command(client, &mut random);
        }
    }
}

fn crash_amid_lives(installation: &Installation, running: Running, households: &mut [Household], random: &mut Random) {
    let stop = AtomicBool::new(false);
    let client = Client::new(installation, &running).signed_in();
    std::thread::scope(|scope| {
        for (number, household) in households.iter_mut().enumerate() {
            let (client, random, stop) = (client.clone(), random.fork(), &stop);
            scope.spawn(move || household.live(number, &client, stop, random));
        }
        std::thread::sleep(random.between(Duration::from_millis(100), Duration::from_millis(1_500)));
        running.kill();
        stop.store(true, Ordering::Relaxed);
    });
}

fn keys_live_through_crashes(installation: &Installation, rounds: usize, mut random: Random) {
    let mut running = installation.start();
    let mut households: Vec<Household> = std::iter::repeat_with(Household::default).take(CLIENTS).collect();
    for round in 0..rounds {
        crash_amid_lives(installation, running, &mut households, &mut random);
        running = installation.start();
        let client = Client::new(installation, &running);
        let keys = households.iter_mut().flat_map(|household| household.keys.iter_mut());
        let (mut all, mut uncertain) = (0, 0);
        for key in keys.filter(|key| key.uncertain.is_some() || key.life.step != Step::Gone) {
            (all, uncertain) = (all + 1, uncertain + usize::from(key.uncertain.is_some()));
            key.resolve(installation);
            key.must_be_as_it_is(&client);
        }
        println!("round {round}: {all} keys, {uncertain} commands unanswered");
    }
    wait_until_settled(installation);
    let client = Client::new(installation, &running);
    let mut keys: Vec<LivingKey> = households.into_iter().flat_map(|household| household.keys).collect();
    for key in &mut keys {
        key.resolve(installation);
        key.must_be_as_it_is(&client);
    }
    println!("{} keys, {} versions", keys.len(), keys.iter().map(|key| key.life.versions.len()).sum::<usize>());
    assert!(!is_full() || keys.iter().any(|key| key.life.versions.len() > 1), "no key ever rotated");
    let (status, log) = running.stop();
    assert!(status.success(), "{status}\n{log}");
    each_command_has_its_record(installation, &keys);
    token_and_database_agree(installation);
    audit_is_intact(installation);
}

/// What was acknowledged was recorded; what was recorded was asked for.
fn each_command_has_its_record(installation: &Installation, keys: &[LivingKey]) {
    let from = "audit_records WHERE result_code = 0 AND actor_kind = 'access-key' AND key_id IS NOT NULL";
    let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
    for record in installation.database().texts("operation || ' ' || key_id", from) {
        *recorded.entry(record).or_default() += 1;
    }
    for key in keys {
        for (operation, (acknowledged, asked)) in &key.records {
            let count = recorded.get(&format!("{operation} {}", key.id)).copied().unwrap_or_default();
            assert!((*acknowledged..=*asked).contains(&count), "{count} records of {operation}, {acknowledged} acknowledged: {key:?}");
        }
    }
    assert!(!keys.is_empty(), "nothing was ever made in {STORE}");
}

#[test]
fn on_sqlite() {
    let installation = short_leases(Installation::new());
    keys_live_through_crashes(&installation, if is_full() { 50 } else { 3 }, Random::of_test("faults::lives::on_sqlite"));
}

#[test]
fn on_postgresql() {
    let cluster = Cluster::start();
    let installation = short_leases(Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
    keys_live_through_crashes(&installation, if is_full() { 50 } else { 2 }, Random::of_test("faults::lives::on_postgresql"));
}
