//! The audit log: one chain per process start, in which each record carries the hash of the one before.

use diesel::prelude::*;

use super::connection::Db;
use super::dialect::{self, LogBatch};
use super::error::StoreError;
use super::model::{StoredChain, StoredRecord};
use super::rows::{bytes, hex, id, known, version};
use super::schema::{audit_chains, audit_checkpoint_heads, audit_records};
use super::unit::{Reader, Tx};
use super::usage::UseRows;
use crate::domain::account::AccessKeyId;
use crate::domain::audit::{Actor, AuditEvent, ChainHead, Link, Operation, record_hash};
use crate::domain::caller::{CertFingerprint, MacAddr};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChainId, KeyId, KeyStoreNumber, ProjectId};

diesel::define_sql_function! {
    /// The first that isn't NULL.
    fn coalesce(value: diesel::sql_types::Nullable<diesel::sql_types::BigInt>, otherwise: diesel::sql_types::BigInt) -> diesel::sql_types::BigInt;
}

/// How many records a chain has room for: a record's position is its chain's number times this, plus its sequence number.
pub(super) const CHAIN_ROOM: i64 = 1 << 40;

/// The position of a record of the chain of that number; the nearest one in the chain where there is no such sequence number.
pub(super) fn position(chain: i64, sequence: i64) -> Result<i64, StoreError> {
    let base = chain.checked_mul(CHAIN_ROOM).ok_or(StoreError::Corrupt { what: "audit chain's number" })?;
    Ok(base.saturating_add(sequence.clamp(0, CHAIN_ROOM - 1)))
}

/// The last record of a chain, or what stands for it before the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) sequence: i64,
    pub(super) hash: [u8; 32],
}

impl Head {
    const NONE: Self = Self { sequence: -1, hash: [0; 32] };
}

/// This process's chain, as it stands in the database.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    id: ChainId,
    node: String,
    /// Its row, once there is one: the first record makes it.
    number: Option<i64>,
    head: Head,
}

/// An audit record, ready for its columns.
#[derive(Debug)]
pub(super) struct RecordRow {
    pub(super) position: i64,
    pub(super) previous: [u8; 32],
    pub(super) hash: [u8; 32],
    pub(super) at: i64,
    pub(super) request: String,
    pub(super) project: Option<i64>,
    pub(super) actor_kind: &'static str,
    pub(super) actor_name: String,
    pub(super) address: Option<String>,
    pub(super) mac: Option<String>,
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) user_agent: Option<String>,
    pub(super) operation: &'static str,
    pub(super) key_store: Option<i64>,
    pub(super) key: Option<String>,
    pub(super) version: Option<i64>,
    pub(super) result_code: i64,
    pub(super) detail: Option<String>,
}

impl Chain {
    /// How many records it has.
    pub(super) const fn records(&self) -> i64 {
        self.head.sequence + 1
    }

    /// The chain as the database has it now, after whatever an earlier connection left behind has come to its end.
    pub(super) fn read(db: &mut Db, chain: ChainId, node: &str) -> Result<Self, StoreError> {
        let name = hex(chain.as_bytes());
        dialect::lock_chain(db, &name)?;
        let row: Option<(i64, i64, Vec<u8>)> = audit_chains::table
            .filter(audit_chains::chain.eq(&name))
            .select((audit_chains::number, audit_chains::head_sequence, audit_chains::head_hash))
            .first(db)
            .optional()?;
        let (number, head) = match row {
            None => (None, Head::NONE),
            Some((number, sequence, hash)) => (Some(number), Head { sequence, hash: bytes(hash, "audit chain")? }),
        };
        Ok(Self { id: chain, node: node.to_owned(), number, head })
    }

    /// Whether what `acknowledged` ended with is still there, as far as the heads tell: a commit whose outcome was unknown may have come after it.
    pub(super) fn continues(&self, acknowledged: &Self) -> bool {
        self.head.sequence > acknowledged.head.sequence || self.head.sequence == acknowledged.head.sequence && self.head.hash == acknowledged.head.hash
    }

    /// Appends `events`, adds `uses`, and notes the new head; answers the chain as it will be once that is committed.
    pub(super) fn append(&self, db: &mut Db, events: Vec<AuditEvent>, uses: UseRows, now: Timestamp) -> Result<Self, StoreError> {
        let Some(newest) = events.iter().map(|event| event.at.micros()).max() else {
            return Ok(self.clone());
        };
        let chain = match self.number {
            Some(number) => number,
            // The time of the first record: the chain's row tells nothing that a hash doesn't bind.
            None => self.insert(db, events.first().map_or(now, |first| first.at))?,
        };
        let mut head = self.head;
        let base = chain.checked_mul(CHAIN_ROOM).ok_or_else(|| StoreError::failed("the chain's number is too high"))?;
        let records = events.into_iter().map(|event| head.follow(self.id, base, event)).collect();
        if head.sequence >= CHAIN_ROOM {
            return Err(StoreError::failed("the audit chain is full: restart the process"));
        }
        let batch = LogBatch { node: &self.node, chain, expected: self.head.sequence, head, newest, records, uses };
        if !dialect::append(db, &batch)? {
            return Err(StoreError::failed("the audit chain's head is not where this process left it"));
        }
        Ok(Self { id: self.id, node: self.node.clone(), number: Some(chain), head })
    }

    fn insert(&self, db: &mut Db, started: Timestamp) -> QueryResult<i64> {
        diesel::insert_into(audit_chains::table)
            .values((
                audit_chains::chain.eq(hex(self.id.as_bytes())),
                audit_chains::node.eq(&self.node),
                audit_chains::started_at.eq(started.micros()),
                audit_chains::head_sequence.eq(self.head.sequence),
                audit_chains::head_hash.eq(self.head.hash.as_slice()),
                audit_chains::head_at.eq(started.micros()),
            ))
            .returning(audit_chains::number)
            .get_result(db)
    }
}

impl Head {
    /// The record that follows this head, which becomes the head.
    fn follow(&mut self, chain: ChainId, base: i64, event: AuditEvent) -> RecordRow {
        let link = Link { chain, sequence: self.sequence + 1, previous: self.hash };
        *self = Self { sequence: link.sequence, hash: record_hash(&link, &event) };
        let (actor_kind, actor_name) = event.actor.parts();
        RecordRow {
            position: base + link.sequence,
            previous: link.previous,
            hash: self.hash,
            at: event.at.micros(),
            request: hex(event.request.as_bytes()),
            project: event.project.map(|project| project.0),
            actor_kind,
            actor_name,
            address: event.address.map(|address| address.to_string()),
            mac: event.mac.map(|mac| mac.to_string()),
            certificate: event.certificate.map(|fingerprint| fingerprint.0.to_vec()),
            user_agent: event.user_agent,
            operation: event.operation.as_str(),
            key_store: event.key_store.map(|number| number.0),
            key: event.key.map(|key| hex(key.as_bytes())),
            version: event.version.map(|version| i64::from(version.number())),
            result_code: i64::from(event.result_code),
            detail: event.detail,
        }
    }
}

/// Refuses what PostgreSQL's `TEXT` can't hold, on both databases, before it can spoil a batch.
pub(super) fn check_text(event: &AuditEvent) -> Result<(), StoreError> {
    let (_, actor_name) = event.actor.parts();
    let texts = [Some(actor_name.as_str()), event.user_agent.as_deref(), event.detail.as_deref()];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(StoreError::failed("an audit record can't hold a NUL character"));
    }
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit_records)]
pub(super) struct StoredRow {
    position: i64,
    previous: Vec<u8>,
    hash: Vec<u8>,
    pub(super) at: i64,
    request: String,
    pub(super) project_id: Option<i64>,
    actor_kind: String,
    actor_name: String,
    address: Option<String>,
    mac: Option<String>,
    certificate: Option<Vec<u8>>,
    user_agent: Option<String>,
    operation: String,
    pub(super) key_store: Option<i64>,
    pub(super) key_id: Option<String>,
    version: Option<i64>,
    result_code: i64,
    detail: Option<String>,
}

impl StoredRow {
    pub(super) fn into_record(self, chain: ChainId) -> Result<StoredRecord, StoreError> {
        const WHAT: &str = "audit record";
        let event = AuditEvent {
            at: Timestamp::from_micros(self.at),
            request: id(&self.request, WHAT)?,
            project: self.project_id.map(ProjectId),
            actor: known(actor(&self.actor_kind, &self.actor_name), WHAT)?,
            address: self.address.map(|text| known(text.parse().ok(), WHAT)).transpose()?,
            mac: self.mac.map(|text| known(MacAddr::parse(&text), WHAT)).transpose()?,
            certificate: self.certificate.map(|column| bytes(column, WHAT).map(CertFingerprint)).transpose()?,
            user_agent: self.user_agent,
            operation: known(Operation::parse(&self.operation), WHAT)?,
            key_store: self.key_store.map(KeyStoreNumber),
            key: self.key_id.map(|text| id::<KeyId>(&text, WHAT)).transpose()?,
            version: self.version.map(version).transpose()?,
            result_code: known(i32::try_from(self.result_code).ok(), WHAT)?,
            detail: self.detail,
        };
        Ok(StoredRecord { chain, sequence: self.position % CHAIN_ROOM, previous: bytes(self.previous, WHAT)?, hash: bytes(self.hash, WHAT)?, event })
    }
}

/// The actor of [`Actor::parts`].
fn actor(kind: &str, name: &str) -> Option<Actor> {
    let actor = match kind {
        "appkey" => Actor::Appkey,
        "access-key" => {
            let (id, login) = name.split_once('/')?;
            Actor::AccessKey { id: AccessKeyId::parse(id)?, login: login.to_owned() }
        }
        "account" => Actor::Account(name.to_owned()),
        "operator" => Actor::Operator(name.parse().ok()?),
        "service" => Actor::Service,
        "unknown" => Actor::Unknown,
        _ => return None,
    };
    // What the hash is over must come back as it was.
    let (same_kind, same_name) = actor.parts();
    (same_kind == kind && same_name == name).then_some(actor)
}

type ChainRow = (i64, String, String, i64, Option<Vec<u8>>, Option<String>, i64, Vec<u8>, i64);

fn stored_chain((number, chain, node, started, signature, signer, sequence, hash, head_at): ChainRow) -> Result<StoredChain, StoreError> {
    const WHAT: &str = "audit chain";
    let chain = id(&chain, WHAT)?;
    Ok(StoredChain {
        number,
        chain,
        node,
        started: Timestamp::from_micros(started),
        signature: signature.map(|column| bytes(column, WHAT)).transpose()?,
        signer: signer.map(|text| id(&text, WHAT)).transpose()?,
        head: ChainHead { chain, sequence, hash: bytes(hash, WHAT)? },
        head_at: Timestamp::from_micros(head_at),
    })
}

impl Reader<'_> {
    /// Audit records, newest first, for `skm audit tail`.
    pub fn recent_records(&mut self, limit: i64) -> Result<Vec<StoredRecord>, StoreError> {
        let chains: Vec<(i64, String, i64)> = audit_chains::table
            .order((audit_chains::head_at.desc(), audit_chains::number.desc()))
            .select((audit_chains::number, audit_chains::chain, audit_chains::head_at))
            .load(self.db)?;
        let wanted = usize::try_from(limit).unwrap_or(0);
        let mut newest: Vec<StoredRecord> = Vec::new();
        for (number, chain, head_at) in chains {
            // No chain that was last written before the oldest record at hand has a newer one.
            if newest.len() >= wanted && newest.last().is_none_or(|oldest| oldest.event.at.micros() > head_at) {
                break;
            }
            let rows: Vec<StoredRow> = audit_records::table
                .filter(audit_records::position.between(position(number, 0)?, position(number, i64::MAX)?))
                .order(audit_records::position.desc())
                .limit(limit)
                .select(StoredRow::as_select())
                .load(self.db)?;
            let chain = id(&chain, "audit chain")?;
            for row in rows {
                newest.push(row.into_record(chain)?);
            }
            newest.sort_by_key(|record| std::cmp::Reverse((record.event.at, record.sequence)));
            newest.truncate(wanted);
        }
        Ok(newest)
    }

    /// Records of one chain from `from`, in order.
    pub fn chain_records(&mut self, chain: ChainId, from: i64, limit: i64) -> Result<Vec<StoredRecord>, StoreError> {
        let number: Option<i64> =
            audit_chains::table.filter(audit_chains::chain.eq(hex(chain.as_bytes()))).select(audit_chains::number).first(self.db).optional()?;
        let Some(number) = number else {
            return Ok(Vec::new());
        };
        let rows: Vec<StoredRow> = audit_records::table
            .filter(audit_records::position.between(position(number, from)?, position(number, i64::MAX)?))
            .order(audit_records::position)
            .limit(limit)
            .select(StoredRow::as_select())
            .load(self.db)?;
        rows.into_iter().map(|row| row.into_record(chain)).collect()
    }

    /// All chains, in the order of their names.
    pub fn chains(&mut self) -> Result<Vec<StoredChain>, StoreError> {
        let rows: Vec<ChainRow> = audit_chains::table.order(audit_chains::chain).load(self.db)?;
        rows.into_iter().map(stored_chain).collect()
    }

    /// The heads of all chains, in the order of their names.
    pub fn chain_heads(&mut self) -> Result<Vec<ChainHead>, StoreError> {
        Ok(self.chains()?.into_iter().map(|chain| chain.head).collect())
    }

    /// The heads that no checkpoint lists yet, in the order of their names. What tells is what the checkpoints list, so that a head that
    /// moves before the checkpoint is inserted is listed again by the next one, and no chain's row is written, which its own
    /// process keeps busy. Costs one look into an index for each chain there ever was.
    pub fn chain_heads_to_checkpoint(&mut self) -> Result<Vec<ChainHead>, StoreError> {
        const WHAT: &str = "audit chain";
        let listed = audit_checkpoint_heads::table
            .filter(audit_checkpoint_heads::chain.eq(audit_chains::chain))
            .order(audit_checkpoint_heads::sequence.desc())
            .select(audit_checkpoint_heads::sequence)
            .limit(1)
            .single_value();
        let rows: Vec<(String, i64, Vec<u8>)> = audit_chains::table
            .filter(audit_chains::head_sequence.gt(coalesce(listed, Head::NONE.sequence)))
            .order(audit_chains::chain)
            .select((audit_chains::chain, audit_chains::head_sequence, audit_chains::head_hash))
            .load(self.db)?;
        rows.into_iter().map(|(chain, sequence, hash)| Ok(ChainHead { chain: id(&chain, WHAT)?, sequence, hash: bytes(hash, WHAT)? })).collect()
    }
}

impl Tx<'_> {
    /// Signs the first record of this process's chain: puts the signature into the chain's row. `Stale` before that record is there.
    pub fn sign_chain(&mut self, chain: ChainId, signature: &[u8; 64], signer: KeyId) -> Result<(), StoreError> {
        let rows = diesel::update(audit_chains::table.filter(audit_chains::chain.eq(hex(chain.as_bytes()))))
            .set((audit_chains::signature.eq(Some(signature.as_slice())), audit_chains::signer.eq(Some(hex(signer.as_bytes())))))
            .execute(self.db)?;
        super::rows::changed_one(rows, "audit chain")
    }
}
