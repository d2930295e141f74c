//! Work that is finished whoever waits for it.

use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that, dropped before its end, goes on in a task of its own. As long as somebody waits for it, it runs where they do:
/// a task for each request would cost two more wake-ups.
pub(super) struct ToTheEnd<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send + 'static> + Send + 'static;

impl<F: Future<Output: Send + 'static> + Send + 'static> ToTheEnd<F> {
    pub(super) fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = self.0.as_mut() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        // Without a runtime the process is at its end, and so is the work.
        if let (Some(work), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            drop(runtime.spawn(work));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn it_answers_who_waits() {
        assert_eq!(ToTheEnd::new(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn dropped_half_way_it_goes_on_and_is_tracked() {
        let (tracker, go_on, done) = (TaskTracker::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (waits, tells) = (Arc::clone(&go_on), Arc::clone(&done));
        let work = tracker.track_future(async move {
            waits.notified().await;
            tells.notify_one();
        });
        let waited = tokio::time::timeout(Duration::from_millis(10), ToTheEnd::new(work)).await;
        assert!(waited.is_err());
        assert_eq!(tracker.len(), 1);
        go_on.notify_one();
        done.notified().await;
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test]
    async fn never_begun_it_is_done_all_the_same() {
        let (told, tells) = tokio::sync::oneshot::channel();
        drop(ToTheEnd::new(async move { told.send(()) }));
        assert_eq!(tells.await, Ok(()));
    }
}
