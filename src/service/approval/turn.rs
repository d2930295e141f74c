//! One edit of a draft at a time: each tries all of the draft in the writer, behind which the records of every use of a key wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::service::{Refusal, Service};

/// How long somebody waits for his turn.
const DRAFT_WITHIN: Duration = Duration::from_secs(10);
/// An edit that takes longer keeps the next one waiting for as long again: others have at least half of the writer's time.
const LONG: Duration = Duration::from_millis(250);
/// The longest rest: as long as any transaction may take.
const REST_MAX: Duration = Duration::from_secs(10);

/// Somebody's turn.
pub(super) struct Turn {
    permit: OwnedSemaphorePermit,
    began: Instant,
}

/// The turns of one process.
pub(in crate::service) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

impl Service {
    /// Waits for a turn to edit a draft.
    pub(super) async fn turn_to_draft(&self) -> Result<Turn, Refusal> {
        let turn = tokio::time::timeout(DRAFT_WITHIN, Arc::clone(&self.0.drafting).acquire_owned()).await;
        let permit = turn.ok().and_then(Result::ok).ok_or_else(|| Refusal::unavailable("too many drafts are being edited"))?;
        Ok(Turn { permit, began: Instant::now() })
    }
}

impl Turn {
    /// Ends it, after a rest if it was long.
    pub(super) fn end(self) {
        let (took, permit) = (self.began.elapsed(), self.permit);
        if took > LONG {
            tokio::spawn(async move {
                tokio::time::sleep(took.min(REST_MAX)).await;
                drop(permit);
            });
        }
    }
}
