//! What these tests stand on: a CA, certificates, a listener, clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use skm::domain::clock::{Clock as _, SystemClock, Timestamp};
use skm::hsm::HsmError;
use skm::service::pki::{Ca, DigestSigner, IssuedKeyPair, make_ca_certificate, private_key_pem};
use skm::tls::{DrainReport, ListenerCounters, ListenerSettings, Peer, SharedTls, Transport, server_config};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Nothing in these tests takes that long.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// Runs a program, panics with what it said if it fails, answers its standard output.
pub(super) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let (ok, out, err) = try_run(program, arguments, input);
    assert!(ok, "{program} {arguments:?}: {}{err}", String::from_utf8_lossy(&out));
    out
}

/// Runs a program: whether it succeeded, its standard output, its standard error.
pub(super) fn try_run(program: &str, arguments: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
    use std::io::Write as _;
    let pipes = || Stdio::piped();
    let mut child = Command::new(program).args(arguments).stdin(pipes()).stdout(pipes()).stderr(pipes()).spawn().expect("the program starts");
    // A program that doesn't want it closes the pipe.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("the program ends");
    (output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(super) fn openssl(arguments: &[&str], input: &[u8]) -> String {
    String::from_utf8(run("openssl", arguments, input)).expect("text")
}

/// A CA key in a file, which OpenSSL signs with: like a token, it gets a digest and answers r and s.
pub(super) struct FileKey {
    _directory: tempfile::TempDir,
    path: String,
    pub(super) signatures: AtomicU64,
}

impl FileKey {
    pub(super) fn make() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.key").to_str().expect("a path").to_owned();
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &path], &[]);
        Self { _directory: directory, path, signatures: AtomicU64::new(0) }
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        run("openssl", &["pkey", "-in", &self.path, "-pubout", "-outform", "DER"], &[])
    }
}

impl DigestSigner for FileKey {
    fn sign_digest(&self, digest: [u8; 32]) -> Result<[u8; 64], HsmError> {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        let der = run("openssl", &["pkeyutl", "-sign", "-inkey", &self.path, "-pkeyopt", "digest:sha256"], &digest);
        let mut rest = der.get(2..).expect("a sequence");
        let mut signature = [0; 64];
        for half in signature.chunks_mut(32) {
            let (header, tail) = rest.split_at(2);
            let (integer, tail) = tail.split_at(usize::from(header[1]));
            let digits = integer.strip_prefix(&[0]).unwrap_or(integer);
            half[32 - digits.len()..].copy_from_slice(digits);
            rest = tail;
        }
        Ok(signature)
    }
}

/// A CA of its own and what it issued.
pub(super) struct World {
    pub(super) key: Arc<FileKey>,
    pub(super) ca: Ca,
    pub(super) server: IssuedKeyPair,
    pub(super) client: IssuedKeyPair,
    pub(super) expired: IssuedKeyPair,
}

impl World {
    pub(super) fn make(name: &str) -> Self {
        let key = Arc::new(FileKey::make());
        let long_ago = now().minus(DAY * 20);
        let certificate = make_ca_certificate(name, &key.spki(), key.as_ref(), long_ago, DAY * 4_000).expect("a CA");
        let ca = Ca::open(&certificate, key.clone(), None).expect("a CA");
        let issue = |name, at| ca.issue_client(name, 10, at).expect("a certificate");
        let server = ca.issue_server(&["localhost".to_owned()], &["127.0.0.1".parse().expect("an address")], 30, now()).expect("a certificate");
        Self { client: issue("client", now()), expired: issue("expired", long_ago), server, key, ca }
    }

    pub(super) fn root(&self) -> CertificateDer<'static> {
        self.ca.certificate().to_vec().into()
    }

    pub(super) fn transport(&self) -> Transport {
        Transport::Tls(SharedTls::new(server_config(chain(&self.server), private(&self.server), &[self.root()]).expect("a configuration")))
    }

    /// A client that trusts this CA, speaks these protocols and perhaps shows a certificate.
    pub(super) fn connector(&self, alpn: &[&str], identity: Option<&IssuedKeyPair>) -> TlsConnector {
        self.connector_for(rustls::ALL_VERSIONS, alpn, identity)
    }

    pub(super) fn connector_for(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&str],
        identity: Option<&IssuedKeyPair>,
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.root()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions").with_root_certificates(roots);
        let mut config = match identity {
            Some(pair) => builder.with_client_auth_cert(chain(pair), private(pair)).expect("an identity"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    /// Writes what command-line clients want into a directory.
    pub(super) fn write_ca(&self, directory: &Path) -> PathBuf {
        let path = directory.join("ca.pem");
        std::fs::write(&path, skm::service::pki::certificate_pem(self.ca.certificate())).expect("written");
        path
    }
}

/// Ours.
pub(super) static OURS: LazyLock<World> = LazyLock::new(|| World::make("Test CA"));
/// One with the same name and another key.
pub(super) static FOREIGN: LazyLock<World> = LazyLock::new(|| World::make("Test CA"));

pub(super) fn chain(pair: &IssuedKeyPair) -> Vec<CertificateDer<'static>> {
    vec![pair.certificate.der.clone().into()]
}

pub(super) fn private(pair: &IssuedKeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(pair.key.expose().to_vec()).into()
}

/// Writes certificate and key as PEM, the key for its owner only.
pub(super) fn write_pair(directory: &Path, pair: &IssuedKeyPair) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let paths = (directory.join("server.pem"), directory.join("server.key"));
    std::fs::write(&paths.0, skm::service::pki::certificate_pem(&pair.certificate.der)).expect("written");
    std::fs::write(&paths.1, private_key_pem(&pair.key).expose()).expect("written");
    std::fs::set_permissions(&paths.1, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    paths
}

/// A listener that runs.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) counters: Arc<ListenerCounters>,
    pub(super) shutdown: CancellationToken,
    task: JoinHandle<DrainReport>,
}

impl Server {
    pub(super) async fn start(transport: Transport, change: impl FnOnce(&mut ListenerSettings)) -> Self {
        let mut settings = ListenerSettings { close_grace: Duration::from_millis(100), ..ListenerSettings::default() };
        change(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (counters, shutdown) = (Arc::<ListenerCounters>::default(), CancellationToken::new());
        let task = tokio::spawn(skm::tls::serve(listener, transport, app(), settings, counters.clone(), shutdown.clone()));
        Self { address, counters, shutdown, task }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    pub(super) async fn connect_tls(&self, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
        connector.connect(ServerName::try_from("localhost").expect("a name"), self.connect().await).await
    }

    /// Tells it to stop, and waits for it.
    pub(super) async fn stop(self) -> DrainReport {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the listener stops").expect("without a panic")
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }
}

fn app() -> Router {
    Router::new()
        .route("/peer", get(peer))
        .route("/wait", any(wait))
        .route("/echo", any(echo))
        .route("/bytes", any(|body: axum::body::Bytes| async move { body.len().to_string() }))
        .route("/big", get(|Query(size): Query<Size>| async move { vec![b'x'; size.bytes] }))
        .route("/panic", get(panics))
        .route("/ignore", any(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
}

async fn peer(axum::Extension(peer): axum::Extension<Peer>) -> String {
    let fingerprint = peer.certificate.as_ref().map_or_else(|| "none".to_owned(), |certificate| certificate.fingerprint.to_string());
    let not_after = peer.certificate.as_ref().map_or(0, |certificate| certificate.not_after.seconds());
    format!("{} {} {fingerprint} {not_after} {} {}", peer.address, peer.port, peer.protocol, peer.secure)
}

async fn panics() -> &'static str {
    panic!("a handler that panics, on purpose")
}

#[derive(serde::Deserialize)]
struct Size {
    bytes: usize,
}

#[derive(serde::Deserialize)]
struct Wait {
    ms: u64,
}

async fn wait(Query(wait): Query<Wait>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(wait.ms)).await;
    "waited"
}

/// Answers 408 for a body that comes too slowly, as the API does.
async fn echo(request: Request) -> Response {
    match request.into_body().collect().await {
        Ok(body) => Body::new(Full::new(body.to_bytes())).into_response(),
        Err(error) => {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(error) = cause {
                if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
                    return StatusCode::REQUEST_TIMEOUT.into_response();
                }
                cause = error.source();
            }
            StatusCode::BAD_REQUEST.into_response()
        }
    }
}

pub(super) type Http1 = http1::SendRequest<Full<bytes::Bytes>>;
pub(super) type Http2 = http2::SendRequest<Full<bytes::Bytes>>;

pub(super) async fn http1<S>(stream: S) -> Http1
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    sender
}

pub(super) async fn http2<S>(stream: S) -> (Http2, JoinHandle<hyper::Result<()>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    (sender, tokio::spawn(connection))
}

pub(super) fn request(path: &str) -> hyper::Request<Full<bytes::Bytes>> {
    hyper::Request::builder().uri(format!("https://localhost{path}")).header("host", "localhost").body(Full::default()).expect("a request")
}

pub(super) async fn text(response: hyper::Response<hyper::body::Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.expect("a body").to_bytes().to_vec()).expect("text")
}

/// Asks `/peer` over a new HTTP/1.1 connection.
pub(super) async fn ask_peer(server: &Server, connector: &TlsConnector) -> String {
    let mut client = http1(server.connect_tls(connector).await.expect("a handshake")).await;
    text(client.send_request(request("/peer")).await.expect("an answer")).await
}

/// Waits until `condition` holds.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
