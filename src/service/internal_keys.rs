//! Keys of the service's own: what they seal, and how much.

use super::Service;
use super::refusal::Refusal;
use crate::domain::envelope::{Envelope, Format, Prefix};
use crate::domain::secret::SecretBytes;
use crate::store::InternalKey;

/// What a sealed value is bound to: it opens nowhere else.
pub(super) fn aad(key: &InternalKey, context: &[u8]) -> Vec<u8> {
    let mut aad = Prefix { format: Format::Plain, version: key.version }.aad(key.id);
    aad.extend_from_slice(context);
    aad
}

impl Service {
    /// Encrypts `plaintext` in the token under an internal key; `context` names the row that it is for.
    pub(super) async fn seal(&self, key: &InternalKey, context: &[u8], plaintext: SecretBytes) -> Result<Vec<u8>, Refusal> {
        let prefix = Prefix { format: Format::Plain, version: key.version };
        let payload = self.token().encrypt(key.object, aad(key, context), plaintext).await?;
        Ok(Envelope { prefix, payload }.to_bytes())
    }

    /// Opens what [`Service::seal`] made for the same row. That it doesn't open is the service's fault, never the caller's.
    pub(super) async fn unseal(&self, key: &InternalKey, context: &[u8], sealed: &[u8]) -> Result<SecretBytes, Refusal> {
        let envelope = Envelope::parse(sealed).map_err(|_| Refusal::unavailable("a sealed value can't be read"))?;
        let key = if envelope.prefix.version == key.version { key.clone() } else { self.older_key(key, &envelope).await? };
        self.token().decrypt(key.object, aad(&key, context), envelope.payload).await.map_err(|error| Refusal::unavailable(format!("a sealed value: {error}")))
    }

    async fn older_key(&self, key: &InternalKey, envelope: &Envelope) -> Result<InternalKey, Refusal> {
        let (id, version) = (key.id, envelope.prefix.version);
        let found = self.store().read(move |reader| reader.internal_key_version(id, version)).await?;
        found.ok_or_else(|| Refusal::unavailable("the key of a sealed value is not in service"))
    }
}
