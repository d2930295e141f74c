//! The schema: brought up to date by `skm migrate`, only looked at by everybody else.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use diesel::backend::Backend;
use diesel::connection::SimpleConnection as _;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::{self, Access, Db};
use super::error::StoreError;
use super::settings::DatabaseSettings;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRESQL: EmbeddedMigrations = embed_migrations!("migrations/postgresql");

/// How long a migration waits for a lock, another process's migration included.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// The advisory lock of migrations: "skm" and a number, in a `BIGINT`.
const ADVISORY_LOCK: i64 = 0x73_6b_6d_00_00_00_01;

/// Brings the schema up to date; answers the migrations that ran.
pub(super) fn run(database: &DatabaseSettings) -> Result<Vec<String>, StoreError> {
    match database {
        DatabaseSettings::Sqlite { path } => {
            create_private(path)?;
            let mut connection = connection::sqlite(path, Access::Write, LOCK_WAIT)?;
            pending(&mut connection, SQLITE)
        }
        DatabaseSettings::Postgresql { url } => {
            let mut connection = connection::postgresql(url.expose(), LOCK_WAIT)?;
            // A migration may take as long as it takes. The lock goes with the connection.
            connection.batch_execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")?;
            diesel::sql_query("SELECT pg_advisory_lock($1)").bind::<BigInt, _>(ADVISORY_LOCK).execute(&mut connection)?;
            pending(&mut connection, POSTGRESQL)
        }
    }
}

/// Creates the database file, for its owner alone, unless it is there. SQLite gives its companions the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::unavailable(format!("{}: {error}", path.display()))),
    }
}

fn pending<DB: Backend>(connection: &mut impl MigrationHarness<DB>, source: EmbeddedMigrations) -> Result<Vec<String>, StoreError> {
    let known = versions(&MigrationSource::<DB>::migrations(&source).map_err(failed)?);
    let applied = connection.applied_migrations().map_err(failed)?.iter().map(ToString::to_string).collect::<Vec<_>>();
    refuse_newer(&known, &applied)?;
    let mut ran = Vec::new();
    for migration in connection.pending_migrations(source).map_err(failed)? {
        connection.run_migration(migration.as_ref()).map_err(failed)?;
        ran.push(migration.name().to_string());
    }
    Ok(ran)
}

/// Refuses a schema that is not the one of this program.
pub(super) fn check(db: &mut Db) -> Result<(), StoreError> {
    let (applied, known) = match db {
        Db::Sqlite(connection) => {
            let is_there = diesel::sql_query("SELECT COUNT(*) AS n FROM sqlite_master WHERE name = '__diesel_schema_migrations'");
            let is_there = is_there.get_result::<Count>(connection)?.n == 1;
            (applied(db, is_there)?, versions::<Sqlite>(&SQLITE.migrations().map_err(failed)?))
        }
        Db::Postgresql(connection) => {
            let is_there = diesel::sql_query("SELECT COUNT(to_regclass('__diesel_schema_migrations')) AS n");
            let is_there = is_there.get_result::<Count>(connection)?.n == 1;
            (applied(db, is_there)?, versions::<Pg>(&POSTGRESQL.migrations().map_err(failed)?))
        }
    };
    refuse_newer(&known, &applied)?;
    match known.iter().find(|version| !applied.contains(version)) {
        None => Ok(()),
        Some(_) if applied.is_empty() => Err(StoreError::Schema("the database has no schema yet: run `skm migrate`".to_owned())),
        Some(version) => Err(StoreError::Schema(format!("the database's schema is older than this program (no {version}): run `skm migrate`"))),
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

fn applied(db: &mut Db, is_there: bool) -> Result<Vec<String>, StoreError> {
    if !is_there {
        return Ok(Vec::new());
    }
    Ok(__diesel_schema_migrations::table.select(__diesel_schema_migrations::version).load(db)?)
}

fn versions<DB: Backend>(migrations: &[Box<dyn Migration<DB>>]) -> Vec<String> {
    let mut versions: Vec<_> = migrations.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort_unstable();
    versions
}

fn refuse_newer(known: &[String], applied: &[String]) -> Result<(), StoreError> {
    match applied.iter().find(|version| !known.contains(version)) {
        None => Ok(()),
        Some(version) => Err(StoreError::Schema(format!("the database's schema is newer than this program ({version}): use the program that migrated it"))),
    }
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Schema(format!("the migration failed: {error}"))
}
