//! Access keys of accounts.

use super::{AccountRef, Administrator, LIST_PAGE, parse_login, random_name, require_no_accomplice};
use crate::domain::account::{ACCESS_KEYS_MAX, AccessKeyId, AccessKeySummary, SecretHash, TokenLife};
use crate::domain::audit::Operation;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::tokens::random_secret;
use crate::service::{Refusal, Service};
use crate::store::{Change, StoreError, TOO_MANY_ACCESS_KEYS};

/// How many times expired tokens of an access key that is to go are forgotten before it, so that few are left to go with it.
const FORGET_ROUNDS_MAX: usize = 400;

/// An access key with its secret, which is shown once.
#[derive(Debug, Clone)]
pub struct NewAccessKey {
    /// The User Access Key ID.
    pub id: AccessKeyId,
    /// The Secret Access Key.
    pub secret: SecretText,
}

/// An access key that nobody has yet.
pub(in crate::service) fn fresh_access_key() -> Result<NewAccessKey, Refusal> {
    let id = AccessKeyId::parse(&random_name()?).ok_or_else(|| Refusal::unavailable("an access key could not be made"))?;
    Ok(NewAccessKey { id, secret: random_secret()? })
}

fn unknown() -> Invalid {
    Invalid::new("id", "names no access key")
}

fn parse_id(id: &str) -> Result<AccessKeyId, Invalid> {
    AccessKeyId::parse(id).ok_or_else(unknown)
}

/// An access key that isn't there is told by its field.
fn known(outcome: Result<(), StoreError>) -> Result<(), Refusal> {
    outcome.map_err(|error| match error {
        StoreError::Stale { .. } => unknown().into(),
        other => other.into(),
    })
}

impl Service {
    /// Makes an access key for an account, unless that asks or approves in a project with approval on: its owner makes them himself. The
    /// secret is kept as a hash only.
    pub async fn create_access_key(&self, by: impl Into<Administrator>, login: &str, life: Result<TokenLife, Invalid>) -> Result<NewAccessKey, Refusal> {
        let NewAccessKey { id, secret } = fresh_access_key()?;
        let (row, hash) = (id.clone(), SecretHash::of(secret.expose()));
        let parsed = parse_login(login).and_then(|login| Ok((login, life?)));
        let prepared = parsed.map(|(login, life)| (format!("{id} for {login}"), (login, life))).map_err(Refusal::from);
        self.administer(by.into(), Operation::CreateAccessKey, prepared, move |tx, (login, life), act| {
            let (account, _) = AccountRef::from(login.as_str()).hold(tx)?;
            require_no_accomplice(tx, account)?;
            tx.insert_access_key(&row, (account, act.standing.account()), hash, life, &act.stamp).map_err(|error| match error {
                StoreError::Stale { what: TOO_MANY_ACCESS_KEYS } => {
                    Invalid::new("login", format!("names an account with {ACCESS_KEYS_MAX} access keys: delete one first")).into()
                }
                other => Refusal::from(other),
            })?;
            act.changes.push(Change::AccessKey(row));
            Ok(())
        })
        .await?;
        Ok(NewAccessKey { id, secret })
    }

    /// Enables or disables an access key; one of an account that asks or approves in a project with approval on its owner enables himself. Disabled,
    /// it may do nothing, and its tokens have ended for good, as has that it may approve.
    pub async fn set_access_key_enabled(&self, by: impl Into<Administrator>, id: &str, enabled: bool) -> Result<(), Refusal> {
        let told = if enabled { "enabled" } else { "disabled" };
        let prepared = parse_id(id).map(|id| (format!("{id} {told}"), id)).map_err(Refusal::from);
        self.administer(by.into(), Operation::ChangeAccessKey, prepared, move |tx, id, act| {
            let account = tx.owner_of_access_key(&id)?.ok_or_else(unknown)?;
            tx.hold_account(account)?;
            // Its owner may have disabled it because somebody else knows its secret: he enables it himself.
            if enabled {
                require_no_accomplice(tx, account)?;
            }
            known(tx.set_access_key_enabled(&id, enabled, &act.stamp))?;
            // More than the access key: tokens that have ended must not be remembered when it is enabled again.
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Sets how long tokens that an access key gets from now on live.
    pub async fn set_token_life(&self, by: impl Into<Administrator>, id: &str, life: Result<TokenLife, Invalid>) -> Result<(), Refusal> {
        let parsed = parse_id(id).and_then(|id| Ok((id, life?)));
        let prepared = parsed.map(|(id, life)| (format!("{id} token life {} s", life.seconds()), (id, life))).map_err(Refusal::from);
        self.administer(by.into(), Operation::ChangeAccessKey, prepared, move |tx, (id, life), act| {
            known(tx.set_token_life(&id, life, &act.stamp))?;
            act.changes.push(Change::AccessKey(id));
            Ok(())
        })
        .await
    }

    /// Sets whether an access key approves in its account's name.
    pub async fn set_may_approve(&self, by: impl Into<Administrator>, id: &str, allowed: bool) -> Result<(), Refusal> {
        let told = if allowed { "may approve" } else { "may not approve" };
        let prepared = parse_id(id).map(|id| (format!("{id} {told}"), id)).map_err(Refusal::from);
        self.administer(by.into(), Operation::SetMayApprove, prepared, move |tx, id, act| {
            let account = tx.owner_of_access_key(&id)?.ok_or_else(unknown)?;
            tx.hold_account(account)?;
            // Taken away it can be at any time.
            if allowed {
                require_no_accomplice(tx, account)?;
            }
            known(tx.set_may_approve(&id, allowed, &act.stamp))?;
            act.changes.push(Change::AccessKey(id));
            Ok(())
        })
        .await
    }

    /// Takes an access key away for good, and with it its tokens. Who may is asked before any work is made, and once more with the change.
    pub async fn delete_access_key(&self, by: impl Into<Administrator>, id: &str) -> Result<(), Refusal> {
        let (by, parsed) = (by.into(), parse_id(id));
        if let (Ok(id), true) = (&parsed, by.seems_administrator()) {
            self.forget_expired_tokens_of(id).await?;
        }
        let prepared = parsed.map(|id| (id.to_string(), id)).map_err(Refusal::from);
        self.administer(by, Operation::DeleteAccessKey, prepared, move |tx, id, act| {
            known(tx.delete_access_key(&id))?;
            act.changes.push(Change::AccessKey(id));
            Ok(())
        })
        .await
    }

    /// A page of access keys, at most [`LIST_PAGE`], of one account or of all.
    pub async fn list_access_keys(
        &self,
        by: impl Into<Administrator>,
        login: Option<&str>,
        after: Option<AccessKeyId>,
    ) -> Result<Vec<AccessKeySummary>, Refusal> {
        let prepared = match login.map(parse_login).transpose() {
            Ok(Some(login)) => Ok((format!("access keys of {login}"), Some(login))),
            Ok(None) => Ok(("access keys".to_owned(), None)),
            Err(invalid) => Err(invalid.into()),
        };
        self.look(by.into(), prepared, after.is_none(), move |reader, login| {
            let of = login.map(|login| AccountRef::from(login.as_str()).find(reader)).transpose()?.map(|(account, _)| account);
            Ok(reader.access_keys(of, after.as_ref(), LIST_PAGE)?)
        })
        .await
    }

    /// A few at a time, since everybody's changes wait meanwhile. They are worth nothing any more: a crash in between is no loss.
    pub(in crate::service) async fn forget_expired_tokens_of(&self, id: &AccessKeyId) -> Result<(), Refusal> {
        for _ in 0..FORGET_ROUNDS_MAX {
            let (id, now) = (id.clone(), self.now());
            if self.store().change::<_, Refusal, _>(move |tx| Ok(tx.forget_expired_tokens_of(&id, now)?)).await? == 0 {
                break;
            }
        }
        Ok(())
    }
}
