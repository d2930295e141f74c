//! Who is at the console: signing in, sessions, signing out.

use std::sync::Arc;
use std::time::Duration;

use argon2::{Argon2, PasswordVerifier as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Service;
use super::patience::Blamed;
use super::refusal::Refusal;
use super::request::event_without_project;
use super::second_factor::{step_of, typed_code};
use super::to_the_end::ToTheEnd;
use super::tokens::random_secret;
use crate::domain::account::{SecretHash, Session};
use crate::domain::audit::{Actor, Operation, Uses};
use crate::domain::caller::{Caller, Network};
use crate::domain::ids::{AccountId, RequestId};
use crate::domain::key_store::Project;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::store::{Change, NewSession, SignIn, StoreError, Tx};

/// A session's last use is written when the one that is written is this old.
const TOUCH_EVERY: Duration = Duration::from_secs(60);
/// How many passwords are compared, or hashed for an administrator, at a time: each takes 19 MiB and tens of milliseconds of a core.
const COMPARISONS_MAX: usize = 2;
/// How long somebody who signs in waits for his turn.
const COMPARISON_WITHIN: Duration = Duration::from_secs(5);
/// Browsers that were not used for so long are forgotten.
pub const BROWSERS_KEPT: Duration = Duration::from_secs(180 * 86_400);
/// How many times one run asks the store to forget: what is left then waits for the next run.
const FORGET_ROUNDS_MAX: usize = 20;
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
    /// What the browser shows if somebody signed in with it before.
    pub browser: Option<SecretText>,
}

/// Somebody gives the code of his second factor.
#[derive(Debug, Clone)]
pub struct CodeRequest {
    /// The request's name.
    pub id: RequestId,
    /// From where.
    pub caller: Caller,
    /// The token of the session that awaits it.
    pub token: SecretText,
    /// As typed: of the app, or a recovery code.
    pub code: SecretText,
    /// What the browser shows if somebody signed in with it before.
    pub browser: Option<SecretText>,
}

/// Somebody is signed in, or gives a code next.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The session's token, for the cookie alone.
    pub token: SecretText,
    /// What the browser is remembered by, for a cookie of its own. Without the code nothing is remembered.
    pub browser: Option<SecretText>,
}

/// Who may come in.
struct Admitted {
    account: SignIn,
    /// Whether the code was given, or none is asked for.
    wholly: bool,
    detail: Option<String>,
}

impl Service {
    /// Begins a session. Whatever is wrong, one refusal says so, and it takes as long.
    pub async fn sign_in(&self, request: SignInRequest) -> Result<SignedIn, Refusal> {
        let service = self.clone();
        ToTheEnd::new(self.tasks().track_future(async move { service.begin_session(request).await })).await
    }

    async fn begin_session(&self, request: SignInRequest) -> Result<SignedIn, Refusal> {
        self.require_freshness()?;
        let (login, network) = (request.login.clone(), Network::from(request.caller.address));
        let (browser, place) = (request.browser.as_ref().map(|browser| SecretHash::of(browser.expose())), network_text(network));
        let (found, knows_browser, knows_network) = self
            .store()
            .read::<_, Refusal, _>(move |reader| {
                let knows_browser = browser.map_or(Ok(false), |browser| reader.knows_browser(&login, browser))?;
                Ok((reader.sign_in(&login)?, knows_browser, reader.knows_network(&login, &place)?))
            })
            .await?;
        let pair = [Blamed::Pair(request.login.clone(), network), Blamed::Network(network)];
        let blamed = match browser.filter(|_| knows_browser) {
            Some(browser) => vec![Blamed::browser(browser)],
            None if knows_network => pair.to_vec(),
            None => [pair.as_slice(), &[Blamed::Login(request.login.clone())]].concat(),
        };
        if let Err(wait) = self.patience().begin(&blamed) {
            self.over_limit_at_token_endpoint(&request.caller);
            self.tell_of_lockout(shown_login(&request.login), &request.caller).await;
            return Err(Refusal::TooMany(wait));
        }
        let matches = password_matches(found.as_ref().map_or(NOBODYS_HASH, |account| &account.password_hash), request.password.clone()).await?;
        match found.filter(|account| matches && account.enabled) {
            Some(account) => {
                self.patience().forgive(&blamed);
                let admitted = Admitted { wholly: !account.has_second_factor, account, detail: None };
                self.keep_session(request.id, &request.caller, request.browser, admitted, None).await
            }
            None => {
                let mut event = event_without_project(self, request.id, &request.caller, Actor::Unknown, Operation::SignIn);
                event.result_code = ResultCode::Unauthorized.number();
                event.detail = Some(shown_login(&request.login));
                self.store().audit(event, Uses::default()).await?;
                Err(ResultCode::Unauthorized.into())
            }
        }
    }

    /// Keeps a session, in one transaction with its record; where it comes after a code, in the place of the one that awaited that.
    async fn keep_session(
        &self,
        id: RequestId,
        caller: &Caller,
        browser: Option<SecretText>,
        admitted: Admitted,
        code: Option<UsedCode>,
    ) -> Result<SignedIn, Refusal> {
        let (token, now, Admitted { account, wholly, detail }) = (random_secret()?, self.now(), admitted);
        let browser = browser.map_or_else(random_secret, Ok)?;
        let mut event = event_without_project(self, id, caller, Actor::Account(account.login.clone()), Operation::SignIn);
        event.detail = if wholly { detail } else { Some("the password; a code is asked for".to_owned()) };
        let life = if wholly { Session::LIFE_MAX } else { Session::CODE_WITHIN };
        let new = NewSession {
            token: SecretHash::of(token.expose()),
            account: account.account,
            began: now,
            expires: now.plus(life),
            address: caller.address.to_string(),
            user_agent: caller.user_agent.clone().unwrap_or_default(),
            awaits_code: !wholly,
        };
        let (hash, remembered, place) = (new.token, SecretHash::of(browser.expose()), network_text(caller.address.into()));
        let changes = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let mut ended = code.map_or(Ok(Vec::new()), |code| code.use_up(tx, new.account))?;
                ended.extend(tx.insert_session(&new, &account.password_hash).map_err(|error| match error {
                    // Disabled, or with another password, since it was compared.
                    StoreError::Stale { .. } => Refusal::from(ResultCode::Unauthorized),
                    other => other.into(),
                })?);
                if wholly {
                    tx.remember_browser(new.account, remembered, &place, now)?;
                }
                let changes: Vec<_> = ended.into_iter().map(|session| Change::Session(session.0)).collect();
                for change in &changes {
                    tx.changed(change.clone())?;
                }
                tx.audit(event, Uses::default())?;
                Ok(changes)
            })
            .await?;
        self.apply(&changes);
        self.views().session_begun(hash);
        Ok(SignedIn { token, browser: wholly.then_some(browser) })
    }

    /// Takes the code of the second factor, and begins the session that it was for.
    pub async fn give_code(&self, request: CodeRequest) -> Result<SignedIn, Refusal> {
        let service = self.clone();
        ToTheEnd::new(self.tasks().track_future(async move { service.take_code(request).await })).await
    }

    async fn take_code(&self, request: CodeRequest) -> Result<SignedIn, Refusal> {
        let session = self.awaiting_session(&request.token, &request.caller).await?.ok_or(ResultCode::Conflict)?;
        let blamed = [Blamed::Account(session.account)];
        if let Err(wait) = self.patience().begin(&blamed) {
            self.tell_of_lockout(session.login.clone(), &request.caller).await;
            return Err(Refusal::TooMany(wait));
        }
        let (id, login) = (session.account, session.login.clone());
        let (account, factor) = self.store().read::<_, Refusal, _>(move |reader| Ok((reader.sign_in(&login)?, reader.second_factor(id)?))).await?;
        let (Some(account), Some(sealed)) = (account, factor.sealed) else { return Err(ResultCode::Conflict.into()) };
        let (code, seed) = (typed_code(request.code.expose()), self.open_seed(id, &sealed).await?);
        let proof = match step_of(&seed, code.expose(), self.now())? {
            Some(step) => Proof::Step(sealed, step),
            None => Proof::RecoveryCode(SecretHash::of(code.expose())),
        };
        let detail = if matches!(proof, Proof::Step(..)) { "with a code" } else { "with a recovery code" };
        let admitted = Admitted { account, wholly: true, detail: Some(detail.to_owned()) };
        let used = UsedCode { awaiting: session.token, proof };
        let kept = self.keep_session(request.id, &request.caller, request.browser, admitted, Some(used)).await;
        match &kept {
            Ok(_) => self.patience().forgive(&blamed),
            Err(Refusal::Code(ResultCode::Unauthorized)) => {
                let mut event = event_without_project(self, request.id, &request.caller, Actor::Account(session.login.clone()), Operation::SignIn);
                event.result_code = ResultCode::Unauthorized.number();
                event.detail = Some("wrong code".to_owned());
                self.store().audit(event, Uses::default()).await?;
            }
            Err(_) => {}
        }
        kept
    }

    /// The session of a token that awaits the code of the second factor.
    pub async fn awaiting_session(&self, token: &SecretText, caller: &Caller) -> Result<Option<Arc<Session>>, Refusal> {
        self.require_freshness()?;
        let session = self.views().session(self.store(), SecretHash::of(token.expose()), self.guesser(&Actor::Unknown, caller)).await?;
        Ok(session.filter(|session| session.awaits_code && session.is_live(self.now())))
    }

    /// Forgets sessions that have expired, and browsers that were not used for long, a few at a time.
    pub async fn forget_expired_sessions(&self) -> Result<(), Refusal> {
        self.require_agreeing_clock().await?;
        let (now, unused) = (self.now(), self.now().minus(BROWSERS_KEPT));
        for _ in 0..FORGET_ROUNDS_MAX {
            if self.store().change::<_, Refusal, _>(move |tx| Ok(tx.forget_expired_sessions(now)? + tx.forget_browsers(unused)?)).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The session of a token, if it is good now; notes that it was used.
    pub async fn session(&self, token: &SecretText, caller: &Caller) -> Result<Option<Arc<Session>>, Refusal> {
        let (hash, now) = (SecretHash::of(token.expose()), self.now());
        let Some(session) = self.live_session(hash, caller).await? else { return Ok(None) };
        if now.since(session.last_seen) >= TOUCH_EVERY {
            self.store().change::<_, Refusal, _>(move |tx| Ok(tx.touch_session(hash, now)?)).await?;
            self.views().apply(&[Change::Session(hash.0)]);
        }
        Ok(Some(session))
    }

    /// The session of that token's hash, if it is good now.
    pub(super) async fn live_session(&self, hash: SecretHash, caller: &Caller) -> Result<Option<Arc<Session>>, Refusal> {
        self.require_freshness()?;
        let now = self.now();
        let Some(session) = self.views().session(self.store(), hash, self.guesser(&Actor::Unknown, caller)).await? else { return Ok(None) };
        if session.awaits_code {
            return Ok(None);
        }
        if session.is_live(now) {
            return Ok(Some(session));
        }
        // Another node may have noted a later use.
        self.views().apply(&[Change::Session(hash.0)]);
        let again = self.views().session(self.store(), hash, self.guesser(&Actor::Unknown, caller)).await?;
        Ok(again.filter(|again| again.is_live(now)))
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

/// What proves the second factor.
enum Proof {
    /// A code of that time step, of that seed.
    Step(Vec<u8>, i64),
    /// A recovery code, perhaps.
    RecoveryCode(SecretHash),
}

/// A code that is to be used up, in the place of the session that awaits it.
struct UsedCode {
    awaiting: SecretHash,
    proof: Proof,
}

impl UsedCode {
    /// In one transaction with what it lets in: two who show the same code at once don't both come in.
    fn use_up(self, tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<SecretHash>, Refusal> {
        if !tx.end_session(self.awaiting)? {
            return Err(ResultCode::Conflict.into());
        }
        let is_good = match self.proof {
            Proof::Step(sealed, step) => tx.use_code(account, &sealed, step)?,
            Proof::RecoveryCode(code) => tx.use_recovery_code(account, code)?,
        };
        if is_good { Ok(vec![self.awaiting]) } else { Err(ResultCode::Unauthorized.into()) }
    }
}

/// A network as the database has it.
fn network_text(network: Network) -> String {
    match network {
        Network::V4(octets) => hex::encode(octets),
        Network::V6(octets) => hex::encode(octets),
    }
}

/// A login name for the log: what can't be one is not repeated, it may be a password that was typed into the wrong field.
fn shown_login(login: &str) -> String {
    super::administration::parse_login(login).unwrap_or_else(|_| "not a login name".to_owned())
}

/// The turn of whoever has a password hashed.
pub(super) async fn hashing_turn() -> Result<SemaphorePermit<'static>, Refusal> {
    match tokio::time::timeout(COMPARISON_WITHIN, COMPARISONS.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(Refusal::TooMany(COMPARISON_WITHIN)),
    }
}

/// Compares in the time that Argon2id takes, few at a time.
pub(super) async fn password_matches(hash: &str, password: SecretText) -> Result<bool, Refusal> {
    let _turn = hashing_turn().await?;
    let hash = hash.to_owned();
    let compared = tokio::task::spawn_blocking(move || {
        // What is longer than any password is none, and would be an attack to hash.
        password.expose().len() <= super::administration::accounts::PASSWORD_MAX_BYTES
            && Argon2::default().verify_password(password.expose().as_bytes(), hash.as_str()).is_ok()
    });
    compared.await.map_err(|_| Refusal::unavailable("comparing a password panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_hash_is_compared_like_everybodys() {
        let hash = argon2::password_hash::phc::PasswordHash::new(NOBODYS_HASH).unwrap();
        let ours = super::super::administration::accounts::hash_password(&SecretText::new("correct horse battery".to_owned())).unwrap();
        let ours = argon2::password_hash::phc::PasswordHash::new(&ours).unwrap();
        assert_eq!((hash.algorithm, hash.version, hash.params.clone()), (ours.algorithm, ours.version, ours.params.clone()));
        assert_eq!(hash.hash.unwrap().len(), ours.hash.unwrap().len());
    }
}
