//! The writer: one thread per process, with a connection of its own, does all that is written. It commits what has queued up, and only
//! then answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::audit::Chain;
use super::batch::{Batch, Company};
use super::connection::{Access, Connector, Db, Files};
use super::dialect;
use super::error::StoreError;
use super::queue::{Found, Taker};
use super::work::Work;
use crate::domain::clock::SharedClock;
use crate::domain::ids::ChainId;

/// The first pause after a second failure in a row; it doubles up to [`PAUSE_MAX`]. While it lasts, work is refused at once.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause before the database is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How the writer does, for those who mustn't wait to know.
#[derive(Debug)]
pub(super) struct Health {
    origin: Instant,
    deadline: Duration,
    problem: ArcSwapOption<String>,
    /// When the batch that is under way began, in microseconds after `origin`, plus one; 0 between batches.
    began: AtomicU64,
    /// How many records this process's chain has.
    records: AtomicI64,
}

impl Health {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { origin: Instant::now(), deadline, problem: ArcSwapOption::empty(), began: AtomicU64::new(0), records: AtomicI64::new(0) }
    }

    /// How many records of this process are durable.
    pub(super) fn records(&self) -> i64 {
        self.records.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        let micros = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.began.store(micros + 1, Ordering::Relaxed);
    }

    fn end(&self, outcome: &Result<(), StoreError>) {
        self.began.store(0, Ordering::Relaxed);
        match outcome {
            Ok(()) if self.problem.load().is_none() => {}
            Ok(()) => self.problem.store(None),
            Err(error) => self.problem.store(Some(Arc::new(error.to_string()))),
        }
    }

    /// Whether the last commit succeeded and none is taking longer than the deadline.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(problem) = self.problem.load().as_deref() {
            return Err(problem.clone());
        }
        match self.began.load(Ordering::Relaxed) {
            0 => Ok(()),
            began => {
                let taking = self.origin.elapsed().saturating_sub(Duration::from_micros(began - 1));
                if taking > self.deadline { Err(format!("the database has not answered for {} s", taking.as_secs())) } else { Ok(()) }
            }
        }
    }
}

/// The writer's thread.
pub(super) struct Writer {
    pub(super) connector: Connector,
    pub(super) queue: Taker<Work>,
    pub(super) health: Arc<Health>,
    pub(super) node: String,
    pub(super) chain: ChainId,
    pub(super) clock: SharedClock,
    /// The connection with the chain as the database has it; none after a failure.
    pub(super) connection: Option<(Db, Chain)>,
    /// The chain as the last commit that was answered left it.
    pub(super) acknowledged: Option<Chain>,
    /// What the connection has open.
    pub(super) files: Files,
    pub(super) pause: Pause,
}

/// When a database that failed is tried again.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The first failure may be this batch's own: only from the second on there is a pause.
    fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.checked_sub(2);
        self.until = doublings.map(|doublings| Instant::now() + PAUSE_MIN.saturating_mul(1 << doublings.min(10)).min(PAUSE_MAX));
    }

    fn is_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

impl Writer {
    /// Works until it is told to stop, or nobody is left who could.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.next() {
            if self.work_off(batch) {
                break;
            }
        }
        self.drain();
    }

    /// Waits for work. In trouble it waits no longer than a pause lasts, and answers no work: the database is tried all the same, so
    /// that health returns without anybody's request having to fail first.
    fn next(&self) -> Option<Batch> {
        let at_most = self.health.check().is_err().then_some(PAUSE_MAX);
        let mut batch = self.empty_batch();
        match self.queue.take(at_most, |work| batch.take(work)) {
            Found::Some | Found::Nothing => Some(batch),
            Found::End => None,
        }
    }

    fn empty_batch(&self) -> Batch {
        Batch::new(if self.connector.is_sqlite() { Company::Many } else { Company::Alone })
    }

    /// Does a batch; whether it was the last.
    fn work_off(&mut self, batch: Batch) -> bool {
        let is_last = batch.is_last;
        batch.into_transactions().for_each(|transaction| self.transact(transaction));
        is_last
    }

    fn transact(&mut self, mut batch: Batch) {
        batch.forget_unwanted();
        if self.pause.is_on() {
            let problem = self.health.check().err().unwrap_or_default();
            batch.answer(&Err(StoreError::unavailable(problem)));
        } else if !batch.is_empty() || self.health.check().is_err() {
            self.health.begin();
            // What panics here takes its batch along, whose waiters learn it by their dropped channels, but not the writer.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.commit(&mut batch))).unwrap_or_else(|_| Err(StoreError::unavailable("the writer panicked")));
            if outcome.is_ok() {
                self.pause.succeeded();
            } else {
                self.connection = None;
                self.pause.failed();
            }
            self.health.end(&outcome);
            batch.answer(&outcome);
        }
    }

    /// Commits a batch. Whatever fails, nothing of it may be taken as done.
    fn commit(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let now = self.clock.now();
        let node = self.node.clone();
        if self.connection.is_some() {
            self.require_files()?;
        }
        self.begin()?;
        let (db, chain) = self.connected()?;
        *chain = batch.commit(db, &node, chain, now).map_err(as_unavailable)?;
        let (records, acknowledged) = (chain.records(), chain.clone());
        // Gone meanwhile: then this is in a file that nobody will read.
        self.require_files()?;
        self.health.records.store(records, Ordering::Relaxed);
        self.acknowledged = Some(acknowledged);
        Ok(())
    }

    /// Begins a transaction. A connection to a server that was lost while nothing was written is noticed here, and replaced: nothing
    /// was begun with it.
    fn begin(&mut self) -> Result<(), StoreError> {
        let was_connected = self.connection.is_some();
        let (db, _) = self.connected()?;
        let begun = dialect::begin_write(db).map_err(StoreError::from).map_err(as_unavailable);
        if begun.is_ok() || !was_connected || matches!(db, Db::Sqlite(_)) {
            return begun;
        }
        self.connection = None;
        let (db, _) = self.connected()?;
        dialect::begin_write(db).map_err(StoreError::from).map_err(as_unavailable)
    }

    /// Refuses to write to a file that was moved or removed.
    fn require_files(&self) -> Result<(), StoreError> {
        if self.connector.files() == self.files { Ok(()) } else { Err(StoreError::unavailable("the database's file was moved or removed")) }
    }

    /// The connection, made anew and with the chain's head read again if the last one failed.
    fn connected(&mut self) -> Result<&mut (Db, Chain), StoreError> {
        if self.connection.is_none() {
            let mut db = self.connector.connect(Access::Write)?;
            let chain = Chain::read(&mut db, self.chain, &self.node).map_err(as_unavailable)?;
            // An older copy in the database's place, or a replica that was promoted too early: to go on would hide the loss.
            if self.acknowledged.as_ref().is_some_and(|acknowledged| !chain.continues(acknowledged)) {
                return Err(StoreError::unavailable("the database has lost audit records that were acknowledged"));
            }
            self.connection = Some((db, chain));
            self.files = self.connector.files();
        }
        self.connection.as_mut().ok_or_else(|| StoreError::unavailable("no connection"))
    }

    /// Does what was queued before the end.
    fn drain(&mut self) {
        loop {
            let mut batch = self.empty_batch();
            self.queue.take(Some(Duration::ZERO), |work| batch.take(work));
            if batch.is_empty() && !batch.is_last {
                return;
            }
            self.work_off(batch);
        }
    }
}

/// A batch that failed may have failed for one of its waiters' sake: none of them may take that for an answer to its own question.
fn as_unavailable(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { .. } => error,
        other => StoreError::unavailable(other.to_string()),
    }
}
