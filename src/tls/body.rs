//! Bodies: a request's with a deadline, a response's with a mark on whether it waits for its source.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, timeout};

use super::activity::{Busy, Exchange};
use super::counters::{ListenerCounters, add};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How much of a body that the application didn't read is thrown away, and for how long.
const DISCARD_MAX_BYTES: usize = 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_millis(500);

/// A request's body that ends with an error of kind [`io::ErrorKind::TimedOut`] if it is not complete in time.
pub(super) struct RequestBody {
    /// `None` only while this is dropped.
    incoming: Option<Incoming>,
    deadline: Instant,
    /// Set when first there is something to wait for; most bodies come with their header.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether what the application doesn't read is thrown away.
    discards: bool,
    counters: Arc<ListenerCounters>,
}

impl RequestBody {
    pub(super) const fn new(incoming: Incoming, deadline: Instant, counters: Arc<ListenerCounters>) -> Self {
        Self { incoming: Some(incoming), deadline, timer: None, discards: false, counters }
    }

    /// Throws away what the application doesn't read. On HTTP/2 an answer that comes before the end of the body is followed by
    /// a reset of the stream (RFC 9113, 8.1), and some clients (curl 7) then forget the answer.
    pub(super) const fn discarding(mut self) -> Self {
        self.discards = true;
        self
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(incoming).poll_frame(context) {
            return Poll::Ready(frame.map(|result| result.map_err(Into::into)));
        }
        let deadline = this.deadline;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        add(&this.counters.body_timeouts);
        this.discards = false;
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the request's body did not come in time").into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.discards
            && !self.is_end_stream()
            && let (Some(incoming), Ok(runtime)) = (self.incoming.take(), Handle::try_current())
        {
            runtime.spawn(timeout(DISCARD_TIME, discard(incoming)));
        }
    }
}

async fn discard(mut incoming: Incoming) {
    let mut discarded = 0;
    while discarded < DISCARD_MAX_BYTES
        && let Some(Ok(frame)) = incoming.frame().await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// A response's body. While it waits for its source the connection is busy; while it waits for the peer to read it is not,
/// so a peer that doesn't read runs into the idle timeout.
pub(super) struct ResponseBody {
    body: Body,
    exchange: Exchange,
    waiting: Option<Busy>,
}

impl ResponseBody {
    pub(super) const fn new(body: Body, exchange: Exchange) -> Self {
        Self { body, exchange, waiting: None }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let result = Pin::new(&mut this.body).poll_frame(context);
        if result.is_ready() {
            this.waiting = None;
            this.exchange.touch();
        } else if this.waiting.is_none() {
            this.waiting = Some(this.exchange.busy());
        }
        result
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
