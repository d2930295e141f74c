//! The one lock around creating, finding and destroying objects.
//!
//! SoftHSM gives false errors when these run at the same time; cryptographic operations don't need the lock and don't take it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::errors::HsmError;

/// Since when something lasts, readable by another thread.
#[derive(Debug)]
pub(super) struct Stopwatch {
    base: Instant,
    /// Milliseconds after `base` plus one; 0 while stopped.
    started: AtomicU64,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self { base: Instant::now(), started: AtomicU64::new(0) }
    }
}

impl Stopwatch {
    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub(super) fn start(&self) {
        self.started.store(self.now(), Ordering::Release);
    }

    pub(super) fn stop(&self) {
        self.started.store(0, Ordering::Release);
    }

    /// Begins anew if it is running: what is timed has come a step further.
    pub(super) fn lap(&self) {
        let _ = self.started.fetch_update(Ordering::AcqRel, Ordering::Acquire, |started| (started != 0).then(|| self.now()));
    }

    /// How long it has been running; `None` while stopped.
    pub(super) fn elapsed(&self) -> Option<Duration> {
        let started = self.started.load(Ordering::Acquire);
        (started != 0).then(|| Duration::from_millis(self.now().saturating_sub(started)))
    }
}

#[derive(Debug, Default)]
pub(super) struct ObjectLock {
    mutex: Mutex<()>,
    held: Stopwatch,
}

/// Proof that the lock is held.
#[derive(Debug)]
pub(super) struct ObjectGuard<'a> {
    held: &'a Stopwatch,
    _guard: MutexGuard<'a, ()>,
}

impl Drop for ObjectGuard<'_> {
    fn drop(&mut self) {
        self.held.stop();
    }
}

impl ObjectLock {
    /// Waits for the lock until `deadline`, to call `function`.
    pub(super) fn acquire(&self, deadline: Instant, function: &'static str) -> Result<ObjectGuard<'_>, HsmError> {
        let guard = self.mutex.try_lock_until(deadline).ok_or(HsmError::Late { function })?;
        self.held.start();
        Ok(ObjectGuard { held: &self.held, _guard: guard })
    }

    /// How long its present holder has had it.
    pub(super) fn held_for(&self) -> Option<Duration> {
        self.held.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_at_the_deadline_and_the_holder_is_timed() {
        let lock = ObjectLock::default();
        assert_eq!(lock.held_for(), None);
        let guard = lock.acquire(Instant::now(), "C_FindObjects").expect("a free lock");
        let begun = Instant::now();
        let waiting = std::thread::scope(|scope| scope.spawn(|| lock.acquire(begun + Duration::from_millis(50), "C_GenerateKey").map(drop)).join());
        assert!(matches!(waiting, Ok(Err(HsmError::Late { function: "C_GenerateKey" }))));
        assert!(lock.held_for() >= Some(Duration::from_millis(40)));
        drop(guard);
        assert_eq!(lock.held_for(), None);
        assert!(lock.acquire(Instant::now(), "C_FindObjects").is_ok());
    }
}
