//! What callers do to keys that are there: change them, ask for their end, call it off, bring it about. One way for all of it: the key's row
//! is held, [`permit`] decides, the change is made, its change number and its audit record are kept, in one transaction.
//!
//! A key store that is being destroyed holds no keys, since they are counted while its row is held: nothing of it is looked at here.

mod change;
pub(super) mod deletion;
pub(super) mod versions;

pub(super) use change::put;
pub use change::{ChangedKey, KeyChange};
pub use deletion::{KeyDeletion, RestoredKey};
pub(super) use versions::listed;
pub use versions::{KeyVersions, ListedVersion, RestoredVersion, VersionDeletion};

use super::Service;
use super::refusal::Refusal;
use super::request::Scope;
use crate::domain::clock::Timestamp;
use crate::domain::ids::KeyId;
use crate::domain::key::{Key, Stamp};
use crate::domain::lifecycle::{Command, permit};
use crate::domain::result_code::ResultCode;
use crate::store::{Change, KeyRow, Tx};

/// A key as a caller names it for a change, perhaps with what he has seen of it.
#[derive(Debug, Clone)]
pub struct KeyAsSeen {
    /// Its ID, as it was sent.
    pub id: String,
    /// Its last change that the caller knows of. Where somebody else has changed it since, nothing is done.
    pub changed: Option<Timestamp>,
}

impl From<String> for KeyAsSeen {
    fn from(id: String) -> Self {
        Self { id, changed: None }
    }
}

/// Refuses where the key, whose row is held, is no longer as the caller has seen it.
pub(super) fn require_as_seen(key: &Key, seen: Option<Timestamp>) -> Result<(), ResultCode> {
    if seen.is_none_or(|seen| seen == key.changed.at) { Ok(()) } else { Err(ResultCode::Conflict) }
}

/// Carries out `command` by `act`, which is given the key as it is while its row is held.
pub(super) fn on_held_key<T>(
    tx: &mut Tx<'_>,
    (key, seen): (KeyId, Option<Timestamp>),
    command: Command,
    stamp: &Stamp,
    act: impl FnOnce(&mut Tx<'_>, &KeyRow, &Stamp) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let (_, row) = tx.hold_key(key)?.ok_or(ResultCode::InvalidKeyId)?;
    require_as_seen(&row.key, seen)?;
    permit(&row.key, &row.versions, command)?;
    let done = act(tx, &row, stamp)?;
    tx.changed(Change::Key(key))?;
    Ok(done)
}

impl Service {
    /// Carries out `command` by `act`, which is given the key as it is while its row is held.
    async fn change_held_key<T, F>(&self, scope: &mut Scope, (key, seen): (KeyId, Option<Timestamp>), command: Command, act: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, &KeyRow, &Stamp) -> Result<T, Refusal> + Send + 'static,
    {
        let stamp = scope.stamp(self);
        let (event, uses) = scope.record_of_success(self);
        let done = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let done = on_held_key(tx, (key, seen), command, &stamp, act)?;
                tx.audit(event, uses)?;
                Ok(done)
            })
            .await?;
        scope.committed();
        self.apply(&[Change::Key(key)]);
        Ok(done)
    }
}
