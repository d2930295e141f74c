//! Key stores: a project's set of keys with its client checks.

use super::appkey::Appkey;
use super::client_checks::ChecksPolicy;
use super::clock::Timestamp;
use super::ids::{KeyStoreId, KeyStoreNumber, ProjectId};
use super::key::{Stamp, State};
use super::text::{Description, Name};

/// A key store.
#[derive(Clone, Debug)]
pub struct KeyStore {
    /// Its row.
    pub id: KeyStoreId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its number in that project, the wire contract's `keyStoreId`.
    pub number: KeyStoreNumber,
    /// Its name, unique in its project.
    pub name: Name,
    /// What people say about it.
    pub description: Description,
    /// Which client checks are on, and how they combine.
    pub checks: ChecksPolicy,
    /// Where its life stands.
    pub state: State,
    /// Who made it.
    pub created: Stamp,
    /// Who changed it last.
    pub changed: Stamp,
}

/// A project: the unit that an appkey names.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its row.
    pub id: ProjectId,
    /// Its name, unique on this installation.
    pub name: Name,
    /// Whether whoever knows an appkey may read the inventory by v1.0, as clients of the hosted service do.
    pub appkey_reads: bool,
    /// Whether each change needs somebody else's approval.
    pub approval: bool,
}

/// A project as lists show it.
#[derive(Clone, Debug)]
pub struct ProjectSummary {
    /// The project.
    pub project: Project,
    /// How many appkeys it has.
    pub appkeys: i64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub changed: Timestamp,
}

/// An appkey as lists show it.
#[derive(Clone, Debug)]
pub struct AppkeySummary {
    /// The appkey.
    pub appkey: Appkey,
    /// The name of the project that it names.
    pub project_name: Name,
    /// When it was made.
    pub created: Timestamp,
}
