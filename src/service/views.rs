//! Cached views of what every request needs. A view is dropped when the change log names it, before the change is
//! acknowledged here and within the follower's interval elsewhere.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use quick_cache::sync::Cache;

use super::limits::Guesser;
use super::names::{Kind, Names};
use super::refusal::Refusal;
use crate::domain::account::{AccessKey, AccessKeyId, BearerToken, SecretHash, Session};
use crate::domain::appkey::Appkey;
use crate::domain::client_checks::RuleIndex;
use crate::domain::ids::{KeyId, KeyStoreId, KeyVersion, ProjectId};
use crate::domain::key::{Key, Version};
use crate::domain::key_store::{KeyStore, Project};
use crate::store::{Change, InternalKey, Purpose, Store, StoreError};
use crate::telemetry::Metrics;

/// The most keys that are kept ready.
pub(super) const KEY_VIEWS_MAX: usize = 100_000;
/// The most key stores that are kept ready.
pub(super) const KEY_STORE_VIEWS_MAX: usize = 4_096;
/// The most appkeys that are kept ready.
pub(super) const PROJECT_VIEWS_MAX: usize = 4_096;
/// The most access keys that are kept ready.
pub(super) const ACCESS_KEY_VIEWS_MAX: usize = 16_384;
/// The most bearer tokens that are kept ready.
pub(super) const TOKEN_VIEWS_MAX: usize = 65_536;

/// The most sessions that are kept ready.
pub(super) const SESSION_VIEWS_MAX: usize = 4_096;

/// A view that is sought, and by whom if the name may be wrong.
struct Sought<'a>(Kind, Option<Guesser<'a>>);

/// A key as requests see it.
#[derive(Debug)]
pub(super) struct KeyView {
    /// The project it belongs to.
    pub project: ProjectId,
    /// The key.
    pub key: Key,
    /// Its versions that aren't destroyed, oldest first.
    pub versions: Vec<VersionView>,
}

/// A version as requests see it.
#[derive(Debug)]
pub(super) struct VersionView {
    /// The version.
    pub version: Version,
    /// Encryptions counted when the view was made, plus those of this process since.
    pub encryptions: AtomicU64,
}

impl KeyView {
    /// The version of that number, if it isn't destroyed.
    pub(super) fn version(&self, number: KeyVersion) -> Option<&VersionView> {
        self.versions.iter().find(|view| view.version.version == number)
    }

    /// The version that encrypts and signs.
    pub(super) fn current(&self) -> Option<&VersionView> {
        self.version(self.key.current_version)
    }
}

/// A key store as requests see it.
#[derive(Debug)]
pub(super) struct KeyStoreView {
    /// The key store.
    pub key_store: KeyStore,
    /// Its active client rules, indexed.
    pub rules: RuleIndex,
    /// The key that seals its confidential data.
    pub sealing_key: InternalKey,
    /// Encryptions of that key: counted when the view was made, plus those of this process since.
    pub sealings: AtomicU64,
}

/// All cached views.
pub(super) struct Views {
    /// Counts applied changes. A view that was read before a change and comes after it is not kept.
    epoch: RwLock<u64>,
    keys: Cache<KeyId, Arc<KeyView>>,
    key_stores: Cache<KeyStoreId, Arc<KeyStoreView>>,
    projects: Cache<Appkey, Arc<Project>>,
    access_keys: Cache<AccessKeyId, Arc<AccessKey>>,
    tokens: Cache<[u8; 32], Arc<BearerToken>>,
    sessions: Cache<[u8; 32], Arc<Session>>,
    names: Names,
    metrics: Metrics,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").field("epoch", &*self.epoch.read()).field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Views {
    /// Nothing is kept yet.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            epoch: RwLock::new(0),
            keys: Cache::new(KEY_VIEWS_MAX),
            key_stores: Cache::new(KEY_STORE_VIEWS_MAX),
            projects: Cache::new(PROJECT_VIEWS_MAX),
            access_keys: Cache::new(ACCESS_KEY_VIEWS_MAX),
            tokens: Cache::new(TOKEN_VIEWS_MAX),
            sessions: Cache::new(SESSION_VIEWS_MAX),
            names: Names::new(),
            metrics,
        }
    }

    /// Drops what `changes` touched.
    pub(super) fn apply(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let mut epoch = self.epoch.write();
        *epoch = epoch.wrapping_add(1);
        for change in changes {
            match change {
                Change::Key(id) => {
                    self.keys.remove(id);
                    self.names.add(Kind::Key, id);
                }
                Change::KeyStore(id) => drop(self.key_stores.remove(id)),
                Change::Project(_) => self.projects.clear(),
                Change::Identity => {
                    self.access_keys.clear();
                    self.tokens.clear();
                    self.sessions.clear();
                }
                // Its tokens name it: whoever shows one asks for the access key as well.
                Change::AccessKey(id) => {
                    self.access_keys.remove(id);
                    self.names.add(Kind::AccessKey, id);
                }
                Change::Token(hash) => drop(self.tokens.remove(hash)),
                Change::Session(hash) => drop(self.sessions.remove(hash)),
                Change::ObjectGone(_) | Change::Authorities => {}
                Change::Everything => self.forget_all(),
            }
        }
    }

    fn forget_all(&self) {
        self.keys.clear();
        self.key_stores.clear();
        self.projects.clear();
        self.access_keys.clear();
        self.tokens.clear();
        self.sessions.clear();
    }

    /// How many keys are kept ready.
    pub(super) fn keys_kept(&self) -> usize {
        self.keys.len()
    }

    /// A view, from the cache or, where whoever seeks it may, from the database.
    async fn load<K, V, F>(&self, cache: &Cache<K, Arc<V>>, key: K, sought: Sought<'_>, store: &Store, read: F) -> Result<Option<Arc<V>>, Refusal>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        V: Send + Sync + 'static,
        F: FnOnce(&mut crate::store::Reader<'_>, &K) -> Result<Option<V>, StoreError> + Send + 'static,
    {
        if let Some(view) = cache.get(&key) {
            return Ok(Some(view));
        }
        let Sought(kind, guesser) = sought;
        // Held until it is known whether the name is right.
        let _held = match guesser {
            Some(guesser) if !self.names.contain(kind, &key) => guesser.look()?,
            Some(_) | None => None,
        };
        self.metrics.view_read(kind.as_str());
        let before = *self.epoch.read();
        let wanted = key.clone();
        let Some(view) = store.read(move |reader| read(reader, &wanted)).await?.map(Arc::new) else {
            self.names.remove(kind, &key);
            return Ok(None);
        };
        self.names.add(kind, &key);
        let epoch = self.epoch.read();
        if *epoch == before {
            cache.insert(key, Arc::clone(&view));
        }
        Ok(Some(view))
    }

    /// The project that an appkey names.
    pub(super) async fn project(&self, store: &Store, appkey: Appkey, guesser: Guesser<'_>) -> Result<Option<Arc<Project>>, Refusal> {
        self.load(&self.projects, appkey, Sought(Kind::Project, Some(guesser)), store, |reader, appkey| reader.project_by_appkey(appkey)).await
    }

    /// The project that an appkey names, if it is kept ready.
    pub(super) fn project_kept(&self, appkey: &Appkey) -> Option<Arc<Project>> {
        self.projects.get(appkey)
    }

    /// An access key with its account's roles.
    pub(super) async fn access_key(&self, store: &Store, id: AccessKeyId, guesser: Option<Guesser<'_>>) -> Result<Option<Arc<AccessKey>>, Refusal> {
        self.load(&self.access_keys, id, Sought(Kind::AccessKey, guesser), store, |reader, id| reader.access_key(id)).await
    }

    /// Whether there is an access key of that ID, as far as is known from having looked for it just now.
    pub(super) fn knows_access_key(&self, id: &AccessKeyId) -> bool {
        self.names.contain(Kind::AccessKey, id) || self.access_keys.contains_key(id)
    }

    /// A bearer token that was issued and not revoked.
    pub(super) async fn bearer_token(&self, store: &Store, hash: SecretHash, guesser: Guesser<'_>) -> Result<Option<Arc<BearerToken>>, Refusal> {
        let sought = Sought(Kind::Token, Some(guesser));
        self.load(&self.tokens, hash.0, sought, store, |reader, hash| reader.bearer_token(SecretHash(*hash))).await
    }

    /// A bearer token was issued here: whoever shows it first doesn't guess.
    pub(super) fn token_issued(&self, hash: SecretHash) {
        self.names.add(Kind::Token, &hash.0);
    }

    /// A session was begun here: whoever shows it first doesn't guess.
    pub(super) fn session_begun(&self, hash: SecretHash) {
        self.names.add(Kind::Session, &hash.0);
    }

    /// A session that was begun and not ended.
    pub(super) async fn session(&self, store: &Store, hash: SecretHash, guesser: Guesser<'_>) -> Result<Option<Arc<Session>>, Refusal> {
        self.load(&self.sessions, hash.0, Sought(Kind::Session, Some(guesser)), store, |reader, hash| reader.session(SecretHash(*hash))).await
    }

    /// A key that isn't destroyed, of any project.
    pub(super) async fn key(&self, store: &Store, id: KeyId, guesser: Guesser<'_>) -> Result<Option<Arc<KeyView>>, Refusal> {
        self.load(&self.keys, id, Sought(Kind::Key, Some(guesser)), store, |reader, id| read_key(reader, *id)).await
    }

    /// A key that was found before, as it is now, whatever was kept of it.
    pub(super) async fn key_again(&self, store: &Store, id: KeyId) -> Result<Option<Arc<KeyView>>, Refusal> {
        self.metrics.view_read(Kind::Key.as_str());
        let before = *self.epoch.read();
        let Some(view) = store.read(move |reader| read_key(reader, id)).await?.map(Arc::new) else { return Ok(None) };
        let epoch = self.epoch.read();
        // What is kept stays there for the others until then.
        if *epoch == before {
            self.keys.insert(id, Arc::clone(&view));
        }
        Ok(Some(view))
    }

    /// A key store with its rules. Callers don't name it by its ID, so nobody guesses.
    pub(super) async fn key_store(&self, store: &Store, id: KeyStoreId) -> Result<Option<Arc<KeyStoreView>>, Refusal> {
        self.load(&self.key_stores, id, Sought(Kind::KeyStore, None), store, |reader, id| {
            let (Some(key_store), Some(sealing_key)) = (reader.key_store(*id)?, reader.internal_key(Purpose::ConfidentialData(*id))?) else {
                return Ok(None);
            };
            let rules = RuleIndex::new(&reader.client_rules(*id, None)?);
            let sealings = AtomicU64::new(reader.encryptions(sealing_key.id, sealing_key.version)?);
            Ok(Some(KeyStoreView { key_store, rules, sealing_key, sealings }))
        })
        .await
    }
}

fn read_key(reader: &mut crate::store::Reader<'_>, id: KeyId) -> Result<Option<KeyView>, StoreError> {
    let Some((project, row)) = reader.key(id)? else { return Ok(None) };
    // All in one read: a key that was rotated often would keep everybody who waits for it.
    let counted = reader.encryptions_of_versions(id)?;
    let view = |version: Version| VersionView { encryptions: AtomicU64::new(counted.get(&version.version).copied().unwrap_or(0)), version };
    Ok(Some(KeyView { project, key: row.key, versions: row.versions.into_iter().map(view).collect() }))
}

/// The most encryptions of one key version: 2^32 − 2^24 (NIST SP 800-38D, 8.3, less what may be counted late).
pub(super) const ENCRYPTIONS_MAX: u64 = (1 << 32) - (1 << 24);

/// After this many encryptions of its own a node reads again what all nodes have counted. Far less than the 2^24 that
/// [`ENCRYPTIONS_MAX`] leaves for what is counted late: sixteen nodes stay within it.
const RECOUNT_EVERY: u64 = 1 << 20;

/// Takes one encryption from what is left of a key version. `true`: the view has been counting on its own for so long that it
/// should be read again.
pub(super) fn take_encryption(count: &AtomicU64) -> Result<bool, Refusal> {
    let before = count.fetch_add(1, Ordering::Relaxed);
    if before < ENCRYPTIONS_MAX {
        return Ok(before % RECOUNT_EVERY == RECOUNT_EVERY - 1);
    }
    count.fetch_sub(1, Ordering::Relaxed);
    Err(crate::domain::result_code::ResultCode::KeyUseLimitReached.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_encryption_is_the_last() {
        let count = AtomicU64::new(ENCRYPTIONS_MAX - 1);
        assert!(take_encryption(&count).is_ok());
        assert!(take_encryption(&count).is_err());
        let count = AtomicU64::new(RECOUNT_EVERY - 2);
        assert_eq!(take_encryption(&count).ok(), Some(false));
        assert_eq!(take_encryption(&count).ok(), Some(true));
        assert_eq!(take_encryption(&count).ok(), Some(false));
        let count = AtomicU64::new(ENCRYPTIONS_MAX);
        assert!(take_encryption(&count).is_err());
        assert_eq!(count.load(Ordering::Relaxed), ENCRYPTIONS_MAX);
    }
}
