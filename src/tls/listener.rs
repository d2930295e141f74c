//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Context};
use super::counters::{ListenerCounters, add};
use super::registry::Registry;
use super::reload::SharedTls;
use super::settings::ListenerSettings;

/// How long to wait after `accept(2)` failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections speak beneath HTTP.
#[derive(Debug, Clone)]
pub enum Transport {
    /// TLS.
    Tls(SharedTls),
    /// Nothing: for the operations listener on the loopback interface.
    Plain,
}

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were still open when the drain time was over, and were cut off.
    pub cut_off: usize,
}

/// Serves `app` on `listener` until the stop signal. Then nobody is accepted any more, requests under way have
/// [`ListenerSettings::drain`] to finish, and what is left is cut off.
pub async fn serve(
    listener: TcpListener,
    transport: Transport,
    app: Router,
    settings: ListenerSettings,
    counters: Arc<ListenerCounters>,
    shutdown: CancellationToken,
) -> DrainReport {
    let registry = Registry::new(settings.max_connections, settings.max_handshakes, Arc::clone(&counters));
    let context = Arc::new(Context { transport, app, settings, counters, shutdown, abort: CancellationToken::new() });
    let tasks = TaskTracker::new();
    while let Some(accepted) = context.shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((tcp, source)) => admit(&context, &registry, &tasks, tcp, source),
            Err(error) => recover(&context, &error).await,
        }
    }
    drop(listener);
    drain(&context, &tasks).await
}

fn admit(context: &Arc<Context>, registry: &Arc<Registry>, tasks: &TaskTracker, tcp: TcpStream, source: SocketAddr) {
    add(&context.counters.accepted);
    let Some(admission) = registry.admit() else {
        tracing::debug!(%source, "a connection was refused: too many are open");
        return;
    };
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%source, %error, "a connection was gone before it began");
        return;
    }
    tasks.spawn(connection::run(Arc::clone(context), tcp, source, admission));
}

/// A connection that ended before it was accepted is its own affair; anything else is ours, and passes when connections close.
async fn recover(context: &Context, error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return;
    }
    add(&context.counters.accept_errors);
    tracing::warn!(%error, "no connection could be accepted; trying again");
    context.shutdown.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
}

async fn drain(context: &Context, tasks: &TaskTracker) -> DrainReport {
    tasks.close();
    if tokio::time::timeout(context.settings.drain, tasks.wait()).await.is_ok() {
        return DrainReport { cut_off: 0 };
    }
    let cut_off = tasks.len();
    tracing::warn!(cut_off, "connections were cut off: they did not end in time");
    context.abort.cancel();
    tasks.wait().await;
    DrainReport { cut_off }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Instant;

    use super::*;

    fn context() -> Context {
        Context {
            transport: Transport::Plain,
            app: Router::new(),
            settings: ListenerSettings::default(),
            counters: Arc::default(),
            shutdown: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn running_out_of_descriptors_pauses_and_a_lost_connection_does_not() {
        use rustix::io::Errno;
        for (errno, pauses) in [(Errno::MFILE, true), (Errno::NFILE, true), (Errno::NOBUFS, true), (Errno::CONNABORTED, false), (Errno::INTR, false)] {
            let context = context();
            let began = Instant::now();
            recover(&context, &errno.into()).await;
            assert_eq!(began.elapsed() >= ACCEPT_PAUSE, pauses, "{errno:?}");
            assert_eq!(context.counters.accept_errors.load(Ordering::Relaxed), u64::from(pauses), "{errno:?}");
        }
    }

    #[tokio::test]
    async fn the_stop_signal_ends_the_pause() {
        let context = context();
        context.shutdown.cancel();
        let began = Instant::now();
        recover(&context, &rustix::io::Errno::MFILE.into()).await;
        assert!(began.elapsed() < ACCEPT_PAUSE);
    }
}
