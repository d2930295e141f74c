//! The checkpoints among themselves, and against those that were kept elsewhere.

use super::{Expectations, PAGE, Report, SigningKeys, Wanted};
use crate::domain::audit::{ChainHead, checkpoint_digest};
use crate::store::{Checkpoint, Store, StoreError};

/// The checkpoints, oldest first.
pub(super) async fn read_all(store: &Store) -> Result<Vec<Checkpoint>, StoreError> {
    let mut all: Vec<Checkpoint> = Vec::new();
    let mut from = Some(i64::MIN);
    while let Some(next) = from {
        let page = store.read::<_, StoreError, _>(move |reader| reader.checkpoints(next, PAGE)).await?;
        from = page.last().and_then(|last| last.number.checked_add(1));
        all.extend(page);
    }
    Ok(all)
}

/// Checks the checkpoints and answers what they want of the chains.
pub(super) fn verify(checkpoints: &[Checkpoint], keys: &SigningKeys, expected: &Expectations, report: &mut Report) -> Wanted {
    let mut wanted = Wanted::new();
    let mut previous = [0; 32];
    for (expected_number, checkpoint) in (1_i64..).zip(checkpoints) {
        report.checkpoints = report.checkpoints.saturating_add(1);
        let number = checkpoint.number;
        if number != expected_number {
            report.finds(format!("checkpoint {number}: stands where number {expected_number} belongs"));
        }
        if checkpoint.previous != previous {
            report.finds(format!("checkpoint {number}: does not follow the one before"));
        }
        if checkpoint_digest(number, checkpoint.at, &checkpoint.previous, &checkpoint.heads) != checkpoint.digest {
            report.finds(format!("checkpoint {number}: was changed"));
        }
        if !keys.signed(checkpoint.signer, &checkpoint.digest, &checkpoint.signature) {
            report.finds(format!("checkpoint {number}: is not signed by a key that may"));
        }
        previous = checkpoint.digest;
        for ChainHead { chain, sequence, hash } in &checkpoint.heads {
            // Whoever rewrites a record and waits for the next checkpoint gets the new hash signed too, never the old one unsigned.
            if wanted.entry(*chain).or_default().insert(*sequence, *hash).is_some_and(|other| other != *hash) {
                report.finds(format!("chain {chain}: checkpoint {number} lists another record {sequence} than a checkpoint before it"));
            }
        }
    }
    for (number, digest) in &expected.anchors {
        if !checkpoints.iter().any(|checkpoint| checkpoint.number == *number && checkpoint.digest == *digest) {
            report.finds(format!("anchor: checkpoint {number} is missing or another one"));
        }
    }
    wanted
}
