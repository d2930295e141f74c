//! What the socket answers.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cli::exit::{Exit, Failure};

/// A command's answer, or why it isn't done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reply<A> {
    Answer(A),
    Failure(Failure),
}

impl<A> From<Result<A, Failure>> for Reply<A> {
    fn from(outcome: Result<A, Failure>) -> Self {
        match outcome {
            Ok(answer) => Self::Answer(answer),
            Err(failure) => Self::Failure(failure),
        }
    }
}

/// Bytes that are wiped once they were sent: some requests and answers hold a secret.
pub(super) struct Wiped(pub(super) Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Room for an answer of the ordinary size, so that the buffer doesn't move and leaves no copy behind.
const CAPACITY: usize = 4_096;

/// An answer for the wire.
pub(super) fn response<A: Serialize>(status: StatusCode, reply: &Reply<A>) -> Response {
    let mut json = Zeroizing::new(Vec::with_capacity(CAPACITY));
    if let Err(error) = serde_json::to_writer(&mut *json, reply) {
        tracing::error!(%error, "a command's answer has no JSON form");
        return plain_failure(StatusCode::INTERNAL_SERVER_ERROR, Exit::Failed, "the answer can't be told; the command was carried out");
    }
    let mut response = Response::new(Body::from(Bytes::from_owner(Wiped(json))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A failure of the socket's own.
pub(super) fn plain_failure(status: StatusCode, exit: Exit, line: &str) -> Response {
    response::<()>(status, &Reply::Failure(Failure::new(exit, line)))
}
