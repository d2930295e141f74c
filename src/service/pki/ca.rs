//! The internal CA.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    SerialNumber, SubjectPublicKeyInfo,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::csr;
use super::error::PkiError;
use super::signer::{DigestSigner, IssuerKey};
use crate::domain::caller::CertFingerprint;
use crate::domain::clock::Timestamp;
use crate::domain::secret::SecretBytes;
use crate::domain::text::Invalid;

/// The longest life of an issued certificate.
pub const LIFE_MAX_DAYS: u32 = 3_650;

/// Certificates are valid from a little before they are made, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
/// RFC 5280, appendix A.1: ub-common-name.
const COMMON_NAME_MAX_CHARS: usize = 64;
/// RFC 5280, 4.1.2.2, allows up to 20 bytes; this is enough to be unique and unguessable.
const SERIAL_BYTES: usize = 16;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is kept of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// SHA-256 of that.
    pub fingerprint: CertFingerprint,
    /// Its serial number: 32 lower-case hex digits.
    pub serial: String,
    /// When it expires: a whole second.
    pub not_after: Timestamp,
}

/// A certificate and the private key that was made for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedKeyPair {
    /// The certificate.
    pub certificate: IssuedCertificate,
    /// Its private key (EC P-256), PKCS#8 DER.
    pub key: SecretBytes,
}

/// A certificate authority. Cloning is cheap.
#[derive(Clone)]
pub struct Ca {
    certificate: Arc<[u8]>,
    point: Arc<[u8]>,
    signer: Arc<dyn DigestSigner>,
    not_before: Timestamp,
    not_after: Timestamp,
    common_name: String,
    crl_url: Option<Ia5String>,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("not_after", &self.not_after).field("crl_url", &self.crl_url).finish_non_exhaustive()
    }
}

/// A lifetime in days as the wire contract has it.
pub fn parse_life_days(days: i64) -> Result<u32, Invalid> {
    u32::try_from(days)
        .ok()
        .filter(|days| (1..=LIFE_MAX_DAYS).contains(days))
        .ok_or_else(|| Invalid::new("lifeTime", format!("must be 1 to {LIFE_MAX_DAYS} days")))
}

/// A self-signed CA certificate (DER) for the pair whose public key is `spki` (DER, EC P-256) and whose private key `signer`
/// has: it may sign end-entity certificates and revocation lists. Blocking.
pub fn make_ca_certificate(name: &str, spki: &[u8], signer: &dyn DigestSigner, now: Timestamp, life: Duration) -> Result<Vec<u8>, PkiError> {
    let point = p256_point(spki).ok_or(PkiError::CaCertificate("needs an EC P-256 key"))?;
    let mut params = parameters(name, now, now.plus(life))?;
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = IssuerKey::new(signer, &point).issue(|key| params.self_signed(&key))?;
    Ok(certificate.der().to_vec())
}

impl Ca {
    /// The CA with this certificate (DER) and key. With `crl_url` the certificates it issues say where its revocation list is.
    pub fn open(certificate: &[u8], signer: Arc<dyn DigestSigner>, crl_url: Option<&str>) -> Result<Self, PkiError> {
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| PkiError::CaCertificate("can't be read"))?;
        if !rest.is_empty() {
            return Err(PkiError::CaCertificate("is followed by something else"));
        }
        let usage = parsed.key_usage().ok().flatten();
        if !parsed.is_ca() || !usage.is_some_and(|usage| usage.value.key_cert_sign() && usage.value.crl_sign()) {
            return Err(PkiError::CaCertificate("is not for signing certificates and revocation lists"));
        }
        let point = p256_point(parsed.public_key().raw).ok_or(PkiError::CaCertificate("has no EC P-256 key"))?;
        let crl_url = crl_url.map(Ia5String::try_from).transpose().map_err(|_| Invalid::new("crl_url", "must be ASCII"))?;
        let Validity { not_before, not_after } = Validity::of(&parsed);
        let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned();
        Ok(Self { certificate: certificate.into(), point: point.into(), signer, not_before, not_after, common_name, crl_url })
    }

    /// The CA's own certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The name in the CA's own certificate.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// From when on the CA's own certificate is valid.
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When the CA's own certificate expires; nothing that it issues is valid for longer.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A client certificate and a key made here. Its life ends with the CA's at the latest. Blocking.
    pub fn issue_client(&self, common_name: &str, life_days: u32, now: Timestamp) -> Result<IssuedKeyPair, PkiError> {
        let (key, public) = make_key()?;
        let certificate = self.issue_client_for(&public, common_name, life_days, now)?;
        Ok(IssuedKeyPair { certificate, key })
    }

    /// A client certificate for the key of a certificate signing request (PKCS#10, PEM or DER). Of the request only the key
    /// is taken, after its proof of possession: the name and everything else is ours. Blocking.
    pub fn issue_client_from_csr(&self, csr: &[u8], common_name: &str, life_days: u32, now: Timestamp) -> Result<IssuedCertificate, PkiError> {
        self.issue_client_for(&csr::public_key(csr)?, common_name, life_days, now)
    }

    /// A server certificate for these names and addresses, and a key made here. Blocking.
    pub fn issue_server(&self, dns_names: &[String], addresses: &[IpAddr], life_days: u32, now: Timestamp) -> Result<IssuedKeyPair, PkiError> {
        let mut names = dns_names.iter().map(|name| dns_name(name)).collect::<Result<Vec<_>, _>>()?;
        names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        let common_name = dns_names.first().cloned().or_else(|| addresses.first().map(IpAddr::to_string));
        let common_name = common_name.ok_or_else(|| Invalid::new("dns_names", "or addresses must not be empty"))?;
        let mut params = self.end_entity(&common_name, ExtendedKeyUsagePurpose::ServerAuth, life_days, now)?;
        params.subject_alt_names = names;
        let (key, public) = make_key()?;
        Ok(IssuedKeyPair { certificate: self.issue(params, &public)?, key })
    }

    fn issue_client_for(&self, public: &SubjectPublicKeyInfo, common_name: &str, life_days: u32, now: Timestamp) -> Result<IssuedCertificate, PkiError> {
        self.issue(self.end_entity(common_name, ExtendedKeyUsagePurpose::ClientAuth, life_days, now)?, public)
    }

    fn end_entity(&self, common_name: &str, usage: ExtendedKeyUsagePurpose, life_days: u32, now: Timestamp) -> Result<CertificateParams, PkiError> {
        let life_days = parse_life_days(i64::from(life_days))?;
        if now >= self.not_after {
            return Err(PkiError::CaExpired);
        }
        let mut params = parameters(common_name, now, now.plus(DAY * life_days).min(self.not_after))?;
        // With an explicit "no CA" rcgen writes the subject key identifier too.
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.crl_distribution_points = self.crl_url.iter().map(|url| CrlDistributionPoint { uris: vec![url.to_string()] }).collect();
        Ok(params)
    }

    fn issue(&self, mut params: CertificateParams, public: &SubjectPublicKeyInfo) -> Result<IssuedCertificate, PkiError> {
        let serial = random_serial()?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let not_after = Timestamp::from_micros(params.not_after.unix_timestamp().saturating_mul(1_000_000));
        let certificate = self.with_key(|issuer| params.signed_by(public, issuer))?;
        let der = certificate.der().to_vec();
        Ok(IssuedCertificate { fingerprint: CertFingerprint(Sha256::digest(&der).into()), der, serial: hex::encode(serial), not_after })
    }

    /// Whether this CA is the one that a certificate (DER) names as its issuer, by its key.
    pub fn is_issuer_of(&self, certificate: &[u8]) -> bool {
        use x509_parser::extensions::ParsedExtension;
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
        let named = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(named) => named.key_identifier.as_ref().map(|identifier| identifier.0.to_vec()),
            _ => None,
        });
        named.is_some() && named == self.key_identifier().ok()
    }

    /// The subject key identifier of the CA's certificate.
    pub(super) fn key_identifier(&self) -> Result<Vec<u8>, PkiError> {
        use x509_parser::extensions::ParsedExtension;
        let (_, parsed) = X509Certificate::from_der(&self.certificate).map_err(|_| PkiError::CaCertificate("can't be read"))?;
        let identifier = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
            _ => None,
        });
        identifier.ok_or(PkiError::CaCertificate("has no subject key identifier"))
    }

    /// Runs `issue` with the CA's name and key.
    pub(super) fn with_key<T>(&self, issue: impl FnOnce(&rcgen::Issuer<'_, &IssuerKey<'_>>) -> Result<T, rcgen::Error>) -> Result<T, PkiError> {
        IssuerKey::new(self.signer.as_ref(), &self.point).issue_for(&self.certificate, issue)
    }
}

/// From when to when a certificate is valid: whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
}

impl Validity {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let at = |time: ASN1Time| Timestamp::from_micros(time.timestamp().saturating_mul(1_000_000));
        Self { not_before: at(certificate.validity().not_before), not_after: at(certificate.validity().not_after) }
    }

    /// Of a certificate, DER; `None` if it can't be read.
    pub fn read(certificate: &[u8]) -> Option<Self> {
        X509Certificate::from_der(certificate).ok().map(|(_, parsed)| Self::of(&parsed))
    }
}

/// The same for all certificates: a subject of one common name, and dates. (rcgen's own are 1975 and 4096.)
fn parameters(common_name: &str, now: Timestamp, not_after: Timestamp) -> Result<CertificateParams, PkiError> {
    if common_name.is_empty() || common_name.chars().any(char::is_control) {
        return Err(Invalid::new("name", "must not be empty or contain control characters").into());
    }
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name.chars().take(COMMON_NAME_MAX_CHARS).collect::<String>());
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = asn1_time(now.minus(BACKDATED))?.to_datetime();
    params.not_after = asn1_time(not_after)?.to_datetime();
    Ok(params)
}

pub(super) fn asn1_time(at: Timestamp) -> Result<ASN1Time, PkiError> {
    ASN1Time::from_timestamp(at.seconds()).map_err(|_| PkiError::Encoding("a date is out of range".to_owned()))
}

/// A name of a server certificate: letters, digits and hyphens between dots (RFC 1123, 2.1), perhaps `*.` in front.
fn dns_name(name: &str) -> Result<SanType, PkiError> {
    let invalid = || Invalid::new("dns_names", "must be DNS names");
    let labels = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.len() > 253 || !labels.split('.').all(is_label) {
        return Err(invalid().into());
    }
    Ok(SanType::DnsName(name.try_into().map_err(|_| invalid())?))
}

/// A fresh EC P-256 key: PKCS#8, and its public half.
fn make_key() -> Result<(SecretBytes, SubjectPublicKeyInfo), PkiError> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
    let key = SecretBytes::new(pkcs8.as_ref().to_vec());
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.expose(), &random).map_err(|error| PkiError::Encoding(error.to_string()))?;
    let public = SubjectPublicKeyInfo::from_der(&p256_spki(pair.public_key().as_ref())).map_err(|error| PkiError::Encoding(error.to_string()))?;
    Ok((key, public))
}

/// Random, positive, and always of the same length: neither does its DER need a zero in front, nor can it be zero.
fn random_serial() -> Result<[u8; SERIAL_BYTES], PkiError> {
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut serial)?;
    let [first, ..] = &mut serial;
    *first = *first & 0x3f | 0x40;
    Ok(serial)
}

/// The beginning of the SPKI of every EC P-256 key with an uncompressed point (RFC 5480, 2).
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point of P-256 (SEC 1, 2.3.3).
const P256_POINT_BYTES: usize = 65;

fn p256_spki(point: &[u8]) -> Vec<u8> {
    [&P256_SPKI_PREFIX[..], point].concat()
}

fn p256_point(spki: &[u8]) -> Option<Vec<u8>> {
    spki.strip_prefix(&P256_SPKI_PREFIX).filter(|point| point.len() == P256_POINT_BYTES && point.first() == Some(&4)).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_1_to_3650_days() {
        for (days, valid) in [(i64::MIN, false), (0, false), (1, true), (3_650, true), (3_651, false), (i64::MAX, false)] {
            assert_eq!(parse_life_days(days).is_ok(), valid, "{days}");
        }
    }

    #[test]
    fn serial_numbers_are_positive_and_of_one_length() {
        for _ in 0..1_000 {
            let [first, ..] = random_serial().expect("random numbers");
            assert_eq!(first >> 6, 1);
        }
    }

    #[test]
    fn only_dns_names_are_dns_names() {
        for (name, valid) in [
            ("localhost", true),
            ("a.example", true),
            ("*.example", true),
            ("", false),
            ("a..b", false),
            ("-a", false),
            ("a b", false),
            ("a.*", false),
            ("ä", false),
        ] {
            assert_eq!(dns_name(name).is_ok(), valid, "{name}");
        }
    }
}
