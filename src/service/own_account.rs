//! What somebody who is signed in does to his own account: password, sessions.

use std::sync::Arc;

use super::Service;
use super::administration::accounts::{check_password, hash_password};
use super::patience::Blamed;
use super::refusal::Refusal;
use super::request::event_without_project;
use super::sign_in::password_matches;
use super::to_the_end::ToTheEnd;
use crate::domain::account::{SecretHash, Session};
use crate::domain::audit::{Actor, Operation, Uses};
use crate::domain::caller::Caller;
use crate::domain::ids::RequestId;
use crate::domain::key::Stamp;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::store::{Change, Tx};

/// A request of somebody who is signed in, about himself.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The request's name.
    pub id: RequestId,
    /// From where, with what.
    pub caller: Caller,
    /// Who.
    pub session: Arc<Session>,
}

/// What is done to the account, and how its record tells it.
pub(super) struct Own {
    pub(super) operation: Operation,
    pub(super) detail: String,
    pub(super) uses: Uses,
    /// Whether it may be done although the first password is to be changed.
    pub(super) before_password: bool,
}

impl Own {
    pub(super) fn new(operation: Operation, detail: impl Into<String>) -> Self {
        Self { operation, detail: detail.into(), uses: Uses::default(), before_password: false }
    }
}

impl Service {
    /// Changes something of one's own account, in one transaction with its record, if the session is good in that very transaction. A refusal is
    /// recorded by itself. Runs to its end even if the caller hangs up.
    pub(super) async fn change_own<T, F>(&self, visit: &Visit, own: Own, act: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, &Stamp, &mut Vec<Change>) -> Result<T, Refusal> + Send + 'static,
    {
        let (service, visit) = (self.clone(), visit.clone());
        ToTheEnd::new(self.tasks().track_future(async move { service.change_own_account(visit, own, act).await })).await
    }

    async fn change_own_account<T, F>(&self, visit: Visit, own: Own, act: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, &Stamp, &mut Vec<Change>) -> Result<T, Refusal> + Send + 'static,
    {
        self.require_freshness()?;
        let mut event = event_without_project(self, visit.id, &visit.caller, Actor::Account(visit.session.login.clone()), own.operation);
        event.detail = Some(own.detail);
        let (mut refused, now, token) = (event.clone(), self.now(), visit.session.token);
        let stamp = Stamp { user: visit.session.login.clone(), at: now };
        let (uses, before_password) = (own.uses, own.before_password);
        let done = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let session = tx.session(token)?.filter(|session| session.is_live(now) && !session.awaits_code).ok_or(ResultCode::Unauthorized)?;
                if session.must_change_password && !before_password {
                    return Err(ResultCode::Forbidden.into());
                }
                let mut changes = Vec::new();
                let answer = act(tx, &stamp, &mut changes)?;
                for change in &changes {
                    tx.changed(change.clone())?;
                }
                tx.audit(event, uses)?;
                Ok((answer, changes))
            })
            .await;
        match done {
            Ok((answer, changes)) => {
                self.apply(&changes);
                Ok(answer)
            }
            Err(refusal) => {
                refused.result_code = refusal.code().number();
                self.store().audit(refused, Uses::default()).await?;
                Err(refusal)
            }
        }
    }

    /// Whether that is the password of whoever is signed in, as it is kept now: asked before what a stolen session must not do. Failures are
    /// recorded, and slow him down.
    pub(super) async fn confirm_password(&self, visit: &Visit, operation: Operation, field: &'static str, password: SecretText) -> Result<String, Refusal> {
        let blamed = [Blamed::Account(visit.session.account)];
        self.patience().begin(&blamed).map_err(Refusal::TooMany)?;
        let login = visit.session.login.clone();
        let kept = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.sign_in(&login)?)).await?.ok_or(ResultCode::Unauthorized)?;
        if password_matches(&kept.password_hash, password).await? {
            self.patience().forgive(&blamed);
            return Ok(kept.password_hash);
        }
        let mut event = event_without_project(self, visit.id, &visit.caller, Actor::Account(visit.session.login.clone()), operation);
        event.result_code = ResultCode::Unauthorized.number();
        event.detail = Some("wrong password".to_owned());
        self.store().audit(event, Uses::default()).await?;
        Err(Invalid::new(field, "is not your password").into())
    }

    /// Gives whoever is signed in another password. His other sessions end with that.
    pub async fn change_own_password(&self, visit: &Visit, current: SecretText, password: SecretText) -> Result<(), Refusal> {
        check_password(&password)?;
        let old = self.confirm_password(visit, Operation::ChangeAccount, "current", current.clone()).await?;
        if current == password {
            return Err(Invalid::new("password", "must differ from the one until now").into());
        }
        let hashed = tokio::task::spawn_blocking(move || hash_password(&password)).await;
        let new = hashed.map_err(|_| Refusal::unavailable("hashing a password panicked"))??;
        let (account, token) = (visit.session.account, visit.session.token);
        let own = Own { before_password: true, ..Own::new(Operation::ChangeAccount, "own password") };
        self.change_own(visit, own, move |tx, stamp, changes| {
            tx.replace_password(account, (&old, &new), token, stamp)?;
            changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Ends all sessions of an account but the one that asks.
    pub async fn end_other_sessions(&self, visit: &Visit) -> Result<(), Refusal> {
        let (account, token) = (visit.session.account, visit.session.token);
        self.change_own(visit, Own::new(Operation::SignOut, "all other sessions"), move |tx, _, changes| {
            tx.end_sessions_of(account, Some(token))?;
            changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// The sessions of whoever is signed in, by the name that pages have for them.
    pub async fn own_session(&self, visit: &Visit, name: &str) -> Result<Session, Refusal> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(name, &mut bytes).map_err(|_| ResultCode::UrlNotFound)?;
        let wanted = SecretHash(bytes);
        Ok(self.sessions_of(&visit.session).await?.into_iter().find(|session| session.token == wanted).ok_or(ResultCode::UrlNotFound)?)
    }
}
