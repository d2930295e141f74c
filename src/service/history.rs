//! **Usage History**: who used which key, from where, and how it ended; and the audit log of the installation for its administrators.
//!
//! Looking is recorded like any reading, but once: a page that is turned, or a filter that is looked at again within
//! [`LOOK_RECORDED_EVERY`] by the same session, leaves no further record, or the log would be drowned by those who read it. What decides
//! is what was looked at, never the page's number, so nobody looks unrecorded by beginning in the middle.

mod download;
mod looks;

pub(super) use download::Downloads;
pub use download::{DOWNLOAD_RECORDS_MAX, HistoryDownload};
pub(super) use looks::Looks;

use std::future::Future;

use sha2::{Digest as _, Sha256};

use super::Service;
use super::own_account::Visit;
use super::refusal::Refusal;
use super::request::{Credentials, Request, Right, event_without_project};
use crate::domain::account::SecretHash;
use crate::domain::audit::{Actor, DETAIL_MAX_CHARS, Operation, Uses};
use crate::domain::clock::Timestamp;
use crate::domain::history::{Found, HistoryFilter, HistoryPlace, HistoryScope, Seek, WantedKey, WantedKeyStore};
use crate::domain::ids::{KeyStoreNumber, ProjectId};
use crate::domain::result_code::ResultCode;
use crate::domain::text::{Invalid, Name};
pub use crate::store::{HistoryEntry, LogState};
use crate::store::{HistoryWanted, Purpose, Reader, StretchEnd};
use looks::Look;

/// The most keys that are looked for by one name: each is looked for by itself.
const KEYS_OF_A_NAME_MAX: usize = 20;
/// The most key stores that are offered to choose from.
const KEY_STORES_OFFERED: i64 = 200;

/// A page of the history.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The records, newest first.
    pub entries: Vec<HistoryEntry>,
    /// From where the records before these are read, if there are any.
    pub newer: Option<HistoryPlace>,
    /// From where the records after these are read, if there may be any.
    pub older: Option<HistoryPlace>,
    /// How far was searched, where the search stopped before its end.
    pub searched_to: Option<Timestamp>,
    /// How many records pass the filter.
    pub found: Found,
    /// The project's key stores, to choose from.
    pub key_stores: Vec<(KeyStoreNumber, Name)>,
}

/// The audit log as administrators see it.
#[derive(Debug, Clone)]
pub struct AuditLogPage {
    /// The records.
    pub page: HistoryPage,
    /// How the log stands.
    pub state: LogState,
    /// The SHA-256 of the DER of the public key (SPKI) that verifies its checkpoints, hex.
    pub fingerprint: Option<String>,
}

/// What was looked at, as a record of it says; that takes no more than its beginning.
fn told(filter: &HistoryFilter) -> String {
    let told = serde_urlencoded::to_string(filter.told()).unwrap_or_default();
    if told.is_empty() { "all".to_owned() } else { told }
}

/// What is to be searched for, with names looked up.
fn resolve(reader: &mut Reader<'_>, scope: HistoryScope, filter: &HistoryFilter) -> Result<HistoryWanted, Refusal> {
    let mut wanted = HistoryWanted::all(scope);
    wanted.keys = match &filter.key {
        None => None,
        Some(WantedKey::Id(key)) => Some(vec![*key]),
        Some(WantedKey::Name(name)) => {
            let limit = i64::try_from(KEYS_OF_A_NAME_MAX + 1).unwrap_or(i64::MAX);
            let keys = reader.keys_named(scope.project(), name, limit)?;
            match keys.len() {
                0 => return Err(Invalid::new("key", "is neither the ID nor the name of a key, now or earlier").into()),
                many if many > KEYS_OF_A_NAME_MAX => {
                    return Err(Invalid::new("key", format!("is the name of more than {KEYS_OF_A_NAME_MAX} keys: give an ID")).into());
                }
                _ => Some(keys),
            }
        }
    };
    wanted.key_store = match (&filter.key_store, scope.project()) {
        (None, _) => None,
        (Some(_), None) => return Err(Invalid::new("keyStore", "has a number in its project: choose a project too").into()),
        (Some(WantedKeyStore::Number(number)), Some(_)) => Some(*number),
        (Some(WantedKeyStore::Name(name)), Some(project)) => {
            let newest = reader.key_stores_named(project, name, 1)?.pop();
            Some(newest.ok_or_else(|| Invalid::new("keyStore", "is neither the ID nor the name of a key store, now or earlier"))?)
        }
    };
    (wanted.from, wanted.before, wanted.operation, wanted.outcome) = (filter.from, filter.before, filter.operation, filter.outcome);
    wanted.who.clone_from(&filter.who);
    wanted.address = filter.address.map(|address| address.to_string());
    Ok(wanted)
}

/// The page from a place on, with the ways on from it.
fn page(reader: &mut Reader<'_>, wanted: &HistoryWanted, seek: Seek, size: usize) -> Result<HistoryPage, Refusal> {
    let mut seek = seek;
    let mut stretch = reader.history(wanted, seek, size)?;
    if matches!(seek, Seek::Newer(_)) && stretch.end == StretchEnd::Nothing {
        // So near the newest that the page would be a short one.
        seek = Seek::Newest;
        stretch = reader.history(wanted, seek, size)?;
    }
    let (first, last) = (stretch.entries.first().map(|entry| entry.place), stretch.entries.last().map(|entry| entry.place));
    let on = |nearest: Option<HistoryPlace>| match stretch.end {
        StretchEnd::Nothing => None,
        StretchEnd::More => nearest,
        StretchEnd::Searched(place) => Some(place),
    };
    // Where nothing was found, the way back leads to what was seen before, the place itself included.
    let (newer, older) = match seek {
        Seek::Newest => (None, on(last)),
        Seek::Older(from) => (first.or(Some(HistoryPlace { position: from.position.saturating_sub(1), ..from })), on(last)),
        Seek::Newer(from) => (on(first), last.or(Some(HistoryPlace { position: from.position.saturating_add(1), ..from }))),
    };
    let found = match (seek, stretch.end) {
        (Seek::Newest, StretchEnd::Nothing) => Found::Exactly(stretch.entries.len()),
        (Seek::Newest, StretchEnd::Searched(_)) => Found::AtLeast(stretch.entries.len()),
        _ => reader.history_count(wanted)?,
    };
    let searched_to = match stretch.end {
        StretchEnd::Searched(place) => Some(place.at),
        StretchEnd::Nothing | StretchEnd::More => None,
    };
    let key_stores = match wanted.scope.project() {
        Some(project) => offered(reader, project)?,
        None => Vec::new(),
    };
    Ok(HistoryPage { entries: stretch.entries, newer, older, searched_to, found, key_stores })
}

fn offered(reader: &mut Reader<'_>, project: ProjectId) -> Result<Vec<(KeyStoreNumber, Name)>, Refusal> {
    let key_stores = reader.key_stores_of(project, None, KEY_STORES_OFFERED)?;
    Ok(key_stores.into_iter().map(|key_store| (key_store.number, key_store.name)).collect())
}

/// Whose session asks; nobody's by other credentials, which don't read the history.
fn session_of(request: &Request) -> SecretHash {
    match &request.credentials {
        Credentials::Session(token) => SecretHash::of(token.expose()),
        Credentials::Appkey | Credentials::AccessKey { .. } | Credentials::Bearer(_) | Credentials::Missing => SecretHash([0; 32]),
    }
}

impl Service {
    /// A page of a project's history, for whoever may see the project's inventory at the console; `size` records at most.
    pub async fn read_history(&self, request: Request, filter: HistoryFilter, seek: Seek, size: usize) -> Result<HistoryPage, Refusal> {
        self.look_at_project(request, told(&filter), move |service, scope| async move {
            let _turn = service.turn_to_list().await?;
            let read = service.store().read(move |reader| {
                let wanted = resolve(reader, scope, &filter)?;
                page(reader, &wanted, seek, size)
            });
            read.await
        })
        .await
    }

    /// One record of a project's history. One of another project is none of it.
    pub async fn read_history_entry(&self, request: Request, place: HistoryPlace) -> Result<HistoryEntry, Refusal> {
        self.look_at_project(request, "single records".to_owned(), move |service, scope| async move {
            let found = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.history_entry(place)?)).await?;
            Ok(found.filter(|entry| entry.record.event.project == scope.project()).ok_or(ResultCode::UrlNotFound)?)
        })
        .await
    }

    /// Looks at a project's history, and records it unless the session looked at the same a little while ago.
    async fn look_at_project<T, F, A>(&self, request: Request, detail: String, act: A) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
        A: FnOnce(Self, HistoryScope) -> F + Send + 'static,
    {
        let session = session_of(&request);
        let (look, seen) = self
            .run(request, Operation::ReadHistory, Right::Read, move |service, scope| {
                Box::pin(async move {
                    let of = HistoryScope::Project(scope.project.id);
                    let look = Look::new(session, of, &detail);
                    scope.details(detail);
                    let seen = act(service.clone(), of).await?;
                    if service.looks().is_known(look, service.now()) {
                        scope.committed();
                    }
                    Ok((look, seen))
                })
            })
            .await?;
        // Only now is the record durable.
        self.looks().note(look, self.now());
        Ok(seen)
    }

    /// A page of the audit log for an administrator of the installation; `size` records at most.
    pub async fn read_audit_log(&self, visit: &Visit, scope: HistoryScope, filter: HistoryFilter, seek: Seek, size: usize) -> Result<AuditLogPage, Refusal> {
        let service = self.clone();
        self.look_as_administrator(visit, scope, Operation::ReadHistory, told(&filter), async move {
            let _turn = service.turn_to_list().await?;
            let read = service.store().read::<_, Refusal, _>(move |reader| {
                let wanted = resolve(reader, scope, &filter)?;
                let page = page(reader, &wanted, seek, size)?;
                let signer = reader.internal_key(Purpose::AuditCheckpoint)?.and_then(|key| key.public_key);
                let fingerprint = signer.map(|spki| hex::encode(Sha256::digest(&spki)));
                Ok(AuditLogPage { page, state: reader.log_state()?, fingerprint })
            });
            read.await
        })
        .await
    }

    /// One record of the audit log, for an administrator of the installation.
    pub async fn read_audit_entry(&self, visit: &Visit, place: HistoryPlace) -> Result<HistoryEntry, Refusal> {
        let service = self.clone();
        self.look_as_administrator(visit, HistoryScope::Everything, Operation::ReadHistory, "single records".to_owned(), async move {
            let found = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.history_entry(place)?)).await?;
            Ok(found.ok_or(ResultCode::UrlNotFound)?)
        })
        .await
    }

    /// Whether there is the project that is looked at: what is in the log of a project that is made later must not be older than that.
    async fn is_there(&self, scope: HistoryScope) -> Result<bool, Refusal> {
        let Some(project) = scope.project() else { return Ok(true) };
        self.store().read::<_, Refusal, _>(move |reader| Ok(reader.project(project)?.is_some())).await
    }

    /// Looks at the audit log in the name of somebody who administers the installation. His look is recorded in the project that he looks at.
    async fn look_as_administrator<T>(
        &self,
        visit: &Visit,
        scope: HistoryScope,
        operation: Operation,
        detail: String,
        act: impl Future<Output = Result<T, Refusal>> + Send,
    ) -> Result<T, Refusal> {
        self.require_freshness()?;
        let session = &visit.session;
        let look = Look::new(session.token, scope, &detail);
        let mut event = event_without_project(self, visit.id, &visit.caller, Actor::Account(session.login.clone()), operation);
        let detail = if scope == HistoryScope::NoProject { format!("of no project: {detail}") } else { detail };
        event.detail = Some(detail.chars().take(DETAIL_MAX_CHARS).collect());
        let may = session.administrator && !session.must_change_password && !session.awaits_code;
        let seen = match self.is_there(scope).await? {
            _ if !may => Err(ResultCode::Forbidden.into()),
            false => Err(Invalid::new("project", "is none that there is").into()),
            true => {
                event.project = scope.project();
                act.await
            }
        };
        if seen.is_ok() && operation == Operation::ReadHistory && self.looks().is_known(look, self.now()) {
            return seen;
        }
        event.result_code = seen.as_ref().err().map_or(0, |refusal| refusal.code().number());
        self.store().audit(event, Uses::default()).await?;
        if seen.is_ok() {
            self.looks().note(look, self.now());
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::Outcome;

    #[test]
    fn looks_differ_by_what_a_record_has_no_room_for_and_records_by_all_that_is_short() {
        let name = |first: char| Name::parse("name", &format!("{first}{}", "漢".repeat(99))).expect("a name");
        let filter = |first, outcome| HistoryFilter {
            key: Some(WantedKey::Name(name(first))),
            key_store: Some(WantedKeyStore::Name(name('a'))),
            outcome: Some(outcome),
            ..HistoryFilter::default()
        };
        let [one, other] = ['a', 'b'].map(|first| told(&filter(first, Outcome::Success)));
        assert!(one.chars().count() > DETAIL_MAX_CHARS && one != other);
        let look = |detail: &str| Look::new(SecretHash([1; 32]), HistoryScope::Everything, detail);
        assert_ne!(look(&one), look(&other));
        let begin = |outcome| told(&filter('a', outcome)).chars().take(DETAIL_MAX_CHARS).collect::<String>();
        assert_ne!(begin(Outcome::Success), begin(Outcome::Failed));
    }
}
