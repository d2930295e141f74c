//! Setting up the log: one line per event on standard error.

use std::panic;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::format::{Fields, Lines};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Human,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogSetupError {
    /// The filter can't be read.
    #[error("the log's filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There is one already.
    #[error("the log is set up already")]
    Twice(#[from] TryInitError),
}

/// Sends this process's events to standard error, and panics as events of level error. `filter` is in the notation of
/// `tracing_subscriber::EnvFilter`. Once per process.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogSetupError> {
    subscriber(format, filter, std::io::stderr)?.try_init()?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn subscriber<W>(format: LogFormat, filter: &str, writer: W) -> Result<impl tracing::Subscriber + Send + Sync, LogSetupError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().fmt_fields(Fields).event_format(Lines { format }).with_writer(writer);
    Ok(tracing_subscriber::registry().with(EnvFilter::try_new(filter)?).with(lines))
}

/// Where and why, but not the values of an assertion beyond its own message: our code panics only when it is broken.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let payload = info.payload();
    let reason = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    tracing::error!(place, reason, "a thread panicked");
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, events: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        tracing::subscriber::with_default(subscriber(format, "info", move || writer.clone()).unwrap(), events);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn some_events() {
        let span = tracing::info_span!("request", request_id = "r-1", appkey = "hunter2", status = tracing::field::Empty);
        let _inside = span.enter();
        span.record("status", 200);
        tracing::info!(key_id = "k", pin = "hunter2", count = 3, user_agent = "a\nb\u{1b}[31m", "said \"hello\"");
        tracing::debug!("too quiet");
    }

    #[test]
    fn json_lines_hold_the_event_and_its_span_without_secrets() {
        let text = logged(LogFormat::Json, some_events);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "said \"hello\"");
        assert_eq!(line["request_id"], "r-1");
        assert_eq!(line["status"], 200);
        assert_eq!(line["appkey"], "[redacted]");
        assert_eq!(line["pin"], "[redacted]");
        assert_eq!(line["count"], 3);
        assert_eq!(line["user_agent"], "a\nb\u{1b}[31m");
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn human_lines_stay_lines_and_hold_no_secrets() {
        let text = logged(LogFormat::Human, some_events);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("hunter2") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("said \"hello\" "), "{text}");
        assert!(text.contains(r#"user_agent="a\nb\u{1b}[31m""#), "{text}");
        assert!(text.contains("request_id=r-1"), "{text}");
    }

    #[test]
    fn a_bad_filter_is_refused() {
        assert!(matches!(subscriber(LogFormat::Json, "skm=loud", io::stderr), Err(LogSetupError::Filter(_))));
    }
}
