//! The second factor of accounts: the sealed seed of its codes, and the recovery codes.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::changed_one;
use super::schema::{accounts, recovery_codes};
use super::unit::{Reader, Tx};
use crate::domain::account::SecretHash;
use crate::domain::ids::AccountId;
use crate::domain::key::Stamp;

/// An account's second factor.
#[derive(Debug, Clone, Default, Queryable)]
pub struct SecondFactor {
    /// The seed of its codes, sealed; none without a second factor.
    pub sealed: Option<Vec<u8>>,
    /// A seed that was made and not confirmed yet, sealed.
    pub pending: Option<Vec<u8>>,
}

impl Reader<'_> {
    /// An account's second factor.
    pub fn second_factor(&mut self, account: AccountId) -> Result<SecondFactor, StoreError> {
        let found = accounts::table.find(account.0).select((accounts::sealed_totp, accounts::pending_totp)).first(self.db).optional()?;
        Ok(found.unwrap_or_default())
    }

    /// How many recovery codes an account has left.
    pub fn recovery_codes_left(&mut self, account: AccountId) -> Result<i64, StoreError> {
        Ok(recovery_codes::table.filter(recovery_codes::account_id.eq(account.0)).count().get_result(self.db)?)
    }
}

impl Tx<'_> {
    /// Keeps a seed until it is confirmed, instead of any other that was not. `Stale` if there is a second factor already.
    pub fn begin_second_factor(&mut self, account: AccountId, sealed: &[u8], changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(accounts::table.find(account.0).filter(accounts::sealed_totp.is_null()))
            .set((accounts::pending_totp.eq(sealed), accounts::changed_by.eq(&changed.user), accounts::changed_at.eq(changed.at.micros())))
            .execute(self.db)?;
        changed_one(rows, "second factor")
    }

    /// From now on the codes of that seed are asked for. `Stale` if it isn't the one that waits to be confirmed.
    pub fn confirm_second_factor(&mut self, account: AccountId, sealed: &[u8], step: i64, codes: &[SecretHash], changed: &Stamp) -> Result<(), StoreError> {
        let waiting = accounts::table.find(account.0).filter(accounts::pending_totp.eq(sealed).and(accounts::sealed_totp.is_null()));
        let rows = diesel::update(waiting)
            .set((
                accounts::sealed_totp.eq(sealed),
                accounts::pending_totp.eq(None::<Vec<u8>>),
                accounts::totp_step.eq(step),
                accounts::changed_by.eq(&changed.user),
                accounts::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "second factor")?;
        for code in codes {
            diesel::insert_into(recovery_codes::table)
                .values((recovery_codes::account_id.eq(account.0), recovery_codes::code_hash.eq(code.0.as_slice())))
                .execute(self.db)?;
        }
        Ok(())
    }

    /// Takes the code of a time step, if it is newer than any that was used; whether it was.
    pub fn use_code(&mut self, account: AccountId, sealed: &[u8], step: i64) -> Result<bool, StoreError> {
        let unused = accounts::table.find(account.0).filter(accounts::sealed_totp.eq(sealed).and(accounts::totp_step.lt(step)));
        Ok(diesel::update(unused).set(accounts::totp_step.eq(step)).execute(self.db)? == 1)
    }

    /// Uses a recovery code up; whether it was one.
    pub fn use_recovery_code(&mut self, account: AccountId, code: SecretHash) -> Result<bool, StoreError> {
        Ok(diesel::delete(recovery_codes::table.find((account.0, code.0.as_slice()))).execute(self.db)? == 1)
    }

    /// Takes the second factor away, with what was not confirmed, and the recovery codes.
    pub fn remove_second_factor(&mut self, account: AccountId, changed: &Stamp) -> Result<(), StoreError> {
        diesel::update(accounts::table.find(account.0))
            .set((
                accounts::sealed_totp.eq(None::<Vec<u8>>),
                accounts::pending_totp.eq(None::<Vec<u8>>),
                accounts::changed_by.eq(&changed.user),
                accounts::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        diesel::delete(recovery_codes::table.filter(recovery_codes::account_id.eq(account.0))).execute(self.db)?;
        Ok(())
    }
}
