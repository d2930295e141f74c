//! `publicKey`, and the two routes that ask for what never leaves the token.

use super::Service;
use super::key_access::ClientChecks;
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::audit::Operation;
use crate::domain::ids::KeyVersion;
use crate::domain::key::{KeyKind, Material};
use crate::domain::result_code::ResultCode;

/// A public key.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// DER `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7).
    pub spki: Vec<u8>,
    /// Its version.
    pub version: KeyVersion,
}

impl Service {
    /// The public key of an asymmetric key: of a given version, or of the current one. The only operation without client checks.
    pub async fn public_key(&self, request: Request, key: String, version: Result<Option<KeyVersion>, Refusal>) -> Result<PublicKey, Refusal> {
        self.run(request, Operation::ReadPublicKey, Right::Use, move |service, scope| {
            Box::pin(async move {
                let mut access = service.access_key_of_kind(scope, &key, KeyKind::Asymmetric, ClientChecks::Skip).await?;
                let view = match version? {
                    Some(number) => access.version(service, scope, number).await?,
                    None => access.current()?,
                };
                scope.names_version(view.version.version);
                match &view.version.material {
                    Material::Token { public_key: Some(spki), .. } => Ok(PublicKey { spki: spki.clone(), version: view.version.version }),
                    Material::Token { public_key: None, .. } | Material::Sealed(_) => Err(Refusal::unavailable("an asymmetric key has no public key")),
                }
            })
        })
        .await
    }

    /// Raw material of a symmetric key: refused, always.
    pub async fn export_symmetric_key(&self, request: Request, key: String) -> Refusal {
        self.refuse_export(request, key, KeyKind::Symmetric, Operation::ExportSymmetricKey).await
    }

    /// Raw material of a private key: refused, always.
    pub async fn export_private_key(&self, request: Request, key: String) -> Refusal {
        self.refuse_export(request, key, KeyKind::Asymmetric, Operation::ExportPrivateKey).await
    }

    async fn refuse_export(&self, request: Request, key: String, kind: KeyKind, operation: Operation) -> Refusal {
        let outcome = self.run::<(), _>(request, operation, Right::Use, move |service, scope| {
            Box::pin(async move {
                service.access_key_of_kind(scope, &key, kind, ClientChecks::Run).await?;
                Err(ResultCode::KeyNotExportable.into())
            })
        });
        outcome.await.err().unwrap_or(Refusal::Code(ResultCode::KeyNotExportable))
    }
}
