//! Random choices that a failed run can be repeated with, and how much of what is long a run does.

use std::time::Duration;

/// SplitMix64: small, fast, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// From `SKM_TEST_SEED`, or a new seed; prints it, so that a failure shows it.
    pub(crate) fn of_test(test: &str) -> Self {
        let seed = std::env::var("SKM_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
            u64::try_from(now.as_nanos() & u128::from(u32::MAX)).expect("32 bits")
        });
        println!("{test}: SKM_TEST_SEED={seed}");
        Self(seed)
    }

    /// Another one, independent of this.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which isn't 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).expect("a limit")).expect("below the limit")
    }

    /// A time from `from` to `to`.
    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        from + Duration::from_micros(self.next() % u64::try_from((to - from).as_micros()).expect("a short time").max(1))
    }
}

/// Whether the long versions are to run: `SKM_TEST_FULL=1`.
pub(crate) fn is_full() -> bool {
    std::env::var_os("SKM_TEST_FULL").is_some_and(|value| value == "1")
}
