//! Buckets by key, in bounded memory.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::rate::{Bucket, Rate};

/// The most buckets of a table, and so the most addresses, projects or access keys that are told from each other at a time.
pub const TRACKED_MAX: usize = 65_536;
/// How many parts a table has, so that two threads seldom wait for each other and none for long.
const SHARDS: usize = 16;
/// The most buckets of a part.
const SHARD_MAX: usize = TRACKED_MAX / SHARDS;
/// A part with fewer buckets than these isn't looked through for full ones.
const SWEEP_MIN: usize = 64;
/// The least time between two looks through a part: newcomers can't make each other wait for one each.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);
/// How many buckets those share for whom there is no room.
const SHARED: usize = 256;

/// Buckets by key.
///
/// A bucket is forgotten only once it is full again, when a new one would decide the same: nobody gets rid of his own by making others.
/// If there is no room even so, whoever is new takes from one of a few shared buckets, by the hash of his key under a secret that is
/// new at each start; those that are known keep theirs. It takes more requests to get there than pass: a bucket that gave one token is
/// full again after one interval, so that to fill the table at a rate of 10 a second takes 655,360 requests a second.
#[derive(Debug)]
pub(super) struct Table<K> {
    rate: Option<Rate>,
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
    shared: Box<[Mutex<Bucket>]>,
}

#[derive(Debug)]
struct Shard<K> {
    buckets: HashMap<K, Bucket, RandomState>,
    /// With so many buckets, full ones are looked for.
    sweep_at: usize,
    /// Not before this time.
    next_sweep: Duration,
}

impl<K: Hash + Eq> Table<K> {
    /// Without a rate everything passes.
    pub(super) fn new(rate: Option<Rate>) -> Self {
        let hasher = RandomState::new();
        let shard = || Shard { buckets: HashMap::with_hasher(hasher.clone()), sweep_at: SWEEP_MIN, next_sweep: Duration::ZERO };
        let shards = std::array::from_fn(|_| Mutex::new(shard()));
        Self { rate, shards, shared: (0..SHARED).map(|_| Mutex::default()).collect(), hasher }
    }

    /// Takes a token from the bucket of `key`; where there is none, says how long it takes until there is.
    pub(super) fn take(&self, key: K, now: Duration) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let hash = self.hasher.hash_one(&key);
        {
            let Some(shard) = part(&self.shards, hash) else { return Ok(()) };
            let mut shard = shard.lock();
            if let Some(bucket) = shard.buckets.get_mut(&key) {
                return bucket.take(rate, now);
            }
            if shard.has_room(now) {
                return shard.buckets.entry(key).or_default().take(rate, now);
            }
        }
        part(&self.shared, hash >> 32).map_or(Ok(()), |bucket| bucket.lock().take(rate, now))
    }

    /// Puts back a token that was taken from the bucket of `key`.
    pub(super) fn give_back(&self, key: &K) {
        let Some(rate) = self.rate else { return };
        let hash = self.hasher.hash_one(key);
        {
            let Some(shard) = part(&self.shards, hash) else { return };
            if let Some(bucket) = shard.lock().buckets.get_mut(key) {
                return bucket.give_back(rate);
            }
        }
        // It may have been full and forgotten meanwhile. Then this is a token too many for those who share, and no more.
        if let Some(bucket) = part(&self.shared, hash >> 32) {
            bucket.lock().give_back(rate);
        }
    }

    /// Whether the bucket of `key` is half full at least; also one that isn't there is.
    pub(super) fn is_half_full(&self, key: &K, now: Duration) -> bool {
        let Some(rate) = self.rate else { return true };
        let hash = self.hasher.hash_one(key);
        {
            let Some(shard) = part(&self.shards, hash) else { return true };
            let shard = shard.lock();
            if let Some(bucket) = shard.buckets.get(key) {
                return bucket.is_half_full(rate, now);
            }
            if shard.buckets.len() < SHARD_MAX {
                return true;
            }
        }
        part(&self.shared, hash >> 32).is_none_or(|bucket| bucket.lock().is_half_full(rate, now))
    }

    /// How many buckets there are.
    pub(super) fn tracked(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().buckets.len()).sum()
    }
}

impl<K: Hash + Eq> Shard<K> {
    /// Whether there is room for another bucket, after full ones were forgotten where that is due.
    fn has_room(&mut self, now: Duration) -> bool {
        if self.buckets.len() >= self.sweep_at && now >= self.next_sweep {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            self.sweep_at = (self.buckets.len() * 2).clamp(SWEEP_MIN, SHARD_MAX);
            self.next_sweep = now.saturating_add(SWEEP_PAUSE);
            self.buckets.shrink_to(self.sweep_at);
        }
        self.buckets.len() < SHARD_MAX
    }
}

/// The part that a hash falls into; `None` only where there are no parts.
fn part<T>(parts: &[T], hash: u64) -> Option<&T> {
    let count = u64::try_from(parts.len()).ok()?;
    parts.get(usize::try_from(hash.checked_rem(count)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn table(per_second: u32, burst: u32) -> Table<u32> {
        Table::new(Rate::new(per_second, burst))
    }

    /// How many of `count` requests pass.
    fn passed(table: &Table<u32>, key: u32, count: usize, now: Duration) -> usize {
        (0..count).filter(|_| table.take(key, now).is_ok()).count()
    }

    #[test]
    fn each_key_has_its_own() {
        let table = table(10, 5);
        assert_eq!((passed(&table, 1, 9, SECOND), passed(&table, 2, 9, SECOND)), (5, 5));
        table.give_back(&1);
        assert_eq!((passed(&table, 1, 9, SECOND), passed(&table, 2, 9, SECOND)), (1, 0));
        assert_eq!(passed(&table, 1, 9, SECOND * 2), 5);
        assert!(!table.is_half_full(&1, SECOND * 2) && table.is_half_full(&1, SECOND * 3) && table.is_half_full(&3, SECOND));
    }

    #[test]
    fn without_a_rate_nothing_is_kept() {
        let table = table(0, 5);
        assert_eq!(passed(&table, 1, 1_000, SECOND), 1_000);
        assert_eq!(table.tracked(), 0);
    }

    #[test]
    fn a_flood_of_keys_neither_grows_the_table_nor_refills_a_bucket() {
        let table = table(1, 3);
        assert_eq!(passed(&table, 0, 9, SECOND), 3);
        let newcomers = (1..=200_000).filter(|key| table.take(*key, SECOND).is_ok()).count();
        assert!(table.tracked() <= TRACKED_MAX);
        // Each shared bucket gives its burst and no more.
        assert!(newcomers <= TRACKED_MAX + SHARED * 3, "{newcomers}");
        assert_eq!(passed(&table, 0, 9, SECOND), 0);
        assert!(!table.is_half_full(&0, SECOND) && !table.is_half_full(&200_000, SECOND));
        // Most flooded with one token each; after as long as that takes to come back there is room for all who come.
        assert!(passed(&table, 300_000, 1, SECOND * 2) == 1 && passed(&table, 0, 9, SECOND * 2) == 1);
        for key in 400_000..410_000 {
            assert_eq!(passed(&table, key, 9, SECOND * 5), 3, "{key}");
        }
        assert!(table.tracked() <= 20_000, "{}", table.tracked());
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let table = table(1_000, 10);
        for step in 0..100_000 {
            assert_eq!(table.take(step, Duration::from_millis(u64::from(step))), Ok(()));
        }
        assert!(table.tracked() <= SHARDS * SWEEP_MIN * 2, "{}", table.tracked());
    }
}
