//! The two queues between callers and workers: one for fast operations, one for making and finding keys.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::desk::Desk;
use super::errors::HsmError;

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneKind {
    Fast,
    Slow,
}

impl LaneKind {
    pub(super) const ALL: [Self; 2] = [Self::Fast, Self::Slow];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
        }
    }
}

/// Whether a job is to run, or why not.
pub(super) type Start<'a> = Result<&'a mut Desk, HsmError>;

/// Work for a worker. Its closure is called exactly once, with a desk or with the reason why there is none.
pub(super) struct Job {
    pub(super) deadline: Instant,
    pub(super) function: &'static str,
    pub(super) work: Box<dyn FnOnce(Start<'_>) + Send>,
}

impl Job {
    /// Runs the job, unless it is late already.
    pub(super) fn run(self, desk: &mut Desk) {
        if Instant::now() < self.deadline {
            (self.work)(Ok(desk));
        } else {
            (self.work)(Err(HsmError::Late { function: self.function }));
        }
    }

    pub(super) fn refuse(self, reason: HsmError) {
        (self.work)(Err(reason));
    }
}

/// A bounded queue of jobs.
#[derive(Debug)]
pub(super) struct Lane {
    /// How long a job may take, waiting included.
    pub(super) deadline: Duration,
    pub(super) workers: usize,
    sender: Sender<Job>,
    pub(super) receiver: Receiver<Job>,
}

impl Lane {
    pub(super) fn new(workers: usize, queue_limit: usize, deadline: Duration) -> Self {
        let (sender, receiver) = bounded(queue_limit);
        Self { deadline, workers, sender, receiver }
    }

    /// Queues a job, if there is room.
    pub(super) fn submit(&self, job: Job) -> Result<(), HsmError> {
        match self.sender.try_send(job) {
            Ok(()) => Ok(()),
            // The lane keeps a receiver itself: it is never disconnected.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(HsmError::Busy),
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.receiver.len()
    }

    /// Answers everything that waits with `reason`.
    pub(super) fn refuse_all(&self, reason: &HsmError) {
        // Bounded: what is submitted meanwhile is met by the breaker.
        for job in self.receiver.try_iter().take(self.receiver.capacity().unwrap_or(usize::MAX)) {
            job.refuse(reason.clone());
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("function", &self.function).finish_non_exhaustive()
    }
}
