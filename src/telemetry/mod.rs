//! What the operator sees: the log, and the metrics.

mod format;
pub mod log;
pub mod metrics;
pub mod redaction;

pub use log::{LogFormat, LogSetupError, init};
pub use metrics::Metrics;
