//! Reading bodies: bounded, in time, and so that every error names the field.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::context::single;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::{Description, Invalid, Name};
use crate::service::Refusal;

/// The most bytes of bodies that are held at a time, over all requests: bodies are read before it is known whether their callers
/// may ask at all. What comes beyond it is told to come back.
const BODIES_MAX_BYTES: usize = 256 * 1024 * 1024;
/// What is set aside for a body before its first byte, whatever it announces.
const FIRST_BYTES: usize = 4 * 1024;

/// The bytes of bodies that are held now. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct BodyRoom(Arc<AtomicUsize>);

/// A body, or what has come of it, and its place in the room.
#[derive(Debug)]
struct Held {
    bytes: Zeroizing<Vec<u8>>,
    room: BodyRoom,
    /// How much of the room it takes.
    taken: usize,
}

impl Held {
    fn new(room: &BodyRoom) -> Self {
        Self { bytes: Zeroizing::new(Vec::new()), room: room.clone(), taken: 0 }
    }

    /// Adds to the body; what it outgrows is wiped.
    fn extend(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let needed = self.bytes.len().saturating_add(data.len());
        if needed > self.bytes.capacity() {
            let capacity = needed.max(self.bytes.capacity().saturating_mul(2)).max(FIRST_BYTES);
            let more = capacity.saturating_sub(self.taken);
            if self.room.0.fetch_add(more, Ordering::Relaxed).saturating_add(more) > BODIES_MAX_BYTES {
                self.room.0.fetch_sub(more, Ordering::Relaxed);
                return Err(Refusal::unavailable("too many bytes of request bodies are held already"));
            }
            // Vec::with_capacity may give more than it was asked for; the room counts what was asked.
            let mut grown = Zeroizing::new(Vec::new());
            grown.reserve_exact(capacity);
            grown.extend_from_slice(&self.bytes);
            self.taken = self.taken.saturating_add(more);
            self.bytes = grown;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// Reads a body of at most `limit` bytes that arrives within `timeout`; it is wiped when dropped.
pub(super) async fn read(body: Body, room: &BodyRoom, limit: usize, timeout: Duration) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    match tokio::time::timeout(timeout, collect(body, room, limit)).await {
        Ok(read) => read,
        Err(_) => Err(late()),
    }
}

fn late() -> Refusal {
    Refusal::Malformed("the body did not arrive in time".to_owned())
}

/// Whether the listener gave a body up because it was too slow.
fn is_late(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        source = error.source();
    }
    false
}

async fn collect(mut body: Body, room: &BodyRoom, limit: usize) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let announced = usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Refusal::TooLarge(limit));
    }
    let mut held = Held::new(room);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| if is_late(&error) { late() } else { Refusal::Malformed("the body broke off".to_owned()) })?;
        if let Some(data) = frame.data_ref() {
            if held.bytes.len() + data.len() > limit {
                return Err(Refusal::TooLarge(limit));
            }
            held.extend(data)?;
        }
    }
    Ok(std::mem::take(&mut held.bytes))
}

/// Whether the content type is JSON; absent counts as such, since clients in the wild leave it out.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers.contains_key(header::CONTENT_TYPE) || media_type(headers).is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        Ok(())
    } else {
        Err(ResultCode::UnsupportedMediaType.into())
    }
}

/// The content type without its parameters, of a header that comes exactly once.
pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = single(headers, header::CONTENT_TYPE.as_str()).ok().flatten()?;
    value.split(';').next().map(str::trim)
}

/// The value of one field, texts wiped when dropped. What is nested is read as values too, not skipped: only so does the
/// parser's limit on depth (128) hold.
#[derive(Debug)]
enum Value {
    Null,
    Text(SecretText),
    Number(i64),
    Other,
}

/// The whole number that `1.0` or `1e3` is too (JSON Schema, 6.1.1), within what a double can count one by one.
fn whole(number: f64) -> Option<i64> {
    const MOST: f64 = 9_007_199_254_740_992.0;
    if number.fract() != 0.0 || number.abs() > MOST {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "it is whole and far smaller than an i64")]
    let number = number as i64;
    Some(number)
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
                Ok(Value::Other)
            }
            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Number(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(i64::try_from(number).map_or(Value::Other, Value::Number))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(whole(number).map_or(Value::Other, Value::Number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(SecretText::new(text.to_owned())))
            }
            fn visit_string<E>(self, text: String) -> Result<Value, E> {
                Ok(Value::Text(SecretText::new(text)))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
                while sequence.next_element::<Value>()?.is_some() {}
                Ok(Value::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                while map.next_entry::<IgnoredAny, Value>()?.is_some() {}
                Ok(Value::Other)
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// The most fields of a body; none of ours has a third of that.
const FIELDS_MAX: usize = 64;

/// The fields of a JSON object. Fields that no route knows are passed over, as the hosted service does; one that comes
/// twice is refused.
#[derive(Debug)]
pub(super) struct Fields(HashMap<String, Value>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = HashMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.len() == FIELDS_MAX {
                        return Err(A::Error::custom("too many fields"));
                    }
                    if fields.insert(name, value).is_some() {
                        return Err(A::Error::custom("a field comes twice"));
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl Fields {
    /// Reads a JSON object. The error says where, never what stood there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(bytes).map_err(|error| {
            let problem = match error.classify() {
                serde_json::error::Category::Data if error.to_string().starts_with("a field comes twice") => "a field comes twice",
                serde_json::error::Category::Data if error.to_string().starts_with("too many fields") => "too many fields",
                serde_json::error::Category::Data => "not a JSON object",
                serde_json::error::Category::Syntax if error.to_string().starts_with("recursion limit exceeded") => "nested too deeply",
                serde_json::error::Category::Io | serde_json::error::Category::Syntax | serde_json::error::Category::Eof => "not JSON",
            };
            Refusal::Malformed(format!("{problem}, line {}, column {}", error.line(), error.column()))
        })
    }

    /// A text that may be missing; `null` means the same.
    pub(super) fn optional_text(&mut self, field: &'static str) -> Result<Option<SecretText>, Invalid> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Number(_) | Value::Other) => Err(Invalid::new(field, "must be a text")),
        }
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, field: &'static str) -> Result<SecretText, Invalid> {
        self.optional_text(field)?.ok_or_else(|| Invalid::new(field, "is required"))
    }

    /// A whole number that may be missing.
    pub(super) fn optional_number(&mut self, field: &'static str) -> Result<Option<i64>, Invalid> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(Value::Text(_) | Value::Other) => Err(Invalid::new(field, "must be a whole number")),
        }
    }

    /// A whole number that must be there.
    pub(super) fn number(&mut self, field: &'static str) -> Result<i64, Invalid> {
        self.optional_number(field)?.ok_or_else(|| Invalid::new(field, "is required"))
    }

    /// A name that must be there.
    pub(super) fn name(&mut self, field: &'static str) -> Result<Name, Invalid> {
        Name::parse(field, self.text(field)?.expose())
    }

    /// The description, empty when it is missing.
    pub(super) fn description(&mut self) -> Result<Description, Invalid> {
        let text = self.optional_text("description")?;
        text.map_or(Ok(Description::default()), |text| Description::parse("description", text.expose()))
    }

    /// "Y" or "N", "N" when it is missing.
    pub(super) fn yes_no(&mut self, field: &'static str) -> Result<bool, Invalid> {
        match self.optional_text(field)?.as_ref().map(SecretText::expose) {
            None | Some("N") => Ok(false),
            Some("Y") => Ok(true),
            Some(_) => Err(Invalid::new(field, "must be \"Y\" or \"N\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).expect("an object")
    }

    #[tokio::test]
    async fn bodies_share_a_room_and_leave_it() {
        let room = BodyRoom::default();
        room.0.store(BODIES_MAX_BYTES - FIRST_BYTES, Ordering::Relaxed);
        let body = |bytes: usize| Body::from(vec![b'x'; bytes]);
        let patience = Duration::from_secs(5);
        assert_eq!(read(body(FIRST_BYTES), &room, 1 << 20, patience).await.map(|bytes| bytes.len()).ok(), Some(FIRST_BYTES));
        assert!(matches!(read(body(FIRST_BYTES + 1), &room, 1 << 20, patience).await, Err(Refusal::Unavailable { .. })));
        assert_eq!(room.0.load(Ordering::Relaxed), BODIES_MAX_BYTES - FIRST_BYTES);
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for wrong in ["", "{", "[]", "1", "null", "\"text\"", "{\"a\":1,\"a\":2}", "{\"a\":1}x", "{\"a\": NaN}", "{'a':1}"] {
            assert!(matches!(Fields::parse(wrong.as_bytes()), Err(Refusal::Malformed(_))), "{wrong}");
        }
        assert!(Fields::parse(b"{\"a\":\"\xff\"}").is_err());
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(Fields::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn missing_null_and_wrong_types_name_the_field() {
        for (json, problem) in [
            ("{}", "plaintext is required"),
            ("{\"plaintext\":null}", "plaintext is required"),
            ("{\"plaintext\":1}", "plaintext must be a text"),
            ("{\"plaintext\":[]}", "plaintext must be a text"),
            ("{\"plaintext\":{}}", "plaintext must be a text"),
            ("{\"plaintext\":true}", "plaintext must be a text"),
        ] {
            assert_eq!(fields(json).text("plaintext").map(|_| ()).map_err(|error| error.to_string()), Err(problem.to_owned()), "{json}");
        }
        for wrong in ["1.5", "1e300", "-1e-1", "1e16", "true", "\"1\""] {
            let number = fields(&format!("{{\"n\":{wrong}}}")).number("n");
            assert_eq!(number.map_err(|error| error.to_string()), Err("n must be a whole number".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_whole_number_is_one_in_any_notation() {
        for (json, number) in [("30", 30), ("30.0", 30), ("3e1", 30), ("-0.0", 0), ("-1.0", -1), ("9007199254740992.0", 9_007_199_254_740_992)] {
            assert_eq!(fields(&format!("{{\"n\":{json}}}")).number("n"), Ok(number), "{json}");
        }
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        assert_eq!(fields("{\"x\":{\"y\":[1]},\"n\":7}").number("n"), Ok(7));
    }

    #[test]
    fn an_error_never_shows_what_stood_there() {
        let error = Fields::parse(b"{\"plaintext\": hunter2}").expect_err("no JSON");
        assert!(!error.to_string().contains("hunter2"));
    }
}
