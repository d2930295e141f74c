//! `sign` and `sign-standard`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Service;
use super::encrypt::bounded;
use super::key_access::ClientChecks;
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::audit::Operation;
use crate::domain::digest_info::looks_like_digest_info;
use crate::domain::envelope::{Envelope, Format, Prefix};
use crate::domain::ids::KeyVersion;
use crate::domain::key::KeyKind;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::Invalid;
use crate::hsm::RsaPadding;

/// The most bytes that `sign` takes: what type-1 padding leaves of an RSA-2048 block (RFC 8017, 9.2).
pub(super) const SIGN_MAX_BYTES: usize = 245;
/// The most bytes that `sign-standard` takes, decoded.
pub(super) const MESSAGE_MAX_BYTES: usize = 65_536;

/// A signature of `sign`.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Base64 of the envelope around the signature.
    pub signature: String,
    /// The version that signed.
    pub version: KeyVersion,
}

/// A signature of `sign-standard`.
#[derive(Debug, Clone)]
pub struct SignedStandard {
    /// Base64 of the bare signature.
    pub signature: String,
    /// How it is padded.
    pub padding: RsaPadding,
    /// The version that signed.
    pub version: KeyVersion,
}

/// The text that `sign` and `verify` take: short enough, and no `DigestInfo`, with which a caller could mint a signature over
/// a digest of their choice.
pub(super) fn signable(text: SecretText) -> Result<SecretBytes, Invalid> {
    let bytes = bounded("plaintext", text, SIGN_MAX_BYTES)?;
    if looks_like_digest_info(bytes.expose()) {
        return Err(Invalid::new("plaintext", "must not be a DigestInfo; use sign-standard"));
    }
    Ok(bytes)
}

/// The message that `sign-standard` and `verify-standard` take.
pub(super) fn message(text: &SecretText) -> Result<SecretBytes, Invalid> {
    let bytes = STANDARD.decode(text.expose()).map(SecretBytes::new).map_err(|_| Invalid::new("plaintext", "must be Base64"))?;
    if bytes.len() > MESSAGE_MAX_BYTES {
        return Err(Invalid::new("plaintext", format!("must be at most {MESSAGE_MAX_BYTES} bytes, decoded")));
    }
    Ok(bytes)
}

impl Service {
    /// Signs a text of at most `SIGN_MAX_BYTES` with the current version of an asymmetric key.
    pub async fn sign(&self, request: Request, key: String, plaintext: Result<SecretText, Refusal>) -> Result<Signed, Refusal> {
        self.run(request, Operation::Sign, Right::Use, move |service, scope| {
            Box::pin(async move {
                let access = service.access_key_of_kind(scope, &key, KeyKind::Asymmetric, ClientChecks::Run).await?;
                let text = signable(plaintext?)?;
                let current = access.current()?;
                let version = current.version.version;
                scope.names_version(version);
                let payload = service.token().sign_raw(current.object()?, text).await?;
                scope.uses_key(current.used_by(access.id(), 0));
                let envelope = Envelope { prefix: Prefix { format: Format::Plain, version }, payload };
                Ok(Signed { signature: STANDARD.encode(envelope.to_bytes()), version })
            })
        })
        .await
    }

    /// Signs a message of at most `MESSAGE_MAX_BYTES` (given as Base64) with SHA-256.
    pub async fn sign_standard(&self, request: Request, key: String, input: Result<(SecretText, RsaPadding), Refusal>) -> Result<SignedStandard, Refusal> {
        self.run(request, Operation::SignStandard, Right::Use, move |service, scope| {
            Box::pin(async move {
                let access = service.access_key_of_kind(scope, &key, KeyKind::Asymmetric, ClientChecks::Run).await?;
                let (plaintext, padding) = input?;
                let message = message(&plaintext)?;
                let current = access.current()?;
                let version = current.version.version;
                scope.names_version(version);
                let signature = service.token().sign_message(current.object()?, padding, message).await?;
                scope.uses_key(current.used_by(access.id(), 0));
                Ok(SignedStandard { signature: STANDARD.encode(signature), padding, version })
            })
        })
        .await
    }
}
