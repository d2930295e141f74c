//! When, not what: each task is a few lines that call the service. Every node runs them all; the use cases see to it that
//! nothing is done twice.
//!
//! `tokio_schedule` says when the next run is; the loop is our own, since its `perform` ends silently with a panicking job
//! and knows no stop signal. It takes periods modulo the clock's field, so only divisors of 60 stand here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_schedule::{Job, every};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::{CheckpointOutcome, Refusal, Service};
use crate::telemetry::Metrics;

/// When checkpoints of the audit log are made, and what was only counted is recorded.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerSettings {
    /// After this long …
    pub checkpoint_interval: Duration,
    /// … or after this many records, whichever is first.
    pub checkpoint_records: i64,
    /// How often requests that were refused over a limit are recorded.
    pub refusals_interval: Duration,
}

/// The longest pause after checkpoints or records that failed: a token or a database that is in trouble isn't asked each second.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What a task did at its last run.
#[derive(Debug, Default)]
struct TaskState {
    last_run_seconds: AtomicI64,
    last_duration_micros: AtomicU64,
    last_failed: AtomicU64,
}

type Work = Arc<dyn Fn() -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync>;

/// Runs the tasks until `stop`.
#[derive(Debug, Clone)]
pub struct Scheduler {
    tasks: TaskTracker,
    stop: CancellationToken,
    metrics: Metrics,
}

impl Scheduler {
    /// Starts all tasks.
    pub fn start(service: &Service, settings: SchedulerSettings, metrics: Metrics, stop: CancellationToken) -> Self {
        let scheduler = Self { tasks: TaskTracker::new(), stop, metrics };
        scheduler.spawn("audit_checkpoint", every(1).second().in_timezone(&Utc), RETRY_MAX, checkpoints(service.clone(), settings));
        scheduler.spawn("reconcile", every(10).seconds().in_timezone(&Utc), Duration::ZERO, reconcile(service.clone()));
        scheduler.spawn("compare_token", every(10).minutes().in_timezone(&Utc), Duration::ZERO, compare(service.clone()));
        scheduler.spawn("forget_tokens", every(1).minute().in_timezone(&Utc), Duration::ZERO, forget_tokens(service.clone()));
        scheduler.spawn("record_refusals", every(1).second().in_timezone(&Utc), RETRY_MAX, record_refusals(service.clone(), settings.refusals_interval));
        scheduler.spawn("certificates", every(10).seconds().in_timezone(&Utc), RETRY_MAX, certificates(service.clone()));
        scheduler.tasks.close();
        scheduler
    }

    /// Waits until the tasks have seen the stop signal and ended what they were at.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    /// Runs `work` at the times of `job`; after a failure it pauses longer and longer, up to `retry_max`.
    fn spawn<J>(&self, name: &'static str, job: J, retry_max: Duration, work: Work)
    where
        J: Job<TZ = Utc> + Send + 'static,
    {
        let state = Arc::new(TaskState::default());
        self.show(name, &state);
        let (stop, metrics) = (self.stop.clone(), self.metrics.clone());
        self.tasks.spawn(async move {
            let mut failures = 0;
            loop {
                let pause = job.time_to_sleep_at(&Utc::now()).max(pause_after(failures, retry_max));
                if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return;
                }
                failures = if run_once(name, &work, &state, &metrics).await { 0 } else { failures.saturating_add(1) };
            }
        });
    }

    fn show(&self, name: &'static str, state: &Arc<TaskState>) {
        let (last_run, duration, failed) = match name {
            "audit_checkpoint" => ("task_audit_checkpoint_last_run_seconds", "task_audit_checkpoint_duration_seconds", "task_audit_checkpoint_failed"),
            "reconcile" => ("task_reconcile_last_run_seconds", "task_reconcile_duration_seconds", "task_reconcile_failed"),
            "compare_token" => ("task_compare_token_last_run_seconds", "task_compare_token_duration_seconds", "task_compare_token_failed"),
            "record_refusals" => ("task_record_refusals_last_run_seconds", "task_record_refusals_duration_seconds", "task_record_refusals_failed"),
            "certificates" => ("task_certificates_last_run_seconds", "task_certificates_duration_seconds", "task_certificates_failed"),
            _ => ("task_forget_tokens_last_run_seconds", "task_forget_tokens_duration_seconds", "task_forget_tokens_failed"),
        };
        let (a, b, c) = (Arc::clone(state), Arc::clone(state), Arc::clone(state));
        self.metrics.gauge(last_run, "When the task last ran, in seconds since the Unix epoch", move || number(a.last_run_seconds.load(Ordering::Relaxed)));
        self.metrics
            .gauge(duration, "How long its last run took", move || Some(Duration::from_micros(b.last_duration_micros.load(Ordering::Relaxed)).as_secs_f64()));
        self.metrics.gauge(failed, "1 if its last run failed", move || number(i64::try_from(c.last_failed.load(Ordering::Relaxed)).unwrap_or(1)));
    }
}

/// Whole numbers below 2^53 are exact in a gauge.
fn number(value: i64) -> Option<f64> {
    i32::try_from(value).map(f64::from).ok().or_else(|| u32::try_from(value).map(f64::from).ok())
}

/// How long a task pauses after as many failures in a row: 1 s after the first, and twice as long after each that follows.
fn pause_after(failures: u32, most: Duration) -> Duration {
    let doublings = failures.checked_sub(1);
    doublings.map_or(Duration::ZERO, |doublings| Duration::from_secs(1_u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(most))
}

/// One run, in a task of its own so that a panic is logged and counted and the next run comes; whether it succeeded.
async fn run_once(name: &'static str, work: &Work, state: &TaskState, metrics: &Metrics) -> bool {
    let began = Instant::now();
    let ended = tokio::spawn(work()).await;
    state.last_run_seconds.store(Utc::now().timestamp(), Ordering::Relaxed);
    state.last_duration_micros.store(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    let failure = match ended {
        Ok(Ok(())) => None,
        Ok(Err(refusal)) => Some(format!("{refusal:?}")),
        Err(panic) => Some(panic.to_string()),
    };
    state.last_failed.store(u64::from(failure.is_some()), Ordering::Relaxed);
    let succeeded = failure.is_none();
    if let Some(failure) = failure {
        tracing::error!(task = name, %failure, "a task failed; it runs again");
        metrics.background_failed(name);
    }
    succeeded
}

fn checkpoints(service: Service, settings: SchedulerSettings) -> Work {
    let last = Arc::new(Mutex::new((Instant::now(), 0_i64)));
    Arc::new(move || {
        let (service, last) = (service.clone(), Arc::clone(&last));
        Box::pin(async move {
            let mut last = last.lock().await;
            let records = service.records_written();
            if last.0.elapsed() < settings.checkpoint_interval && records.saturating_sub(last.1) < settings.checkpoint_records {
                return Ok(());
            }
            match service.checkpoint().await? {
                CheckpointOutcome::Made(_) => *last = (Instant::now(), records),
                // Its heads may lack our newest records: try again at the next second.
                CheckpointOutcome::AnotherNodeWas => {}
            }
            Ok(())
        })
    })
}

fn reconcile(service: Service) -> Work {
    Arc::new(move || {
        let service = service.clone();
        Box::pin(async move { service.reconcile().await.map(drop) })
    })
}

fn compare(service: Service) -> Work {
    Arc::new(move || {
        let service = service.clone();
        Box::pin(async move { service.compare_token().await.map(drop) })
    })
}

fn certificates(service: Service) -> Work {
    Arc::new(move || {
        let service = service.clone();
        Box::pin(async move {
            service.look_at_expiry().await?;
            service.renew_authority_if_due().await
        })
    })
}

fn forget_tokens(service: Service) -> Work {
    Arc::new(move || {
        let service = service.clone();
        Box::pin(async move { service.forget_expired_tokens().await.map(drop) })
    })
}

fn record_refusals(service: Service, interval: Duration) -> Work {
    let last = Arc::new(Mutex::new(Instant::now()));
    Arc::new(move || {
        let (service, last) = (service.clone(), Arc::clone(&last));
        Box::pin(async move {
            let mut last = last.lock().await;
            if last.elapsed() >= interval {
                service.record_refusals().await?;
                *last = Instant::now();
            }
            Ok(())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_are_tried_again_less_and_less_often() {
        let pauses = [0, 1, 2, 3, 5, 6, 64, u32::MAX].map(|failures| pause_after(failures, RETRY_MAX).as_secs());
        assert_eq!(pauses, [0, 1, 2, 4, 16, 30, 30, 30]);
        assert_eq!(pause_after(9, Duration::ZERO), Duration::ZERO);
    }
}
