//! The sums of the statistics: whoever counts, crashes or comes late, they are what the audit log says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use skm::domain::audit::{AuditEvent, Operation, Uses};
use skm::domain::clock::Timestamp;
use skm::domain::ids::{KeyId, ProjectId};
use skm::domain::key::State;
use skm::domain::statistics::{CallGroup, CallKind, CallResult, Slot};
use skm::store::{CallCount, CallRange, KeyCalls, OperationCalls, Store, StoreError};

use super::rows::{insert_key_store, key_store, name, provision};
use super::{Place, at, audit, change, event, on_both, stamp};
use crate::support::random::Random;

on_both!(ranges_are_summed_up, old_sums_are_dropped, sums_are_what_the_log_says, what_was_there_before_is_counted,);

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// How many records each node writes.
const RECORDS: usize = 300;

/// The calls of the audit log that are not in the sums as often, and those of the sums that are not in the log as often.
fn differences(place: &Place) -> i64 {
    let of_log = |slot: &str| {
        format!(
            "SELECT project_id, operation, CASE result_code WHEN 0 THEN 'SUCCESS' WHEN 5001 THEN 'FAILED' ELSE 'REFUSED' END, COALESCE(key_id, ''),
                 {slot}, CAST(SUM(CASE operation WHEN 'REFUSE_TOO_MANY' THEN 7 ELSE 1 END) AS BIGINT)
             FROM audit_records WHERE project_id IS NOT NULL GROUP BY 1, 2, 3, 4, 5"
        )
    };
    let of_sums = |span: &str| {
        format!("SELECT project_id, operation, result, key_id, slot, CAST(SUM(calls) AS BIGINT) FROM call_counts WHERE span = '{span}' GROUP BY 1, 2, 3, 4, 5")
    };
    let pairs = [(of_log("at / 86400000000"), of_sums("DAY")), (of_log("at / 3600000000 * 3600000000"), of_sums("HOUR"))];
    let but = |one: &String, other: &String| {
        place.number(&format!("SELECT COUNT(*) AS n FROM (SELECT * FROM ({one}) AS a EXCEPT SELECT * FROM ({other}) AS b) AS c"))
    };
    pairs.iter().map(|(log, sums)| but(log, sums) + but(sums, log)).sum()
}

fn counts(groups: &[CallGroup]) -> Vec<CallCount> {
    let mut sums = BTreeMap::<(Slot, CallKind), i64>::new();
    for group in groups {
        let micros = group.quarter.micros();
        for slot in [Slot::Day(micros / DAY), Slot::Hour(Timestamp::from_micros(micros / HOUR * HOUR))] {
            *sums.entry((slot, group.kind)).or_default() += group.calls;
        }
    }
    sums.into_iter().map(|((slot, kind), calls)| CallCount { slot, kind, calls }).collect()
}

/// Sums up a piece of some chain; whether there was one. A spoilt piece is undone when all of it was written.
async fn count_some(store: &Store, random: &mut Random, spoil: bool) -> Result<bool, StoreError> {
    let chains = store.read(|reader| reader.uncounted_chains()).await?;
    if chains.is_empty() {
        return Ok(false);
    }
    let chain = &chains[random.below(chains.len())];
    let (number, counted) = (chain.number, chain.counted);
    let through = chain.head.min(counted + 1 + i64::try_from(random.below(40)).expect("a few"));
    let groups = store.read(move |reader| reader.call_groups(number, counted, through)).await?;
    let outcome = store
        .change::<_, StoreError, _>(move |tx| {
            tx.count_calls(number, counted, through, &counts(&groups))?;
            if spoil { Err(StoreError::Stale { what: "spoilt" }) } else { Ok(()) }
        })
        .await;
    match outcome {
        Err(StoreError::Stale { .. }) if spoil => Ok(true),
        other => other.map(|()| true),
    }
}

fn any_event(random: &mut Random) -> AuditEvent {
    const OPERATIONS: [Operation; 4] = [Operation::Encrypt, Operation::Decrypt, Operation::Confirm, Operation::RefuseTooMany];
    let operation = OPERATIONS[random.below(OPERATIONS.len())];
    AuditEvent {
        at: at(20_000 * DAY + i64::try_from(random.below(3 * 86_400)).expect("three days") * 1_000_000 + 999_999),
        project: [None, Some(ProjectId(1)), Some(ProjectId(2))][random.below(3)],
        operation,
        key: [None, Some(KeyId::from_bytes([1; 16])), Some(KeyId::from_bytes([2; 16]))][random.below(3)].filter(|_| operation != Operation::RefuseTooMany),
        result_code: [0, 3001, 5001][random.below(3)],
        ..event("requests over a limit: 7 (address 7); addresses: 1")
    }
}

async fn sums_are_what_the_log_says(place: &mut Place) {
    let mut random = Random::of_test("store::statistics");
    let written = Arc::new(AtomicBool::new(false));
    let stores = [place.open("node-1"), place.open("node-2")];
    let mut tasks = Vec::new();
    for store in &stores {
        let (store, mut random, written) = (store.clone(), random.fork(), Arc::clone(&written));
        tasks.push(tokio::spawn(async move {
            // Both are at all chains, at the same time, and go on after what went wrong.
            while !written.load(Ordering::SeqCst) {
                let spoil = random.below(4) == 0;
                let _ = count_some(&store, &mut random, spoil).await;
            }
        }));
    }
    let writers = stores.clone().map(|store| {
        let mut random = random.fork();
        tokio::spawn(async move {
            for _ in 0..RECORDS {
                store.audit(any_event(&mut random), Uses::default()).await.expect("a record");
            }
        })
    });
    for writer in writers {
        writer.await.expect("a writer");
    }
    written.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("a counter");
    }
    // One node is started anew, under its old name: a chain of its own, and rows that it had before.
    let again = place.open("node-1");
    for _ in 0..20 {
        again.audit(any_event(&mut random), Uses::default()).await.expect("a record");
    }
    while count_some(&again, &mut random, false).await.expect("a piece") {}
    assert_eq!(place.number("SELECT COUNT(*) AS n FROM audit_records"), i64::try_from(2 * RECORDS + 20).expect("a number"));
    assert_eq!(differences(place), 0);
    assert!(place.number("SELECT COUNT(*) AS n FROM call_counts") > 100);
}

async fn what_was_there_before_is_counted(place: &mut Place) {
    let (mut random, store) = (Random::of_test("store::statistics before"), place.open("node-1"));
    for _ in 0..50 {
        store.audit(any_event(&mut random), Uses::default()).await.expect("a record");
    }
    // As a database is that was made by a program without statistics.
    place.execute("DELETE FROM call_counts; DELETE FROM counted_chains");
    let chains = store.read(|reader| reader.uncounted_chains()).await.expect("chains");
    assert_eq!((chains.len(), chains[0].counted, chains[0].head), (1, -1, 49));
    assert!(store.read(|reader| reader.is_counting_behind(at(30_000 * DAY))).await.expect("an answer"));
    while count_some(&store, &mut random, false).await.expect("a piece") {}
    assert_eq!(differences(place), 0);
    assert!(!store.read(|reader| reader.is_counting_behind(at(30_000 * DAY))).await.expect("an answer"));
    // What is counted is not counted again, whoever thinks so.
    let number = chains[0].number;
    let added = change(&store, move |tx| tx.count_calls(number, -1, 49, &[])).await;
    assert!(!added);
    audit(&store, "one more").await.expect("a record");
    assert_eq!(store.read(|reader| reader.uncounted_chains()).await.expect("chains")[0].counted, 49);
}

fn kind(project: ProjectId, operation: Operation, result: CallResult, key: Option<KeyId>) -> CallKind {
    CallKind { project, operation, result, key }
}

async fn ranges_are_summed_up(place: &mut Place) {
    let store = place.open("node-1");
    let ours = key_store(&store).await;
    let (key, _) = provision(&store, &ours, "a key").await;
    let (project, named, gone) = (ours.project, key.id, KeyId::from_bytes([7; 16]));
    let other = change(&store, |tx| tx.insert_project(&name("another project"), &stamp())).await;
    let theirs = change(&store, move |tx| insert_key_store(tx, other, "theirs", State::Active)).await;
    let (foreign, _) = provision(&store, &theirs, "not to be told").await;
    let foreign_id = foreign.id;
    let (encrypt, success) = (Operation::Encrypt, CallResult::Success);
    let count = |day, kind, calls| CallCount { slot: Slot::Day(day), kind, calls };
    let counts = [
        count(9, kind(project, encrypt, success, Some(named)), 1),
        count(10, kind(project, encrypt, success, Some(named)), 2),
        count(10, kind(project, encrypt, CallResult::Failed, Some(named)), 4),
        count(10, kind(project, Operation::Decrypt, CallResult::Refused, Some(gone)), 8),
        count(11, kind(project, encrypt, success, Some(foreign_id)), 16),
        count(11, kind(project, Operation::Confirm, success, None), 32),
        count(11, kind(other, encrypt, success, Some(foreign_id)), 64),
        count(12, kind(project, encrypt, success, Some(named)), 128),
        CallCount { slot: Slot::Hour(at(10)), kind: kind(project, encrypt, success, Some(named)), calls: 256 },
    ];
    // Twice, by two nodes: their rows are added.
    for (node, chain) in [("node-1", 1), ("node-2", 2)] {
        let counts = counts.clone();
        assert!(change(&place.open(node), move |tx| tx.count_calls(chain, -1, 0, &counts)).await);
    }
    let range = CallRange { project, from: Slot::Day(10), before: 12, key: None };
    let sums = move |range: CallRange| {
        let store = store.clone();
        async move {
            let read = store.read::<_, StoreError, _>(move |reader| {
                Ok((
                    reader.calls_by_operation(&range)?,
                    reader.calls_by_key(&range, 2)?,
                    reader.calls_without_key(&range)?,
                    reader.key_names(range.project, &[named, gone, foreign_id])?,
                ))
            });
            read.await.expect("sums")
        }
    };
    let (by_operation, by_key, without, names) = sums(range).await;
    let calls = |slot, operation, result, calls| OperationCalls { slot, operation, result, calls };
    assert_eq!(
        by_operation,
        [
            calls(10, Operation::Decrypt, CallResult::Refused, 16),
            calls(10, encrypt, CallResult::Failed, 8),
            calls(10, encrypt, success, 4),
            calls(11, Operation::Confirm, success, 64),
            calls(11, encrypt, success, 32),
        ]
    );
    assert_eq!(by_key, [KeyCalls { key: foreign_id, calls: [32, 0, 0] }, KeyCalls { key: gone, calls: [0, 16, 0] }]);
    assert_eq!(without, [64, 0, 0]);
    assert_eq!(names.keys().collect::<Vec<_>>(), [&named], "what another project calls its keys is none of this one's");
    assert_eq!(names[&named].name, "a key");
    let (by_operation, by_key, ..) = sums(CallRange { key: Some(named), ..range }).await;
    assert_eq!(by_operation.iter().map(|calls| calls.calls).collect::<Vec<_>>(), [8, 4]);
    assert_eq!(by_key, [KeyCalls { key: named, calls: [4, 0, 8] }]);
}

async fn old_sums_are_dropped(place: &mut Place) {
    let store = place.open("node-1");
    let project = change(&store, |tx| tx.insert_project(&name("project"), &stamp())).await;
    let counts: Vec<_> = (0..10)
        .flat_map(|number| [Slot::Day(number), Slot::Hour(at(number))])
        .map(|slot| CallCount { slot, kind: kind(project, Operation::Encrypt, CallResult::Success, None), calls: 1 })
        .collect();
    change(&store, move |tx| tx.count_calls(1, -1, 0, &counts)).await;
    let left = |place: &Place| ["DAY", "HOUR"].map(|span| place.number(&format!("SELECT COALESCE(MIN(slot), -1) AS n FROM call_counts WHERE span = '{span}'")));
    assert_eq!(store.read(|reader| reader.projects_with_calls_before(Slot::Day(5))).await.expect("projects"), [project]);
    // The oldest first, no more than asked for, of one kind alone.
    assert_eq!(change(&store, move |tx| tx.forget_calls(project, Slot::Day(5), 3)).await, 3);
    assert_eq!(left(place), [3, 0]);
    assert_eq!(change(&store, move |tx| tx.forget_calls(project, Slot::Day(5), 3)).await, 2);
    assert_eq!(change(&store, move |tx| tx.forget_calls(project, Slot::Hour(at(9)), 100)).await, 9);
    assert_eq!(left(place), [5, 9]);
    assert_eq!(store.read(|reader| reader.projects_with_calls_before(Slot::Day(5))).await.expect("projects"), []);
    assert_eq!(change(&store, move |tx| tx.forget_calls(ProjectId(project.0 + 1), Slot::Day(9), 100)).await, 0);
}
