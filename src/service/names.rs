//! Names that are known to be right: whoever uses one doesn't guess.

use std::hash::{BuildHasher as _, Hash, RandomState};

use quick_cache::sync::Cache;

/// The most names that are remembered to have been right.
const NAMES_MAX: usize = 131_072;

/// What a name names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Key,
    KeyStore,
    Project,
    AccessKey,
    Token,
    Session,
}

impl Kind {
    /// The word in the metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::KeyStore => "key_store",
            Self::Project => "project",
            Self::AccessKey => "access_key",
            Self::Token => "token",
            Self::Session => "session",
        }
    }
}

/// Names that were right, or that the change log told, by a hash under a secret of the process. Only what exists gets in, so no caller
/// can push out what others need; what is wrongly taken for known costs one read.
pub(super) struct Names {
    known: Cache<u64, ()>,
    hasher: RandomState,
}

impl Names {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { known: Cache::new(NAMES_MAX), hasher: RandomState::new() }
    }

    /// It is right.
    pub(super) fn add<K: Hash>(&self, kind: Kind, name: &K) {
        self.known.insert(self.hasher.hash_one((kind, name)), ());
    }

    /// It names nothing.
    pub(super) fn remove<K: Hash>(&self, kind: Kind, name: &K) {
        self.known.remove(&self.hasher.hash_one((kind, name)));
    }

    /// Whether it was right when last looked at.
    pub(super) fn contain<K: Hash>(&self, kind: Kind, name: &K) -> bool {
        self.known.get(&self.hasher.hash_one((kind, name))).is_some()
    }
}
