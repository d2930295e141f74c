//! What is told where it happens: each call puts it into the outbox in the transaction of the change itself.

use std::collections::HashMap;

use super::super::Service;
use super::super::client_rules::shown_value;
use super::super::refusal::Refusal;
use crate::domain::caller::Caller;
use crate::domain::client_checks::ClientRule;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyStoreId, KeyVersion, ProjectId};
use crate::domain::key::{Key, Stamp};
use crate::domain::notification::{NotificationEvent, Subject};
use crate::store::{Reader, StoreError, Tx};

/// A lock-out of one login name is told once in this time …
const LOCKOUT_AGAIN: std::time::Duration = std::time::Duration::from_secs(3_600);
/// … and of so many names, by each process: whoever tries many at once must not fill the outbox. Of all others it is told once that there are some.
const LOCKOUTS_MAX: usize = 20;
/// What stands for the names of those others.
const OTHERS: &str = "(others too; for an hour they are not told of)";

/// A key, or a version of it, and the project it is in; none where the key store is gone.
pub(in crate::service) fn key_subject(reader: &mut Reader<'_>, key: &Key, version: Option<KeyVersion>) -> Result<Option<(ProjectId, Subject)>, StoreError> {
    let Some(key_store) = reader.key_store(key.key_store)? else { return Ok(None) };
    let what = if version.is_some() { "key version" } else { "key" };
    let subject = Subject { what, key: Some(key.id), version, name: key.name.to_string(), key_store: Some(key_store.name) };
    Ok(Some((key_store.project, subject)))
}

/// A client entry, and the project it is in; none where the key store is gone.
pub(in crate::service) fn rule_subject(reader: &mut Reader<'_>, rule: &ClientRule) -> Result<Option<(ProjectId, Subject)>, StoreError> {
    let Some((id, _)) = reader.client_rule(rule.id)? else { return Ok(None) };
    let Some(key_store) = reader.key_store(id)? else { return Ok(None) };
    let name = format!("{} {}", rule.value.method().as_str(), shown_value(&rule.value));
    Ok(Some((key_store.project, Subject { what: "client entry", key: None, version: None, name, key_store: Some(key_store.name) })))
}

/// Tells that a deletion was asked for.
pub(in crate::service) fn deletion_scheduled(tx: &mut Tx<'_>, about: Option<(ProjectId, Subject)>, due: Timestamp, stamp: &Stamp) -> Result<(), StoreError> {
    let Some((project, what)) = about else { return Ok(()) };
    tx.notify(Some(project), &NotificationEvent::DeletionScheduled { what, due, by: stamp.user.clone() }, stamp.at)
}

/// Tells that something was deleted.
pub(in crate::service) fn deleted(tx: &mut Tx<'_>, about: Option<(ProjectId, Subject)>, stamp: &Stamp) -> Result<(), StoreError> {
    let Some((project, what)) = about else { return Ok(()) };
    tx.notify(Some(project), &NotificationEvent::Deleted { what, by: stamp.user.clone() }, stamp.at)
}

/// Tells that a key store was deleted.
pub(in crate::service) fn key_store_deleted(tx: &mut Tx<'_>, id: KeyStoreId, stamp: &Stamp) -> Result<(), StoreError> {
    let Some(key_store) = tx.key_store(id)? else { return Ok(()) };
    let what = Subject { what: "key store", key: None, version: None, name: key_store.name.to_string(), key_store: None };
    deleted(tx, Some((key_store.project, what)), stamp)
}

/// Tells that a key has a new current version.
pub(in crate::service) fn rotated(tx: &mut Tx<'_>, key: &Key, version: KeyVersion, stamp: &Stamp) -> Result<(), StoreError> {
    let Some((project, mut what)) = key_subject(tx, key, Some(version))? else { return Ok(()) };
    what.what = "key";
    tx.notify(Some(project), &NotificationEvent::Rotated { what, by: stamp.user.clone() }, stamp.at)
}

/// Which name is to be told now, if any, and notes that it is.
fn next_lockout(told: &mut HashMap<String, Timestamp>, login: String, now: Timestamp) -> Option<String> {
    told.retain(|_, at| now.since(*at) < LOCKOUT_AGAIN);
    if told.contains_key(&login) {
        return None;
    }
    let named = if told.len() < LOCKOUTS_MAX { login } else { OTHERS.to_owned() };
    told.insert(named.clone(), now).is_none().then_some(named)
}

impl Service {
    /// Tells that somebody fails to sign in and has to wait. `login` is one as it may be shown. That it can't be told is no reason to let him in
    /// or to keep anybody waiting.
    pub(in crate::service) async fn tell_of_lockout(&self, login: String, caller: &Caller) {
        let now = self.now();
        let Some(login) = next_lockout(&mut self.outbox().lockouts.lock(), login, now) else { return };
        let event = NotificationEvent::SignInLockedOut { login: login.clone(), address: caller.address.to_string() };
        let kept = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.notify(None, &event, now)?)).await;
        if let Err(refusal) = kept {
            tracing::warn!(?refusal, "a lock-out could not be told");
            self.outbox().lockouts.lock().remove(&login);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_outs_are_told_once_an_hour_and_many_do_not_hide_one() {
        let (mut told, at) = (HashMap::new(), |seconds: i64| Timestamp::from_micros(seconds * 1_000_000));
        let mut next = |login: &str, seconds| next_lockout(&mut told, login.to_owned(), at(seconds));
        assert_eq!(next("alice", 0).as_deref(), Some("alice"));
        assert_eq!(next("alice", 3_599), None);
        assert_eq!(next("alice", 3_600).as_deref(), Some("alice"));
        for number in 1..LOCKOUTS_MAX {
            assert!(next(&format!("made-up-{number}"), 3_600).is_some_and(|login| login != OTHERS));
        }
        assert_eq!(next("bob", 3_601).as_deref(), Some(OTHERS));
        assert_eq!(next("carol", 3_602), None);
        assert_eq!(next("bob", 7_300).as_deref(), Some("bob"));
    }
}
