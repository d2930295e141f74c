//! Signing with the CA's key, wherever it is.

use std::cell::RefCell;

use rcgen::{Issuer, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use super::error::PkiError;
use crate::domain::ids::ObjectId;
use crate::hsm::{HsmError, Token};

/// Whoever has the CA's private key.
pub trait DigestSigner: Send + Sync {
    /// ECDSA P-256 over a SHA-256 digest: r and s, 32 bytes each, big-endian. Blocking.
    fn sign_digest(&self, digest: [u8; 32]) -> Result<[u8; 64], HsmError>;
}

/// A private key in the token.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// The token.
    pub token: Token,
    /// The EC P-256 pair in it.
    pub key: ObjectId,
}

impl DigestSigner for TokenKey {
    fn sign_digest(&self, digest: [u8; 32]) -> Result<[u8; 64], HsmError> {
        self.token.sign_digest_blocking(self.key, digest)
    }
}

/// A signer as rcgen wants it, for one certificate or revocation list. rcgen's error has no room for the token's, so that
/// is kept beside.
pub(super) struct IssuerKey<'a> {
    signer: &'a dyn DigestSigner,
    /// The public key: an uncompressed point.
    point: &'a [u8],
    failure: RefCell<Option<PkiError>>,
}

impl<'a> IssuerKey<'a> {
    pub(super) fn new(signer: &'a dyn DigestSigner, point: &'a [u8]) -> Self {
        Self { signer, point, failure: RefCell::new(None) }
    }

    /// Runs `issue`, which signs with this key, and tells what really went wrong.
    pub(super) fn issue<T>(&self, issue: impl FnOnce(&Self) -> Result<T, rcgen::Error>) -> Result<T, PkiError> {
        issue(self).map_err(|error| self.failure.take().unwrap_or_else(|| PkiError::Encoding(error.to_string())))
    }

    /// As [`IssuerKey::issue`], in the name of `certificate`.
    pub(super) fn issue_for<T>(&self, certificate: &[u8], issue: impl FnOnce(&Issuer<'_, &Self>) -> Result<T, rcgen::Error>) -> Result<T, PkiError> {
        self.issue(|key| issue(&Issuer::from_ca_cert_der(&certificate.into(), key)?))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let signature = self.signer.sign_digest(Sha256::digest(message).into())?;
        // Or nobody could verify the certificate, were the wrong object in the token.
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point).verify(message, &signature).map_err(|_| PkiError::ForeignSignature)?;
        Ok(ecdsa_sig_value(&signature))
    }
}

impl PublicKeyData for IssuerKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for IssuerKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(message).map_err(|error| {
            *self.failure.borrow_mut() = Some(error);
            rcgen::Error::RemoteKeyError
        })
    }
}

/// `Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }` (RFC 3279, 2.2.3).
fn ecdsa_sig_value(signature: &[u8; 64]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let integers = [integer(r), integer(s)].concat();
    // At most 70 bytes, so every length fits in one.
    [&[0x30, length(&integers)][..], &integers].concat()
}

/// A DER INTEGER that is not negative: no superfluous zeroes in front, but one before a high bit (X.690, 8.3).
fn integer(big_endian: &[u8]) -> Vec<u8> {
    let zeroes = big_endian.iter().take_while(|byte| **byte == 0).count();
    let digits = big_endian.get(zeroes..).unwrap_or_default();
    let sign = if digits.first().is_none_or(|first| first & 0x80 != 0) { &[0][..] } else { &[] };
    let content = [sign, digits].concat();
    [&[0x02, length(&content)][..], &content].concat()
}

fn length(content: &[u8]) -> u8 {
    u8::try_from(content.len()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal_and_not_negative() {
        for (big_endian, expected) in [
            (&[0, 0, 0][..], &[2, 1, 0][..]),
            (&[0, 0, 1], &[2, 1, 1]),
            (&[0, 0x7f, 0xff], &[2, 2, 0x7f, 0xff]),
            (&[0, 0x80, 0], &[2, 3, 0, 0x80, 0]),
            (&[0xff, 0, 0], &[2, 4, 0, 0xff, 0, 0]),
        ] {
            assert_eq!(integer(big_endian), expected, "{big_endian:?}");
        }
        assert_eq!(ecdsa_sig_value(&[0xff; 64]).len(), 72, "the longest");
        assert_eq!(ecdsa_sig_value(&[0; 64]), [0x30, 6, 2, 1, 0, 2, 1, 0]);
    }
}
