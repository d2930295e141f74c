//! What is long is sampled: always the same size, at places that a seed chooses. `SKM_TEST_FULL=1` takes everything, and
//! `SKM_TEST_SEED` repeats a sample.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let given = std::env::var("SKM_TEST_SEED").ok().map(|seed| seed.parse().expect("SKM_TEST_SEED is a number"));
        given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs())
    })
}

fn is_full() -> bool {
    std::env::var_os("SKM_TEST_FULL").is_some_and(|value| value == "1")
}

/// SplitMix64: good enough to choose places.
pub(super) struct Sample(u64);

impl Sample {
    /// The sample of one test: its name makes it another one than its neighbours'.
    #[allow(clippy::print_stdout, reason = "the seed is shown with a test that fails")]
    pub(super) fn new(test: &str) -> Self {
        let start = test.bytes().fold(seed(), |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        println!("SKM_TEST_SEED={} ({test})", seed());
        Self(start)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("less than a usize")
    }

    /// Numbers below `end`: all of them if they are few or in a full run, else the first 24, the last two, and `more` by chance.
    pub(super) fn numbers(&mut self, end: usize, more: usize) -> Vec<usize> {
        const FIRST: usize = 24;
        if is_full() || end <= FIRST + more {
            return (0..end).collect();
        }
        let mut numbers: Vec<usize> = (0..FIRST).chain([end - 2, end - 1]).collect();
        numbers.extend((0..more).map(|_| FIRST + self.below(end - FIRST)));
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}
