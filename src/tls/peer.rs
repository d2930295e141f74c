//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::address::normalised;
use crate::domain::caller::{CertFingerprint, ClientCertificate};
use crate::domain::clock::Timestamp;

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        })
    }
}

/// The other end of a connection: an extension of each of its requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The address, an IPv4-mapped one as IPv4: the socket's, or what a trusted proxy's PROXY header said. What
    /// `X-Forwarded-For` says is not in it: see [`super::client_address`].
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// The certificate that the handshake proved, or, where the session was resumed, that the first handshake proved:
    /// so look at its expiry and its state at every request.
    pub certificate: Option<ClientCertificate>,
    /// What the connection speaks.
    pub protocol: Protocol,
    /// Whether it is TLS.
    pub secure: bool,
}

impl Peer {
    pub(super) fn plain(source: SocketAddr) -> Self {
        Self { address: normalised(source.ip()), port: source.port(), certificate: None, protocol: Protocol::Http1, secure: false }
    }

    pub(super) fn tls(source: SocketAddr, session: &rustls::ServerConnection) -> Self {
        let certificate = session.peer_certificates().and_then(|chain| chain.first()).and_then(client_certificate);
        let protocol = if session.alpn_protocol() == Some(super::server_config::ALPN_HTTP2) { Protocol::Http2 } else { Protocol::Http1 };
        Self { certificate, protocol, secure: true, ..Self::plain(source) }
    }
}

/// What is kept of a certificate. One whose expiry can't be read counts as none: nobody could tell when it ends.
fn client_certificate(der: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(der) else {
        tracing::warn!("a client certificate that the handshake accepted can't be read; the connection goes on without it");
        return None;
    };
    let not_after = Timestamp::from_micros(parsed.validity().not_after.timestamp().saturating_mul(1_000_000));
    Some(ClientCertificate { fingerprint: CertFingerprint(Sha256::digest(der).into()), not_after })
}
