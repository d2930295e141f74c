//! Notifications: what is told, to whom, and how it stands with each message.

mod event;
mod target;

use super::clock::Timestamp;
use super::ids::{MessageId, ProjectId, RecipientId};
use super::key::Stamp;

pub use event::{Audience, EventKind, Fact, FactValue, NotificationEvent, Subject};
pub use target::{TARGET_MAX_CHARS, Target, is_mail_address};

/// The most recipients of a project, or of the installation.
pub const RECIPIENTS_MAX: i64 = 20;
/// The most messages of a recipient that wait or are parked; what comes beyond is counted, not kept.
pub const WAITING_MAX: i64 = 500;
/// How many more are kept of what nobody should miss because of everything else: that approval was turned off alone, that the token
/// or the audit log is in trouble.
pub const ALARMS_RESERVE: i64 = 50;
/// The most characters of one of a message's facts; what is longer is cut off, since nothing is left undone because it would say too much.
pub const FACT_MAX_CHARS: usize = 300;
/// The most messages of a recipient that were sent and are kept.
pub const SENT_MAX: i64 = 1_000;

/// Somebody who is told.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Its row.
    pub id: RecipientId,
    /// The project; none for the installation.
    pub project: Option<ProjectId>,
    /// Where messages go.
    pub target: Target,
    /// Of what.
    pub events: Vec<EventKind>,
    /// Whether messages are made and sent.
    pub enabled: bool,
    /// Messages that were not kept because [`WAITING_MAX`] waited.
    pub dropped: i64,
    /// Who made it, and when.
    pub created: Stamp,
}

/// How it stands with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageState {
    /// It is to be sent.
    Queued,
    /// It was sent.
    Sent,
    /// Sending was given up.
    Parked,
}

impl MessageState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Sent => "SENT",
            Self::Parked => "PARKED",
        }
    }

    /// The state that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Queued, Self::Sent, Self::Parked].into_iter().find(|state| state.as_str() == word)
    }
}

/// A message to one recipient.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its name, the same at each attempt.
    pub id: MessageId,
    /// To whom.
    pub recipient: RecipientId,
    /// What it tells of.
    pub event: EventKind,
    /// The name of the project, where it happened in one.
    pub project: Option<String>,
    /// What it says, as texts: name and value.
    pub facts: Vec<(String, String)>,
    /// When it happened.
    pub happened: Timestamp,
    /// How it stands with it.
    pub state: MessageState,
    /// How often sending was begun.
    pub attempts: i64,
    /// When it is tried next.
    pub due: Timestamp,
    /// Why the last attempt failed.
    pub problem: Option<String>,
    /// When it was sent or parked.
    pub done: Option<Timestamp>,
}
