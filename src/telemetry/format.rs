//! How a line of the log is written. Our own rather than `tracing_subscriber`'s, so that every field of every event and span goes
//! through one place that redacts.

use std::fmt;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber, span};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::log::LogFormat;
use super::redaction::{REDACTED, is_secret};

/// Keeps the fields of a span as a JSON object.
pub(super) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut collected = Collected::default();
        fields.record(&mut collected);
        write!(writer, "{}", Value::Object(collected.0))
    }

    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &span::Record<'_>) -> fmt::Result {
        let mut collected = Collected(parsed(&current.fields));
        fields.record(&mut collected);
        current.fields = Value::Object(collected.0).to_string();
        Ok(())
    }
}

fn parsed(fields: &str) -> Map<String, Value> {
    serde_json::from_str(fields).unwrap_or_default()
}

/// Writes an event, with the fields of the spans around it.
pub(super) struct Lines {
    pub(super) format: LogFormat,
}

impl<S> FormatEvent<S, Fields> for Lines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn format_event(&self, context: &FmtContext<'_, S, Fields>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<FormattedFields<Fields>>() {
                fields.extend(parsed(&of_span.fields));
            }
        }
        let mut own = Collected::default();
        event.record(&mut own);
        let message = own.0.remove("message").unwrap_or_default();
        fields.extend(own.0);

        let time = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let (level, target) = (event.metadata().level().as_str(), event.metadata().target());
        match self.format {
            LogFormat::Json => {
                let mut line = Map::new();
                line.insert("time".to_owned(), time.into());
                line.insert("level".to_owned(), level.into());
                line.insert("target".to_owned(), target.into());
                line.insert("message".to_owned(), message);
                for (name, value) in fields {
                    line.entry(name).or_insert(value);
                }
                writeln!(writer, "{}", Value::Object(line))
            }
            LogFormat::Human => {
                write!(writer, "{time} {level:>5} {}", OneLine(message.as_str().unwrap_or_default()))?;
                for (name, value) in &fields {
                    write!(writer, " {name}={}", Plain(value))?;
                }
                writeln!(writer)
            }
        }
    }
}

/// The fields of an event or span, redacted.
#[derive(Default)]
struct Collected(Map<String, Value>);

impl Collected {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let value = if is_secret(field.name()) { REDACTED.into() } else { value.into() };
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

/// A text with its control characters escaped: what a client sends must not be able to write lines of its own.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
    }
}

/// A value for people: bare where that is clear, else in quotes.
struct Plain<'a>(&'a Value);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"=".contains(c)) => {
                write!(f, "{text:?}")
            }
            Value::String(text) => f.write_str(text),
            other => write!(f, "{other}"),
        }
    }
}
