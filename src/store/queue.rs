//! The writer's queue: bounded, with one taker who takes all that is there at once. Unlike a channel's receiver the taker doesn't
//! spin before it sleeps: on few cores that keeps those from working whose work it waits for.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// How long the taker waits for others that are on their way. It pays where these wait for something else, which stays busy with
/// what waits there: who waits then waits no longer for all in all.
const LINGER: Duration = Duration::from_millis(2);

/// Why something was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotQueued {
    /// The queue is full.
    Full,
    /// Nobody takes from it any more.
    Closed,
}

struct Shared<T> {
    limit: usize,
    state: Mutex<State<T>>,
    /// Told when there is something to take, or nobody is left to put it there.
    filled: Condvar,
    /// Told when there is room again.
    emptied: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// How many the last one asked to be taken along with.
    wanted: usize,
    /// The taker waits for that many.
    lingering: bool,
    taker_sleeps: bool,
    taker_gone: bool,
    senders_gone: bool,
}

/// Where things are put.
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// Where they are taken.
pub(super) struct Taker<T>(Arc<Shared<T>>);

/// A queue of at most `limit` things.
pub(super) fn bounded<T>(limit: usize) -> (Sender<T>, Taker<T>) {
    let state = State { waiting: VecDeque::new(), wanted: 0, lingering: false, taker_sleeps: false, taker_gone: false, senders_gone: false };
    let shared = Arc::new(Shared { limit, state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new() });
    (Sender(Arc::clone(&shared)), Taker(shared))
}

impl<T> Sender<T> {
    /// Puts `thing` at the end, if there is room. It gains by being taken along with others, `wanted` in all, and waits for that at
    /// most [`LINGER`].
    pub(super) fn try_send(&self, thing: T, wanted: usize) -> Result<(), NotQueued> {
        self.send_deadline(thing, wanted, None)
    }

    /// The same, waiting for room until `deadline`.
    pub(super) fn send_deadline(&self, thing: T, wanted: usize, deadline: Option<Instant>) -> Result<(), NotQueued> {
        let mut state = self.0.state.lock();
        while state.waiting.len() >= self.0.limit && !state.taker_gone {
            let late = deadline.is_none_or(|deadline| self.0.emptied.wait_until(&mut state, deadline).timed_out());
            if late && state.waiting.len() >= self.0.limit {
                return Err(NotQueued::Full);
            }
        }
        if state.taker_gone {
            return Err(NotQueued::Closed);
        }
        state.waiting.push_back(thing);
        state.wanted = wanted;
        let enough = !state.lingering || state.waiting.len() >= wanted;
        let wake = enough && std::mem::take(&mut state.taker_sleeps);
        drop(state);
        if wake {
            self.0.filled.notify_one();
        }
        Ok(())
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.0.state.lock().waiting.len()
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("waiting", &self.len()).field("limit", &self.0.limit).finish()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.state.lock().senders_gone = true;
        self.0.filled.notify_one();
    }
}

/// What a taker found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Something.
    Some,
    /// Nothing, for as long as it was willing to wait.
    Nothing,
    /// Nothing, and nobody is left who could bring it.
    End,
}

impl<T> Taker<T> {
    /// Gives everything that waits to `take`, the oldest first, for as long as that wants more; waits for the first, `at_most` so long.
    pub(super) fn take(&self, at_most: Option<Duration>, mut take: impl FnMut(T) -> bool) -> Found {
        let deadline = at_most.map(|at_most| Instant::now() + at_most);
        let mut state = self.0.state.lock();
        while state.waiting.is_empty() {
            if state.senders_gone {
                return Found::End;
            }
            state.taker_sleeps = true;
            let late = match deadline {
                Some(deadline) => self.0.filled.wait_until(&mut state, deadline).timed_out(),
                None => {
                    self.0.filled.wait(&mut state);
                    false
                }
            };
            state.taker_sleeps = false;
            if late && state.waiting.is_empty() {
                return Found::Nothing;
            }
        }
        self.linger(&mut state);
        while let Some(thing) = state.waiting.pop_front() {
            if !take(thing) {
                break;
            }
        }
        drop(state);
        self.0.emptied.notify_all();
        Found::Some
    }
}

impl<T> Taker<T> {
    /// Waits until as many are there as the last one wanted, for a bounded time.
    fn linger(&self, state: &mut MutexGuard<'_, State<T>>) {
        let deadline = Instant::now() + LINGER;
        state.lingering = true;
        while state.waiting.len() < state.wanted.min(self.0.limit) && !state.senders_gone {
            state.taker_sleeps = true;
            if self.0.filled.wait_until(state, deadline).timed_out() {
                break;
            }
        }
        (state.lingering, state.taker_sleeps) = (false, false);
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.taker_gone = true;
        // Whoever waits for an answer to these learns that there is none.
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.0.emptied.notify_all();
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(taker: &Taker<u32>, at_most: Option<Duration>) -> (Found, Vec<u32>) {
        let mut taken = Vec::new();
        let found = taker.take(at_most, |thing| {
            taken.push(thing);
            taken.len() < 3
        });
        (found, taken)
    }

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn things_come_out_in_order_as_many_as_are_wanted() {
        let (sender, taker) = bounded(5);
        (1..=5).for_each(|thing| sender.try_send(thing, 0).unwrap());
        assert_eq!((sender.try_send(6, 0), sender.len()), (Err(NotQueued::Full), 5));
        assert_eq!(all(&taker, None), (Found::Some, vec![1, 2, 3]));
        assert_eq!(all(&taker, None), (Found::Some, vec![4, 5]));
        assert_eq!(all(&taker, AT_ONCE), (Found::Nothing, vec![]));
    }

    #[test]
    fn a_sleeping_taker_is_woken() {
        let (sender, taker) = bounded(5);
        let taking = std::thread::spawn(move || all(&taker, None));
        while !sender.0.state.lock().taker_sleeps {
            std::thread::yield_now();
        }
        sender.try_send(1, 0).unwrap();
        assert_eq!(taking.join().unwrap(), (Found::Some, vec![1]));
    }

    #[test]
    fn things_are_taken_along_with_as_many_as_they_want_or_in_time() {
        let (sender, taker) = bounded(5);
        sender.try_send(1, 3).unwrap();
        let began = Instant::now();
        assert_eq!(all(&taker, None), (Found::Some, vec![1]));
        assert!(began.elapsed() >= LINGER);
        sender.try_send(1, 2).unwrap();
        sender.try_send(2, 2).unwrap();
        assert_eq!(all(&taker, None), (Found::Some, vec![1, 2]));
        sender.try_send(1, 5).unwrap();
        // What wants no company has all go at once.
        sender.try_send(2, 0).unwrap();
        assert_eq!(all(&taker, None), (Found::Some, vec![1, 2]));
    }

    #[test]
    fn who_waits_for_room_gets_it_or_is_told() {
        let (sender, taker) = bounded(1);
        sender.try_send(1, 0).unwrap();
        let soon = || Some(Instant::now() + Duration::from_millis(10));
        assert_eq!(sender.send_deadline(2, 0, soon()), Err(NotQueued::Full));
        let sending = std::thread::spawn(move || sender.send_deadline(2, 0, Some(Instant::now() + Duration::from_secs(60))));
        assert_eq!(all(&taker, None).1, [1]);
        assert_eq!(sending.join().unwrap(), Ok(()));
        assert_eq!(all(&taker, None).1, [2]);
    }

    #[test]
    fn both_ends_learn_that_the_other_is_gone() {
        let (sender, taker) = bounded(5);
        sender.try_send(1, 0).unwrap();
        drop(sender);
        assert_eq!(all(&taker, None), (Found::Some, vec![1]));
        assert_eq!(all(&taker, None), (Found::End, vec![]));
        let (sender, taker) = bounded(5);
        drop(taker);
        assert_eq!(sender.try_send(1, 0), Err(NotQueued::Closed));
    }
}
