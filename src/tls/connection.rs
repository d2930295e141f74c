//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::EXPECT;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::activity::{Activity, Verdict};
use super::address::is_trusted;
use super::body::{RequestBody, ResponseBody};
use super::counters::{Gauge, HandshakeFailure, ListenerCounters, add};
use super::listener::Transport;
use super::peer::{Peer, Protocol};
use super::registry::Admission;
use super::settings::{ListenerSettings, ProxyProtocol};
use super::socket::{Socket, Watched};

/// hyper reads a header and writes an answer through buffers of at most this size per connection.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;
/// How much of a request's body may be on its way without having been read, per stream and per connection (RFC 9113, 6.9).
const HTTP2_STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// How much of an answer may wait to be sent, per stream.
const HTTP2_SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) transport: Transport,
    pub(super) app: Router,
    pub(super) settings: ListenerSettings,
    pub(super) counters: Arc<ListenerCounters>,
    /// Stop, but finish what is under way.
    pub(super) shutdown: CancellationToken,
    /// Stop at once.
    pub(super) abort: CancellationToken,
}

/// Runs a connection until it ends.
pub(super) async fn run(context: Arc<Context>, tcp: TcpStream, source: SocketAddr, admission: Admission) {
    let _open = Gauge::new(Arc::clone(&context.counters), |counters| &counters.open);
    let activity = Arc::clone(&admission.activity);
    let ready = tokio::select! {
        ready = establish(&context, tcp, source, &admission) => ready,
        // A handshake is no request under way.
        () = context.shutdown.cancelled() => None,
    };
    match ready {
        Some((Stream::Plain(socket), peer)) => serve_http(&context, socket, peer, activity).await,
        Some((Stream::Tls(tls), peer)) => serve_http(&context, *tls, peer, activity).await,
        None => {}
    }
}

enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// All that comes before the first request. `None` is a connection that has ended, and was counted.
async fn establish(context: &Context, tcp: TcpStream, source: SocketAddr, admission: &Admission) -> Option<(Stream, Peer)> {
    let handshaking = Gauge::new(Arc::clone(&context.counters), |counters| &counters.handshaking);
    let handshake = tokio::select! {
        result = timeout(context.settings.handshake_timeout, handshake(context, Socket::new(tcp), source)) => {
            result.unwrap_or_else(|_| Err(Failed::quietly(HandshakeFailure::TimedOut)))
        }
        () = admission.activity.displaced.notified() => Err(Failed::quietly(HandshakeFailure::Displaced)),
    };
    admission.established();
    drop(handshaking);
    match handshake {
        Ok(established) => Some(established),
        Err(Failed { kind, error, socket }) => {
            context.counters.count_failure(kind);
            tracing::debug!(%source, failure = kind.as_str(), error = error.map(tracing::field::display), "a handshake failed");
            if let Some(mut socket) = socket {
                // Gently, so that the peer gets the alert. It may be gone already.
                let _ = socket.shutdown().await;
            }
            None
        }
    }
}

struct Failed {
    kind: HandshakeFailure,
    error: Option<io::Error>,
    /// Where the peer has yet to be told.
    socket: Option<Socket>,
}

impl Failed {
    const fn quietly(kind: HandshakeFailure) -> Self {
        Self { kind, error: None, socket: None }
    }
}

async fn handshake(context: &Context, mut socket: Socket, source: SocketAddr) -> Result<(Stream, Peer), Failed> {
    let source = match read_proxy_header(context, &mut socket, source).await {
        Ok(source) => source,
        Err(error) => return Err(Failed { kind: HandshakeFailure::ProxyHeader, error: Some(error), socket: None }),
    };
    let Transport::Tls(shared) = &context.transport else {
        return Ok((Stream::Plain(socket), Peer::plain(source)));
    };
    match TlsAcceptor::from(shared.current()).accept(socket).into_fallible().await {
        Ok(stream) => {
            let peer = Peer::tls(source, stream.get_ref().1);
            Ok((Stream::Tls(Box::new(stream)), peer))
        }
        Err((error, socket)) => Err(Failed { kind: HandshakeFailure::of(&error), error: Some(error), socket: Some(socket) }),
    }
}

async fn read_proxy_header(context: &Context, socket: &mut Socket, source: SocketAddr) -> io::Result<SocketAddr> {
    match &context.settings.proxy_protocol {
        ProxyProtocol::From(proxies) if is_trusted(source.ip(), proxies) => Ok(super::proxy_protocol::read_source(socket).await?.unwrap_or(source)),
        ProxyProtocol::From(_) | ProxyProtocol::Off => Ok(source),
    }
}

async fn serve_http<S>(context: &Context, stream: S, peer: Peer, activity: Arc<Activity>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = &context.settings;
    let protocol = peer.protocol;
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity), protocol == Protocol::Http1));
    let (app, counters, request_timeout) = (context.app.clone(), Arc::clone(&context.counters), settings.request_timeout);
    let requests = Arc::clone(&activity);
    let service = service_fn(move |request| respond(&app, &counters, &peer, &requests, request_timeout, request));
    match protocol {
        Protocol::Http1 => {
            let mut http = hyper::server::conn::http1::Builder::new();
            // hyper's own timer for headers also runs between requests, where the idle timeout holds: [`Activity`] has both.
            http.header_read_timeout(None);
            http.max_header_size(usize::try_from(settings.max_header_bytes).unwrap_or(usize::MAX)).max_buf_size(HTTP1_BUFFER_BYTES);
            drive(context, http.serve_connection(io, service), &activity).await;
        }
        Protocol::Http2 => {
            let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http.max_concurrent_streams(settings.max_streams)
                .max_header_list_size(settings.max_header_bytes)
                .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
                .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
                .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES);
            drive(context, http.serve_connection(io, service), &activity).await;
        }
    }
}

fn respond(
    app: &Router,
    counters: &Arc<ListenerCounters>,
    peer: &Peer,
    activity: &Arc<Activity>,
    request_timeout: Duration,
    request: Request<Incoming>,
) -> impl Future<Output = Result<axum::http::Response<ResponseBody>, Infallible>> + Send + use<> {
    add(&counters.requests);
    let exchange = activity.request_began();
    let busy = exchange.busy();
    let deadline = Instant::now() + request_timeout;
    // Who expects a "100 Continue" hasn't sent its body.
    let discards = peer.protocol == Protocol::Http2 && !request.headers().contains_key(EXPECT);
    let mut request = request.map(|incoming| {
        let body = RequestBody::new(incoming, deadline, Arc::clone(counters));
        if discards { body.discarding() } else { body }
    });
    request.extensions_mut().insert(peer.clone());
    let response = app.clone().call(request);
    async move {
        let response = response.await?.map(|body| ResponseBody::new(body, exchange));
        // From here on it is the peer's turn.
        drop(busy);
        Ok(response)
    }
}

/// Polls the connection until it ends, is idle for too long, must make room, or the listener stops.
async fn drive<C>(context: &Context, connection: C, activity: &Activity)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let ListenerSettings { idle_timeout, request_timeout, close_grace, .. } = context.settings;
    let mut connection = Box::pin(connection);
    let mut closing = false;
    let mut timer = std::pin::pin!(sleep_until(Instant::now() + request_timeout.min(idle_timeout)));
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            () = timer.as_mut() => {}
            () = activity.displaced.notified(), if !closing => start_closing(connection.as_mut(), activity, &mut closing),
            () = context.shutdown.cancelled(), if !closing => start_closing(connection.as_mut(), activity, &mut closing),
            () = context.abort.cancelled() => return,
        }
        let patience = if closing { close_grace } else { idle_timeout };
        match activity.verdict(Instant::now(), patience, request_timeout) {
            Verdict::LookAgain(then) => timer.as_mut().reset(then),
            Verdict::SlowHeader => {
                add(&context.counters.header_timeouts);
                return;
            }
            Verdict::Idle if closing => return,
            Verdict::Idle => {
                add(&context.counters.idle_timeouts);
                start_closing(connection.as_mut(), activity, &mut closing);
                timer.as_mut().reset(Instant::now() + close_grace);
            }
        }
    }
}

/// Tells the peer that the connection ends (HTTP/2), ends it at once if no request is under way (HTTP/1.1), and gives it
/// [`ListenerSettings::close_grace`] from now.
fn start_closing<C: GracefulConnection>(connection: Pin<&mut C>, activity: &Activity, closing: &mut bool) {
    *closing = true;
    activity.touch();
    connection.graceful_shutdown();
}
