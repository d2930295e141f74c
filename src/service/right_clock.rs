//! The clock, before anything is done by it that can't be undone (`domain/clock_watch.rs` has the rules).

use std::time::Instant;

use parking_lot::Mutex;

use super::Service;
use super::refusal::Refusal;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::{BELIEVED_AFTER, ClockState, ClockWatch, GAP_MAX, JUMP_MAX, Look, SKEW_MAX};

/// Under which name it is kept when a process last believed its clock: microseconds since the Unix epoch, big-endian.
const BELIEVED: &str = "clock believed at";
/// Under which name, with the node's after it, it is kept whether that doubts its clock: one byte if it does.
const DOUBTED: &str = "clock doubted by ";

/// The clock as this process has seen it.
#[derive(Debug)]
pub(super) struct RightClock {
    /// The steady clock counts from here.
    origin: Instant,
    watch: Mutex<ClockWatch>,
}

impl Default for RightClock {
    fn default() -> Self {
        Self { origin: Instant::now(), watch: Mutex::new(ClockWatch::default()) }
    }
}

impl RightClock {
    /// What was thought of the clock at the last look.
    pub(super) fn state(&self) -> ClockState {
        self.watch.lock().state()
    }

    /// How far it was ahead of the database server's clock then, in microseconds.
    pub(super) fn skew_micros(&self) -> Option<i64> {
        self.watch.lock().skew_micros()
    }
}

impl Service {
    /// The latest that the time may be: what counts days from now counts from it.
    pub(super) fn latest_time(&self) -> Timestamp {
        self.0.clock_watch.watch.lock().latest(self.now())
    }

    /// The time that all nodes agree on, as far as a look every few seconds can have them: that of leases.
    pub(super) fn agreed_time(&self) -> Timestamp {
        self.0.clock_watch.watch.lock().agreed(self.now())
    }

    /// Refuses what this node would do by its clock while that and the database server's are too far apart.
    pub(super) async fn require_agreeing_clock(&self) -> Result<(), Refusal> {
        match self.look_at_clock().await? {
            ClockState::Right | ClockState::Doubted => Ok(()),
            ClockState::Skewed => Err(refused(ClockState::Skewed)),
        }
    }

    /// Refuses what destroys by the clock while there is any doubt about it.
    pub(super) async fn require_right_clock(&self) -> Result<(), Refusal> {
        match self.look_at_clock().await? {
            ClockState::Right => Ok(()),
            doubt @ (ClockState::Doubted | ClockState::Skewed) => Err(refused(doubt)),
        }
    }

    /// Keeps that the clock is believed now, for whoever starts next.
    pub(super) async fn note_right_clock(&self) -> Result<(), Refusal> {
        if self.look_at_clock().await? != ClockState::Right {
            return Ok(());
        }
        let now = self.now().micros().to_be_bytes();
        self.store().change::<_, Refusal, _>(move |tx| Ok(tx.put_setting(BELIEVED, &now)?)).await
    }

    pub(super) async fn look_at_clock(&self) -> Result<ClockState, Refusal> {
        let before = self.now();
        let doubted = format!("{DOUBTED}{}", self.0.settings.node);
        let name = doubted.clone();
        let read = self.store().read::<_, Refusal, _>(move |reader| Ok((reader.server_clock()?, reader.setting(BELIEVED)?, reader.setting(&name)?)));
        let (reference, believed, was_doubted) = read.await?;
        let was_doubted = was_doubted.is_some_and(|kept| !kept.is_empty());
        let believed = believed.and_then(|bytes| bytes.try_into().ok()).map(|bytes| Timestamp::from_micros(i64::from_be_bytes(bytes)));
        let clock = &self.0.clock_watch;
        let (was, is, is_doubted) = {
            let mut watch = clock.watch.lock();
            let look = Look { before, reference, after: self.now(), steady: clock.origin.elapsed(), believed, doubted: was_doubted };
            (watch.state(), watch.look(&look), watch.is_doubted())
        };
        match is {
            _ if was == is => {}
            ClockState::Right => tracing::info!("the clock is believed again"),
            ClockState::Doubted => tracing::error!(
                jump_max_s = JUMP_MAX.as_secs(),
                gap_max_s = GAP_MAX.as_secs(),
                believed_after_s = BELIEVED_AFTER.as_secs(),
                "the clock jumped, or the service was down for long: nothing is destroyed by the clock for a while; is it set right?"
            ),
            ClockState::Skewed => tracing::error!(
                skew_max_s = SKEW_MAX.as_secs(),
                skew_us = clock.skew_micros(),
                "this machine's clock and the database server's are too far apart: nothing is done by the clock until one of them is set right"
            ),
        }
        if is_doubted != was_doubted {
            // A restart must not make an end of it.
            let kept: &[u8] = if is_doubted { &[1] } else { &[] };
            self.store().change::<_, Refusal, _>(move |tx| Ok(tx.put_setting(&doubted, kept)?)).await?;
        }
        Ok(is)
    }
}

fn refused(state: ClockState) -> Refusal {
    Refusal::unavailable(format!("the clock is {}: what it asks for waits", state.as_str()))
}
