//! Accounts and their passwords.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;

use super::{LIST_PAGE, Operator, account, parse_login, require_no_accomplice};
use crate::domain::account::AccountSummary;
use crate::domain::audit::Operation;
use crate::domain::ids::AccountId;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{Refusal, Service};
use crate::store::Change;

/// The least characters of a password (NIST SP 800-63B, 5.1.1.2 asks for 8; administrators get more).
const PASSWORD_MIN_CHARS: usize = 12;
/// The most bytes of a password.
pub(in crate::service) const PASSWORD_MAX_BYTES: usize = 256;

/// Whether an account's password can be taken: long enough, and not so long that hashing it is an attack.
pub fn check_password(password: &SecretText) -> Result<(), Invalid> {
    let length = password.expose().chars().count();
    if length < PASSWORD_MIN_CHARS || password.expose().len() > PASSWORD_MAX_BYTES {
        return Err(Invalid::new("password", format!("must have {PASSWORD_MIN_CHARS} characters or more and at most {PASSWORD_MAX_BYTES} bytes")));
    }
    Ok(())
}

/// Argon2id with the crate's parameters (OWASP's: 19 MiB, 2 passes).
pub(in crate::service) fn hash_password(password: &SecretText) -> Result<String, Refusal> {
    check_password(password)?;
    let hash = Argon2::default().hash_password(password.expose().as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| Refusal::unavailable("the password could not be hashed"))
}

/// A login name and a password's hash.
async fn prepare(login: &str, password: SecretText) -> Result<(String, String), Refusal> {
    let login = parse_login(login)?;
    let hash = tokio::task::spawn_blocking(move || hash_password(&password)).await;
    Ok((login, hash.map_err(|_| Refusal::unavailable("hashing a password panicked"))??))
}

impl Service {
    /// Makes an account for people, with a first password.
    pub async fn create_account(&self, operator: Operator, login: &str, password: SecretText, must_change: bool) -> Result<(), Refusal> {
        let prepared = prepare(login, password).await.map(|(login, hash)| (login.clone(), (login, hash)));
        self.administer(operator, Operation::CreateAccount, prepared, move |tx, (login, hash), act| {
            tx.insert_account(&login, &hash, must_change, &act.stamp)?;
            Ok(())
        })
        .await
    }

    /// Makes an account that administers the installation.
    pub async fn create_administrator(&self, operator: Operator, login: &str, password: SecretText, must_change: bool) -> Result<(), Refusal> {
        let prepared = prepare(login, password).await.map(|(login, hash)| (format!("{login}, administrator"), (login, hash)));
        self.administer(operator, Operation::CreateAccount, prepared, move |tx, (login, hash), act| {
            let id = tx.insert_account(&login, &hash, must_change, &act.stamp)?;
            Ok(tx.make_administrator(id, &act.stamp)?)
        })
        .await
    }

    /// Gives an account another password, unless that account asks or approves in a project with approval on. Its sessions end, and so does its second factor, if it has one.
    pub async fn set_password(&self, operator: Operator, login: &str, password: SecretText, must_change: bool) -> Result<(), Refusal> {
        let prepared = prepare(login, password).await.map(|(login, hash)| (format!("password of {login}"), (login, hash)));
        self.administer(operator, Operation::ChangeAccount, prepared, move |tx, (login, hash), act| {
            let id = account(tx, &login)?;
            require_no_accomplice(tx, id)?;
            tx.set_password(id, &hash, must_change, &act.stamp)?;
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Enables or disables an account. Disabled, neither it nor its access keys may do anything; its sessions and their tokens have ended for
    /// good.
    pub async fn set_account_enabled(&self, operator: Operator, login: &str, enabled: bool) -> Result<(), Refusal> {
        let told = if enabled { "enabled" } else { "disabled" };
        let prepared = parse_login(login).map(|login| (format!("{login} {told}"), login)).map_err(Refusal::from);
        self.administer(operator, Operation::ChangeAccount, prepared, move |tx, login, act| {
            let id = account(tx, &login)?;
            tx.set_account_enabled(id, enabled, &act.stamp)?;
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// A page of accounts, at most [`LIST_PAGE`], oldest first.
    pub async fn list_accounts(&self, operator: Operator, after: Option<AccountId>) -> Result<Vec<AccountSummary>, Refusal> {
        let prepared = Ok(("accounts".to_owned(), ()));
        self.look(operator, prepared, after.is_none(), move |reader, ()| Ok(reader.accounts(after, LIST_PAGE)?)).await
    }
}
