//! `encrypt` and `create-local-key`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Service;
use super::key_access::{ClientChecks, KeyAccess};
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use super::views::take_encryption;
use crate::domain::audit::Operation;
use crate::domain::envelope::{Envelope, Format, Prefix};
use crate::domain::ids::KeyVersion;
use crate::domain::key::KeyKind;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::Invalid;
use crate::store::Change;

/// The most bytes of a plaintext, and of confidential data.
pub const PLAINTEXT_MAX_BYTES: usize = 32_768;
/// Bytes of a data key.
const LOCAL_KEY_BYTES: usize = 32;

/// A ciphertext.
#[derive(Debug, Clone)]
pub struct Encrypted {
    /// Base64 of the envelope.
    pub ciphertext: String,
    /// The version that encrypted.
    pub version: KeyVersion,
}

/// A data key: for the caller alone, kept nowhere.
#[derive(Debug, Clone)]
pub struct LocalKey {
    /// Base64 of its 32 bytes.
    pub plaintext: SecretText,
    /// Base64 of the envelope around that text.
    pub ciphertext: String,
    /// The version that encrypted.
    pub version: KeyVersion,
}

/// Checks the length of `text` in bytes.
pub(super) fn bounded(field: &'static str, text: SecretText, max_bytes: usize) -> Result<SecretBytes, Invalid> {
    let bytes = text.into_bytes();
    if bytes.len() > max_bytes {
        return Err(Invalid::new(field, format!("must be at most {max_bytes} bytes of UTF-8")));
    }
    Ok(bytes)
}

impl Service {
    /// Encrypts a text of at most `PLAINTEXT_MAX_BYTES` with the current version of a symmetric key.
    pub async fn encrypt(&self, request: Request, key: String, plaintext: Result<SecretText, Refusal>) -> Result<Encrypted, Refusal> {
        self.run(request, Operation::Encrypt, Right::Use, move |service, scope| {
            Box::pin(async move {
                let access = service.access_key_of_kind(scope, &key, KeyKind::Symmetric, ClientChecks::Run).await?;
                let plaintext = bounded("plaintext", plaintext?, PLAINTEXT_MAX_BYTES)?;
                service.encrypt_with(scope, &access, plaintext).await
            })
        })
        .await
    }

    /// Makes a data key from the token's random numbers and encrypts its Base64 text.
    pub async fn create_local_key(&self, request: Request, key: String) -> Result<LocalKey, Refusal> {
        self.run(request, Operation::CreateLocalKey, Right::Use, move |service, scope| {
            Box::pin(async move {
                let access = service.access_key_of_kind(scope, &key, KeyKind::Symmetric, ClientChecks::Run).await?;
                let random = Zeroizing::new(service.token().random(LOCAL_KEY_BYTES).await?);
                let plaintext = SecretText::new(STANDARD.encode(random.as_slice()));
                let Encrypted { ciphertext, version } = service.encrypt_with(scope, &access, plaintext.clone().into_bytes()).await?;
                Ok(LocalKey { plaintext, ciphertext, version })
            })
        })
        .await
    }

    async fn encrypt_with(&self, scope: &mut Scope, access: &KeyAccess, plaintext: SecretBytes) -> Result<Encrypted, Refusal> {
        let current = access.current()?;
        let object = current.object()?;
        let version = current.version.version;
        scope.names_version(version);
        if take_encryption(&current.encryptions)? {
            self.views().apply(&[Change::Key(access.id())]);
        }
        let prefix = Prefix { format: Format::Plain, version };
        let payload = self.token().encrypt(object, prefix.aad(access.id()), plaintext).await?;
        scope.uses_key(current.used_by(access.id(), 1));
        Ok(Encrypted { ciphertext: STANDARD.encode(Envelope { prefix, payload }.to_bytes()), version })
    }
}
