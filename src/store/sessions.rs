//! Who is signed in at the console. A session that is ended is deleted.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::{bytes, changed_one};
use super::schema::{accounts, console_sessions};
use super::unit::{Reader, Tx};
use crate::domain::account::{SecretHash, Session};
use crate::domain::clock::Timestamp;
use crate::domain::ids::AccountId;

/// The most expired sessions that one change forgets.
const FORGET_SESSIONS_MAX: i64 = 500;

/// What signing in compares with.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The account.
    pub account: AccountId,
    /// Its login name.
    pub login: String,
    /// Its password, hashed (PHC string).
    pub password_hash: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether a second factor is asked for.
    pub has_second_factor: bool,
}

/// A session that begins.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The hash of its token.
    pub token: SecretHash,
    /// Whose it is.
    pub account: AccountId,
    /// Now.
    pub began: Timestamp,
    /// When it ends, however busy it is.
    pub expires: Timestamp,
    /// From where.
    pub address: String,
    /// With what.
    pub user_agent: String,
    /// Whether the code of the second factor is still to be given.
    pub awaits_code: bool,
}

#[derive(Queryable)]
struct Row {
    token: Vec<u8>,
    account: i64,
    login: String,
    administrator: bool,
    enabled: bool,
    must_change_password: bool,
    signed_in: i64,
    last_seen: i64,
    expires: i64,
    address: String,
    user_agent: String,
    awaits_code: bool,
}

macro_rules! sessions {
    () => {
        console_sessions::table.inner_join(accounts::table.on(accounts::id.eq(console_sessions::account_id))).select((
            console_sessions::token_hash,
            console_sessions::account_id,
            accounts::login,
            accounts::administrator,
            accounts::enabled,
            accounts::must_change_password,
            console_sessions::signed_in_at,
            console_sessions::last_seen_at,
            console_sessions::expires_at,
            console_sessions::address,
            console_sessions::user_agent,
            console_sessions::awaits_code,
        ))
    };
}

impl Reader<'_> {
    /// A session that was begun and not ended, expired or not.
    pub fn session(&mut self, token: SecretHash) -> Result<Option<Session>, StoreError> {
        let row: Option<Row> = sessions!().filter(console_sessions::token_hash.eq(token.0.as_slice())).first(self.db).optional()?;
        row.map(|row| self.session_of(row)).transpose()
    }

    /// An account's sessions that have not expired at `now`, those first that were used last.
    pub fn sessions_of(&mut self, account: AccountId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let rows: Vec<Row> = sessions!()
            .filter(console_sessions::account_id.eq(account.0).and(console_sessions::expires_at.gt(now.micros())))
            .filter(console_sessions::awaits_code.eq(false))
            .order((console_sessions::last_seen_at.desc(), console_sessions::signed_in_at.desc()))
            .limit(Session::PER_ACCOUNT_MAX)
            .load(self.db)?;
        rows.into_iter().map(|row| self.session_of(row)).collect()
    }

    fn session_of(&mut self, row: Row) -> Result<Session, StoreError> {
        let account = AccountId(row.account);
        Ok(Session {
            token: SecretHash(bytes(row.token, "session")?),
            account,
            login: row.login,
            administrator: row.administrator,
            enabled: row.enabled,
            must_change_password: row.must_change_password,
            roles: self.roles(account)?,
            signed_in: Timestamp::from_micros(row.signed_in),
            last_seen: Timestamp::from_micros(row.last_seen),
            expires: Timestamp::from_micros(row.expires),
            address: row.address,
            user_agent: row.user_agent,
            awaits_code: row.awaits_code,
        })
    }

    /// What signing in as `login` compares with.
    pub fn sign_in(&mut self, login: &str) -> Result<Option<SignIn>, StoreError> {
        let row: Option<(i64, String, String, bool, bool)> = accounts::table
            .filter(accounts::login.eq(login))
            .select((accounts::id, accounts::login, accounts::password_hash, accounts::enabled, accounts::sealed_totp.is_not_null()))
            .first(self.db)
            .optional()?;
        let sign_in =
            |(id, login, password_hash, enabled, has_second_factor)| SignIn { account: AccountId(id), login, password_hash, enabled, has_second_factor };
        Ok(row.map(sign_in))
    }
}

impl Tx<'_> {
    /// Keeps a session that begins, if the account is enabled and still has that password (`Stale` if not: somebody changed it while it was
    /// compared). Of an account's sessions beyond [`Session::PER_ACCOUNT_MAX`] those end that were used least recently; their hashes are
    /// answered.
    pub fn insert_session(&mut self, new: &NewSession, password_hash: &str) -> Result<Vec<SecretHash>, StoreError> {
        let account = accounts::table.find(new.account.0).filter(accounts::enabled.eq(true).and(accounts::password_hash.eq(password_hash)));
        // Changes nothing, but holds the row: whoever ends all sessions comes before this or after it.
        let held = diesel::update(account).set(accounts::login.eq(accounts::login)).execute(self.db)?;
        changed_one(held, "account")?;
        diesel::insert_into(console_sessions::table)
            .values((
                console_sessions::token_hash.eq(new.token.0.as_slice()),
                console_sessions::account_id.eq(new.account.0),
                console_sessions::signed_in_at.eq(new.began.micros()),
                console_sessions::last_seen_at.eq(new.began.micros()),
                console_sessions::expires_at.eq(new.expires.micros()),
                console_sessions::address.eq(&new.address),
                console_sessions::user_agent.eq(&new.user_agent),
                console_sessions::awaits_code.eq(new.awaits_code),
            ))
            .execute(self.db)?;
        self.end_sessions_beyond(new.account)
    }

    fn end_sessions_beyond(&mut self, account: AccountId) -> Result<Vec<SecretHash>, StoreError> {
        let beyond: Vec<Vec<u8>> = console_sessions::table
            .filter(console_sessions::account_id.eq(account.0))
            .order((console_sessions::last_seen_at.desc(), console_sessions::signed_in_at.desc()))
            .offset(Session::PER_ACCOUNT_MAX)
            .limit(FORGET_SESSIONS_MAX)
            .select(console_sessions::token_hash)
            .load(self.db)?;
        let mut ended = Vec::with_capacity(beyond.len());
        for hash in beyond {
            diesel::delete(console_sessions::table.find(&hash)).execute(self.db)?;
            ended.push(SecretHash(bytes(hash, "session")?));
        }
        Ok(ended)
    }

    /// Notes that a session was used.
    pub fn touch_session(&mut self, token: SecretHash, now: Timestamp) -> Result<(), StoreError> {
        diesel::update(console_sessions::table.find(token.0.as_slice())).set(console_sessions::last_seen_at.eq(now.micros())).execute(self.db)?;
        Ok(())
    }

    /// Ends a session; whether there was one.
    pub fn end_session(&mut self, token: SecretHash) -> Result<bool, StoreError> {
        Ok(diesel::delete(console_sessions::table.find(token.0.as_slice())).execute(self.db)? > 0)
    }

    /// Ends an account's sessions, all or all but one.
    pub fn end_sessions_of(&mut self, account: AccountId, but: Option<SecretHash>) -> Result<usize, StoreError> {
        let kept = but.map(|but| but.0.to_vec()).unwrap_or_default();
        let ended = console_sessions::table.filter(console_sessions::account_id.eq(account.0).and(console_sessions::token_hash.ne(kept)));
        Ok(diesel::delete(ended).execute(self.db)?)
    }

    /// Forgets sessions that expired before `before`, a few at a time. Answers how many.
    pub fn forget_expired_sessions(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        let forgotten = diesel::alias!(console_sessions as forgotten);
        let expired = forgotten
            .filter(forgotten.field(console_sessions::expires_at).lt(before.micros()))
            .order(forgotten.field(console_sessions::expires_at))
            .limit(FORGET_SESSIONS_MAX)
            .select(forgotten.field(console_sessions::token_hash));
        Ok(diesel::delete(console_sessions::table.filter(console_sessions::token_hash.eq_any(expired))).execute(self.db)?)
    }
}
