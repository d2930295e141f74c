//! A new current version of a key. What a crash leaves, and what heals it:
//!
//! 1. the next version and its object `PROVISIONING`, with a lease. The key goes on with its current version; the reconciler undoes the new
//!    one after the lease.
//! 2. the object in the token. The same.
//! 3. version and object `ACTIVE`, the key's current version and next rotation, audit record and change number in one transaction, only
//!    while lease and current version are still as they were. Nothing to heal.

use super::Service;
use super::provisioning::{NewMaterial, random_id};
use super::refusal::Refusal;
use crate::domain::audit::{AuditEvent, Uses};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion, ObjectId};
use crate::domain::key::{KeyKind, Origin, RotationPeriod, Stamp};
use crate::domain::lifecycle::{Command, permit};
use crate::domain::result_code::ResultCode;
use crate::hsm::ObjectKind;
use crate::store::{Change, PlannedObject, Tx};

/// When a rotation is wanted, looked at once the key's row is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RotateWhen {
    /// Whatever the clock says.
    Asked,
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
struct Plan {
    planned: PlannedObject,
    kind: ObjectKind,
    current: KeyVersion,
    period: RotationPeriod,
}

impl Service {
    /// Gives a key a new current version; `None` where that isn't wanted (any more). `record` becomes durable with it.
    pub(super) async fn rotate(&self, key: KeyId, when: RotateWhen, stamp: Stamp, record: (AuditEvent, Uses)) -> Result<Option<RotatedKey>, Refusal> {
        let object = ObjectId::from_bytes(random_id()?);
        let lease_until = self.lease();
        let created = stamp.clone();
        let plan = self.store().change::<_, Refusal, _>(move |tx| plan_rotation(tx, key, when, object, lease_until, &created)).await?;
        let Some(plan) = plan else { return Ok(None) };
        let public_key = self.make_object(&plan.planned, NewMaterial::Generated(plan.kind)).await?;
        let next_rotation = plan.period.next_after(stamp.at);
        let activated = plan.clone();
        let outcome = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let Plan { planned, current, .. } = activated;
                tx.hold_key(key)?;
                tx.activate_object(&planned, public_key.as_deref(), Origin::Generated)?;
                tx.make_current(key, current, planned.version, next_rotation, &stamp)?;
                tx.changed(Change::Key(key))?;
                let (event, uses) = record;
                Ok(tx.audit(AuditEvent { version: Some(planned.version), ..event }, uses)?)
            })
            .await;
        if let Err(refusal) = outcome {
            self.undo_object(&plan.planned).await;
            return Err(refusal);
        }
        self.apply(&[Change::Key(key)]);
        Ok(Some(RotatedKey { key, version: plan.planned.version, next_rotation }))
    }
}

/// Holds the key, decides, and inserts the next version.
fn plan_rotation(tx: &mut Tx<'_>, id: KeyId, when: RotateWhen, object: ObjectId, lease_until: Timestamp, created: &Stamp) -> Result<Option<Plan>, Refusal> {
    let (_, row) = tx.hold_key(id)?.ok_or(ResultCode::InvalidKeyId)?;
    let wanted = match when {
        RotateWhen::Asked => true,
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
        (Err(code), RotateWhen::Asked) => return Err(code.into()),
    }
    let kind = match row.key.kind {
        KeyKind::Symmetric => ObjectKind::Aes256,
        KeyKind::Asymmetric => ObjectKind::Rsa2048,
        KeyKind::Secret => return Err(ResultCode::KeyNotRotatable.into()),
    };
    let planned = tx.plan_version(id, object, lease_until, created)?;
    Ok(Some(Plan { planned, kind, current: row.key.current_version, period: row.key.rotation }))
}
