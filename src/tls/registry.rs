//! Which connections there are, and who makes room when there are too many.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::activity::Activity;
use super::counters::{ListenerCounters, add};

/// How long a connection must have been idle before it makes room for another: one that is between two requests doesn't.
const DISPLACE_AFTER: Duration = Duration::from_secs(1);

/// The connections of a listener.
///
/// Refusing newcomers at a limit would let whoever opens many connections and says nothing keep everybody else out. So the
/// oldest unfinished handshake, and the connection that has been idle for longest, make room.
#[derive(Debug)]
pub(super) struct Registry {
    max_connections: usize,
    max_handshakes: usize,
    displace_after: Duration,
    counters: Arc<ListenerCounters>,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    last_id: u64,
    /// By ID, so the oldest comes first.
    handshaking: BTreeMap<u64, Arc<Activity>>,
    established: HashMap<u64, Arc<Activity>>,
}

/// A connection's place; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    registry: Arc<Registry>,
    id: u64,
    pub(super) activity: Arc<Activity>,
}

impl Registry {
    pub(super) fn new(max_connections: usize, max_handshakes: usize, counters: Arc<ListenerCounters>) -> Arc<Self> {
        Arc::new(Self { max_connections, max_handshakes, displace_after: DISPLACE_AFTER, counters, connections: Mutex::default() })
    }

    /// A place for a new connection, which is in its handshake; `None` if there is none and nobody can make room.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Admission> {
        let mut connections = self.connections.lock();
        if connections.handshaking.len() >= self.max_handshakes {
            connections.displace_oldest_handshake();
        }
        if connections.count() >= self.max_connections && !self.make_room(&mut connections) {
            add(&self.counters.refused_at_limit);
            return None;
        }
        connections.last_id += 1;
        let id = connections.last_id;
        let activity = Activity::new();
        connections.handshaking.insert(id, Arc::clone(&activity));
        drop(connections);
        Some(Admission { registry: Arc::clone(self), id, activity })
    }

    fn make_room(&self, connections: &mut Connections) -> bool {
        let now = Instant::now();
        if connections.displace_idlest(now, self.displace_after) {
            add(&self.counters.displaced);
            return true;
        }
        connections.has_handshake_older_than(now, self.displace_after) && connections.displace_oldest_handshake()
    }
}

impl Connections {
    fn count(&self) -> usize {
        self.handshaking.len() + self.established.len()
    }

    fn has_handshake_older_than(&self, now: Instant, age: Duration) -> bool {
        self.handshaking.first_key_value().and_then(|(_, oldest)| oldest.idle_for(now)).is_some_and(|waited| waited >= age)
    }

    fn displace_oldest_handshake(&mut self) -> bool {
        self.handshaking.pop_first().map(|(_, oldest)| oldest.displaced.notify_one()).is_some()
    }

    /// Looks at all of them, but only when the limit is reached.
    fn displace_idlest(&mut self, now: Instant, at_least: Duration) -> bool {
        let idle = self.established.iter().filter_map(|(id, activity)| Some((activity.idle_for(now)?, *id)));
        let Some((_, id)) = idle.max().filter(|(idle, _)| *idle >= at_least) else { return false };
        self.established.remove(&id).map(|activity| activity.displaced.notify_one()).is_some()
    }
}

impl Admission {
    /// The handshake is over.
    pub(super) fn established(&self) {
        let mut connections = self.registry.connections.lock();
        // It may have been told to make room in this very moment; then it has no place to move.
        if let Some(activity) = connections.handshaking.remove(&self.id) {
            activity.touch();
            connections.established.insert(self.id, activity);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut connections = self.registry.connections.lock();
        if connections.handshaking.remove(&self.id).is_none() {
            connections.established.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn registry(max_connections: usize, max_handshakes: usize, displace_after: Duration) -> Arc<Registry> {
        let counters = Arc::default();
        Arc::new(Registry { max_connections, max_handshakes, displace_after, counters, connections: Mutex::default() })
    }

    fn was_displaced(admission: &Admission) -> bool {
        let notified = std::pin::pin!(admission.activity.displaced.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        notified.poll(&mut context).is_ready()
    }

    #[test]
    fn the_oldest_handshake_makes_room_for_the_newest() {
        let registry = registry(100, 2, Duration::ZERO);
        let [a, b, c] = [(); 3].map(|()| registry.admit().expect("a place"));
        assert!(was_displaced(&a) && !was_displaced(&b) && !was_displaced(&c));
        b.established();
        let d = registry.admit().expect("a place");
        assert!(!was_displaced(&b) && !was_displaced(&c), "a finished handshake no longer counts");
        drop((a, b, c, d));
        assert_eq!(registry.connections.lock().count(), 0);
    }

    #[test]
    fn the_idlest_connection_makes_room_and_busy_ones_stay() {
        let registry = registry(2, 100, Duration::ZERO);
        let [a, b] = [(); 2].map(|()| registry.admit().expect("a place"));
        a.established();
        b.established();
        let busy = a.activity.request_began().busy();
        let c = registry.admit().expect("b's place");
        assert!(was_displaced(&b) && !was_displaced(&a));
        c.established();
        let c_busy = c.activity.request_began().busy();
        assert!(registry.admit().is_none(), "everybody is busy");
        assert_eq!(registry.counters.refused_at_limit.load(Ordering::Relaxed), 1);
        drop(c_busy);
        std::thread::sleep(Duration::from_millis(2));
        drop(busy);
        assert!(registry.admit().is_some());
        assert!(was_displaced(&c), "it was idle for longer");
    }

    #[test]
    fn nobody_makes_room_who_was_just_at_work() {
        let registry = registry(2, 100, Duration::from_secs(60));
        let a = registry.admit().expect("a place");
        a.established();
        let b = registry.admit().expect("a place");
        assert!(registry.admit().is_none());
        drop(b);
        assert!(registry.admit().is_some());
    }

    #[test]
    fn an_old_handshake_makes_room_when_no_connection_is_idle() {
        let registry = registry(1, 100, Duration::ZERO);
        let a = registry.admit().expect("a place");
        let b = registry.admit().expect("a's place");
        assert!(was_displaced(&a) && !was_displaced(&b));
        a.established();
        assert_eq!(registry.connections.lock().count(), 1, "who lost its place doesn't get it back");
    }
}
