//! The end of a key: asked for, called off, brought about. What a crash leaves while one is destroyed, and what heals it:
//!
//! 1. key, versions and objects `DESTROYING`, with a lease, and the audit record, in one transaction: from here on there is no way back. The
//!    reconciler goes on after the lease.
//! 2. each object out of the token, then its row `DESTROYED`; with the last one the key, whose name is free. The same.
//! 3. the answer. The key is gone, the caller doesn't know.

use super::KeyAsSeen;
use crate::domain::approval::ProposedChange;
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, ObjectId};
use crate::domain::key::{Stamp, State};
use crate::domain::lifecycle::{Command, deletion_due};
use crate::service::Service;
use crate::service::approval::Proposal;
use crate::service::notifications::telling::{deleted, deletion_scheduled, key_subject};
use crate::service::refusal::Refusal;
use crate::service::request::{Request, Right};
use crate::store::{KeyRow, Tx};

/// A key whose deletion was asked for, or that was deleted.
#[derive(Debug, Clone)]
pub struct KeyDeletion {
    /// The key.
    pub key: KeyId,
    /// When it is due to be deleted, or when it was.
    pub at: Timestamp,
}

/// A key whose deletion was called off.
#[derive(Debug, Clone)]
pub struct RestoredKey {
    /// The key.
    pub key: KeyId,
    /// Where its life stands: in service.
    pub state: State,
}

impl Service {
    /// Asks for a key's deletion: it is unusable from this moment on, and destroyed after seven days.
    pub async fn request_key_deletion(&self, request: Request, key: impl Into<KeyAsSeen>) -> Result<KeyDeletion, Refusal> {
        let KeyAsSeen { id, changed: seen } = key.into();
        self.run(request, Operation::RequestKeyDeletion, Right::Change, move |service, scope| {
            Box::pin(async move {
                let access = service.find_key(scope, &id).await?;
                let key = access.id();
                service.unless_asked(scope, || Proposal::of_key(&access, ProposedChange::RequestKeyDeletion { key }).seen(seen)).await?;
                let due = deletion_due(service.latest_time());
                let act = move |tx: &mut Tx<'_>, row: &KeyRow, stamp: &Stamp| request_deletion(tx, row, due, stamp);
                let ask = service.change_held_key(scope, (key, seen), Command::RequestDeletion, act);
                Ok(KeyDeletion { key, at: ask.await? })
            })
        })
        .await
    }

    /// Calls a key's deletion off. Its versions are as they were, those whose own deletion is pending included.
    pub async fn restore_key(&self, request: Request, key: impl Into<KeyAsSeen>) -> Result<RestoredKey, Refusal> {
        let KeyAsSeen { id, changed: seen } = key.into();
        self.run(request, Operation::RestoreKey, Right::Change, move |service, scope| {
            Box::pin(async move {
                let access = service.find_key(scope, &id).await?;
                let key = access.id();
                service.unless_asked(scope, || Proposal::of_key(&access, ProposedChange::RestoreKey { key }).seen(seen)).await?;
                service.change_held_key(scope, (key, seen), Command::Restore, restore).await?;
                Ok(RestoredKey { key, state: State::Active })
            })
        })
        .await
    }

    /// Destroys a key whose deletion is pending, now.
    pub async fn delete_key(&self, request: Request, key: impl Into<KeyAsSeen>) -> Result<KeyDeletion, Refusal> {
        let KeyAsSeen { id, changed: seen } = key.into();
        self.run(request, Operation::DeleteKey, Right::Change, move |service, scope| {
            Box::pin(async move {
                let access = service.find_key(scope, &id).await?;
                let key = access.id();
                service.unless_asked(scope, || Proposal::of_key(&access, ProposedChange::DeleteKey { key }).seen(seen)).await?;
                let lease_until = service.lease();
                let begin = service
                    .change_held_key(scope, (key, seen), Command::Destroy, move |tx, row, stamp| Ok((begin_deleting(tx, row, lease_until, stamp)?, stamp.at)));
                let (objects, at) = begin.await?;
                service.finish_destruction_soon(objects).await;
                Ok(KeyDeletion { key, at })
            })
        })
        .await
    }
}

/// Schedules a held key to be deleted; answers when.
pub(in crate::service) fn request_deletion(tx: &mut Tx<'_>, row: &KeyRow, due: Timestamp, stamp: &Stamp) -> Result<Timestamp, Refusal> {
    let about = key_subject(tx, &row.key, None)?;
    deletion_scheduled(tx, about, due, stamp)?;
    tx.set_key_state(row.key.id, State::Active, State::PendingDeletion, Some(due), stamp)?;
    Ok(due)
}

/// Calls the deletion of a held key off.
pub(in crate::service) fn restore(tx: &mut Tx<'_>, row: &KeyRow, stamp: &Stamp) -> Result<(), Refusal> {
    Ok(tx.set_key_state(row.key.id, State::PendingDeletion, State::Active, None, stamp)?)
}

/// Begins the end of a held key; answers the objects to be destroyed.
pub(in crate::service) fn begin_deleting(tx: &mut Tx<'_>, row: &KeyRow, lease_until: Timestamp, stamp: &Stamp) -> Result<Vec<ObjectId>, Refusal> {
    let about = key_subject(tx, &row.key, None)?;
    deleted(tx, about, stamp)?;
    Ok(tx.begin_destroying_key(row.key.id, lease_until, stamp)?)
}
