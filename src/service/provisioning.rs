//! Making and unmaking token objects so that a crash at any step leaves nothing that isn't healed:
//!
//! 1. row `PROVISIONING` with object ID, node and lease (the caller's transaction). A crash here: the reconciler undoes the
//!    row once the lease has ended.
//! 2. the object in the token. A crash here: the reconciler destroys object and row.
//! 3. row `ACTIVE`, audit record and change number in one transaction, only while the lease is still ours. A crash here:
//!    the key is there, the caller doesn't know.
//! 4. the answer.

use ring::rand::{SecureRandom as _, SystemRandom};

use super::Service;
use super::refusal::Refusal;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion, ObjectId};
use crate::domain::key::State;
use crate::domain::secret::SecretBytes;
use crate::domain::text::Invalid;
use crate::hsm::{HsmError, NewObject, ObjectKind};
use crate::store::{ExpiredObject, PlannedObject};

/// What an object is made from.
#[derive(Debug, Clone)]
pub(super) enum NewMaterial {
    /// Generated in the token.
    Generated(ObjectKind),
    /// An AES-256 key from outside.
    Imported(SecretBytes),
    /// An AES-256 key from outside that only the token unwraps.
    Wrapped {
        /// The pair's object.
        pair: ObjectId,
        /// What the caller wrapped with its public key.
        wrapped: Vec<u8>,
    },
}

/// 16 random bytes for an ID. IDs are no secrets; they must only never repeat.
pub(super) fn random_id() -> Result<[u8; 16], Refusal> {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| Refusal::unavailable("the operating system gives no random numbers"))?;
    Ok(id)
}

impl Service {
    /// An object to be made: its random ID, and until when its maker is trusted to be at work.
    pub(super) fn plan_object(&self, key: KeyId, version: KeyVersion) -> Result<PlannedObject, Refusal> {
        let object = ObjectId::from_bytes(random_id()?);
        Ok(PlannedObject { object, key, version, lease_until: self.lease() })
    }

    /// Makes a planned object in the token and answers the public key of a pair. What fails is undone as far as it can be now.
    pub(super) async fn make_object(&self, planned: &PlannedObject, material: NewMaterial) -> Result<Option<Vec<u8>>, Refusal> {
        let object = NewObject { id: planned.object, label: format!("skm/{}/v{}", planned.key, planned.version) };
        let is_wrapped = matches!(material, NewMaterial::Wrapped { .. });
        let made = match material {
            NewMaterial::Generated(kind) => self.token().create(kind, object).await,
            NewMaterial::Imported(value) => self.token().import_aes256(object, value).await.map(|()| None),
            NewMaterial::Wrapped { pair, wrapped } => self.token().unwrap_aes256(object, pair, wrapped).await.map(|()| None),
        };
        match made {
            Ok(public_key) => Ok(public_key),
            // One answer to all that is wrong with it: what came out by unwrapping is nobody's business.
            Err(HsmError::Rejected { .. }) if is_wrapped => {
                self.undo_object(planned).await;
                Err(Invalid::new("wrappedKey", "must be exactly 32 bytes, wrapped by publicKey as the import parameters say").into())
            }
            Err(error) => {
                tracing::error!(object = %planned.object, key = %planned.key, %error, "a token object could not be made");
                // The object may still appear: only the reconciler, after the lease, may say that it is gone.
                if !matches!(error, HsmError::Late { .. }) {
                    self.undo_object(planned).await;
                }
                Err(Refusal::unavailable(error.to_string()))
            }
        }
    }

    /// Takes a planned object back: row, token, row. What can't be done now, the reconciler does after the lease.
    pub(super) async fn undo_object(&self, planned: &PlannedObject) {
        let expired = ExpiredObject { object: planned.object, key: planned.key, version: planned.version, state: State::Provisioning };
        if let Err(refusal) = self.destroy_object(expired, planned.lease_until.plus(std::time::Duration::from_micros(1)), None).await {
            tracing::warn!(object = %planned.object, ?refusal, "a token object could not be taken back yet; the reconciler will");
        }
    }

    /// Row to `DESTROYING` (by compare-and-set, as of `now`), object out of the token, row to `DESTROYED`. `false` if somebody
    /// else took it over before. `record`, where no request keeps one, comes with the last step.
    pub(super) async fn destroy_object(&self, expired: ExpiredObject, now: Timestamp, record: Option<AuditEvent>) -> Result<bool, Refusal> {
        let object = expired.object;
        let lease_until = self.lease();
        let mine = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.take_over_object(&expired, now, lease_until)?)).await?;
        if !mine {
            return Ok(false);
        }
        self.destroy_doomed(object, record).await?;
        Ok(true)
    }
}
