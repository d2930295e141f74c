//! Whether work is let through to the token.

use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use super::errors::HsmError;

/// What the room is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Work is let through.
    Serving = 0,
    /// The connection is being rebuilt.
    Recovering = 1,
    /// Nothing will bring the token back but a new start.
    GivenUp = 2,
    /// The room is being shut, or is shut.
    Closing = 3,
}

impl Phase {
    const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Serving,
            1 => Self::Recovering,
            2 => Self::GivenUp,
            _ => Self::Closing,
        }
    }
}

#[derive(Debug)]
pub(super) struct Breaker {
    phase: AtomicU8,
    problem: Mutex<Option<String>>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { phase: AtomicU8::new(Phase::Serving as u8), problem: Mutex::new(None) }
    }
}

impl Breaker {
    pub(super) fn phase(&self) -> Phase {
        Phase::from_byte(self.phase.load(Ordering::Acquire))
    }

    /// Lets work through, or says why not.
    pub(super) fn admit(&self) -> Result<(), HsmError> {
        if self.phase() == Phase::Serving { Ok(()) } else { Err(self.refusal()) }
    }

    /// The answer to work that is not let through.
    pub(super) fn refusal(&self) -> HsmError {
        let reason = match self.phase() {
            Phase::Closing => "it is being shut down".to_owned(),
            _ => self.problem().unwrap_or_else(|| "it is being reconnected".to_owned()),
        };
        HsmError::Unavailable { reason }
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Keeps what is wrong while the phase stays.
    pub(super) fn note(&self, problem: String) {
        *self.problem.lock() = Some(problem);
    }

    /// Opens the breaker; answers whether it was this call that did.
    pub(super) fn trip(&self, problem: &str) -> bool {
        let mut kept = self.problem.lock();
        let tripped = self.phase.compare_exchange(Phase::Serving as u8, Phase::Recovering as u8, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if tripped {
            *kept = Some(problem.to_owned());
        }
        tripped
    }

    /// Closes the breaker after a recovery, unless the room is being shut.
    pub(super) fn close(&self) {
        let mut kept = self.problem.lock();
        if self.phase.compare_exchange(Phase::Recovering as u8, Phase::Serving as u8, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            *kept = None;
        }
    }

    /// Gives up for good, unless the room is being shut.
    pub(super) fn give_up(&self, problem: String) {
        let mut kept = self.problem.lock();
        if self.phase() != Phase::Closing {
            self.phase.store(Phase::GivenUp as u8, Ordering::Release);
        }
        *kept = Some(problem);
    }

    /// Stops intake for good; answers whether it was this call that did.
    pub(super) fn shut(&self) -> bool {
        let _kept = self.problem.lock();
        Phase::from_byte(self.phase.swap(Phase::Closing as u8, Ordering::AcqRel)) != Phase::Closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_many_trips_counts_and_shutting_is_final() {
        let breaker = Breaker::default();
        assert!(breaker.admit().is_ok());
        assert!(breaker.trip("first") && !breaker.trip("second"));
        assert!(matches!(breaker.admit(), Err(HsmError::Unavailable { reason }) if reason == "first"));
        breaker.close();
        assert!(breaker.admit().is_ok());
        assert!(breaker.shut() && !breaker.shut());
        breaker.close();
        breaker.give_up("late".to_owned());
        assert_eq!(breaker.phase(), Phase::Closing);
        assert!(!breaker.trip("closing"));
    }
}
