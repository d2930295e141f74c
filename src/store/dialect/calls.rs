//! The sums of the statistics: read in SQL that both databases understand, written as each does it best.

use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel::sqlite::Sqlite;
use diesel::{PgConnection, QueryResult, RunQueryDsl as _, SqliteConnection};

use crate::domain::ids::ProjectId;
use crate::domain::statistics::Slot;
use crate::store::connection::Db;
use crate::store::rows::hex;
use crate::store::statistics::{CallCount, CallRange};

/// The advisory locks of those who write sums, one for each chain: "skm" and a number, in an `INTEGER`.
const LOCKS: i32 = 0x73_6b_6d_02;

/// What is added to the sums.
#[derive(Debug)]
pub(in crate::store) struct CallBatch<'a> {
    pub(in crate::store) node: &'a str,
    pub(in crate::store) counts: &'a [CallCount],
}

#[derive(diesel::QueryableByName)]
struct Locked {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    locked: bool,
}

/// Whether this transaction alone may write the sums of the chain of that number. Two that are summed up at once would wait for each other, and
/// with them all that waits for either. SQLite has one writer.
pub(in crate::store) fn try_lock_calls(db: &mut Db, chain: i64) -> QueryResult<bool> {
    match db {
        Db::Sqlite(_) => Ok(true),
        Db::Postgresql(connection) => {
            // Chains that share a lock have to take turns, and that is all.
            let lock = i32::try_from(chain.rem_euclid(i64::from(i32::MAX))).unwrap_or_default();
            let locked: Locked = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1, $2) AS locked")
                .bind::<Integer, _>(LOCKS)
                .bind::<Integer, _>(lock)
                .get_result(connection)?;
            Ok(locked.locked)
        }
    }
}

/// Loads the rows of a statement about what is between two numbers.
pub(in crate::store) fn between<R>(db: &mut Db, sql: String, from: i64, to: i64) -> QueryResult<Vec<R>>
where
    R: QueryableByName<Sqlite> + QueryableByName<Pg> + 'static,
{
    match db {
        Db::Sqlite(connection) => diesel::sql_query(sql).bind::<BigInt, _>(from).bind::<BigInt, _>(to).load(connection),
        Db::Postgresql(connection) => diesel::sql_query(sql).bind::<BigInt, _>(from).bind::<BigInt, _>(to).load(connection),
    }
}

/// Loads rows about a range. An empty key is any.
macro_rules! load_range {
    ($db:ident, $sql:expr, $range:ident) => {{
        let (span, from) = $range.from.parts();
        let key = $range.key.map(|key| hex(key.as_bytes())).unwrap_or_default();
        let query = diesel::sql_query($sql).bind::<BigInt, _>($range.project.0).bind::<Text, _>(span).bind::<BigInt, _>(from);
        let query = query.bind::<BigInt, _>($range.before).bind::<Text, _>(key);
        match $db {
            Db::Sqlite(connection) => query.load(connection),
            Db::Postgresql(connection) => query.load(connection),
        }
    }};
}

/// Calls by slot, operation and result, in that order.
pub(in crate::store) fn calls_by_operation<R>(db: &mut Db, range: &CallRange) -> QueryResult<Vec<R>>
where
    R: QueryableByName<Sqlite> + QueryableByName<Pg> + 'static,
{
    let sql = "SELECT slot, operation, result, CAST(SUM(calls) AS BIGINT) AS calls FROM call_counts
        WHERE project_id = $1 AND span = $2 AND slot >= $3 AND slot < $4 AND ($5 = '' OR key_id = $5)
        GROUP BY slot, operation, result ORDER BY slot, operation, result";
    load_range!(db, sql, range)
}

/// Calls by key, those that were named most often first.
pub(in crate::store) fn calls_by_key<R>(db: &mut Db, range: &CallRange, limit: i64) -> QueryResult<Vec<R>>
where
    R: QueryableByName<Sqlite> + QueryableByName<Pg> + 'static,
{
    let sql = format!(
        "SELECT key_id, CAST(SUM(CASE result WHEN 'SUCCESS' THEN calls ELSE 0 END) AS BIGINT) AS success,
             CAST(SUM(CASE result WHEN 'REFUSED' THEN calls ELSE 0 END) AS BIGINT) AS refused,
             CAST(SUM(CASE result WHEN 'FAILED' THEN calls ELSE 0 END) AS BIGINT) AS failed FROM call_counts
         WHERE project_id = $1 AND span = $2 AND slot >= $3 AND slot < $4 AND key_id <> '' AND ($5 = '' OR key_id = $5)
         GROUP BY key_id ORDER BY SUM(calls) DESC, key_id LIMIT {limit}"
    );
    load_range!(db, sql, range)
}

prepared!(MoveSqlite on Sqlite, SqliteConnection:
    "INSERT INTO counted_chains (chain, sequence) VALUES (" chain: i64 => BigInt,
    ", " through: i64 => BigInt,
    ") ON CONFLICT (chain) DO UPDATE SET sequence = excluded.sequence WHERE counted_chains.sequence = " counted: i64 => BigInt;
    "");
prepared!(MovePostgresql on Pg, PgConnection:
    "INSERT INTO counted_chains (chain, sequence) VALUES (" chain: i64 => BigInt,
    ", " through: i64 => BigInt,
    ") ON CONFLICT (chain) DO UPDATE SET sequence = excluded.sequence WHERE counted_chains.sequence = " counted: i64 => BigInt;
    "");

/// Moves the place up to which a chain is in the sums; whether it was where it was expected to be.
pub(in crate::store) fn move_counted(db: &mut Db, chain: i64, counted: i64, through: i64) -> QueryResult<bool> {
    let (chain, counted, through) = (&chain, &counted, &through);
    let moved = match db {
        Db::Sqlite(connection) => MoveSqlite { chain, through, counted }.execute(connection),
        Db::Postgresql(connection) => MovePostgresql { chain, through, counted }.execute(connection),
    };
    Ok(moved? == 1)
}

prepared!(AddSqlite on Sqlite, SqliteConnection:
    "INSERT INTO call_counts (project_id, span, slot, operation, result, key_id, node, calls) VALUES (" project: i64 => BigInt,
    ", " span: str => Text,
    ", " slot: i64 => BigInt,
    ", " operation: str => Text,
    ", " result: str => Text,
    ", " key: str => Text,
    ", " node: str => Text,
    ", " calls: i64 => BigInt;
    ") ON CONFLICT (project_id, span, slot, operation, result, key_id, node) DO UPDATE SET calls = calls + excluded.calls");

prepared!(AddPostgresql on Pg, PgConnection:
    "INSERT INTO call_counts (node, project_id, span, slot, operation, result, key_id, calls)
     SELECT " node: str => Text,
    ", * FROM unnest(" project: Vec<i64> => Array<BigInt>,
    ", " span: Vec<&'a str> => Array<Text>,
    ", " slot: Vec<i64> => Array<BigInt>,
    ", " operation: Vec<&'a str> => Array<Text>,
    ", " result: Vec<&'a str> => Array<Text>,
    ", " key: Vec<&'a str> => Array<Text>,
    ", " calls: Vec<i64> => Array<BigInt>;
    ") ON CONFLICT (project_id, span, slot, operation, result, key_id, node) DO UPDATE SET calls = call_counts.calls + excluded.calls");

/// Adds to the sums. No two of `counts` may be of the same row.
pub(in crate::store) fn add_calls(db: &mut Db, batch: &CallBatch<'_>) -> QueryResult<()> {
    let keys: Vec<String> = batch.counts.iter().map(|count| count.kind.key.map(|key| hex(key.as_bytes())).unwrap_or_default()).collect();
    match db {
        Db::Sqlite(connection) => batch.counts.iter().zip(&keys).try_for_each(|(count, key)| add_one(connection, batch.node, count, key)),
        Db::Postgresql(connection) => {
            let counts = batch.counts;
            AddPostgresql {
                node: batch.node,
                project: &counts.iter().map(|count| count.kind.project.0).collect(),
                span: &counts.iter().map(|count| count.slot.parts().0).collect(),
                slot: &counts.iter().map(|count| count.slot.parts().1).collect(),
                operation: &counts.iter().map(|count| count.kind.operation.as_str()).collect(),
                result: &counts.iter().map(|count| count.kind.result.as_str()).collect(),
                key: &keys.iter().map(String::as_str).collect(),
                calls: &counts.iter().map(|count| count.calls).collect(),
            }
            .execute(connection)
            .map(drop)
        }
    }
}

fn add_one(connection: &mut SqliteConnection, node: &str, count: &CallCount, key: &str) -> QueryResult<()> {
    let (span, slot) = count.slot.parts();
    let (operation, result) = (count.kind.operation.as_str(), count.kind.result.as_str());
    AddSqlite { project: &count.kind.project.0, span, slot: &slot, operation, result, key, node, calls: &count.calls }.execute(connection).map(drop)
}

/// Drops the oldest sums of slots before `of`.
pub(in crate::store) fn forget_calls(db: &mut Db, project: ProjectId, of: Slot, limit: i64) -> QueryResult<usize> {
    let (span, number) = of.parts();
    let sql = format!(
        "DELETE FROM call_counts WHERE (project_id, span, slot, operation, result, key_id, node) IN (
             SELECT project_id, span, slot, operation, result, key_id, node FROM call_counts
             WHERE project_id = $1 AND span = $2 AND slot < $3 ORDER BY slot, operation, result, key_id, node LIMIT {limit})"
    );
    let query = diesel::sql_query(sql).bind::<BigInt, _>(project.0).bind::<Text, _>(span).bind::<BigInt, _>(number);
    match db {
        Db::Sqlite(connection) => query.execute(connection),
        Db::Postgresql(connection) => query.execute(connection),
    }
}
