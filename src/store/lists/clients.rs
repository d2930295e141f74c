//! A key store's entries of one method. There are 10,000 at most, so they are searched and sorted here, by what they mean: addresses as
//! numbers, and alike on both databases.

use std::cmp::Ordering;
use std::collections::HashMap;

use diesel::dsl::max;
use diesel::prelude::*;
use ipnet::Ipv4Net;

use super::visible;
use crate::domain::client_checks::{ClientRule, Method};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientRuleId, KeyStoreId};
use crate::domain::key::State;
use crate::domain::listing::{ListQuery, Listed};
use crate::store::client_rules::Row as RuleRow;
use crate::store::error::StoreError;
use crate::store::inventory::ListedClientRule;
use crate::store::schema::{client_rules, rule_usage};
use crate::store::unit::Reader;

/// A page of a key store's entries of one method.
#[derive(Debug)]
pub struct ClientsPage {
    /// The page.
    pub listed: Listed<ListedClientRule>,
    /// Of the certificates found that are in service: how many have expired or do so before a given time.
    pub expiring: usize,
}

#[derive(Queryable)]
struct Candidate {
    id: i64,
    value: String,
    description: String,
    state: String,
    not_after: Option<i64>,
    deletion_at: Option<i64>,
}

impl Candidate {
    fn matches(&self, wanted: &str, method: Method) -> bool {
        let is_in = |text: &str, wanted: &str| text.to_ascii_lowercase().contains(wanted);
        // MAC addresses are typed either way.
        let in_value = is_in(&self.value, wanted) || (method == Method::Mac && is_in(&self.value, &wanted.replace('-', ":")));
        in_value || is_in(&self.description, wanted)
    }
}

fn by_value(method: Method, a: &Candidate, b: &Candidate) -> Ordering {
    let net = |candidate: &Candidate| candidate.value.parse::<Ipv4Net>().ok();
    match method {
        Method::Ipv4 => net(a).cmp(&net(b)),
        Method::Mac | Method::Certificate => a.value.cmp(&b.value),
    }
}

impl Reader<'_> {
    /// A page of a key store's entries of one method. They are sorted by `value`, `status`, `access`, `due` or `expiry`, else in the order in
    /// which they were made.
    pub fn client_rules_page(
        &mut self,
        key_store: KeyStoreId,
        method: Method,
        query: &ListQuery,
        expiring_before: Timestamp,
    ) -> Result<ClientsPage, StoreError> {
        let mut found: Vec<Candidate> = client_rules::table
            .filter(client_rules::key_store_id.eq(key_store.0).and(client_rules::method.eq(method.as_str())))
            .filter(client_rules::state.eq_any(visible()))
            .order(client_rules::id)
            .select((client_rules::id, client_rules::value, client_rules::description, client_rules::state, client_rules::not_after, client_rules::deletion_at))
            .load(self.db)?;
        if let Some(wanted) = &query.search {
            let wanted = wanted.to_ascii_lowercase();
            found.retain(|candidate| candidate.matches(&wanted, method));
        }
        self.sort(&mut found, method, query)?;
        let expires = |candidate: &&Candidate| {
            candidate.state == State::Active.as_str() && candidate.not_after.is_some_and(|not_after| not_after < expiring_before.micros())
        };
        let expiring = found.iter().filter(expires).count();
        let total = i64::try_from(found.len()).unwrap_or(i64::MAX);
        let number = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let ids: Vec<i64> = found.iter().skip(number(query.offset())).take(number(query.limit())).map(|candidate| candidate.id).collect();
        Ok(ClientsPage { listed: Listed { entries: self.client_rules_of(&ids)?, total }, expiring })
    }

    fn sort(&mut self, found: &mut [Candidate], method: Method, query: &ListQuery) -> Result<(), StoreError> {
        match query.sort.as_deref() {
            Some("value") => found.sort_by(|a, b| by_value(method, a, b)),
            Some("status") => found.sort_by(|a, b| a.state.cmp(&b.state)),
            Some("due") => found.sort_by_key(|candidate| candidate.deletion_at),
            Some("expiry") => found.sort_by_key(|candidate| candidate.not_after),
            Some("access") => {
                let ids: Vec<i64> = found.iter().map(|candidate| candidate.id).collect();
                let used = self.last_accesses(&ids)?;
                found.sort_by_key(|candidate| used.get(&candidate.id).copied());
            }
            Some(_) | None => {}
        }
        if query.descending {
            found.reverse();
        }
        Ok(())
    }

    /// Those entries, in that order.
    fn client_rules_of(&mut self, ids: &[i64]) -> Result<Vec<ListedClientRule>, StoreError> {
        let rows: Vec<(i64, bool, RuleRow)> = client_rules::table
            .filter(client_rules::id.eq_any(ids))
            .select((client_rules::id, client_rules::sealed_p12.is_not_null(), RuleRow::as_select()))
            .load(self.db)?;
        let used = self.last_accesses(ids)?;
        let mut rules: HashMap<i64, ListedClientRule> = HashMap::with_capacity(rows.len());
        for (id, has_p12, row) in rows {
            let last_access = used.get(&id).copied().map(Timestamp::from_micros);
            rules.insert(id, ListedClientRule { rule: ClientRule::try_from(row)?, last_access, has_p12 });
        }
        Ok(ids.iter().filter_map(|id| rules.remove(id)).collect())
    }

    /// When entries last admitted somebody, on any node.
    fn last_accesses(&mut self, ids: &[i64]) -> Result<HashMap<i64, i64>, StoreError> {
        let mut all = HashMap::new();
        // SQLite takes 32,766 values in a statement.
        for ids in ids.chunks(10_000) {
            let used: Vec<(i64, Option<i64>)> = rule_usage::table
                .filter(rule_usage::rule_id.eq_any(ids))
                .group_by(rule_usage::rule_id)
                .select((rule_usage::rule_id, max(rule_usage::last_access)))
                .load(self.db)?;
            all.extend(used.into_iter().filter_map(|(id, at)| at.map(|at| (id, at))));
        }
        Ok(all)
    }

    /// A key store's entries of one method that were made after `after`, `limit` at most.
    pub fn client_rules_after(
        &mut self,
        key_store: KeyStoreId,
        method: Method,
        after: Option<ClientRuleId>,
        limit: i64,
    ) -> Result<Vec<ListedClientRule>, StoreError> {
        let ids: Vec<i64> = client_rules::table
            .filter(client_rules::key_store_id.eq(key_store.0).and(client_rules::method.eq(method.as_str())))
            .filter(client_rules::state.eq_any(visible()).and(client_rules::id.gt(after.map_or(0, |id| id.0))))
            .order(client_rules::id)
            .limit(limit)
            .select(client_rules::id)
            .load(self.db)?;
        self.client_rules_of(&ids)
    }
}
