//! `[certificates]`: the internal certificate authority.

use super::document::section;
use super::setting::{FromText, within};

section! {
    /// `[certificates]`
    pub Certificates is "certificates" {
        /// Where anybody reaches the API: for the addresses of revocation lists in certificates that are issued from then on, which name none
        /// when it is left out; and for the lines that the console shows to be pasted.
        public_url: Option<PublicUrl> = None;
        /// How long the server's own certificate goes on being issued by the old authority after the internal authority was renewed, in
        /// days: so long clients have to learn the new one from `/pki/ca.pem`.
        authority_overlap_days: u32 = 30, within(0..=365);
    }
}

/// The beginning of a URL, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// As it is put before a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The longest URL that every client takes in a certificate.
const URL_MAX_BYTES: usize = 255;

impl FromText for PublicUrl {
    const ALLOWED: &'static str = "the beginning of a URL, such as \"https://skm.example.com:8443\"";

    fn from_text(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
        let good = text.len() <= URL_MAX_BYTES && rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[') && rest.bytes().all(allowed);
        good.then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host_and_ends_without_a_slash() {
        for (text, expected) in [
            ("https://skm.example.com", Some("https://skm.example.com")),
            ("http://10.0.0.7:8443/", Some("http://10.0.0.7:8443")),
            ("https://[::1]:8443/a/", Some("https://[::1]:8443/a")),
            ("https://", None),
            ("ftp://x", None),
            ("skm.example.com", None),
            ("https:///x", None),
            ("https://a b", None),
            ("https://ä", None),
        ] {
            assert_eq!(PublicUrl::from_text(text).as_ref().map(PublicUrl::as_str), expected, "{text}");
        }
    }
}
