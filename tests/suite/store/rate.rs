//! How many audit records a second become durable. Not a test: run it by
//! `cargo test --release --test integration store::rate -- --ignored --nocapture --test-threads 1`.

use std::net::IpAddr;
use std::time::Instant;

use skm::domain::account::AccessKeyId;
use skm::domain::audit::{AuditEvent, KeyUse, Uses};
use skm::domain::ids::{ClientRuleId, KeyId, KeyStoreNumber, KeyVersion, ProjectId};

use super::{Place, event, on, verified_details};

/// A record as most requests leave it.
fn typical(key: KeyId) -> (AuditEvent, Uses) {
    let uses = Uses { keys: vec![KeyUse { key, version: KeyVersion::FIRST, encryptions: 1 }], rules: vec![ClientRuleId(1)], access_key: AccessKeyId::parse("AKID") };
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

async fn measure(place: &Place, waiters: usize, each: usize) {
    let store = place.open("node-1");
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
    println!("{waiters:3} waiters: {:8.0} records/s, {:.3} ms each", (waiters * each) as f64 / seconds, seconds * 1e3 / each as f64);
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
