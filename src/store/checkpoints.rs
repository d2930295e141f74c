//! Checkpoints of the audit log: what the heads of the chains were that went on since the checkpoint before, signed.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::dialect;
use super::error::StoreError;
use super::model::Checkpoint;
use super::rows::{bytes, hex, id};
use super::schema::{audit_checkpoint_heads, audit_checkpoints};
use super::unit::{Reader, Tx};
use crate::domain::audit::ChainHead;
use crate::domain::clock::Timestamp;

const WHAT: &str = "audit checkpoint";

/// The most heads that one read takes, unless a single checkpoint lists more.
const HEADS_READ: i64 = 8_192;
/// The most heads that one statement inserts: four values each, and SQLite takes 32,766.
const HEADS_INSERTED: usize = 1_024;

/// A head, ready for its columns. Of what might be left to a default, `diesel` inserts row after row on SQLite, in a transaction of
/// its own, which can't begin within ours.
#[derive(Debug, Insertable)]
#[diesel(table_name = audit_checkpoint_heads, treat_none_as_default_value = false)]
pub(super) struct ListedHead {
    checkpoint: i64,
    chain: String,
    sequence: i64,
    hash: Vec<u8>,
}

type HeadRow = (i64, String, i64, Vec<u8>);
type Row = (i64, i64, Vec<u8>, Vec<u8>, Vec<u8>, String);

fn checkpoint((number, at, previous, digest, signature, signer): Row, heads: Vec<ChainHead>) -> Result<Checkpoint, StoreError> {
    Ok(Checkpoint {
        number,
        at: Timestamp::from_micros(at),
        previous: bytes(previous, WHAT)?,
        heads,
        digest: bytes(digest, WHAT)?,
        signature: bytes(signature, WHAT)?,
        signer: id(&signer, WHAT)?,
    })
}

impl Reader<'_> {
    /// The checkpoint with the highest number.
    pub fn last_checkpoint(&mut self) -> Result<Option<Checkpoint>, StoreError> {
        let last: Option<i64> = audit_checkpoints::table.select(audit_checkpoints::number).order(audit_checkpoints::number.desc()).first(self.db).optional()?;
        match last {
            None => Ok(None),
            Some(number) => Ok(self.checkpoints(number, 1)?.pop()),
        }
    }

    /// Checkpoints from number `from`, in order: at most `limit`, and fewer if they list more than `HEADS_READ` heads together, but
    /// always one if there is one.
    pub fn checkpoints(&mut self, from: i64, limit: i64) -> Result<Vec<Checkpoint>, StoreError> {
        let mut rows: Vec<Row> =
            audit_checkpoints::table.filter(audit_checkpoints::number.ge(from)).order(audit_checkpoints::number).limit(limit).load(self.db)?;
        let (Some(first), Some(last)) = (rows.first().map(|(number, ..)| *number), rows.last().map(|(number, ..)| *number)) else {
            return Ok(Vec::new());
        };
        let mut heads = self.heads_listed(first, last, HEADS_READ + 1)?;
        if i64::try_from(heads.len()).is_ok_and(|read| read > HEADS_READ) {
            // The last of these may list more than was read.
            let cut = heads.last().map_or(last, |(number, ..)| *number);
            rows.retain(|(number, ..)| *number == first || *number < cut);
            if cut == first {
                heads = self.heads_listed(first, first, i64::MAX)?;
            }
        }
        let mut of_checkpoint: BTreeMap<i64, Vec<ChainHead>> = BTreeMap::new();
        for (number, chain, sequence, hash) in heads {
            of_checkpoint.entry(number).or_default().push(ChainHead { chain: id(&chain, WHAT)?, sequence, hash: bytes(hash, WHAT)? });
        }
        rows.into_iter()
            .map(|row| {
                let heads = of_checkpoint.remove(&row.0).unwrap_or_default();
                checkpoint(row, heads)
            })
            .collect()
    }
}

impl Reader<'_> {
    /// What the checkpoints from `first` to `last` list, checkpoint by checkpoint, each by the names of the chains.
    fn heads_listed(&mut self, first: i64, last: i64, limit: i64) -> Result<Vec<HeadRow>, StoreError> {
        let listed = audit_checkpoint_heads::table.filter(audit_checkpoint_heads::checkpoint.between(first, last));
        Ok(listed.order((audit_checkpoint_heads::checkpoint, audit_checkpoint_heads::chain)).limit(limit).load(self.db)?)
    }
}

impl Tx<'_> {
    /// `Exists` if another node made a checkpoint of that number meanwhile.
    pub fn insert_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        diesel::insert_into(audit_checkpoints::table)
            .values((
                audit_checkpoints::number.eq(checkpoint.number),
                audit_checkpoints::at.eq(checkpoint.at.micros()),
                audit_checkpoints::previous.eq(checkpoint.previous.as_slice()),
                audit_checkpoints::digest.eq(checkpoint.digest.as_slice()),
                audit_checkpoints::signature.eq(checkpoint.signature.as_slice()),
                audit_checkpoints::signer.eq(hex(checkpoint.signer.as_bytes())),
            ))
            .execute(self.db)?;
        for heads in checkpoint.heads.chunks(HEADS_INSERTED) {
            let row = |head: &ChainHead| {
                let (chain, hash) = (hex(head.chain.as_bytes()), head.hash.to_vec());
                ListedHead { checkpoint: checkpoint.number, chain, sequence: head.sequence, hash }
            };
            dialect::insert_heads(self.db, &heads.iter().map(row).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
