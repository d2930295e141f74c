//! The checkpoints among themselves, and against those that were kept elsewhere.

use super::{PAGE, Report, SigningKeys, Wanted};
use crate::domain::audit::{ChainHead, checkpoint_digest};
use crate::store::{Checkpoint, Store, StoreError};

/// Reads the checkpoints, oldest first, checks them, and answers what they want of the chains. `anchors` are those that were kept
/// elsewhere, number and digest.
pub(super) async fn verify(store: &Store, keys: &mut SigningKeys<'_>, anchors: &[(i64, [u8; 32])], report: &mut Report) -> Result<Wanted, StoreError> {
    let mut reading = Reading { expected: 1, previous: [0; 32], missing: anchors.to_vec(), wanted: Wanted::new() };
    let mut from = Some(i64::MIN);
    while let Some(next) = from {
        let page = store.read::<_, StoreError, _>(move |reader| reader.checkpoints(next, PAGE)).await;
        let page = report.readable(page, "checkpoints")?;
        from = page.last().and_then(|last| last.number.checked_add(1));
        for checkpoint in &page {
            keys.learn(store, checkpoint.signer).await?;
            reading.checkpoint(checkpoint, keys, report);
        }
    }
    for (number, _) in reading.missing {
        report.finds(format!("anchor: checkpoint {number} is missing or another one"));
    }
    Ok(reading.wanted)
}

/// What is known while the checkpoints are read.
struct Reading {
    /// The number that the next one must have, and the digest that it must carry.
    expected: i64,
    previous: [u8; 32],
    /// The anchors that were not found yet.
    missing: Vec<(i64, [u8; 32])>,
    wanted: Wanted,
}

impl Reading {
    fn checkpoint(&mut self, checkpoint: &Checkpoint, keys: &SigningKeys<'_>, report: &mut Report) {
        report.checkpoints = report.checkpoints.saturating_add(1);
        let number = checkpoint.number;
        if number != self.expected {
            report.finds(format!("checkpoint {number}: stands where number {} belongs", self.expected));
        }
        if checkpoint.previous != self.previous {
            report.finds(format!("checkpoint {number}: does not follow the one before"));
        }
        if checkpoint_digest(number, checkpoint.at, &checkpoint.previous, &checkpoint.heads) != checkpoint.digest {
            report.finds(format!("checkpoint {number}: was changed"));
        }
        if !keys.signed(checkpoint.signer, &checkpoint.digest, &checkpoint.signature) {
            report.finds(format!("checkpoint {number}: is not signed by a key that may"));
        }
        self.missing.retain(|anchor| *anchor != (number, checkpoint.digest));
        self.previous = checkpoint.digest;
        self.expected = self.expected.saturating_add(1);
        for ChainHead { chain, sequence, hash } in &checkpoint.heads {
            // Whoever rewrites a record and waits for the next checkpoint gets the new hash signed too, never the old one unsigned.
            if self.wanted.entry(*chain).or_default().insert(*sequence, *hash).is_some_and(|other| other != *hash) {
                report.finds(format!("chain {chain}: checkpoint {number} lists another record {sequence} than a checkpoint before it"));
            }
        }
    }
}
