//! Reading the inventory: key stores, keys, and the clients of key stores. Nothing here is data.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Service;
use super::client_rules::{Wanted, shown_kept};
use super::create_key::KeyStoreRef;
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use crate::domain::audit::Operation;
use crate::domain::client_checks::Method;
use crate::domain::ids::{KeyId, KeyStoreId, KeyStoreNumber, ProjectId};
use crate::domain::inventory::{KeyFilter, Page};
use crate::domain::key_store::KeyStore;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
pub use crate::store::{KeyPosition, ListedClientRule, ListedKey};

/// How many IDs are read at a time: a list of them is as long as there are keys, and is never held as a whole.
const IDS_AT_ONCE: i64 = 1_000;
/// How long a list waits for its turn.
const LIST_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);
/// How many key stores are read at a time.
const KEY_STORES_AT_ONCE: i64 = 100;

/// Reads the piece of a list after its last one that was seen.
type ReadPiece<T> = Box<dyn Fn(Service, Option<T>) -> BoxFuture<'static, Result<Vec<T>, Refusal>> + Send + Sync>;

/// A list that may be longer than should be held: its first piece is here, the others are read as they are wanted. What is made or
/// destroyed meanwhile may be in it or not; nothing is in it twice.
pub struct Pieces<T> {
    service: Service,
    ready: Option<Vec<T>>,
    /// The last one that was read, where more may follow.
    last: Option<T>,
    at_once: usize,
    read: ReadPiece<T>,
}

impl<T> std::fmt::Debug for Pieces<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("ready", &self.ready.as_ref().map(Vec::len)).field("at_once", &self.at_once).finish_non_exhaustive()
    }
}

impl<T: Clone + Send + 'static> Pieces<T> {
    pub(super) async fn begin<F>(service: &Service, at_once: i64, read: F) -> Result<Self, Refusal>
    where
        F: Fn(Service, Option<T>) -> BoxFuture<'static, Result<Vec<T>, Refusal>> + Send + Sync + 'static,
    {
        let at_once = usize::try_from(at_once).unwrap_or(1);
        let mut pieces = Self { service: service.clone(), ready: None, last: None, at_once, read: Box::new(read) };
        let first = (pieces.read)(service.clone(), None).await?;
        pieces.keep(first);
        Ok(pieces)
    }

    /// A short piece is the last one.
    fn keep(&mut self, piece: Vec<T>) {
        self.last = piece.last().filter(|_| piece.len() >= self.at_once).cloned();
        self.ready = Some(piece);
    }

    /// Whether all that is left can be had without reading.
    pub fn is_complete(&self) -> bool {
        self.last.is_none()
    }

    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>, Refusal> {
        if self.ready.is_none()
            && let Some(last) = self.last.take()
        {
            let piece = (self.read)(self.service.clone(), Some(last)).await?;
            self.keep(piece);
        }
        Ok(self.ready.take())
    }
}

/// A list of key stores.
#[derive(Debug)]
pub enum KeyStoreListing {
    /// Their numbers.
    Numbers(Pieces<KeyStoreNumber>),
    /// All about them.
    Details(Pieces<KeyStore>),
}

/// Which keys are asked for, and how much about them.
#[derive(Debug, Clone)]
pub struct KeyQuery {
    /// One page of all about them, rather than the IDs of all of them.
    pub detail: bool,
    /// Which, where details are asked for.
    pub filter: KeyFilter,
    /// Which page, where details are asked for.
    pub page: Page,
}

/// A list of a key store's keys.
#[derive(Debug)]
pub enum KeyListing {
    /// Their IDs.
    Ids(Pieces<KeyPosition>),
    /// All about those of one page.
    Details(Vec<ListedKey>),
}

/// A list of a key store's clients.
#[derive(Debug)]
pub enum ClientListing {
    /// Their values, as they are shown.
    Values(Vec<String>),
    /// All about one.
    Details(Box<ListedClientRule>),
}

impl Service {
    /// The project's key stores, oldest first.
    pub async fn list_key_stores(&self, request: Request, detail: Result<bool, Refusal>) -> Result<KeyStoreListing, Refusal> {
        self.read_inventory(request, move |service, scope| {
            let project = scope.project.id;
            async move {
                if detail? {
                    Ok(KeyStoreListing::Details(service.key_stores(project).await?))
                } else {
                    Ok(KeyStoreListing::Numbers(service.key_store_numbers(project).await?))
                }
            }
            .boxed()
        })
        .await
    }

    async fn key_store_numbers(&self, project: ProjectId) -> Result<Pieces<KeyStoreNumber>, Refusal> {
        let read = move |service: Service, after| {
            let reading = async move { service.store().read(move |reader| Ok(reader.key_store_numbers(project, after, IDS_AT_ONCE)?)).await };
            reading.boxed()
        };
        Pieces::begin(self, IDS_AT_ONCE, read).await
    }

    async fn key_stores(&self, project: ProjectId) -> Result<Pieces<KeyStore>, Refusal> {
        let read = move |service: Service, after: Option<KeyStore>| {
            let after = after.map(|key_store| key_store.number);
            let reading = async move { service.store().read(move |reader| Ok(reader.key_stores_of(project, after, KEY_STORES_AT_ONCE)?)).await };
            reading.boxed()
        };
        Pieces::begin(self, KEY_STORES_AT_ONCE, read).await
    }

    /// All about one key store; `number` as the path names it.
    pub async fn read_key_store(&self, request: Request, number: String) -> Result<KeyStore, Refusal> {
        self.read_inventory(request, move |service, scope| async move { service.key_store_numbered(scope, &number).await }.boxed()).await
    }

    /// A key store's keys, oldest first.
    pub async fn list_keys(&self, request: Request, key_store: String, query: Result<KeyQuery, Refusal>) -> Result<KeyListing, Refusal> {
        self.read_inventory(request, move |service, scope| {
            async move {
                let key_store = service.key_store_numbered(scope, &key_store).await?.id;
                let KeyQuery { detail, filter, page } = query?;
                if detail {
                    let listed = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.listed_keys(key_store, &filter, page)?)).await?;
                    Ok(KeyListing::Details(listed))
                } else {
                    Ok(KeyListing::Ids(service.key_ids(key_store).await?))
                }
            }
            .boxed()
        })
        .await
    }

    async fn key_ids(&self, key_store: KeyStoreId) -> Result<Pieces<KeyPosition>, Refusal> {
        let read = move |service: Service, after| {
            let reading = async move { service.store().read(move |reader| Ok(reader.key_positions(key_store, after, IDS_AT_ONCE)?)).await };
            reading.boxed()
        };
        Pieces::begin(self, IDS_AT_ONCE, read).await
    }

    /// All about one key of a key store. One that is in another key store is none of it.
    pub async fn read_key(&self, request: Request, key_store: String, key: String) -> Result<ListedKey, Refusal> {
        self.read_inventory(request, move |service, scope| {
            async move {
                let key_store = service.key_store_numbered(scope, &key_store).await?.id;
                let key: KeyId = key.parse().map_err(|_| ResultCode::InvalidKeyId)?;
                scope.names_key(key);
                let found = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.listed_key(key_store, key)?)).await?;
                found.ok_or(ResultCode::InvalidKeyId.into())
            }
            .boxed()
        })
        .await
    }

    /// A key store's clients of one method, oldest first, or all about the one with that value, in whatever notation.
    pub async fn list_clients(
        &self,
        request: Request,
        key_store: String,
        method: Method,
        value: Result<Option<String>, Refusal>,
    ) -> Result<ClientListing, Refusal> {
        self.read_inventory(request, move |service, scope| {
            async move {
                let key_store = service.key_store_numbered(scope, &key_store).await?;
                let Some(value) = value? else {
                    let id = key_store.id;
                    let kept = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.client_rule_values(id, method)?)).await?;
                    return Ok(ClientListing::Values(kept.into_iter().map(|value| shown_kept(method, value)).collect()));
                };
                let wanted = Wanted::parse(method, &value);
                // The parameter has one name, whatever the entries' field is called.
                let wanted = wanted.map_err(|invalid| Invalid { field: "value", ..invalid })?.kept();
                let found = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.listed_client_rule(key_store.id, method, &wanted)?)).await?;
                found.map(|rule| ClientListing::Details(Box::new(rule))).ok_or(ResultCode::InvalidClientRule.into())
            }
            .boxed()
        })
        .await
    }

    async fn read_inventory<T, F>(&self, request: Request, act: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Self, &'a mut Scope) -> BoxFuture<'a, Result<T, Refusal>> + Send + 'static,
    {
        self.run(request, Operation::ReadInventory, Right::Read, move |service, scope| {
            async move {
                let _turn = service.turn_to_list().await?;
                act(service, scope).await
            }
            .boxed()
        })
        .await
    }

    /// Waits for a turn to read a list: others may take long, and whoever isn't known yet is looked up over the same connections.
    pub(super) async fn turn_to_list(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Refusal> {
        let turn = tokio::time::timeout(LIST_WITHIN, self.0.listing.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| Refusal::unavailable("too many lists are being read"))
    }

    /// The key store of the scope's project with the number that a path names.
    pub(super) async fn key_store_numbered(&self, scope: &mut Scope, number: &str) -> Result<KeyStore, Refusal> {
        let number = KeyStoreNumber::parse(number).ok_or(ResultCode::InvalidKeyStore)?;
        scope.names_key_store(number);
        let project = scope.project.id;
        let found = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.key_store_by_number(project, number)?)).await?;
        if let Some(key_store) = found.filter(|key_store| key_store.state.is_visible()) {
            return Ok(key_store);
        }
        // Whoever works on drafts sees the key stores that are to come into being with them.
        let drafted = self.drafted_key_store(scope, &KeyStoreRef::Numbered(number.to_string())).await?;
        drafted.map(|view| view.key_store.clone()).ok_or(ResultCode::InvalidKeyStore.into())
    }
}
