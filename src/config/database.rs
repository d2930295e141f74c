//! `[database]`: where the metadata and the audit log are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::section;
use super::secret_file::{SecretFileError, read_secret_file};
use super::setting::{FromText, within, within_ms};
use crate::domain::secret::SecretText;

section! {
    /// `[database]`
    pub Database is "database" {
        /// Which database.
        url: DatabaseUrl = DatabaseUrl::Sqlite(PathBuf::from("skm.sqlite3"));
        /// A file with the password for PostgreSQL, so that the URL needs none.
        password_file: Option<PathBuf> = None;
        /// Connections for reading.
        read_connections: u32 = 4, within(1..=256);
        /// How many audit records and changes may wait for the writer.
        queue: usize = 1024, within(1..=65_536);
        /// How long a read or a write may wait for the database.
        deadline: Duration = Duration::from_secs(2), within_ms(100..=60_000);
    }
}

/// Which database. A PostgreSQL URL may hold a password, so it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://…` or `postgresql://…`, as libpq reads it.
    Postgresql(SecretText),
}

impl Database {
    pub(super) fn resolve(&mut self, directory: &Path, data_dir: &Path) {
        if let DatabaseUrl::Sqlite(path) = &mut self.url {
            *path = data_dir.join(&*path);
        }
        if let Some(file) = &mut self.password_file {
            *file = directory.join(&*file);
        }
    }

    /// The URL with the password of `password_file` in it, where there is one. Reads that file.
    pub fn complete_url(&self) -> Result<DatabaseUrl, SecretFileError> {
        match (&self.url, &self.password_file) {
            (DatabaseUrl::Postgresql(url), Some(file)) => Ok(DatabaseUrl::Postgresql(with_password(url.expose(), read_secret_file(file)?.expose()))),
            (url, _) => Ok(url.clone()),
        }
    }
}

/// libpq takes every parameter in the query part too (PostgreSQL's manual, "Connection URIs"), percent-encoded.
fn with_password(url: &str, password: &[u8]) -> SecretText {
    const PARAMETER: &str = "?password=";
    let mut complete = String::with_capacity(url.len() + PARAMETER.len() + 3 * password.len());
    complete.push_str(url);
    complete.push(if url.contains('?') { '&' } else { '?' });
    complete.push_str(PARAMETER.trim_start_matches('?'));
    for byte in password {
        complete.push('%');
        complete.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or_default()));
    }
    SecretText::new(complete)
}

impl FromText for DatabaseUrl {
    const ALLOWED: &'static str = "\"sqlite:PATH\", \"postgres://USER@HOST/NAME\" or \"postgresql://USER@HOST/NAME\"";

    fn from_text(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return PathBuf::from_text(path).map(Self::Sqlite);
        }
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))?;
        (!rest.is_empty() && !text.chars().any(char::is_control)).then(|| Self::Postgresql(SecretText::new(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_their_database() {
        assert_eq!(DatabaseUrl::from_text("sqlite:a/b"), Some(DatabaseUrl::Sqlite(PathBuf::from("a/b"))));
        assert!(matches!(DatabaseUrl::from_text("postgres://u@h/d"), Some(DatabaseUrl::Postgresql(_))));
        assert!(matches!(DatabaseUrl::from_text("postgresql://u@h/d"), Some(DatabaseUrl::Postgresql(_))));
        for wrong in ["", "sqlite:", "mysql://h", "postgres://", "host=x"] {
            assert_eq!(DatabaseUrl::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_password_is_encoded_and_not_printed() {
        assert_eq!(with_password("postgres://u@h/d", b"a&/").expose(), "postgres://u@h/d?password=%61%26%2f");
        assert_eq!(with_password("postgres://u@h/d?sslmode=require", b"a").expose(), "postgres://u@h/d?sslmode=require&password=%61");
        let url = DatabaseUrl::from_text("postgres://u:hunter2@h/d");
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
