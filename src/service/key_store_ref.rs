//! Which key store is meant: the API names it in the body, the console numbers it in the address.

use std::sync::Arc;

use super::Service;
use super::refusal::Refusal;
use super::request::Scope;
use super::views::KeyStoreView;
use crate::domain::key::State;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Name;

/// Which key store of the project is meant.
#[derive(Debug, Clone)]
pub enum KeyStoreRef {
    /// The one of that name.
    Name(Name),
    /// The one with that number, as the path names it: it stays the same one when somebody renames it.
    Number(String),
}

impl From<Name> for KeyStoreRef {
    fn from(name: Name) -> Self {
        Self::Name(name)
    }
}

impl Service {
    /// The active key store of the scope's project that is meant.
    pub(super) async fn key_store_meant(&self, scope: &mut Scope, key_store: &KeyStoreRef) -> Result<Arc<KeyStoreView>, Refusal> {
        let number = match key_store {
            KeyStoreRef::Name(name) => return self.key_store_named(scope, name).await,
            KeyStoreRef::Number(number) => number,
        };
        let found = self.key_store_numbered(scope, number).await?;
        let view = self.views().key_store(self.store(), found.id).await?.filter(|view| view.key_store.state == State::Active);
        view.ok_or(ResultCode::InvalidKeyStore.into())
    }
}
