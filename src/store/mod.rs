//! Metadata and the audit log: the only room that knows `diesel`.
//!
//! [`Store`] is the door. Reading takes a closure over a [`Reader`], changing one over a [`Tx`]; what a [`Tx`] did is durable,
//! its audit record included, when [`Store::change`] returns `Ok`.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::account::{AccessKey, AccessKeyId, BearerToken, Role, SecretHash, TokenLife};
use crate::domain::appkey::Appkey;
use crate::domain::audit::{AuditEvent, ChainHead, Uses};
use crate::domain::client_checks::{ChecksPolicy, ClientRule, Method, RuleValue};
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::ids::{AccountId, ChainId, ClientRuleId, KeyId, KeyStoreId, KeyStoreNumber, KeyVersion, ObjectId, ProjectId};
use crate::domain::key::{Key, KeyKind, Origin, RotationPeriod, Stamp, State, Version};
use crate::domain::key_store::{KeyStore, Project};
use crate::domain::secret::SecretText;
use crate::domain::text::{Description, Name};

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
    /// A key store's name in its project.
    KeyStoreName,
    /// A key's name in its key store.
    KeyName,
    /// A client rule's value or certificate name in its key store.
    ClientRule,
    /// Something that chance alone can't repeat.
    Other,
}

impl std::fmt::Display for Unique {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ProjectName => "a project of that name",
            Self::Appkey => "that appkey",
            Self::Login => "an account of that login name",
            Self::KeyStoreName => "a key store of that name",
            Self::KeyName => "a key of that name",
            Self::ClientRule => "that entry",
            Self::Other => "that row",
        })
    }
}

/// What the service needs a key of its own for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Seals confidential data of one key store (AES-256).
    ConfidentialData(KeyStoreId),
    /// Signs certificates and revocation lists (EC P-256).
    CertificateAuthority,
    /// Signs audit checkpoints (EC P-256).
    AuditCheckpoint,
    /// Seals `.p12` files and other small secrets of the service (AES-256).
    Seal,
    /// Proves the token's health (AES-256).
    Canary,
}

/// A key of the service's own.
#[derive(Debug, Clone)]
pub struct InternalKey {
    /// Its name, bound into what it seals.
    pub id: KeyId,
    /// What it is for.
    pub purpose: Purpose,
    /// Its version; what it sealed says which.
    pub version: KeyVersion,
    /// Its object in the token.
    pub object: ObjectId,
    /// DER SPKI of a pair.
    pub public_key: Option<Vec<u8>>,
}

/// A key with everything that a request needs of it, as of one moment.
#[derive(Debug, Clone)]
pub struct KeyRow {
    /// The key.
    pub key: Key,
    /// Its versions that aren't destroyed, oldest first.
    pub versions: Vec<Version>,
}

/// What a change touched: other nodes drop their cached views of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// A key, its versions.
    Key(KeyId),
    /// A key store, its client rules.
    KeyStore(KeyStoreId),
    /// A project, its appkeys and settings.
    Project(ProjectId),
    /// Accounts, roles, access keys, tokens.
    Identity,
    /// A token object that is no more.
    ObjectGone(ObjectId),
}

/// A token object that is to be made, with what it is for.
#[derive(Debug, Clone)]
pub struct PlannedObject {
    /// Its `CKA_ID`.
    pub object: ObjectId,
    /// The client's key or internal key that it is a version of.
    pub key: KeyId,
    /// Which version.
    pub version: KeyVersion,
    /// Until when its maker is trusted to be at work.
    pub lease_until: Timestamp,
}

/// A planned or doomed object whose lease has run out.
#[derive(Debug, Clone)]
pub struct ExpiredObject {
    /// Its `CKA_ID`.
    pub object: ObjectId,
    /// The key that it is a version of.
    pub key: KeyId,
    /// Which version.
    pub version: KeyVersion,
    /// `PROVISIONING` or `DESTROYING`.
    pub state: State,
}

/// A key to be inserted.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name on the wire.
    pub id: KeyId,
    /// Its project.
    pub project: ProjectId,
    /// Its key store.
    pub key_store: KeyStoreId,
    /// What it is for.
    pub kind: KeyKind,
    /// Its name.
    pub name: Name,
    /// Its description.
    pub description: Description,
    /// How often it rotates by itself.
    pub rotation: RotationPeriod,
    /// When it first does.
    pub next_rotation: Option<Timestamp>,
    /// How its first version came to be.
    pub origin: Origin,
    /// By whom and when.
    pub created: Stamp,
}

/// A checkpoint of the audit log.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Its number, from 1.
    pub number: i64,
    /// When it was made.
    pub at: Timestamp,
    /// The digest of the checkpoint before it (zeroes for the first).
    pub previous: [u8; 32],
    /// The heads of all chains then, in the order of their names.
    pub heads: Vec<ChainHead>,
    /// [`crate::domain::audit::checkpoint_digest`] of the above.
    pub digest: [u8; 32],
    /// ECDSA P-256 over the digest, r and s.
    pub signature: [u8; 64],
    /// The internal key that signed it.
    pub signer: KeyId,
}

/// An audit record as it is kept.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// Its chain.
    pub chain: ChainId,
    /// Its number there.
    pub sequence: i64,
    /// The hash of the record before.
    pub previous: [u8; 32],
    /// Its own hash.
    pub hash: [u8; 32],
    /// What it says.
    pub event: AuditEvent,
}

/// A chain as it is kept.
#[derive(Debug, Clone)]
pub struct StoredChain {
    /// Its name.
    pub chain: ChainId,
    /// The process that wrote it.
    pub node: String,
    /// When it began.
    pub started: Timestamp,
    /// ECDSA P-256 over the first record's hash, r and s.
    pub signature: Option<[u8; 64]>,
    /// The internal key that signed it.
    pub signer: Option<KeyId>,
    /// Its last record, as the writer last noted it.
    pub head: ChainHead,
}

/// The database, shared by everything in the process. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Store {}

/// One unit of reading.
#[derive(Debug)]
pub struct Reader<'a>(std::marker::PhantomData<&'a mut ()>);

/// One unit of changing, in a savepoint of its own; derefs to [`Reader`], so that it reads what it changes.
#[derive(Debug)]
pub struct Tx<'a>(Reader<'a>);

impl<'a> std::ops::Deref for Tx<'a> {
    type Target = Reader<'a>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::ops::DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

#[allow(unused_variables, clippy::unused_async, reason = "the seam, until the room is built")]
impl Store {
    /// Brings the schema up to date; answers the migrations that ran. Blocking.
    pub fn migrate(database: &DatabaseSettings) -> Result<Vec<String>, StoreError> {
        unreachable!()
    }

    /// Opens the database, refusing a schema that is older or newer than the program; starts the writer. Blocking.
    pub fn open(settings: &StoreSettings, clock: SharedClock) -> Result<Self, StoreError> {
        unreachable!()
    }

    /// Runs `work` over a consistent view, on a thread that may block.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut Reader<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        unreachable!()
    }

    /// Runs `work` in the writer, in a savepoint of its own, and answers when it is durable. `Err` of `work` undoes it all.
    /// A change that keeps no audit record by [`Tx::audit`] is a mistake of the caller, except for the steps of making and
    /// destroying objects before and after the one that is acknowledged.
    pub async fn change<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        unreachable!()
    }

    /// Keeps one audit record with what the request used, and answers when it is durable.
    pub async fn audit(&self, event: AuditEvent, uses: Uses) -> Result<(), StoreError> {
        unreachable!()
    }

    /// Reads the change log each `interval` on a connection of its own, from the primary, and hands what is new to `apply`;
    /// stops when the store is shut down. A read that fails is tried again at the next interval.
    pub fn follow(&self, interval: Duration, apply: impl Fn(&[Change]) + Send + Sync + 'static) {
        unreachable!()
    }

    /// How long ago the last successful read of the change log began; `None` before the first.
    pub fn staleness(&self) -> Option<Duration> {
        unreachable!()
    }

    /// Whether the writer's last commit succeeded, and what was wrong if not; never waits.
    pub fn health(&self) -> Result<(), String> {
        unreachable!()
    }

    /// How many records and changes wait for the writer.
    pub fn queued(&self) -> usize {
        unreachable!()
    }

    /// This process's audit chain.
    pub fn chain(&self) -> ChainId {
        unreachable!()
    }

    /// Copies the database to `target` (SQLite: a consistent copy; PostgreSQL: refused, `pg_dump` does that) while changes wait.
    /// `meanwhile` runs, with changes still waiting, after the copy.
    pub async fn backup<F>(&self, target: PathBuf, meanwhile: F) -> Result<(), StoreError>
    where
        F: FnOnce() -> Result<(), String> + Send + 'static,
    {
        unreachable!()
    }

    /// Ends the follower and the writer after what is queued is durable. Blocking, at most `within`; `false` if it took longer.
    pub fn shut_down(&self, within: Duration) -> bool {
        unreachable!()
    }
}

#[allow(unused_variables, missing_docs, reason = "the seam, until the room is built")]
impl Reader<'_> {
    pub fn project_by_appkey(&mut self, appkey: &Appkey) -> Result<Option<Project>, StoreError> {
        unreachable!()
    }
    pub fn project_by_name(&mut self, name: &Name) -> Result<Option<Project>, StoreError> {
        unreachable!()
    }
    /// A key of any state that isn't `DESTROYED`, in any project: the caller compares the project.
    pub fn key(&mut self, id: KeyId) -> Result<Option<(ProjectId, KeyRow)>, StoreError> {
        unreachable!()
    }
    pub fn key_store(&mut self, id: KeyStoreId) -> Result<Option<KeyStore>, StoreError> {
        unreachable!()
    }
    pub fn key_store_by_number(&mut self, project: ProjectId, number: KeyStoreNumber) -> Result<Option<KeyStore>, StoreError> {
        unreachable!()
    }
    pub fn key_store_by_name(&mut self, project: ProjectId, name: &Name) -> Result<Option<KeyStore>, StoreError> {
        unreachable!()
    }
    /// Rules of all visible states, of one method or of all.
    pub fn client_rules(&mut self, key_store: KeyStoreId, method: Option<Method>) -> Result<Vec<ClientRule>, StoreError> {
        unreachable!()
    }
    pub fn access_key(&mut self, id: &AccessKeyId) -> Result<Option<AccessKey>, StoreError> {
        unreachable!()
    }
    /// A token that was issued and not revoked, expired or not.
    pub fn bearer_token(&mut self, token: SecretHash) -> Result<Option<BearerToken>, StoreError> {
        unreachable!()
    }
    pub fn account_by_login(&mut self, login: &str) -> Result<Option<AccountId>, StoreError> {
        unreachable!()
    }
    /// The newest ACTIVE internal key for `purpose`.
    pub fn internal_key(&mut self, purpose: Purpose) -> Result<Option<InternalKey>, StoreError> {
        unreachable!()
    }
    /// An internal key by name and version, to open what it sealed.
    pub fn internal_key_version(&mut self, id: KeyId, version: KeyVersion) -> Result<Option<InternalKey>, StoreError> {
        unreachable!()
    }
    /// Encryptions that all nodes counted for a key version (internal keys too).
    pub fn encryptions(&mut self, key: KeyId, version: KeyVersion) -> Result<u64, StoreError> {
        unreachable!()
    }
    /// A page of the objects that ACTIVE, PROVISIONING and DESTROYING rows name, ordered by ID, for reconciliation.
    pub fn known_objects(&mut self, after: Option<ObjectId>, limit: i64) -> Result<Vec<(ObjectId, State)>, StoreError> {
        unreachable!()
    }
    /// The state of one object's row, `DESTROYED` included.
    pub fn object_state(&mut self, object: ObjectId) -> Result<Option<State>, StoreError> {
        unreachable!()
    }
    /// Objects in `PROVISIONING` or `DESTROYING` whose lease ended before `now`.
    pub fn expired_objects(&mut self, now: Timestamp, limit: i64) -> Result<Vec<ExpiredObject>, StoreError> {
        unreachable!()
    }
    /// The `.p12` of a certificate rule, sealed, and the internal key version that sealed it.
    pub fn sealed_p12(&mut self, rule: ClientRuleId) -> Result<Option<Vec<u8>>, StoreError> {
        unreachable!()
    }
    pub fn setting(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        unreachable!()
    }
    /// Audit records, newest first, for `skm audit tail`.
    pub fn recent_records(&mut self, limit: i64) -> Result<Vec<StoredRecord>, StoreError> {
        unreachable!()
    }
    /// Records of one chain from `from`, in order.
    pub fn chain_records(&mut self, chain: ChainId, from: i64, limit: i64) -> Result<Vec<StoredRecord>, StoreError> {
        unreachable!()
    }
    pub fn chains(&mut self) -> Result<Vec<StoredChain>, StoreError> {
        unreachable!()
    }
    pub fn chain_heads(&mut self) -> Result<Vec<ChainHead>, StoreError> {
        unreachable!()
    }
    pub fn last_checkpoint(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        unreachable!()
    }
    pub fn checkpoints(&mut self, from: i64, limit: i64) -> Result<Vec<Checkpoint>, StoreError> {
        unreachable!()
    }
}

#[allow(unused_variables, missing_docs, reason = "the seam, until the room is built")]
impl Tx<'_> {
    /// Keeps an audit record in this change's savepoint.
    pub fn audit(&mut self, event: AuditEvent, uses: Uses) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Puts a change number into the change log, in this transaction.
    pub fn changed(&mut self, change: Change) -> Result<(), StoreError> {
        unreachable!()
    }
    pub fn insert_project(&mut self, name: &Name, created: &Stamp) -> Result<ProjectId, StoreError> {
        unreachable!()
    }
    pub fn insert_appkey(&mut self, appkey: &Appkey, project: ProjectId, created: &Stamp) -> Result<(), StoreError> {
        unreachable!()
    }
    pub fn insert_account(&mut self, login: &str, password_hash: &str, must_change: bool, created: &Stamp) -> Result<AccountId, StoreError> {
        unreachable!()
    }
    pub fn grant_role(&mut self, account: AccountId, project: ProjectId, role: Role, created: &Stamp) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Refuses a sixth access key of one account with `Stale { what: "account" }`.
    pub fn insert_access_key(&mut self, id: &AccessKeyId, account: AccountId, secret: SecretHash, life: TokenLife, created: &Stamp) -> Result<(), StoreError> {
        unreachable!()
    }
    pub fn set_access_key_enabled(&mut self, id: &AccessKeyId, enabled: bool, changed: &Stamp) -> Result<(), StoreError> {
        unreachable!()
    }
    pub fn insert_bearer_token(&mut self, token: SecretHash, access_key: &AccessKeyId, issued: Timestamp, expires: Timestamp) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Whether there was such a token to revoke.
    pub fn revoke_bearer_token(&mut self, token: SecretHash, access_key: &AccessKeyId) -> Result<bool, StoreError> {
        unreachable!()
    }
    /// Forgets tokens that expired before `before`; at most `limit`.
    pub fn forget_expired_tokens(&mut self, before: Timestamp, limit: i64) -> Result<usize, StoreError> {
        unreachable!()
    }
    /// Inserts a key store with the next number of its project, in `state` (PROVISIONING while its own key is made).
    pub fn insert_key_store(
        &mut self,
        project: ProjectId,
        name: &Name,
        description: &Description,
        checks: ChecksPolicy,
        state: State,
        created: &Stamp,
    ) -> Result<KeyStore, StoreError> {
        unreachable!()
    }
    /// Moves a key store from one state to another; `Stale` if it isn't in `from`.
    pub fn set_key_store_state(&mut self, id: KeyStoreId, from: State, to: State, changed: &Stamp) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Inserts key, first version and object, all `PROVISIONING`. For a secret there is no object.
    pub fn insert_key(&mut self, key: &NewKey, object: Option<&PlannedObject>) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Flips a planned object, its version and (for a first version) its key to `ACTIVE`; `Stale` unless the object is still
    /// `PROVISIONING` with this node's lease `lease_until`.
    pub fn activate_object(&mut self, object: &PlannedObject, public_key: Option<&[u8]>, origin: Origin) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Adds a version to confidential data and makes it current; the key becomes `ACTIVE` if it was `PROVISIONING`. Earlier
    /// versions' sealed data is erased. `Stale` unless `expected_current` is the current version (`None`: there is none yet).
    pub fn put_secret_version(
        &mut self,
        key: KeyId,
        expected_current: Option<KeyVersion>,
        version: KeyVersion,
        sealed: &[u8],
        changed: &Stamp,
    ) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Inserts an internal key and its object, both `PROVISIONING`; [`Tx::activate_object`] flips them.
    pub fn insert_internal_key(&mut self, purpose: Purpose, object: &PlannedObject, created: &Stamp) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Takes over an object whose lease ended: `PROVISIONING` or `DESTROYING` to `DESTROYING` with a new lease, by
    /// compare-and-set; `false` if somebody else was faster. Its version (and key, if that never was ACTIVE) go along.
    pub fn take_over_object(&mut self, object: &ExpiredObject, now: Timestamp, lease_until: Timestamp) -> Result<bool, StoreError> {
        unreachable!()
    }
    /// `DESTROYING` to `DESTROYED`, with its version, and with its key once no version is left.
    pub fn object_destroyed(&mut self, object: ObjectId, at: Timestamp) -> Result<(), StoreError> {
        unreachable!()
    }
    pub fn insert_client_rule(
        &mut self,
        key_store: KeyStoreId,
        value: &RuleValue,
        description: &Description,
        sealed_p12: Option<&[u8]>,
        created: &Stamp,
    ) -> Result<ClientRuleId, StoreError> {
        unreachable!()
    }
    /// Moves a client rule from one state to another; `Stale` if it isn't in `from`.
    pub fn set_client_rule_state(&mut self, id: ClientRuleId, from: State, to: State, deletion: Option<Timestamp>, changed: &Stamp) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Moves a key from one state to another; `Stale` if it isn't in `from`.
    pub fn set_key_state(&mut self, id: KeyId, from: State, to: State, deletion: Option<Timestamp>, changed: &Stamp) -> Result<(), StoreError> {
        unreachable!()
    }
    pub fn put_setting(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Signs the first record of this process's chain: puts the signature into the chain's row.
    pub fn sign_chain(&mut self, chain: ChainId, signature: &[u8; 64], signer: KeyId) -> Result<(), StoreError> {
        unreachable!()
    }
    /// `Exists` if another node made a checkpoint of that number meanwhile.
    pub fn insert_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        unreachable!()
    }
}
