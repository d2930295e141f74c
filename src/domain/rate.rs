//! A token bucket: so many a second, and so many at once.
//!
//! Its whole state is one point in time, when it will be full again (the generic cell rate algorithm, ITU-T I.371): nothing has to
//! be filled up by a clock, and a bucket that is full can be forgotten without anybody gaining by it.

use std::time::Duration;

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How long one token takes to come back.
    interval: Duration,
    /// How long an empty bucket takes to be full.
    capacity: Duration,
}

impl Rate {
    /// `per_second` tokens a second into a bucket that holds `burst` of them, one at least. `None` where `per_second` is 0: no limit.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let interval = Duration::from_secs(1).checked_div(per_second)?;
        Some(Self { interval, capacity: interval.saturating_mul(burst.max(1)) })
    }
}

/// A bucket. Times count from a moment that all its calls agree upon, by a clock that never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes a token; where there is none, says how long it takes until there is.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let full_at = self.full_at.max(now).saturating_add(rate.interval);
        match full_at.saturating_sub(now).checked_sub(rate.capacity) {
            Some(wait) if !wait.is_zero() => Err(wait),
            Some(_) | None => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }

    /// Puts back a token that was taken.
    pub fn give_back(&mut self, rate: Rate) {
        self.full_at = self.full_at.saturating_sub(rate.interval);
    }

    /// Whether at least half of what it holds is there, one token at least.
    pub fn is_half_full(&self, rate: Rate, now: Duration) -> bool {
        let missing = self.full_at.saturating_sub(now);
        missing <= rate.capacity / 2 && missing <= rate.capacity.saturating_sub(rate.interval)
    }

    /// Whether it is as good as a new one.
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::clock::{Clock as _, ManualClock, Timestamp};

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn no_rate_is_no_limit() {
        assert_eq!(Rate::new(0, 5), None);
    }

    #[test]
    fn a_burst_passes_and_then_one_for_each_interval() {
        let rate = Rate::new(10, 3).unwrap();
        let (clock, start) = (ManualClock::default(), Timestamp::default());
        let mut bucket = Bucket::default();
        let mut take = |clock: &ManualClock| bucket.take(rate, clock.now().since(start));
        assert_eq!([take(&clock), take(&clock), take(&clock)], [Ok(()); 3]);
        assert_eq!(take(&clock), Err(100 * MILLISECOND));
        clock.advance(40 * MILLISECOND);
        assert_eq!(take(&clock), Err(60 * MILLISECOND));
        clock.advance(60 * MILLISECOND);
        assert_eq!([take(&clock), take(&clock)], [Ok(()), Err(100 * MILLISECOND)]);
        // Nothing is saved up beyond the burst.
        clock.advance(Duration::from_secs(3_600));
        assert_eq!([take(&clock), take(&clock), take(&clock), take(&clock)], [Ok(()), Ok(()), Ok(()), Err(100 * MILLISECOND)]);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = Rate::new(1, 1).unwrap();
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(rate, Duration::ZERO), Ok(()));
        bucket.give_back(rate);
        assert!(bucket.is_full(Duration::ZERO));
        assert_eq!(bucket.take(rate, Duration::ZERO), Ok(()));
        assert!(bucket.take(rate, Duration::ZERO).is_err());
        // Nor does giving back make more of it than it holds.
        (0..5).for_each(|_| bucket.give_back(rate));
        assert_eq!(bucket.take(rate, Duration::ZERO), Ok(()));
        assert!(bucket.take(rate, Duration::ZERO).is_err());
    }

    #[test]
    fn half_full_is_half_of_the_burst_and_one_at_least() {
        for (burst, taken, expected) in
            [(1, 0, true), (1, 1, false), (2, 1, true), (2, 2, false), (5, 2, true), (5, 3, false), (100, 50, true), (100, 51, false)]
        {
            let rate = Rate::new(1, burst).unwrap();
            let mut bucket = Bucket::default();
            (0..taken).for_each(|_| assert_eq!(bucket.take(rate, Duration::ZERO), Ok(())));
            assert_eq!(bucket.is_half_full(rate, Duration::ZERO), expected, "{taken} of {burst}");
            assert!(bucket.is_half_full(rate, Duration::from_secs(taken)), "{taken} of {burst}, later");
        }
    }

    proptest! {
        /// However requests come, in no span of time do more pass than the burst and what came in meanwhile.
        #[test]
        fn never_more_than_the_rate_and_the_burst(per_second in 1_u32..2_000, burst in 1_u32..50, pauses in prop::collection::vec(0_u64..3_000, 1..300)) {
            let rate = Rate::new(per_second, burst).unwrap();
            let (mut bucket, mut now, mut passed) = (Bucket::default(), Duration::ZERO, Vec::new());
            for pause in pauses {
                now += Duration::from_micros(pause);
                if bucket.take(rate, now).is_ok() {
                    passed.push(now);
                }
            }
            for (from, first) in passed.iter().enumerate() {
                for (to, last) in passed.iter().enumerate().skip(from) {
                    let came_in = (*last - *first).as_nanos() / rate.interval.as_nanos();
                    prop_assert!((to - from + 1) as u128 <= u128::from(burst) + came_in);
                }
            }
        }

        /// The wait is exact: a nanosecond less is too early, and then it passes. Being refused costs nothing.
        #[test]
        fn who_waits_as_told_passes(per_second in 1_u32..1_000_000, burst in 1_u32..1_000, refused in 0_usize..20, now in 0_u64..1_000_000_000) {
            let rate = Rate::new(per_second, burst).unwrap();
            let (mut bucket, now) = (Bucket::default(), Duration::from_nanos(now));
            for _ in 0..burst {
                prop_assert_eq!(bucket.take(rate, now), Ok(()));
            }
            let wait = bucket.take(rate, now).unwrap_err();
            for _ in 0..refused {
                prop_assert_eq!(bucket.take(rate, now), Err(wait));
            }
            prop_assert_eq!(bucket.take(rate, now + wait - Duration::from_nanos(1)), Err(Duration::from_nanos(1)));
            prop_assert_eq!(bucket.take(rate, now + wait), Ok(()));
        }

        /// A full bucket may be forgotten: a new one decides the same.
        #[test]
        fn a_full_bucket_is_as_good_as_new(per_second in 1_u32..1_000, burst in 1_u32..10, takes in 0_usize..10, later in 0_u64..20_000) {
            let rate = Rate::new(per_second, burst).unwrap();
            let (mut bucket, later) = (Bucket::default(), Duration::from_millis(later));
            for _ in 0..takes {
                let _ = bucket.take(rate, Duration::ZERO);
            }
            if bucket.is_full(later) {
                let mut new = Bucket::default();
                for _ in 0..burst + 2 {
                    prop_assert_eq!(bucket.take(rate, later), new.take(rate, later));
                }
            }
        }
    }
}
