//! One unit of reading, one unit of changing.

use std::collections::HashSet;

use super::audit::Chain;
use super::changes;
use super::connection::Db;
use super::error::StoreError;
use super::model::Change;
use super::usage::Tally;
use crate::domain::audit::{AuditEvent, Uses};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProjectId;

/// One unit of reading.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(super) db: &'a mut Db,
}

/// One unit of changing, in a savepoint of its own; derefs to [`Reader`], so that it reads what it changes.
///
/// An error of one of its functions must be passed on: PostgreSQL refuses whatever would follow it, and so the whole unit.
#[derive(Debug)]
pub struct Tx<'a> {
    pub(super) reader: Reader<'a>,
    /// This process's name.
    pub(super) node: &'a str,
    pub(super) noted: Noted,
    /// Whether changes of a project with approval on are those that were approved: [`Tx::hold_applying`] alone says so.
    pub(super) is_approved: bool,
    /// Whether nothing of it is kept, whatever comes of it.
    pub(super) is_rehearsal: bool,
}

/// What a change notes beside what it does; it joins the batch only if its savepoint is kept, so that a change that fails leaves
/// no hole in the chain, and no number in the change log.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) records: Vec<(AuditEvent, Uses)>,
    pub(super) changes: Vec<Change>,
}

impl<'a> std::ops::Deref for Tx<'a> {
    type Target = Reader<'a>;
    fn deref(&self) -> &Self::Target {
        &self.reader
    }
}

impl std::ops::DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.reader
    }
}

impl<'a> Tx<'a> {
    pub(super) fn new(db: &'a mut Db, node: &'a str) -> Self {
        Self { reader: Reader { db }, node, noted: Noted::default(), is_approved: false, is_rehearsal: false }
    }

    /// Keeps an audit record with this change: it is chained, and its uses are counted, when the change is kept.
    pub fn audit(&mut self, event: AuditEvent, uses: Uses) -> Result<(), StoreError> {
        super::audit::check_text(&event)?;
        self.require_approval(&event)?;
        self.noted.records.push((event, uses));
        Ok(())
    }

    /// In a project with approval on nobody changes anything alone, whichever way he came: [`StoreError::Governed`]. The project's governance
    /// is held until the commit, so that a change is either before approval was turned on or refused.
    fn require_approval(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        let governed = event.project.filter(|_| event.result_code == 0 && event.operation.is_change() && event.actor.is_person());
        let Some(project) = governed.filter(|_| !self.is_approved) else { return Ok(()) };
        if self.hold_governance(project)? { Err(StoreError::Governed) } else { Ok(()) }
    }

    /// From here on nothing of this is kept: it is done to see whether it could be. Changes that need approval can be tried.
    pub fn rehearse(&mut self) {
        self.is_rehearsal = true;
        self.is_approved = true;
    }

    /// Whether nothing of this is kept.
    pub const fn is_rehearsal(&self) -> bool {
        self.is_rehearsal
    }

    /// Has whoever would take away from a project what it needs for approval wait for each other until the commit, on all nodes: who is left is
    /// read after this.
    pub fn lock_governance(&mut self, project: ProjectId) -> Result<(), StoreError> {
        Ok(super::dialect::lock_governance(self.reader.db, project.0)?)
    }

    /// Whether approval is on in a project, which stays so until the commit.
    pub fn hold_governance(&mut self, project: ProjectId) -> Result<bool, StoreError> {
        super::governance::hold(self.reader.db, project)
    }

    /// Puts a change number into the change log, in this transaction.
    pub fn changed(&mut self, change: Change) -> Result<(), StoreError> {
        self.noted.changes.push(change);
        Ok(())
    }
}

/// What the kept work of a batch noted, until it is written, all together, at the end of its transaction.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) events: Vec<AuditEvent>,
    pub(super) tally: Tally,
    pub(super) changes: Vec<Change>,
}

impl Gathered {
    /// Takes one audit record.
    pub(super) fn record(&mut self, (event, uses): (AuditEvent, Uses)) {
        self.tally.add(uses, event.at);
        self.events.push(event);
    }

    /// Takes what a kept change noted.
    pub(super) fn keep(&mut self, noted: Noted) {
        noted.records.into_iter().for_each(|record| self.record(record));
        self.changes.extend(noted.changes);
    }

    /// Writes it all. The change numbers come last: who holds their row keeps all other nodes' changes waiting until the commit.
    /// Uses come with records alone, so what has no record has none.
    pub(super) fn write(self, db: &mut Db, chain: &Chain, now: Timestamp) -> Result<Chain, StoreError> {
        let advanced = chain.append(db, self.events, self.tally.into_rows(), now)?;
        let mut seen = HashSet::new();
        let changes: Vec<_> = self.changes.into_iter().filter(|change| seen.insert(change.clone())).collect();
        changes::number(db, &changes, now)?;
        Ok(advanced)
    }
}
