//! `[limits]`: how much one caller may ask.

use std::time::Duration;

use super::document::section;
use super::setting::{within, within_ms};

/// The highest rate and the largest burst.
const MOST: u32 = 1_000_000;

section! {
    /// `[limits]`
    pub Limits is "limits" {
        /// Requests a second from one client address (IPv6: from one /64); 0 is no limit.
        address_per_second: u32 = 20_000, within(0..=MOST);
        /// How many of them may come at once.
        address_burst: u32 = 40_000, within(1..=MOST);
        /// Requests a second for one project; 0 is no limit.
        project_per_second: u32 = 20_000, within(0..=MOST);
        /// How many of them may come at once.
        project_burst: u32 = 40_000, within(1..=MOST);
        /// Failures a second of one client address or access key: unknown appkeys and key IDs, wrong credentials, client checks
        /// that don't pass; 0 is no limit.
        failures_per_second: u32 = 10, within(0..=MOST);
        /// How many of them may come at once.
        failures_burst: u32 = 100, within(1..=MOST);
        /// How often requests that were refused over a limit become an audit record, one per project.
        record_interval: Duration = Duration::from_secs(60), within_ms(1_000..=3_600_000);
    }
}
