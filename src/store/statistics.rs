//! Statistics: the audit log summed up by hour and by day.
//!
//! A chain is summed up a piece at a time, from where [`UncountedChain::counted`] says. Within a chain the records become visible in their
//! order, so that none can turn up later before that place; and the place moves in the transaction that adds to the sums, if it is still
//! where the piece began. So each record is counted once, whoever crashes, and however many nodes are at it.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::audit::{CHAIN_ROOM, position};
use super::dialect::{self, CallBatch};
use super::error::StoreError;
use super::rows::{hex, id, known};
use super::schema::{audit_chains, audit_records, call_counts, key_stores, keys, projects};
use super::unit::{Reader, Tx};
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChainId, KeyId, KeyStoreNumber, ProjectId};
use crate::domain::key::State;
use crate::domain::statistics::{CallGroup, CallKind, CallResult, QUARTER_MINUTES, Slot, requests_over_limit};

const WHAT: &str = "call count";

/// The most chains that one read answers.
const CHAINS_READ: i64 = 256;
/// A quarter of an hour, in microseconds.
const QUARTER_MICROS: i64 = QUARTER_MINUTES * 60 * 1_000_000;

/// A chain with records that are not in the sums yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncountedChain {
    /// Its number, which grows with each process start.
    pub number: i64,
    /// The node that writes it, or did.
    pub node: String,
    /// The sequence number of its last record in the sums; -1 before the first.
    pub counted: i64,
    /// The sequence number of its last record.
    pub head: i64,
    /// When its first record that is not in the sums was made.
    pub oldest: Timestamp,
}

/// Calls of one slot that are alike, to be added to the sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallCount {
    /// When.
    pub slot: Slot,
    /// What.
    pub kind: CallKind,
    /// How many.
    pub calls: i64,
}

/// How often an operation had a result in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationCalls {
    /// The number of the slot ([`Slot::parts`]).
    pub slot: i64,
    /// What was asked for.
    pub operation: Operation,
    /// What came of it.
    pub result: CallResult,
    /// How many there were.
    pub calls: i64,
}

/// How often a key was named, by what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCalls {
    /// The key.
    pub key: KeyId,
    /// In the order of [`CallResult::ALL`].
    pub calls: [i64; CallResult::ALL.len()],
}

/// A key as statistics name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedKey {
    /// Its name.
    pub name: String,
    /// Its key store.
    pub key_store: KeyStoreNumber,
    /// Whether it has a page.
    pub is_visible: bool,
}

/// What is summed up, of which time: one or more slots that follow each other.
#[derive(Debug, Clone, Copy)]
pub struct CallRange {
    /// Of which project.
    pub project: ProjectId,
    /// The first slot.
    pub from: Slot,
    /// The number of the slot after the last.
    pub before: i64,
    /// Of that key alone.
    pub key: Option<KeyId>,
}

#[derive(QueryableByName)]
struct ChainRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = Text)]
    node: String,
    #[diesel(sql_type = BigInt)]
    counted: i64,
    #[diesel(sql_type = BigInt)]
    head: i64,
    #[diesel(sql_type = BigInt)]
    oldest: i64,
}

#[derive(QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    project_id: Option<i64>,
    #[diesel(sql_type = BigInt)]
    quarter: i64,
    #[diesel(sql_type = Text)]
    operation: String,
    #[diesel(sql_type = BigInt)]
    code: i64,
    #[diesel(sql_type = Nullable<Text>)]
    key_id: Option<String>,
    #[diesel(sql_type = BigInt)]
    calls: i64,
}

#[derive(QueryableByName)]
struct SumRow {
    #[diesel(sql_type = BigInt)]
    slot: i64,
    #[diesel(sql_type = Text)]
    operation: String,
    #[diesel(sql_type = Text)]
    result: String,
    #[diesel(sql_type = BigInt)]
    calls: i64,
}

#[derive(QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = Text)]
    key_id: String,
    #[diesel(sql_type = BigInt)]
    success: i64,
    #[diesel(sql_type = BigInt)]
    refused: i64,
    #[diesel(sql_type = BigInt)]
    failed: i64,
}

impl Reader<'_> {
    /// Chains that went on since they were last summed up, the newest first; 256 at most.
    pub fn uncounted_chains(&mut self) -> Result<Vec<UncountedChain>, StoreError> {
        let sql = format!(
            "SELECT c.number, c.node, c.head_sequence AS head, COALESCE(k.sequence, -1) AS counted,
                 COALESCE((SELECT r.at FROM audit_records r WHERE r.position = c.number * {CHAIN_ROOM} + COALESCE(k.sequence, -1) + 1), c.head_at) AS oldest
             FROM audit_chains c LEFT JOIN counted_chains k ON k.chain = c.number
             WHERE c.head_sequence > COALESCE(k.sequence, -1) ORDER BY c.number DESC LIMIT {CHAINS_READ}"
        );
        let rows: Vec<ChainRow> = diesel::sql_query(sql).load(self.db)?;
        let chain = |row: ChainRow| {
            let oldest = Timestamp::from_micros(row.oldest);
            UncountedChain { number: row.number, node: row.node, counted: row.counted, head: row.head, oldest }
        };
        Ok(rows.into_iter().map(chain).collect())
    }

    /// What the records of a chain after `counted` and up to `through` add to the sums, in order.
    pub fn call_groups(&mut self, chain: i64, counted: i64, through: i64) -> Result<Vec<CallGroup>, StoreError> {
        let (from, to) = (position(chain, counted.saturating_add(1))?, position(chain, through)?);
        let mut groups = BTreeMap::<(Timestamp, CallKind), i64>::new();
        let mut add = |project: Option<i64>, quarter: i64, operation: &str, code: i64, key: Option<String>, calls: i64| {
            let Some(project) = project.map(ProjectId) else { return Ok(()) };
            let quarter = Timestamp::from_micros(quarter.saturating_mul(QUARTER_MICROS));
            let result = CallResult::of(known(i32::try_from(code).ok(), WHAT)?);
            let kind = CallKind { project, operation: known(Operation::parse(operation), WHAT)?, result, key: key.map(|key| id(&key, WHAT)).transpose()? };
            let counted = groups.entry((quarter, kind)).or_default();
            *counted = counted.saturating_add(calls);
            Ok::<(), StoreError>(())
        };
        // Those of no project are sorted out afterwards: a condition on the project would have SQLite walk through the index of it. The parts of what was
        // asked for are no calls: that somebody asked is one.
        let sql = format!(
            "SELECT project_id, at / {QUARTER_MICROS} AS quarter, operation, result_code AS code, key_id, COUNT(*) AS calls FROM audit_records
             WHERE position BETWEEN $1 AND $2 AND operation <> 'REFUSE_TOO_MANY' AND operation <> 'DESCRIBE_REQUEST' GROUP BY 1, 2, 3, 4, 5"
        );
        let rows: Vec<GroupRow> = dialect::between(self.db, sql, from, to)?;
        for row in rows {
            add(row.project_id, row.quarter, &row.operation, row.code, row.key_id, row.calls)?;
        }
        let many: Vec<(Option<i64>, i64, i64, Option<String>)> = audit_records::table
            .filter(audit_records::position.between(from, to))
            .filter(audit_records::operation.eq(Operation::RefuseTooMany.as_str()))
            .select((audit_records::project_id, audit_records::at, audit_records::result_code, audit_records::detail))
            .load(self.db)?;
        for (project, at, code, detail) in many {
            let calls = requests_over_limit(detail.as_deref());
            add(project, at.div_euclid(QUARTER_MICROS), Operation::RefuseTooMany.as_str(), code, None, calls)?;
        }
        Ok(groups.into_iter().map(|((quarter, kind), calls)| CallGroup { quarter, kind, calls }).collect())
    }

    /// Whether records older than `than` are still to be summed up, of those chains that this asks for at once.
    pub fn is_counting_behind(&mut self, than: Timestamp) -> Result<bool, StoreError> {
        Ok(self.uncounted_chains()?.iter().any(|chain| chain.oldest < than))
    }

    /// Calls by slot, operation and result.
    pub fn calls_by_operation(&mut self, range: &CallRange) -> Result<Vec<OperationCalls>, StoreError> {
        let rows: Vec<SumRow> = dialect::calls_by_operation(self.db, range)?;
        let calls = |row: SumRow| {
            let (operation, result) = (known(Operation::parse(&row.operation), WHAT)?, known(CallResult::parse(&row.result), WHAT)?);
            Ok(OperationCalls { slot: row.slot, operation, result, calls: row.calls })
        };
        rows.into_iter().map(calls).collect()
    }

    /// The keys that were named most often, at most `limit`.
    pub fn calls_by_key(&mut self, range: &CallRange, limit: i64) -> Result<Vec<KeyCalls>, StoreError> {
        let rows: Vec<KeyRow> = dialect::calls_by_key(self.db, range, limit)?;
        rows.into_iter().map(|row| Ok(KeyCalls { key: id(&row.key_id, WHAT)?, calls: [row.success, row.refused, row.failed] })).collect()
    }

    /// How many calls named no key, by what came of them.
    pub fn calls_without_key(&mut self, range: &CallRange) -> Result<[i64; CallResult::ALL.len()], StoreError> {
        let (span, from) = range.from.parts();
        let rows: Vec<(String, i64)> = call_counts::table
            .filter(call_counts::project_id.eq(range.project.0).and(call_counts::span.eq(span)))
            .filter(call_counts::slot.ge(from).and(call_counts::slot.lt(range.before)))
            .filter(call_counts::key_id.eq(""))
            .select((call_counts::result, call_counts::calls))
            .load(self.db)?;
        Ok(CallResult::ALL.map(|result| rows.iter().filter(|(of, _)| of == result.as_str()).fold(0, |sum: i64, (_, calls)| sum.saturating_add(*calls))))
    }

    /// The names of keys of a project, destroyed ones included. A key of another project has none here.
    pub fn key_names(&mut self, project: ProjectId, wanted: &[KeyId]) -> Result<BTreeMap<KeyId, NamedKey>, StoreError> {
        let wanted: Vec<String> = wanted.iter().map(|key| hex(key.as_bytes())).collect();
        let rows: Vec<(String, String, i64, String)> = keys::table
            .inner_join(key_stores::table.on(key_stores::id.eq(keys::key_store_id)))
            .filter(key_stores::project_id.eq(project.0).and(keys::id.eq_any(wanted)))
            .select((keys::id, keys::name, key_stores::number, keys::state))
            .load(self.db)?;
        let named = |(key, name, number, state): (String, String, i64, String)| {
            let is_visible = super::rows::state(&state).is_ok_and(State::is_visible);
            Ok((id(&key, WHAT)?, NamedKey { name, key_store: KeyStoreNumber(number), is_visible }))
        };
        rows.into_iter().map(named).collect()
    }

    /// Projects with sums of slots before those of `of`'s kind.
    pub fn projects_with_calls_before(&mut self, of: Slot) -> Result<Vec<ProjectId>, StoreError> {
        let (span, number) = of.parts();
        let old = call_counts::table.filter(call_counts::project_id.eq(projects::id).and(call_counts::span.eq(span)).and(call_counts::slot.lt(number)));
        let found: Vec<i64> = projects::table.filter(diesel::dsl::exists(old)).order(projects::id).select(projects::id).load(self.db)?;
        Ok(found.into_iter().map(ProjectId).collect())
    }

    /// The number of a chain.
    pub fn chain_number(&mut self, chain: ChainId) -> Result<Option<i64>, StoreError> {
        Ok(audit_chains::table.filter(audit_chains::chain.eq(hex(chain.as_bytes()))).select(audit_chains::number).first(self.db).optional()?)
    }
}

impl Tx<'_> {
    /// Adds what the records of a chain after `counted` and up to `through` come to. `false`, with nothing done: another node is at the chain
    /// or was.
    pub fn count_calls(&mut self, chain: i64, counted: i64, through: i64, counts: &[CallCount]) -> Result<bool, StoreError> {
        if !dialect::try_lock_calls(self.reader.db, chain)? || !dialect::move_counted(self.reader.db, chain, counted, through)? {
            return Ok(false);
        }
        let node = self.node;
        dialect::add_calls(self.reader.db, &CallBatch { node, counts })?;
        Ok(true)
    }

    /// Drops some of a project's sums of slots before those of `of`'s kind, at most `limit`; answers how many. None while another node does.
    pub fn forget_calls(&mut self, project: ProjectId, of: Slot, limit: i64) -> Result<usize, StoreError> {
        if !dialect::try_lock_calls(self.reader.db, 0)? {
            return Ok(0);
        }
        Ok(dialect::forget_calls(self.reader.db, project, of, limit)?)
    }
}
