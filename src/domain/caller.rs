//! Who asks.

use std::fmt;
use std::net::IpAddr;

use super::clock::Timestamp;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// From its six bytes.
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Reads `aa:bb:cc:dd:ee:ff` or `aa-bb-cc-dd-ee-ff`, either case; one separator throughout.
    pub fn parse(text: &str) -> Option<Self> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2)?;
            hex::decode_to_slice(part, std::slice::from_mut(byte)).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    /// Whether it names one network card: not all zeroes, not a group address (IEEE 802, I/G bit).
    pub const fn is_unicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SHA-256 of a certificate's DER: how a certificate entry is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct CertFingerprint(pub [u8; 32]);

impl fmt::Display for CertFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The client certificate of a TLS connection. The handshake proved its chain; expiry and the entry's state are looked
/// at on every request, since a resumed session doesn't verify again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// SHA-256 of its DER.
    pub fingerprint: CertFingerprint,
    /// When it expires (RFC 5280, 4.1.2.5).
    pub not_after: Timestamp,
}

/// What the MAC header said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MacHeader {
    /// There was none.
    Absent,
    /// It can't be read, or came more than once: it matches no entry.
    Malformed,
    /// What it claims. A claim, never proof.
    Claimed(MacAddr),
}

/// Who asks, as far as the connection and the headers tell.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The peer's address, IPv4-mapped ones normalised; from a proxy's header only if that proxy is trusted.
    pub address: IpAddr,
    /// The MAC header.
    pub mac: MacHeader,
    /// The certificate that the connection's handshake proved.
    pub certificate: Option<ClientCertificate>,
    /// The User-Agent header, cut to [`USER_AGENT_MAX_BYTES`].
    pub user_agent: Option<String>,
}

/// The addresses that limits count as one caller: an IPv4 address, or the 64 bits that a site gets of IPv6 (RFC 6177): within them
/// anybody can have as many addresses as he likes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Network {
    /// One address.
    V4([u8; 4]),
    /// The first half of an address.
    V6([u8; 8]),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The most of a User-Agent header that is kept.
pub const USER_AGENT_MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_notations_in_either_case() {
        let expected = MacAddr::parse("aa:bb:cc:dd:ee:0f");
        assert!(expected.is_some());
        for same in ["AA:BB:CC:DD:EE:0F", "aa-bb-cc-dd-ee-0f", "Aa-Bb-cC-DD-EE-0f"] {
            assert_eq!(MacAddr::parse(same), expected, "{same}");
        }
    }

    #[test]
    fn refuses_what_is_no_mac_address() {
        for wrong in
            ["", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:ff:00", "aa:bb-cc:dd:ee:ff", "aabbccddeeff", "a:bb:cc:dd:ee:ff", "gg:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee:ff "]
        {
            assert_eq!(MacAddr::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_ipv6_site_is_one_caller() {
        let network = |address: &str| Network::from(address.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn zeroes_and_groups_name_no_card() {
        assert!(!MacAddr::from_bytes([0; 6]).is_unicast());
        assert!(!MacAddr::from_bytes([1, 0, 0x5e, 0, 0, 1]).is_unicast());
        assert!(MacAddr::from_bytes([2, 0, 0, 0, 0, 1]).is_unicast());
    }
}
