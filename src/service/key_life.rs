//! What callers do to keys that are there: change them, ask for their end, call it off, bring it about. One way for all of it: the key's row
//! is held, [`permit`] decides, the change is made, its change number and its audit record are kept, in one transaction.
//!
//! A key store that is being destroyed holds no keys, since they are counted while its row is held: nothing of it is looked at here.

mod change;
mod deletion;
mod versions;

pub use change::{ChangedKey, KeyChange};
pub use deletion::{KeyDeletion, RestoredKey};
pub use versions::{KeyVersions, ListedVersion, RestoredVersion, VersionDeletion};

use super::Service;
use super::refusal::Refusal;
use super::request::Scope;
use crate::domain::ids::KeyId;
use crate::domain::key::Stamp;
use crate::domain::lifecycle::{Command, permit};
use crate::domain::result_code::ResultCode;
use crate::store::{Change, KeyRow, Tx};

impl Service {
    /// Carries out `command` by `act`, which is given the key as it is while its row is held.
    async fn change_held_key<T, F>(&self, scope: &mut Scope, key: KeyId, command: Command, act: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, &KeyRow, &Stamp) -> Result<T, Refusal> + Send + 'static,
    {
        let stamp = scope.stamp(self);
        let (event, uses) = scope.record_of_success(self);
        let done = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let (_, row) = tx.hold_key(key)?.ok_or(ResultCode::InvalidKeyId)?;
                permit(&row.key, &row.versions, command)?;
                let done = act(tx, &row, &stamp)?;
                tx.changed(Change::Key(key))?;
                tx.audit(event, uses)?;
                Ok(done)
            })
            .await?;
        scope.committed();
        self.apply(&[Change::Key(key)]);
        Ok(done)
    }
}
