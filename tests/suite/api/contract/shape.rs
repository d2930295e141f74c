//! Compares an answer with what the contract has: exactly these fields, of these types and forms.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What differs, each by the name of its field.
pub(super) fn differences(at: &str, expected: &Value, actual: &Value) -> Vec<String> {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            let missing = expected.keys().filter(|name| !actual.contains_key(*name)).map(|name| format!("{}: is missing", below(at, name)));
            let unknown = actual.keys().filter(|name| !expected.contains_key(*name)).map(|name| format!("{}: is not in the contract", below(at, name)));
            let both = expected.iter().filter_map(|(name, expected)| Some((name, expected, actual.get(name)?)));
            let differing = both.flat_map(|(name, expected, actual)| differences(&below(at, name), expected, actual));
            missing.chain(unknown).chain(differing).collect()
        }
        (Value::Array(expected), Value::Array(actual)) => list(at, expected, actual),
        (Value::String(form), actual) if form.starts_with('<') && fits(form, actual) => Vec::new(),
        (expected, actual) if expected == actual => Vec::new(),
        (expected, actual) => vec![format!("{at}: expected {expected}, not {actual}")],
    }
}

fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// A list of these entries, or of one or more like the first.
fn list(at: &str, expected: &[Value], actual: &[Value]) -> Vec<String> {
    let each = |(number, (expected, actual)): (usize, (&Value, &Value))| differences(&below(at, &number.to_string()), expected, actual);
    match expected {
        [like, Value::String(more)] if more == "..." && !actual.is_empty() => actual.iter().map(|actual| (like, actual)).enumerate().flat_map(each).collect(),
        _ if expected.len() == actual.len() => expected.iter().zip(actual).enumerate().flat_map(each).collect(),
        _ => vec![format!("{at}: has {} entries", actual.len())],
    }
}

/// Whether a value has that form.
fn fits(form: &str, value: &Value) -> bool {
    let text = value.as_str();
    let is = |test: fn(&str) -> bool| text.is_some_and(test);
    match form.trim_matches(['<', '>']) {
        "number" => value.is_u64(),
        "text" => text.is_some(),
        "Y or N" => is(|text| matches!(text, "Y" | "N")),
        "AND or OR" => is(|text| matches!(text, "AND" | "OR")),
        "key id" => is(|text| text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))),
        "date-time" => is(is_date_time),
        "date-time or null" => value.is_null() || is(is_date_time),
        "full hour" => is(|text| is_date_time(text) && text[13..].starts_with(":00:00")),
        "hex bytes" => is(|text| text.split(", ").all(|byte| byte.len() == 4 && byte.starts_with("0x") && u8::from_str_radix(&byte[2..], 16).is_ok())),
        other => {
            let length = other.strip_prefix("base64 of ").and_then(|rest| rest.strip_suffix(" bytes")).and_then(|length| length.parse::<usize>().ok());
            let length = length.unwrap_or_else(|| panic!("{form} is no form"));
            text.is_some_and(|text| STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == length))
        }
    }
}

/// ISO 8601 local time without offset, to the second or to the millisecond.
fn is_date_time(text: &str) -> bool {
    matches!(text.len(), 19 | 23) && chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok()
}
