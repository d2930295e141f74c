//! `decrypt`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Service;
use super::key_access::ClientChecks;
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::audit::Operation;
use crate::domain::envelope::{Envelope, IV_BYTES, TAG_BYTES};
use crate::domain::ids::KeyVersion;
use crate::domain::key::KeyKind;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;

/// A plaintext.
#[derive(Debug, Clone)]
pub struct Decrypted {
    /// What was encrypted.
    pub plaintext: SecretText,
    /// The version that encrypted it.
    pub version: KeyVersion,
}

/// Reads the Base64 (RFC 4648, section 4, padded) of an envelope.
pub(super) fn parse_envelope(text: &str) -> Result<Envelope, Refusal> {
    let bytes = STANDARD.decode(text).map_err(|_| ResultCode::InvalidUserData)?;
    Ok(Envelope::parse(&bytes).map_err(|_| ResultCode::InvalidUserData)?)
}

impl Service {
    /// Decrypts what `encrypt` made with any version of the key that is in service.
    pub async fn decrypt(&self, request: Request, key: String, ciphertext: Result<SecretText, Refusal>) -> Result<Decrypted, Refusal> {
        self.run(request, Operation::Decrypt, Right::Use, move |service, scope| {
            Box::pin(async move {
                let mut access = service.access_key_of_kind(scope, &key, KeyKind::Symmetric, ClientChecks::Run).await?;
                let Envelope { prefix, payload } = parse_envelope(ciphertext?.expose())?;
                if payload.len() < IV_BYTES + TAG_BYTES {
                    return Err(ResultCode::InvalidUserData.into());
                }
                let (id, version) = (access.id(), access.version(service, scope, prefix.version).await?);
                scope.names_version(prefix.version);
                let plaintext = service.token().decrypt(version.object()?, prefix.aad(id), payload).await?;
                scope.uses_key(version.used_by(id, 0));
                let plaintext = plaintext.into_text().map_err(|_| ResultCode::InvalidUserData)?;
                Ok(Decrypted { plaintext, version: prefix.version })
            })
        })
        .await
    }
}
