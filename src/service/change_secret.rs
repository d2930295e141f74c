//! Changing confidential data.

use super::Service;
use super::approval::Proposal;
use super::encrypt::{PLAINTEXT_MAX_BYTES, bounded};
use super::key_access::{ClientChecks, KeyAccess};
use super::key_life::{KeyAsSeen, KeyChange, put, require_as_seen};
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use crate::domain::approval::ProposedChange;
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyVersion};
use crate::domain::key::{Key, KeyKind, Stamp};
use crate::domain::lifecycle::{Command, permit};
use crate::domain::result_code::ResultCode;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::Invalid;
use crate::store::{Change, Tx};

/// Confidential data after a change.
#[derive(Debug, Clone)]
pub struct ChangedSecret {
    /// The key, as it was before this change.
    pub key: Key,
    /// Its new value.
    pub value: SecretText,
    /// Who changed it, and when.
    pub changed: Stamp,
}

/// The value of confidential data: 1 to `PLAINTEXT_MAX_BYTES` bytes.
pub(super) fn secret_value(text: SecretText) -> Result<SecretBytes, Invalid> {
    let bytes = bounded("secretValue", text, PLAINTEXT_MAX_BYTES)?;
    if bytes.is_empty() { Err(Invalid::new("secretValue", "must have 1 to 32768 bytes of UTF-8")) } else { Ok(bytes) }
}

/// What else changes with the value, and the last change of the key that the caller knows of.
pub(super) type Edit = (KeyChange, Option<Timestamp>);

/// The next version of confidential data, sealed already, in place of the current one, perhaps together with a name and description.
pub(super) fn put_secret_version(
    tx: &mut Tx<'_>,
    id: KeyId,
    (current, next): (KeyVersion, KeyVersion),
    sealed: &[u8],
    edit: Option<Edit>,
    changed: &Stamp,
) -> Result<(), Refusal> {
    if let Some((change, seen)) = edit {
        let (_, row) = tx.hold_key(id)?.ok_or(ResultCode::InvalidKeyId)?;
        require_as_seen(&row.key, seen)?;
        permit(&row.key, &row.versions, Command::Change)?;
        put(tx, &row, change, changed)?;
    }
    tx.put_secret_version(id, Some(current), next, sealed, changed)?;
    Ok(tx.changed(Change::Key(id))?)
}

impl Service {
    /// Replaces the value of confidential data. The old value is erased in the transaction that makes the new one current.
    pub async fn change_secret(&self, request: Request, key: String, value: Result<SecretText, Refusal>) -> Result<ChangedSecret, Refusal> {
        self.run(request, Operation::ChangeSecret, Right::Change, move |service, scope| {
            Box::pin(async move {
                let mut access = service.access_key_of_kind(scope, &key, KeyKind::Secret, ClientChecks::Run).await?;
                let value = value?;
                let bytes = secret_value(value.clone())?;
                let changed = service.put_secret(scope, &mut access, bytes, None).await?;
                Ok(ChangedSecret { key: access.view.key.clone(), value, changed })
            })
        })
        .await
    }

    /// Replaces the value of confidential data together with its name and description, in one transaction: all of it or nothing.
    pub async fn edit_secret(&self, request: Request, key: KeyAsSeen, input: Result<(KeyChange, SecretText), Refusal>) -> Result<(), Refusal> {
        self.run(request, Operation::ChangeSecret, Right::Change, move |service, scope| {
            Box::pin(async move {
                let mut access = service.access_key_of_kind(scope, &key.id, KeyKind::Secret, ClientChecks::Run).await?;
                let (change, value) = input?;
                change.check()?;
                scope.details(change.told());
                service.put_secret(scope, &mut access, secret_value(value)?, Some((change, key.changed))).await.map(drop)
            })
        })
        .await
    }

    async fn put_secret(&self, scope: &mut Scope, access: &mut KeyAccess, value: SecretBytes, edit: Option<Edit>) -> Result<Stamp, Refusal> {
        match self.put_secret_once(scope, access, value.clone(), edit.clone()).await {
            // Changed on another node a moment ago, of which the change log will tell.
            Err(Refusal::Code(ResultCode::Conflict)) => {
                access.look_again(self).await?;
                self.put_secret_once(scope, access, value, edit).await
            }
            outcome => outcome,
        }
    }

    async fn put_secret_once(&self, scope: &mut Scope, access: &KeyAccess, value: SecretBytes, edit: Option<Edit>) -> Result<Stamp, Refusal> {
        let (id, current) = (access.id(), access.view.key.current_version);
        let next = current.next().ok_or(ResultCode::KeyUseLimitReached)?;
        scope.names_version(next);
        let sealed = self.seal_secret(scope, &access.key_store, (id, next), value).await?;
        if scope.is_asked() {
            let (change, seen) = edit.unwrap_or_default();
            let change = ProposedChange::ChangeSecret { key: id, current, name: change.name, description: change.description };
            return Err(self.propose(scope, Proposal::of(access.key_store.key_store.id, change).seen(seen).sealed(sealed)).await);
        }
        let stamp = scope.stamp(self);
        let (event, uses) = scope.record_of_success(self);
        let changed = stamp.clone();
        let changes = [Change::Key(id)];
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                put_secret_version(tx, id, (current, next), &sealed, edit, &changed)?;
                Ok(tx.audit(event, uses)?)
            })
            .await?;
        scope.committed();
        self.apply(&changes);
        Ok(stamp)
    }
}
