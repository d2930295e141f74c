//! Proving that nothing in the audit log was changed, dropped, reordered or cut off. Needs the database alone, no token.
//!
//! Whoever can write to the database may have put anything there, so whatever can't be read is a finding, never an error.

mod alone;
mod chain;
mod checkpoints;
mod content;
mod requests;

use std::collections::HashMap;

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChainId, KeyId, KeyVersion};
use crate::store::{Purpose, Store, StoreError, StoredChain};

/// How many records one read takes.
const PAGE: i64 = 256;
/// Findings beyond this many are counted, not listed.
const FINDINGS_MAX: usize = 100;

/// What to hold the log against.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// Public keys that alone may sign, uncompressed points (65 bytes). Without any, those in the database count, which whoever
    /// changes the database can change too.
    pub pinned: Vec<Vec<u8>>,
    /// Checkpoints kept elsewhere, number and digest.
    pub anchors: Vec<(i64, [u8; 32])>,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Chains read.
    pub chains: usize,
    /// Records read.
    pub records: u64,
    /// Checkpoints read.
    pub checkpoints: u64,
    /// What is wrong; empty when the log proves.
    pub findings: Vec<String>,
    /// Findings that are not listed any more.
    pub more_findings: u64,
    /// What is not wrong, and still to be known.
    pub notes: Vec<String>,
}

impl Report {
    fn finds(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more_findings = self.more_findings.saturating_add(1);
        }
    }

    fn notes(&mut self, note: String) {
        if self.notes.len() < FINDINGS_MAX {
            self.notes.push(note);
        }
    }

    /// What was read, or nothing and a finding where somebody else's writing stands.
    fn readable<T: Default>(&mut self, read: Result<T, StoreError>, place: &str) -> Result<T, StoreError> {
        match read {
            Err(StoreError::Corrupt { what }) => {
                self.finds(format!("{place}: a {what} can't be read"));
                Ok(T::default())
            }
            other => other,
        }
    }

    /// Whether the log proves.
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }
}

/// The point of a P-256 public key at the end of its DER SPKI (RFC 5480, 2.2: 65 bytes, uncompressed).
pub fn p256_point(spki: &[u8]) -> Option<&[u8]> {
    const POINT_BYTES: usize = 65;
    spki.len().checked_sub(POINT_BYTES).and_then(|start| spki.get(start..)).filter(|point| point.first() == Some(&4))
}

/// Reads the whole log and checks it, a page at a time; what it keeps of the whole is what checkpoints list, 40 bytes or so for each head, what is
/// known of requests for approval that are open, and which records are people's changes. A service may go on writing meanwhile.
pub async fn verify(store: &Store, expected: &Expectations) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let mut keys = SigningKeys { pinned: &expected.pinned, known: HashMap::new() };
    let mut wanted = checkpoints::verify(store, &mut keys, &expected.anchors, &mut report).await?;
    let chains = report.readable(all_chains(store).await, "chains")?;
    for signer in chains.iter().filter_map(|chain| chain.signer) {
        keys.learn(store, signer).await?;
    }
    report.chains = chains.len();
    if chains.is_empty() && report.checkpoints == 0 && has_signer(store).await? {
        report.finds("the log is empty, though the key that signs it is in service".to_owned());
    }
    let newest = newest_of_each_node(&chains, &wanted);
    let (mut ends, mut requests, mut alone) = (HashMap::new(), requests::Requests::default(), alone::Alone::default());
    for chain in chains {
        let heads = wanted.remove(&chain.chain).unwrap_or_default();
        let is_over = newest.get(&chain.node).is_some_and(|started| chain.started < *started);
        ends.insert(chain.chain, chain::verify(store, &chain, &heads, is_over, &keys, (&mut requests, &mut alone), &mut report).await?);
        requests.end_of_chain(&mut report);
    }
    requests.end(&mut report);
    alone.end(&mut report);
    for (chain, _) in wanted {
        report.finds(format!("chain {chain}: a checkpoint lists it, and it is gone"));
    }
    // Records come together with their chain's head: read after them, it can't be behind.
    for chain in report.readable(all_chains(store).await, "chains")? {
        if ends.get(&chain.chain).is_some_and(|last| chain.head.sequence < *last) {
            report.finds(format!("chain {}: has records after what it says is its newest", chain.chain));
        }
    }
    Ok(report)
}

/// When each node's newest process started, of those that came as far as their first checkpoint, which lists what an earlier
/// process of that node left.
fn newest_of_each_node(chains: &[StoredChain], wanted: &Wanted) -> HashMap<String, Timestamp> {
    let mut newest: HashMap<String, Timestamp> = HashMap::new();
    for chain in chains.iter().filter(|chain| wanted.contains_key(&chain.chain)) {
        let started = newest.entry(chain.node.clone()).or_insert(chain.started);
        *started = (*started).max(chain.started);
    }
    newest
}

/// Whether there is a key for checkpoints: it signs the first one before anything else is recorded.
async fn has_signer(store: &Store) -> Result<bool, StoreError> {
    Ok(store.read::<_, StoreError, _>(|reader| reader.internal_key(Purpose::AuditCheckpoint)).await?.is_some())
}

async fn all_chains(store: &Store) -> Result<Vec<StoredChain>, StoreError> {
    store.read(|reader| reader.chains()).await
}

/// The public keys that may sign, as far as they are pinned, where any are.
struct SigningKeys<'a> {
    pinned: &'a [Vec<u8>],
    /// Those that were asked for, and whether they may.
    known: HashMap<KeyId, Option<Vec<u8>>>,
}

impl SigningKeys<'_> {
    /// Reads the key that a checkpoint or a chain names, once.
    async fn learn(&mut self, store: &Store, signer: KeyId) -> Result<(), StoreError> {
        if self.known.contains_key(&signer) {
            return Ok(());
        }
        let key = match store.read::<_, StoreError, _>(move |reader| reader.internal_key_version(signer, KeyVersion::FIRST)).await {
            // What it signed is found to be signed by nobody.
            Err(StoreError::Corrupt { .. }) => None,
            other => other?,
        };
        let point = key.and_then(|key| key.public_key).and_then(|spki| p256_point(&spki).map(<[u8]>::to_vec));
        self.known.insert(signer, point.filter(|point| self.pinned.is_empty() || self.pinned.contains(point)));
        Ok(())
    }

    /// Whether one of them signed `hash`.
    fn signed(&self, signer: KeyId, hash: &[u8; 32], signature: &[u8; 64]) -> bool {
        let point = self.known.get(&signer).and_then(Option::as_ref);
        point.is_some_and(|point| UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(hash, signature).is_ok())
    }
}

/// The records that checkpoints list of one chain: number and hash.
type Heads = HashMap<i64, [u8; 32]>;
/// The same of all chains.
type Wanted = HashMap<ChainId, Heads>;
