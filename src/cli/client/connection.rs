//! The connection to the service: HTTPS, with the credentials that the version of the contract asks for.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use ureq::http::{Request, Response, Uri};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use super::ApiVersion;
use super::credentials::{AccessKey, Service};
use super::reply::Reply;
use crate::cli::exit::{Exit, Failure};
use crate::domain::appkey::Appkey;
use crate::domain::secret::SecretText;

/// Where systems keep the certificate authorities that they trust.
const SYSTEM_AUTHORITIES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The largest answer that is read: a secret of 32 KiB, escaped and in its envelope, and room.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

const HTTPS_PORT: u16 = 443;

/// A service, and who we are to it.
pub(super) struct Connection {
    agent: Agent,
    url: String,
    appkey: Appkey,
    version: ApiVersion,
    access_key: Option<AccessKey>,
    mac: Option<String>,
    token: Option<SecretText>,
}

impl Connection {
    /// Prepares everything; the network is used only for a Bearer token (v1.3) and to find the interface of `--mac auto`.
    pub(super) fn open(service: &Service) -> Result<Self, Failure> {
        let url = service.url()?.to_owned();
        let uri: Uri = url.parse().map_err(|_| Failure::new(Exit::Usage, "the service's address (SKM_URL, --url) is no URL"))?;
        let host = uri.host().map(|host| host.trim_matches(['[', ']'])).unwrap_or_default();
        let (version, access_key) = service.version()?;
        let mac = service.mac.map(|mac| mac.address(host, uri.port_u16().unwrap_or(HTTPS_PORT))).transpose()?;
        let agent = Agent::config_builder()
            .tls_config(tls(service)?)
            .https_only(true)
            .timeout_global(Some(service.timeout()))
            .http_status_as_error(false)
            // Neither a redirect nor a proxy of the environment is to see what is sent.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("skm/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let mut connection = Self { agent, url, appkey: service.appkey()?, version, access_key, mac: mac.map(|mac| mac.to_string()), token: None };
        if version == ApiVersion::V1_3 {
            connection.token = Some(connection.new_token()?);
        }
        Ok(connection)
    }

    /// GETs `path`, or POSTs `body` to it.
    pub(super) fn call(&mut self, path: &str, body: Option<&[u8]>) -> Result<Reply, Failure> {
        let url = format!("{}/keymanager/{}/appkey/{}/{path}", self.url, self.version.as_str(), self.appkey.as_str());
        let mut request = Request::builder().uri(url);
        if let Some(mac) = &self.mac {
            request = request.header("X-TOAST-CLIENT-MAC-ADDR", mac);
        }
        if let (ApiVersion::V1_2, Some(AccessKey { id, secret })) = (self.version, &self.access_key) {
            request = request.header("X-TC-AUTHENTICATION-ID", id.as_str()).header("X-TC-AUTHENTICATION-SECRET", secret.expose());
        }
        if let Some(token) = &self.token {
            let bearer = Zeroizing::new(format!("Bearer {}", token.expose()));
            request = request.header("X-NHN-Authorization", bearer.as_str());
        }
        let response = match body {
            None => request.method("GET").body(()).map(|request| self.agent.run(request)),
            Some(body) => request.method("POST").header("Content-Type", "application/json; charset=utf-8").body(body).map(|request| self.agent.run(request)),
        };
        let mut response = self.answered(response)?;
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(|id| id.escape_debug().to_string());
        let answer = read(&mut response)?;
        Reply::parse(response.status().as_u16(), request_id.as_deref(), answer)
    }

    /// Revokes the Bearer token. If that fails it runs out by itself, and the answer is there already: nothing to say.
    pub(super) fn close(mut self) {
        if let Some(token) = self.token.take() {
            let form = Zeroizing::new(format!("token={}", token.expose()));
            let _ = self.post_form("revoke", &form);
        }
    }

    fn new_token(&self) -> Result<SecretText, Failure> {
        #[derive(Deserialize)]
        struct Issued {
            access_token: SecretText,
        }
        let mut response = self.post_form("create", "grant_type=client_credentials")?;
        let answer = read(&mut response)?;
        let status = response.status();
        if !status.is_success() {
            // Where the endpoint answers in the envelope, that says more than a status.
            let said = Reply::parse(status.as_u16(), None, answer).err();
            return Err(said.unwrap_or_else(|| Failure::new(Exit::Refused, format!("the service gives no token: HTTP {status}"))));
        }
        let issued: Issued = serde_json::from_slice(&answer).map_err(|_| Failure::new(Exit::Failed, "the service's answer holds no token"))?;
        Ok(issued.access_token)
    }

    fn post_form(&self, endpoint: &str, form: &str) -> Result<Response<Body>, Failure> {
        let mut request = Request::post(format!("{}/oauth2/token/{endpoint}", self.url)).header("Content-Type", "application/x-www-form-urlencoded");
        if let Some(AccessKey { id, secret }) = &self.access_key {
            let pair = Zeroizing::new(format!("{}:{}", id.as_str(), secret.expose()));
            let basic = Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes())));
            request = request.header("Authorization", basic.as_str());
        }
        self.answered(request.body(form.as_bytes()).map(|request| self.agent.run(request)))
    }

    fn answered(&self, response: Result<Result<Response<Body>, ureq::Error>, ureq::http::Error>) -> Result<Response<Body>, Failure> {
        match response {
            Ok(Ok(response)) => Ok(response),
            // An invalid header value, which only an access key's secret could be: not to be repeated.
            Err(_) => Err(Failure::new(Exit::Usage, "the service's address or the access key's secret has characters that HTTP can't carry")),
            Ok(Err(error)) => Err(Failure::new(Exit::Unavailable, format!("{}: {error}{}", self.url, advice(&error)))),
        }
    }
}

fn read(response: &mut Response<Body>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_MAX_BYTES + 1));
    let reader = response.body_mut().as_reader();
    let failed = |error: std::io::Error| Failure::new(Exit::Unavailable, format!("the answer broke off: {error}"));
    reader.take(ANSWER_MAX_BYTES as u64 + 1).read_to_end(&mut answer).map_err(failed)?;
    if answer.len() > ANSWER_MAX_BYTES {
        return Err(Failure::new(Exit::Failed, format!("the answer is longer than {ANSWER_MAX_BYTES} bytes")));
    }
    Ok(answer)
}

fn tls(service: &Service) -> Result<TlsConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authorities = match service.ca() {
        Some(file) => certificates(file)?,
        None => system_authorities()?,
    };
    let client = service.client_certificate()?.map(|(certificate, key)| client_certificate(certificate, key, &provider)).transpose()?;
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::new_with_certs(&authorities.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>()))
        .client_cert(client)
        .build())
}

fn system_authorities() -> Result<Vec<CertificateDer<'static>>, Failure> {
    match SYSTEM_AUTHORITIES.iter().map(Path::new).find(|file| file.exists()) {
        Some(file) => certificates(file),
        None => Err(Failure::new(Exit::Usage, "which certificate authority? Set SKM_CA or give --ca: the system has no list of its own")),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = fs::read(file).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", file.display())))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| Failure::new(Exit::Failed, format!("{}: no certificate in PEM", file.display())))
}

fn client_certificate(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<ClientCert, Failure> {
    let chain = certificates(certificate)?;
    let pem = Zeroizing::new(fs::read(key).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", key.display())))?);
    let no_key = |_| Failure::new(Exit::Failed, format!("{}: no private key in PEM", key.display()));
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(no_key)?;
    // ureq would panic on a key that isn't the certificate's.
    CertifiedKey::from_der(chain.clone(), der, provider)
        .map_err(|error| Failure::new(Exit::Failed, format!("{} and {} don't fit together: {error}", certificate.display(), key.display())))?;
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let key = PrivateKey::from_pem(&pem).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", key.display())))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// What to do about a failed handshake.
fn advice(error: &ureq::Error) -> &'static str {
    use rustls::{AlertDescription, CertificateError, Error};
    match tls_error(error) {
        // A new authority often has the name of the one before: then it is the signature that doesn't fit.
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "; is SKM_CA (--ca) the certificate authority of this service?"
        }
        Some(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {
            "; the service's certificate is for another name than the one in SKM_URL (--url)"
        }
        Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => "; the service wants a client certificate: SKM_CLIENT_CERT and SKM_CLIENT_KEY",
        Some(Error::AlertReceived(_)) => "; the service refuses the client certificate (SKM_CLIENT_CERT): another authority's, expired or not for clients",
        _ => "",
    }
}

fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => {
            let inner: &(dyn Error + 'static) = error.get_ref()?;
            inner.downcast_ref()
        }
        _ => None,
    }
}
