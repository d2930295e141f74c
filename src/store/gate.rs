//! The gate that every change passes and that a backup closes. Audit records don't pass it: requests go on while a copy is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::{Instant, timeout_at};

use super::error::StoreError;

/// Held by a change from before it is queued until it is answered, whether or not somebody still waits for it.
pub(super) type Pass = OwnedRwLockReadGuard<()>;
/// While it is held, no change is under way and none begins.
pub(super) type Closed = OwnedRwLockWriteGuard<()>;

/// Open to all changes at once, or closed.
#[derive(Debug)]
pub(super) struct Gate {
    lock: Arc<RwLock<()>>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Gate {
    /// A gate before which `waiting_max` changes may wait.
    pub(super) fn new(waiting_max: usize) -> Self {
        Self { lock: Arc::default(), waiting: AtomicUsize::new(0), waiting_max }
    }

    /// Passes, waiting until `until` at most while the gate is closed or about to be.
    pub(super) async fn pass(&self, until: Instant) -> Result<Pass, StoreError> {
        if let Ok(pass) = Arc::clone(&self.lock).try_read_owned() {
            return Ok(pass);
        }
        let _waiting = Waiting::begin(self)?;
        let passing = Arc::clone(&self.lock).read_owned();
        timeout_at(until, passing).await.map_err(|_| StoreError::unavailable("changes wait for a backup"))
    }

    /// Closes the gate once the changes under way have ended, waiting until `until` at most. Those that come meanwhile wait already.
    pub(super) async fn close(&self, until: Instant) -> Result<Closed, StoreError> {
        timeout_at(until, Arc::clone(&self.lock).write_owned()).await.map_err(|_| StoreError::Busy)
    }
}

/// One that waits before the gate, until it is dropped.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn begin(gate: &'a Gate) -> Result<Self, StoreError> {
        let waiting = Self(gate);
        if gate.waiting.fetch_add(1, Ordering::Relaxed) < gate.waiting_max { Ok(waiting) } else { Err(StoreError::Busy) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
