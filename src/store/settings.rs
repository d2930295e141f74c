//! Where the database is and how the store works with it.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::secret::SecretText;

/// Where the metadata is.
#[derive(Debug, Clone)]
pub enum DatabaseSettings {
    /// An SQLite file, embedded.
    Sqlite {
        /// The database file.
        path: PathBuf,
    },
    /// A PostgreSQL server.
    Postgresql {
        /// A libpq connection string or URL; it may hold a password.
        url: SecretText,
    },
}

/// How the store works.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Where the metadata is.
    pub database: DatabaseSettings,
    /// This process's name among all that share the database.
    pub node: String,
    /// Connections for reading.
    pub read_connections: u32,
    /// How many audit records and changes may wait for the writer.
    pub queue_limit: usize,
    /// How long a read or a write may wait for the database.
    pub deadline: Duration,
}
