//! The messages to a recipient: what waits, what was given up, what was sent.

use super::super::Service;
use super::super::refusal::Refusal;
use super::recipients::named;
use super::{NotificationArea, Prepared};
use crate::domain::audit::Operation;
use crate::domain::ids::{MessageId, ProjectId, RecipientId};
use crate::domain::notification::{Message, MessageState, Recipient};
use crate::domain::result_code::ResultCode;
use crate::store::Tx;

/// The most messages of each state that are shown.
pub const RECENT_MAX: i64 = 20;

/// A recipient with the newest messages to it.
#[derive(Debug, Clone)]
pub struct RecipientMessages {
    /// The recipient.
    pub recipient: Recipient,
    /// Those that were given up, then those that wait, then those that were sent: of each the newest, [`RECENT_MAX`] at most.
    pub messages: Vec<Message>,
}

/// A message to a recipient of that area.
fn named_message(tx: &mut Tx<'_>, project: Option<ProjectId>, recipient: RecipientId, id: MessageId) -> Result<(), Refusal> {
    named(tx, project, recipient)?;
    let found = tx.message(id)?.filter(|message| message.recipient == recipient);
    found.map(drop).ok_or(ResultCode::UrlNotFound.into())
}

impl Service {
    /// A recipient and the newest messages to it.
    pub async fn recipient_messages(&self, area: NotificationArea, id: RecipientId) -> Result<RecipientMessages, Refusal> {
        self.read_in(area, move |reader, project| {
            let recipient = named(reader, project, id)?;
            let mut messages = Vec::new();
            for state in [MessageState::Parked, MessageState::Queued, MessageState::Sent] {
                messages.extend(reader.messages(id, state, RECENT_MAX)?);
            }
            Ok(RecipientMessages { recipient, messages })
        })
        .await
    }

    /// One message to a recipient.
    pub async fn notification(&self, area: NotificationArea, recipient: RecipientId, id: MessageId) -> Result<Message, Refusal> {
        self.read_in(area, move |reader, project| {
            named(reader, project, recipient)?;
            let found = reader.message(id)?.filter(|message| message.recipient == recipient);
            Ok(found.ok_or(ResultCode::UrlNotFound)?)
        })
        .await
    }

    /// Has a message that was given up, or waits, sent now.
    pub async fn resend_message(&self, area: NotificationArea, recipient: RecipientId, id: MessageId) -> Result<(), Refusal> {
        let prepare = Box::pin(async move { Ok(Prepared::new((), format!("message {id} to recipient {recipient}"))) });
        self.change_in(area, Operation::ResendNotification, prepare, move |tx, project, (), stamp| {
            named_message(tx, project, recipient, id)?;
            Ok(tx.resend_message(id, stamp.at)?)
        })
        .await
    }

    /// Throws a message away that was not sent.
    pub async fn discard_message(&self, area: NotificationArea, recipient: RecipientId, id: MessageId) -> Result<(), Refusal> {
        let prepare = Box::pin(async move { Ok(Prepared::new((), format!("message {id} to recipient {recipient}"))) });
        self.change_in(area, Operation::DiscardNotification, prepare, move |tx, project, (), _| {
            named_message(tx, project, recipient, id)?;
            Ok(tx.discard_message(id)?)
        })
        .await
    }
}
