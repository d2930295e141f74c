//! Trouble with the audit log, told while it lasts: past the outbox, which can't be written then either.
//!
//! Each process remembers who wants to hear of it, with their webhooks' secrets, as long as database and token are well. A few tries and no
//! promise: the outbox tells it for sure when the trouble is over, to those who were reached as well.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};

use super::super::Service;
use super::super::provisioning::random_id;
use super::super::refusal::Refusal;
use super::words;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{MessageId, RecipientId};
use crate::domain::notification::{Message, MessageState, NotificationEvent, Recipient};
use crate::domain::secret::SecretBytes;
use crate::store::facts_as_told;
use crate::telemetry::metrics::Delivery;

/// Recipients who are told at a time.
const PARALLEL: usize = 8;

/// A recipient, with a webhook's secret.
type Ready = (Recipient, Option<SecretBytes>);

/// Who is told at once, and what is told now.
#[derive(Debug, Default)]
pub(in crate::service) struct AtOnce {
    /// The installation's recipients, as last read.
    ready: Vec<Ready>,
    /// The message of the trouble that lasts, and whom it reached.
    under_way: Option<(MessageId, HashSet<RecipientId>)>,
}

impl AtOnce {
    /// The trouble is over: the next one has a message of its own.
    pub(super) fn end(&mut self) {
        self.under_way = None;
    }

    /// The message's name, the same at each try, and whom it did not reach yet.
    fn next_try(&mut self, event: &NotificationEvent) -> Result<(MessageId, Vec<Ready>), Refusal> {
        let (id, reached) = match &self.under_way {
            Some((id, reached)) => (*id, reached.clone()),
            None => (MessageId::from_bytes(random_id()?), HashSet::new()),
        };
        let kind = event.kind();
        let whom = self.ready.iter().filter(|(recipient, _)| recipient.events.contains(&kind) && !reached.contains(&recipient.id));
        let whom = whom.cloned().collect();
        self.under_way = Some((id, reached));
        Ok((id, whom))
    }

    fn note_reached(&mut self, recipient: RecipientId) {
        if let Some((_, reached)) = &mut self.under_way {
            reached.insert(recipient);
        }
    }
}

impl Service {
    /// Remembers the installation's recipients. Their webhooks' secrets are opened now: when the token is in trouble, or the database, it is late
    /// for that.
    pub(super) async fn ready_recipients(&self) -> Result<(), Refusal> {
        let recipients = self.store().read::<_, Refusal, _>(|reader| Ok(reader.recipients(None)?)).await?;
        let mut ready = Vec::new();
        for recipient in recipients.into_iter().filter(|recipient| recipient.enabled) {
            match self.open_secret(&recipient).await {
                Ok(secret) => ready.push((recipient, secret)),
                Err(refusal) => tracing::debug!(recipient = %recipient.id, ?refusal, "a webhook's secret can't be opened now"),
            }
        }
        self.outbox().at_once.lock().ready = ready;
        Ok(())
    }

    /// One try to tell the installation's recipients, without the database.
    pub(super) async fn tell_at_once(&self, event: &NotificationEvent, happened: Timestamp) {
        let next = self.outbox().at_once.lock().next_try(event);
        let Ok((id, whom)) = next else { return };
        let tries = stream::iter(whom).map(|(recipient, secret)| async move {
            let now = self.agreed_time();
            let message = Message {
                id,
                recipient: recipient.id,
                event: event.kind(),
                project: None,
                facts: facts_as_told(event),
                happened,
                state: MessageState::Queued,
                attempts: 1,
                due: now,
                problem: None,
                done: None,
            };
            let told = self.courier().deliver(&recipient.target, secret.as_ref(), &words::parcel(&message), now).await;
            self.metrics().notification(recipient.target.channel(), if told.is_ok() { Delivery::Sent } else { Delivery::Failed });
            match told {
                Ok(()) => self.outbox().at_once.lock().note_reached(recipient.id),
                Err(problem) => tracing::warn!(recipient = %recipient.id, %problem, "trouble with the audit log could not be told at once"),
            }
        });
        tries.buffer_unordered(PARALLEL).for_each(|()| async {}).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::Stamp;
    use crate::domain::notification::{EventKind, Target};

    fn recipient(id: i64, event: EventKind) -> Ready {
        let created = Stamp { user: "alice".to_owned(), at: Timestamp::from_micros(0) };
        let target = Target::Mail(format!("r{id}@example.com"));
        (Recipient { id: RecipientId(id), project: None, target, events: vec![event], enabled: true, dropped: 0, created }, None)
    }

    #[test]
    fn who_was_reached_is_not_told_again_before_the_next_trouble() {
        let ready = vec![recipient(1, EventKind::AuditTrouble), recipient(2, EventKind::AuditTrouble), recipient(3, EventKind::TokenTrouble)];
        let mut at_once = AtOnce { ready, under_way: None };
        let event = NotificationEvent::AuditTrouble { node: "one".to_owned(), since: Timestamp::from_micros(0), until: None };
        let mut next = || {
            let (id, whom) = at_once.next_try(&event).unwrap();
            let whom: Vec<i64> = whom.iter().map(|(recipient, _)| recipient.id.0).collect();
            at_once.note_reached(RecipientId(1));
            if whom == [2] {
                at_once.end();
            }
            (id, whom)
        };
        let (first, second, third) = (next(), next(), next());
        assert_eq!([first.1, second.1, third.1], [vec![1, 2], vec![2], vec![1, 2]]);
        assert!(first.0 == second.0 && second.0 != third.0);
    }
}
