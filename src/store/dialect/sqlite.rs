//! The audit log and the usage counters on SQLite: a prepared statement per row. There is no way to a server to save, and several rows in
//! one statement were measured to be no faster.

use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;
use diesel::{QueryResult, RunQueryDsl as _, SqliteConnection};

use super::{EntryBatch, LogBatch};
use crate::store::audit::RecordRow;

/// Writes a batch; answers how many chain heads were moved.
pub(super) fn append(connection: &mut SqliteConnection, batch: &LogBatch<'_>) -> QueryResult<usize> {
    for row in &batch.records {
        insert_record(connection, row)?;
    }
    let node = batch.node;
    for row in &batch.uses.keys {
        let (encryptions, operations, last_access) = (&row.encryptions, &row.operations, &row.last_access);
        AddKeyUse { key: &row.key, version: &row.version, node, encryptions, operations, last_access }.execute(connection)?;
    }
    for row in &batch.uses.rules {
        NoteRuleUse { rule: &row.rule, node, last_access: &row.last_access }.execute(connection)?;
    }
    for row in &batch.uses.access_keys {
        NoteAccessKeyUse { access_key: &row.access_key, node, last_access: &row.last_access }.execute(connection)?;
    }
    let (sequence, hash) = (&batch.head.sequence, batch.head.hash.as_slice());
    Advance { sequence, hash, at: &batch.newest, chain: &batch.chain, expected: &batch.expected }.execute(connection)
}

prepared!(InsertRecord on Sqlite, SqliteConnection:
    "INSERT INTO audit_records (position, previous, hash, at, request, project_id, actor_kind, actor_name, address, mac, certificate,
     user_agent, operation, key_store, key_id, version, result_code, detail) VALUES (" position: i64 => BigInt,
    ", " previous: [u8] => Binary,
    ", " hash: [u8] => Binary,
    ", " at: i64 => BigInt,
    ", " request: str => Text,
    ", " project: Option<i64> => Nullable<BigInt>,
    ", " actor_kind: str => Text,
    ", " actor_name: str => Text,
    ", " address: Option<String> => Nullable<Text>,
    ", " mac: Option<String> => Nullable<Text>,
    ", " certificate: Option<Vec<u8>> => Nullable<Binary>,
    ", " user_agent: Option<String> => Nullable<Text>,
    ", " operation: str => Text,
    ", " key_store: Option<i64> => Nullable<BigInt>,
    ", " key: Option<String> => Nullable<Text>,
    ", " version: Option<i64> => Nullable<BigInt>,
    ", " result_code: i64 => BigInt,
    ", " detail: Option<String> => Nullable<Text>;
    ")");

fn insert_record(connection: &mut SqliteConnection, row: &RecordRow) -> QueryResult<()> {
    InsertRecord {
        position: &row.position,
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

prepared!(AddKeyUse on Sqlite, SqliteConnection:
    "INSERT INTO usage (key_id, version, node, encryptions, operations, last_access) VALUES (" key: str => Text,
    ", " version: i64 => BigInt,
    ", " node: str => Text,
    ", " encryptions: i64 => BigInt,
    ", " operations: i64 => BigInt,
    ", " last_access: i64 => BigInt;
    ") ON CONFLICT (key_id, version, node) DO UPDATE SET encryptions = encryptions + excluded.encryptions,
     operations = operations + excluded.operations, last_access = max(last_access, excluded.last_access)");

prepared!(NoteRuleUse on Sqlite, SqliteConnection:
    "INSERT INTO rule_usage (rule_id, node, last_access) VALUES (" rule: i64 => BigInt,
    ", " node: str => Text,
    ", " last_access: i64 => BigInt;
    ") ON CONFLICT (rule_id, node) DO UPDATE SET last_access = max(last_access, excluded.last_access)");

prepared!(NoteAccessKeyUse on Sqlite, SqliteConnection:
    "INSERT INTO access_key_usage (access_key_id, node, last_access) VALUES (" access_key: str => Text,
    ", " node: str => Text,
    ", " last_access: i64 => BigInt;
    ") ON CONFLICT (access_key_id, node) DO UPDATE SET last_access = max(last_access, excluded.last_access)");

prepared!(Advance on Sqlite, SqliteConnection:
    "UPDATE audit_chains SET head_sequence = " sequence: i64 => BigInt,
    ", head_hash = " hash: [u8] => Binary,
    ", head_at = " at: i64 => BigInt,
    " WHERE number = " chain: i64 => BigInt,
    " AND head_sequence = " expected: i64 => BigInt;
    "");

prepared!(InsertEntry on Sqlite, SqliteConnection:
    "INSERT INTO client_rules (key_store_id, method, value, description, state, created_by, created_at, changed_by, changed_at) VALUES (" key_store: i64 => BigInt,
    ", " method: str => Text,
    ", " value: str => Text,
    ", " description: str => Text,
    ", 'ACTIVE', " created_by: str => Text,
    ", " created_at: i64 => BigInt,
    ", " changed_by: str => Text,
    ", " changed_at: i64 => BigInt;
    ")");

/// Inserts client rules.
pub(super) fn insert_client_entries(connection: &mut SqliteConnection, batch: &EntryBatch<'_>) -> QueryResult<()> {
    let (key_store, method, user, at) = (&batch.key_store, batch.method, batch.created.user.as_str(), batch.created.at.micros());
    for entry in batch.entries {
        let (value, description) = (entry.value.as_str(), entry.description.as_str());
        InsertEntry { key_store, method, value, description, created_by: user, created_at: &at, changed_by: user, changed_at: &at }.execute(connection)?;
    }
    Ok(())
}
