//! Why the database did not do it.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// Why the database did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The writer's queue is full: nothing was done.
    #[error("the database's queue is full")]
    Busy,
    /// The database can't be used now, or a commit failed or is unknown: nothing may be taken as done.
    #[error("the database is unavailable: {reason}")]
    Unavailable {
        /// What is wrong, for the log.
        reason: String,
    },
    /// A unique constraint decided against the caller.
    #[error("{what} exists already")]
    Exists {
        /// Which one.
        what: Unique,
    },
    /// The row that was to be changed is not there in the state that was expected.
    #[error("{what} is no longer as it was")]
    Stale {
        /// What was to be changed.
        what: &'static str,
    },
    /// Approval is on in the project, and this was not approved.
    #[error("approval is on in the project")]
    Governed,
    /// A row can't be read as what it should be: somebody else wrote it.
    #[error("the database holds a {what} that can't be read")]
    Corrupt {
        /// What can't be read.
        what: &'static str,
    },
    /// The schema is older or newer than this program.
    #[error("{0}")]
    Schema(String),
    /// Something else failed.
    #[error("the database failed: {reason}")]
    Failed {
        /// What, for the log.
        reason: String,
    },
}

/// The unique constraints that may decide a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// A project's name.
    ProjectName,
    /// An appkey.
    Appkey,
    /// An account's login name.
    Login,
    /// A role of an account in a project.
    Role,
    /// A key store's name in its project.
    KeyStoreName,
    /// A key's name in its key store.
    KeyName,
    /// A key store's open draft or request.
    OpenRequest,
    /// A client rule's value or certificate name in its key store.
    ClientRule,
    /// A recipient's target in its project, or in the installation.
    Recipient,
    /// Something that chance alone can't repeat.
    Other,
}

impl std::fmt::Display for Unique {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ProjectName => "a project of that name",
            Self::Appkey => "that appkey",
            Self::Login => "an account of that login name",
            Self::Role => "that role of the account in the project",
            Self::KeyStoreName => "a key store of that name",
            Self::KeyName => "a key of that name",
            Self::OpenRequest => "an open request of that key store",
            Self::ClientRule => "that entry",
            Self::Recipient => "that recipient",
            Self::Other => "that row",
        })
    }
}

/// Which unique index decides what: its name (as PostgreSQL tells it), and its columns (as SQLite does).
const UNIQUE_INDEXES: [(&str, &str, Unique); 10] = [
    ("projects_name", "projects.name", Unique::ProjectName),
    ("appkeys_pkey", "appkeys.appkey", Unique::Appkey),
    ("accounts_login", "accounts.login", Unique::Login),
    ("account_roles_pkey", "account_roles.account_id, account_roles.project_id, account_roles.role", Unique::Role),
    ("key_stores_name", "key_stores.project_id, key_stores.name", Unique::KeyStoreName),
    ("keys_name", "keys.key_store_id, keys.name", Unique::KeyName),
    ("change_requests_open", "change_requests.key_store_id", Unique::OpenRequest),
    ("client_rules_value", "client_rules.key_store_id, client_rules.method, client_rules.value", Unique::ClientRule),
    (
        "notification_recipients_project",
        "notification_recipients.project_id, notification_recipients.channel, notification_recipients.target",
        Unique::Recipient,
    ),
    ("notification_recipients_installation", "notification_recipients.channel, notification_recipients.target", Unique::Recipient),
];

/// The constraint that a violation names: PostgreSQL by name, SQLite by columns in its message.
fn unique_of(constraint: Option<&str>, message: &str) -> Unique {
    let columns = message.rsplit_once(": ").map(|(_, columns)| columns);
    UNIQUE_INDEXES
        .into_iter()
        .find(|(index, of_columns, _)| constraint == Some(*index) || columns == Some(*of_columns))
        .map_or(Unique::Other, |(_, _, what)| what)
}

impl StoreError {
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }
}

impl From<DieselError> for StoreError {
    /// What the database says is taken as "can't now", unless it blames the statement itself: a full disk, a lost connection, a lock
    /// or statement time-out and a deadlock have no kind of their own in `diesel`.
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, information) => match kind {
                DatabaseErrorKind::UniqueViolation => Self::Exists { what: unique_of(information.constraint_name(), information.message()) },
                DatabaseErrorKind::ForeignKeyViolation => Self::Stale { what: "what it belongs to" },
                DatabaseErrorKind::NotNullViolation | DatabaseErrorKind::CheckViolation | DatabaseErrorKind::ExclusionViolation => {
                    Self::failed(information.message())
                }
                _ => Self::unavailable(information.message()),
            },
            DieselError::BrokenTransactionManager => Self::unavailable("the transaction is broken"),
            other => Self::failed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_words_name_the_constraint() {
        assert_eq!(unique_of(Some("keys_name"), "duplicate key value violates unique constraint \"keys_name\""), Unique::KeyName);
        assert_eq!(unique_of(None, "UNIQUE constraint failed: keys.key_store_id, keys.name"), Unique::KeyName);
        assert_eq!(unique_of(None, "UNIQUE constraint failed: keys.id"), Unique::Other);
        assert_eq!(unique_of(Some("keys_pkey"), "keys.key_store_id, keys.name"), Unique::Other);
    }
}
