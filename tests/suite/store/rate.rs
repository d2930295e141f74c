//! How many audit records a second become durable, and how long statistics take. Not tests: run them by
//! `cargo test --release --test integration store::rate -- --ignored --nocapture --test-threads 1`.

use std::net::IpAddr;
use std::time::Instant;

use skm::domain::account::AccessKeyId;
use skm::domain::audit::{AuditEvent, KeyUse, Uses};
use skm::domain::clock::Timestamp;
use skm::domain::ids::{ClientRuleId, KeyId, KeyStoreNumber, KeyVersion, ProjectId};
use skm::domain::statistics::Slot;
use skm::store::CallRange;

use super::{Place, event, on, verified_details};

/// A record as most requests leave it.
fn typical(key: KeyId) -> (AuditEvent, Uses) {
    let uses =
        Uses { keys: vec![KeyUse { key, version: KeyVersion::FIRST, encryptions: 1 }], rules: vec![ClientRuleId(1)], access_key: AccessKeyId::parse("AKID") };
    let event = AuditEvent {
        project: Some(ProjectId(1)),
        address: Some(IpAddr::from([192, 0, 2, 7])),
        user_agent: Some("curl/7.88.1".to_owned()),
        key_store: Some(KeyStoreNumber(1)),
        key: Some(key),
        version: Some(KeyVersion::FIRST),
        detail: None,
        ..event("")
    };
    (event, uses)
}

/// Processor time of the newest writer thread and of the whole process: it says more than the clock where others compute beside us.
fn processor_seconds() -> [f64; 2] {
    let ticks = |path: &std::path::Path| -> f64 {
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum()
    };
    let threads = std::fs::read_dir("/proc/self/task").expect("threads").flatten().map(|entry| entry.path());
    let writers = threads.filter(|path| std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "store-writer"));
    let newest = writers.max_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    // USER_HZ is 100 on Linux.
    [newest.map_or(0.0, |path| ticks(&path.join("stat"))) / 100.0, ticks(std::path::Path::new("/proc/self/stat")) / 100.0]
}

async fn measure(place: &Place, waiters: usize, each: usize) {
    let store = place.open("node-1");
    let [_, before_all] = processor_seconds();
    let began = Instant::now();
    let tasks: Vec<_> = (0..waiters)
        .map(|waiter| {
            let store = store.clone();
            tokio::spawn(async move {
                let key = KeyId::from_bytes([u8::try_from(waiter % 4).unwrap_or(0); 16]);
                for _ in 0..each {
                    let (event, uses) = typical(key);
                    store.audit(event, uses).await.expect("a record");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a waiter");
    }
    let seconds = began.elapsed().as_secs_f64();
    let records = (waiters * each) as f64;
    let [writer, all] = processor_seconds().map(|seconds| seconds * 1e6 / records);
    println!(
        "{waiters:3} waiters: {:7.0} records/s, {:6.3} ms each; core time a record: {writer:4.1} µs of the writer, {:4.1} µs in all",
        records / seconds,
        seconds * 1e3 / each as f64,
        all - before_all * 1e6 / records,
    );
    assert_eq!(verified_details(&store, store.chain()).await.len(), waiters * each);
}

async fn rates(place: &mut Place) {
    measure(place, 1, 5_000).await;
    measure(place, 32, 5_000).await;
    measure(place, 32, 5_000).await;
    measure(place, 256, 1_000).await;
}

#[test]
#[ignore = "measures, for a release build"]
fn on_sqlite() {
    on(&mut Place::sqlite(), rates);
}

#[test]
#[ignore = "measures, for a release build"]
fn on_postgresql() {
    on(&mut Place::postgresql(), rates);
}

/// Some ten million calls of 90 days, of a thousand keys: by day each key with each of four operations, by hour each eighth hour.
const TEN_MILLION_CALLS: &str = "
    WITH RECURSIVE days (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM days WHERE n < 89), keys (k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM keys WHERE k < 999),
        operations (o) AS (VALUES ('ENCRYPT'), ('DECRYPT'), ('SIGN'), ('VERIFY')), hours (h) AS (SELECT 0 UNION ALL SELECT h + 1 FROM hours WHERE h < 23)
    INSERT INTO call_counts (project_id, span, slot, operation, result, key_id, node, calls)
        SELECT 1, 'DAY', 20000 + n, o, 'SUCCESS', 'd0000000000000000000000000000' || (1000 + k), 'node-1', 27 + k % 3 FROM days, keys, operations
        UNION ALL
        SELECT 1, 'HOUR', ((20000 + n) * 24 + h) * 3600000000, o, 'SUCCESS', 'd0000000000000000000000000000' || (1000 + k), 'node-1', 9 + k % 3
        FROM days, keys, operations, hours WHERE (n * 24 + h + k) % 8 = 0";

async fn statistics(place: &mut Place) {
    let store = place.open("node-1");
    place.execute(TEN_MILLION_CALLS);
    println!(
        "{} calls in {} rows",
        place.number("SELECT CAST(SUM(calls) AS BIGINT) AS n FROM call_counts WHERE span = 'DAY'"),
        place.number("SELECT COUNT(*) AS n FROM call_counts")
    );
    let hour = |day: i64| day * 86_400_000_000;
    for (what, from, before) in
        [("month", Slot::Day(20_030), 20_061), ("week", Slot::Day(20_030), 20_037), ("day", Slot::Hour(Timestamp::from_micros(hour(20_030))), hour(20_031))]
    {
        let range = CallRange { project: ProjectId(1), from, before, key: None };
        println!("{what}: {} ms, then {} ms", timed(&store, range).await, timed(&store, range).await);
    }
}

/// How long what a page reads takes, in milliseconds.
async fn timed(store: &skm::store::Store, range: CallRange) -> u128 {
    let began = Instant::now();
    let read = store.read::<_, skm::store::StoreError, _>(move |reader| {
        Ok((
            reader.calls_by_operation(&range)?,
            reader.calls_by_key(&range, 10)?,
            reader.calls_without_key(&range)?,
            reader.is_counting_behind(Timestamp::from_micros(0))?,
        ))
    });
    let (by_operation, by_key, ..) = read.await.expect("sums");
    assert!(by_operation.len() >= 28 && by_key.len() == 10);
    began.elapsed().as_millis()
}

#[test]
#[ignore = "measures"]
fn statistics_on_sqlite() {
    on(&mut Place::sqlite(), statistics);
}

#[test]
#[ignore = "measures"]
fn statistics_on_postgresql() {
    on(&mut Place::postgresql(), statistics);
}
