//! The database as whoever has its file or its password sees it: past the service, by SQL.

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::Text;
use diesel::{Connection as _, PgConnection, RunQueryDsl as _, SqliteConnection, sql_query};

/// A connection of the test's own.
pub(crate) enum RawDatabase {
    Sqlite(SqliteConnection),
    Postgresql(PgConnection),
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    value: String,
}

impl RawDatabase {
    /// An SQLite file, which must be there.
    pub(crate) fn sqlite(path: &Path) -> Self {
        assert!(path.is_file(), "{}: no database", path.display());
        let mut connection = SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("the database");
        connection.batch_execute("PRAGMA busy_timeout = 20000").expect("a pragma");
        Self::Sqlite(connection)
    }

    /// A PostgreSQL database by its URI.
    pub(crate) fn postgresql(uri: &str) -> Self {
        Self::Postgresql(PgConnection::establish(uri).expect("the database"))
    }

    /// The one column of `expression FROM …`, as text.
    pub(crate) fn texts(&mut self, expression: &str, from: &str) -> Vec<String> {
        let query = sql_query(format!("SELECT CAST({expression} AS TEXT) AS value FROM {from}"));
        let rows: Vec<Row> = match self {
            Self::Sqlite(connection) => query.load(connection),
            Self::Postgresql(connection) => query.load(connection),
        }
        .unwrap_or_else(|error| panic!("{expression} FROM {from}: {error}"));
        rows.into_iter().map(|row| row.value).collect()
    }

    /// How many rows `FROM …` has.
    pub(crate) fn count(&mut self, from: &str) -> i64 {
        self.number("COUNT(*)", from)
    }

    /// One number of `expression FROM …`.
    pub(crate) fn number(&mut self, expression: &str, from: &str) -> i64 {
        let texts = self.texts(expression, from);
        assert_eq!(texts.len(), 1, "{expression} FROM {from}");
        texts[0].parse().unwrap_or_else(|error| panic!("{expression} FROM {from}: {}: {error}", texts[0]))
    }

    /// Runs statements.
    pub(crate) fn run(&mut self, statements: &str) {
        match self {
            Self::Sqlite(connection) => connection.batch_execute(statements),
            Self::Postgresql(connection) => connection.batch_execute(statements),
        }
        .unwrap_or_else(|error| panic!("{statements}: {error}"));
    }
}
