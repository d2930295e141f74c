//! Making keys, and keeping new confidential data.

use std::sync::Arc;

use super::Service;
use super::change_secret::secret_value;
use super::import_key::WrappedKey;
use super::provisioning::{NewMaterial, random_id};
use super::read_secret::secret_context;
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use super::views::{KeyStoreView, take_encryption};
use crate::domain::audit::{KeyUse, Operation};
use crate::domain::ids::{KeyId, KeyStoreId, KeyVersion};
use crate::domain::key::{KeyKind, Origin, RotationPeriod, State};
use crate::domain::result_code::ResultCode;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::{Description, Name};
use crate::hsm::ObjectKind;
use crate::store::{Change, NewKey, PlannedObject, Tx};

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKeyRequest {
    /// The key store that it goes into.
    pub key_store: KeyStoreRef,
    /// Its name.
    pub name: Name,
    /// What people say about it.
    pub description: Description,
    /// What it is made from.
    pub content: NewContent,
}

/// How a key store of the request's project is named.
#[derive(Debug, Clone)]
pub enum KeyStoreRef {
    /// By its name.
    Named(Name),
    /// By its number, as it was sent.
    Numbered(String),
}

impl From<Name> for KeyStoreRef {
    fn from(name: Name) -> Self {
        Self::Named(name)
    }
}

/// What a key is made from.
#[derive(Debug, Clone)]
pub enum NewContent {
    /// Confidential data.
    Secret(SecretText),
    /// An AES-256 key.
    Symmetric(RotationPeriod),
    /// An RSA-2048 pair.
    Asymmetric(RotationPeriod),
    /// An AES-256 key from outside: 32 bytes. It doesn't rotate.
    ImportedSymmetric(SecretBytes),
    /// The same, wrapped, so that only the token sees it.
    WrappedSymmetric(WrappedKey),
}

impl NewContent {
    pub(super) const fn kind(&self) -> KeyKind {
        match self {
            Self::Secret(_) => KeyKind::Secret,
            Self::Symmetric(_) | Self::ImportedSymmetric(_) | Self::WrappedSymmetric(_) => KeyKind::Symmetric,
            Self::Asymmetric(_) => KeyKind::Asymmetric,
        }
    }

    pub(super) const fn rotation(&self) -> RotationPeriod {
        match self {
            Self::Symmetric(period) | Self::Asymmetric(period) => *period,
            Self::Secret(_) | Self::ImportedSymmetric(_) | Self::WrappedSymmetric(_) => RotationPeriod::NEVER,
        }
    }

    pub(super) const fn origin(&self) -> Origin {
        match self {
            Self::ImportedSymmetric(_) | Self::WrappedSymmetric(_) => Origin::Imported,
            Self::Secret(_) | Self::Symmetric(_) | Self::Asymmetric(_) => Origin::Generated,
        }
    }
}

/// A key that was made.
#[derive(Debug, Clone)]
pub struct CreatedKey {
    /// Its name on the wire.
    pub id: KeyId,
    /// Where its life stands: in service.
    pub state: State,
}

/// Whoever lost the lease answers that it could not be done, not that something is in conflict.
pub(super) fn lost_lease(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Code(ResultCode::Conflict) => Refusal::unavailable("the lease of a new token object was taken over"),
        other => other,
    }
}

impl Service {
    /// Makes a key in the token, or keeps confidential data sealed by it.
    pub async fn create_key(&self, request: Request, input: Result<NewKeyRequest, Refusal>) -> Result<CreatedKey, Refusal> {
        self.make(request, Operation::CreateKey, input).await
    }

    /// What making and importing keys have in common.
    pub(super) async fn make(&self, request: Request, operation: Operation, input: Result<NewKeyRequest, Refusal>) -> Result<CreatedKey, Refusal> {
        self.run(request, operation, Right::Change, move |service, scope| {
            Box::pin(async move {
                let input = input?;
                let key_store = service.key_store_meant(scope, &input.key_store).await?;
                let id = KeyId::from_bytes(random_id()?);
                scope.names_key(id);
                scope.names_version(KeyVersion::FIRST);
                scope.details(format!("{} {}", input.content.kind(), input.name));
                if scope.is_asked() {
                    return Err(service.propose_key(scope, &key_store, id, input).await);
                }
                service.make_key(scope, &key_store, id, input).await?;
                scope.committed();
                service.apply(&[Change::Key(id)]);
                Ok(CreatedKey { id, state: State::Active })
            })
        })
        .await
    }

    /// The active key store that is meant, in the scope's project.
    pub(super) async fn key_store_meant(&self, scope: &mut Scope, meant: &KeyStoreRef) -> Result<Arc<KeyStoreView>, Refusal> {
        if let Some(drafted) = self.drafted_key_store(scope, meant).await? {
            return Ok(drafted);
        }
        match meant {
            KeyStoreRef::Named(name) => self.key_store_named(scope, name).await,
            KeyStoreRef::Numbered(number) => {
                let found = self.key_store_numbered(scope, number).await?;
                let view = self.views().key_store(self.store(), found.id).await?.filter(|view| view.key_store.state == State::Active);
                view.ok_or(ResultCode::InvalidKeyStore.into())
            }
        }
    }

    /// The active key store of that name in the scope's project.
    pub(super) async fn key_store_named(&self, scope: &mut Scope, name: &Name) -> Result<Arc<KeyStoreView>, Refusal> {
        let (project, name) = (scope.project.id, name.clone());
        let found = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.key_store_by_name(project, &name)?)).await?;
        let found = found.filter(|key_store| key_store.state == State::Active).ok_or(ResultCode::InvalidKeyStore)?;
        let view = self.views().key_store(self.store(), found.id).await?.ok_or(ResultCode::InvalidKeyStore)?;
        scope.names_key_store(view.key_store.number);
        Ok(view)
    }

    async fn make_key(&self, scope: &mut Scope, key_store: &KeyStoreView, id: KeyId, input: NewKeyRequest) -> Result<(), Refusal> {
        let created = scope.stamp(self);
        let rotation = input.content.rotation();
        let key = NewKey {
            id,
            project: scope.project.id,
            key_store: key_store.key_store.id,
            kind: input.content.kind(),
            name: input.name,
            description: input.description,
            rotation,
            next_rotation: rotation.next_after(created.at),
            origin: input.content.origin(),
            created,
        };
        match input.content {
            NewContent::Secret(value) => self.keep_secret(scope, key_store, key, secret_value(value)?).await,
            NewContent::Symmetric(_) => self.make_token_key(scope, key, NewMaterial::Generated(ObjectKind::Aes256)).await,
            NewContent::Asymmetric(_) => self.make_token_key(scope, key, NewMaterial::Generated(ObjectKind::Rsa2048)).await,
            NewContent::ImportedSymmetric(value) => self.make_imported_key(scope, key, value).await,
            NewContent::WrappedSymmetric(wrapped) => self.make_unwrapped_key(scope, key, wrapped).await,
        }
    }

    /// Seals first, then inserts key and value in one transaction: there is nothing in the token to undo.
    async fn keep_secret(&self, scope: &mut Scope, key_store: &KeyStoreView, key: NewKey, value: SecretBytes) -> Result<(), Refusal> {
        let sealed = match self.seal_secret(scope, key_store, (key.id, KeyVersion::FIRST), value).await {
            Ok(sealed) => sealed,
            Err(refusal) => return Err(self.unless_deleted(key.key_store, refusal).await),
        };
        let (event, uses) = scope.record_of_success(self);
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                put_new_secret(tx, &key, &sealed)?;
                Ok(tx.audit(event, uses)?)
            })
            .await
    }

    /// Seals a version of confidential data with the key store's own key, and counts that.
    pub(super) async fn seal_secret(
        &self,
        scope: &mut Scope,
        key_store: &KeyStoreView,
        (key, version): (KeyId, KeyVersion),
        value: SecretBytes,
    ) -> Result<Vec<u8>, Refusal> {
        if take_encryption(&key_store.sealings)? {
            self.views().apply(&[Change::KeyStore(key_store.key_store.id)]);
        }
        let sealing_key = &key_store.sealing_key;
        let sealed = self.seal(sealing_key, &secret_context(key, version), value).await?;
        scope.uses_key(KeyUse { key: sealing_key.id, version: sealing_key.version, encryptions: 1 });
        Ok(sealed)
    }

    /// Where something in a key store could not be done: because the key store was deleted meanwhile, and its own key with it?
    async fn unless_deleted(&self, key_store: KeyStoreId, refusal: Refusal) -> Refusal {
        let found = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.key_store(key_store)?)).await;
        let deleted = found.is_ok_and(|found| found.is_none_or(|key_store| key_store.state != State::Active));
        if deleted { ResultCode::InvalidKeyStore.into() } else { refusal }
    }

    pub(super) async fn make_token_key(&self, scope: &Scope, key: NewKey, material: NewMaterial) -> Result<(), Refusal> {
        let planned = self.plan_object(key.id, KeyVersion::FIRST)?;
        let row = planned.clone();
        let inserted = key.clone();
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                require_active(tx, inserted.key_store)?;
                Ok(tx.insert_key(&inserted, Some(&row))?)
            })
            .await?;
        self.make_planned_key(scope, key, &planned, material).await
    }

    /// The steps after a key and its object were planned: the object, and then both in service.
    pub(super) async fn make_planned_key(&self, scope: &Scope, key: NewKey, planned: &PlannedObject, material: NewMaterial) -> Result<(), Refusal> {
        let origin = key.origin;
        let public_key = self.make_object(planned, material).await?;
        if let Err(refusal) = self.activate_key(scope, key, planned, public_key, origin).await {
            self.undo_object(planned).await;
            return Err(lost_lease(refusal));
        }
        Ok(())
    }

    async fn activate_key(&self, scope: &Scope, key: NewKey, planned: &PlannedObject, public_key: Option<Vec<u8>>, origin: Origin) -> Result<(), Refusal> {
        let planned = planned.clone();
        let (event, uses) = scope.record_of_success(self);
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                require_active(tx, key.key_store)?;
                put_in_service(tx, &planned, public_key.as_deref(), origin)?;
                Ok(tx.audit(event, uses)?)
            })
            .await
    }
}

/// In the transaction that makes a key: its key store is still in service.
pub(super) fn require_active(tx: &mut Tx<'_>, key_store: KeyStoreId) -> Result<(), Refusal> {
    let key_store = tx.key_store(key_store)?;
    if key_store.is_some_and(|key_store| key_store.state == State::Active) { Ok(()) } else { Err(ResultCode::InvalidKeyStore.into()) }
}

/// New confidential data, sealed already, in its key store.
pub(super) fn put_new_secret(tx: &mut Tx<'_>, key: &NewKey, sealed: &[u8]) -> Result<(), Refusal> {
    require_active(tx, key.key_store)?;
    tx.insert_key(key, None)?;
    tx.put_secret_version(key.id, None, KeyVersion::FIRST, sealed, &key.created)?;
    Ok(tx.changed(Change::Key(key.id))?)
}

/// A key whose object is in the token.
pub(super) fn put_in_service(tx: &mut Tx<'_>, planned: &PlannedObject, public_key: Option<&[u8]>, origin: Origin) -> Result<(), Refusal> {
    tx.activate_object(planned, public_key, origin)?;
    Ok(tx.changed(Change::Key(planned.key))?)
}
