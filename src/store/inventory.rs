//! The inventory as it is shown: what is in service or scheduled to be deleted, in the order in which it was made, a page at a time.

use std::collections::HashMap;

use diesel::dsl::max;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::client_rules::Row as RuleRow;
use super::error::StoreError;
use super::key_stores::Row as KeyStoreRow;
use super::keys::Row as KeyRow;
use super::rows::{hex, id};
use super::schema::{client_rules, key_stores, keys, rule_usage, usage};
use super::unit::Reader;
use crate::domain::client_checks::{ClientRule, Method};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientRuleId, KeyId, KeyStoreId, KeyStoreNumber, ProjectId};
use crate::domain::inventory::{KeyFilter, Page};
use crate::domain::key::{Key, State};
use crate::domain::key_store::KeyStore;

diesel::define_sql_function! {
    /// Both databases have it, and neither folds case in it, as SQLite's `LIKE` does.
    fn replace(text: Text, wanted: Text, by: Text) -> Text;
}

/// A key as the inventory shows it.
#[derive(Clone, Debug)]
pub struct ListedKey {
    /// The key.
    pub key: Key,
    /// When any version of it was last used, on any node.
    pub last_access: Option<Timestamp>,
}

/// A client rule as the inventory shows it.
#[derive(Clone, Debug)]
pub struct ListedClientRule {
    /// The rule.
    pub rule: ClientRule,
    /// When it last admitted somebody, on any node.
    pub last_access: Option<Timestamp>,
    /// Whether a `.p12` is kept for it.
    pub has_p12: bool,
}

/// Where a key stands in its key store's list: what comes after it is what was made later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyPosition {
    created: i64,
    /// The key.
    pub id: KeyId,
}

fn visible() -> impl Iterator<Item = &'static str> {
    State::ALL.into_iter().filter(|state| state.is_visible()).map(State::as_str)
}

impl Reader<'_> {
    /// The numbers of a project's key stores after `after`, `limit` at most.
    pub fn key_store_numbers(&mut self, project: ProjectId, after: Option<KeyStoreNumber>, limit: i64) -> Result<Vec<KeyStoreNumber>, StoreError> {
        let numbers: Vec<i64> = key_stores::table
            .filter(key_stores::project_id.eq(project.0).and(key_stores::number.gt(after.map_or(0, |number| number.0))))
            .filter(key_stores::state.eq_any(visible()))
            .order(key_stores::number)
            .limit(limit)
            .select(key_stores::number)
            .load(self.db)?;
        Ok(numbers.into_iter().map(KeyStoreNumber).collect())
    }

    /// A project's key stores after number `after`, `limit` at most.
    pub fn key_stores_of(&mut self, project: ProjectId, after: Option<KeyStoreNumber>, limit: i64) -> Result<Vec<KeyStore>, StoreError> {
        let rows: Vec<KeyStoreRow> = key_stores::table
            .filter(key_stores::project_id.eq(project.0).and(key_stores::number.gt(after.map_or(0, |number| number.0))))
            .filter(key_stores::state.eq_any(visible()))
            .order(key_stores::number)
            .limit(limit)
            .load(self.db)?;
        rows.into_iter().map(KeyStore::try_from).collect()
    }

    /// A key store's keys after `after`, `limit` at most.
    pub fn key_positions(&mut self, key_store: KeyStoreId, after: Option<KeyPosition>, limit: i64) -> Result<Vec<KeyPosition>, StoreError> {
        let mut query = keys::table
            .filter(keys::key_store_id.eq(key_store.0).and(keys::state.eq_any(visible())))
            .order((keys::created_at, keys::id))
            .limit(limit)
            .select((keys::created_at, keys::id))
            .into_boxed();
        if let Some(after) = after {
            let later = keys::created_at.gt(after.created).or(keys::id.gt(hex(after.id.as_bytes())));
            query = query.filter(keys::created_at.ge(after.created)).filter(later);
        }
        let rows: Vec<(i64, String)> = query.load(self.db)?;
        rows.into_iter().map(|(created, key)| Ok(KeyPosition { created, id: id(&key, "key")? })).collect()
    }

    /// One page of a key store's keys that pass the filter.
    pub fn listed_keys(&mut self, key_store: KeyStoreId, filter: &KeyFilter, page: Page) -> Result<Vec<ListedKey>, StoreError> {
        let mut query = keys::table
            .filter(keys::key_store_id.eq(key_store.0).and(keys::state.eq_any(visible())))
            .order((keys::created_at, keys::id))
            .limit(page.limit())
            .offset(page.offset())
            .into_boxed();
        if let Some(kind) = filter.kind {
            query = query.filter(keys::kind.eq(kind.as_str()));
        }
        if let Some(state) = filter.state {
            query = query.filter(keys::state.eq(state.as_str()));
        }
        if let Some(part) = &filter.name {
            // No pattern, so nothing in it means more than itself.
            query = query.filter(replace(keys::name, part.as_str(), "").ne(keys::name));
        }
        let rows: Vec<KeyRow> = query.load(self.db)?;
        self.with_last_access(rows)
    }

    /// A key store's key of that name on the wire.
    pub fn listed_key(&mut self, key_store: KeyStoreId, key: KeyId) -> Result<Option<ListedKey>, StoreError> {
        let row: Option<KeyRow> = keys::table
            .filter(keys::id.eq(hex(key.as_bytes())).and(keys::key_store_id.eq(key_store.0)))
            .filter(keys::state.eq_any(visible()))
            .first(self.db)
            .optional()?;
        Ok(self.with_last_access(row.into_iter().collect())?.pop())
    }

    /// One query for all of them.
    pub(super) fn with_last_access(&mut self, rows: Vec<KeyRow>) -> Result<Vec<ListedKey>, StoreError> {
        let used: Vec<(String, Option<i64>)> = usage::table
            .filter(usage::key_id.eq_any(rows.iter().map(|row| row.id.as_str())))
            .group_by(usage::key_id)
            .select((usage::key_id, max(usage::last_access)))
            .load(self.db)?;
        let used: HashMap<String, Option<i64>> = used.into_iter().collect();
        let listed = |row: KeyRow| {
            let last_access = used.get(&row.id).copied().flatten().map(Timestamp::from_micros);
            Ok(ListedKey { key: row.try_into()?, last_access })
        };
        rows.into_iter().map(listed).collect()
    }

    /// The values of a key store's rules of one method, as they are kept. There are no more than may be registered.
    pub fn client_rule_values(&mut self, key_store: KeyStoreId, method: Method) -> Result<Vec<String>, StoreError> {
        let values = client_rules::table
            .filter(client_rules::key_store_id.eq(key_store.0).and(client_rules::method.eq(method.as_str())))
            .filter(client_rules::state.eq_any(visible()))
            .order(client_rules::id)
            .select(client_rules::value);
        Ok(values.load(self.db)?)
    }

    /// The rule with that value, as it is kept.
    pub fn listed_client_rule(&mut self, key_store: KeyStoreId, method: Method, value: &str) -> Result<Option<ListedClientRule>, StoreError> {
        let row: Option<RuleRow> = client_rules::table
            .filter(client_rules::key_store_id.eq(key_store.0).and(client_rules::method.eq(method.as_str())))
            .filter(client_rules::value.eq(value))
            .filter(client_rules::state.eq_any(visible()))
            .select(RuleRow::as_select())
            .first(self.db)
            .optional()?;
        let Some(rule) = row.map(ClientRule::try_from).transpose()? else { return Ok(None) };
        let has_p12 = self.sealed_p12(rule.id)?.is_some();
        Ok(Some(ListedClientRule { last_access: self.rule_last_access(rule.id)?, rule, has_p12 }))
    }

    fn rule_last_access(&mut self, rule: ClientRuleId) -> Result<Option<Timestamp>, StoreError> {
        let last: Option<i64> = rule_usage::table.filter(rule_usage::rule_id.eq(rule.0)).select(max(rule_usage::last_access)).first(self.db)?;
        Ok(last.map(Timestamp::from_micros))
    }
}
