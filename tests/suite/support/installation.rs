//! A whole installation of its own: the program itself, initialised with `skm init --dev` on tmpfs and served on free ports.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::raw_database::RawDatabase;
use serde_json::Value;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// The longest that a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The limit on failures, which is off unless a test sets it.
const FAILURES: &str = "SKM_LIMITS__FAILURES_PER_SECOND";
/// How much of its log a failed test shows.
const LAST_LINES: usize = 40;

/// The installation's files, with no process running.
#[derive(Debug)]
pub(crate) struct Installation {
    directory: tempfile::TempDir,
    /// Environment of every process: overrides of the configuration.
    overrides: Vec<(String, String)>,
    demo: HashMap<String, String>,
}

impl Installation {
    /// On SQLite.
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// With these overrides of the configuration, `("SKM_DATABASE__URL", "postgres://…")` for one.
    pub(crate) fn with(overrides: &[(&str, &str)]) -> Self {
        let mut installation = Self {
            directory: directory(),
            overrides: overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            demo: HashMap::new(),
        };
        for listener in ["API", "CONSOLE", "OPERATIONS"] {
            installation.overrides.push((format!("SKM_{listener}__LISTEN"), "127.0.0.1:0".to_owned()));
        }
        // Tests ask for what doesn't exist all the time, from one address.
        if !installation.overrides.iter().any(|(name, _)| name == FAILURES) {
            installation.overrides.push((FAILURES.to_owned(), "0".to_owned()));
        }
        let output = installation.command(&["init", "--dev", "--directory"]).arg(installation.path()).output().expect("skm init");
        assert!(output.status.success(), "skm init: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        installation.demo = parse_environment(&std::fs::read_to_string(installation.path().join("dev.env")).expect("dev.env"));
        installation
    }

    /// Its directory, what `.skm` is to a newcomer.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("skm")
    }

    /// A value of `dev.env`, without its prefix: `demo("SYMMETRIC_ID")`.
    pub(crate) fn demo(&self, name: &str) -> &str {
        self.demo.get(&format!("SKM_{name}")).unwrap_or_else(|| panic!("no SKM_{name} in dev.env"))
    }

    /// Sets an override for processes that are started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.overrides.retain(|(known, _)| known != name);
        self.overrides.push((name.to_owned(), value.to_owned()));
    }

    /// The program with the installation's configuration and overrides.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skm"));
        command.args(arguments).env_remove("SOFTHSM2_CONF").envs(self.overrides.iter().cloned()).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        if !arguments.contains(&"init") {
            command.arg("--config").arg(self.path().join("skm.toml"));
        }
        command
    }

    /// Runs the program to its end: exit code, standard output, standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().expect("skm");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// The SQLite file.
    pub(crate) fn database_file(&self) -> PathBuf {
        let moved = self.overrides.iter().find_map(|(name, url)| url.strip_prefix("sqlite:").filter(|_| name == "SKM_DATABASE__URL"));
        moved.map_or_else(|| self.path().join("data/skm.sqlite3"), PathBuf::from)
    }

    /// Moves the SQLite file to another place, with no process running.
    pub(crate) fn move_database(&mut self, to: &Path) {
        self.database().run("PRAGMA wal_checkpoint(TRUNCATE)");
        std::fs::copy(self.database_file(), to).expect("a copy");
        self.set("SKM_DATABASE__URL", &format!("sqlite:{}", to.display()));
    }

    /// A look at the database past the service.
    pub(crate) fn database(&self) -> RawDatabase {
        match self.overrides.iter().find(|(name, url)| name == "SKM_DATABASE__URL" && url.starts_with("postgres")) {
            Some((_, url)) => RawDatabase::postgresql(url),
            None => RawDatabase::sqlite(&self.database_file()),
        }
    }

    /// The same installation at another place, with neither token nor data: its configuration, PINs and client certificate.
    pub(crate) fn empty_copy(&self) -> Self {
        let directory = directory();
        let copy = Self { directory, overrides: self.overrides.clone(), demo: HashMap::new() };
        std::fs::DirBuilder::new().mode(0o700).create(copy.path()).expect("a directory");
        let (old, new) = (self.path().display().to_string(), copy.path().display().to_string());
        for name in ["skm.toml", "softhsm2.conf", "pin", "so-pin", "dev.env", "client.pem", "client.key"] {
            let text = std::fs::read_to_string(self.path().join(name)).expect("a file of the installation").replace(&old, &new);
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy.path().join(name)).expect("a file");
            file.write_all(text.as_bytes()).expect("written");
        }
        let demo = parse_environment(&std::fs::read_to_string(copy.path().join("dev.env")).expect("dev.env"));
        Self { demo, ..copy }
    }

    /// Starts the service and waits until it is ready.
    pub(crate) fn start(&self) -> Running {
        self.try_start().unwrap_or_else(|log| panic!("skm serve did not become ready:\n{log}"))
    }

    /// Starts another process on the same database and token, with a data directory of its own, and waits until it is ready.
    pub(crate) fn start_node(&self, node: &str) -> Running {
        let mut command = self.command(&["serve", "--dev"]);
        command.env("SKM_SERVER__NODE", node).env("SKM_SERVER__DATA_DIR", self.path().join(format!("data-{node}")));
        self.try_start_with(command).unwrap_or_else(|log| panic!("skm serve as {node} did not become ready:\n{log}"))
    }

    /// Starts the service; its log, if it ends before it is ready.
    pub(crate) fn try_start(&self) -> Result<Running, String> {
        self.try_start_with(self.command(&["serve", "--dev"]))
    }

    /// Starts the service by a command of the caller's, which must come to `skm serve`.
    pub(crate) fn try_start_with(&self, mut command: Command) -> Result<Running, String> {
        let mut child = command.env("SKM_LOG__FORMAT", "json").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("skm serve");
        let log = Arc::new(Mutex::new(String::new()));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (stderr, kept) = (child.stderr.take().expect("stderr"), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(addresses) = addresses_in(&line) {
                    let _ = ready.send(addresses);
                }
                let mut log = kept.lock().expect("the log");
                log.push_str(&line);
                log.push('\n');
            }
        });
        match is_ready.recv_timeout(PATIENCE) {
            Ok(addresses) => Ok(Running { child, log, addresses, agents: Agents::new(self) }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(log.lock().expect("the log").clone())
            }
        }
    }
}

/// A directory in memory, where there is such a thing.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("skm-installation-").tempdir_in(place).expect("a directory")
}

/// `export NAME='value'` lines.
fn parse_environment(text: &str) -> HashMap<String, String> {
    let parse = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    text.lines().filter_map(parse).collect()
}

#[derive(Debug, Clone)]
struct Addresses {
    api: String,
    console: String,
    operations: String,
}

fn addresses_in(line: &str) -> Option<Addresses> {
    let value: Value = serde_json::from_str(line).ok()?;
    let fields = value.get("fields").unwrap_or(&value);
    if fields.get("message")? != "ready" {
        return None;
    }
    let address = |name: &str| Some(fields.get(name)?.as_str()?.to_owned());
    Some(Addresses { api: address("api")?, console: address("console")?, operations: address("operations")? })
}

/// HTTP clients: without and with the demo's client certificate.
#[derive(Debug, Clone)]
struct Agents {
    plain: ureq::Agent,
    certified: ureq::Agent,
}

impl Agents {
    fn new(installation: &Installation) -> Self {
        let roots = pem(Path::new(installation.demo("CA")));
        let chain: Vec<Certificate<'static>> = certificates(&pem(Path::new(installation.demo("CLIENT_CERT"))));
        let key = PrivateKey::from_pem(&pem(Path::new(installation.demo("CLIENT_KEY")))).expect("the client's key");
        let identity = ClientCert::new_with_certs(&chain, key);
        Self { plain: agent(&roots, None), certified: agent(&roots, Some(identity)) }
    }
}

fn pem(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    parse_pem(pem).filter_map(|item| if let Ok(PemItem::Certificate(certificate)) = item { Some(certificate) } else { None }).collect()
}

/// A client that trusts `roots` (PEM) alone and shows `identity`, and takes every status as an answer.
pub(crate) fn agent(roots: &[u8], identity: Option<ClientCert>) -> ureq::Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::from(certificates(roots)))
        .client_cert(identity)
        .build();
    ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).build().into()
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) request_id: String,
    /// Seconds of the header `Retry-After`.
    pub(crate) retry_after: Option<u64>,
    pub(crate) json: Value,
}

impl Answer {
    /// The envelope's `body`, of a success.
    pub(crate) fn body(&self) -> &Value {
        assert_eq!(self.json["header"]["isSuccessful"], true, "{self:?}");
        assert_eq!(self.json["header"]["resultCode"], 0, "{self:?}");
        &self.json["body"]
    }

    /// The envelope's `resultMessage`, of a failure.
    pub(crate) fn refusal(&self) -> &str {
        assert_eq!(self.json["header"]["isSuccessful"], false, "{self:?}");
        assert_ne!(self.json["header"]["resultCode"], 0, "{self:?}");
        assert!(self.json["body"].is_null(), "{self:?}");
        self.json["header"]["resultMessage"].as_str().expect("a resultMessage")
    }

    /// A text in the body of a success.
    pub(crate) fn text(&self, field: &str) -> String {
        self.body()[field].as_str().unwrap_or_else(|| panic!("no text {field} in {self:?}")).to_owned()
    }
}

/// The service, running. Killed on drop.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    log: Arc<Mutex<String>>,
    addresses: Addresses,
    agents: Agents,
}

impl Running {
    /// `127.0.0.1:PORT` of the API.
    pub(crate) fn api_address(&self) -> &str {
        &self.addresses.api
    }

    /// `127.0.0.1:PORT` of the console.
    pub(crate) fn console_address(&self) -> &str {
        &self.addresses.console
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// Waits until it has logged that: its log comes through a pipe, and may tell of a thing after its effect is seen.
    pub(crate) fn logs(&self, words: &str) {
        let until = Instant::now() + Duration::from_secs(10);
        while !self.log().contains(words) {
            assert!(Instant::now() < until, "no {words:?} in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One call of the API: method, path from `/`, headers, body.
    pub(crate) fn call(&self, certified: bool, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Result<Answer, ureq::Error> {
        let agent = if certified { &self.agents.certified } else { &self.agents.plain };
        send(agent, method, &format!("https://{}{path}", self.addresses.api), headers, body)
    }

    /// A call that must be answered.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let bytes = body.map(|body| body.to_string().into_bytes());
        self.call(false, method, path, headers, bytes.as_deref()).unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    /// A `GET` of the operations listener: status and text.
    pub(crate) fn operations(&self, path: &str) -> (u16, String) {
        let mut answer = self.agents.plain.get(format!("http://{}{path}", self.addresses.operations)).call().expect("an answer");
        let mut text = String::new();
        answer.body_mut().as_reader().read_to_string(&mut text).expect("a text");
        (answer.status().as_u16(), text)
    }

    /// A `GET` of the console: status, one header, text.
    pub(crate) fn console(&self, path: &str, header: &str) -> (u16, String, String) {
        let mut answer = self.agents.plain.get(format!("https://{}{path}", self.addresses.console)).call().expect("an answer");
        let header = answer.headers().get(header).map(|value| value.to_str().expect("a header").to_owned()).unwrap_or_default();
        (answer.status().as_u16(), header, answer.body_mut().read_to_string().expect("a text"))
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the end");
    }

    /// Sends a signal, `TERM` or `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().expect("kill");
        assert!(status.success());
    }

    /// Sends SIGTERM, waits for the end, and answers how it ended and what was logged.
    pub(crate) fn stop(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the end, and answers how it ended and what was logged.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child") {
                // The reader of its log ends with it.
                std::thread::sleep(Duration::from_millis(100));
                return (status, self.log());
            }
            assert!(Instant::now() < until, "skm serve did not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log.lock().map(|log| log.clone()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            println!("the last of the service's log:\n{}", lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"));
        }
    }
}

/// Sends one request and reads the JSON answer.
pub(crate) fn send(agent: &ureq::Agent, method: &str, url: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Result<Answer, ureq::Error> {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        request = request.header("content-type", "application/json; charset=utf-8");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = match body {
        Some(body) => agent.run(request.body(body).expect("a request"))?,
        None => agent.run(request.body(()).expect("a request"))?,
    };
    let status = answer.status().as_u16();
    let request_id = answer.headers().get("x-request-id").map(|id| id.to_str().expect("a request ID").to_owned()).unwrap_or_default();
    let retry_after = answer.headers().get("retry-after").map(|seconds| seconds.to_str().ok().and_then(|text| text.parse().ok()).expect("seconds"));
    let text = answer.body_mut().read_to_string()?;
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {url}: {status}, not JSON ({error}): {text}"));
    Ok(Answer { status, request_id, retry_after, json })
}
