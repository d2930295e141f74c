//! Certificate revocation lists (RFC 5280, 5).

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};

use super::ca::{Ca, asn1_time};
use super::error::PkiError;
use crate::domain::clock::Timestamp;
use crate::domain::text::Invalid;

/// Why a certificate was revoked (RFC 5280, 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationReason {
    /// Nobody said.
    Unspecified,
    /// Its private key may be in other hands.
    KeyCompromise,
    /// A newer one took its place.
    Superseded,
    /// It isn't needed any more.
    CessationOfOperation,
    /// It may be restored.
    CertificateHold,
}

/// An entry of a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// The serial number, hex, as [`super::IssuedCertificate`] has it.
    pub serial: String,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

impl Ca {
    /// The list of revoked certificates, DER. `number` goes up with each list; the next one comes at `next_update` at the
    /// latest. Blocking.
    pub fn crl(&self, revoked: &[RevokedCertificate], number: u64, now: Timestamp, next_update: Timestamp) -> Result<Vec<u8>, PkiError> {
        let params = CertificateRevocationListParams {
            this_update: asn1_time(now)?.to_datetime(),
            next_update: asn1_time(next_update)?.to_datetime(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect::<Result<_, _>>()?,
            // For the authority key identifier, which must be what the CA's certificate has.
            key_identifier_method: KeyIdMethod::PreSpecified(self.key_identifier()?),
        };
        self.with_key(|issuer| params.signed_by(issuer)).map(|list| list.der().to_vec())
    }
}

fn entry(revoked: &RevokedCertificate) -> Result<RevokedCertParams, PkiError> {
    let serial = hex::decode(&revoked.serial).map_err(|_| Invalid::new("serial", "must be hex digits"))?;
    Ok(RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: asn1_time(revoked.at)?.to_datetime(),
        reason_code: match revoked.reason {
            // RFC 5280, 5.3.1: better no reason than this one.
            RevocationReason::Unspecified => None,
            RevocationReason::KeyCompromise => Some(rcgen::RevocationReason::KeyCompromise),
            RevocationReason::Superseded => Some(rcgen::RevocationReason::Superseded),
            RevocationReason::CessationOfOperation => Some(rcgen::RevocationReason::CessationOfOperation),
            RevocationReason::CertificateHold => Some(rcgen::RevocationReason::CertificateHold),
        },
        invalidity_date: None,
    })
}
