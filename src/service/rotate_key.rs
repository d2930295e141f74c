//! A new current version of a key. What a crash leaves, and what heals it:
//!
//! 1. the next version and its object `PROVISIONING`, with a lease. The key goes on with its current version; the reconciler undoes the new
//!    one after the lease.
//! 2. the object in the token. The same.
//! 3. version and object `ACTIVE`, the key's current version and next rotation, audit record and change number in one transaction, only
//!    while lease and current version are still as they were. Nothing to heal.

use super::Service;
use super::approval::Proposal;
use super::create_key::lost_lease;
use super::key_life::{KeyAsSeen, require_as_seen};
use super::notifications::telling;
use super::provisioning::{NewMaterial, random_id};
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::approval::ProposedChange;
use crate::domain::audit::{AuditEvent, Operation, Uses};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion, ObjectId};
use crate::domain::key::{KeyKind, Origin, Stamp};
use crate::domain::lifecycle::{Command, VERSIONS_MAX, is_in_service, permit};
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::hsm::ObjectKind;
use crate::store::{Change, PlannedObject, Tx};

/// When a rotation is wanted, looked at once the key's row is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RotateWhen {
    /// Whatever the clock says, if nobody has changed the key since that change.
    Asked(Option<Timestamp>),
    /// If its time has come: on many nodes at once, the first one does it.
    Due(Timestamp),
    /// If this is still the current version, which has encrypted often enough.
    UsedUp(KeyVersion),
}

/// A key's new current version.
#[derive(Debug, Clone)]
pub struct RotatedKey {
    /// The key.
    pub key: KeyId,
    /// Its current version now.
    pub version: KeyVersion,
    /// When it next rotates by itself.
    pub next_rotation: Option<Timestamp>,
}

/// A rotation under way.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) planned: PlannedObject,
    pub(super) kind: ObjectKind,
    current: KeyVersion,
}

impl Service {
    /// Gives a key a new current version because somebody asks for it.
    pub async fn rotate_key(&self, request: Request, key: impl Into<KeyAsSeen>) -> Result<RotatedKey, Refusal> {
        let KeyAsSeen { id, changed: seen } = key.into();
        self.run(request, Operation::RotateKey, Right::Change, move |service, scope| {
            Box::pin(async move {
                let access = service.find_key(scope, &id).await?;
                let key = access.id();
                service.unless_asked(scope, || Proposal::of_key(&access, ProposedChange::RotateKey { key }).seen(seen)).await?;
                let (stamp, record) = (scope.stamp(service), scope.record_of_success(service));
                let rotated = service.rotate(key, RotateWhen::Asked(seen), stamp, record).await?.ok_or(ResultCode::Conflict)?;
                scope.committed();
                Ok(rotated)
            })
        })
        .await
    }

    /// Gives a key a new current version; `None` where that isn't wanted (any more). `record` becomes durable with it.
    pub(super) async fn rotate(&self, key: KeyId, when: RotateWhen, stamp: Stamp, record: (AuditEvent, Uses)) -> Result<Option<RotatedKey>, Refusal> {
        let object = ObjectId::from_bytes(random_id()?);
        let lease_until = self.lease();
        let created = stamp.clone();
        let plan = self.store().change::<_, Refusal, _>(move |tx| plan_rotation(tx, key, when, object, lease_until, &created)).await?;
        let Some(plan) = plan else { return Ok(None) };
        let public_key = self.make_object(&plan.planned, NewMaterial::Generated(plan.kind)).await?;
        let activated = plan.clone();
        let outcome = self.store().change::<_, Refusal, _>(move |tx| finish_rotation(tx, &activated, public_key.as_deref(), &stamp, record)).await;
        match outcome {
            Ok(rotated) => {
                self.apply(&[Change::Key(key)]);
                Ok(Some(rotated))
            }
            Err(refusal) => {
                self.undo_object(&plan.planned).await;
                Err(refusal)
            }
        }
    }
}

/// Holds the key, decides, and inserts the next version.
pub(super) fn plan_rotation(
    tx: &mut Tx<'_>,
    id: KeyId,
    when: RotateWhen,
    object: ObjectId,
    lease_until: Timestamp,
    created: &Stamp,
) -> Result<Option<Plan>, Refusal> {
    let (_, row) = tx.hold_key(id)?.ok_or(ResultCode::InvalidKeyId)?;
    let wanted = match when {
        RotateWhen::Asked(seen) => require_as_seen(&row.key, seen).map(|()| true)?,
        RotateWhen::Due(now) => row.key.next_rotation.is_some_and(|due| due <= now),
        RotateWhen::UsedUp(version) => row.key.current_version == version,
    };
    if !wanted {
        return Ok(None);
    }
    match (permit(&row.key, &row.versions, Command::Rotate), when) {
        (Ok(()), _) => {}
        // By the clock or the counter: somebody else is at it, or it is no longer in service.
        (Err(_), RotateWhen::Due(_) | RotateWhen::UsedUp(_)) => return Ok(None),
        (Err(code), RotateWhen::Asked(_)) => return Err(code.into()),
    }
    let kind = match row.key.kind {
        KeyKind::Symmetric => ObjectKind::Aes256,
        KeyKind::Asymmetric => ObjectKind::Rsa2048,
        KeyKind::Secret => return Err(ResultCode::KeyNotRotatable.into()),
    };
    if matches!(when, RotateWhen::Asked(_)) && row.versions.len() >= VERSIONS_MAX {
        return Err(Invalid::new("keyid", format!("has {VERSIONS_MAX} versions already: delete old ones first")).into());
    }
    let planned = tx.plan_version(id, object, lease_until, created)?;
    Ok(Some(Plan { planned, kind, current: row.key.current_version }))
}

/// Holds the key, looks at it once more, and makes the new version the current one. What was changed meanwhile stays changed: a period that
/// was set while the version was made says when the next one is due.
pub(super) fn finish_rotation(
    tx: &mut Tx<'_>,
    plan: &Plan,
    public_key: Option<&[u8]>,
    stamp: &Stamp,
    record: (AuditEvent, Uses),
) -> Result<RotatedKey, Refusal> {
    let (key, version) = (plan.planned.key, plan.planned.version);
    let (_, row) = tx.hold_key(key)?.filter(|(_, row)| row.key.state.is_visible()).ok_or(ResultCode::InvalidKeyId)?;
    is_in_service(&row.key)?;
    let next_rotation = row.key.rotation.next_after(stamp.at);
    tx.activate_object(&plan.planned, public_key, Origin::Generated).map_err(|error| lost_lease(error.into()))?;
    tx.make_current(key, plan.current, version, next_rotation, stamp)?;
    tx.changed(Change::Key(key))?;
    telling::rotated(tx, &row.key, version, stamp)?;
    let (event, uses) = record;
    tx.audit(AuditEvent { version: Some(version), ..event }, uses)?;
    Ok(RotatedKey { key, version, next_rotation })
}
