//! Somebody rewrites or extends a chain with right hashes, and then lets the service sign what stands there.

use std::sync::Arc;

use skm::domain::audit::{AuditEvent, Link, Operation, record_hash};
use skm::domain::clock::SystemClock;
use skm::store::{DatabaseSettings, Store, StoreError, StoreSettings, StoredRecord};

use super::log::{Log, write_log};
use crate::support::installation::Installation;

/// The newest record of the chain of the newest process.
fn newest(log: &Log) -> StoredRecord {
    let settings = StoreSettings {
        database: DatabaseSettings::Sqlite { path: log.installation.database_file() },
        node: "reader".to_owned(),
        read_connections: 1,
        queue_limit: 16,
        deadline: std::time::Duration::from_secs(10),
    };
    let store = Store::open(&settings, Arc::new(SystemClock)).expect("the database");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let records = runtime.block_on(store.read::<_, StoreError, _>(|reader| reader.recent_records(1))).expect("records");
    store.shut_down(std::time::Duration::from_secs(10));
    records.into_iter().next().expect("a record")
}

fn start_and_stop(log: &Log) {
    let (status, said) = log.installation.start().stop();
    assert!(status.success(), "{said}");
}

fn hex_of(hash: &[u8; 32]) -> String {
    hex::encode(hash)
}

#[test]
fn what_was_rewritten_and_signed_again_is_found() {
    let log = write_log(Installation::new());
    let record = newest(&log);
    assert_eq!(record.event.operation, Operation::EndChain);
    let forged = AuditEvent { detail: Some("rewritten".to_owned()), ..record.event.clone() };
    let hash = hex_of(&record_hash(&Link { chain: record.chain, sequence: record.sequence, previous: record.previous }, &forged));
    let old = hex_of(&record.hash);
    let mut database = log.database();
    database.run(&format!("UPDATE audit_records SET detail = 'rewritten', hash = x'{hash}' WHERE hex(hash) = upper('{old}')"));
    database.run(&format!("UPDATE audit_chains SET head_hash = x'{hash}' WHERE hex(head_hash) = upper('{old}')"));
    drop(database);
    // The record is the one that an older checkpoint lists with another hash.
    log.verify().must_name("rewritten", "is not the one that a checkpoint lists");
    start_and_stop(&log);
    let verdict = log.verify();
    assert_eq!(verdict.code, 3, "{verdict:?}");
}

#[test]
fn what_was_added_to_a_chain_that_is_over_is_found() {
    let log = write_log(Installation::new());
    let record = newest(&log);
    let added = AuditEvent { operation: Operation::Decrypt, detail: Some("added".to_owned()), ..record.event.clone() };
    let sequence = record.sequence + 1;
    let hash = hex_of(&record_hash(&Link { chain: record.chain, sequence, previous: record.hash }, &added));
    let old = hex_of(&record.hash);
    let mut database = log.database();
    database.run(&format!(
        "CREATE TEMP TABLE added AS SELECT * FROM audit_records WHERE hex(hash) = upper('{old}');
         UPDATE added SET position = position + 1, operation = 'DECRYPT', detail = 'added', hash = x'{hash}';
         INSERT INTO audit_records SELECT * FROM added;
         UPDATE audit_chains SET head_sequence = {sequence}, head_hash = x'{hash}' WHERE hex(head_hash) = upper('{old}')"
    ));
    drop(database);
    log.verify().must_name("added", "comes after the one that ended the chain");
    start_and_stop(&log);
    let verdict = log.verify();
    assert_eq!(verdict.code, 3, "{verdict:?}");
}

#[test]
fn an_emptied_log_is_found_without_anchors() {
    let log = write_log(Installation::new());
    let mut database = log.database();
    for table in ["audit_checkpoint_heads", "audit_checkpoints", "audit_records", "audit_chains"] {
        database.run(&format!("DELETE FROM {table}"));
    }
    drop(database);
    log.verify_with(&[]).must_name("emptied", "the log is empty, though the key that signs it is in service");
}
