//! The server's certificate: the configured one, or one of the internal CA, renewed before it expires.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::assembly::Assembly;
use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::service::pki::{certificate_pem, private_key_pem};
use crate::tls::{CertFiles, ReloadError, Reloader};

/// A certificate of the internal CA is renewed at a start within this time of its end.
const RENEWED_BEFORE_END: Duration = Duration::from_secs(30 * 86_400);

/// Loads the server's certificate; issues one where none is configured and none is there, or the one there ends soon or names
/// other hosts.
pub(super) async fn open(config: &Config, assembly: &Assembly) -> Result<ServerCertificates, Failure> {
    let client_ca = assembly.service.ca_certificate()?;
    publish_ca(&config.server.data_dir, &client_ca)?;
    let files = match (&config.api.certificate, &config.api.key) {
        (Some(certificate), Some(key)) => CertFiles { certificate: certificate.clone(), key: key.clone() },
        _ => issued(config, assembly).await?,
    };
    let load = |roots| Reloader::open(files.clone(), roots, assembly.clock.clone()).map_err(|error| Failure::new(Exit::Configuration, error.to_string()));
    Ok(ServerCertificates { api: Arc::new(load(vec![client_ca.into()])?), console: Arc::new(load(Vec::new())?) })
}

/// The one certificate, for two listeners: the API asks its clients for theirs, the console doesn't, or browsers would.
#[derive(Debug, Clone)]
pub(super) struct ServerCertificates {
    pub(super) api: Arc<Reloader>,
    pub(super) console: Arc<Reloader>,
}

impl ServerCertificates {
    /// Loads the files again for both.
    pub(super) fn reload(&self) -> Result<(), ReloadError> {
        self.api.reload()?;
        self.console.reload()
    }
}

/// Where clients of this installation find the CA's certificate.
pub(super) fn ca_file(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("ca.pem")
}

fn publish_ca(data_dir: &Path, der: &[u8]) -> Result<(), Failure> {
    Ok(write_whole(&ca_file(data_dir), certificate_pem(der).as_bytes(), 0o644)?)
}

async fn issued(config: &Config, assembly: &Assembly) -> Result<CertFiles, Failure> {
    let data_dir = &config.server.data_dir;
    let files = CertFiles { certificate: data_dir.join("server.pem"), key: data_dir.join("server.key") };
    let names_file = data_dir.join("server.names");
    let names = config.api.names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let now = assembly.clock.now();
    let good = files.load(now).is_ok_and(|loaded| loaded.not_after.minus(RENEWED_BEFORE_END) > now);
    if good && fs::read_to_string(&names_file).is_ok_and(|kept| kept == names.join("\n")) {
        return Ok(files);
    }
    let (addresses, dns): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| name.parse::<IpAddr>().is_ok());
    let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
    let identity = assembly.service.issue_server_certificate(dns, addresses).await?;
    write_whole(&files.key, private_key_pem(&identity.key).expose().as_bytes(), 0o600)?;
    write_whole(&files.certificate, certificate_pem(&identity.certificate.der).as_bytes(), 0o644)?;
    // Last: a crash in between makes the next start issue again.
    write_whole(&names_file, names.join("\n").as_bytes(), 0o644)?;
    tracing::info!(names = names.join(","), not_after = identity.certificate.not_after.seconds(), "issued a server certificate from the internal CA");
    Ok(files)
}

/// Writes a file so that a crash leaves the old one or the new one, never a part.
pub(super) fn write_whole(path: &Path, contents: &[u8], mode: u32) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
}
