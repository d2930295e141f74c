//! One measurement, and what is made of several.

use serde::{Deserialize, Serialize};

use crate::Problem;

/// What one measurement found.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Sample {
    /// From how long each operation took, in nanoseconds, and how long all took together.
    pub(crate) fn of(mut nanos: Vec<u64>, seconds: f64) -> Result<Self, Problem> {
        nanos.sort_unstable();
        let at = |percent: usize| {
            let index = (nanos.len() * percent / 100).min(nanos.len().saturating_sub(1));
            nanos.get(index).map(|nanos| micros(*nanos)).ok_or("nothing was measured")
        };
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let per_second = nanos.len() as f64 / seconds;
        Ok(Self { per_second, p50_us: at(50)?, p99_us: at(99)? })
    }

    /// The median of each figure.
    pub(crate) fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(samples.iter().map(figure).collect());
        Self { per_second: of(|s| s.per_second), p50_us: of(|s| s.p50_us), p99_us: of(|s| s.p99_us) }
    }
}

/// The middle one; the mean of both middle ones where there are two; NaN of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        return upper;
    }
    let lower = values.len().checked_sub(1).and_then(|last| values.get(last / 2)).copied().unwrap_or(f64::NAN);
    f64::midpoint(lower, upper)
}

/// Nanoseconds as microseconds.
#[allow(clippy::cast_precision_loss, reason = "durations stay far below 2^52 ns")]
pub(crate) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}
