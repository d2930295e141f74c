//! The installation that is measured, and the service running on it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::Problem;
use crate::settings::Settings;

/// The longest that a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `skm init --dev` made.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) directory: PathBuf,
    demo: HashMap<String, String>,
}

impl Installation {
    /// A new one; an older one in its place is removed.
    pub(crate) fn make(settings: &Settings) -> Result<Self, Problem> {
        let directory = settings.directory.canonicalize()?.join("installation");
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut installation = Self { directory, demo: HashMap::new() };
        let output = installation.command(&["init", "--dev", "--directory"]).arg(&installation.directory).output()?;
        if !output.status.success() {
            return Err(format!("skm init --dev: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
        }
        let environment = fs::read_to_string(installation.directory.join("dev.env"))?;
        let pair = |line: &str| {
            let (name, value) = line.strip_prefix("export SKM_")?.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('\'').to_owned()))
        };
        installation.demo = environment.lines().filter_map(pair).collect();
        Ok(installation)
    }

    /// A value of `dev.env`, without its prefix.
    pub(crate) fn demo(&self, name: &str) -> Result<&str, Problem> {
        self.demo.get(name).map(String::as_str).ok_or_else(|| format!("no SKM_{name} in dev.env").into())
    }

    /// The configuration file.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory.join("skm.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skm"));
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("SOFTHSM2_CONF").stdin(Stdio::null());
        for listener in ["API", "CONSOLE", "OPERATIONS"] {
            command.env(format!("SKM_{listener}__LISTEN"), "127.0.0.1:0");
        }
        // All load comes from one address, for one project: counted, as in production, and never over the limit.
        for limit in ["ADDRESS", "PROJECT"] {
            command.env(format!("SKM_LIMITS__{limit}_PER_SECOND"), "1000000");
        }
        command
    }

    /// This program again, with a task of its own, in the token's environment.
    pub(crate) fn inside(&self, arguments: &[&str]) -> Result<Command, Problem> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("inside").args(arguments).arg(self.configuration()).env("SOFTHSM2_CONF", self.directory.join("softhsm2.conf"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        Ok(command)
    }

    /// Starts the service and waits until it says that it is ready.
    pub(crate) fn serve(&self) -> Result<Service<'_>, Problem> {
        let began = Instant::now();
        let mut command = self.command(&["serve", "--dev", "--config"]);
        command.arg(self.configuration()).env("SKM_LOG__FORMAT", "json").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process(command.spawn()?);
        let log = BufReader::new(process.0.stderr.take().ok_or("no log")?);
        let (ready, is_ready) = mpsc::channel();
        std::thread::spawn(move || follow(log, &ready));
        let address = is_ready.recv_timeout(PATIENCE).map_err(|_| "skm serve did not become ready; its log is above")?;
        let took = began.elapsed();
        Ok(Service { installation: self, agent: agent(&fs::read(self.demo("CA")?)?), address, ready_after: took, process })
    }
}

/// Tells the API's address once the service is ready; passes on warnings and errors, which have no place in a measurement.
fn follow(log: impl BufRead, ready: &mpsc::Sender<String>) {
    for line in log.lines().map_while(Result::ok) {
        let value: Value = serde_json::from_str(&line).unwrap_or_default();
        let fields = value.get("fields").unwrap_or(&value);
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        if let (Some("ready"), Some(address)) = (text("message"), text("api")) {
            // Nobody waits any more after a time-out.
            let _ = ready.send(address.to_owned());
        }
        if !matches!(value.get("level").and_then(Value::as_str), Some("INFO" | "DEBUG")) {
            eprintln!("skm: {line}");
        }
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// `VmRSS` of `/proc/PID/status`, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64, Problem> {
        resident_bytes(&self.0.id().to_string())
    }
}

impl Process {
    /// Whether it runs, or how it ended, as far as the kernel tells before it is waited for (`State` of `/proc/PID/status`).
    pub(crate) fn state(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.map_or_else(|| "is gone".to_owned(), |state| format!("is in state {}", state.trim()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `VmRSS` of a process, in bytes.
pub(crate) fn resident_bytes(process: &str) -> Result<u64, Problem> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| "no VmRSS".into())
}

/// A client that trusts one CA.
fn agent(ca: &[u8]) -> ureq::Agent {
    let roots: Vec<Certificate<'static>> = parse_pem(ca).filter_map(|item| if let Ok(PemItem::Certificate(ca)) = item { Some(ca) } else { None }).collect();
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::from(roots))
        .build();
    ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into()
}

/// The service, running.
#[derive(Debug)]
pub(crate) struct Service<'a> {
    pub(crate) installation: &'a Installation,
    agent: ureq::Agent,
    /// Of the API.
    pub(crate) address: String,
    /// From the program's start to its readiness.
    pub(crate) ready_after: Duration,
    pub(crate) process: Process,
}

impl Service<'_> {
    /// One POST; the answer's text, if it is a success.
    pub(crate) fn post(&self, path: &str, body: &str) -> Result<String, Problem> {
        let url = format!("https://{}{path}", self.address);
        let mut answer = self.agent.post(url).content_type("application/json; charset=utf-8").send(body)?;
        let text = answer.body_mut().read_to_string()?;
        let successful = serde_json::from_str::<Value>(&text).is_ok_and(|json| json.pointer("/header/isSuccessful") == Some(&Value::Bool(true)));
        if answer.status().is_success() && successful { Ok(text) } else { Err(format!("{path}: {}: {text}", answer.status()).into()) }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), Problem> {
        let pid = i32::try_from(self.process.0.id()).ok().and_then(rustix::process::Pid::from_raw).ok_or("no process")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.process.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("skm serve: {status}").into()) }
    }
}

/// The installation's directory, from the configuration file that a process inside is given.
pub(crate) fn directory_of(configuration: &str) -> Result<&Path, Problem> {
    Path::new(configuration).parent().ok_or_else(|| "the configuration file is in no directory".into())
}
