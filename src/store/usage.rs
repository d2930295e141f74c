//! Usage counters: coalesced per batch, written in sorted order to rows that this node alone writes.

use std::collections::BTreeMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::error::StoreError;
use super::model::OftenUsed;
use super::rows::{hex, id, known, version};
use super::schema::usage;
use super::unit::Reader;
use crate::domain::account::AccessKeyId;
use crate::domain::audit::Uses;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientRuleId, KeyId, KeyVersion};

/// What is added to a key version's row.
#[derive(Debug)]
pub(super) struct KeyUseRow {
    pub(super) key: String,
    pub(super) version: i64,
    pub(super) encryptions: i64,
    pub(super) operations: i64,
    pub(super) last_access: i64,
}

/// When a client rule last admitted somebody.
#[derive(Debug)]
pub(super) struct RuleUseRow {
    pub(super) rule: i64,
    pub(super) last_access: i64,
}

/// When an access key was last shown.
#[derive(Debug)]
pub(super) struct AccessKeyUseRow {
    pub(super) access_key: String,
    pub(super) last_access: i64,
}

/// What a batch adds to the counters.
#[derive(Debug)]
pub(super) struct UseRows {
    pub(super) keys: Vec<KeyUseRow>,
    pub(super) rules: Vec<RuleUseRow>,
    pub(super) access_keys: Vec<AccessKeyUseRow>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    encryptions: i64,
    operations: i64,
    last_access: i64,
}

/// What a batch used.
#[derive(Debug, Default)]
pub(super) struct Tally {
    keys: BTreeMap<(KeyId, KeyVersion), Count>,
    rules: BTreeMap<ClientRuleId, i64>,
    access_keys: BTreeMap<AccessKeyId, i64>,
}

impl Tally {
    /// Adds what one request used at `at`.
    pub(super) fn add(&mut self, uses: Uses, at: Timestamp) {
        let at = at.micros();
        for used in uses.keys {
            let count = self.keys.entry((used.key, used.version)).or_default();
            count.encryptions = count.encryptions.saturating_add(i64::from(used.encryptions));
            count.operations = count.operations.saturating_add(1);
            count.last_access = count.last_access.max(at);
        }
        for rule in uses.rules {
            let last = self.rules.entry(rule).or_insert(at);
            *last = at.max(*last);
        }
        if let Some(access_key) = uses.access_key {
            let last = self.access_keys.entry(access_key).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// The rows to write, in the order in which every node writes them.
    pub(super) fn into_rows(self) -> UseRows {
        let key = |((key, version), count): ((KeyId, KeyVersion), Count)| KeyUseRow {
            key: hex(key.as_bytes()),
            version: i64::from(version.number()),
            encryptions: count.encryptions,
            operations: count.operations,
            last_access: count.last_access,
        };
        let rule = |(rule, last_access): (ClientRuleId, i64)| RuleUseRow { rule: rule.0, last_access };
        let access_key = |(access_key, last_access): (AccessKeyId, i64)| AccessKeyUseRow { access_key: access_key.as_str().to_owned(), last_access };
        UseRows {
            keys: self.keys.into_iter().map(key).collect(),
            rules: self.rules.into_iter().map(rule).collect(),
            access_keys: self.access_keys.into_iter().map(access_key).collect(),
        }
    }
}

impl Reader<'_> {
    /// Encryptions that all nodes counted for a key version (internal keys too).
    pub fn encryptions(&mut self, key: KeyId, version: KeyVersion) -> Result<u64, StoreError> {
        // Summed here: PostgreSQL's SUM over BIGINT is NUMERIC. There is one row per node.
        let counted: Vec<i64> = usage::table
            .filter(usage::key_id.eq(hex(key.as_bytes())).and(usage::version.eq(i64::from(version.number()))))
            .select(usage::encryptions)
            .load(self.db)?;
        known(u64::try_from(counted.into_iter().fold(0, i64::saturating_add)).ok(), "usage counter")
    }

    /// The same of all versions of a key at once; versions that never encrypted may be missing.
    pub fn encryptions_of_versions(&mut self, key: KeyId) -> Result<BTreeMap<KeyVersion, u64>, StoreError> {
        let rows: Vec<(i64, i64)> = usage::table.filter(usage::key_id.eq(hex(key.as_bytes()))).select((usage::version, usage::encryptions)).load(self.db)?;
        let mut counted = BTreeMap::<KeyVersion, u64>::new();
        for (number, encryptions) in rows {
            let sum = counted.entry(version(number)?).or_default();
            *sum = sum.saturating_add(known(u64::try_from(encryptions).ok(), "usage counter")?);
        }
        Ok(counted)
    }

    /// A page of the key versions that some node has used for 2^24 encryptions or more, destroyed ones included, in their order. Those few are
    /// in an index of their own: each minute this is asked for. What 128 nodes share evenly is found before it has come to 2^31.
    pub fn often_used(&mut self, after: Option<OftenUsed>, limit: i64) -> Result<Vec<OftenUsed>, StoreError> {
        // The number stands in the text: a partial index isn't considered for a value that is bound.
        let mut query = usage::table
            .filter(sql::<Bool>("encryptions >= 16777216"))
            .select((usage::key_id, usage::version))
            .distinct()
            .order((usage::key_id, usage::version))
            .limit(limit)
            .into_boxed();
        if let Some(OftenUsed { key, version, .. }) = after {
            let (key, number) = (hex(key.as_bytes()), i64::from(version.number()));
            query = query.filter(usage::key_id.gt(key.clone()).or(usage::key_id.eq(key).and(usage::version.gt(number))));
        }
        let rows: Vec<(String, i64)> = query.load(self.db)?;
        let used = |(key, number): (String, i64)| {
            let (key, version) = (id(&key, "usage counter")?, version(number)?);
            Ok(OftenUsed { key, version, encryptions: self.encryptions(key, version)? })
        };
        rows.into_iter().map(used).collect()
    }

    /// When each version of a key was last used, on whatever node; versions that never were are missing.
    pub fn last_uses(&mut self, key: KeyId) -> Result<BTreeMap<KeyVersion, Timestamp>, StoreError> {
        let rows: Vec<(i64, i64)> = usage::table.filter(usage::key_id.eq(hex(key.as_bytes()))).select((usage::version, usage::last_access)).load(self.db)?;
        let mut last_uses = BTreeMap::new();
        for (number, micros) in rows {
            let at = Timestamp::from_micros(micros);
            let last = last_uses.entry(version(number)?).or_insert(at);
            *last = at.max(*last);
        }
        Ok(last_uses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::KeyUse;

    #[test]
    fn a_batch_is_coalesced_per_row_and_sorted() {
        let mut tally = Tally::default();
        let used = |byte: u8, encryptions| KeyUse { key: KeyId::from_bytes([byte; 16]), version: KeyVersion::FIRST, encryptions };
        let access_key = AccessKeyId::parse("AKID");
        tally.add(Uses { keys: vec![used(2, 1), used(1, 0)], rules: vec![ClientRuleId(7)], access_key: access_key.clone() }, Timestamp::from_micros(20));
        tally.add(Uses { keys: vec![used(2, 3)], rules: vec![ClientRuleId(7), ClientRuleId(3)], access_key }, Timestamp::from_micros(10));
        let keys: Vec<_> = tally.keys.iter().map(|((key, _), count)| (key.as_bytes()[0], count.encryptions, count.operations, count.last_access)).collect();
        assert_eq!(keys, [(1, 0, 1, 20), (2, 4, 2, 20)]);
        assert_eq!(tally.rules.into_iter().collect::<Vec<_>>(), [(ClientRuleId(3), 10), (ClientRuleId(7), 20)]);
        assert_eq!(tally.access_keys.len(), 1);
    }
}
