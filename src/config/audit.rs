//! `[audit]`: how often the audit log is signed.

use std::time::Duration;

use super::document::section;
use super::setting::{within, within_ms};

section! {
    /// `[audit]`
    pub Audit is "audit" {
        /// A signed checkpoint is written this long after the one before …
        checkpoint_interval: Duration = Duration::from_secs(60), within_ms(1_000..=86_400_000);
        /// … or after this many records, whichever comes first.
        checkpoint_records: u64 = 10_000, within(1..=10_000_000);
    }
}
