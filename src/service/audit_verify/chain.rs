//! One chain: its records among themselves, its own row, its signature, and what checkpoints list of it.

use super::alone::Alone;
use super::requests::Requests;
use super::{Heads, PAGE, Report, SigningKeys};
use crate::domain::audit::{Link, Operation, record_hash};
use crate::domain::clock::Timestamp;
use crate::service::audit_log::names_node;
use crate::store::{Store, StoreError, StoredChain, StoredRecord};

/// Reads the chain's records and checks them; answers the number of the last one, -1 if there is none. A chain that `is_over`
/// (a later process of its node has begun) gets no more records: its last one is listed by a checkpoint.
pub(super) async fn verify(
    store: &Store,
    chain: &StoredChain,
    heads: &Heads,
    is_over: bool,
    keys: &SigningKeys<'_>,
    (requests, alone): (&mut Requests, &mut Alone),
    report: &mut Report,
) -> Result<i64, StoreError> {
    let mut reading = Reading {
        chain,
        heads,
        is_over,
        has_ended: false,
        report,
        expected: 0,
        previous: [0; 32],
        last: -1,
        heads_found: 0,
        first: None,
        head_at: None,
        newest_is_known: false,
    };
    let name = chain.chain;
    let mut from = Some(i64::MIN);
    while let Some(next) = from {
        let page = match store.read::<_, StoreError, _>(move |reader| reader.chain_records(name, next, PAGE)).await {
            // One at a time up to the one that can't be read.
            Err(StoreError::Corrupt { .. }) => store.read::<_, StoreError, _>(move |reader| reader.chain_records(name, next, 1)).await,
            other => other,
        };
        let page = match page {
            Err(StoreError::Corrupt { what }) => {
                let expected = reading.expected;
                reading.report.finds(format!("chain {name}: the {what} at number {expected} can't be read; nothing after it was checked"));
                return Ok(reading.last);
            }
            other => other?,
        };
        // None where a chain has no room for a number after its last: then that one is answered again.
        from = page.last().filter(|last| last.sequence >= next).and_then(|last| last.sequence.checked_add(1));
        if from.is_none() {
            break;
        }
        for record in &page {
            reading.record(record);
            // What came after the heads of all chains were read may refer to what came after them in a chain that was read before.
            if record.sequence <= chain.head.sequence {
                requests.record(record, reading.report);
                alone.record(record, chain);
            }
        }
    }
    reading.end(keys);
    Ok(reading.last)
}

/// What is known of a chain while its records are read.
struct Reading<'a> {
    chain: &'a StoredChain,
    heads: &'a Heads,
    is_over: bool,
    /// Whether the record that ends the chain was read.
    has_ended: bool,
    report: &'a mut Report,
    /// The number that the next record must have, and the hash that it must carry.
    expected: i64,
    previous: [u8; 32],
    /// The number of the last record.
    last: i64,
    heads_found: usize,
    first: Option<StoredRecord>,
    /// When the record was that the chain's row calls its newest.
    head_at: Option<Timestamp>,
    /// Whether a record is as old as the chain's row says of its newest.
    newest_is_known: bool,
}

impl Reading<'_> {
    fn finds(&mut self, finding: &str) {
        let chain = self.chain.chain;
        self.report.finds(format!("chain {chain}: {finding}"));
    }

    fn record(&mut self, record: &StoredRecord) {
        let sequence = record.sequence;
        self.report.records = self.report.records.saturating_add(1);
        if sequence != self.expected {
            let expected = self.expected;
            self.finds(&format!("record {sequence} stands where number {expected} belongs"));
        }
        if record.previous != self.previous {
            self.finds(&format!("record {sequence} does not follow the one before"));
        }
        let link = Link { chain: record.chain, sequence, previous: record.previous };
        if record_hash(&link, &record.event) != record.hash {
            self.finds(&format!("record {sequence} was changed"));
        }
        if self.has_ended {
            self.finds(&format!("record {sequence} comes after the one that ended the chain"));
        }
        self.has_ended |= record.event.operation == Operation::EndChain;
        if let Some(hash) = self.heads.get(&sequence) {
            self.heads_found += 1;
            if *hash != record.hash {
                self.finds(&format!("record {sequence} is not the one that a checkpoint lists"));
            }
        }
        if sequence == self.chain.head.sequence && self.chain.head.hash == record.hash {
            self.head_at = Some(record.event.at);
        }
        self.newest_is_known |= record.event.at == self.chain.head_at;
        if self.first.is_none() {
            self.first = Some(record.clone());
        }
        self.previous = record.hash;
        self.expected = sequence.saturating_add(1);
        self.last = sequence;
    }

    fn end(&mut self, keys: &SigningKeys<'_>) {
        if self.heads_found < self.heads.len() {
            let next = self.expected;
            self.finds(&format!("cut off at record {next}, before what a checkpoint lists"));
        }
        if self.is_over && self.last >= 0 && !self.heads.contains_key(&self.last) {
            self.finds("its last record is listed by no checkpoint, though its process is over");
        }
        match self.head_at {
            None => self.finds("its newest record is missing or another one"),
            Some(at) if self.newest_is_known && self.chain.head_at >= at => {}
            Some(_) => self.finds("the time of its newest record was changed"),
        }
        match self.first.take() {
            None => self.finds("has no records"),
            Some(first) => self.first(&first, keys),
        }
    }

    /// The first record says when and where the chain began, and is signed.
    fn first(&mut self, first: &StoredRecord, keys: &SigningKeys<'_>) {
        let chain = self.chain;
        if chain.started != first.event.at {
            self.finds("the time of its start was changed");
        }
        if first.event.operation != Operation::StartChain || !first.event.detail.as_deref().is_some_and(|detail| names_node(detail, &chain.node)) {
            self.finds("its first record does not say that it was begun by the node that it names");
        }
        match (chain.signer, chain.signature) {
            (Some(signer), Some(signature)) if keys.signed(signer, &first.hash, &signature) => {}
            // A process that died between its first record and the signature did nothing else yet.
            (None, None) if self.last == 0 => {
                self.report.notes(format!("chain {}: its process ended before it could sign the first record, and wrote nothing after it", chain.chain));
            }
            (None, None) => self.finds("its first record is not signed"),
            _ => self.finds("its first record is not signed by a key that may"),
        }
    }
}
