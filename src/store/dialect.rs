//! All that differs between SQLite and PostgreSQL once connected: how transactions begin, what inserts or updates, and the statements
//! of the hot path, written out so that each is prepared once per connection. (`diesel` prepares an update, a batch insert and
//! an upsert of its own making anew each time.)

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::{BigInt, Binary, Text};
use diesel::{PgConnection, QueryResult, RunQueryDsl, SqliteConnection, pg::Pg, sqlite::Sqlite};

use super::audit::{Head, RecordRow};
use super::checkpoints::ListedHead;
use super::client_entries::NewClientEntry;
use super::connection::Db;
use super::error::StoreError;
use super::schema::audit_checkpoint_heads;
use super::usage::UseRows;
use crate::domain::key::Stamp;

/// A statement, prepared once per connection: text, and a value after each piece of it but the last.
macro_rules! prepared {
    ($name:ident on $backend:ty, $connection:ty: $($text:literal $field:ident: $rust:ty => $sql_type:ty),+; $last:literal) => {
        #[derive(Debug)]
        struct $name<'a> {
            $($field: &'a $rust),+
        }

        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::QueryFragment<$backend> for $name<'_> {
            fn walk_ast<'b>(&'b self, mut out: diesel::query_builder::AstPass<'_, 'b, $backend>) -> diesel::QueryResult<()> {
                $(
                    out.push_sql($text);
                    out.push_bind_param::<$sql_type, _>(self.$field)?;
                )+
                out.push_sql($last);
                Ok(())
            }
        }

        impl diesel::RunQueryDsl<$connection> for $name<'_> {}
    };
}

mod calls;
mod postgresql;
mod sqlite;

pub(super) use calls::{CallBatch, add_calls, between, calls_by_key, calls_by_operation, forget_calls, move_counted, try_lock_calls};

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

const SHARE_RECIPIENT: &str = "SELECT id FROM notification_recipients WHERE id = $1 FOR KEY SHARE";
const LOCK_RECIPIENT: &str = "SELECT id FROM notification_recipients WHERE id = $1 FOR UPDATE";
const FIND_RECIPIENT: &str = "SELECT id FROM notification_recipients WHERE id = $1";

#[derive(diesel::QueryableByName)]
struct FoundRecipient {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Keeps a recipient of notifications from going before this transaction ends; whether it is there. Any number may do so at once.
pub(super) fn share_recipient(db: &mut Db, id: i64) -> QueryResult<bool> {
    find_recipient(db, id, SHARE_RECIPIENT)
}

/// Waits for all who keep a recipient from going, and keeps others from beginning to; whether it is there.
pub(super) fn lock_recipient(db: &mut Db, id: i64) -> QueryResult<bool> {
    find_recipient(db, id, LOCK_RECIPIENT)
}

/// SQLite's one writer holds everything.
fn find_recipient(db: &mut Db, id: i64, postgresql: &str) -> QueryResult<bool> {
    let found: Vec<FoundRecipient> = match db {
        Db::Sqlite(connection) => diesel::sql_query(FIND_RECIPIENT).bind::<BigInt, _>(id).load(connection)?,
        Db::Postgresql(connection) => diesel::sql_query(postgresql).bind::<BigInt, _>(id).load(connection)?,
    };
    Ok(found.iter().any(|found| found.id == id))
}

const SHARE_GOVERNANCE: &str = "SELECT approval FROM governance WHERE project_id = $1 FOR SHARE";
const LOCK_GOVERNANCE: &str = "SELECT approval FROM governance WHERE project_id = $1 FOR UPDATE";

/// Keeps whether approval is on in a project as it is until the commit. SQLite has one writer at a time.
pub(super) fn share_governance(db: &mut Db, project: i64) -> QueryResult<()> {
    hold_governance(db, project, SHARE_GOVERNANCE)
}

/// Holds whether approval is on in a project until the commit, alone.
pub(super) fn lock_governance(db: &mut Db, project: i64) -> QueryResult<()> {
    hold_governance(db, project, LOCK_GOVERNANCE)
}

fn hold_governance(db: &mut Db, project: i64, postgresql: &str) -> QueryResult<()> {
    match db {
        Db::Sqlite(_) => Ok(()),
        Db::Postgresql(connection) => diesel::sql_query(postgresql).bind::<BigInt, _>(project).execute(connection).map(drop),
    }
}

/// What a batch appends to the audit log, and what it adds to the usage counters.
#[derive(Debug)]
pub(super) struct LogBatch<'a> {
    /// This process's name.
    pub(super) node: &'a str,
    /// The chain's number.
    pub(super) chain: i64,
    /// The sequence number that the chain's head is expected to have.
    pub(super) expected: i64,
    /// The chain's new head.
    pub(super) head: Head,
    /// The time of the newest record.
    pub(super) newest: i64,
    pub(super) records: Vec<RecordRow>,
    pub(super) uses: UseRows,
}

/// Writes a batch; whether the chain's head was where it was expected to be. If not, the transaction must not be kept.
pub(super) fn append(db: &mut Db, batch: &LogBatch<'_>) -> QueryResult<bool> {
    let advanced = match db {
        Db::Sqlite(connection) => sqlite::append(connection, batch),
        Db::Postgresql(connection) => postgresql::append(connection, batch),
    };
    Ok(advanced? == 1)
}

/// Client rules that are inserted together, `ACTIVE`.
#[derive(Debug)]
pub(super) struct EntryBatch<'a> {
    pub(super) key_store: i64,
    pub(super) method: &'a str,
    pub(super) entries: &'a [NewClientEntry],
    pub(super) created: &'a Stamp,
}

/// Inserts client rules, as many as there are.
pub(super) fn insert_client_entries(db: &mut Db, batch: &EntryBatch<'_>) -> QueryResult<()> {
    match db {
        Db::Sqlite(connection) => sqlite::insert_client_entries(connection, batch),
        Db::Postgresql(connection) => postgresql::insert_client_entries(connection, batch),
    }
}

prepared!(PutSettingSqlite on Sqlite, SqliteConnection:
    "INSERT INTO settings (name, value) VALUES (" name: str => Text, ", " value: [u8] => Binary;
    ") ON CONFLICT (name) DO UPDATE SET value = excluded.value");
prepared!(PutSettingPostgresql on Pg, PgConnection:
    "INSERT INTO settings (name, value) VALUES (" name: str => Text, ", " value: [u8] => Binary;
    ") ON CONFLICT (name) DO UPDATE SET value = excluded.value");

/// Inserts or replaces a setting.
pub(super) fn put_setting(db: &mut Db, name: &str, value: &[u8]) -> QueryResult<()> {
    match db {
        Db::Sqlite(connection) => PutSettingSqlite { name, value }.execute(connection).map(drop),
        Db::Postgresql(connection) => PutSettingPostgresql { name, value }.execute(connection).map(drop),
    }
}

#[derive(diesel::QueryableByName)]
struct ServerClock {
    #[diesel(sql_type = BigInt)]
    micros: i64,
}

/// PostgreSQL's clock, in microseconds since the Unix epoch. SQLite has this machine's.
pub(super) fn server_clock(db: &mut Db) -> QueryResult<Option<i64>> {
    let Db::Postgresql(connection) = db else { return Ok(None) };
    let read = diesel::sql_query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros");
    read.get_result::<ServerClock>(connection).map(|clock| Some(clock.micros))
}

/// Inserts what a checkpoint lists, in one statement: what is generic over both databases takes no more than one row.
pub(super) fn insert_heads(db: &mut Db, heads: &[ListedHead]) -> QueryResult<()> {
    let insert = diesel::insert_into(audit_checkpoint_heads::table).values(heads);
    match db {
        Db::Sqlite(connection) => insert.execute(connection).map(drop),
        Db::Postgresql(connection) => insert.execute(connection).map(drop),
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
