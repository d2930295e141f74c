//! Keys from outside: in the clear, or wrapped by a pair of the token so that their value never passes through here.
//!
//! A pair is made on request, for one project, an hour and one use. What is left when a step is the last:
//!
//! | step | leaves | healed by |
//! |---|---|---|
//! | pair planned, made | a `PROVISIONING` row, perhaps with its object | the reconciler: both gone after the lease |
//! | pair in service | a pair that nobody may know of | the sweep, once it has expired |
//! | pair spent and key planned, in one transaction | pair `DESTROYING`, key `PROVISIONING`, each with a lease | the reconciler: both gone |
//! | key unwrapped | the same, and the key's object | the reconciler: all gone |
//! | key in service | a key that was audited; pair `DESTROYING` | the reconciler: the pair is gone |
//! | pair destroyed | | |

use std::time::Duration;

use super::Service;
use super::create_key::{CreatedKey, NewKeyRequest, lost_lease, require_active};
use super::provisioning::{NewMaterial, random_id};
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use super::tokens::random_secret;
use crate::domain::account::SecretHash;
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion};
use crate::domain::key::Origin;
use crate::domain::key_material::{AES_256_BYTES, KEY_DATA};
use crate::domain::result_code::ResultCode;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::Invalid;
use crate::hsm::{OaepHash, ObjectKind};
use crate::store::{DoomedImportPair, NewImportPair, NewKey, PlannedObject, StoreError, TOO_MANY_IMPORT_PAIRS};

/// How long a pair can be used.
const IMPORT_TOKEN_LIFE: Duration = Duration::from_secs(3_600);
/// How long a caller is asked to wait whose project has as many pairs as it may: some are used or expire.
const TOO_MANY_PAIRS_RETRY: Duration = Duration::from_secs(60);
/// The most expired pairs that one run takes out of service.
const SWEEP_MAX: i64 = 64;
/// Bytes of a wrapped key: as many as the modulus of the pair has (RFC 8017, 7.1.1).
pub const WRAPPED_KEY_BYTES: usize = 256;

/// A key that only the token can unwrap.
#[derive(Debug, Clone)]
pub struct WrappedKey {
    /// The token that came with the public key.
    pub token: SecretText,
    /// [`WRAPPED_KEY_BYTES`].
    pub wrapped: Vec<u8>,
}

/// What a caller needs to wrap one key.
#[derive(Debug, Clone)]
pub struct ImportParameters {
    /// DER SPKI of an RSA-2048 key.
    pub public_key: Vec<u8>,
    /// Stands for the pair, once.
    pub token: SecretText,
    /// The hash of RSAES-OAEP and of its MGF1.
    pub hash: OaepHash,
    /// Until when.
    pub expires: Timestamp,
}

impl Service {
    /// Makes a pair in the token that unwraps one key.
    pub async fn prepare_import(&self, request: Request) -> Result<ImportParameters, Refusal> {
        self.run(request, Operation::PrepareImport, Right::Prepare, move |service, scope| {
            Box::pin(async move {
                let hash = service.token().import_ways().wrapped.ok_or(ResultCode::ImportNotSupported)?;
                let (id, token) = (KeyId::from_bytes(random_id()?), random_secret()?);
                let created = scope.stamp(service);
                let expires = created.at.plus(IMPORT_TOKEN_LIFE);
                let pair = NewImportPair { project: scope.project.id, token: SecretHash::of(token.expose()), expires, created };
                let public_key = service.make_import_pair(scope, id, pair).await?;
                scope.committed();
                Ok(ImportParameters { public_key, token, hash, expires })
            })
        })
        .await
    }

    /// Puts a key from outside into the token.
    pub async fn import_key(&self, request: Request, input: Result<NewKeyRequest, Refusal>) -> Result<CreatedKey, Refusal> {
        self.make(request, Operation::ImportKey, input).await
    }

    /// Destroys pairs that were not used in time; answers how many.
    pub async fn expire_imports(&self) -> Result<usize, Refusal> {
        self.require_agreeing_clock().await?;
        let now = self.now();
        let expired = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.expired_import_pairs(now, SWEEP_MAX)?)).await?;
        let mut gone = 0;
        for pair in expired {
            let lease_until = self.lease();
            let doomed = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.doom_import_pair(pair, lease_until)?)).await?;
            if let Some(DoomedImportPair { object, .. }) = doomed {
                let mut event = self.own_event(Operation::ExpireImport)?;
                (event.key, event.version) = (Some(pair), Some(KeyVersion::FIRST));
                self.destroy_doomed(object, Some(event)).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    async fn make_import_pair(&self, scope: &mut Scope, id: KeyId, pair: NewImportPair) -> Result<Vec<u8>, Refusal> {
        let planned = self.plan_object(id, KeyVersion::FIRST)?;
        let row = planned.clone();
        let inserted = self.store().change::<_, StoreError, _>(move |tx| tx.insert_import_pair(&pair, &row)).await;
        inserted.map_err(|error| match error {
            StoreError::Stale { what: TOO_MANY_IMPORT_PAIRS } => Refusal::TooMany(TOO_MANY_PAIRS_RETRY),
            other => other.into(),
        })?;
        scope.names_key(id);
        let public_key = self.make_object(&planned, NewMaterial::Generated(ObjectKind::Rsa2048Unwrap)).await?;
        let activated = match public_key {
            Some(public_key) => self.activate_import_pair(scope, &planned, public_key).await,
            None => Err(Refusal::unavailable("the token made a pair without a public key")),
        };
        if activated.is_err() {
            self.undo_object(&planned).await;
        }
        activated.map_err(lost_lease)
    }

    async fn activate_import_pair(&self, scope: &Scope, planned: &PlannedObject, public_key: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let planned = planned.clone();
        let (event, uses) = scope.record_of_success(self);
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                tx.activate_object(&planned, Some(&public_key), Origin::Generated)?;
                tx.audit(event, uses)?;
                Ok(public_key)
            })
            .await
    }

    /// Whether the token takes this value in the clear.
    pub(super) fn check_plain_import(&self, value: &SecretBytes) -> Result<(), Refusal> {
        let ways = self.token().import_ways();
        if ways.wrapped.is_none() {
            return Err(ResultCode::ImportNotSupported.into());
        }
        if !ways.plain {
            return Err(Invalid::new(KEY_DATA, "can't be taken by this token: send importToken and wrappedKey").into());
        }
        if value.len() == AES_256_BYTES { Ok(()) } else { Err(Invalid::new(KEY_DATA, "must be exactly 32 bytes").into()) }
    }

    /// Makes a key of a value that is in hand.
    pub(super) async fn make_imported_key(&self, scope: &mut Scope, key: NewKey, value: SecretBytes) -> Result<(), Refusal> {
        self.check_plain_import(&value)?;
        scope.details(format!("{} {}, imported in the clear", key.kind, key.name));
        self.make_token_key(scope, key, NewMaterial::Imported(value)).await
    }

    /// Spends the pair and plans the key, has the token unwrap it, and destroys the pair, whatever came of it.
    pub(super) async fn make_unwrapped_key(&self, scope: &mut Scope, key: NewKey, wrapped: WrappedKey) -> Result<(), Refusal> {
        if self.token().import_ways().wrapped.is_none() {
            return Err(ResultCode::ImportNotSupported.into());
        }
        let planned = self.plan_object(key.id, KeyVersion::FIRST)?;
        let (row, inserted, now) = (planned.clone(), key.clone(), self.now());
        let token = SecretHash::of(wrapped.token.expose());
        let pair = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                require_active(tx, inserted.key_store)?;
                let pair = tx.spend_import_pair(token, inserted.project, now, row.lease_until)?.ok_or(ResultCode::InvalidImportToken)?;
                tx.insert_key(&inserted, Some(&row))?;
                Ok(pair)
            })
            .await?;
        scope.details(format!("{} {}, imported wrapped by {}", key.kind, key.name, pair.id));
        let made = self.make_planned_key(scope, key, &planned, NewMaterial::Wrapped { pair: pair.object, wrapped: wrapped.wrapped }).await;
        // The key is what was asked for: a pair that can't be destroyed now is left to the reconciler.
        drop(self.finish_destruction(vec![pair.object]).await);
        made
    }
}
