//! Migrating, opening, backing up, shutting down.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use diesel::deserialize::QueryableByName;
use diesel::sql_types::Text;
use diesel::{RunQueryDsl as _, sql_query};
use skm::domain::clock::SystemClock;
use skm::store::{DatabaseSettings, Store, StoreError, StoreSettings};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::rows::name;
use super::{Place, audit, change, on_both, stamp, until, verified_details};
use crate::support::postgres::Cluster;

on_both!(a_foreign_schema_is_refused, migrating_twice_does_nothing, reads_are_bounded_and_consistent, shutting_down_drains_the_queue);

#[derive(QueryableByName, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    #[diesel(sql_type = Text)]
    of_table: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    nullable: String,
}

#[derive(QueryableByName, Debug, PartialEq, Eq)]
struct Definition {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    sql: String,
}

/// `CREATE UNIQUE INDEX i ON public.t USING btree (a, COALESCE(b, (0)::bigint)) WHERE (state <> 'X'::text)` and the like, in one form.
fn plain(definition: &str) -> String {
    // PostgreSQL keeps `IN (…)` as `= ANY (ARRAY[…])`.
    let mut text = definition.to_lowercase().replace("= any (array[", " in (").replace(']', ")");
    for noise in ["public.", " using btree", "::text", "::bigint", "(", ")", ",", "\n", " "] {
        text = text.replace(noise, if noise == "public." || noise == " using btree" { "" } else { " " });
        text = text.replace("::text", "").replace("::bigint", "");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn by_name(definitions: Vec<Definition>) -> BTreeMap<String, String> {
    definitions.into_iter().map(|definition| (definition.name, plain(&definition.sql))).collect()
}

/// Both databases have the same migrations, tables, columns, nullability, primary keys and indexes.
#[test]
fn the_schemas_are_the_same() {
    let files = |database: &str| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database);
        let mut names: Vec<_> = std::fs::read_dir(directory).expect("migrations").flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(files("sqlite"), files("postgresql"));

    let (lite, post) = (Place::sqlite(), Place::postgresql());
    let (Place::Sqlite(directory), Place::Postgresql(cluster)) = (&lite, &post) else { unreachable!() };
    let (mut lite, mut post) = (lite.sqlite_connection(directory), cluster.connection());
    let sqlite_columns = "SELECT m.name AS of_table, c.name AS name, CASE WHEN c.\"type\" = 'INTEGER' THEN 'number' WHEN c.\"type\" = 'TEXT' THEN 'text'
         WHEN c.\"type\" = 'BLOB' THEN 'bytes' ELSE c.\"type\" END AS kind, CASE WHEN c.\"notnull\" = 1 THEN 'NO' ELSE 'YES' END AS nullable
         FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\'";
    let postgresql_columns =
        "SELECT table_name::text AS of_table, column_name::text AS name, CASE data_type WHEN 'bigint' THEN 'number' WHEN 'boolean' THEN 'number'
         WHEN 'text' THEN 'text' WHEN 'bytea' THEN 'bytes' ELSE data_type::text END AS kind, is_nullable::text AS nullable
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%'";
    let mut columns: [Vec<Column>; 2] =
        [sql_query(sqlite_columns).load(&mut lite).expect("columns"), sql_query(postgresql_columns).load(&mut post).expect("columns")];
    columns.iter_mut().for_each(|columns| columns.sort());
    let [of_sqlite, of_postgresql] = columns;
    assert!(of_sqlite.len() > 100, "{of_sqlite:?}");
    assert_eq!(of_sqlite, of_postgresql);

    let sqlite_indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
    let postgresql_indexes = "SELECT indexname::text AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%\\_pkey'";
    let of_sqlite = by_name(sql_query(sqlite_indexes).load(&mut lite).expect("indexes"));
    assert!(of_sqlite.len() > 12, "{of_sqlite:?}");
    assert_eq!(of_sqlite, by_name(sql_query(postgresql_indexes).load(&mut post).expect("indexes")));

    let sqlite_keys = "SELECT m.name AS name, group_concat(c.name, ' ' ORDER BY c.pk) AS sql FROM sqlite_master m JOIN pragma_table_info(m.name) c
         WHERE c.pk > 0 AND m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' GROUP BY m.name";
    let postgresql_keys = "SELECT t.relname::text AS name, string_agg(a.attname::text, ' ' ORDER BY array_position(i.indkey::int[], a.attnum::int)) AS sql
         FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey)
         WHERE i.indisprimary AND t.relnamespace = 'public'::regnamespace AND t.relname NOT LIKE '\\_\\_%' GROUP BY t.relname";
    let of_sqlite = by_name(sql_query(sqlite_keys).load(&mut lite).expect("keys"));
    assert_eq!(of_sqlite, by_name(sql_query(postgresql_keys).load(&mut post).expect("keys")));
}

async fn migrating_twice_does_nothing(place: &mut Place) {
    assert_eq!(Store::migrate(&place.database()).expect("a migration"), Vec::<String>::new());
    if let Place::Sqlite(directory) = &*place {
        let mode = |file: &str| std::fs::metadata(directory.path().join(file)).expect("a file").permissions().mode() & 0o777;
        let store = place.open("node-1");
        audit(&store, "record").await.expect("a record");
        assert_eq!((mode("skm.db"), mode("skm.db-wal"), mode("skm.db-shm")), (0o600, 0o600, 0o600));
    }
}

async fn a_foreign_schema_is_refused(place: &mut Place) {
    let refusal = |place: &Place| match Store::open(&place.settings("node-1"), Arc::new(SystemClock)) {
        Err(StoreError::Schema(message)) => message,
        other => panic!("{other:?}"),
    };
    place.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    assert!(refusal(place).contains("newer"), "{}", refusal(place));
    assert!(matches!(Store::migrate(&place.database()), Err(StoreError::Schema(message)) if message.contains("newer")));
    place.execute("DELETE FROM __diesel_schema_migrations WHERE version IN ('9999', '0004')");
    assert!(refusal(place).contains("older") && refusal(place).contains("skm migrate"), "{}", refusal(place));
    place.execute("DROP TABLE __diesel_schema_migrations");
    assert!(refusal(place).contains("no schema yet") && refusal(place).contains("skm migrate"), "{}", refusal(place));
}

#[test]
fn what_is_not_there_is_not_made_by_opening() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("none.db");
    let place = Place::Sqlite(directory);
    let mut settings = place.settings("node-1");
    settings.database = DatabaseSettings::Sqlite { path: path.clone() };
    assert!(matches!(Store::open(&settings, Arc::new(SystemClock)), Err(StoreError::Schema(message)) if message.contains("skm migrate")));
    assert!(!path.exists());
}

#[test]
fn two_migrations_at_once_make_one_schema() {
    let place = Place::Postgresql(Cluster::start());
    let migrations = [place.database(), place.database()].map(|database| std::thread::spawn(move || Store::migrate(&database).expect("a migration").len()));
    let ran = migrations.map(|migration| migration.join().expect("a thread"));
    assert_eq!(ran.iter().filter(|count| **count > 0).count(), 1, "{ran:?}");
    assert!(Store::open(&place.settings("node-1"), Arc::new(SystemClock)).is_ok());
}

async fn reads_are_bounded_and_consistent(place: &mut Place) {
    let store = place.open("node-1");
    let other = place.open("node-2");
    // What is read in one unit is as of one moment.
    let seen = store
        .read::<_, StoreError, _>(move |reader| {
            let before = reader.project_by_name(&name("new"))?.is_some();
            let inserted = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(change(&other, |tx| tx.insert_project(&name("new"), &stamp())));
            });
            inserted.join().expect("a change");
            Ok((before, reader.project_by_name(&name("new"))?.is_some()))
        })
        .await;
    assert_eq!(seen.expect("a read"), (false, false));
    assert!(store.read(|reader| reader.project_by_name(&name("new"))).await.expect("a read").is_some());
    // A read that panics doesn't take its connection along, nor the others'.
    let panicked = store.read::<(), StoreError, _>(|_| panic!("a test's panic")).await;
    assert!(matches!(panicked, Err(StoreError::Failed { .. })));
    let reads: Vec<_> = (0..200)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.read(|reader| reader.project_by_name(&name("new"))).await })
        })
        .collect();
    for read in reads {
        assert!(read.await.expect("a task").expect("a read").is_some());
    }
}

async fn shutting_down_drains_the_queue(place: &mut Place) {
    let store = place.open("node-1");
    let heard = Arc::new(AtomicBool::new(false));
    let hears = Arc::clone(&heard);
    store.follow(Duration::from_millis(10), move |_| hears.store(true, Ordering::SeqCst));
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { audit(&store, number.to_string()).await.is_ok() })
        })
        .collect();
    until("some records", || store.queued() > 0 || tasks.iter().any(|task| task.is_finished())).await;
    let closing = store.clone();
    assert!(tokio::task::spawn_blocking(move || closing.shut_down(Duration::from_secs(5))).await.expect("a thread"));
    let mut kept = 0;
    for task in tasks {
        kept += usize::from(task.await.expect("a task"));
    }
    assert!(kept > 0);
    assert!(matches!(audit(&store, "late").await, Err(StoreError::Unavailable { .. })));
    assert!(store.shut_down(Duration::ZERO), "twice is as good as once");
    let again = place.open("node-1");
    assert_eq!(verified_details(&again, store.chain()).await.len(), kept);
    // The follower is gone too: freshness ages.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(store.staleness().is_some_and(|age| age >= Duration::from_millis(100)));
}

fn sqlite_test<F: Future<Output = ()>>(test: impl FnOnce(Place, TempDir) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(test(Place::sqlite(), tempfile::tempdir().expect("a directory")));
}

/// A backup into `target` that goes on until the sender is dropped; it has its copy when this answers.
async fn back_up(store: &Store, target: &Path) -> (mpsc::Sender<()>, JoinHandle<Result<(), StoreError>>) {
    let (release, gate) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let (store, target) = (store.clone(), target.to_owned());
    let copying = tokio::spawn(async move {
        let meanwhile = move || {
            tell.send(()).ok();
            gate.recv().ok();
            Ok(())
        };
        store.backup(target, meanwhile).await
    });
    tokio::task::spawn_blocking(move || told.recv().expect("a copy")).await.expect("a thread");
    (release, copying)
}

/// The copy is whole and as of one moment, though requests go on; changes wait for what runs meanwhile.
#[test]
fn a_backup_holds_everything_and_can_be_restored() {
    sqlite_test(|place, directory| async move {
        let store = place.open("node-1");
        change(&store, |tx| tx.insert_project(&name("kept"), &stamp())).await;
        for number in 0..20 {
            audit(&store, number.to_string()).await.expect("a record");
        }
        let target = directory.path().join("skm.db");
        let (release, copying) = back_up(&store, &target).await;
        let later = tokio::spawn({
            let store = store.clone();
            async move { change(&store, |tx| tx.insert_project(&name("later"), &stamp())).await }
        });
        for number in 0..50 {
            let began = Instant::now();
            audit(&store, format!("meanwhile {number}")).await.expect("a record");
            assert!(began.elapsed() < Duration::from_secs(1), "a record waited {:?} for the backup", began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!later.is_finished() && !copying.is_finished(), "the change did not wait for the backup");
        assert!(store.read(|reader| reader.project_by_name(&name("later"))).await.expect("a read").is_none());
        assert_eq!((store.health(), store.queued()), (Ok(()), 0));
        drop(release);
        copying.await.expect("a task").expect("a backup");
        later.await.expect("the change");
        assert_eq!(verified_details(&store, store.chain()).await.len(), 70);
        assert_eq!(std::fs::metadata(&target).expect("the backup").permissions().mode() & 0o777, 0o600);

        let restored = Place::Sqlite(directory);
        let copy = restored.open("node-1");
        assert_eq!(verified_details(&copy, store.chain()).await.len(), 20);
        assert!(copy.read(|reader| reader.project_by_name(&name("kept"))).await.expect("a read").is_some());
        assert!(copy.read(|reader| reader.project_by_name(&name("later"))).await.expect("a read").is_none());
        audit(&copy, "goes on").await.expect("a record");
        assert_eq!(verified_details(&copy, copy.chain()).await, ["goes on"]);
    });
}

/// Neither a change nor a second backup waits longer than the deadline, nor does a backup begin while a change is under way.
#[test]
fn waiting_for_a_backup_is_bounded() {
    sqlite_test(|place, directory| async move {
        let settings = StoreSettings { deadline: Duration::from_millis(400), queue_limit: 4, ..place.settings("node-1") };
        let store = Store::open(&settings, Arc::new(SystemClock)).expect("a store");
        let (release, copying) = back_up(&store, &directory.path().join("first.db")).await;
        let began = Instant::now();
        let waiting: Vec<_> = (0..6)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.change::<_, StoreError, _>(|tx| tx.insert_project(&name("late"), &stamp())).await })
            })
            .collect();
        let second = store.backup(directory.path().join("second.db"), || Ok(())).await;
        assert!(matches!(second, Err(StoreError::Busy)), "{second:?}");
        let (mut busy, mut late) = (0, 0);
        for task in waiting {
            match task.await.expect("a task") {
                Err(StoreError::Busy) => busy += 1,
                Err(StoreError::Unavailable { .. }) => late += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!((busy, late), (2, 4), "more changes wait than may be queued");
        audit(&store, "meanwhile").await.expect("a record");
        drop(release);
        copying.await.expect("a task").expect("a backup");
        assert!(store.read(|reader| reader.project_by_name(&name("late"))).await.expect("a read").is_none(), "a refused change was done");
        change(&store, |tx| tx.insert_project(&name("after"), &stamp())).await;

        // The other way round: its caller gives up, but the change goes on, and so does the waiting for it.
        let (tell, told) = mpsc::channel();
        let slow = tokio::spawn({
            let store = store.clone();
            async move {
                store
                    .change::<_, StoreError, _>(move |tx| {
                        tell.send(()).ok();
                        std::thread::sleep(Duration::from_millis(900));
                        tx.insert_project(&name("slow"), &stamp())
                    })
                    .await
            }
        });
        tokio::task::spawn_blocking(move || told.recv().expect("the change")).await.expect("a thread");
        slow.abort();
        let third = directory.path().join("third.db");
        assert!(matches!(store.backup(third.clone(), || Ok(())).await, Err(StoreError::Busy)));
        assert!(!third.exists());
    });
}

#[test]
fn half_a_backup_does_not_stay() {
    sqlite_test(|place, directory| async move {
        let store = place.open("node-1");
        let target = directory.path().join("skm.db");
        let failed = store.backup(target.clone(), || Err("no token".to_owned())).await;
        assert!(matches!(failed, Err(StoreError::Failed { reason }) if reason.contains("no token")));
        assert!(matches!(store.backup(target.clone(), || panic!("a test's panic")).await, Err(StoreError::Failed { .. })));
        assert!(!target.exists());
        std::fs::write(&target, "somebody's").expect("a file");
        assert!(store.backup(target.clone(), || Ok(())).await.is_err());
        assert_eq!(std::fs::read(&target).expect("the file"), b"somebody's", "what is there stays");
        audit(&store, "goes on").await.expect("a record");
    });
}

#[test]
fn postgresql_is_not_backed_up_by_us() {
    let mut place = Place::postgresql();
    super::on(&mut place, |place| async move {
        let store = place.open("node-1");
        let target = std::env::temp_dir().join("skm-no-backup");
        assert!(matches!(store.backup(target.clone(), || Ok(())).await, Err(StoreError::Failed { reason }) if reason.contains("pg_dump")));
        assert!(!target.exists());
    });
}
