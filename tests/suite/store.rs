//! The store, on SQLite and PostgreSQL: each test runs on both.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "what fails here fails a test"
)]

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};
use skm::domain::audit::{Actor, AuditEvent, ChainHead, Link, Operation, Uses, record_hash};
use skm::domain::clock::{SystemClock, Timestamp};
use skm::domain::ids::{ChainId, KeyId, ObjectId, RequestId};
use skm::domain::key::Stamp;
use skm::domain::secret::SecretText;
use skm::store::{DatabaseSettings, Store, StoreError, StoreSettings, Tx};
use tempfile::TempDir;

use crate::support::postgres::Cluster;

#[path = "store/history.rs"]
mod history;
#[path = "store/nodes.rs"]
mod nodes;
#[path = "store/operations.rs"]
mod operations;
#[path = "store/outbox.rs"]
mod outbox;
#[path = "store/rate.rs"]
mod rate;
#[path = "store/rows.rs"]
mod rows;
#[path = "store/statistics.rs"]
mod statistics;
#[path = "store/writer.rs"]
mod writer;

/// How long a test's database may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// A database of a test's own.
#[derive(Debug)]
enum Place {
    Sqlite(TempDir),
    Postgresql(Cluster),
}

impl Place {
    fn sqlite() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let place = Self::Sqlite(tempfile::tempdir_in(parent).expect("a directory"));
        Store::migrate(&place.database()).expect("a schema");
        place
    }

    fn postgresql() -> Self {
        let place = Self::Postgresql(Cluster::start());
        Store::migrate(&place.database()).expect("a schema");
        place
    }

    fn database(&self) -> DatabaseSettings {
        match self {
            Self::Sqlite(directory) => DatabaseSettings::Sqlite { path: directory.path().join("skm.db") },
            Self::Postgresql(cluster) => DatabaseSettings::Postgresql { url: SecretText::new(cluster.url()) },
        }
    }

    fn settings(&self, node: &str) -> StoreSettings {
        StoreSettings { database: self.database(), node: node.to_owned(), read_connections: 4, queue_limit: 4_096, deadline: DEADLINE }
    }

    fn open(&self, node: &str) -> Store {
        Store::open(&self.settings(node), Arc::new(SystemClock)).expect("a store")
    }

    /// Runs SQL beside the store.
    fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(directory) => self.sqlite_connection(directory).batch_execute(sql),
            Self::Postgresql(cluster) => cluster.connection().batch_execute(sql),
        }
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The number that SQL answers beside the store, under the name `n`.
    fn number(&self, sql: &str) -> i64 {
        let answer: Result<Number, _> = match self {
            Self::Sqlite(directory) => diesel::sql_query(sql).get_result(&mut self.sqlite_connection(directory)),
            Self::Postgresql(cluster) => diesel::sql_query(sql).get_result(&mut cluster.connection()),
        };
        answer.unwrap_or_else(|error| panic!("{sql}: {error}")).n
    }

    fn sqlite_connection(&self, directory: &TempDir) -> SqliteConnection {
        let mut connection = SqliteConnection::establish(directory.path().join("skm.db").to_str().expect("UTF-8")).expect("a connection");
        connection.batch_execute("PRAGMA busy_timeout = 5000").expect("a pragma");
        connection
    }
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

/// Runs a test on a place, and shuts nothing down: a store that is dropped ends by itself.
fn on<'p, F: Future<Output = ()> + 'p>(place: &'p mut Place, test: impl FnOnce(&'p mut Place) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(test(place));
    runtime.shutdown_timeout(Duration::from_secs(10));
}

/// Each test, once per database.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { crate::store::on(&mut crate::store::Place::sqlite(), super::$test) })+
        }
        mod postgresql {
            $(#[test] fn $test() { crate::store::on(&mut crate::store::Place::postgresql(), super::$test) })+
        }
    };
}
use on_both;

/// Makes what must differ from test row to test row.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).expect("random bytes");
    bytes
}

fn key_id() -> KeyId {
    KeyId::from_bytes(random())
}

fn object_id() -> ObjectId {
    ObjectId::from_bytes(random())
}

const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn stamp() -> Stamp {
    Stamp { user: "alice".to_owned(), at: at(1_000_000) }
}

/// The smallest audit record, told apart by its detail.
fn event(detail: impl Into<String>) -> AuditEvent {
    AuditEvent {
        at: at(5_000_000),
        request: RequestId::from_bytes(random()),
        project: None,
        actor: Actor::Service,
        address: None,
        mac: None,
        certificate: None,
        user_agent: None,
        operation: Operation::Confirm,
        key_store: None,
        key: None,
        version: None,
        result_code: 0,
        detail: Some(detail.into()),
    }
}

/// Runs a change that must succeed.
async fn change<T: Send + 'static>(store: &Store, work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static) -> T {
    store.change(work).await.expect("a change")
}

/// The details of a chain's records, after its hashes, numbers and head were found right.
async fn verified_details(store: &Store, chain: ChainId) -> Vec<String> {
    const PAGE: i64 = 5_000;
    let mut head = ChainHead { chain, sequence: -1, hash: [0; 32] };
    let mut details = Vec::new();
    loop {
        let from = head.sequence + 1;
        let records = store.read(move |reader| reader.chain_records(chain, from, PAGE)).await.expect("records");
        for record in &records {
            let link = Link { chain, sequence: head.sequence + 1, previous: head.hash };
            assert_eq!((record.sequence, record.previous), (link.sequence, link.previous), "a gap or a break");
            assert_eq!(record.hash, record_hash(&link, &record.event), "record {} is not what was hashed", record.sequence);
            head = ChainHead { chain, sequence: record.sequence, hash: record.hash };
        }
        if records.is_empty() {
            break;
        }
        details.extend(records.into_iter().map(|record| record.event.detail.unwrap_or_default()));
    }
    let heads = store.read(|reader| reader.chain_heads()).await.expect("heads");
    assert_eq!(heads.into_iter().find(|noted| noted.chain == chain), (!details.is_empty()).then_some(head));
    details
}

/// Waits until `done`, a few seconds at most.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what} never came about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An audit record without uses.
async fn audit(store: &Store, detail: impl Into<String>) -> Result<(), StoreError> {
    store.audit(event(detail), Uses::default()).await
}
