//! Where messages go: mail addresses and webhooks.

use crate::domain::text::Invalid;

/// The most characters of an address or URL that is told.
pub const TARGET_MAX_CHARS: usize = 500;

/// Where messages go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A mail address.
    Mail(String),
    /// A webhook's URL: `https`, or `http` to the machine itself where the settings allow that.
    Webhook(String),
}

impl Target {
    /// The word for the way of a message.
    pub const fn channel(&self) -> &'static str {
        match self {
            Self::Mail(_) => "MAIL",
            Self::Webhook(_) => "WEBHOOK",
        }
    }

    /// The address or URL.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Mail(text) | Self::Webhook(text) => text,
        }
    }

    /// The same for records and logs: of a webhook only where it is, since with many services whoever knows the whole URL may call it.
    pub fn as_told(&self) -> String {
        let Self::Webhook(url) = self else { return self.as_str().to_owned() };
        let host = url.find("://").map_or(0, |place| place.saturating_add(3));
        let end = url.get(host..).and_then(|rest| rest.find(['/', '?'])).map_or(url.len(), |length| host.saturating_add(length));
        match (url.get(..end), url.get(end..)) {
            (Some(origin), Some(rest)) if rest.len() > 1 => format!("{origin}/…"),
            _ => url.clone(),
        }
    }

    /// What the database kept.
    pub fn from_stored(channel: &str, target: String) -> Option<Self> {
        match channel {
            "MAIL" => Some(Self::Mail(target)),
            "WEBHOOK" => Some(Self::Webhook(target)),
            _ => None,
        }
    }

    /// What somebody typed: a URL is a webhook, anything else must be a mail address.
    pub fn parse(field: &'static str, typed: &str) -> Result<Self, Invalid> {
        let typed = typed.trim();
        if typed.chars().count() > TARGET_MAX_CHARS {
            return Err(Invalid::new(field, format!("must have at most {TARGET_MAX_CHARS} characters")));
        }
        if typed.contains("://") {
            return if is_url(typed) { Ok(Self::Webhook(typed.to_owned())) } else { Err(Invalid::new(field, URL_ALLOWED)) };
        }
        if is_mail_address(typed) { Ok(Self::Mail(typed.to_owned())) } else { Err(Invalid::new(field, MAIL_ALLOWED)) }
    }
}

const URL_ALLOWED: &str = "must be a URL such as https://hooks.example.com/skm, without user name, password or fragment";
const MAIL_ALLOWED: &str = "must be a mail address such as keys@example.com, or a URL that begins with https://";

/// `https://HOST[:PORT][/PATH][?QUERY]` in ASCII.
fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let (authority, _) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let good_host = authority.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
    good_host
        && authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
        && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\\\"<>^`{|}".contains(&byte))
}

/// The longest mail address (RFC 5321, 4.5.3.1).
const MAIL_ADDRESS_MAX_BYTES: usize = 254;

/// An address in ASCII as people have them (RFC 5321, 4.1.2): no quoted part, no literal.
pub fn is_mail_address(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let local_fits = (1..=64).contains(&local.len()) && local.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte));
    let dots_fit = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAIL_ADDRESS_MAX_BYTES && local_fits && dots_fit && host.split('.').all(label_fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_webhook_only_the_host_is_told() {
        for (url, told) in [
            ("https://hooks.example.com", "https://hooks.example.com"),
            ("https://hooks.example.com/", "https://hooks.example.com/"),
            ("https://hooks.example.com/services/T0/secret", "https://hooks.example.com/…"),
            ("https://[::1]:8443?token=secret", "https://[::1]:8443/…"),
        ] {
            assert_eq!(Target::Webhook(url.to_owned()).as_told(), told);
        }
        assert_eq!(Target::Mail("a@example.com".to_owned()).as_told(), "a@example.com");
    }

    #[test]
    fn targets_are_told_apart_and_hostile_ones_refused() {
        for right in ["https://hooks.example.com", "https://[::1]:8443/a?b=c", "http://127.0.0.1:9/x", "https://h_1.example/%41"] {
            assert!(matches!(Target::parse("target", right), Ok(Target::Webhook(_))), "{right}");
        }
        for right in ["a@example.com", "first.last+tag@localhost", " b@x-y.example "] {
            assert!(matches!(Target::parse("target", right), Ok(Target::Mail(_))), "{right}");
        }
        for wrong in [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a b@c",
            "a@b@c",
            "a@-b",
            "a@b\r\nBcc: c@d",
            "a\n@b",
            ".a@b",
            "a..b@c",
            "a@b.",
            "\"a\"@b",
            "a@[127.0.0.1]",
            "ä@b",
            "ftp://x",
            "https://",
            "https:///x",
            "https://u@h/",
            "https://u:p@h/",
            "https://h/#f",
            "https://h/\r\nx",
            "https://h/ x",
            "https://ä/",
            "javascript://x",
            "https://-h",
        ] {
            assert!(Target::parse("target", wrong).is_err(), "{wrong:?}");
        }
        assert!(Target::parse("target", &format!("https://h/{}", "x".repeat(TARGET_MAX_CHARS))).is_err());
    }
}
