//! SIGKILL at random points while things are made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::load::{Client, Kind, Ledger};
use super::settled::{audit_is_intact, short_leases, the_acknowledged_are_audited, the_others_are_whole_or_free, token_and_database_agree, wait_until_settled};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};

/// Clients that make things at the same time.
const CLIENTS: usize = 4;

/// Lets clients make things and kills the service in their midst.
fn crash_amid_load(installation: &Installation, running: Running, ledger: &Ledger, random: &mut Random) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (client, random) = (Client::new(installation, &running), random.fork());
            scope.spawn(|| {
                let (client, random) = (client, random);
                ledger.make_until(&stop, &client, &Kind::ALL, random);
            });
        }
        std::thread::sleep(random.between(Duration::from_millis(30), Duration::from_millis(900)));
        running.kill();
        stop.store(true, Ordering::Relaxed);
    });
}

fn survives_crashes(installation: &Installation, rounds: usize, mut random: Random) {
    let ledger = Ledger::default();
    installation.database().run(HALF_A_KEY_STORE);
    let mut running = installation.start();
    let mut checked = 0;
    for round in 0..rounds {
        crash_amid_load(installation, running, &ledger, &mut random);
        running = installation.start();
        let client = Client::new(installation, &running);
        let acknowledged = ledger.acknowledged();
        acknowledged[checked..].iter().for_each(|thing| client.must_work(thing));
        println!("round {round}: {} acknowledged, {} not", acknowledged.len() - checked, ledger.others().len());
        checked = acknowledged.len();
    }
    assert!(checked > 0, "nothing was ever acknowledged");
    wait_until_settled(installation);
    let client = Client::new(installation, &running);
    ledger.acknowledged().iter().for_each(|thing| client.must_work(thing));
    half_a_key_store_is_gone(installation, &client);
    let (whole, free) = the_others_are_whole_or_free(installation, &client, &ledger);
    println!("{checked} acknowledged; of the others {whole} whole, {free} free");
    wait_until_settled(installation);
    let (status, log) = running.stop();
    assert!(status.success(), "{status}\n{log}");
    the_acknowledged_are_audited(installation, &ledger);
    token_and_database_agree(installation);
    audit_is_intact(installation);
}

#[test]
fn on_sqlite() {
    let installation = short_leases(Installation::new());
    survives_crashes(&installation, if is_full() { 50 } else { 3 }, Random::of_test("faults::crash::on_sqlite"));
}

#[test]
fn on_postgresql() {
    let cluster = Cluster::start();
    let installation = short_leases(Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
    survives_crashes(&installation, if is_full() { 50 } else { 2 }, Random::of_test("faults::crash::on_postgresql"));
}

/// The first step of making a key store, as a process that died right after it left it: no object in the token yet.
const HALF_A_KEY_STORE: &str = "
    INSERT INTO key_stores (project_id, number, name, description, ipv4_check, mac_check, certificate_check, check_mode, state, created_by, created_at, changed_by, changed_at)
        SELECT project_id, 4711, 'half', '', ipv4_check, mac_check, certificate_check, check_mode, 'PROVISIONING', 'x', 1, 'x', 1 FROM key_stores WHERE name = 'demo-by-address';
    INSERT INTO internal_keys (key_id, version, purpose, key_store_id, state, created_by, created_at)
        SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 0, 'CONFIDENTIAL_DATA', id, 'PROVISIONING', 'x', 1 FROM key_stores WHERE name = 'half';
    INSERT INTO token_objects (object_id, key_id, version, state, node, lease_until, created_at)
        VALUES ('bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 0, 'PROVISIONING', 'dead', 1, 1);";

/// Its name is free again.
fn half_a_key_store_is_gone(installation: &Installation, client: &Client) {
    assert_eq!(installation.database().texts("state", "key_stores WHERE name = 'half'"), ["DESTROYED"]);
    let again = client.make(Kind::KeyStore, "half").expect("an answer");
    assert_eq!(again.status, 200, "{again:?}");
    let undone = installation.database().count("audit_records WHERE operation = 'RECONCILE' AND key_id = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'");
    assert_eq!(undone, 1);
}
