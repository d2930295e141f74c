//! Certificates: an internal CA (ECDSA P-256) whose key lives in the token.
//!
//! Signing waits for the token, so everything that issues is blocking: call it where blocking is allowed.

mod ca;
mod crl;
mod csr;
mod error;
mod keystore;
mod pem;
mod signer;

pub use ca::{Ca, IssuedCertificate, IssuedKeyPair, LIFE_MAX_DAYS, Validity, make_ca_certificate, parse_life_days};
pub use crl::{RevocationReason, RevokedCertificate};
pub use csr::CSR_MAX_BYTES;
pub use error::PkiError;
pub use keystore::{PASSWORD_MAX_CHARS, check_password, pkcs12};
pub use pem::{certificate_pem, crl_pem, private_key_pem};
pub use signer::{DigestSigner, TokenKey};
