//! The versions of a key: listed, and one old version's end asked for, called off, brought about. What a crash leaves is as with a whole key.

use std::collections::BTreeMap;

use super::KeyAsSeen;
use crate::domain::approval::ProposedChange;
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion, ObjectId};
use crate::domain::key::{Stamp, State, Version};
use crate::domain::lifecycle::{Command, deletion_due};
use crate::domain::result_code::ResultCode;
use crate::service::Service;
use crate::service::approval::Proposal;
use crate::service::key_access::KeyAccess;
use crate::service::notifications::telling::{deleted, deletion_scheduled, key_subject};
use crate::service::refusal::Refusal;
use crate::service::request::{Request, Right, Scope};
use crate::store::{KeyRow, Tx};

/// A key's versions that aren't deleted.
#[derive(Debug, Clone)]
pub struct KeyVersions {
    /// The key.
    pub key: KeyId,
    /// The version that encrypts and signs.
    pub current: KeyVersion,
    /// The versions, oldest first.
    pub versions: Vec<ListedVersion>,
}

/// One version of a key.
#[derive(Debug, Clone)]
pub struct ListedVersion {
    /// The version.
    pub version: Version,
    /// When it was last used.
    pub last_use: Option<Timestamp>,
}

/// A version whose deletion was asked for, or that was deleted.
#[derive(Debug, Clone)]
pub struct VersionDeletion {
    /// The key.
    pub key: KeyId,
    /// The version.
    pub version: KeyVersion,
    /// When it is due to be deleted, or when it was.
    pub at: Timestamp,
}

/// A version whose deletion was called off.
#[derive(Debug, Clone)]
pub struct RestoredVersion {
    /// The key.
    pub key: KeyId,
    /// The version.
    pub version: KeyVersion,
    /// Where its life stands: in service.
    pub state: State,
}

/// The version that a part of a path names: a number as it is shown, and no other way to write it.
fn parse_version(text: &str) -> Result<KeyVersion, ResultCode> {
    let version = text.parse().ok().and_then(KeyVersion::new);
    version.filter(|version| version.to_string() == text).ok_or(ResultCode::InvalidKeyVersion)
}

impl Service {
    /// A key's versions, in service or scheduled to be deleted.
    pub async fn key_versions(&self, request: Request, key: String) -> Result<KeyVersions, Refusal> {
        self.run(request, Operation::ReadInventory, Right::Read, move |service, scope| {
            Box::pin(async move {
                let key = service.find_key(scope, &key).await?.id();
                let read = service.store().read::<_, Refusal, _>(move |reader| {
                    let (_, row) = reader.key(key)?.filter(|(_, row)| row.key.state.is_visible()).ok_or(ResultCode::InvalidKeyId)?;
                    let last_uses = reader.last_uses(key)?;
                    Ok(KeyVersions { key, current: row.key.current_version, versions: listed(row.versions, &last_uses) })
                });
                read.await
            })
        })
        .await
    }

    /// Asks for the deletion of an old version: it is unusable from this moment on, and destroyed after seven days.
    pub async fn request_version_deletion(&self, request: Request, key: impl Into<KeyAsSeen>, version: String) -> Result<VersionDeletion, Refusal> {
        let KeyAsSeen { id, changed: seen } = key.into();
        self.run(request, Operation::RequestVersionDeletion, Right::Change, move |service, scope| {
            Box::pin(async move {
                let (access, version) = service.find_version(scope, &id, &version).await?;
                let key = access.id();
                service.unless_asked(scope, || Proposal::of_key(&access, ProposedChange::RequestVersionDeletion { key, version }).seen(seen)).await?;
                let command = Command::RequestVersionDeletion(version);
                let due = deletion_due(service.latest_time());
                let ask = service.change_held_key(scope, (key, seen), command, move |tx, row, stamp| request_deletion(tx, row, (version, due), stamp));
                Ok(VersionDeletion { key, version, at: ask.await? })
            })
        })
        .await
    }

    /// Calls the deletion of an old version off.
    pub async fn restore_version(&self, request: Request, key: impl Into<KeyAsSeen>, version: String) -> Result<RestoredVersion, Refusal> {
        let KeyAsSeen { id, changed: seen } = key.into();
        self.run(request, Operation::RestoreVersion, Right::Change, move |service, scope| {
            Box::pin(async move {
                let (access, version) = service.find_version(scope, &id, &version).await?;
                let key = access.id();
                service.unless_asked(scope, || Proposal::of_key(&access, ProposedChange::RestoreVersion { key, version }).seen(seen)).await?;
                let command = Command::RestoreVersion(version);
                service.change_held_key(scope, (key, seen), command, move |tx, row, stamp| restore(tx, row, version, stamp)).await?;
                Ok(RestoredVersion { key, version, state: State::Active })
            })
        })
        .await
    }

    /// Destroys an old version whose deletion is pending, now.
    pub async fn delete_version(&self, request: Request, key: impl Into<KeyAsSeen>, version: String) -> Result<VersionDeletion, Refusal> {
        let KeyAsSeen { id, changed: seen } = key.into();
        self.run(request, Operation::DeleteVersion, Right::Change, move |service, scope| {
            Box::pin(async move {
                let (access, version) = service.find_version(scope, &id, &version).await?;
                let key = access.id();
                service.unless_asked(scope, || Proposal::of_key(&access, ProposedChange::DeleteVersion { key, version }).seen(seen)).await?;
                let lease_until = service.lease();
                let begin = service.change_held_key(scope, (key, seen), Command::DestroyVersion(version), move |tx, row, stamp| {
                    Ok((begin_deleting(tx, row, (version, lease_until), stamp)?, stamp.at))
                });
                let (objects, at) = begin.await?;
                service.finish_destruction_soon(objects).await;
                Ok(VersionDeletion { key, version, at })
            })
        })
        .await
    }

    /// A key of the scope's project, and the version that is meant, whether or not there is one.
    async fn find_version(&self, scope: &mut Scope, key: &str, version: &str) -> Result<(KeyAccess, KeyVersion), Refusal> {
        let access = self.find_key(scope, key).await?;
        let version = parse_version(version)?;
        scope.names_version(version);
        Ok((access, version))
    }
}

/// Schedules an old version of a held key to be deleted; answers when.
pub(in crate::service) fn request_deletion(
    tx: &mut Tx<'_>,
    row: &KeyRow,
    (version, due): (KeyVersion, Timestamp),
    stamp: &Stamp,
) -> Result<Timestamp, Refusal> {
    let about = key_subject(tx, &row.key, Some(version))?;
    deletion_scheduled(tx, about, due, stamp)?;
    tx.set_version_state(row.key.id, version, (State::Active, State::PendingDeletion), Some(due), stamp)?;
    Ok(due)
}

/// Calls the deletion of an old version of a held key off.
pub(in crate::service) fn restore(tx: &mut Tx<'_>, row: &KeyRow, version: KeyVersion, stamp: &Stamp) -> Result<(), Refusal> {
    Ok(tx.set_version_state(row.key.id, version, (State::PendingDeletion, State::Active), None, stamp)?)
}

/// What is shown of versions that aren't deleted.
pub(in crate::service) fn listed(versions: Vec<Version>, last_uses: &BTreeMap<KeyVersion, Timestamp>) -> Vec<ListedVersion> {
    let visible = versions.into_iter().filter(|version| version.state.is_visible());
    visible.map(|version| ListedVersion { last_use: last_uses.get(&version.version).copied(), version }).collect()
}

/// Begins the end of a version of a held key; answers the objects to be destroyed.
pub(in crate::service) fn begin_deleting(
    tx: &mut Tx<'_>,
    row: &KeyRow,
    (version, lease_until): (KeyVersion, Timestamp),
    stamp: &Stamp,
) -> Result<Vec<ObjectId>, Refusal> {
    let about = key_subject(tx, &row.key, Some(version))?;
    deleted(tx, about, stamp)?;
    Ok(tx.begin_destroying_version(row.key.id, version, lease_until, stamp)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_written_in_one_way() {
        assert_eq!(parse_version("0"), Ok(KeyVersion::FIRST));
        assert_eq!(parse_version("16777215"), Ok(KeyVersion::MAX));
        for wrong in ["", "-1", "+1", "00", "01", " 1", "1.0", "x", "16777216", "4294967296", "99999999999999999999"] {
            assert_eq!(parse_version(wrong), Err(ResultCode::InvalidKeyVersion), "{wrong}");
        }
    }
}
