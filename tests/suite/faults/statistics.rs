//! The sums of the statistics are what the audit log says, whoever is killed at whatever moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::load::{Client, Kind, Ledger, STORE, wait_until};
use super::settled::{short_leases, wait_until_settled};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;
use crate::support::random::{Random, is_full};
use crate::support::raw_database::RawDatabase;

/// What counting may take: what a node leaves behind is taken for lost after a minute.
const COUNTED: Duration = Duration::from_secs(150);
const CLIENTS: usize = 3;

/// Whether every record is in the sums.
pub(crate) fn is_counted(database: &mut RawDatabase) -> bool {
    database.count("audit_chains c LEFT JOIN counted_chains k ON k.chain = c.number WHERE c.head_sequence > COALESCE(k.sequence, -1)") == 0
}

/// Both ways, and over days as over hours. Records of several requests at once, of which none are made here, are left out.
pub(crate) fn sums_are_the_log(installation: &Installation) {
    let log = "SELECT project_id, operation, CASE result_code WHEN 0 THEN 'SUCCESS' WHEN 5001 THEN 'FAILED' ELSE 'REFUSED' END, COALESCE(key_id, ''),
        CAST(COUNT(*) AS BIGINT) FROM audit_records WHERE project_id IS NOT NULL AND operation <> 'REFUSE_TOO_MANY' GROUP BY 1, 2, 3, 4";
    let mut database = installation.database();
    for span in ["DAY", "HOUR"] {
        let sums = format!(
            "SELECT project_id, operation, result, key_id, CAST(SUM(calls) AS BIGINT) FROM call_counts
             WHERE span = '{span}' AND operation <> 'REFUSE_TOO_MANY' GROUP BY 1, 2, 3, 4"
        );
        for (one, other) in [(log, sums.as_str()), (&sums, log)] {
            let differences = database.count(&format!("(SELECT * FROM ({one}) AS a EXCEPT SELECT * FROM ({other}) AS b) AS c"));
            assert_eq!(differences, 0, "{one} without {other}");
        }
    }
    assert!(database.count("call_counts") > 0);
}

/// Lets clients use and make things, and kills the service in their midst.
fn killed_amid_load(installation: &Installation, running: Running, ledger: &Ledger, random: &mut Random) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (client, random) = (Client::new(installation, &running), random.fork());
            scope.spawn(|| {
                let (client, random) = (client, random);
                ledger.make_until(&stop, &client, &[Kind::Secret, Kind::Symmetric, Kind::Rule], random);
            });
        }
        // Around the moments at which it counts: at the start, and each five seconds.
        std::thread::sleep(random.between(Duration::from_millis(20), Duration::from_millis(5_500)));
        running.kill();
        stop.store(true, Ordering::Relaxed);
    });
}

fn wait_until_counted(installation: &Installation) {
    let mut database = installation.database();
    wait_until("counted", COUNTED, || is_counted(&mut database));
}

#[test]
fn kills_leave_the_sums_right_on_sqlite() {
    let installation = short_leases(Installation::new());
    let (ledger, mut random) = (Ledger::default(), Random::of_test("faults::statistics::on_sqlite"));
    for _ in 0..if is_full() { 20 } else { 3 } {
        killed_amid_load(&installation, installation.start(), &ledger, &mut random);
    }
    let _running = installation.start();
    wait_until_settled(&installation);
    wait_until_counted(&installation);
    sums_are_the_log(&installation);
}

/// Two nodes at once; each is killed in its turn, and one never comes back: the other counts what it left behind.
#[test]
fn kills_of_two_nodes_leave_the_sums_right() {
    let cluster = Cluster::start();
    let installation = short_leases(Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
    let (ledger, mut random) = (Ledger::default(), Random::of_test("faults::statistics::two_nodes"));
    let mut one = installation.start_node("one");
    for _ in 0..if is_full() { 10 } else { 1 } {
        let two = installation.start_node("two");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (client, random_of_client) = (Client::new(&installation, &one), random.fork());
            scope.spawn(|| {
                let (client, random) = (client, random_of_client);
                ledger.make_until(&stop, &client, &[Kind::Secret], random);
            });
            killed_amid_load(&installation, two, &ledger, &mut random);
            stop.store(true, Ordering::Relaxed);
        });
        killed_amid_load(&installation, one, &ledger, &mut random);
        one = installation.start_node("one");
    }
    assert!(Client::new(&installation, &one).make(Kind::Secret, &format!("after in {STORE}")).is_ok_and(|answer| answer.status == 200));
    wait_until_settled(&installation);
    wait_until_counted(&installation);
    sums_are_the_log(&installation);
    let left_behind = installation.database().count("call_counts WHERE node = 'one'");
    assert!(left_behind > 0);
}
