//! Appkeys: what names a project on the wire. A name, not a secret, but kept out of logs all the same.

use std::fmt;

/// The most characters in an appkey.
pub const APPKEY_MAX_CHARS: usize = 64;

/// An appkey: 1 to 64 ASCII letters and digits. In v1.0 and v1.1 it is all that a caller shows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Appkey(String);

impl Appkey {
    /// The appkey that `text` is, if it can be one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=APPKEY_MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Appkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Appkey(redacted)")
    }
}
