//! When, not what: each task is a few lines that call the service (`tasks.rs`). Every node runs them all; the use cases see to it that
//! nothing is done twice.
//!
//! `tokio_schedule` says when the next run is; the loop is our own, since its `perform` ends silently with a panicking job
//! and knows no stop signal. It takes periods modulo the clock's field, so only divisors of 60 stand here. Each task runs at the start, too:
//! what came due or was left half done while nothing ran doesn't wait.

mod tasks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::future::BoxFuture;
use tokio_schedule::{Job, every};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::{Refusal, Service};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::RunOutcome;

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
        scheduler.spawn("audit_checkpoint", every(1).second().in_timezone(&Utc), RETRY_MAX, tasks::checkpoints(service.clone(), settings));
        scheduler.spawn("reconcile", every(10).seconds().in_timezone(&Utc), Duration::ZERO, tasks::reconcile(service.clone()));
        scheduler.spawn("rotate_due", every(1).minute().in_timezone(&Utc), Duration::ZERO, tasks::rotate_due(service.clone()));
        scheduler.spawn("delete_due", every(1).minute().in_timezone(&Utc), Duration::ZERO, tasks::delete_due(service.clone()));
        scheduler.spawn("use_limits", every(1).minute().in_timezone(&Utc), Duration::ZERO, tasks::use_limits(service.clone()));
        scheduler.spawn("compare_token", every(10).minutes().in_timezone(&Utc), Duration::ZERO, tasks::compare(service.clone()));
        scheduler.spawn("forget_tokens", every(1).minute().in_timezone(&Utc), Duration::ZERO, tasks::forget_tokens(service.clone()));
        scheduler.spawn("forget_sessions", every(1).minute().in_timezone(&Utc), Duration::ZERO, tasks::forget_sessions(service.clone()));
        scheduler.spawn("expire_imports", every(10).seconds().in_timezone(&Utc), Duration::ZERO, tasks::expire_imports(service.clone()));
        scheduler.spawn("send_notifications", every(1).second().in_timezone(&Utc), RETRY_MAX, tasks::send_notifications(service.clone()));
        scheduler.spawn("tidy_notifications", every(1).minute().in_timezone(&Utc), Duration::ZERO, tasks::tidy_notifications(service.clone()));
        scheduler.spawn("count_notifications", every(10).seconds().in_timezone(&Utc), Duration::ZERO, tasks::count_notifications(service.clone()));
        scheduler.spawn("notice_trouble", every(5).seconds().in_timezone(&Utc), Duration::ZERO, tasks::notice_trouble(service.clone()));
        scheduler.spawn("notice_due", every(10).minutes().in_timezone(&Utc), Duration::ZERO, tasks::notice_due(service.clone()));
        scheduler.spawn("count_calls", every(5).seconds().in_timezone(&Utc), RETRY_MAX, tasks::count_calls(service.clone()));
        scheduler.spawn("forget_calls", every(1).minute().in_timezone(&Utc), Duration::ZERO, tasks::forget_calls(service.clone()));
        let refusals = tasks::record_refusals(service.clone(), settings.refusals_interval);
        scheduler.spawn("record_refusals", every(1).second().in_timezone(&Utc), RETRY_MAX, refusals);
        scheduler.spawn("certificates", every(10).seconds().in_timezone(&Utc), RETRY_MAX, tasks::certificates(service.clone()));
        scheduler.spawn("approvals", every(5).seconds().in_timezone(&Utc), Duration::ZERO, tasks::approvals(service.clone()));
        scheduler.tasks.close();
        scheduler
    }

    /// Waits until the tasks have seen the stop signal and ended what they were at.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    /// Runs `work` now and at the times of `job`; after a failure it pauses longer and longer, up to `retry_max`.
    fn spawn<J>(&self, name: &'static str, job: J, retry_max: Duration, work: Work)
    where
        J: Job<TZ = Utc> + Send + 'static,
    {
        let (stop, metrics) = (self.stop.clone(), self.metrics.clone());
        self.tasks.spawn(async move {
            let mut failures = 0_u32;
            while !stop.is_cancelled() {
                failures = if run_once(name, &work, &metrics).await { 0 } else { failures.saturating_add(1) };
                let pause = job.time_to_sleep_at(&Utc::now()).max(pause_after(failures, retry_max));
                stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            }
        });
    }
}

/// How long a task pauses after as many failures in a row: 1 s after the first, and twice as long after each that follows.
fn pause_after(failures: u32, most: Duration) -> Duration {
    let doublings = failures.checked_sub(1);
    doublings.map_or(Duration::ZERO, |doublings| Duration::from_secs(1_u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(most))
}

/// One run, in a task of its own so that a panic is logged and counted and the next run comes; whether it succeeded.
async fn run_once(name: &'static str, work: &Work, metrics: &Metrics) -> bool {
    let (began, work) = (Instant::now(), Arc::clone(work));
    let ended = tokio::spawn(async move { work().await }).await;
    let (outcome, failure) = match ended {
        Ok(Ok(())) => (RunOutcome::Success, None),
        Ok(Err(refusal)) => (RunOutcome::Failed, Some(format!("{refusal:?}"))),
        Err(panic) => (RunOutcome::Panicked, Some(panic.to_string())),
    };
    metrics.task_ran(name, Utc::now().timestamp(), began.elapsed(), outcome);
    if let Some(failure) = failure {
        tracing::error!(task = name, %failure, "a task failed; it runs again");
        metrics.background_failed(name);
    }
    outcome == RunOutcome::Success
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn failures_in_a_row_are_tried_again_less_and_less_often() {
        let pauses = [0, 1, 2, 3, 5, 6, 64, u32::MAX].map(|failures| pause_after(failures, RETRY_MAX).as_secs());
        assert_eq!(pauses, [0, 1, 2, 4, 16, 30, 30, 30]);
        assert_eq!(pause_after(9, Duration::ZERO), Duration::ZERO);
    }

    /// Panics when it is called, fails, panics while it runs, and is well from then on.
    fn troubled(runs: &Arc<AtomicUsize>) -> Work {
        let runs = Arc::clone(runs);
        Arc::new(move || match runs.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("before it runs"),
            1 => Box::pin(async { Err(Refusal::unavailable("not now")) }),
            2 => Box::pin(async { panic!("while it runs") }),
            _ => Box::pin(async { Ok(()) }),
        })
    }

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_runs_again_until_the_stop() {
        let scheduler = Scheduler { tasks: TaskTracker::new(), stop: CancellationToken::new(), metrics: Metrics::new() };
        let runs = Arc::new(AtomicUsize::new(0));
        scheduler.spawn("troubled", every(1).second().in_timezone(&Utc), Duration::ZERO, troubled(&runs));
        scheduler.tasks.close();
        let began = Instant::now();
        while runs.load(Ordering::SeqCst) < 4 {
            assert!(began.elapsed() < Duration::from_secs(20), "{runs:?} runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        scheduler.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), scheduler.stopped()).await.expect("the stop");
        let ended = runs.load(Ordering::SeqCst);
        let text = scheduler.metrics.encode().expect("text");
        for line in [
            r#"skm_task_runs_total{task="troubled",outcome="panicked"} 2"#,
            r#"skm_task_runs_total{task="troubled",outcome="failed"} 1"#,
            r#"skm_background_failures_total{reason="troubled"} 3"#,
            r#"skm_task_last_failed{task="troubled"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(runs.load(Ordering::SeqCst), ended, "it runs after the stop");
    }

    #[tokio::test]
    async fn what_was_due_before_the_start_does_not_wait_for_the_clock() {
        let scheduler = Scheduler { tasks: TaskTracker::new(), stop: CancellationToken::new(), metrics: Metrics::new() };
        let (ran, run) = tokio::sync::oneshot::channel();
        let ran = parking_lot::Mutex::new(Some(ran));
        let work: Work = Arc::new(move || {
            ran.lock().take().map(|ran| ran.send(()));
            Box::pin(async { Ok(()) })
        });
        // Some twelve hours from now.
        scheduler.spawn("daily", every(1).day().at(hour_in_twelve(), 0, 0).in_timezone(&Utc), Duration::ZERO, work);
        tokio::time::timeout(Duration::from_secs(5), run).await.expect("in time").expect("a run");
    }

    fn hour_in_twelve() -> u32 {
        (chrono::Timelike::hour(&Utc::now()) + 12) % 24
    }
}
