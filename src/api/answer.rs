//! The envelope of every answer, and the formats inside it.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::try_unfold;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::domain::clock::Timestamp;
use crate::domain::secret::SecretBytes;
use crate::service::{Pieces, Refusal};

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

/// A secret that is wiped once the connection has sent it.
struct Contents(SecretBytes);

impl AsRef<[u8]> for Contents {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
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
    self::json(status, Body::from(Bytes::from_owner(Wiped(json))))
}

fn json(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A file for the caller alone, wiped after sending.
pub(super) fn file(kind: HeaderValue, contents: SecretBytes) -> Response {
    let mut response = json(StatusCode::OK, Body::from(Bytes::from_owner(Contents(contents))));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A file for everybody, that may be kept for so long.
pub(super) fn public_file(kind: HeaderValue, contents: Bytes, kept: Duration) -> Response {
    let mut response = json(StatusCode::OK, Body::from(contents));
    let cached = HeaderValue::try_from(format!("public, max-age={}", kept.as_secs())).unwrap_or(HeaderValue::from_static("no-cache"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, cached);
    response
}

/// The body of a success that has nothing to say: `null`.
pub(super) const NOTHING: fn(()) = |()| ();

/// Success with a body.
pub(super) fn success<T: Serialize>(body: T) -> Response {
    respond(StatusCode::OK, Header { result_code: 0, result_message: "success", is_successful: true }, Some(body))
}

/// Success, but nothing is changed yet: it is asked for.
pub(super) fn accepted<T: Serialize>(body: T, always_http_200: bool) -> Response {
    let status = if always_http_200 { StatusCode::OK } else { StatusCode::ACCEPTED };
    respond(status, Header { result_code: 0, result_message: "success", is_successful: true }, Some(body))
}

const LIST_BEGIN: &[u8] = br#"{"header":{"resultCode":0,"resultMessage":"success","isSuccessful":true},"body":{""#;
const LIST_END: &[u8] = b"]}}";

/// Success with a list in its body that may be longer than should be held: a piece at a time, and measured if there is only one. What
/// fails after the first piece breaks the answer off, which a client sees: the connection ends before the answer does.
pub(super) async fn list_in_pieces<T, B>(name: &'static str, mut pieces: Pieces<T>, shape: impl Fn(T) -> B + Send + 'static) -> Response
where
    T: Clone + Send + 'static,
    B: Serialize,
{
    let mut begin = Zeroizing::new([LIST_BEGIN, name.as_bytes(), b"\":["].concat());
    if pieces.is_complete() {
        while let Ok(Some(piece)) = pieces.next().await {
            append(&mut begin, piece, &shape);
        }
        begin.extend_from_slice(LIST_END);
        return json_response(StatusCode::OK, begin);
    }
    let rest = try_unfold((Some(begin), pieces, shape), async |(begin, mut pieces, shape)| {
        let Some(mut text) = begin else { return Ok(None) };
        if let Some(piece) = pieces.next().await.inspect_err(|refusal| tracing::warn!(?refusal, "a list was broken off"))? {
            append(&mut text, piece, &shape);
            let more = Zeroizing::new(Vec::new());
            Ok::<_, Refusal>(Some((Bytes::from_owner(Wiped(text)), (Some(more), pieces, shape))))
        } else {
            text.extend_from_slice(LIST_END);
            Ok(Some((Bytes::from_owner(Wiped(text)), (None, pieces, shape))))
        }
    });
    json(StatusCode::OK, Body::from_stream(rest))
}

/// Appends entries, a comma between each two of the whole list: one is wanted wherever the list has begun.
fn append<T, B: Serialize>(text: &mut Zeroizing<Vec<u8>>, entries: Vec<T>, shape: impl Fn(T) -> B) {
    for entry in entries {
        if text.last() != Some(&b'[') {
            text.push(b',');
        }
        // Strings, numbers and booleans always have a JSON form.
        let written = serde_json::to_writer(&mut **text, &shape(entry));
        debug_assert!(written.is_ok());
    }
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
