//! Bearer tokens, by their hashes. A token that is revoked is deleted.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::known;
use super::schema::bearer_tokens;
use super::unit::{Reader, Tx};
use crate::domain::account::{AccessKeyId, BearerToken, SecretHash};
use crate::domain::clock::Timestamp;

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
    /// Keeps a token that is being issued.
    pub fn insert_bearer_token(&mut self, token: SecretHash, access_key: &AccessKeyId, issued: Timestamp, expires: Timestamp) -> Result<(), StoreError> {
        diesel::insert_into(bearer_tokens::table)
            .values((
                bearer_tokens::token_hash.eq(token.0.as_slice()),
                bearer_tokens::access_key_id.eq(access_key.as_str()),
                bearer_tokens::issued_at.eq(issued.micros()),
                bearer_tokens::expires_at.eq(expires.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// Whether there was such a token of that access key to revoke.
    pub fn revoke_bearer_token(&mut self, token: SecretHash, access_key: &AccessKeyId) -> Result<bool, StoreError> {
        let of_access_key = bearer_tokens::table.find(token.0.as_slice()).filter(bearer_tokens::access_key_id.eq(access_key.as_str()));
        Ok(diesel::delete(of_access_key).execute(self.db)? > 0)
    }

    /// Forgets tokens that expired before `before`; at most `limit`. Answers how many.
    pub fn forget_expired_tokens(&mut self, before: Timestamp, limit: i64) -> Result<usize, StoreError> {
        let expired: Vec<Vec<u8>> = bearer_tokens::table
            .filter(bearer_tokens::expires_at.lt(before.micros()))
            .order(bearer_tokens::expires_at)
            .limit(limit)
            .select(bearer_tokens::token_hash)
            .load(self.db)?;
        let mut forgotten = 0;
        for token in expired {
            forgotten += diesel::delete(bearer_tokens::table.find(token)).execute(self.db)?;
        }
        Ok(forgotten)
    }
}
