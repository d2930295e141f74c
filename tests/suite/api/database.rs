//! The installation's database, changed beside the service: states that the API can't bring about, or not in the time of a test.

use std::path::PathBuf;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, SqliteConnection};

/// The service reads the change log each 200 ms.
const NOTICED_WITHIN: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Database {
    /// Runs statements in one transaction.
    pub(super) fn execute(&self, sql: &str) {
        let outcome = match self {
            Self::Sqlite(path) => {
                let mut connection = SqliteConnection::establish(&path.display().to_string()).expect("the database");
                connection.batch_execute(&format!("PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE; {sql}; COMMIT;"))
            }
            Self::Postgres(url) => PgConnection::establish(url).expect("the database").batch_execute(&format!("BEGIN; {sql}; COMMIT;")),
        };
        outcome.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// The same while the service runs: it drops all its views before this returns.
    pub(super) fn change(&self, sql: &str) {
        self.execute(&format!(
            "{sql}; UPDATE change_seq SET n = n + 1; INSERT INTO change_log (number, kind, subject, at) SELECT n, 'EVERYTHING', '', 0 FROM change_seq"
        ));
        std::thread::sleep(NOTICED_WITHIN);
    }

    /// A literal of bytes.
    pub(super) fn blob(&self, bytes: &[u8]) -> String {
        match self {
            Self::Sqlite(_) => format!("X'{}'", hex::encode(bytes)),
            Self::Postgres(_) => format!("'\\x{}'::bytea", hex::encode(bytes)),
        }
    }

    /// Makes the only version of the key `from` version 1 of the key `to`, and the current one; `from` is no more.
    pub(super) fn move_version(&self, from: &str, to: &str) {
        self.change(&format!(
            "DELETE FROM key_versions WHERE key_id = '{from}'; UPDATE keys SET state = 'DESTROYED' WHERE id = '{from}';
             UPDATE token_objects SET key_id = '{to}', version = 1 WHERE key_id = '{from}';
             INSERT INTO key_versions (key_id, version, state, origin, sealed, deletion_at, created_by, created_at, changed_by, changed_at)
             SELECT key_id, 1, state, origin, sealed, deletion_at, created_by, created_at, changed_by, changed_at FROM key_versions WHERE key_id = '{to}';
             UPDATE keys SET current_version = 1 WHERE id = '{to}'"
        ));
    }
}
