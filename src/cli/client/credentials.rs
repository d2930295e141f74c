//! Which service, and who asks: from arguments, else from the environment. A secret is never an argument.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use super::ApiVersion;
use super::mac::MacChoice;
use crate::cli::exit::{Exit, Failure};
use crate::config::read_secret_file;
use crate::domain::account::AccessKeyId;
use crate::domain::appkey::Appkey;
use crate::domain::secret::SecretText;

/// Which service, and who asks.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Service and credentials")]
pub(super) struct Service {
    /// The service's address, such as https://skm.example.com:8443
    #[arg(long, global = true, env = "SKM_URL", value_name = "URL")]
    pub(super) url: Option<String>,
    /// The project's appkey
    #[arg(long, global = true, env = "SKM_APPKEY", hide_env_values = true)]
    appkey: Option<String>,
    /// The certificate authorities to trust (PEM) [default: the system's]
    #[arg(long, global = true, env = "SKM_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate and its chain (PEM)
    #[arg(long, global = true, env = "SKM_CLIENT_CERT", value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// The client certificate's private key (PEM)
    #[arg(long, global = true, env = "SKM_CLIENT_KEY", value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// The access key's ID; its secret is in SKM_SECRET_ACCESS_KEY or in a file
    #[arg(long, global = true, env = "SKM_ACCESS_KEY_ID", value_name = "ID")]
    access_key_id: Option<String>,
    /// A file (mode 0600) with the access key's secret
    #[arg(long, global = true, value_name = "FILE")]
    secret_access_key_file: Option<PathBuf>,
    /// v1.0, v1.1 (appkey alone), v1.2 (access key) or v1.3 (Bearer token) [default: v1.2 with an access key, else v1.0]
    #[arg(long, global = true, value_name = "VERSION")]
    api_version: Option<ApiVersion>,
    /// Send a MAC address: one in aa:bb:cc:dd:ee:ff, or auto for that of the interface in use towards the service
    #[arg(long, global = true, value_name = "auto|MAC")]
    pub(super) mac: Option<MacChoice>,
    /// How long a request may take, in seconds
    #[arg(long, global = true, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

/// An access key with its secret.
#[derive(Debug)]
pub(super) struct AccessKey {
    pub(super) id: AccessKeyId,
    pub(super) secret: SecretText,
}

/// A variable that is set to nothing counts as not set.
fn given(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

impl Service {
    pub(super) fn url(&self) -> Result<&str, Failure> {
        let url = self.url.as_deref().filter(|url| !url.is_empty()).ok_or_else(|| usage("which service? Set SKM_URL or give --url"))?;
        if !url.starts_with("https://") {
            return Err(usage("the service's address (SKM_URL, --url) must begin with https://"));
        }
        Ok(url.trim_end_matches('/'))
    }

    pub(super) fn appkey(&self) -> Result<Appkey, Failure> {
        let appkey = self.appkey.as_deref().filter(|appkey| !appkey.is_empty()).ok_or_else(|| usage("which project? Set SKM_APPKEY or give --appkey"))?;
        Appkey::parse(appkey).ok_or_else(|| usage("an appkey (SKM_APPKEY, --appkey) is 1 to 64 letters and digits"))
    }

    pub(super) fn ca(&self) -> Option<&PathBuf> {
        given(self.ca.as_ref())
    }

    /// The files of the client certificate and of its key.
    pub(super) fn client_certificate(&self) -> Result<Option<(&PathBuf, &PathBuf)>, Failure> {
        match (given(self.client_cert.as_ref()), given(self.client_key.as_ref())) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            _ => Err(usage("a client certificate needs both SKM_CLIENT_CERT (--client-cert) and SKM_CLIENT_KEY (--client-key)")),
        }
    }

    /// The version of the contract, and the access key that it needs.
    pub(super) fn version(&self) -> Result<(ApiVersion, Option<AccessKey>), Failure> {
        let id = self.access_key_id.as_deref().filter(|id| !id.is_empty());
        let version = self.api_version.unwrap_or(if id.is_some() { ApiVersion::V1_2 } else { ApiVersion::V1_0 });
        if matches!(version, ApiVersion::V1_0 | ApiVersion::V1_1) {
            return Ok((version, None));
        }
        let id = id.ok_or_else(|| usage("v1.2 and v1.3 need an access key: set SKM_ACCESS_KEY_ID or give --access-key-id"))?;
        let id = AccessKeyId::parse(id).ok_or_else(|| usage("SKM_ACCESS_KEY_ID (--access-key-id) is no access key's ID"))?;
        Ok((version, Some(AccessKey { id, secret: self.secret()? })))
    }

    fn secret(&self) -> Result<SecretText, Failure> {
        if let Some(file) = &self.secret_access_key_file {
            let secret = read_secret_file(file).map_err(|error| Failure::new(Exit::Failed, format!("the access key's secret: {error}")))?;
            return secret.into_text().map_err(|_| usage("the access key's secret is not text"));
        }
        match env::var("SKM_SECRET_ACCESS_KEY") {
            Ok(secret) if !secret.is_empty() => Ok(SecretText::new(secret)),
            _ => Err(usage("v1.2 and v1.3 need the access key's secret: set SKM_SECRET_ACCESS_KEY or give --secret-access-key-file")),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

fn usage(line: &str) -> Failure {
    Failure::new(Exit::Usage, line)
}
