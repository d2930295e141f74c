//! Registering the clients of a key store, and shutting them out again.

use ipnet::Ipv4Net;

use super::Service;
use super::approval::Proposal;
use super::authorities::Authority;
use super::create_key::KeyStoreRef;
use super::pki::{self, IssuedKeyPair};
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use crate::domain::audit::{KeyUse, Operation};
use crate::domain::caller::{CertFingerprint, MacAddr};
use crate::domain::client_checks::{Method, RuleValue, parse_ipv4_rule};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyStoreId, KeyVersion};
use crate::domain::key::Stamp;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::{Description, Invalid, Name};
use crate::store::{Change, StoreError, Tx};

/// The most entries of one method in a key store.
pub(super) const RULES_MAX: i64 = 10_000;

/// A client to be registered.
#[derive(Debug, Clone)]
pub struct NewClientRule {
    /// The key store.
    pub key_store: KeyStoreRef,
    /// What is registered.
    pub value: NewRuleValue,
    /// What people say about it.
    pub description: Description,
}

/// What is registered.
#[derive(Debug, Clone)]
pub enum NewRuleValue {
    /// An IPv4 address or CIDR block, as typed.
    Ipv4(String),
    /// A MAC address, as typed.
    Mac(String),
    /// A client certificate to be made, with its key, as a `.p12`.
    Certificate {
        /// Its name in the key store.
        name: Name,
        /// What encrypts the `.p12`; never kept.
        password: SecretText,
        /// Days until it expires.
        life_days: i64,
    },
}

/// A client that was registered.
#[derive(Debug)]
pub struct RegisteredClientRule {
    /// The value in its canonical form; of a certificate its name.
    pub value: String,
    /// What people say about it.
    pub description: Description,
    /// A certificate that was made, with its key, for whoever asked in this process; the API hands out neither.
    pub issued: Option<IssuedKeyPair>,
}

/// Which entry is meant.
#[derive(Debug, Clone)]
pub struct RuleSelector {
    /// The key store.
    pub key_store: KeyStoreRef,
    /// The method.
    pub method: Method,
    /// The value as typed; of a certificate its name.
    pub value: String,
    /// When it was last changed as far as the caller knows: if it was changed again, nothing is done. `None` asks for no such care.
    pub seen: Option<Timestamp>,
}

/// What is kept of a certificate beside its entry.
pub(super) struct Certified {
    /// The version of the CA's key that signed it.
    pub(super) issuer: KeyVersion,
    /// Its `.p12`, if its key was made here.
    pub(super) sealed_p12: Option<Vec<u8>>,
}

struct Prepared {
    value: RuleValue,
    shown: String,
    certified: Option<Certified>,
    /// The encryption that sealed it.
    sealing: Option<KeyUse>,
    issued: Option<IssuedKeyPair>,
}

/// What a `.p12` at rest is bound to.
pub(super) fn p12_context(fingerprint: CertFingerprint) -> Vec<u8> {
    [b"p12".as_slice(), &fingerprint.0].concat()
}

fn parse_mac(text: &str) -> Result<MacAddr, Invalid> {
    let mac = MacAddr::parse(text).ok_or_else(|| Invalid::new("value", "must be a MAC address like aa:bb:cc:dd:ee:ff"))?;
    if mac.is_unicast() { Ok(mac) } else { Err(Invalid::new("value", "must be the address of one network card: not zero, not a group address")) }
}

/// An address without its `/32`, a block with its prefix length.
fn shown_net(net: Ipv4Net) -> String {
    if net.prefix_len() == 32 { net.addr().to_string() } else { net.to_string() }
}

/// A value as the store keeps it, as it is shown.
pub(super) fn shown_kept(method: Method, kept: String) -> String {
    match method {
        Method::Ipv4 => kept.strip_suffix("/32").map(str::to_owned).unwrap_or(kept),
        Method::Mac | Method::Certificate => kept,
    }
}

/// A value as it is shown; of a certificate its name.
pub fn shown_value(value: &RuleValue) -> String {
    match value {
        RuleValue::Ipv4(net) => shown_net(*net),
        RuleValue::Mac(mac) => mac.to_string(),
        RuleValue::Certificate { name, .. } => name.clone(),
    }
}

/// The entry that is meant, parsed as a new one's value is, so that the same text means the same entry.
#[derive(Debug)]
pub(super) enum Wanted {
    Ipv4(Ipv4Net),
    Mac(MacAddr),
    Certificate(Name),
}

impl Wanted {
    pub(super) fn parse(method: Method, text: &str) -> Result<Self, Invalid> {
        Ok(match method {
            Method::Ipv4 => Self::Ipv4(parse_ipv4_rule("value", text)?),
            Method::Mac => Self::Mac(parse_mac(text)?),
            Method::Certificate => Self::Certificate(Name::parse("name", text)?),
        })
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Self::Ipv4(net) => shown_net(*net),
            Self::Mac(mac) => mac.to_string(),
            Self::Certificate(name) => name.to_string(),
        }
    }

    /// The value as the store keeps it.
    pub(super) fn kept(&self) -> String {
        match self {
            Self::Ipv4(net) => net.to_string(),
            Self::Mac(mac) => mac.to_string(),
            Self::Certificate(name) => name.to_string(),
        }
    }
}

/// The field on the wire that names an entry of that method.
const fn field_of(method: Method) -> &'static str {
    match method {
        Method::Ipv4 | Method::Mac => "value",
        Method::Certificate => "name",
    }
}

/// The refusal of a new entry, naming the field that its method has.
fn taken(error: StoreError, method: Method) -> Refusal {
    match error {
        StoreError::Exists { what } => Refusal::Exists { field: field_of(method), what },
        other => other.into(),
    }
}

impl Service {
    /// Registers a client of a key store.
    pub async fn register_client(&self, request: Request, input: Result<NewClientRule, Refusal>) -> Result<RegisteredClientRule, Refusal> {
        self.run(request, Operation::CreateClientRule, Right::Change, move |service, scope| {
            Box::pin(async move {
                let input = input?;
                let key_store = service.key_store_meant(scope, &input.key_store).await?;
                let prepared = service.prepare_rule(input.value).await?;
                scope.details(format!("{} {}", prepared.value.method().as_str(), prepared.shown));
                prepared.sealing.into_iter().for_each(|sealing| scope.uses_key(sealing));
                let (value, shown, issued) = (prepared.value, prepared.shown, prepared.issued);
                if scope.is_asked() {
                    let proposal = Proposal::of_rule(key_store.key_store.id, value, input.description, prepared.certified, None);
                    return Err(service.propose(scope, proposal).await);
                }
                service.insert_rule(scope, key_store.key_store.id, value, input.description.clone(), prepared.certified).await?;
                Ok(RegisteredClientRule { value: shown, description: input.description, issued })
            })
        })
        .await
    }

    async fn prepare_rule(&self, value: NewRuleValue) -> Result<Prepared, Refusal> {
        match value {
            NewRuleValue::Ipv4(text) => {
                let net = parse_ipv4_rule("value", &text)?;
                let shown = shown_net(net);
                Ok(Prepared { value: RuleValue::Ipv4(net), shown, certified: None, sealing: None, issued: None })
            }
            NewRuleValue::Mac(text) => {
                let mac = parse_mac(&text)?;
                Ok(Prepared { value: RuleValue::Mac(mac), shown: mac.to_string(), certified: None, sealing: None, issued: None })
            }
            NewRuleValue::Certificate { name, password, life_days } => self.prepare_certificate(name, password, life_days).await,
        }
    }

    async fn prepare_certificate(&self, name: Name, password: SecretText, life_days: i64) -> Result<Prepared, Refusal> {
        pki::check_password(&password)?;
        let life_days = pki::parse_life_days(life_days)?;
        let (authorities, now, common_name) = (self.authorities()?, self.now(), name.clone());
        let (authority, seal) = (authorities.for_clients(now), authorities.seal.clone());
        let issuer = authority.version;
        let made = tokio::task::spawn_blocking(move || issue(&authority, &common_name, &password, life_days, now)).await;
        let (issued, p12) = made.map_err(|_| Refusal::unavailable("issuing a certificate panicked"))??;
        let certificate = &issued.certificate;
        let sealed = self.seal(&seal, &p12_context(certificate.fingerprint), p12).await?;
        let sealing = KeyUse { key: seal.id, version: seal.version, encryptions: 1 };
        let (fingerprint, serial, not_after) = (certificate.fingerprint, certificate.serial.clone(), certificate.not_after);
        let value = RuleValue::Certificate { name: name.to_string(), fingerprint, serial, not_after };
        let certified = Some(Certified { issuer, sealed_p12: Some(sealed) });
        Ok(Prepared { value, shown: name.to_string(), certified, sealing: Some(sealing), issued: Some(issued) })
    }

    pub(super) async fn insert_rule(
        &self,
        scope: &mut Scope,
        id: KeyStoreId,
        value: RuleValue,
        description: Description,
        certified: Option<Certified>,
    ) -> Result<(), Refusal> {
        let stamp = scope.stamp(self);
        let (event, uses) = scope.record_of_success(self);
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                put_rule(tx, id, &value, &description, certified.as_ref(), &stamp)?;
                Ok(tx.audit(event, uses)?)
            })
            .await?;
        scope.committed();
        self.apply(&[Change::KeyStore(id)]);
        Ok(())
    }
}

/// A new entry of a key store in service.
pub(super) fn put_rule(
    tx: &mut Tx<'_>,
    id: KeyStoreId,
    value: &RuleValue,
    description: &Description,
    certified: Option<&Certified>,
    stamp: &Stamp,
) -> Result<(), Refusal> {
    tx.hold_active_key_store(id)?;
    if tx.count_client_rules(id, value.method())? >= RULES_MAX {
        return Err(Invalid::new("keyStoreName", format!("has {RULES_MAX} entries of that kind already")).into());
    }
    let p12 = certified.and_then(|certified| certified.sealed_p12.as_deref());
    let rule = tx.insert_client_rule(id, value, description, p12, stamp).map_err(|error| taken(error, value.method()))?;
    if let Some(certified) = certified {
        tx.note_issuer(rule, certified.issuer)?;
    }
    Ok(tx.changed(Change::KeyStore(id))?)
}

fn issue(authority: &Authority, name: &Name, password: &SecretText, life_days: u32, now: Timestamp) -> Result<(IssuedKeyPair, SecretBytes), Refusal> {
    let issued = authority.ca.issue_client(name.as_str(), life_days, now)?;
    let p12 = pki::pkcs12(&issued, &[authority.ca.certificate()], password, name.as_str())?;
    Ok((issued, p12))
}
