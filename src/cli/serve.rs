//! `skm serve`: the service.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::assembly::{self, Assembly};
use super::exit::{Exit, Failure};
use super::gauges::{show_gauges, show_listener};
use super::lock::DataDirectoryLock;
use super::server_certificate::{Listeners, ServerCertificate};
use super::{admin, backup, configuration, output, process, welcome};
use crate::config::Config;
use crate::scheduler::{Scheduler, SchedulerSettings};
use crate::tls::{DrainReport, ListenerCounters, ListenerSettings, ProxyProtocol, Transport};
use crate::{api, console, hsm, tls};

/// `skm serve`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Accept settings that are too weak for production
    #[arg(long)]
    dev: bool,
}

/// How often the certificate's files are looked at.
const CERTIFICATE_WATCH: Duration = Duration::from_secs(10);
/// How long after the stop signal requests, use cases, tasks and commands may take to end, all together.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// How long what is left may take after a second stop signal.
const HURRIED_STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long the operations listener may take after everything else has ended.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// How long threads that do blocking work may take in the end.
const BLOCKING_WITHIN: Duration = Duration::from_secs(1);
/// Files that are open beside the API's connections: those of console and operations, database, token, sockets, log.
const FILES_BESIDE_CONNECTIONS: u64 = 1024;

pub(super) fn run(named: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    let file = configuration::file(named)?;
    let config = configuration::load(Some(&file), arguments.dev)?;
    configuration::start_log(&config.log)?;
    let lock = DataDirectoryLock::take(&config.server.data_dir).map_err(|error| Failure::new(Exit::Locked, error.to_string()))?;
    see_to_file_limit(&config);
    let runtime = assembly::runtime()?;
    let assembly = assembly::assemble(&config, &file)?;
    let (served, in_order) = runtime.block_on(async {
        let served = serve(&config, &file, arguments, &assembly).await;
        // However it ended: a process that exits with threads inside the token's module may crash.
        (served, assembly.shut_down().await)
    });
    tracing::info!(in_order, "stopped");
    if in_order {
        runtime.shutdown_timeout(BLOCKING_WITHIN);
        return served;
    }
    tracing::error!("a worker did not come back: the process ends without finalizing the token's module");
    let exit = served.err().map_or(Exit::HandOff, |failure| {
        failure.lines().iter().for_each(|line| output::problem(line));
        failure.exit()
    });
    drop(lock);
    hsm::leave(exit as i32)
}

/// Has as many files as it may, and says so if they are too few for the connections that are promised.
fn see_to_file_limit(config: &Config) {
    let needed = u64::try_from(config.api.connections).unwrap_or(u64::MAX).saturating_add(FILES_BESIDE_CONNECTIONS);
    match process::raise_file_limit() {
        Ok(Some(limit)) if limit < needed => {
            tracing::warn!(limit, needed, "too few open files are allowed (RLIMIT_NOFILE) for that many connections ([api] connections)");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

struct Listening {
    name: &'static str,
    task: JoinHandle<DrainReport>,
}

impl Listening {
    async fn drained(&mut self) {
        let cut_off = (&mut self.task).await.map_or(0, |report| report.cut_off);
        tracing::info!(listener = self.name, cut_off, "listener drained");
    }
}

/// What ends the parts of the service, in the order in which they end. Dropped, it ends all.
#[derive(Debug, Default)]
struct Stops {
    unready: CancellationToken,
    clients: CancellationToken,
    background: CancellationToken,
    /// Last: while requests are finished, operators' machines are told that the service isn't ready.
    operations: CancellationToken,
}

impl Drop for Stops {
    fn drop(&mut self) {
        for token in [&self.unready, &self.clients, &self.background, &self.operations] {
            token.cancel();
        }
    }
}

/// The sockets, bound before anything is promised.
struct Sockets {
    api: TcpListener,
    console: TcpListener,
    operations: TcpListener,
}

/// Where they are.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    api: SocketAddr,
    console: SocketAddr,
    operations: SocketAddr,
}

impl Sockets {
    async fn bind(config: &Config) -> Result<Self, Failure> {
        Ok(Self {
            api: bind("api", config.api.listen).await?,
            console: bind("console", config.console.listen).await?,
            operations: bind("operations", config.operations.listen).await?,
        })
    }

    fn addresses(&self) -> Result<Addresses, Failure> {
        Ok(Addresses { api: self.api.local_addr()?, console: self.console.local_addr()?, operations: self.operations.local_addr()? })
    }
}

async fn bind(name: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(Exit::Failed, format!("[{name}] listen {address}: {error}; set another with [{name}] listen or SKM_{}__LISTEN", name.to_uppercase()))
    })
}

/// Everything that runs.
struct Up {
    addresses: Addresses,
    certificates: Listeners,
    clients: Vec<Listening>,
    operations: Listening,
    scheduler: Scheduler,
    admin: JoinHandle<()>,
}

async fn serve(config: &Config, file: &Path, arguments: &Arguments, assembly: &Assembly) -> Result<(), Failure> {
    // From here on a signal waits until the service is up, which it would end in the midst of its start.
    let mut signals = Signals::register()?;
    let stops = Stops::default();
    let up = start(config, file, assembly, &stops).await?;
    let Addresses { api, console, operations } = up.addresses;
    tracing::info!(%api, %console, %operations, version = env!("CARGO_PKG_VERSION"), "ready");
    if arguments.dev {
        welcome::say(file, api, console, operations)?;
    }
    wait_for_stop(&up.certificates, &mut signals).await;
    stop(up, assembly, &stops, &mut signals).await;
    Ok(())
}

async fn start(config: &Config, file: &Path, assembly: &Assembly, stops: &Stops) -> Result<Up, Failure> {
    let sockets = Sockets::bind(config).await?;
    let addresses = sockets.addresses()?;
    let certificate = ServerCertificate::new(config, assembly);
    let commands = admin::Admin::new(assembly, backup::token_directory(config, file)?, Arc::clone(&certificate));
    assembly.service.begin().await?;
    // Who was down when the only authority expired has none to issue the server's certificate. Where there is one, its renewal can wait.
    if let Err(refusal) = assembly.service.renew_authority_if_due().await {
        tracing::error!(?refusal, "the internal certificate authority is due and could not be renewed yet");
    }
    let certificates = certificate.open().await?;
    show_gauges(assembly, &certificates);
    let scheduler_settings = SchedulerSettings {
        checkpoint_interval: config.audit.checkpoint_interval,
        checkpoint_records: i64::try_from(config.audit.checkpoint_records).unwrap_or(i64::MAX),
        refusals_interval: config.limits.record_interval,
    };
    let scheduler = Scheduler::start(&assembly.service, scheduler_settings, assembly.metrics.clone(), stops.background.clone());
    let admin = admin::socket::listen(&config.server.data_dir, commands, stops.background.clone())?;
    tokio::spawn(certificate.tend(assembly.metrics.clone(), stops.background.clone()));
    for reloader in [&certificates.api, &certificates.console] {
        tokio::spawn(Arc::clone(reloader).watch(CERTIFICATE_WATCH, stops.background.clone()));
    }
    let (clients, operations) = listen(config, assembly, sockets, &certificates, stops, addresses.api.port());
    Ok(Up { addresses, certificates, clients, operations, scheduler, admin })
}

/// Ends everything, in order, within [`STOP_WITHIN`]; a second signal has it wait no longer for clients.
async fn stop(mut up: Up, assembly: &Assembly, stops: &Stops, signals: &mut Signals) {
    tracing::info!("stopping: reported unready, no new connections, requests under way are finished");
    let mut until = Instant::now() + STOP_WITHIN;
    stops.unready.cancel();
    stops.clients.cancel();
    let drained = async {
        for listening in &mut up.clients {
            listening.drained().await;
        }
    };
    wait_for("clients", &mut until, signals, drained).await;
    // What did not drain is not served any more.
    up.clients.iter().for_each(|listening| listening.task.abort());
    stops.background.cancel();
    let tasks = assembly.service.tasks();
    tasks.close();
    let settled = async {
        // Among the use cases is a backup under way.
        let (_, _, admin) = tokio::join!(tasks.wait(), up.scheduler.stopped(), up.admin);
        if admin.is_err() {
            tracing::error!("the admin socket's task panicked");
        }
    };
    wait_for("use cases", &mut until, signals, settled).await;
    if !tasks.is_empty() {
        tracing::error!(left = tasks.len(), "use cases did not end in time; the reconciler will settle what they left");
    }
    stops.operations.cancel();
    let mut until = Instant::now() + LAST_WORDS_WITHIN;
    wait_for("operations", &mut until, signals, up.operations.drained()).await;
}

/// Waits for the end of something until `until`. A signal ends the waiting, and leaves little time for what comes after.
async fn wait_for(what: &str, until: &mut Instant, signals: &mut Signals, end: impl Future<Output = ()>) {
    let ended = pin!(timeout_at(*until, end));
    tokio::select! {
        ended = ended => if ended.is_err() {
            tracing::error!(what, "did not end in time");
        },
        () = signals.stop() => {
            tracing::warn!(what, "another stop signal: not waiting any longer");
            *until = (*until).min(Instant::now() + HURRIED_STOP_WITHIN);
        }
    }
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

    /// Waits for SIGTERM or SIGINT.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for SIGTERM or SIGINT; SIGHUP reloads the certificate.
async fn wait_for_stop(certificates: &Listeners, signals: &mut Signals) {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
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

/// The limits of a listener. Proxies that speak the PROXY protocol stand before the API alone: on another listener whoever
/// connects could say that he is somebody else.
fn listener_settings(config: &Config, proxy_protocol: ProxyProtocol) -> ListenerSettings {
    ListenerSettings {
        max_connections: config.api.connections,
        handshake_timeout: config.api.handshake_timeout,
        idle_timeout: config.api.idle_timeout,
        request_timeout: config.api.request_timeout,
        max_header_bytes: u32::try_from(config.api.header_limit.0.saturating_mul(2)).unwrap_or(u32::MAX),
        proxy_protocol,
        ..ListenerSettings::default()
    }
}

/// Where the console says that the API is: the public URL if it is one for calls, else the first name of the certificate.
fn api_address(config: &Config, port: u16) -> console::ApiAddress {
    let public = config.certificates.public_url.as_ref().map(|url| url.as_str().to_owned()).filter(|url| url.starts_with("https://"));
    let name = config.api.names.iter().map(|name| name.as_str()).find(|name| !name.starts_with('*')).unwrap_or("localhost");
    let host = if name.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() };
    console::ApiAddress {
        url: public.unwrap_or_else(|| format!("https://{host}:{port}")),
        internal_authority: config.api.certificate.is_none(),
        documentation: config.api.documentation,
    }
}

fn listen(config: &Config, assembly: &Assembly, sockets: Sockets, certificates: &Listeners, stops: &Stops, port: u16) -> (Vec<Listening>, Listening) {
    let api_settings = api::ApiSettings {
        trusted_proxies: config.api.trusted_proxies.clone(),
        zone: config.server.timezone,
        always_http_200: config.server.always_http_200,
        request_timeout: config.api.request_timeout,
        header_limit: config.api.header_limit.0,
        body_limit: config.api.body_limit.0,
        documentation: config.api.documentation,
    };
    let api = api::router(api::Api::new(assembly.service.clone(), api_settings));
    let console_settings =
        console::ConsoleSettings { zone: config.server.timezone, api: api_address(config, port), server_certificate: Arc::clone(&certificates.console) };
    let console = console::router(console::Console::new(assembly.service.clone(), console_settings));
    let operations = api::operations::router(assembly.service.clone(), assembly.metrics.clone(), stops.unready.clone());
    let start = |name: &'static str, socket, transport, app, proxy_protocol, stop: &CancellationToken| {
        let counters = Arc::new(ListenerCounters::default());
        show_listener(&assembly.metrics, name, &counters);
        let task = tokio::spawn(tls::serve(socket, transport, app, listener_settings(config, proxy_protocol), counters, stop.clone()));
        Listening { name, task }
    };
    let proxies = if config.api.proxy_protocol { ProxyProtocol::From(config.api.trusted_proxies.clone()) } else { ProxyProtocol::Off };
    let clients = vec![
        start("api", sockets.api, Transport::Tls(certificates.api.shared()), api, proxies, &stops.clients),
        start("console", sockets.console, Transport::Tls(certificates.console.shared()), console, ProxyProtocol::Off, &stops.clients),
    ];
    (clients, start("operations", sockets.operations, Transport::Plain, operations, ProxyProtocol::Off, &stops.operations))
}
