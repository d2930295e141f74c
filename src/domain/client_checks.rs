//! The client checks of a key store: IPv4 address, MAC address, client certificate, and how they combine.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use prefix_trie::PrefixMap;

use super::caller::{Caller, CertFingerprint, MacAddr, MacHeader};
use super::clock::Timestamp;
use super::ids::ClientRuleId;
use super::key::{Stamp, State};
use super::text::{Description, Invalid};

/// One way to check a client, in the order in which failures are told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Method {
    /// The peer's IPv4 address.
    Ipv4,
    /// The MAC header. A claim, not proof.
    Mac,
    /// The client certificate of the TLS connection.
    Certificate,
}

impl Method {
    /// All methods, in the order in which failures are told.
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Mac, Self::Certificate];

    /// The word that the database keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPV4",
            Self::Mac => "MAC",
            Self::Certificate => "CERTIFICATE",
        }
    }

    /// The method that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }
}

/// How enabled methods combine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum AuthMode {
    /// All enabled methods must pass.
    #[default]
    And,
    /// Any one enabled method must pass.
    Or,
}

impl AuthMode {
    /// The wire contract's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
        }
    }

    /// The mode that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::And, Self::Or].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// Which methods a key store uses. At least one: a policy without any can't be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct ChecksPolicy {
    ipv4: bool,
    mac: bool,
    certificate: bool,
    mode: AuthMode,
}

impl ChecksPolicy {
    /// A policy, if at least one method is on.
    pub fn new(ipv4: bool, mac: bool, certificate: bool, mode: AuthMode) -> Result<Self, Invalid> {
        if ipv4 || mac || certificate {
            Ok(Self { ipv4, mac, certificate, mode })
        } else {
            Err(Invalid::new("ip4AuthUse", "or macAuthUse or certificateAuthUse must be \"Y\": at least one client check is needed"))
        }
    }

    /// Whether `method` is on.
    pub const fn uses(self, method: Method) -> bool {
        match method {
            Method::Ipv4 => self.ipv4,
            Method::Mac => self.mac,
            Method::Certificate => self.certificate,
        }
    }

    /// How the methods combine.
    pub const fn mode(self) -> AuthMode {
        self.mode
    }
}

/// What a client rule admits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleValue {
    /// An IPv4 address (a /32) or a CIDR block.
    Ipv4(Ipv4Net),
    /// A MAC address.
    Mac(MacAddr),
    /// A client certificate that this service signed.
    Certificate {
        /// Its name in the key store.
        name: String,
        /// SHA-256 of its DER.
        fingerprint: CertFingerprint,
        /// Its serial number, hex.
        serial: String,
        /// When it expires.
        not_after: Timestamp,
    },
}

impl RuleValue {
    /// The method that the rule belongs to.
    pub const fn method(&self) -> Method {
        match self {
            Self::Ipv4(_) => Method::Ipv4,
            Self::Mac(_) => Method::Mac,
            Self::Certificate { .. } => Method::Certificate,
        }
    }
}

/// Reads an IPv4 address or CIDR block of a client rule: no leading zeroes, no host bits, no /0.
pub fn parse_ipv4_rule(field: &'static str, text: &str) -> Result<Ipv4Net, Invalid> {
    let malformed = || Invalid::new(field, "must be an IPv4 address or CIDR block");
    let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
    if bits.len() > 1 && bits.starts_with('0') {
        return Err(Invalid::new(field, "must have a prefix length without leading zeroes"));
    }
    // Each by the standard library's parser: that of a whole block takes zeroes before a number, which others read as octal.
    let address: Ipv4Addr = address.parse().map_err(|_| malformed())?;
    let bits = Some(bits).filter(|bits| bits.bytes().all(|byte| byte.is_ascii_digit())).and_then(|bits| bits.parse().ok()).ok_or_else(malformed)?;
    let net = Ipv4Net::new(address, bits).map_err(|_| malformed())?;
    if net.prefix_len() == 0 {
        return Err(Invalid::new(field, "must not be /0, which admits everybody"));
    }
    if net.addr() != net.network() {
        return Err(Invalid::new(field, "must have no bits set after the prefix"));
    }
    Ok(net)
}

/// A client rule: one entry of a key store.
#[derive(Clone, Debug)]
pub struct ClientRule {
    /// Its row.
    pub id: ClientRuleId,
    /// What it admits.
    pub value: RuleValue,
    /// What people say about it.
    pub description: Description,
    /// Where its life stands; only `Active` ones admit anybody.
    pub state: State,
    /// When it is due to be deleted.
    pub deletion: Option<Timestamp>,
    /// Who made it.
    pub created: Stamp,
    /// Who changed it last.
    pub changed: Stamp,
}

/// A key store's ACTIVE entries, indexed: looking one up takes the same time with 1 and with 10,000.
#[derive(Debug, Default)]
pub struct RuleIndex {
    ipv4: PrefixMap<Ipv4Net, ClientRuleId>,
    mac: HashMap<MacAddr, ClientRuleId>,
    certificate: HashMap<CertFingerprint, (ClientRuleId, Timestamp)>,
}

impl RuleIndex {
    /// The index over the active ones of `rules`.
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a ClientRule>) -> Self {
        let mut index = Self::default();
        for rule in rules.into_iter().filter(|rule| rule.state == State::Active) {
            match &rule.value {
                RuleValue::Ipv4(net) => drop(index.ipv4.insert(*net, rule.id)),
                RuleValue::Mac(mac) => drop(index.mac.insert(*mac, rule.id)),
                RuleValue::Certificate { fingerprint, not_after, .. } => drop(index.certificate.insert(*fingerprint, (rule.id, *not_after))),
            }
        }
        index
    }

    /// The entry that admits `caller` by `method`.
    fn admits(&self, method: Method, caller: &Caller, now: Timestamp) -> Option<ClientRuleId> {
        match method {
            Method::Ipv4 => match caller.address {
                IpAddr::V4(address) => self.ipv4.get_lpm(&Ipv4Net::from(address)).map(|(_, id)| *id),
                IpAddr::V6(_) => None,
            },
            Method::Mac => match caller.mac {
                MacHeader::Claimed(mac) => self.mac.get(&mac).copied(),
                MacHeader::Absent | MacHeader::Malformed => None,
            },
            Method::Certificate => {
                let shown = caller.certificate.as_ref()?;
                let (id, not_after) = self.certificate.get(&shown.fingerprint)?;
                (now < *not_after && now < shown.not_after).then_some(*id)
            }
        }
    }
}

/// The entries that admitted a caller: at most one per method.
pub type Admitted = Vec<ClientRuleId>;

/// Whether `policy` and `rules` admit `caller` at `now`: the entries that did, or the method that is told to have failed
/// (with AND the first that failed; with OR the first that is on).
pub fn check(policy: ChecksPolicy, rules: &RuleIndex, caller: &Caller, now: Timestamp) -> Result<Admitted, Method> {
    let mut admitted = Admitted::new();
    let mut first_failed = None;
    for method in Method::ALL.into_iter().filter(|method| policy.uses(*method)) {
        match rules.admits(method, caller, now) {
            Some(id) => admitted.push(id),
            None => first_failed = first_failed.or(Some(method)),
        }
    }
    match (policy.mode(), first_failed) {
        (_, None) if !admitted.is_empty() => Ok(admitted),
        (AuthMode::Or, Some(_)) if !admitted.is_empty() => Ok(admitted),
        (_, failed) => Err(failed.unwrap_or(Method::Ipv4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::ClientCertificate;

    const NOW: Timestamp = Timestamp::from_micros(1_000);
    const LATER: Timestamp = Timestamp::from_micros(2_000);

    fn rule(id: i64, value: RuleValue, state: State) -> ClientRule {
        let stamp = Stamp { user: "a".to_owned(), at: NOW };
        ClientRule { id: ClientRuleId(id), value, description: Description::default(), state, deletion: None, created: stamp.clone(), changed: stamp }
    }

    fn net(text: &str) -> RuleValue {
        RuleValue::Ipv4(parse_ipv4_rule("value", text).expect("a network"))
    }

    fn certificate(byte: u8, not_after: Timestamp) -> RuleValue {
        RuleValue::Certificate { name: "c".to_owned(), fingerprint: CertFingerprint([byte; 32]), serial: "01".to_owned(), not_after }
    }

    fn caller(address: &str, mac: MacHeader, certificate: Option<u8>) -> Caller {
        Caller {
            address: address.parse().expect("an address"),
            mac,
            certificate: certificate.map(|byte| ClientCertificate { fingerprint: CertFingerprint([byte; 32]), not_after: LATER }),
            user_agent: None,
        }
    }

    fn policy(ipv4: bool, mac: bool, certificate: bool, mode: AuthMode) -> ChecksPolicy {
        ChecksPolicy::new(ipv4, mac, certificate, mode).expect("a policy")
    }

    #[test]
    fn a_policy_needs_a_method() {
        assert!(ChecksPolicy::new(false, false, false, AuthMode::Or).is_err());
    }

    #[test]
    fn an_enabled_method_without_entries_admits_nobody() {
        let index = RuleIndex::default();
        for mode in [AuthMode::And, AuthMode::Or] {
            assert_eq!(check(policy(true, false, false, mode), &index, &caller("10.0.0.1", MacHeader::Absent, None), NOW), Err(Method::Ipv4));
        }
    }

    #[test]
    fn and_wants_all_and_tells_the_first_that_failed() {
        let mac = MacAddr::from_bytes([2, 0, 0, 0, 0, 1]);
        let index = RuleIndex::new(&[
            rule(1, net("10.0.0.0/8"), State::Active),
            rule(2, RuleValue::Mac(mac), State::Active),
            rule(3, certificate(7, LATER), State::Active),
        ]);
        let all = policy(true, true, true, AuthMode::And);
        assert_eq!(check(all, &index, &caller("10.1.2.3", MacHeader::Claimed(mac), Some(7)), NOW), Ok(vec![ClientRuleId(1), ClientRuleId(2), ClientRuleId(3)]));
        assert_eq!(check(all, &index, &caller("11.1.2.3", MacHeader::Malformed, None), NOW), Err(Method::Ipv4));
        assert_eq!(check(all, &index, &caller("10.1.2.3", MacHeader::Malformed, None), NOW), Err(Method::Mac));
        assert_eq!(check(all, &index, &caller("10.1.2.3", MacHeader::Claimed(mac), Some(8)), NOW), Err(Method::Certificate));
    }

    #[test]
    fn or_wants_one_and_tells_the_first_enabled() {
        let index = RuleIndex::new(&[rule(1, net("10.0.0.1"), State::Active), rule(3, certificate(7, LATER), State::Active)]);
        let any = policy(false, true, true, AuthMode::Or);
        assert_eq!(check(any, &index, &caller("::1", MacHeader::Absent, Some(7)), NOW), Ok(vec![ClientRuleId(3)]));
        assert_eq!(check(any, &index, &caller("10.0.0.1", MacHeader::Absent, None), NOW), Err(Method::Mac));
    }

    #[test]
    fn what_is_pending_or_expired_admits_nobody() {
        let index = RuleIndex::new(&[rule(1, net("10.0.0.1"), State::PendingDeletion), rule(3, certificate(7, NOW), State::Active)]);
        assert_eq!(check(policy(true, false, false, AuthMode::And), &index, &caller("10.0.0.1", MacHeader::Absent, None), NOW), Err(Method::Ipv4));
        assert_eq!(check(policy(false, false, true, AuthMode::And), &index, &caller("10.0.0.1", MacHeader::Absent, Some(7)), NOW), Err(Method::Certificate));
    }

    #[test]
    fn networks_are_exact() {
        for wrong in
            ["", "10.0.0.0/0", "0.0.0.0/0", "10.0.0.1/8", "010.0.0.1", "10.0.0.0/08", "10.0.0.0/33", "::1", "10.0.0", "10.0.0.0/-1", "1.2.3.4/", "1.2.3.4 "]
        {
            assert!(parse_ipv4_rule("value", wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_ipv4_rule("value", "10.0.0.1").map(|n| n.prefix_len()), Ok(32));
    }
}
