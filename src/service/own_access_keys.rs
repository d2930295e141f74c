//! Access keys of whoever is signed in: **API Security Settings**.

use super::Service;
use super::administration::{NewAccessKey, fresh_access_key};
use super::own_account::{Own, Visit};
use super::refusal::Refusal;
use crate::domain::account::{ACCESS_KEYS_MAX, AccessKeyId, AccessKeySummary, SecretHash, TokenLife};
use crate::domain::audit::Operation;
use crate::domain::ids::AccountId;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::store::{Change, StoreError, TOO_MANY_ACCESS_KEYS, Tx};

/// More than an account can have.
const LIST_MAX: i64 = 100;

fn parse(id: &str) -> Result<AccessKeyId, Refusal> {
    Ok(AccessKeyId::parse(id).ok_or(ResultCode::UrlNotFound)?)
}

/// Somebody else's is as one that isn't there.
fn require_own(tx: &mut Tx<'_>, id: &AccessKeyId, account: AccountId) -> Result<(), Refusal> {
    match tx.access_key(id)? {
        Some(access_key) if access_key.account == account => Ok(()),
        Some(_) | None => Err(ResultCode::UrlNotFound.into()),
    }
}

impl Service {
    /// The access keys of whoever is signed in.
    pub async fn own_access_keys(&self, visit: &Visit) -> Result<Vec<AccessKeySummary>, Refusal> {
        let account = visit.session.account;
        self.store().read::<_, Refusal, _>(move |reader| Ok(reader.access_keys(Some(account), None, LIST_MAX)?)).await
    }

    /// One of them.
    pub async fn own_access_key(&self, visit: &Visit, id: &str) -> Result<AccessKeySummary, Refusal> {
        let wanted = parse(id)?;
        Ok(self.own_access_keys(visit).await?.into_iter().find(|access_key| access_key.id == wanted).ok_or(ResultCode::UrlNotFound)?)
    }

    /// Makes an access key for whoever is signed in; the secret is kept as a hash only.
    pub async fn create_own_access_key(&self, visit: &Visit, life: Result<TokenLife, Invalid>) -> Result<NewAccessKey, Refusal> {
        let (life, made) = (life?, fresh_access_key()?);
        let (id, hash, account) = (made.id.clone(), SecretHash::of(made.secret.expose()), visit.session.account);
        self.change_own(visit, Own::new(Operation::CreateAccessKey, format!("{id} for {}", visit.session.login)), move |tx, stamp, changes| {
            tx.insert_access_key(&id, (account, Some(account)), hash, life, stamp).map_err(|error| match error {
                StoreError::Stale { what: TOO_MANY_ACCESS_KEYS } => {
                    Invalid::new("tokenLife", format!("can't be of a new one: there are {ACCESS_KEYS_MAX} already, delete one first")).into()
                }
                other => Refusal::from(other),
            })?;
            changes.push(Change::AccessKey(id));
            Ok(())
        })
        .await?;
        Ok(made)
    }

    /// Enables or disables an access key of whoever is signed in. Disabled, it may do nothing, and its tokens have ended for good, as has that it
    /// may approve.
    pub async fn set_own_access_key_enabled(&self, visit: &Visit, id: &str, enabled: bool) -> Result<(), Refusal> {
        let (id, account) = (parse(id)?, visit.session.account);
        let told = format!("{id} {}", if enabled { "enabled" } else { "disabled" });
        self.change_own(visit, Own::new(Operation::ChangeAccessKey, told), move |tx, stamp, changes| {
            require_own(tx, &id, account)?;
            // Whoever lets it approve on another node is before this or after it.
            tx.hold_account(account)?;
            tx.set_access_key_enabled(&id, enabled, stamp)?;
            // More than the access key: tokens that have ended must not be remembered when it is enabled again.
            changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Sets how long tokens that an access key of whoever is signed in gets from now on live.
    pub async fn set_own_token_life(&self, visit: &Visit, id: &str, life: Result<TokenLife, Invalid>) -> Result<(), Refusal> {
        let (id, account, life) = (parse(id)?, visit.session.account, life?);
        let told = format!("{id} token life {} s", life.seconds());
        self.change_own(visit, Own::new(Operation::ChangeAccessKey, told), move |tx, stamp, changes| {
            require_own(tx, &id, account)?;
            tx.set_token_life(&id, life, stamp)?;
            changes.push(Change::AccessKey(id));
            Ok(())
        })
        .await
    }

    /// Takes an access key of whoever is signed in away for good, and with it its tokens.
    pub async fn delete_own_access_key(&self, visit: &Visit, id: &str) -> Result<(), Refusal> {
        // Its own first: whoever may not delete it must not make work either.
        let (id, account) = (self.own_access_key(visit, id).await?.id, visit.session.account);
        self.forget_expired_tokens_of(&id).await?;
        self.change_own(visit, Own::new(Operation::DeleteAccessKey, id.to_string()), move |tx, _, changes| {
            require_own(tx, &id, account)?;
            tx.delete_access_key(&id)?;
            changes.push(Change::AccessKey(id));
            Ok(())
        })
        .await
    }
}
