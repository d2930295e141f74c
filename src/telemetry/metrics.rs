//! The metrics, in Prometheus's words. What happens is counted here by whoever does it; what merely is (queue lengths, freshness,
//! the breaker) is asked for at each scrape.
//!
//! Every label value is a constant of the program: what clients send can't make the set of series grow.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latency buckets, in seconds: an AES operation takes 10 µs in a software token, an RSA signature half a
/// millisecond, a network token some milliseconds, a deadline seconds.
const LATENCY_BUCKETS: [f64; 14] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Success,
    /// The caller may not, or asked for something wrong.
    Refused,
    /// The service could not: token, database or limits.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    task: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskRunLabels {
    task: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViewLabels {
    view: &'static str,
}

/// How a run of a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunOutcome {
    /// It did what there was to do.
    Success,
    /// It failed, or some of what it does did.
    Failed,
    /// It panicked.
    Panicked,
}

impl RunOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

/// What became of an attempt to send a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It was sent.
    Sent,
    /// It is tried again.
    Failed,
    /// It was given up.
    Parked,
}

impl Delivery {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Parked => "parked",
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DeliveryLabels {
    channel: &'static str,
    outcome: &'static str,
}

/// The last run of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskRun {
    /// When it ended, in seconds since the Unix epoch.
    pub at: i64,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: RunOutcome,
}

/// What the tasks did, by task.
#[derive(Clone, Default)]
struct Tasks {
    latest: Arc<Mutex<BTreeMap<&'static str, TaskRun>>>,
    last_run: Family<TaskLabels, Gauge>,
    last_duration: Family<TaskLabels, Gauge<f64, AtomicU64>>,
    last_failed: Family<TaskLabels, Gauge>,
    runs: Family<TaskRunLabels, Counter>,
}

type Latencies = Family<OperationLabels, Histogram, fn() -> Histogram>;

fn latency_histogram() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}

/// All metrics of the process. Cloning is cheap; clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Latencies,
    unknown_projects: Counter,
    over_limit: Family<LimitLabels, Counter>,
    view_reads: Family<ViewLabels, Counter>,
    audit_commit_seconds: Histogram,
    audit_commit_failures: Counter,
    background_failures: Family<ReasonLabels, Counter>,
    tasks: Tasks,
    notifications: Family<DeliveryLabels, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("skm"))),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(latency_histogram),
            unknown_projects: Counter::default(),
            over_limit: Family::default(),
            view_reads: Family::default(),
            audit_commit_seconds: latency_histogram(),
            audit_commit_failures: Counter::default(),
            background_failures: Family::default(),
            tasks: Tasks::default(),
            notifications: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock();
        registry.register("requests", "Requests answered, by operation and outcome", self.requests.clone());
        registry.register_with_unit("request_duration", "Time from request to answer", Unit::Seconds, self.request_seconds.clone());
        registry.register(
            "unknown_project_requests",
            "Requests for an appkey or access key that doesn't exist; they are not in the audit log",
            self.unknown_projects.clone(),
        );
        registry.register("requests_over_limit", "Requests refused because their caller asks too often, by limit", self.over_limit.clone());
        registry.register("view_reads", "Reads of the database for what requests name, where no cached view had it", self.view_reads.clone());
        registry.register_with_unit(
            "audit_commit_duration",
            "Time from hand-over of an audit record until it is durable",
            Unit::Seconds,
            self.audit_commit_seconds.clone(),
        );
        registry.register("audit_commit_failures", "Commits that failed: their requests were refused", self.audit_commit_failures.clone());
        registry.register("background_failures", "Failures of background work, by task", self.background_failures.clone());
        let notifications = "Attempts to send notifications, by channel and outcome";
        registry.register("notification_attempts", notifications, self.notifications.clone());
        let tasks = &self.tasks;
        let last_run = "When the task's last run ended, in seconds since the Unix epoch";
        registry.register_with_unit("task_last_run", last_run, Unit::Seconds, tasks.last_run.clone());
        registry.register_with_unit("task_last_duration", "How long the task's last run took", Unit::Seconds, tasks.last_duration.clone());
        registry.register("task_last_failed", "1 if the task's last run failed or panicked", tasks.last_failed.clone());
        registry.register("task_runs", "Runs of tasks since the start, by task and outcome", tasks.runs.clone());
    }

    /// A request was answered. `operation` is a constant of the program, never the path.
    pub fn request(&self, operation: &'static str, outcome: Outcome, took: Duration) {
        self.requests.get_or_create(&RequestLabels { operation, outcome: outcome.as_str() }).inc();
        self.request_seconds.get_or_create(&OperationLabels { operation }).observe(took.as_secs_f64());
    }

    /// A request named an appkey of no project.
    pub fn unknown_project(&self) {
        self.unknown_projects.inc();
    }

    /// A request was refused because its caller asks too often. `limit` is a constant of the program.
    pub fn over_limit(&self, limit: &'static str) {
        self.over_limit.get_or_create(&LimitLabels { limit }).inc();
    }

    /// The database was read for what a request names. `view` is a constant of the program.
    pub fn view_read(&self, view: &'static str) {
        self.view_reads.get_or_create(&ViewLabels { view }).inc();
    }

    /// An audit record became durable this long after it was handed over.
    pub fn audit_committed(&self, waited: Duration) {
        self.audit_commit_seconds.observe(waited.as_secs_f64());
    }

    /// A commit of the audit log failed.
    pub fn audit_commit_failed(&self) {
        self.audit_commit_failures.inc();
    }

    /// An attempt to send a notification ended. `channel` is a constant of the program.
    pub fn notification(&self, channel: &'static str, outcome: Delivery) {
        self.notifications.get_or_create(&DeliveryLabels { channel, outcome: outcome.as_str() }).inc();
    }

    /// A background task failed or panicked.
    pub fn background_failed(&self, task: &'static str) {
        self.background_failures.get_or_create(&ReasonLabels { reason: task }).inc();
    }

    /// A run of a task ended at `at` (seconds since the Unix epoch). `task` is a constant of the program.
    pub fn task_ran(&self, task: &'static str, at: i64, took: Duration, outcome: RunOutcome) {
        let labels = TaskLabels { task };
        self.tasks.latest.lock().insert(task, TaskRun { at, took, outcome });
        self.tasks.last_run.get_or_create(&labels).set(at);
        self.tasks.last_duration.get_or_create(&labels).set(took.as_secs_f64());
        self.tasks.last_failed.get_or_create(&labels).set(i64::from(outcome != RunOutcome::Success));
        self.tasks.runs.get_or_create(&TaskRunLabels { task, outcome: outcome.as_str() }).inc();
    }

    /// The last run of each task that has run, by the tasks' names.
    pub fn task_runs(&self) -> Vec<(&'static str, TaskRun)> {
        self.tasks.latest.lock().iter().map(|(task, run)| (*task, *run)).collect()
    }

    /// Adds a gauge whose value is asked for at each scrape: a queue's length, seconds of staleness, 1 while the breaker is open.
    /// `name` is without the prefix `skm_`. `value` must not wait. `None` leaves the gauge out of that scrape.
    pub fn gauge(&self, name: &'static str, help: &'static str, value: impl Fn() -> Option<f64> + Send + Sync + 'static) {
        self.registry.lock().register_collector(Box::new(AskedGauge { name, help, value: Box::new(value) }));
    }

    /// Adds a gauge with a value for each of a few things, such as certificate authorities: their names come from the installation, never from
    /// clients, and are the label's values. Otherwise as [`Metrics::gauge`].
    pub fn gauges(&self, name: &'static str, help: &'static str, label: &'static str, values: impl Fn() -> Vec<(String, f64)> + Send + Sync + 'static) {
        self.registry.lock().register_collector(Box::new(AskedGauges { name, help, label, values: Box::new(values) }));
    }

    /// Every metric as OpenMetrics text, which Prometheus reads; see [`CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut encoded = String::new();
        text::encode(&mut encoded, &self.registry.lock())?;
        Ok(encoded)
    }
}

/// A gauge whose value is asked for at each scrape.
struct AskedGauge {
    name: &'static str,
    help: &'static str,
    value: Box<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl fmt::Debug for AskedGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskedGauge").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for AskedGauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(value) = (self.value)() else { return Ok(()) };
        let encoder = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }
}

/// A gauge with a value for each of a few things, asked for at each scrape.
struct AskedGauges {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: Box<dyn Fn() -> Vec<(String, f64)> + Send + Sync>,
}

impl fmt::Debug for AskedGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskedGauges").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for AskedGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let values = (self.values)();
        if values.is_empty() {
            return Ok(());
        }
        let mut encoder = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (thing, value) in values {
            let labels = [(self.label, thing)];
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.clone().request("encrypt", Outcome::Success, Duration::from_micros(300));
        metrics.request("encrypt", Outcome::Refused, Duration::from_micros(100));
        metrics.unknown_project();
        metrics.over_limit("address");
        metrics.view_read("key");
        metrics.audit_committed(Duration::from_millis(1));
        metrics.task_ran("reconcile", 1_700_000_000, Duration::from_millis(250), RunOutcome::Success);
        metrics.task_ran("reconcile", 1_700_000_010, Duration::from_millis(500), RunOutcome::Failed);
        let last = TaskRun { at: 1_700_000_010, took: Duration::from_millis(500), outcome: RunOutcome::Failed };
        assert_eq!(metrics.task_runs(), [("reconcile", last)]);
        let text = metrics.encode().unwrap();
        for line in [
            r#"skm_requests_total{operation="encrypt",outcome="success"} 1"#,
            r#"skm_requests_total{operation="encrypt",outcome="refused"} 1"#,
            r#"skm_request_duration_seconds_count{operation="encrypt"} 2"#,
            "skm_unknown_project_requests_total 1",
            r#"skm_requests_over_limit_total{limit="address"} 1"#,
            r#"skm_view_reads_total{view="key"} 1"#,
            "skm_audit_commit_duration_seconds_count 1",
            r#"skm_task_last_run_seconds{task="reconcile"} 1700000010"#,
            r#"skm_task_last_duration_seconds{task="reconcile"} 0.5"#,
            r#"skm_task_last_failed{task="reconcile"} 1"#,
            r#"skm_task_runs_total{task="reconcile",outcome="success"} 1"#,
            r#"skm_task_runs_total{task="reconcile",outcome="failed"} 1"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn gauges_are_asked_at_each_scrape() {
        let metrics = Metrics::new();
        let length = Arc::new(Mutex::new(Some(3.0)));
        let seen = length.clone();
        metrics.gauge("token_queue_length", "Jobs waiting", move || *seen.lock());
        assert!(metrics.encode().unwrap().contains("skm_token_queue_length 3.0\n"));
        *length.lock() = Some(5.0);
        assert!(metrics.encode().unwrap().contains("skm_token_queue_length 5.0\n"));
        *length.lock() = None;
        assert!(!metrics.encode().unwrap().contains("skm_token_queue_length"));
    }
}
