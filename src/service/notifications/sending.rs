//! Sending what is in the outbox.
//!
//! | step | a crash here leaves | healed by |
//! |---|---|---|
//! | 1. the row `QUEUED`, in the transaction of what it tells of | a message that is due | the next process, or another node |
//! | 2. taken: a lease, and the attempt counted | the same, with a lease | this node when it starts again, any node when the lease ends |
//! | 3. sent | the same: it is sent once more, under the same name | the same |
//! | 4. the row `SENT` | nothing | |
//!
//! A message that crashes whoever sends it is given up after [`ATTEMPTS_MAX`] attempts like any other.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::super::Service;
use super::super::refusal::Refusal;
use super::at_once::AtOnce;
use super::turns::Turns;
use super::watch::Trouble;
use super::words;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{MessageId, RecipientId};
use crate::domain::notification::Message;
use crate::domain::secret::SecretBytes;
use crate::store::{OutboxCounts, TakenMessage};
use crate::telemetry::metrics::Delivery;

/// Recipients that are looked at, at a time.
const DUE_READ_MAX: i64 = 500;
/// The most messages that one recipient gets before others have their turn.
const TURN_MAX: usize = 50;
/// How often an attempt that is under way looks whether the service stops …
const STOP_LOOK: Duration = Duration::from_millis(200);
/// … and how long it may go on then: one who hangs doesn't keep the service from stopping.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How many test messages are under way at a time, of all projects: a test is a way to make the service connect somewhere.
const TESTS_AT_ONCE: usize = 2;
/// How long whoever sends a message is trusted to be at it: far longer than an attempt and its two changes may take.
const LEASE: Duration = Duration::from_secs(120);
/// How long after the first failure it is tried again; twice as long after each that follows …
const BACKOFF_FIRST: Duration = Duration::from_secs(15);
/// … up to this. Some is added by chance, so that what failed together isn't tried again together.
const BACKOFF_MAX: Duration = Duration::from_secs(2 * 3_600);
/// A message is given up after so many attempts, which take about a day …
const ATTEMPTS_MAX: i64 = 20;
/// … or when it is so old.
const AGE_MAX: Duration = Duration::from_secs(3 * 86_400);
/// How long messages are kept that were sent.
const SENT_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// How long messages are kept that were given up.
const PARKED_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// How many times one run asks the store to tidy: what is left then waits for the next run.
const TIDY_ROUNDS_MAX: usize = 20;
/// The most webhooks' secrets that are kept ready. They let a message about the token be signed while the token can't be used.
const SECRETS_MAX: usize = 1_000;
/// What is told of messages that were given up without another attempt.
const TOO_OLD: &str = "it could not be sent for 3 days";
const TOO_OFTEN: &str = "sending it was begun 20 times and never ended";
/// What is told of an attempt that was broken off.
const STOPPED: &str = "the service stopped before there was an answer";

/// How it stands with the outbox, as last looked at.
#[derive(Debug, Clone, Copy)]
pub struct OutboxState {
    /// Messages that are to be sent.
    pub queued: i64,
    /// Messages that were given up.
    pub parked: i64,
    /// How long the oldest of those that are to be sent has waited.
    pub oldest: Duration,
}

/// What a process knows of the outbox.
#[derive(Debug)]
pub(in crate::service) struct Outbox {
    /// Whether the leases of this node's earlier process were ended.
    released: AtomicBool,
    secrets: Mutex<HashMap<RecipientId, SecretBytes>>,
    counts: arc_swap::ArcSwapOption<OutboxCounts>,
    turns: Turns,
    pub(super) tests: Semaphore,
    pub(super) trouble: Mutex<Trouble>,
    pub(super) at_once: Mutex<AtOnce>,
    /// For which login names a lock-out was told, and when.
    pub(super) lockouts: Mutex<HashMap<String, Timestamp>>,
}

impl Outbox {
    pub(in crate::service) fn new() -> Self {
        Self {
            released: AtomicBool::new(false),
            secrets: Mutex::default(),
            counts: arc_swap::ArcSwapOption::empty(),
            turns: Turns::default(),
            tests: Semaphore::new(TESTS_AT_ONCE),
            trouble: Mutex::default(),
            at_once: Mutex::default(),
            lockouts: Mutex::default(),
        }
    }

    pub(super) fn secret(&self, recipient: RecipientId) -> Option<SecretBytes> {
        self.secrets.lock().get(&recipient).cloned()
    }

    pub(super) fn keep_secret(&self, recipient: RecipientId, secret: SecretBytes) {
        let mut secrets = self.secrets.lock();
        if secrets.len() >= SECRETS_MAX {
            secrets.clear();
        }
        secrets.insert(recipient, secret);
    }

    pub(super) fn forget_secret(&self, recipient: RecipientId) {
        self.secrets.lock().remove(&recipient);
    }
}

/// How long after its `attempts`th failure a message is tried again; `chance` from 0 to 255 adds up to a quarter.
fn backoff(attempts: i64, chance: u8) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = BACKOFF_FIRST.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(BACKOFF_MAX);
    pause.saturating_add((pause / 4 / 255).saturating_mul(chance.into()))
}

/// When a message that failed is tried again, or that it is given up.
fn next_attempt(message: &Message, now: Timestamp, chance: u8) -> Result<Timestamp, Timestamp> {
    let since = message.done.map_or(message.happened, |resent| resent.max(message.happened));
    let due = now.plus(backoff(message.attempts, chance));
    if message.attempts >= ATTEMPTS_MAX || due.since(since) > AGE_MAX { Err(now) } else { Ok(due) }
}

impl Service {
    /// Has what is due sent, by one task for each recipient who isn't served yet. Waits for none of them: whoever hangs, or takes long, keeps
    /// neither others nor the next run waiting.
    pub async fn send_notifications(&self) -> Result<(), Refusal> {
        if !self.outbox().released.load(Ordering::Acquire) {
            self.store().change::<_, Refusal, _>(|tx| Ok(tx.release_messages()?)).await?;
            self.outbox().released.store(true, Ordering::Release);
        }
        let now = self.agreed_time();
        let due = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.due_recipients(now, DUE_READ_MAX)?)).await?;
        for (recipient, project) in due {
            if self.tasks().is_closed() {
                break;
            }
            let Some(turn) = self.outbox().turns.begin(recipient, project) else { continue };
            let service = self.clone();
            self.tasks().spawn(async move {
                let served = AssertUnwindSafe(service.serve(recipient)).catch_unwind().await;
                if let Err(refusal) = served.unwrap_or_else(|_| Err(Refusal::unavailable("sending a notification panicked"))) {
                    tracing::error!(%recipient, ?refusal, "notifications could not be sent; the next run tries again");
                    service.metrics().background_failed("send_notifications");
                }
                drop(turn);
            });
        }
        Ok(())
    }

    /// Sends a recipient what is due, one message after the other, until one can't be sent. That is no failure of this.
    async fn serve(&self, recipient: RecipientId) -> Result<(), Refusal> {
        for _ in 0..TURN_MAX {
            let now = self.agreed_time();
            let due = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.due_message(recipient, now)?)).await?;
            let Some(id) = due else { break };
            if self.tasks().is_closed() || !self.deliver_message(id).await? {
                break;
            }
        }
        Ok(())
    }

    /// One attempt at one message, if nobody else is at it; whether it was sent.
    async fn deliver_message(&self, id: MessageId) -> Result<bool, Refusal> {
        // All nodes agree on the time of leases.
        let now = self.agreed_time();
        let lease_until = now.plus(LEASE);
        let taken = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.take_message(id, now, lease_until)?)).await?;
        let Some(TakenMessage { message, recipient }) = taken else { return Ok(false) };
        let channel = recipient.target.channel();
        if message.attempts > ATTEMPTS_MAX {
            return self.note_failure(message, channel, TOO_OFTEN.to_owned()).await.map(|()| false);
        }
        let secret = match self.open_secret(&recipient).await {
            Ok(secret) => secret,
            Err(refusal) => {
                tracing::warn!(%id, ?refusal, "a webhook's secret can't be opened now");
                return self.note_failure(message, channel, "the webhook's secret can't be opened: is the token there?".to_owned()).await.map(|()| false);
            }
        };
        let (parcel, at) = (words::parcel(&message), self.agreed_time());
        let attempt = self.courier().deliver(&recipient.target, secret.as_ref(), &parcel, at);
        let Some(outcome) = self.unless_stopped(attempt).await else {
            let now = self.agreed_time();
            return self.store().change::<_, Refusal, _>(move |tx| Ok(tx.message_failed(&message, STOPPED, Ok(now))?)).await.map(|()| false);
        };
        match outcome {
            Ok(()) => {
                let now = self.agreed_time();
                self.metrics().notification(channel, Delivery::Sent);
                self.store().change::<_, Refusal, _>(move |tx| Ok(tx.message_sent(&message, now)?)).await?;
                Ok(true)
            }
            Err(problem) => self.note_failure(message, channel, problem.to_string()).await.map(|()| false),
        }
    }

    /// What an attempt comes to; none where the service stops first.
    async fn unless_stopped<T>(&self, attempt: impl Future<Output = T>) -> Option<T> {
        let stopping = async {
            while !self.tasks().is_closed() {
                tokio::time::sleep(STOP_LOOK).await;
            }
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            outcome = attempt => Some(outcome),
            () = stopping => None,
        }
    }

    async fn note_failure(&self, message: Message, channel: &'static str, problem: String) -> Result<(), Refusal> {
        let mut chance = [0];
        // Without chance it is tried again all the same.
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut chance).ok();
        let due = next_attempt(&message, self.agreed_time(), chance[0]);
        self.metrics().notification(channel, if due.is_ok() { Delivery::Failed } else { Delivery::Parked });
        let (id, recipient, attempts) = (message.id, message.recipient, message.attempts);
        tracing::warn!(%id, %recipient, attempts, %problem, given_up = due.is_err(), "a notification could not be sent");
        self.store().change::<_, Refusal, _>(move |tx| Ok(tx.message_failed(&message, &problem, due)?)).await
    }

    /// Gives up what is too old, and forgets what is over.
    pub async fn tidy_notifications(&self) -> Result<(), Refusal> {
        self.require_right_clock().await?;
        let now = self.agreed_time();
        let (older_than, over) = (now.minus(AGE_MAX), (now.minus(SENT_KEPT), now.minus(PARKED_KEPT)));
        for _ in 0..TIDY_ROUNDS_MAX {
            if self.store().change::<_, Refusal, _>(move |tx| Ok(tx.tidy_outbox(now, older_than, over, TOO_OLD)?)).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Looks how full the outbox is.
    pub async fn count_notifications(&self) -> Result<(), Refusal> {
        let counts = self.store().read::<_, Refusal, _>(|reader| Ok(reader.outbox_counts()?)).await?;
        self.outbox().counts.store(Some(Arc::new(counts)));
        Ok(())
    }

    /// How it stands with the outbox, as last looked at; never waits. `None` before the first look.
    pub fn outbox_state(&self) -> Option<OutboxState> {
        let counts = self.outbox().counts.load();
        let oldest = |oldest: Option<Timestamp>| oldest.map_or(Duration::ZERO, |oldest| self.now().since(oldest));
        counts.as_deref().map(|counts| OutboxState { queued: counts.queued, parked: counts.parked, oldest: oldest(counts.oldest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notification::{EventKind, MessageState};

    const DAY: Duration = Duration::from_secs(86_400);

    fn failed(attempts: i64, happened: Timestamp) -> Message {
        Message {
            id: MessageId::from_bytes([1; 16]),
            recipient: RecipientId(1),
            event: EventKind::Rotated,
            project: None,
            facts: Vec::new(),
            happened,
            state: MessageState::Queued,
            attempts,
            due: happened,
            problem: None,
            done: None,
        }
    }

    #[test]
    fn pauses_double_up_to_two_hours_with_a_quarter_of_chance() {
        let pauses = [1, 2, 3, 9, 10, 11, 20, i64::MAX].map(|attempts| backoff(attempts, 0).as_secs());
        assert_eq!(pauses, [15, 30, 60, 3_840, 7_200, 7_200, 7_200, 7_200]);
        assert!(backoff(1, 255) > Duration::from_millis(18_700) && backoff(1, 255) <= Duration::from_millis(18_750));
    }

    #[test]
    fn a_message_is_given_up_by_number_or_age_and_a_day_is_not_too_long() {
        let (mut now, happened) = (Timestamp::from_micros(0), Timestamp::from_micros(0));
        for attempts in 1..ATTEMPTS_MAX {
            now = next_attempt(&failed(attempts, happened), now, 255).expect("another attempt");
        }
        assert!(now.since(happened) > DAY * 3 / 4 && now.since(happened) < DAY * 2, "{now:?}");
        assert_eq!(next_attempt(&failed(ATTEMPTS_MAX, happened), now, 0), Err(now));
        let late = happened.plus(AGE_MAX);
        assert_eq!(next_attempt(&failed(1, happened), late, 0), Err(late));
        let resent = Message { done: Some(late), ..failed(1, happened) };
        assert!(next_attempt(&resent, late, 0).is_ok(), "it counts from when it was sent again");
    }
}
