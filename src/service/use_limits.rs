//! How often a key version may encrypt (NIST SP 800-38D, 8.3): at [`RENEW_AT`] the key gets a new version by itself, the service's own keys
//! included; one that can't be renewed is a warning, and refuses at `ENCRYPTIONS_MAX`.
//!
//! What a crash leaves of a new version of an internal key, and what heals it, is as with a rotation: rows `PROVISIONING` with a lease, the
//! object, then rows `ACTIVE`, record and change number in one transaction. What older versions sealed is opened by them.

use std::collections::HashSet;
use std::sync::Arc;

use super::Service;
use super::due::Swept;
use super::provisioning::{NewMaterial, random_id};
use super::refusal::Refusal;
use super::rotate_key::RotateWhen;
use crate::domain::audit::{AuditEvent, Operation, Uses};
use crate::domain::ids::{KeyId, KeyVersion, ObjectId};
use crate::domain::key::{KeyKind, Origin, State};
use crate::domain::lifecycle::is_rotatable;
use crate::hsm::ObjectKind;
use crate::store::{Change, InternalKey, OftenUsed, PlannedObject, Purpose, Reader, StoreError};

/// A current version that has encrypted so often gets a successor: half of what it may, so that there is time.
const RENEW_AT: u64 = 1 << 31;
/// The most counters that are read at a time.
const BATCH: i64 = 256;

/// Key versions near the limit of their use that get no successor by themselves.
pub(super) type NearLimit = HashSet<(KeyId, KeyVersion)>;

/// A current version that has encrypted often enough.
#[derive(Debug)]
enum UsedUp {
    /// A client's key that rotates.
    Rotates,
    /// A key of the service's own that encrypts.
    Own(InternalKey),
    /// A key that can't be rotated: it was imported, or its deletion is pending.
    Stays,
}

impl Service {
    /// Gives keys that have encrypted often enough a new version, and notes those that can't have one.
    pub async fn keep_use_limits(&self) -> Result<Swept, Refusal> {
        let mut swept = Swept::default();
        let mut near = NearLimit::new();
        let mut after = None;
        loop {
            let page = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.often_used(after, BATCH)?)).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            for used in page.into_iter().filter(|used| used.encryptions >= RENEW_AT) {
                let renewed = self.renew(used).await;
                // A code says that it is no longer as it was: somebody else renewed or destroyed it.
                if !matches!(renewed, Ok(Some(_)) | Err(Refusal::Code(_))) {
                    near.insert((used.key, used.version));
                }
                swept.count(&format!("version {} of key {}", used.version, used.key), renewed.map(|done| done == Some(true)));
            }
        }
        self.note_near_limit(near).await?;
        self.use_newest_seal().await?;
        Ok(swept)
    }

    /// Key versions near the limit of their use that get no successor by themselves, as last looked at.
    pub(super) fn near_use_limit(&self) -> usize {
        self.0.near_use_limit.load().len()
    }

    /// `None`: it stays as it is, and is near its limit. Otherwise whether this node renewed it.
    async fn renew(&self, used: OftenUsed) -> Result<Option<bool>, Refusal> {
        match self.store().read::<_, Refusal, _>(move |reader| Ok(used_up(reader, used)?)).await? {
            None => Ok(Some(false)),
            Some(UsedUp::Stays) => Ok(None),
            Some(UsedUp::Rotates) => {
                self.require_token()?;
                self.rotate_by_itself(used.key, RotateWhen::UsedUp(used.version), "used up").await.map(Some)
            }
            Some(UsedUp::Own(key)) => {
                self.require_token()?;
                self.renew_internal_key(key).await.map(Some)
            }
        }
    }

    /// Each is warned of once, and again after it was not so.
    async fn note_near_limit(&self, near: NearLimit) -> Result<(), Refusal> {
        let before = self.0.near_use_limit.load_full();
        for (key, version) in near.difference(&before) {
            let left = super::views::ENCRYPTIONS_MAX.saturating_sub(self.encryptions(*key, *version).await?);
            tracing::warn!(%key, %version, left, "a key that does not rotate by itself nears the limit of its use, after which it refuses to encrypt: replace it");
        }
        let near = Arc::new(near);
        self.0.near_use_limit.store(Arc::clone(&near));
        self.tell_of_near_limits(&near).await
    }

    async fn encryptions(&self, key: KeyId, version: KeyVersion) -> Result<u64, Refusal> {
        self.store().read(move |reader| Ok(reader.encryptions(key, version)?)).await
    }

    /// A new version of a key of the service's own that encrypts; `false` if somebody else is at it, or was.
    async fn renew_internal_key(&self, key: InternalKey) -> Result<bool, Refusal> {
        let (object, lease_until, stamp) = (ObjectId::from_bytes(random_id()?), self.lease(), self.own_stamp());
        let current = key.clone();
        let plan = self.store().change::<_, Refusal, _>(move |tx| {
            if !tx.hold_newest_internal_key(&current)? {
                return Ok(None);
            }
            Ok(Some(tx.plan_internal_version(&current, object, lease_until, &stamp)?))
        });
        let Some(planned) = plan.await? else { return Ok(false) };
        self.make_object(&planned, NewMaterial::Generated(ObjectKind::Aes256)).await?;
        if let Err(refusal) = self.activate_internal_version(&key, &planned).await {
            self.undo_object(&planned).await;
            return Err(refusal);
        }
        tracing::info!(key = %key.id, purpose = ?key.purpose, version = %planned.version, "a key of the service's own has a new version");
        Ok(true)
    }

    async fn activate_internal_version(&self, key: &InternalKey, planned: &PlannedObject) -> Result<(), Refusal> {
        let detail = Some(format!("internal key, used up: {:?}", key.purpose));
        let record = AuditEvent { key: Some(key.id), version: Some(planned.version), detail, ..self.own_event(Operation::RotateKey)? };
        let mut changes = vec![Change::Key(key.id)];
        if let Purpose::ConfidentialData(key_store) = key.purpose {
            changes.push(Change::KeyStore(key_store));
        }
        let (purpose, planned, touched) = (key.purpose, planned.clone(), changes.clone());
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                let mut record = record;
                if let Purpose::ConfidentialData(id) = purpose {
                    tx.hold_active_key_store(id)?;
                    let key_store = tx.key_store(id)?.ok_or(StoreError::Stale { what: "key store" })?;
                    (record.project, record.key_store) = (Some(key_store.project), Some(key_store.number));
                }
                tx.activate_object(&planned, None, Origin::Generated)?;
                touched.into_iter().try_for_each(|change| tx.changed(change))?;
                Ok(tx.audit(record, Uses::default())?)
            })
            .await?;
        self.apply(&changes);
        Ok(())
    }

    /// Seals with the newest version from now on. Until a node gets here it seals with the one before, which is good for as much again;
    /// whatever sealed a thing opens it.
    async fn use_newest_seal(&self) -> Result<(), Refusal> {
        let used = self.authorities()?.seal.version;
        let newest = self.store().read::<_, Refusal, _>(|reader| Ok(reader.internal_key(Purpose::Seal)?)).await?;
        if newest.is_some_and(|newest| newest.version > used) {
            self.load_authorities().await?;
        }
        Ok(())
    }
}

/// What is to be done about a counter; `None` where it is of a version that is no longer the current one.
fn used_up(reader: &mut Reader<'_>, used: OftenUsed) -> Result<Option<UsedUp>, StoreError> {
    if let Some((_, row)) = reader.key(used.key)? {
        let is_current = row.key.current_version == used.version && row.key.kind == KeyKind::Symmetric && row.key.state.is_visible();
        let rotates = row.key.state == State::Active && is_rotatable(&row.key, &row.versions);
        return Ok(is_current.then_some(if rotates { UsedUp::Rotates } else { UsedUp::Stays }));
    }
    let Some(key) = reader.internal_key_version(used.key, used.version)? else { return Ok(None) };
    let is_newest = reader.internal_key(key.purpose)?.is_some_and(|newest| (newest.id, newest.version) == (key.id, key.version));
    let encrypts = matches!(key.purpose, Purpose::ConfidentialData(_) | Purpose::Seal);
    Ok(is_newest.then_some(if encrypts { UsedUp::Own(key) } else { UsedUp::Stays }))
}
