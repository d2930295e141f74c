//! Certificates that can be exchanged while the listener runs.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::cert_files::{CertFileError, CertFiles, FilesStamp};
use super::server_config::{ServerConfigError, server_config, with_client_roots};
use crate::domain::clock::{SharedClock, Timestamp};

/// The configuration that new connections get. Cloning shares it.
#[derive(Debug, Clone)]
pub struct SharedTls(Arc<ArcSwap<ServerConfig>>);

impl SharedTls {
    /// Begins with `config`.
    pub fn new(config: ServerConfig) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    /// From now on new connections get `config`; those that are open stay as they are.
    pub fn replace(&self, config: ServerConfig) {
        self.0.store(Arc::new(config));
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

/// Why the certificate was not (re)loaded. What was in use stays in use.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// One of the files can't be used.
    #[error(transparent)]
    File(#[from] CertFileError),
    /// The files could not be exchanged.
    #[error("the certificate can't be written: {0}")]
    Write(#[from] std::io::Error),
    /// The files can't be used together, or not with the CA for clients.
    #[error("{certificate} and {key}: {source}", certificate = files.certificate.display(), key = files.key.display())]
    Config {
        /// Both files.
        files: CertFiles,
        /// What is wrong.
        source: ServerConfigError,
    },
}

/// Loads the certificate from its files, again when told to or when the files change.
#[derive(Debug)]
pub struct Reloader {
    files: CertFiles,
    clock: SharedClock,
    shared: SharedTls,
    last: Mutex<Last>,
}

/// What was loaded last.
#[derive(Debug)]
struct Last {
    /// The files as they were tried last, successfully or not.
    tried: FilesStamp,
    /// When the certificate in use expires.
    not_after: Timestamp,
    /// Whose clients are let in.
    client_roots: Vec<CertificateDer<'static>>,
}

impl Reloader {
    /// Loads the files for the first time. Blocking.
    pub fn open(files: CertFiles, client_roots: Vec<CertificateDer<'static>>, clock: SharedClock) -> Result<Self, ReloadError> {
        // Taken before the files are read: what changes in between is seen as a change.
        let tried = files.stamp();
        let (config, not_after) = load(&files, &client_roots, clock.now())?;
        Ok(Self { files, clock, shared: SharedTls::new(config), last: Mutex::new(Last { tried, not_after, client_roots }) })
    }

    /// What the listener uses.
    pub fn shared(&self) -> SharedTls {
        self.shared.clone()
    }

    /// When the certificate in use expires.
    pub fn not_after(&self) -> Timestamp {
        self.last.lock().not_after
    }

    /// Loads the files again; with an error, what was in use stays in use. Open connections stay as they are. Blocking.
    pub fn reload(&self) -> Result<(), ReloadError> {
        self.exchange(|| Ok(()))
    }

    /// Has `write` exchange the files, and loads them, before anybody else does; with an error, what was in use stays in use. Blocking.
    pub fn exchange(&self, write: impl FnOnce() -> Result<(), ReloadError>) -> Result<(), ReloadError> {
        let mut last = self.last.lock();
        write()?;
        last.tried = self.files.stamp();
        let (config, not_after) = load(&self.files, &last.client_roots, self.clock.now())?;
        last.not_after = not_after;
        self.shared.replace(config);
        Ok(())
    }

    /// Lets clients of these CAs in from now on, and of no others; whether they are not those of before. The certificate in use stays.
    /// Sessions of before can't be resumed.
    pub fn trust(&self, client_roots: Vec<CertificateDer<'static>>) -> Result<bool, ReloadError> {
        let mut last = self.last.lock();
        if last.client_roots == client_roots {
            return Ok(false);
        }
        let config = with_client_roots(&self.shared.current(), &client_roots);
        self.shared.replace(config.map_err(|source| ReloadError::Config { files: self.files.clone(), source })?);
        last.client_roots = client_roots;
        Ok(true)
    }

    /// Loads the files again if they are not what was tried last; answers whether they were loaded. Blocking.
    pub fn reload_if_changed(&self) -> Result<bool, ReloadError> {
        if self.files.stamp() == self.last.lock().tried {
            return Ok(false);
        }
        self.reload().map(|()| true)
    }

    /// Looks `every` so often whether the files have changed, until the stop signal. Failures are logged, once per change.
    pub async fn watch(self: Arc<Self>, every: Duration, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let this = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || this.reload_if_changed()).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!(certificate = %self.files.certificate.display(), "the server certificate was reloaded"),
                Ok(Err(error)) => tracing::error!(%error, "the server certificate was not reloaded; the one in use stays"),
                Err(error) => tracing::error!(%error, "reloading the server certificate failed"),
            }
        }
    }
}

fn load(files: &CertFiles, client_roots: &[CertificateDer<'static>], now: Timestamp) -> Result<(ServerConfig, Timestamp), ReloadError> {
    let loaded = files.load(now)?;
    let config = server_config(loaded.chain, loaded.key, client_roots).map_err(|source| ReloadError::Config { files: files.clone(), source })?;
    Ok((config, loaded.not_after))
}
