//! Reading confidential data.

use super::Service;
use super::key_access::ClientChecks;
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::audit::{KeyUse, Operation};
use crate::domain::ids::{KeyId, KeyVersion};
use crate::domain::key::{KeyKind, Material};
use crate::domain::secret::SecretText;

/// What confidential data is bound to: its key ID and version.
pub(super) fn secret_context(key: KeyId, version: KeyVersion) -> Vec<u8> {
    [key.as_bytes().as_slice(), &version.number().to_be_bytes()].concat()
}

impl Service {
    /// The current value of confidential data.
    pub async fn read_secret(&self, request: Request, key: String) -> Result<SecretText, Refusal> {
        self.run(request, Operation::ReadSecret, Right::Use, move |service, scope| {
            Box::pin(async move {
                let access = service.access_key_of_kind(scope, &key, KeyKind::Secret, ClientChecks::Run).await?;
                let current = access.current()?;
                let version = current.version.version;
                scope.names_version(version);
                let Material::Sealed(sealed) = &current.version.material else {
                    return Err(Refusal::unavailable("confidential data has no sealed value"));
                };
                let sealing_key = &access.key_store.sealing_key;
                let plaintext = service.unseal(sealing_key, &secret_context(access.id(), version), sealed).await?;
                scope.uses_key(current.used_by(access.id(), 0));
                scope.uses_key(KeyUse { key: sealing_key.id, version: sealing_key.version, encryptions: 0 });
                plaintext.into_text().map_err(|_| Refusal::unavailable("confidential data is no text"))
            })
        })
        .await
    }
}
