//! Browsers from which somebody signed in before, and the networks where they were.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::changed_one;
use super::schema::{accounts, known_browsers};
use super::unit::{Reader, Tx};
use crate::domain::account::SecretHash;
use crate::domain::clock::Timestamp;
use crate::domain::ids::AccountId;

/// The most browsers of an account that are remembered.
const PER_ACCOUNT_MAX: i64 = 20;
/// The most that one change forgets.
const FORGET_MAX: i64 = 500;

impl Reader<'_> {
    /// Whether the account's owner signed in with that browser before.
    pub fn knows_browser(&mut self, login: &str, browser: SecretHash) -> Result<bool, StoreError> {
        let known = known_browsers::table
            .inner_join(accounts::table.on(accounts::id.eq(known_browsers::account_id)))
            .filter(accounts::login.eq(login).and(known_browsers::token_hash.eq(browser.0.as_slice())));
        Ok(known.count().get_result::<i64>(self.db)? > 0)
    }

    /// Whether the account's owner signed in from that network before.
    pub fn knows_network(&mut self, login: &str, network: &str) -> Result<bool, StoreError> {
        let known = known_browsers::table
            .inner_join(accounts::table.on(accounts::id.eq(known_browsers::account_id)))
            .filter(accounts::login.eq(login).and(known_browsers::network.eq(network)));
        Ok(known.count().get_result::<i64>(self.db)? > 0)
    }
}

impl Tx<'_> {
    /// Remembers a browser, instead of the one that was used least recently where there are many.
    pub fn remember_browser(&mut self, account: AccountId, browser: SecretHash, network: &str, now: Timestamp) -> Result<(), StoreError> {
        let held = diesel::update(accounts::table.find(account.0)).set(accounts::login.eq(accounts::login)).execute(self.db)?;
        changed_one(held, "account")?;
        let same = known_browsers::table.find(browser.0.as_slice()).filter(known_browsers::account_id.eq(account.0));
        let seen = (known_browsers::network.eq(network), known_browsers::last_used_at.eq(now.micros()));
        if diesel::update(same).set(seen).execute(self.db)? > 0 {
            return Ok(());
        }
        // Another account's: two people at one browser.
        diesel::delete(known_browsers::table.find(browser.0.as_slice())).execute(self.db)?;
        diesel::insert_into(known_browsers::table)
            .values((known_browsers::token_hash.eq(browser.0.as_slice()), known_browsers::account_id.eq(account.0), seen.0, seen.1))
            .execute(self.db)?;
        let beyond: Vec<Vec<u8>> = known_browsers::table
            .filter(known_browsers::account_id.eq(account.0))
            .order(known_browsers::last_used_at.desc())
            .offset(PER_ACCOUNT_MAX)
            .limit(FORGET_MAX)
            .select(known_browsers::token_hash)
            .load(self.db)?;
        for browser in beyond {
            diesel::delete(known_browsers::table.find(browser)).execute(self.db)?;
        }
        Ok(())
    }

    /// Forgets browsers that were last used before `before`, a few at a time. Answers how many.
    pub fn forget_browsers(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        let old: Vec<Vec<u8>> = known_browsers::table
            .filter(known_browsers::last_used_at.lt(before.micros()))
            .limit(FORGET_MAX)
            .select(known_browsers::token_hash)
            .load(self.db)?;
        for browser in &old {
            diesel::delete(known_browsers::table.find(browser)).execute(self.db)?;
        }
        Ok(old.len())
    }
}
