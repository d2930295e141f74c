//! Accounts and their passwords.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;

use super::{AccountRef, Act, Administrator, LIST_PAGE, parse_login, require_no_accomplice};
use crate::domain::account::{AccountSummary, SecretHash};
use crate::domain::audit::Operation;
use crate::domain::ids::AccountId;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::approval::Workable;
use crate::service::sign_in::hashing_turn;
use crate::service::{Refusal, Service};
use crate::store::{Change, LAST_ADMINISTRATOR, StoreError};

/// The least characters of a password (NIST SP 800-63B, 5.1.1.2 asks for 8; administrators get more).
pub(in crate::service) const PASSWORD_MIN_CHARS: usize = 12;
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

/// A password's hash, made where it may take its time.
pub(in crate::service) async fn hashed(password: SecretText) -> Result<String, Refusal> {
    // Before it takes a turn.
    check_password(&password)?;
    let _turn = hashing_turn().await?;
    let hash = tokio::task::spawn_blocking(move || hash_password(&password)).await;
    hash.map_err(|_| Refusal::unavailable("hashing a password panicked"))?
}

/// What takes the right to administer away from somebody: not from the last one who is enabled.
fn leave_one(outcome: Result<(), StoreError>) -> Result<(), Refusal> {
    outcome.map_err(|error| match error {
        StoreError::Stale { what: LAST_ADMINISTRATOR } => Invalid::new("login", "names the last administrator who is enabled: make another one first").into(),
        other => other.into(),
    })
}

/// Nobody does to himself, by mistake or at an unwatched browser, what he can't undo.
fn refuse_own(act: &Act, account: AccountId, problem: &'static str) -> Result<(), Refusal> {
    if act.standing.is(account) { Err(Invalid::new("login", problem).into()) } else { Ok(()) }
}

impl Service {
    /// Makes an account for people, with a first password.
    pub async fn create_account(&self, by: impl Into<Administrator>, login: &str, password: SecretText, must_change: bool) -> Result<(), Refusal> {
        self.insert_account(by.into(), login, password, (must_change, false)).await.map(drop)
    }

    /// Makes an account that administers the installation.
    pub async fn create_administrator(&self, by: impl Into<Administrator>, login: &str, password: SecretText, must_change: bool) -> Result<(), Refusal> {
        self.insert_account(by.into(), login, password, (must_change, true)).await.map(drop)
    }

    async fn insert_account(
        &self,
        by: Administrator,
        login: &str,
        password: SecretText,
        (must_change, administrator): (bool, bool),
    ) -> Result<AccountId, Refusal> {
        let told = |login: &str| if administrator { format!("{login}, administrator") } else { login.to_owned() };
        let prepared = match parse_login(login) {
            Ok(login) if by.seems_administrator() => hashed(password).await.map(|hash| (told(&login), (login, hash))),
            // No work is made for whoever may not anyway.
            Ok(_) => Err(ResultCode::Forbidden.into()),
            Err(invalid) => Err(invalid.into()),
        };
        self.administer(by, Operation::CreateAccount, prepared, move |tx, (login, hash), act| {
            let id = tx.insert_account(&login, &hash, must_change, &act.stamp)?;
            if administrator {
                tx.set_administrator(id, true, &act.stamp)?;
            }
            Ok(id)
        })
        .await
    }

    /// Makes an account at the console, with a first password that must be changed; answers its row.
    pub async fn add_account(&self, by: impl Into<Administrator>, login: &str, password: SecretText, administrator: bool) -> Result<AccountId, Refusal> {
        self.insert_account(by.into(), login, password, (true, administrator)).await
    }

    /// Gives an account another password, unless it asks or approves in a project with approval on. Its sessions end, and so does its second factor, if it has one. Nobody does that to himself at the
    /// console: there one's own password is changed by who knows the old one.
    pub async fn set_password(
        &self,
        by: impl Into<Administrator>,
        account: impl Into<AccountRef>,
        password: SecretText,
        must_change: bool,
    ) -> Result<(), Refusal> {
        let (by, told) = (by.into(), |name: &dyn std::fmt::Display| format!("password of {name}"));
        let prepared = match account.into().parsed() {
            Ok(named) if by.seems_administrator() => hashed(password).await.map(|hash| (told(&named), (named, hash))),
            // No work is made for whoever may not anyway.
            Ok(_) => Err(ResultCode::Forbidden.into()),
            Err(invalid) => Err(invalid.into()),
        };
        self.administer(by, Operation::ChangeAccount, prepared, move |tx, (named, hash), act| {
            let (id, login) = named.hold(tx)?;
            act.event.detail = Some(told(&login));
            refuse_own(act, id, "is your own: change your password under Password and sessions")?;
            require_no_accomplice(tx, id)?;
            tx.set_password(id, &hash, must_change, &act.stamp)?;
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Enables or disables an account. Disabled, neither it nor its access keys may do anything; its sessions and their tokens have ended for
    /// good. The last administrator who is enabled stays so, and so does the last account that a project with approval on needs; one that asks or
    /// approves in such a project is enabled by a request.
    pub async fn set_account_enabled(&self, by: impl Into<Administrator>, account: impl Into<AccountRef>, enabled: bool) -> Result<(), Refusal> {
        let told = move |name: &dyn std::fmt::Display| format!("{name} {}", if enabled { "enabled" } else { "disabled" });
        let prepared = account.into().parsed().map(|named| (told(&named), named)).map_err(Refusal::from);
        self.administer(by.into(), Operation::ChangeAccount, prepared, move |tx, named, act| {
            let (id, login) = named.hold(tx)?;
            act.event.detail = Some(told(&login));
            if enabled {
                require_no_accomplice(tx, id)?;
            } else {
                refuse_own(act, id, "is your own: another administrator disables it")?;
            }
            let workable = Workable::hold(tx, id)?;
            leave_one(tx.set_account_enabled(id, enabled, &act.stamp))?;
            workable.require_still(tx)?;
            if !enabled {
                // Whoever has it enabled again gives its access keys nothing that isn't asked for by itself.
                act.changes.extend(tx.let_none_approve(id, &act.stamp)?.into_iter().map(Change::AccessKey));
            }
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Makes an account one that administers the installation, or one that doesn't. The last administrator who is enabled stays so.
    pub async fn set_administrator(&self, by: impl Into<Administrator>, account: impl Into<AccountRef>, administrator: bool) -> Result<(), Refusal> {
        let told = move |name: &dyn std::fmt::Display| format!("{name} {}", if administrator { "administrator" } else { "no administrator" });
        let prepared = account.into().parsed().map(|named| (told(&named), named)).map_err(Refusal::from);
        self.administer(by.into(), Operation::ChangeAccount, prepared, move |tx, named, act| {
            let (id, login) = named.hold(tx)?;
            act.event.detail = Some(told(&login));
            if !administrator {
                refuse_own(act, id, "is your own: another administrator takes this right from you")?;
            }
            leave_one(tx.set_administrator(id, administrator, &act.stamp))?;
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Ends sessions of an account: one, or all of them. One that has ended meanwhile is no error.
    pub async fn end_sessions_of(&self, by: impl Into<Administrator>, account: impl Into<AccountRef>, one: Option<SecretHash>) -> Result<(), Refusal> {
        let told = move |name: &dyn std::fmt::Display| format!("{} of {name}", if one.is_some() { "a session" } else { "all sessions" });
        let prepared = account.into().parsed().map(|named| (told(&named), named)).map_err(Refusal::from);
        self.administer(by.into(), Operation::SignOut, prepared, move |tx, named, act| {
            let (id, login) = named.hold(tx)?;
            act.event.detail = Some(told(&login));
            match one {
                Some(token) if tx.session(token)?.is_some_and(|session| session.account == id) => {
                    tx.end_session(token)?;
                    act.changes.push(Change::Session(token.0));
                }
                Some(_) => {}
                None => {
                    tx.end_sessions_of(id, None)?;
                    act.changes.push(Change::Identity);
                }
            }
            Ok(())
        })
        .await
    }

    /// A page of accounts, at most [`LIST_PAGE`], oldest first.
    pub async fn list_accounts(&self, by: impl Into<Administrator>, after: Option<AccountId>) -> Result<Vec<AccountSummary>, Refusal> {
        let prepared = Ok(("accounts".to_owned(), ()));
        self.look(by.into(), prepared, after.is_none(), move |reader, ()| Ok(reader.accounts(after, LIST_PAGE)?)).await
    }
}
