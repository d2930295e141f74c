//! Notifications: who is told of what (`recipients.rs`), what is told where it happens (`telling.rs`) or is noticed by the clock (`watch.rs`), in
//! which words (`words.rs`), and how it is sent (`sending.rs`, `turns.rs`) or, when
//! the database is in trouble, told without it (`at_once.rs`).
//!
//! `Tx::notify` puts messages into the outbox in the transaction of the change that they tell of, so that neither is there without the other. They
//! are sent at least once: each has a name that stays the same, by which receivers see that they have it already.

mod at_once;
mod messages;
mod recipients;
mod sending;
pub(super) mod telling;
mod turns;
mod watch;
mod words;

use futures_util::future::BoxFuture;

use super::Service;
use super::own_account::{Own, Visit};
use super::refusal::Refusal;
use super::request::{Request, Right, event_without_project};
use crate::domain::audit::{Actor, Operation, Uses};
use crate::domain::ids::ProjectId;
use crate::domain::key::Stamp;
use crate::domain::result_code::ResultCode;
use crate::store::{Reader, Tx};

pub use messages::{RECENT_MAX, RecipientMessages};
pub use recipients::{AddedRecipient, NewTarget, TestResult};
pub(super) use sending::Outbox;
pub use sending::OutboxState;

/// Whose recipients they are, and who asks: an administrator of the project, or of the installation.
#[derive(Debug, Clone)]
pub enum NotificationArea {
    /// A project's.
    Project(Request),
    /// The installation's.
    Installation(Visit),
}

/// What was found to be done, before it is done in one transaction with its record.
struct Prepared<P> {
    value: P,
    /// What the record says.
    told: String,
    uses: Uses,
}

impl<P> Prepared<P> {
    fn new(value: P, told: impl Into<String>) -> Self {
        Self { value, told: told.into(), uses: Uses::default() }
    }
}

type Preparing<P> = BoxFuture<'static, Result<Prepared<P>, Refusal>>;

impl Service {
    /// Changes something about an area's recipients, if whoever asks may: `prepare` runs after that is known, `act` in the transaction.
    async fn change_in<P, T, F>(&self, area: NotificationArea, operation: Operation, prepare: Preparing<P>, act: F) -> Result<T, Refusal>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, Option<ProjectId>, P, &Stamp) -> Result<T, Refusal> + Send + 'static,
    {
        match area {
            NotificationArea::Project(request) => {
                self.run(request, operation, Right::Change, move |service, scope| {
                    Box::pin(async move {
                        let Prepared { value, told, uses } = prepare.await?;
                        scope.details(told);
                        uses.keys.into_iter().for_each(|used| scope.uses_key(used));
                        let (stamp, project) = (scope.stamp(service), scope.project.id);
                        let (event, uses) = scope.record_of_success(service);
                        let done = service.store().change::<_, Refusal, _>(move |tx| {
                            let done = act(tx, Some(project), value, &stamp)?;
                            tx.audit(event, uses)?;
                            Ok(done)
                        });
                        let done = done.await?;
                        scope.committed();
                        Ok(done)
                    })
                })
                .await
            }
            NotificationArea::Installation(visit) => {
                self.require_administrator(&visit, operation).await?;
                let Prepared { value, told, uses } = prepare.await?;
                let (own, token) = (Own { uses, ..Own::new(operation, told) }, visit.session.token);
                self.change_own(&visit, own, move |tx, stamp, _| {
                    if !tx.session(token)?.is_some_and(|session| session.administrator) {
                        return Err(ResultCode::Forbidden.into());
                    }
                    act(tx, None, value, stamp)
                })
                .await
            }
        }
    }

    /// Reads something about an area's recipients, if whoever asks may.
    async fn read_in<T, F>(&self, area: NotificationArea, read: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Reader<'_>, Option<ProjectId>) -> Result<T, Refusal> + Send + 'static,
    {
        const OPERATION: Operation = Operation::ReadNotifications;
        match area {
            NotificationArea::Project(request) => {
                self.run(request, OPERATION, Right::Change, move |service, scope| {
                    let project = scope.project.id;
                    Box::pin(async move { service.store().read(move |reader| read(reader, Some(project))).await })
                })
                .await
            }
            NotificationArea::Installation(visit) => {
                self.require_administrator(&visit, OPERATION).await?;
                let found = self.store().read(move |reader| read(reader, None)).await?;
                let record = event_without_project(self, visit.id, &visit.caller, Actor::Account(visit.session.login.clone()), OPERATION);
                self.store().audit(record, Uses::default()).await?;
                Ok(found)
            }
        }
    }

    /// Refuses, with a record, whoever doesn't administer the installation.
    async fn require_administrator(&self, visit: &Visit, operation: Operation) -> Result<(), Refusal> {
        if visit.session.administrator && !visit.session.must_change_password {
            return Ok(());
        }
        let mut record = event_without_project(self, visit.id, &visit.caller, Actor::Account(visit.session.login.clone()), operation);
        record.result_code = ResultCode::Forbidden.number();
        self.store().audit(record, Uses::default()).await?;
        Err(ResultCode::Forbidden.into())
    }
}
