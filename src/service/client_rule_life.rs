//! The end of client rules: asked for, called off, brought about. The key store's row is held, so that it can't be on its way out; each
//! change, its change number and its audit record are one transaction, which a crash leaves done or not done.

use super::Service;
use super::approval::Proposal;
use super::client_rules::{RuleSelector, Wanted};
use super::notifications::telling::{deleted, deletion_scheduled, rule_subject};
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use crate::domain::approval::ProposedChange;
use crate::domain::audit::Operation;
use crate::domain::client_checks::{ClientRule, Method};
use crate::domain::clock::Timestamp;
use crate::domain::ids::KeyStoreId;
use crate::domain::key::{Stamp, State};
use crate::domain::lifecycle::{Event, deletion_due, next};
use crate::domain::result_code::ResultCode;
use crate::store::{Change, Tx};

impl Service {
    /// Asks for the deletion of an entry: it admits nobody from this moment on, and is gone after seven days. Answers the entry as it is
    /// shown, and when it is due.
    pub async fn request_client_deletion(&self, request: Request, input: Result<RuleSelector, Refusal>) -> Result<(String, Timestamp), Refusal> {
        let due = deletion_due(self.latest_time());
        let act = move |tx: &mut Tx<'_>, rule: &ClientRule, stamp: &Stamp| request_deletion(tx, rule, due, stamp);
        self.change_rule(request, Operation::RevokeClientRule, Event::DeletionRequested, input, act).await
    }

    /// Calls the deletion of an entry off: it admits again. Answers the entry as it is shown, and where its life stands.
    pub async fn restore_client(&self, request: Request, input: Result<RuleSelector, Refusal>) -> Result<(String, State), Refusal> {
        self.change_rule(request, Operation::RestoreClientRule, Event::Restored, input, restore).await
    }

    /// Deletes an entry whose deletion is pending, now; a certificate's `.p12` is erased. Answers the entry as it is shown, and the time.
    pub async fn delete_client(&self, request: Request, input: Result<RuleSelector, Refusal>) -> Result<(String, Timestamp), Refusal> {
        self.change_rule(request, Operation::DeleteClientRule, Event::Destroy, input, delete).await
    }

    async fn change_rule<T, F>(
        &self,
        request: Request,
        operation: Operation,
        event: Event,
        input: Result<RuleSelector, Refusal>,
        act: F,
    ) -> Result<(String, T), Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, &ClientRule, &Stamp) -> Result<T, Refusal> + Send + 'static,
    {
        self.run(request, operation, Right::Change, move |service, scope| {
            Box::pin(async move {
                let input = input?;
                let wanted = Wanted::parse(input.method, &input.value)?;
                scope.details(format!("{} {}", input.method.as_str(), wanted.shown()));
                let done = service.change_held_rule(scope, &input, &wanted, event, act).await?;
                Ok((wanted.shown(), done))
            })
        })
        .await
    }

    async fn change_held_rule<T, F>(&self, scope: &mut Scope, selector: &RuleSelector, wanted: &Wanted, event: Event, act: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, &ClientRule, &Stamp) -> Result<T, Refusal> + Send + 'static,
    {
        let key_store = self.key_store_meant(scope, &selector.key_store).await?.key_store.id;
        let (method, value, seen) = (selector.method, wanted.kept(), selector.seen);
        self.unless_asked(scope, || Proposal::of(key_store, proposed(event, method, value.clone())).seen(seen)).await?;
        let stamp = scope.stamp(self);
        let (record, uses) = scope.record_of_success(self);
        let done = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let done = on_held_rule(tx, key_store, (method, &value, seen), event, &stamp, act)?;
                tx.audit(record, uses)?;
                Ok(done)
            })
            .await?;
        scope.committed();
        self.apply(&[Change::KeyStore(key_store)]);
        Ok(done)
    }
}

fn proposed(event: Event, method: Method, value: String) -> ProposedChange {
    match event {
        Event::Restored => ProposedChange::RestoreClient { method, value },
        Event::Destroy => ProposedChange::DeleteClient { method, value },
        // The other events are not asked for by anybody.
        _ => ProposedChange::RequestClientDeletion { method, value },
    }
}

/// Lets `event` happen to an entry by `act`, which is given it while its key store's row is held.
pub(super) fn on_held_rule<T>(
    tx: &mut Tx<'_>,
    key_store: KeyStoreId,
    (method, value, seen): (Method, &str, Option<Timestamp>),
    event: Event,
    stamp: &Stamp,
    act: impl FnOnce(&mut Tx<'_>, &ClientRule, &Stamp) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    tx.hold_active_key_store(key_store)?;
    let rule = tx.client_rule_by_value(key_store, method, value)?.ok_or(ResultCode::InvalidClientRule)?;
    if seen.is_some_and(|seen| seen != rule.changed.at) {
        return Err(ResultCode::Conflict.into());
    }
    next(rule.state, event).map_err(|_| ResultCode::InvalidClientRuleStatus)?;
    let done = act(tx, &rule, stamp)?;
    tx.changed(Change::KeyStore(key_store))?;
    Ok(done)
}

/// Schedules a held entry to be deleted; answers when.
pub(super) fn request_deletion(tx: &mut Tx<'_>, rule: &ClientRule, due: Timestamp, stamp: &Stamp) -> Result<Timestamp, Refusal> {
    let about = rule_subject(tx, rule)?;
    deletion_scheduled(tx, about, due, stamp)?;
    tx.set_client_rule_state(rule.id, State::Active, State::PendingDeletion, Some(due), stamp)?;
    Ok(due)
}

/// Calls the deletion of a held entry off; answers where its life stands.
pub(super) fn restore(tx: &mut Tx<'_>, rule: &ClientRule, stamp: &Stamp) -> Result<State, Refusal> {
    tx.set_client_rule_state(rule.id, State::PendingDeletion, State::Active, None, stamp)?;
    Ok(State::Active)
}

/// Deletes a held entry; answers when that was. Nothing of it is in the token, so what is destroyed is gone.
pub(super) fn delete(tx: &mut Tx<'_>, rule: &ClientRule, stamp: &Stamp) -> Result<Timestamp, Refusal> {
    let about = rule_subject(tx, rule)?;
    deleted(tx, about, stamp)?;
    tx.set_client_rule_state(rule.id, State::PendingDeletion, State::Destroyed, Some(stamp.at), stamp)?;
    Ok(stamp.at)
}
