//! What crosses the store's door beside the domain's own types.

use crate::domain::account::{AccessKeyId, SecretHash};
use crate::domain::audit::{AuditEvent, ChainHead};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChainId, ClientRuleId, KeyId, KeyStoreId, KeyVersion, ObjectId, ProjectId};
use crate::domain::key::{Key, KeyKind, Origin, RotationPeriod, Stamp, State, Version};
use crate::domain::text::{Description, Name};

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A key, its versions.
    Key(KeyId),
    /// A key store, its client rules.
    KeyStore(KeyStoreId),
    /// A project, its appkeys and settings.
    Project(ProjectId),
    /// Accounts and roles: more access keys and tokens than can be named.
    Identity,
    /// An access key, but not its account.
    AccessKey(AccessKeyId),
    /// A bearer token, by its SHA-256.
    Token([u8; 32]),
    /// A session at the console, by the SHA-256 of its token.
    Session([u8; 32]),
    /// A token object that is no more.
    ObjectGone(ObjectId),
    /// The certificate authorities.
    Authorities,
    /// More changed than can be told: the follower fell behind what the change log keeps. Every cached view is to be dropped.
    /// Never given to [`super::Tx::changed`] by the service in the ordinary course.
    Everything,
}

/// A certificate authority.
#[derive(Debug, Clone)]
pub struct KeptAuthority {
    /// The version of the CA's key that is its own.
    pub key: InternalKey,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Since when it is there.
    pub created: Timestamp,
}

/// A revoked certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedRule {
    /// Its serial number, hex.
    pub serial: String,
    /// Since when.
    pub at: Timestamp,
    /// Whether it can still be restored.
    pub on_hold: bool,
}

/// A revocation list that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationList {
    /// Its number; 0 is none.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
}

/// Certificates of clients that expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiringCertificates {
    /// How many of those asked for.
    pub soon: i64,
    /// When the next one does, however far off.
    pub next: Option<Timestamp>,
}

/// A token object that is to be made, with what it is for.
#[derive(Debug, Clone)]
pub struct PlannedObject {
    /// Its `CKA_ID`.
    pub object: ObjectId,
    /// The client's key, internal key or import pair that it is a version of.
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

/// What the clock asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueKind {
    /// Keys in service to be rotated.
    Rotation,
    /// Keys to be destroyed.
    KeyDeletion,
    /// Versions of keys in service to be destroyed.
    VersionDeletion,
    /// Client rules to be destroyed.
    ClientRuleDeletion,
}

/// Something that is due: its place in the order of those that wait longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Since when.
    pub at: Timestamp,
    /// What.
    pub what: DueSubject,
}

/// What something due is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueSubject {
    /// A key to be rotated.
    Rotation(KeyId),
    /// A key to be destroyed.
    Key(KeyId),
    /// A version to be destroyed.
    Version(KeyId, KeyVersion),
    /// A client rule to be destroyed.
    ClientRule(ClientRuleId),
}

/// A key version, a client's or the service's own, that has encrypted often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OftenUsed {
    /// The key.
    pub key: KeyId,
    /// The version.
    pub version: KeyVersion,
    /// Encryptions that all nodes counted.
    pub encryptions: u64,
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

/// A pair to be made that unwraps one imported key.
#[derive(Debug, Clone)]
pub struct NewImportPair {
    /// The project whose callers may use it.
    pub project: ProjectId,
    /// The SHA-256 of the token that they show for it.
    pub token: SecretHash,
    /// When it can't be used any more.
    pub expires: Timestamp,
    /// By whom and when.
    pub created: Stamp,
}

/// An import pair that is on its way out: its object is `DESTROYING`, with this node's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoomedImportPair {
    /// Its name.
    pub id: KeyId,
    /// Its object in the token.
    pub object: ObjectId,
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
    /// The heads of the chains that went on since the checkpoint before it, in the order of their names: each chain's newest listing is
    /// in the newest checkpoint that was made after it went on.
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
    /// Its number: one that began later has a higher one.
    pub number: i64,
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
    /// The time of the newest record of the batch that wrote that one.
    pub head_at: Timestamp,
}

/// Which drafts and requests are asked for.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// Those in this state.
    pub state: Option<crate::domain::approval::RequestState>,
    /// Those of this key store.
    pub key_store: Option<KeyStoreId>,
    /// Those that somebody has asked for: no drafts, nor what became of one that nobody asked for.
    pub asked_only: bool,
    /// What must be in the ID, the requester, the note or the key store's name; letters of ASCII in either case.
    pub search: Option<String>,
    /// The column to sort by, of `requester`, `status` and `date`; the newest first otherwise.
    pub sort: Option<String>,
    /// Whether the last comes first, where they are sorted by a column.
    pub descending: bool,
}

/// A client certificate that was issued.
#[derive(Debug, Clone, Copy)]
pub struct NewCertificate<'a> {
    /// The name of its entry.
    pub name: &'a str,
    /// SHA-256 of its DER.
    pub fingerprint: crate::domain::caller::CertFingerprint,
    /// Its serial number, hex.
    pub serial: &'a str,
    /// When it expires.
    pub not_after: Timestamp,
    /// The version of the CA's key that signed it.
    pub issuer: KeyVersion,
}
