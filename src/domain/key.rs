//! Keys and their versions.

use std::fmt;

use super::clock::Timestamp;
use super::ids::{KeyId, KeyStoreId, KeyVersion, ObjectId};
use super::text::{Description, Invalid, Name};

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum KeyKind {
    /// Confidential data: text that the service keeps, encrypted in the token under its key store's own key.
    Secret,
    /// An AES-256 key in the token.
    Symmetric,
    /// An RSA-2048 pair in the token.
    Asymmetric,
}

impl KeyKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Secret, Self::Symmetric, Self::Asymmetric];

    /// The wire contract's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "SECRET",
            Self::Symmetric => "SYMMETRIC_KEY",
            Self::Asymmetric => "ASYMMETRIC_KEY",
        }
    }

    /// The kind that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a key's, a version's or a client rule's life stands (NIST SP 800-57 part 1, section 7, in the product's words).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Being made: its object may or may not be in the token yet. Never seen outside.
    Provisioning,
    /// In Service.
    Active,
    /// Scheduled to be Deleted: unusable, can be restored.
    PendingDeletion,
    /// Being destroyed: its object may or may not be gone yet. Never comes back.
    Destroying,
    /// Gone from the token; the row stays for the audit.
    Destroyed,
}

impl State {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Provisioning, Self::Active, Self::PendingDeletion, Self::Destroying, Self::Destroyed];

    /// The word that the database keeps and the wire contract uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Active => "ACTIVE",
            Self::PendingDeletion => "PENDING_DELETION",
            Self::Destroying => "DESTROYING",
            Self::Destroyed => "DESTROYED",
        }
    }

    /// The state that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether anybody outside may know of a thing in this state.
    pub const fn is_visible(self) -> bool {
        matches!(self, Self::Active | Self::PendingDeletion)
    }
}

/// How a version's key material came into the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Origin {
    /// Generated inside the token.
    Generated,
    /// Brought in from outside; such a key doesn't rotate.
    Imported,
}

impl Origin {
    /// The word that the database keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generated => "GENERATED",
            Self::Imported => "IMPORTED",
        }
    }

    /// The origin that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Generated, Self::Imported].into_iter().find(|origin| origin.as_str() == text)
    }
}

/// Days between automatic rotations: 0 (never) or 30 and more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct RotationPeriod(u32);

impl RotationPeriod {
    /// No automatic rotation.
    pub const NEVER: Self = Self(0);
    /// The shortest period there is, in days.
    pub const MIN_DAYS: u32 = 30;
    /// The longest period there is, in days (about 100 years).
    pub const MAX_DAYS: u32 = 36_500;

    /// A period of `days`, if that is one.
    pub fn from_days(days: i64) -> Result<Self, Invalid> {
        match u32::try_from(days) {
            Ok(days) if days == 0 || (Self::MIN_DAYS..=Self::MAX_DAYS).contains(&days) => Ok(Self(days)),
            _ => Err(Invalid::new("autoRotationPeriod", "must be 0 (never) or 30 to 36500 days")),
        }
    }

    /// Its length in days; 0 is never.
    pub const fn days(self) -> u32 {
        self.0
    }

    /// When the rotation after `last` is due; `None` for never.
    pub fn next_after(self, last: Timestamp) -> Option<Timestamp> {
        const DAY_SECONDS: u64 = 86_400;
        (self.0 > 0).then(|| last.plus(std::time::Duration::from_secs(u64::from(self.0) * DAY_SECONDS)))
    }
}

/// Who did something, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The account's login name, `appkey`, or `skm` for the service itself.
    pub user: String,
    /// When.
    pub at: Timestamp,
}

/// A key, without its material.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name on the wire.
    pub id: KeyId,
    /// The key store it belongs to.
    pub key_store: KeyStoreId,
    /// What it is for.
    pub kind: KeyKind,
    /// Its name, unique in its key store.
    pub name: Name,
    /// What people say about it.
    pub description: Description,
    /// Where its life stands.
    pub state: State,
    /// The version that encrypts and signs.
    pub current_version: KeyVersion,
    /// How often it rotates by itself.
    pub rotation: RotationPeriod,
    /// When it next rotates by itself.
    pub next_rotation: Option<Timestamp>,
    /// When it is due to be destroyed, while deletion is pending; when it was, once it is.
    pub deletion: Option<Timestamp>,
    /// Who made it.
    pub created: Stamp,
    /// Who changed it last.
    pub changed: Stamp,
}

/// One generation of a key.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its number.
    pub version: KeyVersion,
    /// Where its life stands.
    pub state: State,
    /// How its material came into the token.
    pub origin: Origin,
    /// Where its material is.
    pub material: Material,
    /// When it is due to be destroyed.
    pub deletion: Option<Timestamp>,
    /// Who made it.
    pub created: Stamp,
}

/// Where a version's material is.
#[derive(Clone, Debug)]
pub enum Material {
    /// An object, or a pair with one `CKA_ID`, in the token. For a pair, the DER of the public key's `SubjectPublicKeyInfo`.
    Token {
        /// The object's `CKA_ID`.
        object: ObjectId,
        /// DER SPKI (RFC 5280, 4.1.2.7) of an asymmetric key.
        public_key: Option<Vec<u8>>,
    },
    /// Confidential data: an envelope sealed under the key store's own key.
    Sealed(Vec<u8>),
}
