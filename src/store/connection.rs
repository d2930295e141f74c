//! Connections: how one is made ready on either database, and the readers' idle ones.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, ConnectionError, PgConnection, SqliteConnection};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::error::StoreError;
use super::settings::DatabaseSettings;

/// A connection to either database.
#[derive(diesel::MultiConnection)]
pub(super) enum Db {
    /// PostgreSQL.
    Postgresql(PgConnection),
    /// SQLite.
    Sqlite(SqliteConnection),
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Postgresql(_) => "Db(PostgreSQL)",
            Self::Sqlite(_) => "Db(SQLite)",
        })
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading alone.
    Read,
    /// Reading and writing.
    Write,
}

/// Pages of SQLite's write-ahead log after which a commit copies them into the database (32 MiB). Such a commit takes some
/// milliseconds: with SQLite's own 1,000 pages every hundredth of a quiet service would be one, the p99.
const CHECKPOINT_PAGES: u32 = 8_000;

/// Makes connections.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    database: DatabaseSettings,
    deadline: Duration,
}

impl Connector {
    /// Connections to `database` on which nothing waits longer than `deadline`.
    pub(super) fn new(database: &DatabaseSettings, deadline: Duration) -> Self {
        Self { database: database.clone(), deadline }
    }

    /// The files that connections made now would have open. An SQLite file that was moved or removed goes on taking writes from
    /// those who have it open, and nobody ever finds them again: whoever keeps a connection keeps this, and compares.
    pub(super) fn files(&self) -> Files {
        match &self.database {
            DatabaseSettings::Sqlite { path } => Files { database: file(path), log: file(&log_of(path)) },
            DatabaseSettings::Postgresql { .. } => Files::default(),
        }
    }

    /// Whether the database is an SQLite file.
    pub(super) const fn is_sqlite(&self) -> bool {
        matches!(self.database, DatabaseSettings::Sqlite { .. })
    }

    /// A new connection, made ready.
    pub(super) fn connect(&self, access: Access) -> Result<Db, StoreError> {
        match &self.database {
            DatabaseSettings::Sqlite { path } => sqlite(path, access, self.deadline).map(Db::Sqlite),
            DatabaseSettings::Postgresql { url } => postgresql(url.expose(), self.deadline).map(Db::Postgresql),
        }
    }
}

/// An SQLite database's files, as they are in their directory now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Files {
    database: Option<FileId>,
    /// The write-ahead log.
    log: Option<FileId>,
}

/// Device and inode.
type FileId = (u64, u64);

fn file(path: &Path) -> Option<FileId> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// SQLite names it so.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// A connection to an SQLite file, which must exist: SQLite would make an empty one.
pub(super) fn sqlite(path: &Path, access: Access, deadline: Duration) -> Result<SqliteConnection, StoreError> {
    let absolute = std::path::absolute(path).map_err(|error| StoreError::unavailable(error.to_string()))?;
    let name = absolute.to_str().ok_or_else(|| StoreError::failed("the database file's name is not UTF-8"))?;
    if !absolute.is_file() {
        return Err(StoreError::Schema(format!(
            "there is no database {name} yet: run `skm init`, or `skm migrate` if another host has initialised this installation"
        )));
    }
    let mut connection = SqliteConnection::establish(name).map_err(|error| StoreError::unavailable(format!("{name}: {error}")))?;
    // busy_timeout first: turning WAL on needs a lock.
    connection.batch_execute(&format!(
        "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA query_only = {};",
        deadline.as_millis(),
        if access == Access::Read { "ON" } else { "OFF" },
    ))?;
    Ok(connection)
}

/// A connection to a PostgreSQL primary on which no statement takes longer than `deadline`, and waiting for another node's lock half of it: what
/// waits behind that still has its answer in time.
pub(super) fn postgresql(url: &str, deadline: Duration) -> Result<PgConnection, StoreError> {
    let mut connection = PgConnection::establish(&with_parameters(url, deadline)).map_err(|error| refused(&error))?;
    let millis = deadline.as_millis();
    // What was answered must be durable, whatever the server's default is.
    connection.batch_execute(&format!(
        "SET statement_timeout = {millis}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {};
         SET client_min_messages = warning;
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        millis.div_ceil(2),
        millis.saturating_mul(4),
    ))?;
    Ok(connection)
}

/// What libpq says when it can't connect, unless it is about the connection string: it would quote parts of that, a password perhaps.
fn refused(error: &ConnectionError) -> StoreError {
    let text = error.to_string();
    let reason = if text.contains("connection to server") || text.contains("timeout expired") {
        text
    } else {
        "no connection to the PostgreSQL server: the connection string can't be used".to_owned()
    };
    StoreError::unavailable(reason.trim().to_owned())
}

/// The connection string with bounds on connecting and on a silent network, and a wish for the primary where several hosts are named;
/// what it says itself stands.
fn with_parameters(url: &str, deadline: Duration) -> Zeroizing<String> {
    // libpq takes 1 s for 2 s.
    let connect_seconds = deadline.as_secs().max(2);
    let parameters = [
        ("connect_timeout", connect_seconds.to_string()),
        ("tcp_user_timeout", deadline.as_millis().to_string()),
        ("keepalives_idle", connect_seconds.to_string()),
        ("keepalives_interval", "1".to_owned()),
        ("keepalives_count", "3".to_owned()),
        ("target_session_attrs", "read-write".to_owned()),
        ("application_name", "skm".to_owned()),
    ];
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    // Room for all that is added: growing would leave copies of a password behind.
    let mut text = Zeroizing::new(String::with_capacity(url.len() + 512));
    text.push_str(url);
    for (name, value) in parameters.iter().filter(|(name, _)| !url.contains(&format!("{name}="))) {
        let separator = match (is_url, text.contains('?')) {
            (true, false) => '?',
            (true, true) => '&',
            (false, _) => ' ',
        };
        text.push(separator);
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// Idle connections for reading. Plainer than a pool crate's: who reads holds one of `read_connections` permits, so there is
/// nothing to wait for here, and no threads of its own.
#[derive(Debug)]
pub(super) struct IdleReaders {
    connector: Connector,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Db>,
    /// What they have open.
    files: Files,
}

impl Idle {
    /// Drops what has another file open than is there now.
    fn keep_current(&mut self, files: Files) {
        if self.files != files {
            self.connections.clear();
            self.files = files;
        }
    }
}

impl IdleReaders {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, idle: Mutex::new(Idle::default()) }
    }

    /// A connection with a transaction begun. An idle one that has been lost meanwhile is noticed here and replaced.
    pub(super) fn take(&self) -> Result<Db, StoreError> {
        let files = self.connector.files();
        // Bound to a name, so that the lock isn't held while the statement runs.
        let idle = {
            let mut idle = self.idle.lock();
            idle.keep_current(files);
            idle.connections.pop()
        };
        if let Some(mut db) = idle {
            if super::dialect::begin_read(&mut db).is_ok() {
                return Ok(db);
            }
            // If one was lost, the others were, most likely.
            self.idle.lock().connections.clear();
        }
        let mut db = self.connector.connect(Access::Read)?;
        super::dialect::begin_read(&mut db)?;
        Ok(db)
    }

    /// Ends the transaction and keeps the connection for the next reader, if it is still good.
    pub(super) fn give_back(&self, mut db: Db) {
        if db.batch_execute("ROLLBACK").is_ok() {
            self.idle.lock().connections.push(db);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_fit_both_notations_and_leave_what_is_said() {
        let second = Duration::from_secs(1);
        let plain = with_parameters("host=/tmp user=skm connect_timeout=9", second);
        assert!(plain.starts_with("host=/tmp user=skm connect_timeout=9 tcp_user_timeout=1000 "), "{}", plain.as_str());
        assert_eq!(plain.matches("connect_timeout").count(), 1);
        let url = with_parameters("postgres://u:p@h/db", second);
        assert!(url.starts_with("postgres://u:p@h/db?connect_timeout=2&tcp_user_timeout=1000&"), "{}", url.as_str());
        let url = with_parameters("postgresql://h/db?sslmode=require", second);
        assert!(url.starts_with("postgresql://h/db?sslmode=require&connect_timeout=2&"), "{}", url.as_str());
    }

    #[test]
    fn a_bad_connection_string_is_not_repeated() {
        for wrong in ["hunter2 host", "postgres://u:hunter2:x@h/db", "password=hunter2 nonsense=1"] {
            let error = postgresql(wrong, Duration::from_secs(1)).map(drop).expect_err("no connection");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
