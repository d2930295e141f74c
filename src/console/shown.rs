//! How dates and accounts are written on pages.

use chrono::{DateTime, Utc};

use super::Console;
use crate::domain::clock::Timestamp;
use crate::domain::key::Stamp;

/// How many characters of an account's name are shown to everybody who may look.
const SHOWN_CHARS: usize = 2;
/// Who acts without being a person: the service itself, and programs that have an appkey alone.
const NOBODY: [&str; 2] = ["skm", "appkey"];

/// `2025-01-25 12:00:00 UTC`, in the console's zone.
pub(super) fn date(console: &Console, at: Timestamp) -> String {
    let utc = DateTime::<Utc>::from_timestamp_micros(at.micros()).unwrap_or_default();
    utc.with_timezone(&console.settings.zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// `2025-01-25 12:00:00 UTC, ad***`.
pub(super) fn stamp(console: &Console, stamp: &Stamp) -> String {
    format!("{}, {}", date(console, stamp.at), masked(&stamp.user))
}

/// An account's name, for those who needn't know it: enough to know oneself and one's colleagues by.
pub(super) fn masked(login: &str) -> String {
    if NOBODY.contains(&login) {
        return login.to_owned();
    }
    let shown = SHOWN_CHARS.min(login.chars().count().saturating_sub(1));
    login.chars().take(shown).chain("***".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_masked() {
        for (login, shown) in [("admin", "ad***"), ("kim", "ki***"), ("jo", "j***"), ("x", "***"), ("éva", "év***"), ("skm", "skm"), ("appkey", "appkey")] {
            assert_eq!(masked(login), shown);
        }
    }
}
