//! Changing a key's name, description and rotation period.

use super::KeyAsSeen;
use crate::domain::approval::ProposedChange;
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::ids::KeyId;
use crate::domain::key::{RotationPeriod, Stamp};
use crate::domain::lifecycle::{Command, is_rotatable};
use crate::domain::text::{Description, Invalid, Name};
use crate::service::Service;
use crate::service::approval::Proposal;
use crate::service::refusal::Refusal;
use crate::service::request::{Request, Right};
use crate::store::{KeyRow, Tx};

/// What is to be different about a key. What is missing stays as it is.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// Its name.
    pub name: Option<Name>,
    /// What people say about it.
    pub description: Option<Description>,
    /// How often it rotates by itself.
    pub rotation: Option<RotationPeriod>,
}

/// A key after a change.
#[derive(Debug, Clone)]
pub struct ChangedKey {
    /// The key.
    pub key: KeyId,
    /// Its name.
    pub name: Name,
    /// What people say about it.
    pub description: Description,
    /// How often it rotates by itself.
    pub rotation: RotationPeriod,
    /// When it next does.
    pub next_rotation: Option<Timestamp>,
    /// Who changed it, and when.
    pub changed: Stamp,
}

impl KeyChange {
    pub(in crate::service) fn check(&self) -> Result<(), Invalid> {
        let is_empty = self.name.is_none() && self.description.is_none() && self.rotation.is_none();
        if is_empty { Err(Invalid::new("name", "or description or autoRotationPeriod is required")) } else { Ok(()) }
    }

    fn proposed(self, key: KeyId) -> ProposedChange {
        ProposedChange::ChangeKey { key, name: self.name, description: self.description, rotation: self.rotation }
    }

    /// What the audit record says: the fields, and of short ones their new values.
    pub(in crate::service) fn told(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("name {name}"));
        let description = self.description.as_ref().map(|_| "description".to_owned());
        let rotation = self.rotation.map(|period| format!("autoRotationPeriod {}", period.days()));
        [name, description, rotation].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Service {
    /// Changes a key. A period that differs from the one before counts from now, so that a shorter one never makes a rotation due at once;
    /// the same period once more changes nothing, so that a script which sets it each day doesn't put the rotation off for ever.
    pub async fn change_key(&self, request: Request, key: impl Into<KeyAsSeen>, input: Result<KeyChange, Refusal>) -> Result<ChangedKey, Refusal> {
        let KeyAsSeen { id, changed: seen } = key.into();
        self.run(request, Operation::ChangeKey, Right::Change, move |service, scope| {
            Box::pin(async move {
                let access = service.find_key(scope, &id).await?;
                let key = access.id();
                let input = input?;
                input.check()?;
                scope.details(input.told());
                service.unless_asked(scope, || Proposal::of_key(&access, input.clone().proposed(key)).seen(seen)).await?;
                service.change_held_key(scope, (key, seen), Command::Change, move |tx, row, stamp| put(tx, row, input, stamp)).await
            })
        })
        .await
    }
}

/// Changes a held key that is in service.
pub(in crate::service) fn put(tx: &mut Tx<'_>, row: &KeyRow, input: KeyChange, stamp: &Stamp) -> Result<ChangedKey, Refusal> {
    let key = &row.key;
    let rotation = input.rotation.unwrap_or(key.rotation);
    if rotation != RotationPeriod::NEVER && !is_rotatable(key, &row.versions) {
        return Err(Invalid::new("autoRotationPeriod", "must be 0: confidential data and imported keys don't rotate").into());
    }
    let next_rotation = if rotation == key.rotation { key.next_rotation } else { rotation.next_after(stamp.at) };
    let changed = ChangedKey {
        key: key.id,
        name: input.name.unwrap_or_else(|| key.name.clone()),
        description: input.description.unwrap_or_else(|| key.description.clone()),
        rotation,
        next_rotation,
        changed: stamp.clone(),
    };
    tx.change_key(key.id, (&changed.name, &changed.description), rotation, next_rotation, stamp)?;
    Ok(changed)
}
