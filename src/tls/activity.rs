//! What a connection is doing, so that an idle or a stuck one can be told from a busy one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What a connection is doing, shared by its parts. Times are milliseconds since the connection began.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// What the application is working on: handlers, and response bodies that wait for their source.
    busy: AtomicUsize,
    /// Requests whose answer has not been handed over completely.
    exchanges: AtomicUsize,
    /// When something last moved: the connection began, a request began or ended, a blocked answer went on.
    moved_ms: AtomicU64,
    /// When the first byte of an HTTP/1.1 header came that is not complete yet; 0 for none.
    header_ms: AtomicU64,
    /// Told when the connection must make room for another.
    pub(super) displaced: Notify,
}

/// What should happen to a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing before then.
    LookAgain(Instant),
    /// It has been idle for too long.
    Idle,
    /// A request's header comes too slowly.
    SlowHeader,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            busy: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            moved_ms: AtomicU64::new(0),
            header_ms: AtomicU64::new(0),
            displaced: Notify::new(),
        })
    }

    /// Something moved.
    pub(super) fn touch(&self) {
        self.moved_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Bytes came in on an HTTP/1.1 connection: between requests they begin a header.
    pub(super) fn received(&self) {
        if self.exchanges.load(Ordering::Relaxed) == 0 && self.header_ms.load(Ordering::Relaxed) == 0 {
            // Never 0, which stands for none.
            self.header_ms.store(self.now_ms().max(1), Ordering::Relaxed);
        }
    }

    /// A header is complete, its request begins.
    pub(super) fn request_began(self: &Arc<Self>) -> Exchange {
        self.header_ms.store(0, Ordering::Relaxed);
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        Exchange(Arc::clone(self))
    }

    /// How long nothing has moved; `None` while the application is working.
    pub(super) fn idle_for(&self, now: Instant) -> Option<Duration> {
        (self.busy.load(Ordering::Acquire) == 0).then(|| now.saturating_duration_since(self.at(&self.moved_ms)))
    }

    /// What should happen to the connection at `now`.
    pub(super) fn verdict(&self, now: Instant, idle_timeout: Duration, header_timeout: Duration) -> Verdict {
        let mut look_again = now + header_timeout.min(idle_timeout);
        if self.header_ms.load(Ordering::Relaxed) != 0 {
            let deadline = self.at(&self.header_ms) + header_timeout;
            if deadline <= now {
                return Verdict::SlowHeader;
            }
            look_again = look_again.min(deadline);
        }
        if let Some(idle) = self.idle_for(now) {
            if idle >= idle_timeout {
                return Verdict::Idle;
            }
            look_again = look_again.min(now + (idle_timeout - idle));
        }
        Verdict::LookAgain(look_again)
    }

    fn at(&self, ms: &AtomicU64) -> Instant {
        self.began + Duration::from_millis(ms.load(Ordering::Relaxed))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A request and its answer, from the end of its header to the end of the answer's body.
#[derive(Debug)]
pub(super) struct Exchange(Arc<Activity>);

impl Exchange {
    /// The answer's body moved on.
    pub(super) fn touch(&self) {
        self.0.touch();
    }

    /// The application begins to work on it.
    pub(super) fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.0))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.touch();
        self.0.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Marks a connection busy for as long as it lives.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        // The time first: whoever sees that nothing is busy must not see an old time.
        self.0.touch();
        self.0.busy.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);
    const HEADER: Duration = Duration::from_secs(10);

    fn verdict(activity: &Activity, after: Duration) -> Verdict {
        // A little later than that: the test itself takes time.
        activity.verdict(activity.began + after + Duration::from_secs(1), IDLE, HEADER)
    }

    #[test]
    fn only_an_idle_connection_is_idle() {
        let activity = Activity::new();
        let exchange = activity.request_began();
        let busy = exchange.busy();
        assert!(matches!(verdict(&activity, IDLE * 2), Verdict::LookAgain(_)));
        assert_eq!(activity.idle_for(Instant::now()), None);
        drop(busy);
        assert!(matches!(verdict(&activity, IDLE / 2), Verdict::LookAgain(_)));
        assert_eq!(verdict(&activity, IDLE), Verdict::Idle);
    }

    #[test]
    fn waiting_for_a_request_is_no_slow_header() {
        let activity = Activity::new();
        let Verdict::LookAgain(then) = verdict(&activity, HEADER * 2) else { panic!("nothing is wrong yet") };
        assert!(then <= activity.began + HEADER * 3 + Duration::from_secs(1), "a header that begins now is looked at in time");
    }

    #[test]
    fn a_header_has_its_time_from_its_first_byte() {
        let activity = Activity::new();
        activity.received();
        let deadline = activity.at(&activity.header_ms) + HEADER;
        std::thread::sleep(Duration::from_millis(3));
        activity.received();
        assert_eq!(verdict(&activity, HEADER / 2), Verdict::LookAgain(deadline), "later bytes don't prolong it");
        assert_eq!(verdict(&activity, HEADER), Verdict::SlowHeader);
        drop(activity.request_began());
        assert!(matches!(verdict(&activity, HEADER), Verdict::LookAgain(_)));
    }

    #[test]
    fn bytes_during_a_request_begin_no_header() {
        let activity = Activity::new();
        let _exchange = activity.request_began();
        activity.received();
        assert!(matches!(verdict(&activity, HEADER * 2), Verdict::LookAgain(_)));
    }

    #[test]
    fn a_peer_that_does_not_read_its_answer_is_idle() {
        let activity = Activity::new();
        let exchange = activity.request_began();
        drop(exchange.busy());
        assert_eq!(verdict(&activity, IDLE), Verdict::Idle);
    }
}
