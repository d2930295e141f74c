//! Why no certificate was issued.

use crate::domain::text::Invalid;
use crate::hsm::HsmError;

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Something that the caller gave can't be taken.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The token did not sign.
    #[error(transparent)]
    Token(#[from] HsmError),
    /// The token signed, but not with the key that the CA's certificate names.
    #[error("the token's signature does not belong to the CA's certificate")]
    ForeignSignature,
    /// The CA's certificate can't be used.
    #[error("the CA's certificate {0}")]
    CaCertificate(&'static str),
    /// The CA's certificate has expired.
    #[error("the CA's certificate has expired")]
    CaExpired,
    /// The operating system's random number generator failed.
    #[error("no random numbers")]
    Random,
    /// A certificate, revocation list or keystore could not be encoded.
    #[error("encoding failed: {0}")]
    Encoding(String),
}

impl From<ring::error::Unspecified> for PkiError {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Random
    }
}
