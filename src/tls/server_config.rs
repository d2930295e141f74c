//! What the handshake demands and offers.

use std::sync::Arc;

use rustls::server::WantsServerCert;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{ConfigBuilder, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// HTTP/2's name in the handshake (RFC 9113, 3.1).
pub(super) const ALPN_HTTP2: &[u8] = b"h2";
/// HTTP/1.1's name in the handshake (RFC 7301, 6).
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// How many sessions can be resumed; the oldest is forgotten for a new one.
const SESSIONS_MAX: usize = 2_048;

/// The certificate, its key or the client CA can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerConfigError {
    /// The key doesn't belong to the certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate, the key or the combination can't be used.
    #[error("the certificate or its private key can't be used: {0}")]
    Certificate(#[source] rustls::Error),
    /// A CA certificate can't be used to verify clients.
    #[error("the CA for client certificates can't be used: {0}")]
    ClientRoots(String),
    /// The cryptography provider doesn't support what is asked of it.
    #[error("TLS can't be set up: {0}")]
    Provider(#[source] rustls::Error),
}

/// A configuration for TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, with the given certificate chain (the server's own first) and key.
///
/// With `client_roots` a client may show a certificate: one that none of them signed, that has expired, or that is not for
/// client authentication, ends the handshake with an alert. Without any, no certificate is asked for.
///
/// Sessions can be resumed only under the configuration that they began with: a resumed session isn't verified again, so
/// nothing of what an old CA vouched for outlives a reload.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_roots: &[CertificateDer<'static>],
) -> Result<ServerConfig, ServerConfigError> {
    let builder = builder(client_roots)?;
    let config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => ServerConfigError::KeyMismatch,
        other => ServerConfigError::Certificate(other),
    })?;
    Ok(finished(config))
}

/// The same certificate as in `current`, with other CAs of clients.
pub(super) fn with_client_roots(current: &ServerConfig, client_roots: &[CertificateDer<'static>]) -> Result<ServerConfig, ServerConfigError> {
    Ok(finished(builder(client_roots)?.with_cert_resolver(Arc::clone(&current.cert_resolver))))
}

fn finished(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config
}

fn builder(client_roots: &[CertificateDer<'static>]) -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, ServerConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().map_err(ServerConfigError::Provider)?;
    if client_roots.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let refused = |error: &dyn std::fmt::Display| ServerConfigError::ClientRoots(error.to_string());
    let mut roots = RootCertStore::empty();
    for root in client_roots {
        roots.add(root.clone()).map_err(|error| refused(&error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated();
    Ok(builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(&error))?))
}
