//! Drafts and requests as people look at them.

use super::parse_id;
use crate::domain::account::{Role, Session};
use crate::domain::approval::{ChangeItem, ChangeRequest, ProposedChange, RequestState};
use crate::domain::audit::Operation;
use crate::domain::client_checks::ChecksPolicy;
use crate::domain::ids::{AccountId, KeyStoreId, KeyStoreNumber, ProjectId};
use crate::domain::key::State;
use crate::domain::key_store::KeyStore;
use crate::domain::listing::Listed;
use crate::domain::result_code::ResultCode;
use crate::domain::text::{Description, Name};
use crate::service::request::{Request, Right};
use crate::service::{Refusal, Service};
use crate::store::{Reader, RequestFilter};

/// The most key stores whose open drafts and requests are told of.
const OPEN_MAX: i64 = 1_000;

/// Which drafts and requests are wanted.
#[derive(Debug, Clone, Default)]
pub struct RequestQuery {
    /// Those in this state.
    pub state: Option<RequestState>,
    /// Those of the key store with this number.
    pub key_store: Option<String>,
    /// Those that somebody has asked for: no drafts.
    pub asked_only: bool,
    /// What must be in the ID, the requester, the note or the key store's name.
    pub search: Option<String>,
    /// The column to sort by: `requester`, `status` or `date`; the newest come first otherwise.
    pub sort: Option<String>,
    /// Whether the last comes first, where they are sorted by a column.
    pub descending: bool,
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
    /// Who put something into its draft, or took something out of it.
    pub editors: Vec<AccountId>,
}

/// A key store's draft or request that something may still come of.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// The draft or request.
    pub listed: ListedRequest,
    /// The key store as it is to come into being with it, where it isn't there yet.
    pub new_key_store: Option<KeyStore>,
}

/// A request with its key store, as lists show it.
pub(super) fn listed(reader: &mut Reader<'_>, request: ChangeRequest) -> Result<ListedRequest, Refusal> {
    let label = request.key_store.map(|key_store| reader.key_store_label(key_store)).transpose()?.flatten();
    let key_store = match label {
        Some((number, _)) if request.new_key_store => {
            let named = proposed_key_store(reader, &request)?.map(|(name, ..)| name.to_string());
            Some((number, named.unwrap_or_default()))
        }
        other => other.map(|(number, name)| (number, name.to_string())),
    };
    Ok(ListedRequest { request, key_store })
}

fn opened(reader: &mut Reader<'_>, request: ChangeRequest) -> Result<OpenRequest, Refusal> {
    let new_key_store = match request.key_store.filter(|_| request.new_key_store) {
        Some(id) => new_key_store(reader, &request, id)?,
        None => None,
    };
    Ok(OpenRequest { listed: listed(reader, request)?, new_key_store })
}

/// What people say about a key store that is to come into being: its request begins with that, and is read no further.
fn proposed_key_store(reader: &mut Reader<'_>, request: &ChangeRequest) -> Result<Option<(Name, Description, ChecksPolicy)>, Refusal> {
    Ok(match reader.first_change(request.id)? {
        Some(ProposedChange::CreateKeyStore { name, description, checks, .. }) => Some((name, description, checks)),
        _ => None,
    })
}

/// A key store as it is to come into being.
pub(super) fn new_key_store(reader: &mut Reader<'_>, request: &ChangeRequest, id: KeyStoreId) -> Result<Option<KeyStore>, Refusal> {
    let named = proposed_key_store(reader, request)?;
    let row = reader.key_store(id)?.filter(|key_store| key_store.state == State::Provisioning);
    Ok(row.zip(named).map(|(key_store, (name, description, checks))| KeyStore { name, description, checks, ..key_store }))
}

fn details(reader: &mut Reader<'_>, request: ChangeRequest) -> Result<RequestDetails, Refusal> {
    let (changes, editors) = (reader.change_items(request.id)?, reader.change_editors(request.id)?);
    Ok(RequestDetails { listed: listed(reader, request)?, changes, editors })
}

impl Service {
    /// A page of the project's drafts and requests.
    pub async fn list_requests(&self, request: Request, query: Result<RequestQuery, Refusal>) -> Result<Listed<ListedRequest>, Refusal> {
        self.run(request, Operation::ReadApprovals, Right::Ask, move |service, scope| {
            Box::pin(async move {
                let query = query?;
                let _turn = service.turn_to_list().await?;
                let key_store = match &query.key_store {
                    Some(number) => Some(service.key_store_of_requests(scope.project.id, number).await?),
                    None => None,
                };
                let RequestQuery { state, asked_only, search, sort, descending, .. } = query;
                let (project, filter) = (scope.project.id, RequestFilter { state, key_store, asked_only, search, sort, descending });
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
    async fn key_store_of_requests(&self, project: ProjectId, number: &str) -> Result<KeyStoreId, Refusal> {
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

    /// The drafts and requests of the project's key stores that something may still come of, the oldest first.
    pub async fn open_requests(&self, request: Request) -> Result<Vec<OpenRequest>, Refusal> {
        self.run(request, Operation::ReadApprovals, Right::Ask, move |service, scope| {
            Box::pin(async move {
                let _turn = service.turn_to_list().await?;
                let project = scope.project.id;
                let read = service.store().read::<_, Refusal, _>(move |reader| {
                    let open = reader.open_requests(project, OPEN_MAX)?;
                    open.into_iter().map(|request| opened(reader, request)).collect::<Result<_, _>>()
                });
                read.await
            })
        })
        .await
    }

    /// How many requests of a project wait for a decision, for the person at the console who decides; for others none.
    pub async fn count_waiting(&self, by: &Session, project: ProjectId) -> Result<i64, Refusal> {
        if !by.roles_in(project).any(Role::may_approve) {
            return Ok(0);
        }
        let now = self.now();
        self.store().read::<_, Refusal, _>(move |reader| Ok(reader.count_waiting(project, now)?)).await
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
