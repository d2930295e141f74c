//! The envelope of every answer, and the formats inside it.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::domain::clock::Timestamp;

/// The header part of the envelope.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header<'a> {
    pub(super) result_code: i32,
    pub(super) result_message: &'a str,
    pub(super) is_successful: bool,
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    header: Header<'a>,
    body: Option<T>,
}

/// Bytes that are wiped once the connection has sent them.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The largest answers are confidential data of 32 KiB, escaped; most are far smaller.
const ANSWER_CAPACITY: usize = 512;

fn respond<T: Serialize>(status: StatusCode, header: Header<'_>, body: Option<T>) -> Response {
    let mut json = Zeroizing::new(Vec::with_capacity(ANSWER_CAPACITY));
    // Strings, numbers and booleans always have a JSON form.
    let written = serde_json::to_writer(&mut *json, &Envelope { header, body });
    debug_assert!(written.is_ok());
    json_response(status, json)
}

/// A JSON answer from bytes that are wiped after sending.
pub(super) fn json_response(status: StatusCode, json: Zeroizing<Vec<u8>>) -> Response {
    let mut response = Response::new(Body::from(Bytes::from_owner(Wiped(json))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Success with a body.
pub(super) fn success<T: Serialize>(body: T) -> Response {
    respond(StatusCode::OK, Header { result_code: 0, result_message: "success", is_successful: true }, Some(body))
}

/// A failure.
pub(super) fn failure(status: StatusCode, code: i32, message: &str) -> Response {
    respond::<()>(status, Header { result_code: code, result_message: message, is_successful: false }, None)
}

/// `2025-01-25T12:00:00`: ISO 8601 local time in the zone of the settings, without offset.
pub fn local_time(at: Timestamp, zone: chrono_tz::Tz) -> String {
    let utc = DateTime::<Utc>::from_timestamp_micros(at.micros()).unwrap_or_default();
    utc.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// `0x30, 0x82, …`: bytes as the wire contract shows a key.
pub(super) fn hex_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("0x{byte:02X}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_local_and_without_offset() {
        let at = Timestamp::from_micros(1_737_806_400_123_456);
        assert_eq!(local_time(at, chrono_tz::UTC), "2025-01-25T12:00:00");
        assert_eq!(local_time(at, chrono_tz::Asia::Seoul), "2025-01-25T21:00:00");
    }

    #[test]
    fn key_bytes_are_separated_hex() {
        assert_eq!(hex_bytes(&[0x30, 0x82, 0x0a]), "0x30, 0x82, 0x0A");
    }
}
