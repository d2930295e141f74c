//! Registering many clients of a key store at once: all of them, or none.
//!
//! One transaction holds the entries, the change number and one audit record. The record says how many entries there are and the SHA-256
//! of their values, for a request has one record, and 10,000 more would bury what else happened that day: who registered which entry, and
//! when, stays with its row for good. A crash leaves all of it or nothing.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::Service;
use super::approval::Proposal;
use super::client_rules::{RULES_MAX, Wanted};
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use crate::domain::audit::Operation;
use crate::domain::client_checks::Method;
use crate::domain::ids::KeyStoreId;
use crate::domain::key::{Stamp, State};
use crate::domain::key_store::KeyStore;
use crate::domain::result_code::ResultCode;
use crate::domain::text::{Description, Invalid};
use crate::store::{Change, NewClientEntry, StoreError, Tx};

/// The most clients that are registered at once: as many as a key store may have of one method.
pub const REGISTERED_AT_ONCE_MAX: usize = 10_000;

/// A client to be registered, as typed.
#[derive(Debug, Clone)]
pub struct ClientEntry {
    /// The address, block or MAC address.
    pub value: String,
    /// What people say about it.
    pub description: String,
}

/// Why an entry can't be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryProblem {
    /// A field can't be taken.
    Invalid(Invalid),
    /// An entry before it has the same value: its place, from 0.
    Twice(usize),
    /// The key store has an entry with that value.
    There,
}

/// What registering entries would come to.
#[derive(Debug, Clone)]
pub struct CheckedClients {
    /// The key store.
    pub key_store: KeyStore,
    /// For each entry, in their order, why it can't be registered.
    pub problems: Vec<Option<EntryProblem>>,
    /// How many more entries the key store can have.
    pub room: usize,
}

type Parsed = Vec<Result<NewClientEntry, EntryProblem>>;

fn parse(method: Method, entries: Vec<ClientEntry>) -> Result<Parsed, Invalid> {
    if method == Method::Certificate {
        return Err(Invalid::new("method", "must be IPV4 or MAC: certificates are made one by one"));
    }
    if entries.is_empty() || entries.len() > REGISTERED_AT_ONCE_MAX {
        return Err(Invalid::new("entries", format!("must be 1 to {REGISTERED_AT_ONCE_MAX}")));
    }
    let mut first_of: HashMap<String, usize> = HashMap::with_capacity(entries.len());
    let parse_one = |(place, entry): (usize, ClientEntry)| {
        let value = Wanted::parse(method, &entry.value).map_err(EntryProblem::Invalid)?.kept();
        let first = *first_of.entry(value.clone()).or_insert(place);
        if first != place {
            return Err(EntryProblem::Twice(first));
        }
        let description = Description::parse("description", &entry.description).map_err(EntryProblem::Invalid)?;
        Ok(NewClientEntry { value, description })
    };
    Ok(entries.into_iter().enumerate().map(parse_one).collect())
}

/// Binds the audit record to what was registered.
fn digest(entries: &[NewClientEntry]) -> String {
    let mut hash = Sha256::new();
    for entry in entries {
        hash.update(entry.value.as_bytes());
        hash.update(b"\n");
    }
    hex::encode(hash.finalize())
}

impl Service {
    /// Looks whether entries could be registered now, and changes nothing. `number` as the path names it.
    pub async fn check_clients(&self, request: Request, number: String, method: Method, entries: Vec<ClientEntry>) -> Result<CheckedClients, Refusal> {
        self.run(request, Operation::ReadInventory, Right::Prepare, move |service, scope| {
            Box::pin(async move {
                let key_store = service.key_store_numbered(scope, &number).await?;
                let id = key_store.id;
                let parsed = off_the_runtime(move || parse(method, entries)).await??;
                let there = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.client_rule_values(id, method)?)).await?;
                let room = REGISTERED_AT_ONCE_MAX.saturating_sub(there.len());
                let there: HashSet<String> = there.into_iter().collect();
                let problem = |entry: Result<NewClientEntry, EntryProblem>| match entry {
                    Ok(entry) => there.contains(&entry.value).then_some(EntryProblem::There),
                    Err(problem) => Some(problem),
                };
                Ok(CheckedClients { key_store, problems: parsed.into_iter().map(problem).collect(), room })
            })
        })
        .await
    }

    /// Registers clients of a key store, all of them or none; answers how many. `number` as the path names it.
    pub async fn register_clients(&self, request: Request, number: String, method: Method, entries: Vec<ClientEntry>) -> Result<usize, Refusal> {
        self.run(request, Operation::CreateClientRule, Right::Change, move |service, scope| {
            Box::pin(async move {
                let key_store = service.key_store_numbered(scope, &number).await?;
                // One that is to come into being with the draft is none yet.
                if key_store.state != State::Active && !scope.is_asked() {
                    return Err(ResultCode::InvalidKeyStore.into());
                }
                let parsed = off_the_runtime(move || parse(method, entries)).await??;
                let entries: Vec<NewClientEntry> = parsed.into_iter().collect::<Result<_, _>>().map_err(refused)?;
                scope.details(format!("{} {} entries, SHA-256 {}", method.as_str(), entries.len(), digest(&entries)));
                service.unless_asked(scope, || Proposal::of_entries(key_store.id, method, &entries)).await?;
                service.insert_entries(scope, key_store.id, method, entries).await
            })
        })
        .await
    }

    async fn insert_entries(&self, scope: &mut Scope, id: KeyStoreId, method: Method, entries: Vec<NewClientEntry>) -> Result<usize, Refusal> {
        let stamp = scope.stamp(self);
        let (event, uses) = scope.record_of_success(self);
        let count = entries.len();
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                put_entries(tx, id, method, &entries, &stamp)?;
                Ok(tx.audit(event, uses)?)
            })
            .await?;
        scope.committed();
        self.apply(&[Change::KeyStore(id)]);
        Ok(count)
    }
}

/// New IPv4 or MAC entries of a key store in service.
pub(super) fn put_entries(tx: &mut Tx<'_>, id: KeyStoreId, method: Method, entries: &[NewClientEntry], stamp: &Stamp) -> Result<(), Refusal> {
    tx.hold_active_key_store(id)?;
    let there = tx.count_client_rules(id, method)?;
    if there.saturating_add(i64::try_from(entries.len()).unwrap_or(i64::MAX)) > RULES_MAX {
        return Err(Invalid::new("keyStoreName", format!("has {there} entries of that kind, of at most {RULES_MAX}")).into());
    }
    tx.insert_client_entries(id, method, entries, stamp).map_err(taken)?;
    Ok(tx.changed(Change::KeyStore(id))?)
}

fn taken(error: StoreError) -> Refusal {
    match error {
        StoreError::Exists { what } => Refusal::Exists { field: "value", what },
        other => other.into(),
    }
}

fn refused(problem: EntryProblem) -> Refusal {
    match problem {
        EntryProblem::Invalid(invalid) => invalid.into(),
        EntryProblem::Twice(_) | EntryProblem::There => Invalid::new("value", "is given twice").into(),
    }
}

/// Reading 10,000 lines takes milliseconds, which other requests would wait for.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::unavailable("reading entries panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(values: &[&str]) -> Vec<ClientEntry> {
        values.iter().map(|value| ClientEntry { value: (*value).to_owned(), description: String::new() }).collect()
    }

    #[test]
    fn the_same_value_in_another_notation_is_there_twice() {
        let parsed = parse(Method::Mac, entries(&["02:00:00:00:00:01", "02:00:00:00:00:02", "02-00-00-00-00-01"])).expect("as many as may be");
        assert_eq!(parsed.iter().map(|entry| entry.as_ref().err().cloned()).collect::<Vec<_>>(), [None, None, Some(EntryProblem::Twice(0))]);
        let parsed = parse(Method::Ipv4, entries(&["10.0.0.1", "10.0.0.1/32", "10.0.0.0/24"])).expect("as many as may be");
        assert_eq!(parsed.iter().map(|entry| entry.as_ref().err().cloned()).collect::<Vec<_>>(), [None, Some(EntryProblem::Twice(0)), None]);
    }

    #[test]
    fn there_is_a_limit_and_no_certificate_is_made_this_way() {
        assert!(parse(Method::Ipv4, entries(&vec!["10.0.0.1"; REGISTERED_AT_ONCE_MAX + 1])).is_err());
        assert!(parse(Method::Ipv4, Vec::new()).is_err());
        assert!(parse(Method::Certificate, entries(&["a"])).is_err());
    }
}
