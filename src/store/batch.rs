//! One batch of the writer: a transaction that many share.

use diesel::connection::SimpleConnection as _;

use super::audit::Chain;
use super::connection::Db;
use super::error::StoreError;
use super::unit::{Gathered, Tx};
use super::work::{ChangeWork, Record, Work};
use crate::domain::clock::Timestamp;

/// How many changes share a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// Many: SQLite has one writer at a time, who waits for nobody.
    Many,
    /// Each has one of its own. A change holds the rows that it touched until the commit: were another of the same batch to wait for a row of
    /// another node, who waits for one of these, both would hang until the server finds the deadlock, a second later, and everybody's records
    /// with them. What a single change touches it touches in one order: key store, key or object, version.
    Alone,
}

/// What a batch is made of.
pub(super) struct Batch {
    company: Company,
    steps: Vec<Step>,
    /// Whether the writer was told to stop after these.
    pub(super) is_last: bool,
}

enum Step {
    Record(Box<Record>),
    Change(Box<dyn ChangeWork>),
}

impl Batch {
    /// The most work that shares one transaction.
    const MAX: usize = 512;

    /// An empty one.
    pub(super) const fn new(company: Company) -> Self {
        Self { company, steps: Vec::new(), is_last: false }
    }

    /// Takes in one piece of work; whether more may follow.
    pub(super) fn take(&mut self, work: Work) -> bool {
        let is_change = matches!(work, Work::Change(_));
        match work {
            Work::Record(record) => self.steps.push(Step::Record(record)),
            Work::Change(change) => self.steps.push(Step::Change(change)),
            Work::Stop => self.is_last = true,
        }
        !self.is_last && self.steps.len() < Self::MAX && !(is_change && self.company == Company::Alone)
    }

    /// As transactions: records never wait for what a change that goes alone waits for.
    pub(super) fn into_transactions(mut self) -> impl Iterator<Item = Self> {
        let alone = match self.steps.pop_if(|step| self.company == Company::Alone && matches!(step, Step::Change(_))) {
            Some(change) if self.steps.is_empty() => {
                self.steps.push(change);
                None
            }
            popped => popped.map(|change| Self { company: self.company, steps: vec![change], is_last: self.is_last }),
        };
        std::iter::once(self).chain(alone)
    }

    /// Drops what nobody waits for any more. Not being begun, nothing of it is done.
    pub(super) fn forget_unwanted(&mut self) {
        self.steps.retain(|step| match step {
            Step::Record(record) => !record.reply.is_closed(),
            Step::Change(change) => change.is_wanted(),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Does it all in the transaction that was begun, and commits that (nothing at all is a write too, to see whether one succeeds), each change in a savepoint of its own, and answers the chain as it is after the commit.
    /// After an error nothing is done, or it is unknown what.
    pub(super) fn commit(&mut self, db: &mut Db, node: &str, chain: &Chain, now: Timestamp) -> Result<Chain, StoreError> {
        let mut gathered = Gathered::default();
        for step in &mut self.steps {
            match step {
                Step::Record(record) => record.content.take().into_iter().for_each(|content| gathered.record(content)),
                Step::Change(change) => run_in_savepoint(change.as_mut(), db, node, &mut gathered)?,
            }
        }
        if self.steps.is_empty() {
            super::changes::touch(db)?;
        }
        let advanced = gathered.write(db, chain, now)?;
        db.batch_execute("COMMIT")?;
        Ok(advanced)
    }

    /// Answers everybody.
    pub(super) fn answer(self, committed: &Result<(), StoreError>) {
        for step in self.steps {
            match step {
                // Nobody may be waiting any more: the record is kept all the same.
                Step::Record(record) => drop(record.reply.send(committed.clone())),
                Step::Change(change) => change.answer(committed.clone()),
            }
        }
    }
}

/// Runs one change between a savepoint and its release or its undoing. An error means that the transaction itself is lost.
fn run_in_savepoint(change: &mut dyn ChangeWork, db: &mut Db, node: &str, gathered: &mut Gathered) -> Result<(), StoreError> {
    db.batch_execute("SAVEPOINT change")?;
    let mut tx = Tx::new(db, node);
    let mut keep = change.run(&mut tx) && !tx.is_rehearsal;
    let noted = tx.noted;
    if keep {
        // PostgreSQL refuses to release a savepoint after an error that the change swallowed.
        if let Err(error) = db.batch_execute("RELEASE SAVEPOINT change") {
            change.spoil(error.into());
            keep = false;
        }
    }
    if keep {
        gathered.keep(noted);
    } else {
        db.batch_execute("ROLLBACK TO SAVEPOINT change; RELEASE SAVEPOINT change")?;
    }
    Ok(())
}
