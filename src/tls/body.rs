//! Bodies: a request's with a deadline, a response's with a mark on whether it waits for its source.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::activity::{Busy, Exchange};
use super::counters::{ListenerCounters, add};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body that ends with an error of kind [`io::ErrorKind::TimedOut`] if it is not complete in time.
pub(super) struct RequestBody {
    incoming: Incoming,
    deadline: Instant,
    /// Set when first there is something to wait for; most bodies come with their header.
    timer: Option<Pin<Box<Sleep>>>,
    counters: Arc<ListenerCounters>,
}

impl RequestBody {
    pub(super) const fn new(incoming: Incoming, deadline: Instant, counters: Arc<ListenerCounters>) -> Self {
        Self { incoming, deadline, timer: None, counters }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(context) {
            return Poll::Ready(frame.map(|result| result.map_err(Into::into)));
        }
        let deadline = this.deadline;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        add(&this.counters.body_timeouts);
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the request's body did not come in time").into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
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
