//! How long somebody waits after failures, before he may try a password or a code again.
//!
//! # What is slowed down
//!
//! Whoever fails waits longer after each failure, up to [`Blamed::longest`]. Counted are, for an attempt from
//!
//! - a browser with which the account's owner signed in before (a cookie of 256 random bits): that browser alone;
//! - an address from which he did: the pair of login name and network, and the network;
//! - anywhere else: these, and the login name by itself, so that a password isn't guessed from many addresses at once.
//!
//! Nobody can lock somebody else out: whatever strangers do to a login name, its owner's browser has a count of its own, and the address
//! that he comes from isn't asked about the login name. What is left to suffer is an owner who is guessed at right now from many networks,
//! and comes with a new browser from a new address: he waits, a minute at most at a time, and uses a browser that is known meanwhile.
//! An IPv6 network is a /64: within it anybody has as many addresses as he likes.
//!
//! An attempt is counted before it is decided, in one step with the question whether it may be made, and given back if it was right: many
//! attempts at the same moment gain nothing. Being right forgives the pair, never the network or the login name as a whole: else
//! somebody with an account of his own could go on guessing at others. An attempt that comes too early isn't looked at, so that
//! its answer tells nothing. Login names that don't exist are counted as those that do.
//!
//! # What is bounded
//!
//! Counts stand in two rows of [`SLOTS`] slots, at a place by a keyed hash that is new at each start, and the lesser of the two is believed:
//! somebody else's failures must meet one in both rows to do harm, and nobody can aim. Nothing grows, nothing needs to be thrown out. The counts
//! are this process's own: several processes give as many tries each.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::account::SecretHash;
use crate::domain::caller::Network;
use crate::domain::ids::AccountId;

/// Slots of a row.
const SLOTS: usize = 16_384;
/// Failures are forgotten when there was none for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// Whose failures they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Blamed {
    /// A browser that is known.
    Browser([u8; 32]),
    /// Attempts at a login name from a network.
    Pair(String, Network),
    /// A network, whatever the login name.
    Network(Network),
    /// A login name, from wherever.
    Login(String),
    /// Somebody who has proved the password, or is signed in: codes, and the password once more.
    Account(AccountId),
}

impl Blamed {
    pub(super) fn browser(hash: SecretHash) -> Self {
        Self::Browser(hash.0)
    }

    /// How many failures cost no time.
    const fn free(&self) -> u8 {
        match self {
            Self::Browser(_) | Self::Pair(..) | Self::Account(_) => 5,
            Self::Network(_) => 30,
            Self::Login(_) => 50,
        }
    }

    /// The longest wait.
    const fn longest(&self) -> Duration {
        match self {
            Self::Browser(_) | Self::Pair(..) | Self::Account(_) => Duration::from_secs(15 * 60),
            Self::Network(_) => Duration::from_secs(5 * 60),
            Self::Login(_) => Duration::from_secs(60),
        }
    }

    /// How long after a failure, the `failures`th in a row, nothing may be tried.
    fn pause(&self, failures: u8) -> Duration {
        match failures.checked_sub(self.free()) {
            Some(beyond) => Duration::from_secs(1_u64.checked_shl(beyond.into()).unwrap_or(u64::MAX)).min(self.longest()),
            None => Duration::ZERO,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    failures: u8,
    /// Since the start.
    last_seconds: u32,
}

impl Slot {
    fn failures_at(self, now: Duration) -> u8 {
        let quiet = now.saturating_sub(Duration::from_secs(self.last_seconds.into()));
        if quiet > FORGOTTEN_AFTER { 0 } else { self.failures }
    }

    fn wait(self, blamed: &Blamed, now: Duration) -> Duration {
        let until = Duration::from_secs(self.last_seconds.into()).saturating_add(blamed.pause(self.failures_at(now)));
        until.saturating_sub(now)
    }

    fn fail(&mut self, now: Duration) {
        *self = Self { failures: self.failures_at(now).saturating_add(1), last_seconds: u32::try_from(now.as_secs()).unwrap_or(u32::MAX) };
    }
}

/// All counts.
#[derive(Debug)]
pub(super) struct Patience {
    start: Instant,
    hashers: [RandomState; 2],
    rows: Mutex<[Vec<Slot>; 2]>,
}

impl Default for Patience {
    fn default() -> Self {
        let row = || vec![Slot::default(); SLOTS];
        Self { start: Instant::now(), hashers: [RandomState::new(), RandomState::new()], rows: Mutex::new([row(), row()]) }
    }
}

impl Patience {
    /// Counts an attempt as failed, if it may be made now; else how long until it may.
    pub(super) fn begin(&self, all: &[Blamed]) -> Result<(), Duration> {
        self.begin_at(all, self.start.elapsed())
    }

    fn begin_at(&self, all: &[Blamed], now: Duration) -> Result<(), Duration> {
        let mut rows = self.rows.lock();
        let mut wait = Duration::ZERO;
        for blamed in all {
            let of_rows = rows.iter_mut().zip(&self.hashers).filter_map(|(row, hasher)| slot(row, hasher, blamed).map(|slot| slot.wait(blamed, now)));
            wait = wait.max(of_rows.min().unwrap_or_default());
        }
        if !wait.is_zero() {
            return Err(wait);
        }
        self.each(&mut rows, all, |_, slot| slot.fail(now));
        Ok(())
    }

    /// The attempt was right.
    pub(super) fn forgive(&self, all: &[Blamed]) {
        self.each(&mut self.rows.lock(), all, |blamed, slot| {
            slot.failures = match blamed {
                Blamed::Browser(_) | Blamed::Pair(..) | Blamed::Account(_) => 0,
                Blamed::Network(_) | Blamed::Login(_) => slot.failures.saturating_sub(1),
            };
        });
    }

    fn each(&self, rows: &mut [Vec<Slot>; 2], all: &[Blamed], act: impl Fn(&Blamed, &mut Slot)) {
        for blamed in all {
            for (row, hasher) in rows.iter_mut().zip(&self.hashers) {
                if let Some(slot) = slot(row, hasher, blamed) {
                    act(blamed, slot);
                }
            }
        }
    }
}

fn slot<'a>(row: &'a mut [Slot], hasher: &RandomState, blamed: &Blamed) -> Option<&'a mut Slot> {
    let slots = u64::try_from(row.len()).ok()?;
    let place = hasher.hash_one(blamed).checked_rem(slots)?;
    row.get_mut(usize::try_from(place).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(login: &str) -> Blamed {
        Blamed::Pair(login.to_owned(), Network::V4([192, 0, 2, 1]))
    }

    #[test]
    fn waits_grow_and_end() {
        let patience = Patience::default();
        let (alice, mut now) = (pair("alice"), Duration::from_secs(10));
        for _ in 0..5 {
            patience.begin_at(std::slice::from_ref(&alice), now).unwrap();
        }
        let mut waits = Vec::new();
        for _ in 0..12 {
            let wait = patience.begin_at(std::slice::from_ref(&alice), now).unwrap_err();
            waits.push(wait.as_secs());
            // Asking early makes it no longer.
            assert_eq!(patience.begin_at(std::slice::from_ref(&alice), now).unwrap_err(), wait);
            now += wait;
            patience.begin_at(std::slice::from_ref(&alice), now).unwrap();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        now += FORGOTTEN_AFTER + Duration::from_secs(1);
        assert!(patience.begin_at(std::slice::from_ref(&alice), now).is_ok() && patience.begin_at(&[alice], now).is_ok(), "forgotten");
    }

    #[test]
    fn nobody_is_locked_out_by_others() {
        let (patience, now) = (Patience::default(), Duration::from_secs(10));
        let (login, browser) = (Blamed::Login("alice".to_owned()), Blamed::Browser([7; 32]));
        while patience.begin_at(std::slice::from_ref(&login), now).is_ok() {}
        assert!(patience.begin_at(&[pair("alice"), login.clone()], now).is_err(), "a stranger waits");
        assert!(patience.begin_at(&[pair("alice")], now).is_ok(), "from a known address");
        assert!(patience.begin_at(&[browser], now).is_ok(), "with a known browser");
        assert!(patience.begin_at(&[login], now + Duration::from_secs(61)).is_ok(), "a minute at most");
    }

    #[test]
    fn being_right_forgives_the_pair_alone() {
        let (patience, now) = (Patience::default(), Duration::from_secs(10));
        let network = Blamed::Network(Network::V4([192, 0, 2, 1]));
        for _ in 0..30 {
            patience.begin_at(&[pair("mallory"), network.clone()], now).unwrap();
            patience.forgive(&[pair("mallory")]);
        }
        patience.forgive(std::slice::from_ref(&network));
        patience.begin_at(&[pair("mallory"), network.clone()], now).unwrap();
        assert!(patience.begin_at(&[pair("bob"), network], now).is_err(), "his own account is no way around the network's count");
    }
}
