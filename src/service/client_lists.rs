//! A key store's clients as people look at them at the console: a page of them, one of them, all of them in pieces.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::Service;
use super::client_rules::Wanted;
use super::inventory::{ListedClientRule, Pieces};
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::audit::Operation;
use crate::domain::client_checks::Method;
use crate::domain::key_store::KeyStore;
use crate::domain::listing::ListQuery;
use crate::domain::result_code::ResultCode;
pub use crate::store::ClientsPage;

/// How long before its end a certificate is warned of.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 86_400);
/// How many entries are read at a time.
const CLIENTS_AT_ONCE: i64 = 1_000;

impl Service {
    /// A page of a key store's entries of one method; `number` as the path names it.
    pub async fn list_clients_page(&self, request: Request, number: String, method: Method, query: ListQuery) -> Result<(KeyStore, ClientsPage), Refusal> {
        self.run(request, Operation::ReadInventory, Right::Read, move |service, scope| {
            Box::pin(async move {
                let key_store = service.key_store_numbered(scope, &number).await?;
                let (id, soon) = (key_store.id, service.now().plus(EXPIRY_WARNING));
                let page = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.client_rules_page(id, method, &query, soon)?)).await?;
                Ok((key_store, page))
            })
        })
        .await
    }

    /// All about one entry, and its key store; `number` as the path names it, the value as typed.
    pub async fn read_client(&self, request: Request, number: String, method: Method, value: String) -> Result<(KeyStore, ListedClientRule), Refusal> {
        self.run(request, Operation::ReadInventory, Right::Read, move |service, scope| {
            Box::pin(async move {
                let key_store = service.key_store_numbered(scope, &number).await?;
                let (id, wanted) = (key_store.id, Wanted::parse(method, &value)?.kept());
                let found = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.listed_client_rule(id, method, &wanted)?)).await?;
                Ok((key_store, found.ok_or(ResultCode::InvalidClientRule)?))
            })
        })
        .await
    }

    /// All of a key store's entries of one method, oldest first; `number` as the path names it.
    pub async fn export_clients(&self, request: Request, number: String, method: Method) -> Result<(KeyStore, Pieces<ListedClientRule>), Refusal> {
        self.run(request, Operation::ReadInventory, Right::Read, move |service, scope| {
            Box::pin(async move {
                let key_store = service.key_store_numbered(scope, &number).await?;
                let id = key_store.id;
                scope.details(format!("all {} entries", method.as_str()));
                let read = move |service: Service, after: Option<ListedClientRule>| {
                    let after = after.map(|listed| listed.rule.id);
                    let reading = async move { service.store().read(move |reader| Ok(reader.client_rules_after(id, method, after, CLIENTS_AT_ONCE)?)).await };
                    reading.boxed()
                };
                Ok((key_store, Pieces::begin(service, CLIENTS_AT_ONCE, read).await?))
            })
        })
        .await
    }
}
