//! Making a key store, with the key of its own that seals its confidential data.

use super::Service;
use super::provisioning::{NewMaterial, random_id};
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use crate::domain::audit::Operation;
use crate::domain::client_checks::ChecksPolicy;
use crate::domain::ids::{KeyId, KeyStoreId, KeyVersion};
use crate::domain::key::{Origin, Stamp, State};
use crate::domain::key_store::KeyStore;
use crate::domain::text::{Description, Name};
use crate::hsm::ObjectKind;
use crate::store::{Change, PlannedObject, Purpose, Tx};

/// A key store to be made.
#[derive(Debug, Clone)]
pub struct NewKeyStore {
    /// Its name.
    pub name: Name,
    /// What people say about it.
    pub description: Description,
    /// Which client checks are on, and how they combine.
    pub checks: ChecksPolicy,
}

impl Service {
    /// Makes a key store.
    pub async fn create_key_store(&self, request: Request, input: Result<NewKeyStore, Refusal>) -> Result<KeyStore, Refusal> {
        self.run(request, Operation::CreateKeyStore, Right::Change, move |service, scope| {
            Box::pin(async move {
                let input = input?;
                scope.details(input.name.as_str());
                if scope.is_asked() {
                    return Err(service.propose_key_store(scope, input).await);
                }
                service.make_key_store(scope, input).await
            })
        })
        .await
    }

    async fn make_key_store(&self, scope: &mut Scope, input: NewKeyStore) -> Result<KeyStore, Refusal> {
        let stamp = scope.stamp(self);
        let sealing_key = KeyId::from_bytes(random_id()?);
        let planned = self.plan_object(sealing_key, KeyVersion::FIRST)?;
        let mut key_store = self.plan_key_store(scope, input, &planned, &stamp).await?;
        scope.names_key_store(key_store.number);
        self.make_object(&planned, NewMaterial::Generated(ObjectKind::Aes256)).await?;
        if let Err(refusal) = self.activate_key_store(scope, &key_store, &planned, &stamp).await {
            self.undo_object(&planned).await;
            return Err(super::create_key::lost_lease(refusal));
        }
        scope.committed();
        self.apply(&[Change::KeyStore(key_store.id)]);
        key_store.state = State::Active;
        Ok(key_store)
    }

    async fn plan_key_store(&self, scope: &Scope, input: NewKeyStore, planned: &PlannedObject, stamp: &Stamp) -> Result<KeyStore, Refusal> {
        let (project, planned, stamp) = (scope.project.id, planned.clone(), stamp.clone());
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                let key_store = tx.insert_key_store(project, &input.name, &input.description, input.checks, State::Provisioning, &stamp)?;
                tx.insert_internal_key(Purpose::ConfidentialData(key_store.id), &planned, &stamp)?;
                Ok(key_store)
            })
            .await
    }

    async fn activate_key_store(&self, scope: &Scope, key_store: &KeyStore, planned: &PlannedObject, stamp: &Stamp) -> Result<(), Refusal> {
        let (id, planned, stamp) = (key_store.id, planned.clone(), stamp.clone());
        let (event, uses) = scope.record_of_success(self);
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                put_in_service(tx, id, &planned, &stamp)?;
                Ok(tx.audit(event, uses)?)
            })
            .await
    }
}

/// A key store whose own key is in the token.
pub(super) fn put_in_service(tx: &mut Tx<'_>, id: KeyStoreId, planned: &PlannedObject, stamp: &Stamp) -> Result<(), Refusal> {
    tx.activate_object(planned, None, Origin::Generated)?;
    tx.set_key_store_state(id, State::Provisioning, State::Active, stamp)?;
    Ok(tx.changed(Change::KeyStore(id))?)
}
