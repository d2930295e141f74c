//! The audit log and the usage counters on PostgreSQL: all of a batch in one statement whose text doesn't depend on its size, with an
//! array for each column. It is prepared once per connection and is one way to the server and back.

use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text};
use diesel::{PgConnection, QueryResult, RunQueryDsl as _};

use super::{EntryBatch, LogBatch};

/// Writes a batch; answers how many chain heads were moved.
pub(super) fn append(connection: &mut PgConnection, batch: &LogBatch<'_>) -> QueryResult<usize> {
    fn column<'r, R, T>(rows: &'r [R], field: impl Fn(&'r R) -> T) -> Vec<T> {
        rows.iter().map(field).collect()
    }
    let records = batch.records.as_slice();
    let uses = &batch.uses;
    Append {
        position: &column(records, |row| row.position),
        previous: &column(records, |row| row.previous.as_slice()),
        hash: &column(records, |row| row.hash.as_slice()),
        at: &column(records, |row| row.at),
        request: &column(records, |row| row.request.as_str()),
        project: &column(records, |row| row.project),
        actor_kind: &column(records, |row| row.actor_kind),
        actor_name: &column(records, |row| row.actor_name.as_str()),
        address: &column(records, |row| row.address.as_deref()),
        mac: &column(records, |row| row.mac.as_deref()),
        certificate: &column(records, |row| row.certificate.as_deref()),
        user_agent: &column(records, |row| row.user_agent.as_deref()),
        operation: &column(records, |row| row.operation),
        key_store: &column(records, |row| row.key_store),
        key: &column(records, |row| row.key.as_deref()),
        version: &column(records, |row| row.version),
        result_code: &column(records, |row| row.result_code),
        detail: &column(records, |row| row.detail.as_deref()),
        node_of_keys: batch.node,
        used_key: &column(&uses.keys, |row| row.key.as_str()),
        used_version: &column(&uses.keys, |row| row.version),
        encryptions: &column(&uses.keys, |row| row.encryptions),
        operations: &column(&uses.keys, |row| row.operations),
        key_access: &column(&uses.keys, |row| row.last_access),
        node_of_rules: batch.node,
        used_rule: &column(&uses.rules, |row| row.rule),
        rule_access: &column(&uses.rules, |row| row.last_access),
        node_of_access_keys: batch.node,
        used_access_key: &column(&uses.access_keys, |row| row.access_key.as_str()),
        access_key_access: &column(&uses.access_keys, |row| row.last_access),
        head_sequence: &batch.head.sequence,
        head_hash: batch.head.hash.as_slice(),
        head_at: &batch.newest,
        chain: &batch.chain,
        expected: &batch.expected,
    }
    .execute(connection)
}

prepared!(Append on Pg, PgConnection:
    "WITH records AS (
         INSERT INTO audit_records (position, previous, hash, at, request, project_id, actor_kind, actor_name, address, mac, certificate,
             user_agent, operation, key_store, key_id, version, result_code, detail)
         SELECT * FROM unnest(" position: Vec<i64> => Array<BigInt>,
    ", " previous: Vec<&'a [u8]> => Array<Binary>,
    ", " hash: Vec<&'a [u8]> => Array<Binary>,
    ", " at: Vec<i64> => Array<BigInt>,
    ", " request: Vec<&'a str> => Array<Text>,
    ", " project: Vec<Option<i64>> => Array<Nullable<BigInt>>,
    ", " actor_kind: Vec<&'a str> => Array<Text>,
    ", " actor_name: Vec<&'a str> => Array<Text>,
    ", " address: Vec<Option<&'a str>> => Array<Nullable<Text>>,
    ", " mac: Vec<Option<&'a str>> => Array<Nullable<Text>>,
    ", " certificate: Vec<Option<&'a [u8]>> => Array<Nullable<Binary>>,
    ", " user_agent: Vec<Option<&'a str>> => Array<Nullable<Text>>,
    ", " operation: Vec<&'a str> => Array<Text>,
    ", " key_store: Vec<Option<i64>> => Array<Nullable<BigInt>>,
    ", " key: Vec<Option<&'a str>> => Array<Nullable<Text>>,
    ", " version: Vec<Option<i64>> => Array<Nullable<BigInt>>,
    ", " result_code: Vec<i64> => Array<BigInt>,
    ", " detail: Vec<Option<&'a str>> => Array<Nullable<Text>>,
    ")), keys AS (
         INSERT INTO usage (node, key_id, version, encryptions, operations, last_access)
         SELECT " node_of_keys: str => Text,
    ", * FROM unnest(" used_key: Vec<&'a str> => Array<Text>,
    ", " used_version: Vec<i64> => Array<BigInt>,
    ", " encryptions: Vec<i64> => Array<BigInt>,
    ", " operations: Vec<i64> => Array<BigInt>,
    ", " key_access: Vec<i64> => Array<BigInt>,
    ") ON CONFLICT (key_id, version, node) DO UPDATE SET encryptions = usage.encryptions + excluded.encryptions,
         operations = usage.operations + excluded.operations, last_access = greatest(usage.last_access, excluded.last_access)
     ), rules AS (
         INSERT INTO rule_usage (node, rule_id, last_access)
         SELECT " node_of_rules: str => Text,
    ", * FROM unnest(" used_rule: Vec<i64> => Array<BigInt>,
    ", " rule_access: Vec<i64> => Array<BigInt>,
    ") ON CONFLICT (rule_id, node) DO UPDATE SET last_access = greatest(rule_usage.last_access, excluded.last_access)
     ), access_keys AS (
         INSERT INTO access_key_usage (node, access_key_id, last_access)
         SELECT " node_of_access_keys: str => Text,
    ", * FROM unnest(" used_access_key: Vec<&'a str> => Array<Text>,
    ", " access_key_access: Vec<i64> => Array<BigInt>,
    ") ON CONFLICT (access_key_id, node) DO UPDATE SET last_access = greatest(access_key_usage.last_access, excluded.last_access)
     )
     UPDATE audit_chains SET head_sequence = " head_sequence: i64 => BigInt,
    ", head_hash = " head_hash: [u8] => Binary,
    ", head_at = " head_at: i64 => BigInt,
    " WHERE number = " chain: i64 => BigInt,
    " AND head_sequence = " expected: i64 => BigInt;
    "");

prepared!(InsertEntries on Pg, PgConnection:
    "INSERT INTO client_rules (key_store_id, method, state, created_by, created_at, changed_by, changed_at, value, description)
     SELECT " key_store: i64 => BigInt,
    ", " method: str => Text,
    ", 'ACTIVE', " created_by: str => Text,
    ", " created_at: i64 => BigInt,
    ", " changed_by: str => Text,
    ", " changed_at: i64 => BigInt,
    ", value, description FROM unnest(" value: Vec<&'a str> => Array<Text>,
    ", " description: Vec<&'a str> => Array<Text>;
    ") WITH ORDINALITY AS entries (value, description, place) ORDER BY place");

/// Inserts client rules.
pub(super) fn insert_client_entries(connection: &mut PgConnection, batch: &EntryBatch<'_>) -> QueryResult<()> {
    let (user, at) = (batch.created.user.as_str(), batch.created.at.micros());
    InsertEntries {
        key_store: &batch.key_store,
        method: batch.method,
        created_by: user,
        created_at: &at,
        changed_by: user,
        changed_at: &at,
        value: &batch.entries.iter().map(|entry| entry.value.as_str()).collect(),
        description: &batch.entries.iter().map(|entry| entry.description.as_str()).collect(),
    }
    .execute(connection)
    .map(drop)
}
