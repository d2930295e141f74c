//! The follower: reads the change log on a connection of its own and hands on what is new.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use diesel::connection::SimpleConnection as _;

use super::connection::{Access, Connector, Db};
use super::error::StoreError;
use super::model::Change;
use super::{changes, dialect};

/// When the last successful read of the change log began, on the monotonic clock.
#[derive(Debug)]
pub(super) struct Freshness {
    origin: Instant,
    /// Microseconds after `origin`; [`Freshness::NEVER`] before the first.
    last: AtomicU64,
}

impl Freshness {
    const NEVER: u64 = u64::MAX;

    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), last: AtomicU64::new(Self::NEVER) }
    }

    fn note(&self, began: Instant) {
        let micros = u64::try_from(began.duration_since(self.origin).as_micros()).unwrap_or(Self::NEVER - 1);
        self.last.store(micros, Ordering::Release);
    }

    /// How long ago that was.
    pub(super) fn age(&self) -> Option<Duration> {
        match self.last.load(Ordering::Acquire) {
            Self::NEVER => None,
            micros => Some(self.origin.elapsed().saturating_sub(Duration::from_micros(micros))),
        }
    }
}

/// The follower's thread.
pub(super) struct Follower<F> {
    pub(super) connector: Connector,
    pub(super) interval: Duration,
    pub(super) freshness: Arc<Freshness>,
    /// The last change that was handed on. It starts at the one that was the last when the store was opened: what was read since
    /// then may be cached, what was read before may not.
    pub(super) position: i64,
    /// Disconnected when the store shuts down.
    pub(super) stop: Receiver<()>,
    pub(super) apply: F,
}

impl<F: Fn(&[Change])> Follower<F> {
    /// Reads until the store shuts down. A read that fails is tried again, on a new connection, at the next interval.
    pub(super) fn run(mut self) {
        let (mut connection, mut files) = (None, self.connector.files());
        loop {
            let began = Instant::now();
            let now = self.connector.files();
            if now != files {
                (connection, files) = (None, now);
            }
            // A panic of `apply` counts as a failed read: the change isn't passed over, and freshness ages.
            match catch_unwind(AssertUnwindSafe(|| self.catch_up(&mut connection))) {
                Ok(Ok(last_began)) => self.freshness.note(last_began),
                Ok(Err(_)) | Err(_) => connection = None,
            }
            let pause = self.interval.saturating_sub(began.elapsed());
            match self.stop.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Reads until nothing is left; answers when the last read began. What changes while that is handed on waits for the next
    /// interval, so that a busy database doesn't make it look stale.
    fn catch_up(&mut self, connection: &mut Option<Db>) -> Result<Instant, StoreError> {
        let db = match connection {
            Some(db) => db,
            None => connection.insert(self.connector.connect(Access::Read)?),
        };
        loop {
            let began = Instant::now();
            dialect::begin_read(db)?;
            let page = changes::after(db, self.position);
            db.batch_execute("ROLLBACK")?;
            let page = page?;
            if !page.changes.is_empty() {
                (self.apply)(&page.changes);
            }
            self.position = page.reached;
            if page.is_last {
                return Ok(began);
            }
        }
    }
}
