//! The token: the only room that knows `cryptoki`.
//!
//! [`Token`] is the door. An [`ObjectId`] crosses it, a handle never does.
//!
//! A call goes `token` → `lanes` (bounded queue) → `crew` (a worker's thread) → `desk` (its session, and what to do when the call
//! fails) → `crypto`, `objects` or `unwrapping` (the PKCS#11 calls). `cache` keeps handles, `lookup` finds those that it lacks. `canary` proves
//! that the token works; when it doesn't, `breaker` stops the intake and `steward` rebuilds the `connection`. `watch` ends
//! the process when a call into the module will never return. What differs between tokens is in a [`Profile`].

mod breaker;
mod cache;
mod canary;
mod connection;
mod crew;
mod crypto;
mod desk;
mod durability;
mod errors;
mod import;
mod initialise;
mod lanes;
mod lookup;
mod making;
mod mechanisms;
mod object_lock;
mod objects;
pub mod presence;
mod profile;
mod public_key;
pub mod raw;
mod room;
mod start_watch;
mod steward;
mod templates;
mod token;
mod unwrapping;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::ids::ObjectId;

pub use durability::token_files_directory;
pub use errors::HsmError;
pub use initialise::initialise_token;
pub use mechanisms::MechanismName;
pub use presence::token_is_present;
pub use profile::{OaepHash, Profile};
pub use room::{HandOff, leave};
pub use token::Token;

/// The exit code of a process that can't go on because a call into the PKCS#11 module doesn't return, and that its supervisor
/// should start again (`EX_TEMPFAIL` of `sysexits.h`).
pub const HAND_OFF_EXIT_CODE: i32 = 70;

/// How to reach the token.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// The profile file of the token's kind (`hsm-config/softhsm2.toml`), which names the PKCS#11 module's usual places and what differs.
    pub profile: PathBuf,
    /// The module to load, where it is not in one of the profile's places.
    pub module: Option<PathBuf>,
    /// The token's label.
    pub label: String,
    /// The token's serial number, if more than one token has that label.
    pub serial: Option<String>,
    /// Threads for fast operations; each has a session.
    pub fast_workers: usize,
    /// Threads for making keys; each has a session.
    pub slow_workers: usize,
    /// How many jobs may wait in each lane.
    pub queue_limit: usize,
    /// How long a fast operation may take, waiting included.
    pub fast_deadline: Duration,
    /// How long making, finding or destroying a key may take, waiting included.
    pub slow_deadline: Duration,
}

/// What an object must be made with and is called.
#[derive(Debug, Clone)]
pub struct NewObject {
    /// Its `CKA_ID`: random, chosen by the caller and in the database before the object is made.
    pub id: ObjectId,
    /// Its `CKA_LABEL`, for people: `skm/<key id>/v<n>`.
    pub label: String,
}

/// What a new object was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// AES-256, to encrypt and decrypt.
    Aes256,
    /// RSA-2048, to sign.
    Rsa2048,
    /// EC P-256, to sign (the CA, the audit log).
    EcP256,
    /// RSA-2048, to unwrap imported keys and nothing else.
    Rsa2048Unwrap,
}

/// How key values from outside get into the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportWays {
    /// Whether it takes a value in the clear.
    pub plain: bool,
    /// The hash of RSA-OAEP and of its MGF1, where it takes a value wrapped by an RSA key of its own.
    pub wrapped: Option<OaepHash>,
}

/// How `sign-standard` pads (RFC 8017), with SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaPadding {
    /// RSASSA-PSS with MGF1-SHA-256 and a salt of 32 bytes.
    Pss,
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
}

/// What the token holds, for `skm hsm objects` and for the tests that look at attributes.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// Its `CKA_ID`, if it is one of ours (16 bytes).
    pub id: Option<ObjectId>,
    /// Its `CKA_LABEL`.
    pub label: String,
    /// `CKA_CLASS` in PKCS#11's words: `CKO_SECRET_KEY`, `CKO_PRIVATE_KEY`, `CKO_PUBLIC_KEY` …
    pub class: String,
    /// `CKA_SENSITIVE`; `None` where the class has none.
    pub sensitive: Option<bool>,
    /// `CKA_EXTRACTABLE`; `None` where the class has none.
    pub extractable: Option<bool>,
}

/// How the token does.
#[derive(Debug, Clone, Default)]
pub struct TokenHealth {
    /// Whether the last canary operation succeeded, and the breaker is closed.
    pub ready: bool,
    /// When the canary last succeeded.
    pub last_success: Option<Timestamp>,
    /// What is wrong, for the log and the operator.
    pub problem: Option<String>,
    /// The token's label, serial, model and firmware, for people.
    pub identity: String,
    /// How often the connection was rebuilt.
    pub generation: u64,
    /// Objects with a cached handle.
    pub cached_objects: usize,
    /// Jobs waiting in the fast and the slow lane.
    pub queued: (usize, usize),
    /// Threads replaced because they did not come back.
    pub workers_replaced: u64,
}
