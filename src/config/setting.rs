//! The kinds of values: how each is read from TOML and from a variable, and what a refusal says.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use ipnet::IpNet;
use rustls_pki_types::ServerName;
use toml::de::DeValue;

/// A value that can stand in the configuration. Errors say what is allowed, never what was there.
pub(super) trait Setting: Sized {
    /// From the file.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String>;

    /// From an environment variable.
    fn from_variable(text: &str) -> Result<Self, String>;
}

/// A check that a number or duration lies in `range`.
pub(super) fn within<T: PartialOrd + fmt::Display>(range: RangeInclusive<T>) -> impl Fn(&T) -> Result<(), String> {
    move |value| if range.contains(value) { Ok(()) } else { Err(format!("must be from {} to {}", range.start(), range.end())) }
}

/// A check that a duration lies in `range`, in milliseconds.
pub(super) fn within_ms(range_ms: RangeInclusive<u64>) -> impl Fn(&Duration) -> Result<(), String> {
    move |value| {
        let (least, most) = (Duration::from_millis(*range_ms.start()), Duration::from_millis(*range_ms.end()));
        if (least..=most).contains(value) { Ok(()) } else { Err(format!("must be from {least:?} to {most:?}")) }
    }
}

/// Kinds that are written as one text: `FromText` for those gives both ways of reading.
pub(super) trait FromText: Sized {
    /// What is allowed, after "must be ".
    const ALLOWED: &'static str;

    /// The value, if `text` is one.
    fn from_text(text: &str) -> Option<Self>;
}

impl<T: FromText> Setting for T {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_str().and_then(Self::from_text).ok_or_else(|| format!("must be {}", Self::ALLOWED))
    }

    fn from_variable(text: &str) -> Result<Self, String> {
        Self::from_text(text).ok_or_else(|| format!("must be {}", Self::ALLOWED))
    }
}

impl FromText for String {
    const ALLOWED: &'static str = "a text in quotes, not empty, without control characters";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
    }
}

impl FromText for PathBuf {
    const ALLOWED: &'static str = "a path in quotes";

    fn from_text(text: &str) -> Option<Self> {
        String::from_text(text).map(Self::from)
    }
}

impl FromText for SocketAddr {
    const ALLOWED: &'static str = "an address and a port, such as \"0.0.0.0:8443\" or \"[::]:8443\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromText for IpNet {
    const ALLOWED: &'static str = "a list of addresses or CIDR blocks, such as [\"10.0.0.0/8\", \"::1\"]";

    fn from_text(text: &str) -> Option<Self> {
        Self::from_str(text).or_else(|_| IpAddr::from_str(text).map(Self::from)).ok().filter(|net| net.addr() == net.network())
    }
}

impl FromText for Tz {
    const ALLOWED: &'static str = "a time zone of the IANA database, such as \"UTC\" or \"Asia/Seoul\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromText for Duration {
    const ALLOWED: &'static str = "a whole number with its unit: \"200 ms\", \"10 s\", \"5 m\", \"24 h\"";

    fn from_text(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let milliseconds_each = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.checked_mul(milliseconds_each).map(Self::from_millis)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

impl FromText for ByteSize {
    const ALLOWED: &'static str = "a whole number with its unit: \"512 B\", \"256 KiB\", \"12 MiB\"";

    fn from_text(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let bytes_each = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            _ => return None,
        };
        usize::try_from(number.checked_mul(bytes_each)?).ok().map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes > 0 && bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A DNS name or an IP address, as it stands in a certificate's `subjectAltName` (RFC 5280, 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostname(String);

impl Hostname {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for Hostname {
    const ALLOWED: &'static str = "a list of DNS names or IP addresses, such as [\"skm.example.com\", \"10.0.0.7\"]";

    fn from_text(text: &str) -> Option<Self> {
        ServerName::try_from(text).ok().map(|_| Self(text.to_owned()))
    }
}

impl Setting for bool {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| "must be true or false".to_owned())
    }

    fn from_variable(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be true or false".to_owned())
    }
}

const WHOLE_NUMBER: &str = "must be a whole number";

macro_rules! whole_numbers {
    ($($kind:ty),+) => { $(
        impl Setting for $kind {
            fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
                let integer = value.as_integer().ok_or(WHOLE_NUMBER)?;
                Self::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| WHOLE_NUMBER.to_owned())
            }

            fn from_variable(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| WHOLE_NUMBER.to_owned())
            }
        }
    )+ };
}
whole_numbers!(u32, u64, usize);

/// A key that may be left out. An empty variable takes it away.
impl<T: Setting> Setting for Option<T> {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        T::from_toml(value).map(Some)
    }

    fn from_variable(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::from_variable(text).map(Some) }
    }
}

/// The most entries of a list or table.
const ENTRIES_MAX: usize = 1_000;

/// A list; in a variable with commas between.
impl<T: FromText> Setting for Vec<T> {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let entries = value.as_array().filter(|entries| entries.len() <= ENTRIES_MAX);
        let parsed = entries.and_then(|entries| entries.iter().map(|entry| entry.get_ref().as_str().and_then(T::from_text)).collect());
        parsed.ok_or_else(|| format!("must be {}", T::ALLOWED))
    }

    fn from_variable(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.take(ENTRIES_MAX).map(T::from_text).collect::<Option<_>>().ok_or_else(|| format!("must be {}, with commas between", T::ALLOWED))
    }
}

const VARIABLES: &str = "must be a table of variables, such as { SOFTHSM2_CONF = \"/etc/skm/softhsm2.conf\" }; not SKM_…, no \"=\" in a name";

/// Variables for the process; in a variable as `NAME=value` with commas between.
impl Setting for BTreeMap<String, String> {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let table = value.as_table().filter(|table| table.len() <= ENTRIES_MAX).ok_or(VARIABLES)?;
        let entries = table.iter().map(|(name, value)| variable(name.get_ref(), value.get_ref().as_str()?));
        entries.collect::<Option<_>>().ok_or_else(|| VARIABLES.to_owned())
    }

    fn from_variable(text: &str) -> Result<Self, String> {
        let entries = text.split(',').filter(|entry| !entry.is_empty()).take(ENTRIES_MAX);
        let parsed = entries.map(|entry| entry.split_once('=').and_then(|(name, value)| variable(name.trim(), value)));
        parsed.collect::<Option<_>>().ok_or_else(|| "must be NAME=value, with commas between".to_owned())
    }
}

/// Names that the process can be given: our own are refused, since they would change the configuration that names them.
fn variable(name: &str, value: &str) -> Option<(String, String)> {
    let good_name = !name.is_empty() && !name.starts_with("SKM_") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (good_name && !value.contains('\0')).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(Duration::from_text("200 ms"), Some(Duration::from_millis(200)));
        assert_eq!(Duration::from_text("10s"), Some(Duration::from_secs(10)));
        assert_eq!(Duration::from_text("5 m"), Some(Duration::from_secs(300)));
        assert_eq!(Duration::from_text("24 h"), Some(Duration::from_secs(86_400)));
        assert_eq!(ByteSize::from_text("256 KiB"), Some(ByteSize(262_144)));
        for wrong in ["", "10", "s", "-1 s", "1.5 s", "10 S", "99999999999999999999 s", "18446744073709551615 h", "10 s "] {
            assert_eq!(Duration::from_text(wrong), None, "{wrong}");
        }
        for wrong in ["256", "256 KB", "1 GiB", "KiB", "18446744073709551615 MiB"] {
            assert_eq!(ByteSize::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_print_as_they_are_written() {
        for text in ["256 KiB", "12 MiB", "1000 B", "0 B"] {
            assert_eq!(ByteSize::from_text(text).map(|size| size.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn networks_have_no_host_bits() {
        assert!(IpNet::from_text("10.0.0.0/8").is_some());
        assert!(IpNet::from_text("::1").is_some());
        for wrong in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0", "localhost"] {
            assert_eq!(IpNet::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_of_a_certificate_are_names_or_addresses() {
        for right in ["localhost", "skm.example.com", "127.0.0.1", "::1"] {
            assert!(Hostname::from_text(right).is_some(), "{right}");
        }
        for wrong in ["", "a b", "skm..example", "-x.example", "https://skm"] {
            assert_eq!(Hostname::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn variables_read_lists_tables_and_nothing() {
        assert_eq!(<Vec<IpNet>>::from_variable("10.0.0.0/8, ::1").unwrap().len(), 2);
        assert_eq!(<Vec<IpNet>>::from_variable("").unwrap().len(), 0);
        assert!(<Vec<IpNet>>::from_variable("10.0.0.0/8, x").is_err());
        assert_eq!(<Option<String>>::from_variable(""), Ok(None));
        let table = <BTreeMap<String, String>>::from_variable("A=b,C=d=e").unwrap();
        assert_eq!(table.get("C").map(String::as_str), Some("d=e"));
        for wrong in ["A", "=b", "SKM_TOKEN__PIN=x", "A B=c"] {
            assert!(<BTreeMap<String, String>>::from_variable(wrong).is_err(), "{wrong}");
        }
    }
}
