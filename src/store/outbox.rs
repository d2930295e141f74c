//! The outbox: messages to recipients, from the change that they tell of until they are sent or given up.
//!
//! What a crash leaves: a row comes with its change or not at all. Whoever sends takes it by compare-and-set, with a lease; a process that dies
//! between sending and saying so leaves a row whose lease ends, and which is sent again under the same name.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat};
use diesel::prelude::*;
use ring::rand::SecureRandom as _;

use super::dialect;
use super::error::StoreError;
use super::recipients::{self, recipient};
use super::rows::{hex, id, known, time};
use super::schema::{notification_marks, notification_messages, notification_recipients};
use super::unit::{Reader, Tx};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{MessageId, ProjectId, RecipientId};
use crate::domain::notification::{
    ALARMS_RESERVE, EventKind, FACT_MAX_CHARS, Fact, FactValue, Message, MessageState, NotificationEvent, Recipient, SENT_MAX, WAITING_MAX,
};

/// The most rows that one change deletes or parks.
const TIDIED_AT_ONCE: i64 = 500;
/// The most recipients whose sent messages beyond [`SENT_MAX`] one change deletes.
const CUT_AT_ONCE: i64 = 20;

#[derive(Queryable)]
struct Row {
    id: String,
    recipient: i64,
    event: String,
    project: String,
    facts: String,
    happened: i64,
    state: String,
    attempts: i64,
    due: i64,
    problem: Option<String>,
    done: Option<i64>,
}

macro_rules! messages {
    () => {
        notification_messages::table.select((
            notification_messages::id,
            notification_messages::recipient_id,
            notification_messages::event,
            notification_messages::project,
            notification_messages::facts,
            notification_messages::happened_at,
            notification_messages::state,
            notification_messages::attempts,
            notification_messages::due_at,
            notification_messages::problem,
            notification_messages::done_at,
        ))
    };
}

const WHAT: &str = "notification";

fn message(row: Row) -> Result<Message, StoreError> {
    Ok(Message {
        id: id(&row.id, WHAT)?,
        recipient: RecipientId(row.recipient),
        event: known(EventKind::parse(&row.event), WHAT)?,
        project: Some(row.project).filter(|name| !name.is_empty()),
        facts: serde_json::from_str(&row.facts).map_err(|_| StoreError::Corrupt { what: WHAT })?,
        happened: Timestamp::from_micros(row.happened),
        state: known(MessageState::parse(&row.state), WHAT)?,
        attempts: row.attempts,
        due: Timestamp::from_micros(row.due),
        problem: row.problem,
        done: time(row.done),
    })
}

/// What an event says, as it is kept and sent: names and texts, times in UTC (RFC 3339).
pub fn facts_as_told(event: &NotificationEvent) -> Vec<(String, String)> {
    let text = |(name, value): Fact| match value {
        FactValue::Text(text) => (name.to_owned(), text.chars().take(FACT_MAX_CHARS).collect()),
        FactValue::Time(at) => {
            let date = DateTime::from_timestamp(at.seconds(), 0).unwrap_or_default();
            (name.to_owned(), date.to_rfc3339_opts(SecondsFormat::Secs, true))
        }
    };
    event.facts().into_iter().map(text).collect()
}

fn new_id() -> Result<MessageId, StoreError> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| StoreError::failed("no random numbers"))?;
    Ok(MessageId::from_bytes(bytes))
}

/// A message that this process sends, and who gets it.
#[derive(Debug, Clone)]
pub struct TakenMessage {
    /// The message; this attempt is counted.
    pub message: Message,
    /// Who gets it.
    pub recipient: Recipient,
}

/// How full the outbox is.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutboxCounts {
    /// Messages that are to be sent.
    pub queued: i64,
    /// Messages that were given up.
    pub parked: i64,
    /// When the oldest happened of those that are to be sent.
    pub oldest: Option<Timestamp>,
}

impl Reader<'_> {
    /// The recipients to whom something is due at `now` that nobody sends, and their projects; those first whose message waits longest. However
    /// much waits for one of them, it is there once.
    pub fn due_recipients(&mut self, now: Timestamp, limit: i64) -> Result<Vec<(RecipientId, Option<ProjectId>)>, StoreError> {
        let due: Vec<(i64, Option<i64>)> = notification_messages::table
            .inner_join(notification_recipients::table.on(notification_recipients::id.eq(notification_messages::recipient_id)))
            .filter(notification_recipients::enabled.eq(true))
            .filter(notification_messages::state.eq(MessageState::Queued.as_str()).and(notification_messages::due_at.le(now.micros())))
            .filter(notification_messages::lease_until.is_null().or(notification_messages::lease_until.le(now.micros())))
            .group_by(notification_messages::recipient_id)
            .order(diesel::dsl::min(notification_messages::due_at))
            .limit(limit)
            .select((notification_messages::recipient_id, diesel::dsl::min(notification_messages::due_at)))
            .load(self.db)?;
        let projects: HashMap<i64, Option<i64>> = notification_recipients::table
            .filter(notification_recipients::id.eq_any(due.iter().map(|(id, _)| *id).collect::<Vec<_>>()))
            .select((notification_recipients::id, notification_recipients::project_id))
            .load(self.db)?
            .into_iter()
            .collect();
        Ok(due.into_iter().map(|(id, _)| (RecipientId(id), projects.get(&id).copied().flatten().map(ProjectId))).collect())
    }

    /// The message to a recipient that is due at `now`, that nobody sends, and that waits longest.
    pub fn due_message(&mut self, recipient: RecipientId, now: Timestamp) -> Result<Option<MessageId>, StoreError> {
        let name: Option<String> = notification_messages::table
            .filter(notification_messages::recipient_id.eq(recipient.0).and(notification_messages::state.eq(MessageState::Queued.as_str())))
            .filter(notification_messages::due_at.le(now.micros()))
            .filter(notification_messages::lease_until.is_null().or(notification_messages::lease_until.le(now.micros())))
            .order((notification_messages::due_at, notification_messages::happened_at, notification_messages::id))
            .select(notification_messages::id)
            .first(self.db)
            .optional()?;
        name.map(|name| id(&name, WHAT)).transpose()
    }

    /// A recipient's messages of a state, newest first.
    pub fn messages(&mut self, recipient: RecipientId, state: MessageState, limit: i64) -> Result<Vec<Message>, StoreError> {
        let rows: Vec<Row> = messages!()
            .filter(notification_messages::recipient_id.eq(recipient.0).and(notification_messages::state.eq(state.as_str())))
            .order((notification_messages::happened_at.desc(), notification_messages::id))
            .limit(limit)
            .load(self.db)?;
        rows.into_iter().map(message).collect()
    }

    /// A message.
    pub fn message(&mut self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let row: Option<Row> = messages!().filter(notification_messages::id.eq(hex(id.as_bytes()))).first(self.db).optional()?;
        row.map(message).transpose()
    }

    /// How full the outbox is.
    pub fn outbox_counts(&mut self) -> Result<OutboxCounts, StoreError> {
        let of_state = |state: MessageState| notification_messages::table.filter(notification_messages::state.eq(state.as_str()));
        let queued = of_state(MessageState::Queued).count().get_result(self.db)?;
        let oldest: Option<i64> = of_state(MessageState::Queued).select(diesel::dsl::min(notification_messages::happened_at)).first(self.db)?;
        Ok(OutboxCounts { queued, parked: of_state(MessageState::Parked).count().get_result(self.db)?, oldest: time(oldest) })
    }

    /// Whether something of that mark was told.
    pub fn was_told(&mut self, mark: &str) -> Result<bool, StoreError> {
        let found: Option<i64> = notification_marks::table.find(mark).select(notification_marks::keep_until).first(self.db).optional()?;
        Ok(found.is_some())
    }
}

impl Tx<'_> {
    /// Puts a message to each recipient who wants to hear of the event into the outbox, in this transaction: of the project where it happens,
    /// or of the installation.
    ///
    /// This is the door for whoever changes something that people want to hear of: it is called in the closure of `Store::change` that makes
    /// the change and its record, once the change is sure to be made, with the event (names, IDs, times and who did it, never data), the
    /// project where it happens (none for the installation) and the time of the change's stamp. An approval, say:
    ///
    /// ```ignore
    /// let event = NotificationEvent::ApprovalRequested { request: request.to_string(), key_store: Some(name), by: stamp.user.clone() };
    /// tx.notify(Some(project), &event, stamp.at)?;
    /// ```
    ///
    /// Nothing is sent here and nobody is waited for. Without a recipient it costs a read of an index. It is never a reason not to do what is
    /// told of: where too many messages wait already, they are counted instead; a recipient who goes at this moment gets none; texts that are
    /// too long are cut. An error is the database's alone, and must be passed on.
    pub fn notify(&mut self, project: Option<ProjectId>, event: &NotificationEvent, at: Timestamp) -> Result<(), StoreError> {
        let kind = event.kind();
        let mut wanted = Vec::new();
        if let Some(project) = project.filter(|_| kind.is_for(true)) {
            wanted.extend(self.recipients(Some(project))?);
        }
        if kind.is_for(false) {
            wanted.extend(self.recipients(None)?);
        }
        wanted.retain(|recipient| recipient.enabled && recipient.events.contains(&kind));
        if wanted.is_empty() {
            return Ok(());
        }
        let name = project.map(|project| self.project(project)).transpose()?.flatten().map(|project| project.name.to_string()).unwrap_or_default();
        let facts = serde_json::to_string(&facts_as_told(event)).map_err(|error| StoreError::failed(error.to_string()))?;
        for recipient in wanted {
            self.queue(recipient.id, kind, (&name, &facts), at)?;
        }
        Ok(())
    }

    fn queue(&mut self, recipient: RecipientId, kind: EventKind, (project, facts): (&str, &str), at: Timestamp) -> Result<(), StoreError> {
        // It may go at this moment, by another node: either it waits for this message, and takes it along, or this one isn't made.
        if !dialect::share_recipient(self.db, recipient.0)? {
            return Ok(());
        }
        let waiting: i64 = notification_messages::table
            .filter(notification_messages::recipient_id.eq(recipient.0))
            .filter(notification_messages::state.eq_any([MessageState::Queued.as_str(), MessageState::Parked.as_str()]))
            .count()
            .get_result(self.db)?;
        let most = if kind.is_alarm() { WAITING_MAX + ALARMS_RESERVE } else { WAITING_MAX };
        if waiting >= most {
            diesel::update(notification_recipients::table.find(recipient.0))
                .set(notification_recipients::dropped.eq(notification_recipients::dropped + 1))
                .execute(self.db)?;
            return Ok(());
        }
        diesel::insert_into(notification_messages::table)
            .values((
                notification_messages::id.eq(hex(new_id()?.as_bytes())),
                notification_messages::recipient_id.eq(recipient.0),
                notification_messages::event.eq(kind.as_str()),
                notification_messages::project.eq(project),
                notification_messages::facts.eq(facts),
                notification_messages::happened_at.eq(at.micros()),
                notification_messages::state.eq(MessageState::Queued.as_str()),
                notification_messages::attempts.eq(0),
                notification_messages::due_at.eq(at.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// The same, once for each `mark`, which is remembered until `keep_until`; whether it was now. `Exists` if another node tells it at this
    /// very moment.
    pub fn notify_once(
        &mut self,
        mark: &str,
        keep_until: Timestamp,
        project: Option<ProjectId>,
        event: &NotificationEvent,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.was_told(mark)? {
            return Ok(false);
        }
        diesel::insert_into(notification_marks::table)
            .values((notification_marks::mark.eq(mark), notification_marks::keep_until.eq(keep_until.micros())))
            .execute(self.db)?;
        self.notify(project, event, at)?;
        Ok(true)
    }

    /// Takes a message that is due, if nobody else sends it, until `lease_until`; counts the attempt.
    pub fn take_message(&mut self, message: MessageId, now: Timestamp, lease_until: Timestamp) -> Result<Option<TakenMessage>, StoreError> {
        let free = notification_messages::table
            .find(hex(message.as_bytes()))
            .filter(notification_messages::state.eq(MessageState::Queued.as_str()).and(notification_messages::due_at.le(now.micros())))
            .filter(notification_messages::lease_until.is_null().or(notification_messages::lease_until.le(now.micros())));
        let taken = diesel::update(free)
            .set((
                notification_messages::node.eq(Some(self.node)),
                notification_messages::lease_until.eq(Some(lease_until.micros())),
                notification_messages::attempts.eq(notification_messages::attempts + 1),
            ))
            .execute(self.reader.db)?;
        if taken == 0 {
            return Ok(None);
        }
        let message = known(self.message(message)?, WHAT)?;
        let row: Option<recipients::Row> = notification_recipients::table.find(message.recipient.0).select(recipients::COLUMNS).first(self.db).optional()?;
        let recipient = known(row.map(recipient).transpose()?, "recipient")?;
        Ok(recipient.enabled.then_some(TakenMessage { message, recipient }))
    }

    /// The message was sent. What else waits for the recipient, who can be reached, is due now.
    pub fn message_sent(&mut self, message: &Message, now: Timestamp) -> Result<(), StoreError> {
        // Whoever holds the lease by now: sent is sent.
        let row = notification_messages::table.find(hex(message.id.as_bytes())).filter(notification_messages::state.eq(MessageState::Queued.as_str()));
        diesel::update(row)
            .set((
                notification_messages::state.eq(MessageState::Sent.as_str()),
                notification_messages::lease_until.eq(None::<i64>),
                notification_messages::problem.eq(None::<String>),
                notification_messages::done_at.eq(Some(now.micros())),
            ))
            .execute(self.db)?;
        let later = notification_messages::table
            .filter(notification_messages::recipient_id.eq(message.recipient.0).and(notification_messages::state.eq(MessageState::Queued.as_str())))
            .filter(notification_messages::due_at.gt(now.micros()));
        diesel::update(later).set(notification_messages::due_at.eq(now.micros())).execute(self.db)?;
        Ok(())
    }

    /// Sending failed. The message is tried again when it is due, or parked where `due` is none; whatever else waits for the recipient waits at
    /// least as long, so that one who can't be reached keeps nobody else waiting. Nothing if another node has taken it over meanwhile.
    pub fn message_failed(&mut self, message: &Message, problem: &str, due: Result<Timestamp, Timestamp>) -> Result<(), StoreError> {
        let row = notification_messages::table
            .find(hex(message.id.as_bytes()))
            .filter(notification_messages::state.eq(MessageState::Queued.as_str()))
            .filter(notification_messages::node.eq(self.node).and(notification_messages::attempts.eq(message.attempts)));
        let (state, due_at, done_at) = match due {
            Ok(due) => (MessageState::Queued, due, None),
            Err(now) => (MessageState::Parked, now, Some(now.micros())),
        };
        let changed = diesel::update(row)
            .set((
                notification_messages::state.eq(state.as_str()),
                notification_messages::due_at.eq(due_at.micros()),
                notification_messages::lease_until.eq(None::<i64>),
                notification_messages::problem.eq(Some(problem)),
                notification_messages::done_at.eq(done_at),
            ))
            .execute(self.reader.db)?;
        if changed == 1 {
            let sooner = notification_messages::table
                .filter(notification_messages::recipient_id.eq(message.recipient.0).and(notification_messages::state.eq(MessageState::Queued.as_str())))
                .filter(notification_messages::due_at.lt(due_at.micros()));
            diesel::update(sooner).set(notification_messages::due_at.eq(due_at.micros())).execute(self.db)?;
        }
        Ok(())
    }

    /// Has a message that is parked, or waits, sent now, with all its attempts before it. `Stale` if it was sent or is gone.
    pub fn resend_message(&mut self, message: MessageId, now: Timestamp) -> Result<(), StoreError> {
        let row = notification_messages::table
            .find(hex(message.as_bytes()))
            .filter(notification_messages::state.eq_any([MessageState::Queued.as_str(), MessageState::Parked.as_str()]));
        let rows = diesel::update(row)
            .set((
                notification_messages::state.eq(MessageState::Queued.as_str()),
                notification_messages::attempts.eq(0),
                notification_messages::due_at.eq(now.micros()),
                // It counts from here, or its age would park it at once.
                notification_messages::done_at.eq(Some(now.micros())),
            ))
            .execute(self.db)?;
        super::rows::changed_one(rows, WHAT)
    }

    /// Throws a message away that was not sent. `Stale` if it was, or is gone.
    pub fn discard_message(&mut self, message: MessageId) -> Result<(), StoreError> {
        let row = notification_messages::table
            .find(hex(message.as_bytes()))
            .filter(notification_messages::state.eq_any([MessageState::Queued.as_str(), MessageState::Parked.as_str()]));
        let rows = diesel::delete(row).execute(self.db)?;
        super::rows::changed_one(rows, WHAT)
    }

    /// Ends the leases of this node's own earlier process: what that was at is sent again.
    pub fn release_messages(&mut self) -> Result<usize, StoreError> {
        let own = notification_messages::table
            .filter(notification_messages::node.eq(self.node).and(notification_messages::state.eq(MessageState::Queued.as_str())))
            .filter(notification_messages::lease_until.is_not_null());
        Ok(diesel::update(own).set(notification_messages::lease_until.eq(None::<i64>)).execute(self.reader.db)?)
    }

    /// Parks what has waited since before `older_than`, forgets what was sent before `sent_before` or parked before `parked_before`, what was sent
    /// beyond [`SENT_MAX`], and marks that are over, some at a time. Answers how many.
    pub fn tidy_outbox(
        &mut self,
        now: Timestamp,
        older_than: Timestamp,
        (sent_before, parked_before): (Timestamp, Timestamp),
        why: &str,
    ) -> Result<usize, StoreError> {
        let old: Vec<String> = notification_messages::table
            .filter(notification_messages::state.eq(MessageState::Queued.as_str()).and(notification_messages::happened_at.lt(older_than.micros())))
            .filter(notification_messages::done_at.is_null().or(notification_messages::done_at.lt(older_than.micros())))
            .filter(notification_messages::lease_until.is_null().or(notification_messages::lease_until.le(now.micros())))
            .order(notification_messages::happened_at)
            .limit(TIDIED_AT_ONCE)
            .select(notification_messages::id)
            .load(self.db)?;
        let mut tidied = diesel::update(notification_messages::table.filter(notification_messages::id.eq_any(old)))
            .set((
                notification_messages::state.eq(MessageState::Parked.as_str()),
                notification_messages::problem.eq(Some(why)),
                notification_messages::done_at.eq(Some(now.micros())),
            ))
            .execute(self.db)?;
        for (state, before) in [(MessageState::Sent, sent_before), (MessageState::Parked, parked_before)] {
            let over: Vec<String> = notification_messages::table
                .filter(notification_messages::state.eq(state.as_str()).and(notification_messages::done_at.lt(before.micros())))
                .limit(TIDIED_AT_ONCE)
                .select(notification_messages::id)
                .load(self.db)?;
            tidied += diesel::delete(notification_messages::table.filter(notification_messages::id.eq_any(over))).execute(self.db)?;
        }
        tidied += self.cut_sent()?;
        let marks: Vec<String> = notification_marks::table
            .filter(notification_marks::keep_until.lt(now.micros()))
            .limit(TIDIED_AT_ONCE)
            .select(notification_marks::mark)
            .load(self.db)?;
        Ok(tidied + diesel::delete(notification_marks::table.filter(notification_marks::mark.eq_any(marks))).execute(self.db)?)
    }

    /// Forgets the oldest of what was sent to recipients beyond [`SENT_MAX`], some at a time.
    fn cut_sent(&mut self) -> Result<usize, StoreError> {
        let many: Vec<(i64, i64)> = notification_messages::table
            .filter(notification_messages::state.eq(MessageState::Sent.as_str()))
            .group_by(notification_messages::recipient_id)
            .having(diesel::dsl::count_star().gt(SENT_MAX))
            .limit(CUT_AT_ONCE)
            .select((notification_messages::recipient_id, diesel::dsl::count_star()))
            .load(self.db)?;
        let mut cut = 0;
        for (recipient, sent) in many {
            let oldest: Vec<String> = notification_messages::table
                .filter(notification_messages::recipient_id.eq(recipient).and(notification_messages::state.eq(MessageState::Sent.as_str())))
                .order(notification_messages::happened_at)
                .limit((sent - SENT_MAX).min(TIDIED_AT_ONCE))
                .select(notification_messages::id)
                .load(self.db)?;
            cut += diesel::delete(notification_messages::table.filter(notification_messages::id.eq_any(oldest))).execute(self.db)?;
        }
        Ok(cut)
    }
}
