//! The token: the only room that knows `cryptoki`.
//!
//! [`Token`] is the door. An [`ObjectId`] crosses it, a handle never does.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::ids::ObjectId;
use crate::domain::secret::SecretBytes;

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

/// The token, shared by everything in the process. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Token {}

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

/// Why the token did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HsmError {
    /// The lane's queue is full: nothing was done. Try again after a moment.
    #[error("the token's queue is full")]
    Busy,
    /// The deadline passed; whether the operation happened is not known.
    #[error("the token did not answer {function} in time")]
    Late {
        /// The PKCS#11 function that was under way or waiting.
        function: &'static str,
    },
    /// The token can't be used now (gone, breaker open, being reconnected): nothing was done.
    #[error("the token is unavailable: {reason}")]
    Unavailable {
        /// What is wrong, with function and return value.
        reason: String,
    },
    /// The data is the caller's fault: a ciphertext that doesn't authenticate, text too long to sign.
    #[error("the token refuses the data: {function} {return_value}")]
    Rejected {
        /// The PKCS#11 function.
        function: &'static str,
        /// The `CKR_` value.
        return_value: String,
    },
    /// The object is not in the token.
    #[error("no object {0} in the token")]
    Missing(ObjectId),
    /// More than one object has that ID: never guess.
    #[error("more than one object {0} in the token")]
    Ambiguous(ObjectId),
    /// The token made an object without the attributes that were asked for; the object was destroyed.
    #[error("the token lies about {attribute}")]
    Dishonest {
        /// The attribute that was not as asked.
        attribute: &'static str,
    },
    /// Something else failed.
    #[error("{function} failed with {return_value}{}", mechanism.map(|m| format!(" ({m})")).unwrap_or_default())]
    Failed {
        /// The PKCS#11 function.
        function: &'static str,
        /// The `CKR_` value.
        return_value: String,
        /// The mechanism, where one was used.
        mechanism: Option<&'static str>,
    },
    /// The configuration or the profile doesn't fit this token (wrong PIN, no such label, mechanism missing).
    #[error("{0}")]
    Setup(String),
}

#[allow(unused_variables, clippy::unused_async, reason = "the seam, until the room is built")]
impl Token {
    /// Loads the module, finds the token, logs in once (the PIN is never retried), enumerates its objects, starts the workers.
    /// Blocking.
    pub fn open(settings: &TokenSettings, pin: &SecretBytes) -> Result<Self, HsmError> {
        unreachable!()
    }

    /// AES-256-GCM with a fresh IV of the token's RNG: IV, ciphertext, tag (format 0 of the envelope). Fast lane.
    pub async fn encrypt(&self, key: ObjectId, aad: Vec<u8>, plaintext: SecretBytes) -> Result<Vec<u8>, HsmError> {
        unreachable!()
    }

    /// Undoes [`Token::encrypt`]; what doesn't authenticate is [`HsmError::Rejected`]. Fast lane.
    pub async fn decrypt(&self, key: ObjectId, aad: Vec<u8>, payload: Vec<u8>) -> Result<SecretBytes, HsmError> {
        unreachable!()
    }

    /// RSASSA-PKCS1-v1_5 type-1 padding over the raw text (`CKM_RSA_PKCS`), at most 245 bytes for RSA-2048. Fast lane.
    pub async fn sign_raw(&self, key: ObjectId, text: SecretBytes) -> Result<Vec<u8>, HsmError> {
        unreachable!()
    }

    /// Whether `signature` is what [`Token::sign_raw`] makes of `text`. Fast lane.
    pub async fn verify_raw(&self, key: ObjectId, text: SecretBytes, signature: Vec<u8>) -> Result<bool, HsmError> {
        unreachable!()
    }

    /// RSA signature with SHA-256 over `message`. Fast lane.
    pub async fn sign_message(&self, key: ObjectId, padding: RsaPadding, message: SecretBytes) -> Result<Vec<u8>, HsmError> {
        unreachable!()
    }

    /// Whether `signature` is an RSA signature with SHA-256 over `message`. Fast lane.
    pub async fn verify_message(&self, key: ObjectId, padding: RsaPadding, message: SecretBytes, signature: Vec<u8>) -> Result<bool, HsmError> {
        unreachable!()
    }

    /// ECDSA P-256 over a SHA-256 digest: r and s, 32 bytes each (`CKM_ECDSA`). Fast lane.
    pub async fn sign_digest(&self, key: ObjectId, digest: [u8; 32]) -> Result<[u8; 64], HsmError> {
        unreachable!()
    }

    /// [`Token::sign_digest`] for callers that can't wait asynchronously (rcgen's trait). Not from an async context.
    pub fn sign_digest_blocking(&self, key: ObjectId, digest: [u8; 32]) -> Result<[u8; 64], HsmError> {
        unreachable!()
    }

    /// Makes an AES-256 key, an RSA-2048 pair or an EC P-256 pair, reads its attributes back, and answers the DER SPKI of a
    /// pair. An object that has that ID already is an error. Slow lane.
    pub async fn create(&self, kind: ObjectKind, object: NewObject) -> Result<Option<Vec<u8>>, HsmError> {
        unreachable!()
    }

    /// Puts a given AES-256 key into the token (32 bytes). Slow lane.
    pub async fn import_aes256(&self, object: NewObject, value: SecretBytes) -> Result<(), HsmError> {
        unreachable!()
    }

    /// Whether an object (or pair) with that ID is in the token: looked up there, not in the cache. Slow lane.
    pub async fn exists(&self, id: ObjectId) -> Result<bool, HsmError> {
        unreachable!()
    }

    /// Destroys all objects with that ID and forgets their handles; answers how many there were (0 is no error). Slow lane.
    pub async fn destroy(&self, id: ObjectId) -> Result<usize, HsmError> {
        unreachable!()
    }

    /// Forgets the cached handles of an object that another node destroyed.
    pub fn forget(&self, id: ObjectId) {
        unreachable!()
    }

    /// `count` bytes of the token's RNG (`C_GenerateRandom`). Fast lane.
    pub async fn random(&self, count: usize) -> Result<Vec<u8>, HsmError> {
        unreachable!()
    }

    /// Every object of the token, with what tells whether it is protected. Slow lane.
    pub async fn objects(&self) -> Result<Vec<ObjectInfo>, HsmError> {
        unreachable!()
    }

    /// Names the key that proves the token's health: an AES-256 object that the service made for that.
    pub fn use_canary(&self, key: ObjectId) {
        unreachable!()
    }

    /// How the token does, from the last canary; never waits.
    pub fn health(&self) -> TokenHealth {
        unreachable!()
    }

    /// Stops intake, drains, joins the workers and finalizes the module; `false` if a worker stayed out, and then the module
    /// is not finalized and the process should exit. Blocking, at most `within`.
    pub fn shut_down(&self, within: Duration) -> bool {
        unreachable!()
    }
}
