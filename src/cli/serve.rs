//! `skm serve`: the service.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::assembly::{self, Assembly};
use super::exit::{Exit, Failure};
use super::lock::DataDirectoryLock;
use super::server_certificate::{self, ServerCertificates};
use super::{admin, configuration, welcome};
use crate::config::Config;
use crate::scheduler::{Scheduler, SchedulerSettings};
use crate::tls::{DrainReport, ListenerCounters, ListenerSettings, ProxyProtocol, Transport};
use crate::{api, console, tls};

/// `skm serve`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Accept settings that are too weak for production
    #[arg(long)]
    dev: bool,
}

/// How often the certificate's files are looked at.
const CERTIFICATE_WATCH: Duration = Duration::from_secs(10);
/// How long use cases under way may take after the listeners have drained.
const TASKS_WITHIN: Duration = Duration::from_secs(15);

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    let file = configuration::file(named)?;
    let config = configuration::load(Some(&file), arguments.dev)?;
    configuration::start_log(&config.log)?;
    let lock = DataDirectoryLock::take(&config.server.data_dir).map_err(|error| Failure::new(Exit::Locked, error.to_string()))?;
    let assembly = assembly::assemble(&config, &file)?;
    let ended = assembly::runtime()?.block_on(serve(&config, arguments.dev.then_some(file.as_path()), assembly));
    if ended.as_ref().is_ok_and(|in_order| !in_order) {
        tracing::error!("a worker did not come back: the process ends without finalizing the token's module");
        drop(lock);
        std::process::exit(Exit::HandOff as i32);
    }
    ended.map(drop)
}

struct Listening {
    name: &'static str,
    task: JoinHandle<DrainReport>,
}

impl Listening {
    async fn drained(self) {
        let cut_off = self.task.await.map_or(0, |report| report.cut_off);
        tracing::info!(listener = self.name, cut_off, "listener drained");
    }
}

/// What ends the listeners.
#[derive(Default)]
struct Stops {
    clients: CancellationToken,
    /// Later: while requests are finished, operators' machines are told that the service isn't ready.
    operations: CancellationToken,
}

/// The sockets, bound before anything is promised.
struct Sockets {
    api: TcpListener,
    console: TcpListener,
    operations: TcpListener,
}

async fn bind(name: &str, address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| Failure::new(Exit::Failed, format!("[{name}] listen {address}: {error}")))
}

async fn serve(config: &Config, welcome: Option<&Path>, assembly: Assembly) -> Result<bool, Failure> {
    // From here on a signal waits until the service is up, which it would end in the midst of its start.
    let signals = Signals::register()?;
    let sockets = Sockets {
        api: bind("api", config.api.listen).await?,
        console: bind("console", config.console.listen).await?,
        operations: bind("operations", config.operations.listen).await?,
    };
    assembly.service.begin().await?;
    let certificates = server_certificate::open(config, &assembly).await?;
    let (stops, unready, background) = (Stops::default(), CancellationToken::new(), CancellationToken::new());
    show_gauges(&assembly);
    let scheduler_settings = SchedulerSettings {
        checkpoint_interval: config.audit.checkpoint_interval,
        checkpoint_records: i64::try_from(config.audit.checkpoint_records).unwrap_or(i64::MAX),
    };
    let scheduler = Scheduler::start(&assembly.service, scheduler_settings, assembly.metrics.clone(), background.clone());
    let admin = admin::listen(&config.server.data_dir, admin::Admin::new(&assembly, config), background.clone())?;
    for reloader in [&certificates.api, &certificates.console] {
        tokio::spawn(Arc::clone(reloader).watch(CERTIFICATE_WATCH, background.clone()));
    }
    let (api, console, operations) = (sockets.api.local_addr()?, sockets.console.local_addr()?, sockets.operations.local_addr()?);
    let (listening, operations_listening) = listen(config, &assembly, sockets, &certificates, &stops, &unready);
    tracing::info!(%api, %console, %operations, version = env!("CARGO_PKG_VERSION"), "ready");
    if let Some(file) = welcome {
        welcome::say(file, api, console, operations)?;
    }
    wait_for_stop(&certificates, signals).await?;

    tracing::info!("stopping: reported unready, no new connections, requests under way are finished");
    unready.cancel();
    stops.clients.cancel();
    for listening in listening {
        listening.drained().await;
    }
    background.cancel();
    assembly.service.tasks().close();
    if tokio::time::timeout(TASKS_WITHIN, assembly.service.tasks().wait()).await.is_err() {
        tracing::error!(left = assembly.service.tasks().len(), "use cases did not end in time; the reconciler will settle what they left");
    }
    scheduler.stopped().await;
    // It waits for a backup under way.
    if admin.await.is_err() {
        tracing::error!("the admin socket's task panicked");
    }
    stops.operations.cancel();
    operations_listening.drained().await;
    let in_order = assembly.shut_down().await;
    tracing::info!(in_order, "stopped");
    Ok(in_order)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn register() -> Result<Self, Failure> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hang_up: signal(SignalKind::hangup())? })
    }
}

/// Waits for SIGTERM or SIGINT; SIGHUP reloads the certificate.
async fn wait_for_stop(certificates: &ServerCertificates, mut signals: Signals) -> Result<(), Failure> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hang_up.recv() => {
                let certificates = certificates.clone();
                match tokio::task::spawn_blocking(move || certificates.reload()).await {
                    Ok(Ok(())) => tracing::info!("the server certificate was reloaded"),
                    Ok(Err(error)) => tracing::error!(%error, "the server certificate was not reloaded; the one in use stays"),
                    Err(error) => tracing::error!(%error, "reloading the server certificate failed"),
                }
            }
        }
    }
}

fn listener_settings(config: &Config) -> ListenerSettings {
    ListenerSettings {
        max_connections: config.api.connections,
        handshake_timeout: config.api.handshake_timeout,
        idle_timeout: config.api.idle_timeout,
        request_timeout: config.api.request_timeout,
        max_header_bytes: u32::try_from(config.api.header_limit.0.saturating_mul(2)).unwrap_or(u32::MAX),
        proxy_protocol: if config.api.proxy_protocol { ProxyProtocol::From(config.api.trusted_proxies.clone()) } else { ProxyProtocol::Off },
        ..ListenerSettings::default()
    }
}

fn listen(
    config: &Config,
    assembly: &Assembly,
    sockets: Sockets,
    certificates: &ServerCertificates,
    stops: &Stops,
    unready: &CancellationToken,
) -> (Vec<Listening>, Listening) {
    let api_settings = api::ApiSettings {
        trusted_proxies: config.api.trusted_proxies.clone(),
        zone: config.server.timezone,
        always_http_200: config.server.always_http_200,
        request_timeout: config.api.request_timeout,
        header_limit: config.api.header_limit.0,
        body_limit: config.api.body_limit.0,
    };
    let api = api::router(api::Api::new(assembly.service.clone(), api_settings));
    let operations = api::operations::router(assembly.service.clone(), assembly.metrics.clone(), unready.clone());
    let start = |name: &'static str, socket, transport, app, stop: &CancellationToken| {
        let counters = Arc::new(ListenerCounters::default());
        show_listener(&assembly.metrics, name, &counters);
        let task = tokio::spawn(tls::serve(socket, transport, app, listener_settings(config), counters, stop.clone()));
        Listening { name, task }
    };
    let clients = vec![
        start("api", sockets.api, Transport::Tls(certificates.api.shared()), api, &stops.clients),
        start("console", sockets.console, Transport::Tls(certificates.console.shared()), console::router(), &stops.clients),
    ];
    (clients, start("operations", sockets.operations, Transport::Plain, operations, &stops.operations))
}

/// What the rooms tell about themselves, at each scrape.
fn show_gauges(assembly: &Assembly) {
    let metrics = &assembly.metrics;
    let health = |pick: fn(&crate::service::Health) -> Option<f64>| {
        let service = assembly.service.clone();
        move || pick(&service.health())
    };
    metrics.gauge(
        "ready",
        "1 if the token's canary, the database and the freshness are all right",
        health(|h| Some(f64::from(u8::from(h.problems.is_empty())))),
    );
    metrics.gauge("token_ready", "1 if the token's canary succeeds and the breaker is closed", health(|h| Some(f64::from(u8::from(h.token.ready)))));
    metrics.gauge("token_generation", "How often the connection to the token was made", health(|h| whole(h.token.generation)));
    metrics.gauge("token_cached_objects", "Objects with a cached handle", health(|h| whole(h.token.cached_objects as u64)));
    metrics.gauge("token_queue_fast", "Jobs waiting in the fast lane", health(|h| whole(h.token.queued.0 as u64)));
    metrics.gauge("token_queue_slow", "Jobs waiting in the slow lane", health(|h| whole(h.token.queued.1 as u64)));
    metrics.gauge("token_workers_replaced", "Threads replaced because they did not come back", health(|h| whole(h.token.workers_replaced)));
    metrics.gauge("token_missing_objects", "Objects that keys in service need and the token lacks: an alarm", health(|h| whole(h.missing_objects as u64)));
    metrics.gauge("freshness_seconds", "How long ago the change log was read", health(|h| h.staleness.map(|age| age.as_secs_f64())));
    metrics.gauge("writer_queue", "Audit records and changes waiting for the database", health(|h| whole(h.writer_queue as u64)));
    metrics.gauge("keys_kept", "Keys kept ready", health(|h| whole(h.keys_kept as u64)));
    metrics.gauge("use_cases", "Use cases under way", health(|h| whole(h.tasks as u64)));
}

/// Counts stay far below 2^32; what doesn't is shown as that.
fn whole(number: u64) -> Option<f64> {
    Some(f64::from(u32::try_from(number).unwrap_or(u32::MAX)))
}

fn show_listener(metrics: &crate::telemetry::Metrics, name: &'static str, counters: &Arc<ListenerCounters>) {
    let counter = |pick: fn(&ListenerCounters) -> u64| {
        let counters = Arc::clone(counters);
        move || whole(pick(&counters))
    };
    let names = match name {
        "api" => ["api_connections", "api_connections_accepted", "api_connections_refused", "api_handshake_failures"],
        "console" => ["console_connections", "console_connections_accepted", "console_connections_refused", "console_handshake_failures"],
        _ => ["operations_connections", "operations_connections_accepted", "operations_connections_refused", "operations_handshake_failures"],
    };
    metrics.gauge(names[0], "Connections open now", counter(|c| c.open.load(Ordering::Relaxed)));
    metrics.gauge(names[1], "Connections accepted since the start", counter(|c| c.accepted.load(Ordering::Relaxed)));
    metrics.gauge(names[2], "Connections refused at the limit since the start", counter(|c| c.refused_at_limit.load(Ordering::Relaxed)));
    metrics.gauge(
        names[3],
        "Handshakes that failed since the start",
        counter(|c| tls::HandshakeFailure::ALL.into_iter().map(|kind| c.handshake_failures(kind)).sum()),
    );
}
