//! Lists as people look at them at the console, over the same rights and the same records as the inventory.

use super::Service;
use super::inventory::ListedKey;
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::audit::Operation;
use crate::domain::key_store::KeyStore;
use crate::domain::listing::{ListQuery, Listed};

impl Service {
    /// A page of a key store's keys; `number` as the path names it.
    pub async fn list_keys_page(&self, request: Request, number: String, query: ListQuery) -> Result<(KeyStore, Listed<ListedKey>), Refusal> {
        self.run(request, Operation::ReadInventory, Right::Read, move |service, scope| {
            Box::pin(async move {
                let key_store = service.key_store_numbered(scope, &number).await?;
                let id = key_store.id;
                let listed = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.listed_keys_page(id, &query)?)).await?;
                Ok((key_store, listed))
            })
        })
        .await
    }
}
