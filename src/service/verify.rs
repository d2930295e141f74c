//! `verify` and `verify-standard`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Service;
use super::decrypt::parse_envelope;
use super::encrypt::bounded;
use super::key_access::ClientChecks;
use super::refusal::Refusal;
use super::request::{Request, Right};
use super::sign::{SIGN_MAX_BYTES, message};
use crate::domain::audit::Operation;
use crate::domain::ids::KeyVersion;
use crate::domain::key::KeyKind;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::hsm::RsaPadding;

/// Bytes of an RSA-2048 signature.
const SIGNATURE_BYTES: usize = 256;

/// Whether a signature is right.
#[derive(Debug, Clone, Copy)]
pub struct Verified {
    /// Whether it is.
    pub result: bool,
    /// The version that it was checked against.
    pub version: KeyVersion,
}

/// What `verify-standard` takes.
#[derive(Debug, Clone)]
pub struct VerifyStandard {
    /// Base64 of the message.
    pub plaintext: SecretText,
    /// Base64 of the bare signature.
    pub signature: SecretText,
    /// How it is padded.
    pub padding: RsaPadding,
    /// The version that is held to have signed.
    pub version: KeyVersion,
}

impl Service {
    /// Whether `signature` is what `sign` made of the text. A well-formed one that isn't gets `false`.
    pub async fn verify(&self, request: Request, key: String, input: Result<(SecretText, SecretText), Refusal>) -> Result<Verified, Refusal> {
        self.run(request, Operation::Verify, Right::Use, move |service, scope| {
            Box::pin(async move {
                let mut access = service.access_key_of_kind(scope, &key, KeyKind::Asymmetric, ClientChecks::Run).await?;
                let (plaintext, signature) = input?;
                let text = bounded("plaintext", plaintext, SIGN_MAX_BYTES)?;
                let envelope = parse_envelope(signature.expose())?;
                if envelope.payload.len() != SIGNATURE_BYTES {
                    return Err(ResultCode::InvalidUserData.into());
                }
                let (id, version) = (access.id(), access.version(service, scope, envelope.prefix.version).await?);
                scope.names_version(envelope.prefix.version);
                let result = service.token().verify_raw(version.object()?, text, envelope.payload).await?;
                scope.uses_key(version.used_by(id, 0));
                Ok(Verified { result, version: envelope.prefix.version })
            })
        })
        .await
    }

    /// Whether a bare signature is one of the given version over the message.
    pub async fn verify_standard(&self, request: Request, key: String, input: Result<VerifyStandard, Refusal>) -> Result<Verified, Refusal> {
        self.run(request, Operation::VerifyStandard, Right::Use, move |service, scope| {
            Box::pin(async move {
                let mut access = service.access_key_of_kind(scope, &key, KeyKind::Asymmetric, ClientChecks::Run).await?;
                let input = input?;
                let message = message(&input.plaintext)?;
                let signature = STANDARD.decode(input.signature.expose()).map_err(|_| ResultCode::InvalidUserData)?;
                if signature.len() != SIGNATURE_BYTES {
                    return Err(ResultCode::InvalidUserData.into());
                }
                let (id, version) = (access.id(), access.version(service, scope, input.version).await?);
                scope.names_version(input.version);
                let result = service.token().verify_message(version.object()?, input.padding, message, signature).await?;
                scope.uses_key(version.used_by(id, 0));
                Ok(Verified { result, version: input.version })
            })
        })
        .await
    }
}
