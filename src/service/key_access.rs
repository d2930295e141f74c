//! From a key's ID to the right to use it.

use std::sync::Arc;

use super::Service;
use super::refusal::Refusal;
use super::request::Scope;
use super::views::{KeyStoreView, KeyView, VersionView};
use crate::domain::audit::KeyUse;
use crate::domain::ids::{KeyId, KeyVersion, ObjectId};
use crate::domain::key::{KeyKind, Material};
use crate::domain::lifecycle::{is_in_service, may_use_version};
use crate::domain::result_code::ResultCode;

/// Whether the key store's client checks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientChecks {
    /// They are.
    Run,
    /// They aren't: `publicKey` alone.
    Skip,
}

/// A key that the caller may use.
#[derive(Debug)]
pub(super) struct KeyAccess {
    pub(super) view: Arc<KeyView>,
    pub(super) key_store: Arc<KeyStoreView>,
}

impl Service {
    /// Finds a key, runs the client checks, looks at kind and state, in that order. A key that doesn't exist, is destroyed
    /// or belongs to another project gets one refusal by one path.
    pub(super) async fn access_key_of_kind(&self, scope: &mut Scope, id: &str, kind: KeyKind, checks: ClientChecks) -> Result<KeyAccess, Refusal> {
        let access = self.find_key(scope, id).await?;
        if checks == ClientChecks::Run {
            scope.pass_client_checks(self, &access.key_store)?;
        }
        if access.view.key.kind != kind {
            return Err(ResultCode::InvalidKeyId.into());
        }
        is_in_service(&access.view.key)?;
        Ok(access)
    }

    /// A key of the scope's project, of any kind, in service or scheduled to be deleted; no client checks.
    pub(super) async fn find_key(&self, scope: &mut Scope, id: &str) -> Result<KeyAccess, Refusal> {
        let id: KeyId = id.parse().map_err(|_| ResultCode::InvalidKeyId)?;
        scope.names_key(id);
        let found = self.views().key(self.store(), id, self.guesser(&scope.actor, &scope.caller)).await;
        let found = found.map_err(|refusal| scope.over_failures(self, refusal))?;
        let view = found.filter(|view| view.project == scope.project.id && view.key.state.is_visible()).ok_or(ResultCode::InvalidKeyId)?;
        let key_store = self.views().key_store(self.store(), view.key.key_store).await?.ok_or(ResultCode::InvalidKeyId)?;
        scope.names_key_store(key_store.key_store.number);
        Ok(KeyAccess { view, key_store })
    }
}

impl KeyAccess {
    pub(super) fn id(&self) -> KeyId {
        self.view.key.id
    }

    /// The version that encrypts and signs.
    pub(super) fn current(&self) -> Result<&VersionView, Refusal> {
        usable(self.view.current())
    }

    /// The key as it is now, whatever was kept of it.
    pub(super) async fn look_again(&mut self, service: &Service) -> Result<(), Refusal> {
        let newer = service.views().key_again(service.store(), self.id()).await?.ok_or(ResultCode::InvalidKeyId)?;
        is_in_service(&newer.key)?;
        self.view = newer;
        Ok(())
    }

    /// A version by number. One that is newer than the view's current one may have been made on another node a moment ago, of which the change
    /// log will tell: the database knows already. Numbers that were never given cost that read, too, and are charged as failures.
    pub(super) async fn version(&mut self, service: &Service, scope: &Scope, number: KeyVersion) -> Result<&VersionView, Refusal> {
        if number > self.view.key.current_version && self.view.version(number).is_none() {
            let _held = service.guesser(&scope.actor, &scope.caller).look()?;
            self.look_again(service).await?;
        }
        usable(self.view.version(number))
    }
}

fn usable(view: Option<&VersionView>) -> Result<&VersionView, Refusal> {
    may_use_version(view.map(|view| view.version.state))?;
    view.ok_or(ResultCode::InvalidKeyVersion.into())
}

impl VersionView {
    /// The version's object in the token.
    pub(super) fn object(&self) -> Result<ObjectId, Refusal> {
        match &self.version.material {
            Material::Token { object, .. } => Ok(*object),
            Material::Sealed(_) => Err(Refusal::unavailable("a key version has no token object")),
        }
    }

    /// A use of this version that encrypts `encryptions` times.
    pub(super) fn used_by(&self, key: KeyId, encryptions: u32) -> KeyUse {
        KeyUse { key, version: self.version.version, encryptions }
    }
}
