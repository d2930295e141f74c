//! Metadata and the audit log: the only room that knows `diesel`.
//!
//! [`Store`] is the door. Reading takes a closure over a [`Reader`], changing one over a [`Tx`]; what a [`Tx`] did is durable,
//! its audit record included, when [`Store::change`] returns `Ok`.
//!
//! ```text
//! Store ──► read:   idle connections, one transaction per unit, on a thread that may block
//!       ──► change: gate, which a backup closes ──► queue; audit: queue
//!           queue ──► writer (one thread) ──► batch (PostgreSQL: one change at most) ──► savepoint per change, then records, counters,
//!                     change numbers
//!       ──► follow: follower (one thread) ──► change log
//! ```

mod access_keys;
mod accounts;
mod audit;
mod authorities;
mod backup;
mod batch;
mod change_items;
mod change_requests;
mod changes;
mod checkpoints;
mod client_entries;
mod client_rules;
mod connection;
mod dialect;
mod due;
mod error;
mod follower;
mod gate;
mod governance;
mod history;
mod import_pairs;
mod internal_keys;
mod inventory;
mod key_stores;
mod keys;
mod known_browsers;
mod life;
mod lists;
mod migrations;
mod model;
mod objects;
mod outbox;
mod projects;
mod queue;
mod recipients;
mod rows;
mod schema;
mod second_factor;
mod service_settings;
mod sessions;
mod settings;
mod statistics;
mod tokens;
mod unit;
mod usage;
mod work;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use ring::rand::SecureRandom as _;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{timeout, timeout_at};

pub use access_keys::TOO_MANY_ACCESS_KEYS;
pub use accounts::LAST_ADMINISTRATOR;
pub use client_entries::NewClientEntry;
pub use error::{StoreError, Unique};
pub use history::{HISTORY_COUNT_MAX, HISTORY_REACH, HistoryEntry, HistoryWanted, LogState, Stretch, StretchEnd};
pub use import_pairs::{IMPORT_PAIRS_MAX, TOO_MANY_IMPORT_PAIRS};
pub use inventory::{KeyPosition, ListedClientRule, ListedKey};
pub use lists::ClientsPage;
pub use model::{Change, Checkpoint, DoomedImportPair, Due, DueKind, DueSubject, ExpiredObject, ExpiringCertificates, InternalKey, KeptAuthority};
pub use model::{
    KeyRow, NewCertificate, NewImportPair, NewKey, OftenUsed, PlannedObject, Purpose, RequestFilter, RevocationList, RevokedRule, StoredChain, StoredRecord,
};
pub use outbox::{OutboxCounts, TakenMessage, facts_as_told};
pub use projects::LAST_APPKEY;
pub use recipients::{NewRecipient, TOO_MANY_RECIPIENTS};
pub use second_factor::SecondFactor;
pub use sessions::{NewSession, SignIn};
pub use settings::{DatabaseSettings, StoreSettings};
pub use statistics::{CallCount, CallRange, KeyCalls, NamedKey, OperationCalls, UncountedChain};
pub use tokens::{FORGET_TOKENS_MAX, TOKENS_MAX, UNUSABLE_ACCESS_KEY};
pub use unit::{Reader, Tx};

use crate::domain::audit::{AuditEvent, Uses};
use crate::domain::clock::SharedClock;
use crate::domain::ids::ChainId;
use audit::Chain;
use connection::{Access, Connector, IdleReaders};
use follower::{Follower, Freshness};
use gate::Gate;
use work::{Closure, Record, Work};
use writer::{Health, Writer};

/// The database, shared by everything in the process. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connector: Connector,
    deadline: Duration,
    chain: ChainId,
    readers: IdleReaders,
    /// As many as there may be connections for reading.
    permits: Arc<Semaphore>,
    gate: Gate,
    queue: queue::Sender<Work>,
    health: Arc<Health>,
    freshness: Arc<Freshness>,
    /// The last change when the store was opened.
    position: i64,
    closed: AtomicBool,
    threads: Mutex<Threads>,
}

/// What a shutdown ends.
#[derive(Debug)]
struct Threads {
    /// Dropped to end the followers.
    stop: Option<Sender<()>>,
    stopped: Receiver<()>,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    /// Disconnected when the thread has come to its end: joining has no time-out of its own.
    ended: Receiver<()>,
}

impl Running {
    fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Self, StoreError> {
        let (end, ended) = crossbeam_channel::bounded(0);
        let run = move || {
            work();
            drop(end);
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        Ok(Self { thread: thread.map_err(|error| StoreError::failed(error.to_string()))?, ended })
    }

    /// Whether it ended, waiting until `until` at most.
    fn join(self, until: Instant) -> bool {
        let in_time = matches!(self.ended.recv_deadline(until), Err(crossbeam_channel::RecvTimeoutError::Disconnected));
        in_time && self.thread.join().is_ok()
    }
}

impl Store {
    /// Brings the schema up to date; answers the migrations that ran. Blocking.
    pub fn migrate(database: &DatabaseSettings) -> Result<Vec<String>, StoreError> {
        migrations::run(database)
    }

    /// Opens the database, refusing a schema that is older or newer than the program; starts the writer. Blocking.
    pub fn open(settings: &StoreSettings, clock: SharedClock) -> Result<Self, StoreError> {
        let connector = Connector::new(&settings.database, settings.deadline);
        let mut db = connector.connect(Access::Write)?;
        migrations::check(&mut db)?;
        let position = changes::position(&mut db)?;
        let chain = new_chain()?;
        let chain_now = Chain::read(&mut db, chain, &settings.node)?;
        let (queue, work) = queue::bounded(settings.queue_limit.max(1));
        let health = Arc::new(Health::new(settings.deadline));
        let writer = Writer {
            connector: connector.clone(),
            queue: work,
            health: Arc::clone(&health),
            node: settings.node.clone(),
            chain,
            clock,
            connection: Some((db, chain_now)),
            acknowledged: None,
            files: connector.files(),
            pause: writer::Pause::default(),
        };
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let running = vec![Running::start("store-writer", || writer.run())?];
        let inner = Inner {
            readers: IdleReaders::new(connector.clone()),
            connector,
            deadline: settings.deadline,
            chain,
            permits: Arc::new(Semaphore::new(usize::try_from(settings.read_connections.max(1)).unwrap_or(1))),
            gate: Gate::new(settings.queue_limit.max(1)),
            queue,
            health,
            freshness: Arc::new(Freshness::new()),
            position,
            closed: AtomicBool::new(false),
            threads: Mutex::new(Threads { stop: Some(stop), stopped, running }),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `work` over a consistent view, on a thread that may block.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut Reader<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, mut answer) = oneshot::channel();
        // Nobody may wait for it any more.
        self.read_by(Box::new(move |reader| drop(reply.send(work(reader))))).await?;
        answer.try_recv().unwrap_or_else(|_| Err(StoreError::failed("a read ended without an answer").into()))
    }

    /// What is the same for all reads, so that it is compiled once.
    async fn read_by(&self, work: Box<dyn FnOnce(&mut Reader<'_>) + Send>) -> Result<(), StoreError> {
        let waiting = Arc::clone(&self.inner.permits).acquire_owned();
        let permit = match timeout(self.inner.deadline, waiting).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(closed()),
            Err(_) => return Err(StoreError::Busy),
        };
        let inner = Arc::clone(&self.inner);
        let unit = tokio::task::spawn_blocking(move || {
            // Held until the connection is back, whoever still waits for the answer.
            let _permit = permit;
            let mut db = inner.readers.take()?;
            work(&mut Reader { db: &mut db });
            inner.readers.give_back(db);
            Ok(())
        });
        match timeout(self.inner.deadline, unit).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(StoreError::failed("a read panicked")),
            Err(_) => Err(late()),
        }
    }

    /// Runs `work` in the writer, in a savepoint of its own, and answers when it is durable. `Err` of `work` undoes it all.
    /// A change that keeps no audit record by [`Tx::audit`] is a mistake of the caller, except for the steps of making and
    /// destroying objects before and after the one that is acknowledged.
    ///
    /// While a backup is made it waits, as long as any other work may take and no longer.
    ///
    /// Every thread of the process waits for the one that runs `work`: it must do nothing but read and write the database.
    pub async fn change<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let until = tokio::time::Instant::now() + self.inner.deadline;
        let pass = self.inner.gate.pass(until).await?;
        let (reply, answer) = oneshot::channel();
        self.enqueue(Work::Change(Box::new(Closure::new(work, pass, reply))), 0)?;
        match timeout_at(until, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(closed().into()),
            Err(_) => Err(late().into()),
        }
    }

    /// Keeps one audit record with what the request used, and answers when it is durable.
    pub async fn audit(&self, event: AuditEvent, uses: Uses) -> Result<(), StoreError> {
        self.audit_in_company(event, uses, 0).await
    }

    /// The same, where so many records, this one included, are expected soon: the commit waits for them, 2 ms at most. It pays where
    /// other requests wait for the token, which stays busy meanwhile, and the cores are wanted there.
    pub async fn audit_in_company(&self, event: AuditEvent, uses: Uses, company: usize) -> Result<(), StoreError> {
        audit::check_text(&event)?;
        let (reply, answer) = oneshot::channel();
        self.enqueue(Work::Record(Box::new(Record { content: Some((event, uses)), reply })), company)?;
        match timeout(self.inner.deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(late()),
        }
    }

    fn enqueue(&self, work: Work, company: usize) -> Result<(), StoreError> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        self.inner.queue.try_send(work, company).map_err(|error| match error {
            queue::NotQueued::Full => StoreError::Busy,
            queue::NotQueued::Closed => closed(),
        })
    }

    /// Reads the change log each `interval` on a connection of its own, from the primary, and hands what is new since the store was
    /// opened to `apply`; stops when the store is shut down. A read that fails is tried again at the next interval.
    /// To be called once. `apply` must take [`Change::Everything`] for what it says.
    pub fn follow(&self, interval: Duration, apply: impl Fn(&[Change]) + Send + Sync + 'static) {
        let mut threads = self.inner.threads.lock();
        if threads.stop.is_none() {
            return;
        }
        let follower = Follower {
            connector: self.inner.connector.clone(),
            interval,
            freshness: Arc::clone(&self.inner.freshness),
            position: self.inner.position,
            stop: threads.stopped.clone(),
            apply,
        };
        // A thread that can't be started leaves `staleness` at `None`, and so nothing is served.
        if let Ok(running) = Running::start("store-follower", || follower.run()) {
            threads.running.push(running);
        }
    }

    /// How long ago the last successful read of the change log began; `None` before the first.
    pub fn staleness(&self) -> Option<Duration> {
        self.inner.freshness.age()
    }

    /// Whether the writer's last commit succeeded, and what was wrong if not; never waits.
    pub fn health(&self) -> Result<(), String> {
        self.inner.health.check()
    }

    /// The database's name, for people.
    pub fn kind(&self) -> &'static str {
        if self.inner.connector.is_sqlite() { "SQLite" } else { "PostgreSQL" }
    }

    /// How many records and changes wait for the writer.
    pub fn queued(&self) -> usize {
        self.inner.queue.len()
    }

    /// How many audit records of this process are durable; never waits.
    pub fn records_written(&self) -> i64 {
        self.inner.health.records()
    }

    /// This process's audit chain.
    pub fn chain(&self) -> ChainId {
        self.inner.chain
    }

    /// Copies the database to `target` (SQLite: a consistent copy; PostgreSQL: refused, `pg_dump` does that) while changes wait and audit
    /// records don't; `Busy` if the changes under way don't end within the deadline. `meanwhile` runs, with changes still
    /// waiting, after the copy: it may block. `target` must not be there; after an error of the copy or of `meanwhile` it isn't.
    /// Once begun it goes on, whether or not somebody still waits for it.
    pub async fn backup<F>(&self, target: PathBuf, meanwhile: F) -> Result<(), StoreError>
    where
        F: FnOnce() -> Result<(), String> + Send + 'static,
    {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        if !self.inner.connector.is_sqlite() {
            return Err(StoreError::failed("a PostgreSQL database is backed up by pg_dump"));
        }
        let no_changes = self.inner.gate.close(tokio::time::Instant::now() + self.inner.deadline).await?;
        let connector = self.inner.connector.clone();
        let copying = tokio::task::spawn_blocking(move || {
            let _no_changes = no_changes;
            backup::run(&connector, &target, meanwhile)
        });
        copying.await.unwrap_or_else(|_| Err(StoreError::failed("a backup panicked")))
    }

    /// Ends the follower and the writer after what is queued is durable. Blocking, at most `within`; `false` if it took longer.
    pub fn shut_down(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let running = {
            let mut threads = self.inner.threads.lock();
            threads.stop = None;
            std::mem::take(&mut threads.running)
        };
        // A second call finds nothing left to end.
        if self.inner.closed.swap(true, Ordering::AcqRel) {
            return running.is_empty();
        }
        let told = self.inner.queue.send_deadline(Work::Stop, 0, Some(until)).is_ok();
        // All of them, even after one that is late.
        running.into_iter().fold(told, |ended, running| running.join(until) && ended)
    }
}

fn new_chain() -> Result<ChainId, StoreError> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| StoreError::failed("no random numbers"))?;
    Ok(ChainId::from_bytes(bytes))
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is shut down")
}

fn late() -> StoreError {
    StoreError::unavailable("no answer within the deadline")
}
