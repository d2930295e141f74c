//! Proving that nothing in the audit log was changed, dropped, reordered or cut off. Needs the database alone, no token.

use std::collections::HashMap;

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use crate::domain::audit::{ChainHead, Link, checkpoint_digest, record_hash};
use crate::domain::ids::{ChainId, KeyId};
use crate::store::{Checkpoint, Store, StoreError, StoredChain, StoredRecord};

/// How many records one read takes.
const PAGE: i64 = 2_048;
/// Findings beyond this many are counted, not listed.
const FINDINGS_MAX: usize = 100;

/// What to hold the log against.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// Public keys that may sign, uncompressed points (65 bytes) by the key's ID. Without any, those in the database
    /// count, which whoever changes the database can change too.
    pub pinned: HashMap<KeyId, Vec<u8>>,
    /// Whether the keys are pinned: then the database's own are not looked at.
    pub is_pinned: bool,
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
}

impl Report {
    fn finds(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more_findings = self.more_findings.saturating_add(1);
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

/// Reads the whole log and checks it.
pub async fn verify(store: &Store, expected: &Expectations) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let checkpoints = all_checkpoints(store).await?;
    let keys = signing_keys(store, expected, &checkpoints).await?;
    let mut wanted = verify_checkpoints(&checkpoints, &keys, expected, &mut report);
    let chains = store.read::<_, StoreError, _>(|reader| reader.chains()).await?;
    report.chains = chains.len();
    for chain in chains {
        let heads = wanted.remove(&chain.chain).unwrap_or_default();
        verify_chain(store, &chain, &heads, &keys, &mut report).await?;
    }
    for (chain, _) in wanted {
        report.finds(format!("chain {chain}: a checkpoint lists it, and it is gone"));
    }
    Ok(report)
}

/// The checkpoints, oldest first.
async fn all_checkpoints(store: &Store) -> Result<Vec<Checkpoint>, StoreError> {
    let mut all: Vec<Checkpoint> = Vec::new();
    loop {
        let from = all.last().map_or(0, |last| last.number.saturating_add(1));
        let page = store.read::<_, StoreError, _>(move |reader| reader.checkpoints(from, PAGE)).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The public keys that may sign: those that were pinned, else those of the database.
async fn signing_keys(store: &Store, expected: &Expectations, checkpoints: &[Checkpoint]) -> Result<HashMap<KeyId, Vec<u8>>, StoreError> {
    if expected.is_pinned {
        return Ok(expected.pinned.clone());
    }
    let chains = store.read::<_, StoreError, _>(|reader| reader.chains()).await?;
    let mut signers: Vec<KeyId> = checkpoints.iter().map(|checkpoint| checkpoint.signer).chain(chains.iter().filter_map(|chain| chain.signer)).collect();
    signers.sort_unstable();
    signers.dedup();
    let mut keys = HashMap::new();
    for signer in signers {
        let key = store.read::<_, StoreError, _>(move |reader| reader.internal_key_version(signer, crate::domain::ids::KeyVersion::FIRST)).await?;
        let point = key.and_then(|key| key.public_key).and_then(|spki| p256_point(&spki).map(<[u8]>::to_vec));
        if let Some(point) = point {
            keys.insert(signer, point);
        }
    }
    Ok(keys)
}

fn signed(keys: &HashMap<KeyId, Vec<u8>>, signer: KeyId, hash: &[u8; 32], signature: &[u8; 64]) -> bool {
    keys.get(&signer).is_some_and(|point| UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(hash, signature).is_ok())
}

/// Checks the checkpoints among themselves and answers the heads that they want, per chain.
fn verify_checkpoints(
    checkpoints: &[Checkpoint],
    keys: &HashMap<KeyId, Vec<u8>>,
    expected: &Expectations,
    report: &mut Report,
) -> HashMap<ChainId, HashMap<i64, [u8; 32]>> {
    let mut wanted: HashMap<ChainId, HashMap<i64, [u8; 32]>> = HashMap::new();
    let mut previous = [0; 32];
    for (expected_number, checkpoint) in (1_i64..).zip(checkpoints) {
        report.checkpoints += 1;
        let number = checkpoint.number;
        if number != expected_number {
            report.finds(format!("checkpoint {number}: number {expected_number} is missing"));
        }
        if checkpoint.previous != previous {
            report.finds(format!("checkpoint {number}: does not follow the one before"));
        }
        if checkpoint_digest(number, checkpoint.at, &checkpoint.previous, &checkpoint.heads) != checkpoint.digest {
            report.finds(format!("checkpoint {number}: was changed"));
        }
        if !signed(keys, checkpoint.signer, &checkpoint.digest, &checkpoint.signature) {
            report.finds(format!("checkpoint {number}: its signature is wrong"));
        }
        previous = checkpoint.digest;
        for ChainHead { chain, sequence, hash } in &checkpoint.heads {
            wanted.entry(*chain).or_default().insert(*sequence, *hash);
        }
    }
    for (number, digest) in &expected.anchors {
        if !checkpoints.iter().any(|checkpoint| checkpoint.number == *number && checkpoint.digest == *digest) {
            report.finds(format!("anchor: checkpoint {number} is missing or another one"));
        }
    }
    wanted
}

async fn verify_chain(
    store: &Store,
    chain: &StoredChain,
    heads: &HashMap<i64, [u8; 32]>,
    keys: &HashMap<KeyId, Vec<u8>>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let name = chain.chain;
    let mut next = 0_i64;
    let mut previous = [0; 32];
    let mut found_heads = 0_usize;
    loop {
        let page = store.read::<_, StoreError, _>(move |reader| reader.chain_records(name, next, PAGE)).await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            report.records = report.records.saturating_add(1);
            verify_record(&record, next, &previous, report);
            if record.sequence == 0 {
                verify_first(chain, &record, keys, report);
            }
            if let Some(hash) = heads.get(&record.sequence) {
                found_heads += 1;
                if *hash != record.hash {
                    report.finds(format!("chain {name}: record {} is not the one that a checkpoint lists", record.sequence));
                }
            }
            previous = record.hash;
            next = record.sequence.saturating_add(1);
        }
    }
    if found_heads < heads.len() {
        report.finds(format!("chain {name}: cut off at record {next}, before what a checkpoint lists"));
    }
    if chain.head.sequence >= next || (chain.head.sequence == next.saturating_sub(1) && chain.head.hash != previous) {
        report.finds(format!("chain {name}: its newest record is missing or another one"));
    }
    Ok(())
}

fn verify_record(record: &StoredRecord, expected_sequence: i64, previous: &[u8; 32], report: &mut Report) {
    let (chain, sequence) = (record.chain, record.sequence);
    if sequence != expected_sequence {
        report.finds(format!("chain {chain}: record {expected_sequence} is missing"));
    }
    if record.previous != *previous {
        report.finds(format!("chain {chain}: record {sequence} does not follow the one before"));
    }
    let link = Link { chain, sequence, previous: record.previous };
    if record_hash(&link, &record.event) != record.hash {
        report.finds(format!("chain {chain}: record {sequence} was changed"));
    }
}

fn verify_first(chain: &StoredChain, record: &StoredRecord, keys: &HashMap<KeyId, Vec<u8>>, report: &mut Report) {
    match (chain.signer, chain.signature) {
        (Some(signer), Some(signature)) if signed(keys, signer, &record.hash, &signature) => {}
        (Some(_), Some(_)) => report.finds(format!("chain {}: the signature of its first record is wrong", chain.chain)),
        (None, _) | (_, None) => report.finds(format!("chain {}: its first record is not signed", chain.chain)),
    }
}
