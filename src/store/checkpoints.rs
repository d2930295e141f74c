//! Checkpoints of the audit log: what the heads of all chains were, signed.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::error::StoreError;
use super::model::Checkpoint;
use super::rows::{bytes, hex, id};
use super::schema::{audit_checkpoint_heads, audit_checkpoints};
use super::unit::{Reader, Tx};
use crate::domain::audit::ChainHead;
use crate::domain::clock::Timestamp;

const WHAT: &str = "audit checkpoint";

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

    /// Checkpoints from number `from`, in order.
    pub fn checkpoints(&mut self, from: i64, limit: i64) -> Result<Vec<Checkpoint>, StoreError> {
        let rows: Vec<Row> = audit_checkpoints::table.filter(audit_checkpoints::number.ge(from)).order(audit_checkpoints::number).limit(limit).load(self.db)?;
        let Some(last) = rows.last().map(|(number, ..)| *number) else {
            return Ok(Vec::new());
        };
        let heads: Vec<(i64, String, i64, Vec<u8>)> = audit_checkpoint_heads::table
            .filter(audit_checkpoint_heads::checkpoint.between(from, last))
            .order((audit_checkpoint_heads::checkpoint, audit_checkpoint_heads::chain))
            .load(self.db)?;
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
        for head in &checkpoint.heads {
            diesel::insert_into(audit_checkpoint_heads::table)
                .values((
                    audit_checkpoint_heads::checkpoint.eq(checkpoint.number),
                    audit_checkpoint_heads::chain.eq(hex(head.chain.as_bytes())),
                    audit_checkpoint_heads::sequence.eq(head.sequence),
                    audit_checkpoint_heads::hash.eq(head.hash.as_slice()),
                ))
                .execute(self.db)?;
        }
        Ok(())
    }
}
