//! `[freshness]`: how soon a change made by another node is known here.

use std::time::Duration;

use super::document::section;
use super::setting::within_ms;

section! {
    /// `[freshness]`
    pub Freshness is "freshness" {
        /// How often the change log is read.
        interval: Duration = Duration::from_millis(200), within_ms(10..=10_000);
        /// Data operations are refused when the last successful read of the change log began longer ago than this.
        limit: Duration = Duration::from_secs(1), within_ms(100..=60_000);
    }
}
