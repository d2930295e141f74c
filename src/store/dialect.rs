//! All that differs between SQLite and PostgreSQL once connected: how transactions begin, what inserts or updates, and the statements
//! of the hot path, written out so that each is prepared once per connection. (`diesel` prepares an update, a batch insert and
//! an upsert of its own making anew each time.)

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text};
use diesel::{PgConnection, QueryResult, RunQueryDsl, SqliteConnection, pg::Pg, sqlite::Sqlite};

use super::audit::{Head, RecordRow};
use super::connection::Db;
use super::error::StoreError;
use super::usage::{AccessKeyUseRow, KeyUseRow, RuleUseRow};

/// A statement with a parameter for each `?`, prepared once per connection.
macro_rules! prepared {
    ($name:ident on $backend:ty, $connection:ty: $sql:expr $(, then $tail:expr)?; $($field:ident: $rust:ty => $sql_type:ty),+ $(,)?) => {
        #[derive(Debug)]
        struct $name<'a> {
            $($field: &'a $rust),+
        }

        impl QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl QueryFragment<$backend> for $name<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                let mut text = $sql.split('?');
                $(
                    out.push_sql(text.next().unwrap_or_default());
                    out.push_bind_param::<$sql_type, _>(self.$field)?;
                )+
                out.push_sql(text.next().unwrap_or_default());
                $(out.push_sql($tail);)?
                Ok(())
            }
        }

        impl RunQueryDsl<$connection> for $name<'_> {}
    };
}

/// Begins a transaction that will write. SQLite takes its write lock now: taking it later could fail with a snapshot gone old.
pub(super) fn begin_write(db: &mut Db) -> QueryResult<()> {
    match db {
        Db::Sqlite(connection) => connection.batch_execute("BEGIN IMMEDIATE"),
        Db::Postgresql(connection) => connection.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
    }
}

/// Begins a transaction that reads, all of it as of one moment.
pub(super) fn begin_read(db: &mut Db) -> QueryResult<()> {
    match db {
        Db::Sqlite(connection) => connection.batch_execute("BEGIN DEFERRED"),
        Db::Postgresql(connection) => connection.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
    }
}

const LOCK_CHAIN: &str = "SELECT head_sequence FROM audit_chains WHERE chain = $1 FOR UPDATE";

/// Waits, on PostgreSQL, until a transaction that a lost connection left behind has let go of the chain. SQLite has none such.
pub(super) fn lock_chain(db: &mut Db, chain: &str) -> QueryResult<()> {
    match db {
        Db::Sqlite(_) => Ok(()),
        Db::Postgresql(connection) => diesel::sql_query(LOCK_CHAIN).bind::<Text, _>(chain).execute(connection).map(drop),
    }
}

prepared!(AdvanceSqlite on Sqlite, SqliteConnection: ADVANCE;
    sequence: i64 => BigInt, hash: [u8] => Binary, at: i64 => BigInt, chain: i64 => BigInt, expected: i64 => BigInt);
prepared!(AdvancePostgresql on Pg, PgConnection: ADVANCE;
    sequence: i64 => BigInt, hash: [u8] => Binary, at: i64 => BigInt, chain: i64 => BigInt, expected: i64 => BigInt);
const ADVANCE: &str = "UPDATE audit_chains SET head_sequence = ?, head_hash = ?, head_at = ? WHERE number = ? AND head_sequence = ?";

/// Notes a chain's new head, if the old one is still what it was; answers how many rows changed.
pub(super) fn advance_chain(db: &mut Db, chain: i64, expected: i64, head: &Head, at: i64) -> QueryResult<usize> {
    let (sequence, hash) = (&head.sequence, head.hash.as_slice());
    match db {
        Db::Sqlite(connection) => AdvanceSqlite { sequence, hash, at: &at, chain: &chain, expected: &expected }.execute(connection),
        Db::Postgresql(connection) => AdvancePostgresql { sequence, hash, at: &at, chain: &chain, expected: &expected }.execute(connection),
    }
}

/// Inserts audit records of one chain.
pub(super) fn insert_records(db: &mut Db, chain: i64, rows: &[RecordRow]) -> QueryResult<()> {
    match db {
        Db::Sqlite(connection) => rows.iter().try_for_each(|row| insert_record(connection, chain, row)),
        Db::Postgresql(connection) => insert_record_arrays(connection, chain, rows),
    }
}

prepared!(InsertRecord on Sqlite, SqliteConnection:
    "INSERT INTO audit_records (chain_number, sequence, previous, hash, at, request, project_id, actor_kind, actor_name, address, mac,
     certificate, user_agent, operation, key_store, key_id, version, result_code, detail)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    chain: i64 => BigInt,
    sequence: i64 => BigInt,
    previous: [u8] => Binary,
    hash: [u8] => Binary,
    at: i64 => BigInt,
    request: str => Text,
    project: Option<i64> => Nullable<BigInt>,
    actor_kind: str => Text,
    actor_name: str => Text,
    address: Option<String> => Nullable<Text>,
    mac: Option<String> => Nullable<Text>,
    certificate: Option<Vec<u8>> => Nullable<Binary>,
    user_agent: Option<String> => Nullable<Text>,
    operation: str => Text,
    key_store: Option<i64> => Nullable<BigInt>,
    key: Option<String> => Nullable<Text>,
    version: Option<i64> => Nullable<BigInt>,
    result_code: i64 => BigInt,
    detail: Option<String> => Nullable<Text>,
);

/// One row at a time, prepared: in SQLite that is faster than several rows in one statement.
fn insert_record(connection: &mut SqliteConnection, chain: i64, row: &RecordRow) -> QueryResult<()> {
    InsertRecord {
        chain: &chain,
        sequence: &row.sequence,
        previous: &row.previous,
        hash: &row.hash,
        at: &row.at,
        request: &row.request,
        project: &row.project,
        actor_kind: row.actor_kind,
        actor_name: &row.actor_name,
        address: &row.address,
        mac: &row.mac,
        certificate: &row.certificate,
        user_agent: &row.user_agent,
        operation: row.operation,
        key_store: &row.key_store,
        key: &row.key,
        version: &row.version,
        result_code: &row.result_code,
        detail: &row.detail,
    }
    .execute(connection)
    .map(drop)
}

prepared!(InsertRecordArrays on Pg, PgConnection:
    "INSERT INTO audit_records (chain_number, sequence, previous, hash, at, request, project_id, actor_kind, actor_name, address, mac,
     certificate, user_agent, operation, key_store, key_id, version, result_code, detail)
     SELECT ?, * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    chain: i64 => BigInt,
    sequence: Vec<i64> => Array<BigInt>,
    previous: Vec<&'a [u8]> => Array<Binary>,
    hash: Vec<&'a [u8]> => Array<Binary>,
    at: Vec<i64> => Array<BigInt>,
    request: Vec<&'a str> => Array<Text>,
    project: Vec<Option<i64>> => Array<Nullable<BigInt>>,
    actor_kind: Vec<&'a str> => Array<Text>,
    actor_name: Vec<&'a str> => Array<Text>,
    address: Vec<Option<&'a str>> => Array<Nullable<Text>>,
    mac: Vec<Option<&'a str>> => Array<Nullable<Text>>,
    certificate: Vec<Option<&'a [u8]>> => Array<Nullable<Binary>>,
    user_agent: Vec<Option<&'a str>> => Array<Nullable<Text>>,
    operation: Vec<&'a str> => Array<Text>,
    key_store: Vec<Option<i64>> => Array<Nullable<BigInt>>,
    key: Vec<Option<&'a str>> => Array<Nullable<Text>>,
    version: Vec<Option<i64>> => Array<Nullable<BigInt>>,
    result_code: Vec<i64> => Array<BigInt>,
    detail: Vec<Option<&'a str>> => Array<Nullable<Text>>,
);

/// All rows in one statement whose text doesn't depend on their number: one array per column.
fn insert_record_arrays(connection: &mut PgConnection, chain: i64, rows: &[RecordRow]) -> QueryResult<()> {
    fn column<'r, T>(rows: &'r [RecordRow], field: impl Fn(&'r RecordRow) -> T) -> Vec<T> {
        rows.iter().map(field).collect()
    }
    InsertRecordArrays {
        chain: &chain,
        sequence: &column(rows, |row| row.sequence),
        previous: &column(rows, |row| row.previous.as_slice()),
        hash: &column(rows, |row| row.hash.as_slice()),
        at: &column(rows, |row| row.at),
        request: &column(rows, |row| row.request.as_str()),
        project: &column(rows, |row| row.project),
        actor_kind: &column(rows, |row| row.actor_kind),
        actor_name: &column(rows, |row| row.actor_name.as_str()),
        address: &column(rows, |row| row.address.as_deref()),
        mac: &column(rows, |row| row.mac.as_deref()),
        certificate: &column(rows, |row| row.certificate.as_deref()),
        user_agent: &column(rows, |row| row.user_agent.as_deref()),
        operation: &column(rows, |row| row.operation),
        key_store: &column(rows, |row| row.key_store),
        key: &column(rows, |row| row.key.as_deref()),
        version: &column(rows, |row| row.version),
        result_code: &column(rows, |row| row.result_code),
        detail: &column(rows, |row| row.detail.as_deref()),
    }
    .execute(connection)
    .map(drop)
}

const ADD_KEY_USE: &str = " ON CONFLICT (key_id, version, node) DO UPDATE SET encryptions = usage.encryptions + excluded.encryptions,
     operations = usage.operations + excluded.operations,
     last_access = CASE WHEN excluded.last_access > usage.last_access THEN excluded.last_access ELSE usage.last_access END";

prepared!(AddKeyUse on Sqlite, SqliteConnection:
    "INSERT INTO usage (key_id, version, node, encryptions, operations, last_access) VALUES (?, ?, ?, ?, ?, ?)", then ADD_KEY_USE;
    key: str => Text, version: i64 => BigInt, node: str => Text, encryptions: i64 => BigInt, operations: i64 => BigInt, last_access: i64 => BigInt);
prepared!(AddKeyUseArrays on Pg, PgConnection:
    "INSERT INTO usage (node, key_id, version, encryptions, operations, last_access) SELECT ?, * FROM unnest(?, ?, ?, ?, ?)", then ADD_KEY_USE;
    node: str => Text, key: Vec<&'a str> => Array<Text>, version: Vec<i64> => Array<BigInt>, encryptions: Vec<i64> => Array<BigInt>,
    operations: Vec<i64> => Array<BigInt>, last_access: Vec<i64> => Array<BigInt>);

/// Adds to the counters of key versions.
pub(super) fn add_key_uses(db: &mut Db, node: &str, rows: &[KeyUseRow]) -> QueryResult<()> {
    match db {
        Db::Sqlite(connection) => rows.iter().try_for_each(|row| {
            let (encryptions, operations, last_access) = (&row.encryptions, &row.operations, &row.last_access);
            AddKeyUse { key: &row.key, version: &row.version, node, encryptions, operations, last_access }.execute(connection).map(drop)
        }),
        Db::Postgresql(connection) => AddKeyUseArrays {
            node,
            key: &rows.iter().map(|row| row.key.as_str()).collect(),
            version: &rows.iter().map(|row| row.version).collect(),
            encryptions: &rows.iter().map(|row| row.encryptions).collect(),
            operations: &rows.iter().map(|row| row.operations).collect(),
            last_access: &rows.iter().map(|row| row.last_access).collect(),
        }
        .execute(connection)
        .map(drop),
    }
}

const NOTE_RULE_USE: &str = " ON CONFLICT (rule_id, node) DO UPDATE SET
     last_access = CASE WHEN excluded.last_access > rule_usage.last_access THEN excluded.last_access ELSE rule_usage.last_access END";

prepared!(NoteRuleUse on Sqlite, SqliteConnection:
    "INSERT INTO rule_usage (node, rule_id, last_access) VALUES (?, ?, ?)", then NOTE_RULE_USE;
    node: str => Text, rule: i64 => BigInt, last_access: i64 => BigInt);
prepared!(NoteRuleUseArrays on Pg, PgConnection:
    "INSERT INTO rule_usage (node, rule_id, last_access) SELECT ?, * FROM unnest(?, ?)", then NOTE_RULE_USE;
    node: str => Text, rule: Vec<i64> => Array<BigInt>, last_access: Vec<i64> => Array<BigInt>);

/// Notes when client rules last admitted somebody.
pub(super) fn note_rule_uses(db: &mut Db, node: &str, rows: &[RuleUseRow]) -> QueryResult<()> {
    match db {
        Db::Sqlite(connection) => {
            rows.iter().try_for_each(|row| NoteRuleUse { node, rule: &row.rule, last_access: &row.last_access }.execute(connection).map(drop))
        }
        Db::Postgresql(connection) => {
            NoteRuleUseArrays { node, rule: &rows.iter().map(|row| row.rule).collect(), last_access: &rows.iter().map(|row| row.last_access).collect() }
                .execute(connection)
                .map(drop)
        }
    }
}

const NOTE_ACCESS_KEY_USE: &str = " ON CONFLICT (access_key_id, node) DO UPDATE SET last_access =
     CASE WHEN excluded.last_access > access_key_usage.last_access THEN excluded.last_access ELSE access_key_usage.last_access END";

prepared!(NoteAccessKeyUse on Sqlite, SqliteConnection:
    "INSERT INTO access_key_usage (node, access_key_id, last_access) VALUES (?, ?, ?)", then NOTE_ACCESS_KEY_USE;
    node: str => Text, access_key: str => Text, last_access: i64 => BigInt);
prepared!(NoteAccessKeyUseArrays on Pg, PgConnection:
    "INSERT INTO access_key_usage (node, access_key_id, last_access) SELECT ?, * FROM unnest(?, ?)", then NOTE_ACCESS_KEY_USE;
    node: str => Text, access_key: Vec<&'a str> => Array<Text>, last_access: Vec<i64> => Array<BigInt>);

/// Notes when access keys were last shown.
pub(super) fn note_access_key_uses(db: &mut Db, node: &str, rows: &[AccessKeyUseRow]) -> QueryResult<()> {
    match db {
        Db::Sqlite(connection) => {
            rows.iter().try_for_each(|row| NoteAccessKeyUse { node, access_key: &row.access_key, last_access: &row.last_access }.execute(connection).map(drop))
        }
        Db::Postgresql(connection) => NoteAccessKeyUseArrays {
            node,
            access_key: &rows.iter().map(|row| row.access_key.as_str()).collect(),
            last_access: &rows.iter().map(|row| row.last_access).collect(),
        }
        .execute(connection)
        .map(drop),
    }
}

const PUT_SETTING: &str = "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
prepared!(PutSettingSqlite on Sqlite, SqliteConnection: PUT_SETTING; name: str => Text, value: [u8] => Binary);
prepared!(PutSettingPostgresql on Pg, PgConnection: PUT_SETTING; name: str => Text, value: [u8] => Binary);

/// Inserts or replaces a setting.
pub(super) fn put_setting(db: &mut Db, name: &str, value: &[u8]) -> QueryResult<()> {
    match db {
        Db::Sqlite(connection) => PutSettingSqlite { name, value }.execute(connection).map(drop),
        Db::Postgresql(connection) => PutSettingPostgresql { name, value }.execute(connection).map(drop),
    }
}

/// Copies an SQLite database, as of this moment, to `target`, which must be empty or not be there.
pub(super) fn copy_to(db: &mut Db, target: &Path) -> Result<(), StoreError> {
    let Db::Sqlite(connection) = db else {
        return Err(StoreError::failed("a PostgreSQL database is backed up by pg_dump"));
    };
    let target = target.to_str().ok_or_else(|| StoreError::failed("the backup's name is not UTF-8"))?;
    diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(target).execute(connection)?;
    Ok(())
}
