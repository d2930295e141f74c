//! The end of client rules: asked for, called off, brought about. The key store's row is held, so that it can't be on its way out; each
//! change, its change number and its audit record are one transaction, which a crash leaves done or not done.

use super::Service;
use super::client_rules::{RuleSelector, Wanted};
use super::notifications::telling::{deleted, deletion_scheduled, rule_subject};
use super::refusal::Refusal;
use super::request::{Request, Right, Scope};
use crate::domain::audit::Operation;
use crate::domain::client_checks::ClientRule;
use crate::domain::clock::Timestamp;
use crate::domain::key::{Stamp, State};
use crate::domain::lifecycle::{Event, deletion_due, next};
use crate::domain::result_code::ResultCode;
use crate::store::{Change, Tx};

impl Service {
    /// Asks for the deletion of an entry: it admits nobody from this moment on, and is gone after seven days. Answers the entry as it is
    /// shown, and when it is due.
    pub async fn request_client_deletion(&self, request: Request, input: Result<RuleSelector, Refusal>) -> Result<(String, Timestamp), Refusal> {
        let due = deletion_due(self.latest_time());
        self.change_rule(request, Operation::RevokeClientRule, Event::DeletionRequested, input, move |tx, rule, stamp| {
            let about = rule_subject(tx, rule)?;
            deletion_scheduled(tx, about, due, stamp)?;
            tx.set_client_rule_state(rule.id, State::Active, State::PendingDeletion, Some(due), stamp)?;
            Ok(due)
        })
        .await
    }

    /// Calls the deletion of an entry off: it admits again. Answers the entry as it is shown, and where its life stands.
    pub async fn restore_client(&self, request: Request, input: Result<RuleSelector, Refusal>) -> Result<(String, State), Refusal> {
        self.change_rule(request, Operation::RestoreClientRule, Event::Restored, input, |tx, rule, stamp| {
            tx.set_client_rule_state(rule.id, State::PendingDeletion, State::Active, None, stamp)?;
            Ok(State::Active)
        })
        .await
    }

    /// Deletes an entry whose deletion is pending, now; a certificate's `.p12` is erased. Answers the entry as it is shown, and the time.
    pub async fn delete_client(&self, request: Request, input: Result<RuleSelector, Refusal>) -> Result<(String, Timestamp), Refusal> {
        self.change_rule(request, Operation::DeleteClientRule, Event::Destroy, input, |tx, rule, stamp| {
            let about = rule_subject(tx, rule)?;
            deleted(tx, about, stamp)?;
            // Nothing of it is in the token, so what is destroyed is gone.
            tx.set_client_rule_state(rule.id, State::PendingDeletion, State::Destroyed, Some(stamp.at), stamp)?;
            Ok(stamp.at)
        })
        .await
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
        let stamp = scope.stamp(self);
        let (record, uses) = scope.record_of_success(self);
        let (method, value, seen) = (selector.method, wanted.kept(), selector.seen);
        let done = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                tx.hold_active_key_store(key_store)?;
                let rule = tx.client_rule_by_value(key_store, method, &value)?.ok_or(ResultCode::InvalidClientRule)?;
                if seen.is_some_and(|seen| seen != rule.changed.at) {
                    return Err(ResultCode::Conflict.into());
                }
                next(rule.state, event).map_err(|_| ResultCode::InvalidClientRuleStatus)?;
                let done = act(tx, &rule, &stamp)?;
                tx.changed(Change::KeyStore(key_store))?;
                tx.audit(record, uses)?;
                Ok(done)
            })
            .await?;
        scope.committed();
        self.apply(&[Change::KeyStore(key_store)]);
        Ok(done)
    }
}
