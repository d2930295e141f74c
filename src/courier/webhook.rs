//! Webhooks: a POST over HTTPS, signed as the Standard Webhooks specification says, so that receivers can take a library for it.
//!
//! `webhook-signature: v1,BASE64(HMAC-SHA-256(secret, id + "." + timestamp + "." + body))`; the timestamp is of the attempt, so that a receiver
//! refuses what was recorded and is played again, and the ID is the message's, the same at each attempt. No redirect is followed, since its
//! target was not looked at; of an answer only the status counts.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ring::hmac;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::reach::may_reach;
use super::{CONNECT_WITHIN, Parcel, Undelivered, WebhookSettings, trust};
use crate::domain::clock::Timestamp;
use crate::domain::secret::SecretBytes;

/// The most addresses of a receiver that are tried.
const ADDRESSES_MAX: usize = 4;
/// The most bytes of an answer's head.
const ANSWER_MAX_BYTES: usize = 16 * 1024;
const NOT_ALLOWED: &str = "that address is not allowed for webhooks ([webhooks] allowed_networks)";

/// Calls webhooks.
pub(super) struct Webhook {
    settings: WebhookSettings,
    tls: TlsConnector,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The parts of a URL that a connection needs.
struct Receiver {
    over_tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl Receiver {
    fn parse(url: &str) -> Result<Self, Undelivered> {
        let unreadable = || Undelivered::new("the URL can't be read");
        let uri: Uri = url.parse().map_err(|_| unreadable())?;
        let over_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(unreadable()),
        };
        let authority = uri.authority().ok_or_else(unreadable)?;
        Ok(Self {
            over_tls,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if over_tls { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }
}

/// The signature of a body, as the header has it.
fn signature(secret: &SecretBytes, id: &str, timestamp: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

impl Webhook {
    pub(super) fn new(settings: WebhookSettings) -> Result<Self, String> {
        let more = settings.ca.as_deref().map(trust::authorities).transpose()?.unwrap_or_default();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let config = versions.with_root_certificates(trust::roots(more)?).with_no_client_auth();
        Ok(Self { settings, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Whether that URL could be called, as far as it tells itself.
    pub(super) fn admits(&self, url: &str) -> Result<(), Undelivered> {
        let receiver = Receiver::parse(url)?;
        let literal = receiver.host.parse().ok().map(|ip| SocketAddr::new(ip, receiver.port));
        match literal {
            Some(address) if !may_reach(address, receiver.over_tls, &self.settings.allowed_networks) => Err(Undelivered::new(NOT_ALLOWED)),
            None if !receiver.over_tls && receiver.host != "localhost" => Err(Undelivered::new("the URL must begin with https://")),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) async fn call(&self, url: &str, secret: &SecretBytes, parcel: &Parcel, now: Timestamp) -> Result<(), Undelivered> {
        let receiver = Receiver::parse(url)?;
        let (id, timestamp) = (parcel.id.to_string(), now.seconds());
        let request = Request::post(&receiver.path)
            .header("host", &receiver.authority)
            .header("content-type", "application/json")
            .header("user-agent", concat!("skm/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature(secret, &id, timestamp, &parcel.json))
            .body(Full::new(Bytes::from(parcel.json.clone())))
            .map_err(|_| Undelivered::new("the URL can't be called"))?;
        let stream = timeout(CONNECT_WITHIN, self.connect(&receiver)).await.map_err(|_| Undelivered::new("no connection in time"))??;
        if !receiver.over_tls {
            return answered(send(stream, request).await?);
        }
        let name = ServerName::try_from(receiver.host).map_err(|_| Undelivered::new("the URL's host can't be the name in a certificate"))?;
        let handshake = timeout(CONNECT_WITHIN, self.tls.connect(name, stream)).await.map_err(|_| Undelivered::new("no TLS handshake in time"))?;
        let stream = handshake.map_err(|error| Undelivered::new(format!("TLS: {error}")))?;
        answered(send(stream, request).await?)
    }

    /// Connects to the first address that answers, of those that may be reached: the very ones that were looked at, since a name can be resolved
    /// to something else the next moment.
    async fn connect(&self, receiver: &Receiver) -> Result<TcpStream, Undelivered> {
        let found = tokio::net::lookup_host((receiver.host.as_str(), receiver.port)).await;
        let addresses = found.map_err(|_| Undelivered::new("the host's name can't be resolved"))?;
        let may = |address: &SocketAddr| may_reach(*address, receiver.over_tls, &self.settings.allowed_networks);
        let mut problem = Undelivered::new(NOT_ALLOWED);
        for address in addresses.filter(may).take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => problem = Undelivered::new(format!("no connection: {}", error.kind())),
            }
        }
        Err(problem)
    }
}

/// Sends the request and answers the status; what comes after the answer's head is not read.
async fn send(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Request<Full<Bytes>>) -> Result<StatusCode, Undelivered> {
    let failed = |error: hyper::Error| Undelivered::new(format!("HTTP: {error}"));
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(ANSWER_MAX_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut answer = pin!(sender.send_request(request));
    // In one task: when this attempt is given up, so is the connection.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // However it ended: an answer that came before is there, and otherwise an error.
        _ = connection => answer.await,
    };
    answer.map(|answer| answer.status()).map_err(failed)
}

fn answered(status: StatusCode) -> Result<(), Undelivered> {
    match status {
        status if status.is_success() => Ok(()),
        status if status.is_redirection() => Err(Undelivered::new(format!("it answered {}: redirects are not followed", status.as_u16()))),
        status => Err(Undelivered::new(format!("it answered {}", status.as_u16()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the Standard Webhooks specification's own test data.
        let secret = SecretBytes::new(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn urls_fall_into_parts() {
        let receiver = Receiver::parse("https://[::1]:8443/a?b=c").unwrap();
        assert_eq!((receiver.host.as_str(), receiver.port, receiver.path.as_str()), ("::1", 8443, "/a?b=c"));
        let receiver = Receiver::parse("https://hooks.example.com").unwrap();
        assert_eq!((receiver.port, receiver.path.as_str(), receiver.authority.as_str()), (443, "/", "hooks.example.com"));
        assert!(Receiver::parse("ftp://x").is_err());
    }
}
