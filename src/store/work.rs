//! What waits for the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::error::StoreError;
use super::gate::Pass;
use super::unit::Tx;
use crate::domain::audit::{AuditEvent, Uses};

/// One piece of work for the writer.
pub(super) enum Work {
    /// An audit record.
    Record(Box<Record>),
    /// A change of state.
    Change(Box<dyn ChangeWork>),
    /// Finish what is queued, then end.
    Stop,
}

/// An audit record that waits to be durable.
pub(super) struct Record {
    /// Taken out when it is written.
    pub(super) content: Option<(AuditEvent, Uses)>,
    pub(super) reply: oneshot::Sender<Result<(), StoreError>>,
}

/// A change, whatever it answers.
pub(super) trait ChangeWork: Send {
    /// Whether somebody still waits for it. What nobody waits for, and has not begun, isn't begun.
    fn is_wanted(&self) -> bool;
    /// Runs it; whether what it did is to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Its savepoint could not be kept.
    fn spoil(&mut self, error: StoreError);
    /// Answers: what it returned, if the batch was committed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A closure, and what it returned once it has run.
pub(super) struct Closure<T, E, F> {
    work: Option<F>,
    returned: Option<Result<T, E>>,
    /// Keeps a backup from beginning before this is answered.
    _pass: Pass,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Closure<T, E, F> {
    pub(super) const fn new(work: F, pass: Pass, reply: oneshot::Sender<Result<T, E>>) -> Self {
        Self { work: Some(work), returned: None, _pass: pass, reply }
    }
}

impl<T, E, F> ChangeWork for Closure<T, E, F>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let returned = catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or_else(|_| Err(StoreError::failed("a change panicked").into()));
        self.returned.insert(returned).is_ok()
    }

    fn spoil(&mut self, error: StoreError) {
        self.returned = Some(Err(error.into()));
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (committed, self.returned) {
            (Ok(()), Some(returned)) => returned,
            (Ok(()), None) => Err(StoreError::unavailable("the change was not begun").into()),
            (Err(error), _) => Err(error.into()),
        };
        // Nobody may be waiting any more: the change is done all the same.
        drop(self.reply.send(answer));
    }
}
