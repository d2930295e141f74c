//! Bearer tokens, by their hashes. A token that is revoked is deleted.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::{bytes, changed_one, known};
use super::schema::{access_keys, accounts, bearer_tokens};
use super::unit::{Reader, Tx};
use crate::domain::account::{AccessKeyId, BearerToken, SecretHash};
use crate::domain::clock::Timestamp;

/// The most tokens of one access key that are live at once.
pub const TOKENS_MAX: i64 = 1_000;
/// What is `Stale` about an access key that is gone, or disabled, or whose account is.
pub const UNUSABLE_ACCESS_KEY: &str = "usable access key";
/// The most tokens that make room for a new one. One is enough, unless nodes' clocks differ about which are live.
const END_TOKENS_MAX: i64 = 16;
/// The most expired tokens that one change forgets.
pub const FORGET_TOKENS_MAX: i64 = 500;

impl Reader<'_> {
    /// A token that was issued and not revoked, expired or not.
    pub fn bearer_token(&mut self, token: SecretHash) -> Result<Option<BearerToken>, StoreError> {
        let row: Option<(String, i64)> =
            bearer_tokens::table.find(token.0.as_slice()).select((bearer_tokens::access_key_id, bearer_tokens::expires_at)).first(self.db).optional()?;
        row.map(|(access_key, expires)| {
            Ok(BearerToken { access_key: known(AccessKeyId::parse(&access_key), "bearer token")?, expires: Timestamp::from_micros(expires) })
        })
        .transpose()
    }
}

impl Tx<'_> {
    /// Keeps a token that is being issued. Where it is one more than [`TOKENS_MAX`] that are live at `issued` the oldest end: answers which, for
    /// the caches of all nodes. Refuses any of an access key that is gone or disabled, by itself or with its account, with
    /// [`StoreError::Stale`] of [`UNUSABLE_ACCESS_KEY`].
    pub fn insert_bearer_token(
        &mut self,
        token: SecretHash,
        access_key: &AccessKeyId,
        issued: Timestamp,
        expires: Timestamp,
    ) -> Result<Vec<SecretHash>, StoreError> {
        // Changes nothing, but holds the access key's row until the commit: two nodes can't both find room for the last, and whoever
        // disables the access key or its account finds the token to end.
        let usable = access_keys::table.find(access_key.as_str()).filter(access_keys::enabled.eq(true));
        let held = diesel::update(usable).set(access_keys::enabled.eq(access_keys::enabled)).execute(self.db)?;
        changed_one(held, UNUSABLE_ACCESS_KEY)?;
        // Only now that it is held: what disables the account holds it too.
        let account =
            access_keys::table.inner_join(accounts::table.on(accounts::id.eq(access_keys::account_id))).filter(access_keys::id.eq(access_key.as_str()));
        if !account.select(accounts::enabled).first(self.db)? {
            return Err(StoreError::Stale { what: UNUSABLE_ACCESS_KEY });
        }
        let ended = self.end_oldest_tokens(access_key, issued)?;
        diesel::insert_into(bearer_tokens::table)
            .values((
                bearer_tokens::token_hash.eq(token.0.as_slice()),
                bearer_tokens::access_key_id.eq(access_key.as_str()),
                bearer_tokens::issued_at.eq(issued.micros()),
                bearer_tokens::expires_at.eq(expires.micros()),
            ))
            .execute(self.db)?;
        Ok(ended)
    }

    /// Makes room for one more among the tokens that are live at `at`.
    fn end_oldest_tokens(&mut self, access_key: &AccessKeyId, at: Timestamp) -> Result<Vec<SecretHash>, StoreError> {
        let live = || bearer_tokens::table.filter(bearer_tokens::access_key_id.eq(access_key.as_str()).and(bearer_tokens::expires_at.gt(at.micros())));
        let count: i64 = live().count().get_result(self.db)?;
        let too_many = count - (TOKENS_MAX - 1);
        if too_many <= 0 {
            return Ok(Vec::new());
        }
        let oldest: Vec<Vec<u8>> = live()
            .order((bearer_tokens::issued_at, bearer_tokens::token_hash))
            .limit(too_many.min(END_TOKENS_MAX))
            .select(bearer_tokens::token_hash)
            .load(self.db)?;
        diesel::delete(bearer_tokens::table.filter(bearer_tokens::token_hash.eq_any(&oldest))).execute(self.db)?;
        oldest.into_iter().map(|hash| Ok(SecretHash(bytes(hash, "bearer token")?))).collect()
    }

    /// Whether there was such a token of that access key to revoke.
    pub fn revoke_bearer_token(&mut self, token: SecretHash, access_key: &AccessKeyId) -> Result<bool, StoreError> {
        let of_access_key = bearer_tokens::table.find(token.0.as_slice()).filter(bearer_tokens::access_key_id.eq(access_key.as_str()));
        Ok(diesel::delete(of_access_key).execute(self.db)? > 0)
    }

    /// Forgets tokens of one access key that expired before `before`, [`FORGET_TOKENS_MAX`] at most. Answers how many.
    pub fn forget_expired_tokens_of(&mut self, access_key: &AccessKeyId, before: Timestamp) -> Result<usize, StoreError> {
        let forgotten = diesel::alias!(bearer_tokens as forgotten);
        let expired = forgotten
            .filter(forgotten.field(bearer_tokens::access_key_id).eq(access_key.as_str()))
            .filter(forgotten.field(bearer_tokens::expires_at).lt(before.micros()))
            .limit(FORGET_TOKENS_MAX)
            .select(forgotten.field(bearer_tokens::token_hash));
        Ok(diesel::delete(bearer_tokens::table.filter(bearer_tokens::token_hash.eq_any(expired))).execute(self.db)?)
    }

    /// Forgets tokens that expired before `before`, those that did first: at most `limit`, and never more than
    /// [`FORGET_TOKENS_MAX`], since everybody's changes wait meanwhile. Answers how many.
    pub fn forget_expired_tokens(&mut self, before: Timestamp, limit: i64) -> Result<usize, StoreError> {
        let forgotten = diesel::alias!(bearer_tokens as forgotten);
        let expired = forgotten
            .filter(forgotten.field(bearer_tokens::expires_at).lt(before.micros()))
            .order(forgotten.field(bearer_tokens::expires_at))
            .limit(limit.min(FORGET_TOKENS_MAX))
            .select(forgotten.field(bearer_tokens::token_hash));
        Ok(diesel::delete(bearer_tokens::table.filter(bearer_tokens::token_hash.eq_any(expired))).execute(self.db)?)
    }
}
