//! The writer: batches, savepoints, and what happens when the database fails.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use skm::domain::audit::Uses;
use skm::store::{Store, StoreError, StoreSettings};
use tokio::task::JoinHandle;

use super::rows::name;
use super::{Place, audit, change, event, on_both, stamp, until, verified_details};

on_both!(
    a_commit_that_fails_undoes_everything,
    a_failing_and_a_panicking_change_leave_their_neighbours_alone,
    a_full_queue_is_busy,
    a_lost_database_is_found_again,
    acknowledged_records_that_are_gone_are_noticed,
    a_swallowed_error_can_not_be_kept,
    an_abandoned_change_is_not_begun,
    many_records_share_commits_without_gaps,
    what_is_locked_fails_within_the_deadline,
    what_is_written_last_failing_undoes_everything,
);

/// Keeps the writer busy until the sender is dropped: what is queued meanwhile becomes one batch. One that pauses, after failures in a row, is
/// asked again.
pub(super) async fn hold(store: &Store) -> (mpsc::Sender<()>, JoinHandle<()>) {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let (begun, begins) = mpsc::channel();
    let held = store.clone();
    let task = tokio::spawn(async move {
        loop {
            let (begun, gate) = (begun.clone(), Arc::clone(&gate));
            let done = held.change::<_, StoreError, _>(move |_| {
                begun.send(()).ok();
                gate.lock().expect("a lock").recv().ok();
                Ok(())
            });
            match done.await {
                Ok(()) => break,
                Err(StoreError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(other) => panic!("{other}"),
            }
        }
    });
    tokio::task::spawn_blocking(move || begins.recv().expect("the writer")).await.expect("a thread");
    (release, task)
}

fn insert_project(store: &Store, text: &'static str, then: impl FnOnce() -> Result<(), StoreError> + Send + 'static) -> JoinHandle<Result<(), StoreError>> {
    let store = store.clone();
    tokio::spawn(async move {
        store
            .change(move |tx| {
                tx.insert_project(&name(text), &stamp())?;
                tx.audit(event(text), Uses::default())?;
                then()
            })
            .await
    })
}

async fn has_project(store: &Store, text: &'static str) -> bool {
    store.read(move |reader| reader.project_by_name(&name(text))).await.expect("a read").is_some()
}

async fn a_failing_and_a_panicking_change_leave_their_neighbours_alone(place: &mut Place) {
    let store = place.open("node-1");
    let (release, held) = hold(&store).await;
    let work = [
        insert_project(&store, "good 1", || Ok(())),
        insert_project(&store, "failing", || Err(StoreError::Stale { what: "test" })),
        insert_project(&store, "panicking", || panic!("a test's panic")),
        insert_project(&store, "good 2", || Ok(())),
    ];
    let record = tokio::spawn({
        let store = store.clone();
        async move { audit(&store, "record").await }
    });
    until("the queue", || store.queued() == 5).await;
    drop(release);
    held.await.expect("the first change");
    let mut outcomes = Vec::new();
    for task in work {
        outcomes.push(task.await.expect("a task"));
    }
    record.await.expect("a task").expect("a record");
    assert!(matches!(outcomes.as_slice(), [Ok(()), Err(StoreError::Stale { what: "test" }), Err(StoreError::Failed { .. }), Ok(())]));
    for (text, there) in [("good 1", true), ("failing", false), ("panicking", false), ("good 2", true)] {
        assert_eq!(has_project(&store, text).await, there, "{text}");
    }
    let mut details = verified_details(&store, store.chain()).await;
    details.sort();
    assert_eq!(details, ["good 1", "good 2", "record"]);
    assert_eq!(store.records_written(), 3);
    assert_eq!(store.health(), Ok(()));
}

async fn a_swallowed_error_can_not_be_kept(place: &mut Place) {
    let store = place.open("node-1");
    change(&store, |tx| tx.insert_project(&name("taken"), &stamp())).await;
    let swallowed = store
        .change::<_, StoreError, _>(|tx| {
            drop(tx.insert_project(&name("taken"), &stamp()));
            drop(tx.insert_project(&name("besides"), &stamp()));
            tx.audit(event("swallowed"), Uses::default())
        })
        .await;
    // SQLite goes on after an error, PostgreSQL doesn't: what it can't keep is not called done.
    assert_eq!(has_project(&store, "besides").await, swallowed.is_ok());
    assert_eq!(verified_details(&store, store.chain()).await.len(), usize::from(swallowed.is_ok()));
    assert_eq!(swallowed.is_ok(), matches!(place, Place::Sqlite(_)));
    change(&store, |tx| tx.insert_project(&name("after"), &stamp())).await;
}

async fn many_records_share_commits_without_gaps(place: &mut Place) {
    const WAITERS: usize = 64;
    const EACH: usize = 40;
    let store = place.open("node-1");
    let tasks: Vec<_> = (0..WAITERS)
        .map(|waiter| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    audit(&store, format!("{waiter}/{number}")).await.expect("a record");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task");
    }
    let mut details = verified_details(&store, store.chain()).await;
    for waiter in 0..WAITERS {
        let own: Vec<_> = details.iter().filter_map(|detail| detail.strip_prefix(&format!("{waiter}/"))?.parse::<usize>().ok()).collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>(), "in the order in which they were answered");
    }
    details.sort();
    details.dedup();
    assert_eq!(details.len(), WAITERS * EACH);
}

async fn a_full_queue_is_busy(place: &mut Place) {
    let store =
        Store::open(&StoreSettings { queue_limit: 8, ..place.settings("node-1") }, std::sync::Arc::new(skm::domain::clock::SystemClock)).expect("a store");
    let (release, held) = hold(&store).await;
    let waiting: Vec<_> = (0..8)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { audit(&store, number.to_string()).await })
        })
        .collect();
    until("the queue", || store.queued() == 8).await;
    assert!(matches!(audit(&store, "too many").await, Err(StoreError::Busy)));
    assert!(matches!(store.change::<_, StoreError, _>(|_| Ok(())).await, Err(StoreError::Busy)));
    drop(release);
    held.await.expect("the first change");
    for task in waiting {
        task.await.expect("a task").expect("a record");
    }
    assert_eq!((verified_details(&store, store.chain()).await.len(), store.queued()), (8, 0));
}

async fn an_abandoned_change_is_not_begun(place: &mut Place) {
    let store = place.open("node-1");
    let (release, held) = hold(&store).await;
    let abandoned = insert_project(&store, "abandoned", || Ok(()));
    until("the queue", || store.queued() == 1).await;
    abandoned.abort();
    assert!(abandoned.await.is_err());
    drop(release);
    held.await.expect("the first change");
    change(&store, |tx| tx.insert_project(&name("next"), &stamp())).await;
    assert!(!has_project(&store, "abandoned").await);
}

/// A batch of changes and records, of which every waiter is told that nothing is done, and of which nothing is.
async fn fails_as_one(store: &Store, round: &str) {
    let before = verified_details(store, store.chain()).await;
    let (release, held) = hold(store).await;
    let doomed = insert_project(store, "doomed", || Ok(()));
    let records: Vec<_> = (0..8)
        .map(|number| {
            let (store, detail) = (store.clone(), format!("{round} {number}"));
            tokio::spawn(async move { audit(&store, detail).await })
        })
        .collect();
    until("the queue", || store.queued() == 9).await;
    drop(release);
    held.await.expect("the first change");
    for task in records.into_iter().chain([doomed]) {
        assert!(matches!(task.await.expect("a task"), Err(StoreError::Unavailable { .. })));
    }
    assert!(store.health().is_err());
    assert!(!has_project(store, "doomed").await);
    assert_eq!(store.records_written(), 1, "what is undone isn't counted");
    assert_eq!(verified_details(store, store.chain()).await, before);
}

/// After `break_it` every batch fails, after `mend` none does, and the chain goes on where it was.
async fn fails_and_recovers(place: &Place, break_it: &str, mend: &str) {
    let store = place.open("node-1");
    audit(&store, "before").await.expect("a record");
    place.execute(break_it);
    fails_as_one(&store, "first").await;
    fails_as_one(&store, "second").await;
    place.execute(mend);
    until("health", || store.health().is_ok()).await;
    audit(&store, "after").await.expect("a record");
    assert_eq!(verified_details(&store, store.chain()).await, ["before", "after"]);
    assert_eq!(store.records_written(), 2);
}

/// The last statements of a batch fail: those that its changes don't see.
async fn what_is_written_last_failing_undoes_everything(place: &mut Place) {
    let (break_it, mend) = match place {
        Place::Sqlite(_) => (
            "CREATE TRIGGER trap_of_records BEFORE INSERT ON audit_records BEGIN SELECT RAISE(ABORT, 'refused'); END;
             CREATE TRIGGER trap_of_probes BEFORE UPDATE ON change_seq BEGIN SELECT RAISE(ABORT, 'refused'); END;",
            "DROP TRIGGER trap_of_records; DROP TRIGGER trap_of_probes;",
        ),
        Place::Postgresql(_) => (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
             CREATE TRIGGER trap_of_records BEFORE INSERT ON audit_records FOR EACH ROW EXECUTE FUNCTION refuse();
             CREATE TRIGGER trap_of_probes BEFORE UPDATE ON change_seq FOR EACH ROW EXECUTE FUNCTION refuse();",
            "DROP TRIGGER trap_of_records ON audit_records; DROP TRIGGER trap_of_probes ON change_seq; DROP FUNCTION refuse;",
        ),
    };
    fails_and_recovers(place, break_it, mend).await;
}

/// `COMMIT` itself fails.
async fn a_commit_that_fails_undoes_everything(place: &mut Place) {
    let (break_it, mend) = match place {
        Place::Sqlite(_) => (
            "CREATE TABLE none (id INTEGER PRIMARY KEY);
             CREATE TABLE trap (id INTEGER REFERENCES none (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER trap_of_records AFTER INSERT ON audit_records BEGIN INSERT INTO trap VALUES (1); END;
             CREATE TRIGGER trap_of_probes AFTER UPDATE ON change_seq BEGIN INSERT INTO trap VALUES (1); END;",
            "DROP TRIGGER trap_of_records; DROP TRIGGER trap_of_probes; DROP TABLE trap; DROP TABLE none;",
        ),
        Place::Postgresql(_) => (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
             CREATE CONSTRAINT TRIGGER trap_of_records AFTER INSERT ON audit_records DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
             CREATE CONSTRAINT TRIGGER trap_of_probes AFTER UPDATE ON change_seq DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();",
            "DROP TRIGGER trap_of_records ON audit_records; DROP TRIGGER trap_of_probes ON change_seq; DROP FUNCTION refuse;",
        ),
    };
    fails_and_recovers(place, break_it, mend).await;
}

/// The database comes back without what was acknowledged, as an older copy in its place would: nothing is written after that.
async fn acknowledged_records_that_are_gone_are_noticed(place: &mut Place) {
    let store = place.open("node-1");
    audit(&store, "kept").await.expect("a record");
    audit(&store, "lost").await.expect("a record");
    place.execute(
        "UPDATE audit_chains SET head_sequence = 0, head_hash = (SELECT hash FROM audit_records ORDER BY position LIMIT 1);
         DELETE FROM audit_records WHERE detail = 'lost';",
    );
    // The first batch finds the head elsewhere, the next ones a head that lies behind.
    for _ in 0..3 {
        assert!(matches!(audit(&store, "after").await, Err(StoreError::Unavailable { .. })));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    until("the loss noticed", || store.health().is_err_and(|problem| problem.contains("lost audit records"))).await;
    assert_eq!(verified_details(&store, store.chain()).await, ["kept"]);
}

async fn what_is_locked_fails_within_the_deadline(place: &mut Place) {
    let deadline = Duration::from_millis(300);
    let store = Store::open(&StoreSettings { deadline, ..place.settings("node-1") }, std::sync::Arc::new(skm::domain::clock::SystemClock)).expect("a store");
    audit(&store, "before").await.expect("a record");
    let unlock: Box<dyn FnOnce() + Send> = match &*place {
        Place::Sqlite(directory) => {
            let mut locker = place.sqlite_connection(directory);
            locker.batch_execute("BEGIN IMMEDIATE").expect("a lock");
            Box::new(move || locker.batch_execute("ROLLBACK").expect("its end"))
        }
        Place::Postgresql(cluster) => {
            let mut locker = cluster.connection();
            locker.batch_execute("BEGIN; LOCK TABLE audit_records IN ACCESS EXCLUSIVE MODE").expect("a lock");
            Box::new(move || locker.batch_execute("ROLLBACK").expect("its end"))
        }
    };
    for _ in 0..2 {
        let began = Instant::now();
        assert!(matches!(audit(&store, "locked out").await, Err(StoreError::Unavailable { .. })));
        assert!(began.elapsed() < deadline + Duration::from_secs(1), "{:?}", began.elapsed());
    }
    until("the lock noticed", || store.health().is_err()).await;
    unlock();
    until("health", || store.health().is_ok()).await;
    audit(&store, "after").await.expect("a record");
    let details = verified_details(&store, store.chain()).await;
    assert_eq!((details.first().map(String::as_str), details.last().map(String::as_str)), (Some("before"), Some("after")));
}

/// Under load the writer's connection is cut, again and again, and the server is stopped once: what was acknowledged is there, in one
/// unbroken chain. SQLite has no server; there the file's tables go away.
async fn a_lost_database_is_found_again(place: &mut Place) {
    let store = place.open("node-1");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let tasks: Vec<_> = (0..8)
        .map(|waiter| {
            let (store, stopped) = (store.clone(), stopped.clone());
            tokio::spawn(async move {
                let (mut kept, mut refused) = (Vec::new(), 0);
                while !*stopped.borrow() {
                    let detail = format!("{waiter}/{}", kept.len() + refused);
                    match audit(&store, detail.clone()).await {
                        Ok(()) => kept.push(detail),
                        Err(StoreError::Unavailable { .. }) => {
                            refused += 1;
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
                (kept, refused)
            })
        })
        .collect();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        match place {
            Place::Sqlite(_) => {
                place.execute("ALTER TABLE audit_chains RENAME TO away");
                tokio::time::sleep(Duration::from_millis(20)).await;
                place.execute("ALTER TABLE away RENAME TO audit_chains");
            }
            Place::Postgresql(_) => place.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'skm'"),
        }
    }
    if let Place::Postgresql(cluster) = place {
        cluster.stop();
        until("the stop noticed", || store.health().is_err()).await;
        assert!(store.read(|reader| reader.chain_heads()).await.is_err_and(|error| matches!(error, StoreError::Unavailable { .. })));
        cluster.start_again();
    }
    until("health", || store.health().is_ok()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.send(true).expect("waiters");
    let mut all_refused = 0;
    let mut acknowledged = Vec::new();
    for task in tasks {
        let (kept, refused) = task.await.expect("a task");
        acknowledged.extend(kept);
        all_refused += refused;
    }
    assert!(all_refused > 0, "nothing was cut");
    let details = verified_details(&store, store.chain()).await;
    for detail in &acknowledged {
        assert_eq!(details.iter().filter(|kept| *kept == detail).count(), 1, "{detail}");
    }
    // An unknown commit may have been one: at most those that were refused are there besides.
    assert!(details.len() <= acknowledged.len() + all_refused);
}

/// A disk that takes no more, in a process of its own: the limit on file sizes that stands for it holds for all of a process.
#[test]
fn a_full_disk_refuses_everything_until_there_is_room() {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new("env")
        .arg("--ignore-signal=XFSZ")
        .arg(program)
        .args(["--exact", "store::writer::on_a_full_disk", "--ignored"])
        .output()
        .expect("a process");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "for a_full_disk_refuses_everything_until_there_is_room, in a process of its own"]
fn on_a_full_disk() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const FULL_BYTES: u64 = 1_000_000;
    super::on(&mut Place::sqlite(), |place| async move {
        let store = place.open("node-1");
        let room = getrlimit(Resource::Fsize);
        setrlimit(Resource::Fsize, Rlimit { current: Some(FULL_BYTES), maximum: room.maximum }).expect("a limit");
        // A first refusal makes SQLite move what is in its log into the database: there is room again, until that is full too.
        let (mut kept, mut refused_in_a_row) = (0, 0);
        while refused_in_a_row < 20 {
            match audit(&store, format!("{kept} {}", "x".repeat(400))).await {
                Ok(()) => (kept, refused_in_a_row) = (kept + 1, 0),
                Err(StoreError::Unavailable { .. }) => {
                    refused_in_a_row += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(other) => panic!("{other}"),
            }
            assert!(kept < 10_000, "the disk never got full");
        }
        assert!(kept > 10, "the disk was full from the start");
        assert!(store.health().is_err());
        let doomed = store.change::<_, StoreError, _>(|tx| {
            tx.insert_project(&name("doomed"), &stamp())?;
            tx.audit(event("x".repeat(10_000)), Uses::default())
        });
        assert!(matches!(doomed.await, Err(StoreError::Unavailable { .. })));
        assert!(!has_project(&store, "doomed").await);
        setrlimit(Resource::Fsize, room).expect("a limit");
        until("health", || store.health().is_ok()).await;
        audit(&store, "after").await.expect("a record");
        let details = verified_details(&store, store.chain()).await;
        assert_eq!((details.len(), details.last().map(String::as_str)), (kept + 1, Some("after")));
    });
}
