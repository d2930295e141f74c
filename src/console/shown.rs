//! How dates and accounts are written on pages.

use chrono::{DateTime, Utc};

use super::Console;
use crate::domain::clock::Timestamp;
use crate::domain::key::Stamp;
use crate::domain::text::is_unseen;

/// How many characters of an account's name are shown to everybody who may look.
const SHOWN_CHARS: usize = 2;
/// Who acts without being a person: the service itself, and programs that have an appkey alone.
const NOBODY: [&str; 2] = ["skm", "appkey"];

fn in_zone(console: &Console, at: Timestamp) -> DateTime<chrono_tz::Tz> {
    let utc = DateTime::<Utc>::from_timestamp_micros(at.micros()).unwrap_or_default();
    utc.with_timezone(&console.settings.zone)
}

/// `2025-01-25 12:00:00 UTC`, in the console's zone.
pub(super) fn date(console: &Console, at: Timestamp) -> String {
    in_zone(console, at).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// `2025-01-25 12:00:00.000000 UTC`, in the console's zone.
pub(super) fn exact_date(console: &Console, at: Timestamp) -> String {
    in_zone(console, at).format("%Y-%m-%d %H:%M:%S%.6f %Z").to_string()
}

/// `2025-01-25T12:00:00.000000+00:00`, in the console's zone: for programs.
pub(super) fn iso_date(console: &Console, at: Timestamp) -> String {
    in_zone(console, at).format("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
}

/// A text that somebody else chose, so that it can't pass for something else: a character that isn't seen, or that turns the direction of
/// writing (UAX #9), is written as its number. What is longer than `most` characters is cut.
pub(super) fn harmless(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count >= most {
            shown.push('…');
            break;
        }
        if is_unseen(c) {
            shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
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
    fn texts_of_others_are_harmless() {
        assert_eq!(harmless("curl/7 é 키", 100), "curl/7 é 키");
        assert_eq!(harmless("a\u{202e}b\u{0}\nc\u{200b}", 100), "a⟨U+202E⟩b⟨U+0000⟩⟨U+000A⟩c⟨U+200B⟩");
        assert_eq!(harmless("abc", 3), "abc");
        assert_eq!(harmless("abcd", 3), "abc…");
    }

    #[test]
    fn accounts_are_masked() {
        for (login, shown) in [("admin", "ad***"), ("kim", "ki***"), ("jo", "j***"), ("x", "***"), ("éva", "év***"), ("skm", "skm"), ("appkey", "appkey")] {
            assert_eq!(masked(login), shown);
        }
    }
}
