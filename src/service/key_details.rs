//! All about one key, as a person looks at it at the console. No data.

use super::Service;
use super::key_life::{ListedVersion, listed};
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::audit::Operation;
use crate::domain::ids::KeyId;
use crate::domain::key::{KeyKind, Origin};
use crate::domain::key_store::KeyStore;
use crate::domain::lifecycle::is_rotatable;
use crate::domain::result_code::ResultCode;
use crate::store::ListedKey;

/// All about one key.
#[derive(Debug, Clone)]
pub struct KeyDetails {
    /// The key store that it belongs to.
    pub key_store: KeyStore,
    /// The key, and when it was last used.
    pub listed: ListedKey,
    /// Its versions that aren't deleted, oldest first.
    pub versions: Vec<ListedVersion>,
    /// Whether new versions of it can be made.
    pub rotatable: bool,
    /// Whether it came from outside.
    pub imported: bool,
}

impl Service {
    /// All about one key of a key store. One that is in another key store is none of it.
    pub async fn key_details(&self, request: Request, key_store: String, key: String) -> Result<KeyDetails, Refusal> {
        self.run(request, Operation::ReadInventory, Right::Read, move |service, scope| {
            Box::pin(async move {
                let key_store = service.key_store_numbered(scope, &key_store).await?;
                let id: KeyId = key.parse().map_err(|_| ResultCode::InvalidKeyId)?;
                scope.names_key(id);
                let read = service.store().read::<_, Refusal, _>(move |reader| {
                    let (_, row) =
                        reader.key(id)?.filter(|(_, row)| row.key.key_store == key_store.id && row.key.state.is_visible()).ok_or(ResultCode::InvalidKeyId)?;
                    let last_uses = reader.last_uses(id)?;
                    let rotatable = is_rotatable(&row.key, &row.versions);
                    let imported = row.key.kind != KeyKind::Secret && row.versions.iter().any(|version| version.origin == Origin::Imported);
                    let listed_key = ListedKey { key: row.key, last_access: last_uses.values().max().copied() };
                    Ok(KeyDetails { key_store, listed: listed_key, versions: listed(row.versions, &last_uses), rotatable, imported })
                });
                read.await
            })
        })
        .await
    }
}
