//! Drafts and requests as people look at them.

use super::parse_id;
use crate::domain::approval::{ChangeItem, ChangeRequest, ProposedChange, RequestState};
use crate::domain::audit::Operation;
use crate::domain::ids::{KeyStoreId, KeyStoreNumber};
use crate::domain::listing::Listed;
use crate::domain::result_code::ResultCode;
use crate::service::request::{Request, Right};
use crate::service::{Refusal, Service};
use crate::store::{Reader, RequestFilter};

/// Which drafts and requests are wanted.
#[derive(Debug, Clone, Default)]
pub struct RequestQuery {
    /// Those in this state.
    pub state: Option<RequestState>,
    /// Those of the key store with this number.
    pub key_store: Option<String>,
    /// How many come before the page.
    pub offset: i64,
    /// How many it has at most.
    pub limit: i64,
}

/// A draft or request in a list.
#[derive(Debug, Clone)]
pub struct ListedRequest {
    /// The draft or request.
    pub request: ChangeRequest,
    /// Number and name of its key store; a new one has the name that it is to have.
    pub key_store: Option<(KeyStoreNumber, String)>,
}

/// All about a draft or request. Secrets are none of it.
#[derive(Debug, Clone)]
pub struct RequestDetails {
    /// The draft or request, with its key store.
    pub listed: ListedRequest,
    /// Its changes, in the order in which they are applied.
    pub changes: Vec<ChangeItem>,
}

fn listed(reader: &mut Reader<'_>, request: ChangeRequest) -> Result<ListedRequest, Refusal> {
    let label = request.key_store.map(|key_store| reader.key_store_label(key_store)).transpose()?.flatten();
    let key_store = match label {
        Some((number, _)) if request.new_key_store => {
            let named = reader.change_items(request.id)?.into_iter().find_map(|item| match item.change {
                ProposedChange::CreateKeyStore { name, .. } => Some(name.to_string()),
                _ => None,
            });
            Some((number, named.unwrap_or_default()))
        }
        other => other.map(|(number, name)| (number, name.to_string())),
    };
    Ok(ListedRequest { request, key_store })
}

fn details(reader: &mut Reader<'_>, request: ChangeRequest) -> Result<RequestDetails, Refusal> {
    let changes = reader.change_items(request.id)?;
    Ok(RequestDetails { listed: listed(reader, request)?, changes })
}

impl Service {
    /// A page of the project's drafts and requests, newest first.
    pub async fn list_requests(&self, request: Request, query: Result<RequestQuery, Refusal>) -> Result<Listed<ListedRequest>, Refusal> {
        self.run(request, Operation::ReadApprovals, Right::Ask, move |service, scope| {
            Box::pin(async move {
                let query = query?;
                let _turn = service.turn_to_list().await?;
                let key_store = match &query.key_store {
                    Some(number) => Some(service.key_store_of_requests(scope.project.id, number).await?),
                    None => None,
                };
                let (project, filter) = (scope.project.id, RequestFilter { state: query.state, key_store });
                let read = service.store().read::<_, Refusal, _>(move |reader| {
                    let page = reader.change_requests(project, &filter, (query.offset, query.limit))?;
                    let entries = page.entries.into_iter().map(|request| listed(reader, request)).collect::<Result<_, _>>()?;
                    Ok(Listed { entries, total: page.total })
                });
                read.await
            })
        })
        .await
    }

    /// The key store of that number, whatever its state: its requests outlive it.
    async fn key_store_of_requests(&self, project: crate::domain::ids::ProjectId, number: &str) -> Result<KeyStoreId, Refusal> {
        let number = KeyStoreNumber::parse(number).ok_or(ResultCode::InvalidKeyStore)?;
        let found = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.key_store_ever(project, number)?)).await?;
        found.ok_or(ResultCode::InvalidKeyStore.into())
    }

    /// All about a draft or request.
    pub async fn read_request(&self, request: Request, id: String) -> Result<RequestDetails, Refusal> {
        self.run(request, Operation::ReadApprovals, Right::Ask, move |service, scope| {
            Box::pin(async move {
                let id = parse_id(&id)?;
                scope.details(format!("request {id}"));
                let project = scope.project.id;
                let read = service.store().read::<_, Refusal, _>(move |reader| {
                    let found = reader.change_request(id)?.filter(|found| found.project == project).ok_or(ResultCode::InvalidApprovalRequest)?;
                    details(reader, found)
                });
                read.await
            })
        })
        .await
    }

    /// All about the open draft or request of a key store, if there is one.
    pub async fn open_request(&self, request: Request, key_store: String) -> Result<Option<RequestDetails>, Refusal> {
        self.run(request, Operation::ReadApprovals, Right::Ask, move |service, scope| {
            Box::pin(async move {
                let id = service.key_store_of_requests(scope.project.id, &key_store).await?;
                let read = service.store().read::<_, Refusal, _>(move |reader| {
                    let Some(open) = reader.open_request_of(id)? else { return Ok(None) };
                    details(reader, open).map(Some)
                });
                read.await
            })
        })
        .await
    }
}
