//! Replacing what people say about a key store, and deleting one.
//!
//! What a crash of the process leaves: a replacement is one transaction, with its record. A deletion begins with one that says
//! `DESTROYING` (its record with it: from here on it is deleted, and nobody can use it); the key store's own key then leaves the token, and the
//! last transaction says `DESTROYED`, which frees the name. If that is never reached, the reconciler does it after the lease.

use super::Service;
use super::approval::Proposal;
use super::create_key_store::NewKeyStore;
use super::notifications::telling;
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use crate::domain::approval::ProposedChange;
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyStoreId, ObjectId};
use crate::domain::key::Stamp;
use crate::domain::result_code::ResultCode;
use crate::store::{Change, Tx};

/// A key store as a caller names it for a change, perhaps with what he has seen of it.
#[derive(Debug, Clone)]
pub struct KeyStoreAsSeen {
    /// Its number, as it was sent.
    pub number: String,
    /// Its last change that the caller knows of. Where somebody else has changed it since, nothing is done.
    pub changed: Option<Timestamp>,
}

impl From<String> for KeyStoreAsSeen {
    fn from(number: String) -> Self {
        Self { number, changed: None }
    }
}

/// Holds the row of a key store that is in service, and refuses where it is no longer as the caller has seen it.
fn hold_as_seen(tx: &mut Tx<'_>, id: KeyStoreId, seen: Option<Timestamp>) -> Result<(), Refusal> {
    tx.hold_active_key_store(id)?;
    let Some(seen) = seen else { return Ok(()) };
    let is_as_seen = tx.key_store(id)?.is_some_and(|key_store| key_store.changed.at == seen);
    if is_as_seen { Ok(()) } else { Err(ResultCode::Conflict.into()) }
}

impl Service {
    /// Replaces name, description and client checks of the key store that the path names.
    pub async fn replace_key_store(&self, request: Request, key_store: impl Into<KeyStoreAsSeen>, input: Result<NewKeyStore, Refusal>) -> Result<(), Refusal> {
        let KeyStoreAsSeen { number, changed: seen } = key_store.into();
        self.run(request, Operation::ChangeKeyStore, Right::Change, move |service, scope| {
            Box::pin(async move {
                let id = service.key_store_numbered(scope, &number).await?.id;
                let input = input?;
                scope.details(input.name.as_str());
                let change = || ProposedChange::ReplaceKeyStore { name: input.name.clone(), description: input.description.clone(), checks: input.checks };
                service.unless_asked(scope, || Proposal::of(id, change()).seen(seen)).await?;
                service.put_key_store(scope, id, seen, input).await
            })
        })
        .await
    }

    async fn put_key_store(&self, scope: &mut Scope, id: KeyStoreId, seen: Option<Timestamp>, input: NewKeyStore) -> Result<(), Refusal> {
        let stamp = scope.stamp(self);
        let (event, uses) = scope.record_of_success(self);
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                hold_as_seen(tx, id, seen)?;
                replace(tx, id, &input, &stamp)?;
                Ok(tx.audit(event, uses)?)
            })
            .await?;
        scope.committed();
        self.apply(&[Change::KeyStore(id)]);
        Ok(())
    }

    /// Deletes the key store that the path names, if it holds no keys. Its number never comes back, its name may.
    pub async fn delete_key_store(&self, request: Request, key_store: impl Into<KeyStoreAsSeen>) -> Result<(), Refusal> {
        let KeyStoreAsSeen { number, changed: seen } = key_store.into();
        self.run(request, Operation::DeleteKeyStore, Right::Change, move |service, scope| {
            Box::pin(async move {
                let key_store = service.key_store_numbered(scope, &number).await?;
                scope.details(key_store.name.as_str());
                service.unless_asked(scope, || Proposal::of(key_store.id, ProposedChange::DeleteKeyStore).seen(seen)).await?;
                let doomed = service.begin_deleting_key_store(scope, key_store.id, seen).await?;
                // It is deleted, whether or not the token can be asked now: what fails is logged there, and left to the reconciler.
                service.finish_destruction_soon(doomed).await;
                Ok(())
            })
        })
        .await
    }

    async fn begin_deleting_key_store(&self, scope: &mut Scope, id: KeyStoreId, seen: Option<Timestamp>) -> Result<Vec<ObjectId>, Refusal> {
        let (stamp, lease) = (scope.stamp(self), self.lease());
        let (event, uses) = scope.record_of_success(self);
        let doomed = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                // Held first: a key that comes in at this moment is counted, or finds no key store.
                hold_as_seen(tx, id, seen)?;
                let doomed = begin_deleting(tx, id, lease, &stamp)?;
                tx.audit(event, uses)?;
                Ok(doomed)
            })
            .await?;
        scope.committed();
        self.apply(&[Change::KeyStore(id)]);
        Ok(doomed)
    }
}

/// Replaces all that people say about a key store in service.
pub(super) fn replace(tx: &mut Tx<'_>, id: KeyStoreId, input: &NewKeyStore, stamp: &Stamp) -> Result<(), Refusal> {
    tx.replace_key_store(id, &input.name, &input.description, input.checks, stamp)?;
    Ok(tx.changed(Change::KeyStore(id))?)
}

/// Begins the end of a key store that holds no keys; answers the objects to be destroyed.
pub(super) fn begin_deleting(tx: &mut Tx<'_>, id: KeyStoreId, lease: Timestamp, stamp: &Stamp) -> Result<Vec<ObjectId>, Refusal> {
    // Held first: a key that comes in at this moment is counted, or finds no key store.
    tx.hold_active_key_store(id)?;
    if tx.count_keys(id)? > 0 {
        return Err(ResultCode::KeyStoreNotEmpty.into());
    }
    let doomed = tx.begin_destroying_key_store(id, lease, stamp)?;
    telling::key_store_deleted(tx, id, stamp)?;
    tx.changed(Change::KeyStore(id))?;
    Ok(doomed)
}
