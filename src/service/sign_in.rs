//! Who is at the console: signing in, sessions, signing out.

use std::sync::Arc;
use std::time::Duration;

use argon2::{Argon2, PasswordVerifier as _};
use tokio::sync::Semaphore;

use super::Service;
use super::refusal::Refusal;
use super::request::event_without_project;
use super::tokens::random_secret;
use crate::domain::account::{SecretHash, Session};
use crate::domain::audit::{Actor, Operation, Uses};
use crate::domain::caller::Caller;
use crate::domain::ids::RequestId;
use crate::domain::key_store::Project;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::store::{Change, SignIn};

/// A session's last use is written when the one that is written is this old.
const TOUCH_EVERY: Duration = Duration::from_secs(60);
/// How many passwords are compared at a time: each takes 19 MiB and tens of milliseconds of a core.
const COMPARISONS_MAX: usize = 2;
/// How long somebody who signs in waits for his turn.
const COMPARISON_WITHIN: Duration = Duration::from_secs(5);
/// The most projects that the console lists.
const PROJECTS_MAX: i64 = 1_000;
/// Compared with where there is no such account, so that it takes as long: Argon2id with the crate's own parameters.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Cd5gIcVbSZUNIbN9RKnwLfQWdGh2pJ0bJf0Q5QbIv8U";

static COMPARISONS: Semaphore = Semaphore::const_new(COMPARISONS_MAX);

/// Somebody wants to sign in.
#[derive(Debug, Clone)]
pub struct SignInRequest {
    /// The request's name.
    pub id: RequestId,
    /// From where.
    pub caller: Caller,
    /// As typed.
    pub login: String,
    /// As typed.
    pub password: SecretText,
}

/// Somebody is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The session's token, for the cookie alone.
    pub token: SecretText,
    /// Whether nothing may be done before the password is changed.
    pub must_change_password: bool,
}

impl Service {
    /// Begins a session. Whatever is wrong, one refusal says so, and it takes as long.
    pub async fn sign_in(&self, request: SignInRequest) -> Result<SignedIn, Refusal> {
        let service = self.clone();
        let task = self.tasks().spawn(async move { service.begin_session(request).await });
        task.await.unwrap_or_else(|_| Err(Refusal::unavailable("a use case ended without an answer")))
    }

    async fn begin_session(&self, request: SignInRequest) -> Result<SignedIn, Refusal> {
        self.require_freshness()?;
        let login = request.login.clone();
        let found = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.sign_in(&login)?)).await?;
        let matches = password_matches(found.as_ref().map_or(NOBODYS_HASH, |account| &account.password_hash), request.password.clone()).await?;
        match found.filter(|account| matches && account.enabled) {
            Some(account) => self.keep_session(&request, account).await,
            None => {
                let mut event = event_without_project(self, request.id, &request.caller, Actor::Unknown, Operation::SignIn);
                event.result_code = ResultCode::Unauthorized.number();
                event.detail = Some(shown_login(&request.login));
                self.store().audit(event, Uses::default()).await?;
                Err(ResultCode::Unauthorized.into())
            }
        }
    }

    async fn keep_session(&self, request: &SignInRequest, account: SignIn) -> Result<SignedIn, Refusal> {
        let token = random_secret()?;
        let (hash, now) = (SecretHash::of(token.expose()), self.now());
        let event = event_without_project(self, request.id, &request.caller, Actor::Account(account.login), Operation::SignIn);
        let (address, user_agent) = (request.caller.address.to_string(), request.caller.user_agent.clone().unwrap_or_default());
        let ended = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let ended = tx.insert_session(hash, account.account, (now, now.plus(Session::LIFE_MAX)), &address, &user_agent)?;
                for session in &ended {
                    tx.changed(Change::Session(session.0))?;
                }
                tx.audit(event, Uses::default())?;
                Ok(ended)
            })
            .await?;
        self.apply(&ended.into_iter().map(|session| Change::Session(session.0)).collect::<Vec<_>>());
        self.views().session_begun(hash);
        let session = self.session(&token, &request.caller).await?.ok_or(ResultCode::Unauthorized)?;
        Ok(SignedIn { token, must_change_password: session.must_change_password })
    }

    /// The session of a token, if it is good now; notes that it was used.
    pub async fn session(&self, token: &SecretText, caller: &Caller) -> Result<Option<Arc<Session>>, Refusal> {
        self.require_freshness()?;
        let hash = SecretHash::of(token.expose());
        let now = self.now();
        let Some(mut session) = self.views().session(self.store(), hash, self.guesser(&Actor::Unknown, caller)).await? else { return Ok(None) };
        if !session.is_live(now) {
            // Another node may have noted a later use.
            self.views().apply(&[Change::Session(hash.0)]);
            match self.views().session(self.store(), hash, self.guesser(&Actor::Unknown, caller)).await? {
                Some(again) if again.is_live(now) => session = again,
                Some(_) | None => return Ok(None),
            }
        }
        if now.since(session.last_seen) >= TOUCH_EVERY {
            self.store().change::<_, Refusal, _>(move |tx| Ok(tx.touch_session(hash, now)?)).await?;
            self.views().apply(&[Change::Session(hash.0)]);
        }
        Ok(Some(session))
    }

    /// Ends a session: the visitor's own, or another one of the same account. One that isn't there is no error.
    pub async fn end_session(&self, id: RequestId, caller: &Caller, by: &Session, ended: SecretHash) -> Result<(), Refusal> {
        let event = event_without_project(self, id, caller, Actor::Account(by.login.clone()), Operation::SignOut);
        let account = by.account;
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                if tx.session(ended)?.is_none_or(|session| session.account != account) {
                    return Ok(());
                }
                tx.end_session(ended)?;
                tx.changed(Change::Session(ended.0))?;
                Ok(tx.audit(event, Uses::default())?)
            })
            .await?;
        self.apply(&[Change::Session(ended.0)]);
        Ok(())
    }

    /// The sessions of an account that are good now, the one that was used last first.
    pub async fn sessions_of(&self, by: &Session) -> Result<Vec<Session>, Refusal> {
        let (account, now) = (by.account, self.now());
        let sessions = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.sessions_of(account, now)?)).await?;
        Ok(sessions.into_iter().filter(|session| session.is_live(now)).collect())
    }

    /// The projects that a person sees: those where he has a role; all of them for an administrator of the installation.
    pub async fn projects_of(&self, by: &Session) -> Result<Vec<Project>, Refusal> {
        let (account, all) = (by.account, by.administrator);
        self.store().read::<_, Refusal, _>(move |reader| Ok(reader.projects_of(account, all, PROJECTS_MAX)?)).await
    }
}

/// A login name for the log: what can't be one is not repeated, it may be a password that was typed into the wrong field.
fn shown_login(login: &str) -> String {
    super::administration::parse_login(login).unwrap_or_else(|_| "not a login name".to_owned())
}

/// Compares in the time that Argon2id takes, few at a time.
async fn password_matches(hash: &str, password: SecretText) -> Result<bool, Refusal> {
    let turn = tokio::time::timeout(COMPARISON_WITHIN, COMPARISONS.acquire()).await;
    let Ok(Ok(_turn)) = turn else { return Err(Refusal::TooMany(COMPARISON_WITHIN)) };
    let hash = hash.to_owned();
    let compared = tokio::task::spawn_blocking(move || {
        // What is longer than any password is none, and would be an attack to hash.
        password.expose().len() <= super::administration::accounts::PASSWORD_MAX_BYTES
            && Argon2::default().verify_password(password.expose().as_bytes(), hash.as_str()).is_ok()
    });
    compared.await.map_err(|_| Refusal::unavailable("comparing a password panicked"))
}
