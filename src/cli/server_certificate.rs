//! The server's certificate: the configured one, or one of the internal CA, renewed before it expires; and whose clients are let in.
//!
//! Of a certificate of the internal CA three files are kept: its key, itself, and last the names that it was made for. Before they are
//! written anew the last one goes, so that whatever a crash leaves between them makes the next start issue again.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::assembly::Assembly;
use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::domain::clock::{SharedClock, Timestamp};
use crate::service::pki::{certificate_pem, private_key_pem};
use crate::service::{Operator, ServerIdentity, Service};
use crate::telemetry::Metrics;
use crate::tls::{CertFiles, LoadedCertificate, ReloadError, Reloader};

/// How often it is looked whether the certificate is due and who is trusted, beside whenever the authorities change.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(10);

/// The server's certificate as this process keeps it.
#[derive(Debug)]
pub(super) struct ServerCertificate {
    service: Service,
    clock: SharedClock,
    data_dir: PathBuf,
    names: Vec<String>,
    files: CertFiles,
    /// Whether the operator's own, which is never written.
    is_configured: bool,
    /// One renewal at a time.
    renewing: Mutex<()>,
    listening: OnceLock<Listeners>,
}

/// The one certificate, for two listeners: the API asks its clients for theirs, the console doesn't, or browsers would.
#[derive(Debug, Clone)]
pub(super) struct Listeners {
    pub(super) api: Arc<Reloader>,
    pub(super) console: Arc<Reloader>,
}

impl Listeners {
    /// Loads the files again for both.
    pub(super) fn reload(&self) -> Result<(), ReloadError> {
        self.api.reload()?;
        self.console.reload()
    }
}

impl ServerCertificate {
    pub(super) fn new(config: &Config, assembly: &Assembly) -> Arc<Self> {
        let data_dir = config.server.data_dir.clone();
        let (files, is_configured) = match (&config.api.certificate, &config.api.key) {
            (Some(certificate), Some(key)) => (CertFiles { certificate: certificate.clone(), key: key.clone() }, true),
            _ => (CertFiles { certificate: data_dir.join("server.pem"), key: data_dir.join("server.key") }, false),
        };
        let names = config.api.names.iter().map(|name| name.as_str().to_owned()).collect();
        let (service, clock) = (assembly.service.clone(), assembly.clock.clone());
        Arc::new(Self { service, clock, data_dir, names, files, is_configured, renewing: Mutex::new(()), listening: OnceLock::new() })
    }

    /// Issues a certificate where none is configured and none is there, or the one there is due or names other hosts; loads it for the
    /// listeners.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Listeners, Failure> {
        let roots = self.service.trusted_authorities()?;
        self.publish_authorities(&roots)?;
        self.issue_if_missing().await?;
        let load = |roots: Vec<Vec<u8>>| {
            let roots = roots.into_iter().map(Into::into).collect();
            Reloader::open(self.files.clone(), roots, self.clock.clone()).map(Arc::new).map_err(|error| Failure::new(Exit::Configuration, error.to_string()))
        };
        let listeners = Listeners { api: load(roots)?, console: load(Vec::new())? };
        // A process opens it once.
        let _ = self.listening.set(listeners.clone());
        Ok(listeners)
    }

    /// When the certificate that is kept expires, and whether the operator configured it.
    pub(super) fn kept(&self) -> (Option<Timestamp>, bool) {
        (self.load().map(|loaded| loaded.not_after), self.is_configured)
    }

    fn load(&self) -> Option<LoadedCertificate> {
        self.files.load(self.clock.now()).ok()
    }

    async fn issue_if_missing(self: &Arc<Self>) -> Result<(), Failure> {
        let names_fit = || fs::read_to_string(self.names_file()).is_ok_and(|kept| kept == self.names.join("\n"));
        if self.is_configured || names_fit() && !self.is_due()? { Ok(()) } else { self.renew(None).await.map(drop) }
    }

    fn is_due(&self) -> Result<bool, Failure> {
        let loaded = self.load();
        let kept = loaded.as_ref().and_then(|loaded| loaded.chain.first());
        Ok(kept.map_or(Ok(true), |kept| self.service.server_certificate_is_due(kept))?)
    }

    /// Has the internal CA issue a new certificate, and the listeners use it; connections stay. Answers when it expires.
    pub(super) async fn renew(self: &Arc<Self>, operator: Option<Operator>) -> Result<Timestamp, Failure> {
        if self.is_configured {
            let told = "this certificate is configured ([api] certificate), not of the internal CA: renew it where it comes from";
            return Err(Failure::new(Exit::Configuration, format!("{}: {told}", self.files.certificate.display())));
        }
        let _alone = self.renewing.lock().await;
        let (addresses, dns): (Vec<_>, Vec<_>) = self.names.iter().cloned().partition(|name| name.parse::<IpAddr>().is_ok());
        let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let identity = self.service.issue_server_certificate(operator, dns, addresses).await?;
        let not_after = identity.certificate.not_after;
        self.blocking(move |this| this.exchange(&identity)).await?;
        tracing::info!(names = self.names.join(","), not_after = not_after.seconds(), "issued a server certificate from the internal CA");
        Ok(not_after)
    }

    /// Files are read, written and synchronised where blocking is allowed.
    async fn blocking<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
        let this = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&this)).await;
        done.unwrap_or_else(|error| Err(Failure::new(Exit::Failed, format!("the server certificate: {error}"))))
    }

    fn exchange(&self, identity: &ServerIdentity) -> Result<(), Failure> {
        let Some(Listeners { api, console }) = self.listening.get() else { return Ok(self.write(identity)?) };
        // Under both locks: the look-out for changed files must not see them half written.
        let exchanged = api.exchange(|| console.exchange(|| Ok(self.write(identity)?)));
        exchanged.map_err(|error| Failure::new(Exit::Failed, error.to_string()))
    }

    fn names_file(&self) -> PathBuf {
        self.data_dir.join("server.names")
    }

    fn write(&self, identity: &ServerIdentity) -> io::Result<()> {
        match fs::remove_file(self.names_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::File::open(&self.data_dir)?.sync_all()?,
        }
        write_whole(&self.files.key, private_key_pem(&identity.key).expose().as_bytes(), 0o600)?;
        write_whole(&self.files.certificate, certificate_pem(&identity.certificate.der).as_bytes(), 0o644)?;
        write_whole(&self.names_file(), self.names.join("\n").as_bytes(), 0o644)
    }

    /// Where clients of this installation find the authorities' certificates.
    fn publish_authorities(&self, trusted: &[Vec<u8>]) -> io::Result<()> {
        let (path, pem) = (ca_file(&self.data_dir), trusted.iter().map(|der| certificate_pem(der)).collect::<String>());
        if fs::read_to_string(&path).is_ok_and(|kept| kept == pem) { Ok(()) } else { write_whole(&path, pem.as_bytes(), 0o644) }
    }

    /// Lets in the clients of the authorities that are trusted now, and no others.
    pub(super) async fn trust_authorities(self: &Arc<Self>) -> Result<(), Failure> {
        let trusted = self.service.trusted_authorities()?;
        self.blocking(move |this| this.trust(&trusted)).await
    }

    fn trust(&self, trusted: &[Vec<u8>]) -> Result<(), Failure> {
        if let Some(listeners) = self.listening.get() {
            let roots = trusted.iter().cloned().map(Into::into).collect();
            if listeners.api.trust(roots).map_err(|error| Failure::new(Exit::Failed, error.to_string()))? {
                tracing::info!(authorities = trusted.len(), "the trusted certificate authorities changed");
            }
        }
        Ok(self.publish_authorities(trusted)?)
    }

    async fn look(self: Arc<Self>) -> Result<(), Failure> {
        self.service.load_authorities().await?;
        self.trust_authorities().await?;
        if !self.is_configured && self.blocking(Self::is_due).await? {
            self.renew(None).await?;
        }
        if let Some(listeners) = self.listening.get() {
            self.service.notice_server_certificate(listeners.api.not_after()).await?;
        }
        Ok(())
    }

    /// Keeps trust and certificate up to date until `stop`. What fails, or panics, is tried again.
    pub(super) async fn tend(self: Arc<Self>, metrics: Metrics, stop: CancellationToken) {
        const TASK: &str = "server_certificate";
        let mut changed = self.service.watch_authorities();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                // It never ends: the service that tells is kept here.
                _ = changed.changed() => {}
                () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
            }
            let this = Arc::clone(&self);
            let failure = match self.service.tasks().spawn(this.look()).await {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure.lines().join("; "),
                Err(panic) => panic.to_string(),
            };
            tracing::error!(task = TASK, %failure, "a task failed; it runs again");
            metrics.background_failed(TASK);
        }
    }
}

/// Where clients of this installation find the authorities' certificates.
pub(super) fn ca_file(data_dir: &Path) -> PathBuf {
    data_dir.join("ca.pem")
}

/// Writes a file so that a crash leaves the old one or the new one, never a part.
pub(super) fn write_whole(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
}
