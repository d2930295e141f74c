//! HTTPS by hand, for what a well-behaved client would never do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A TLS connection over which anything can be sent. Dropped, it closes the socket without a farewell.
#[derive(Debug)]
pub(crate) struct Wire(StreamOwned<ClientConnection, TcpStream>);

/// What a [`Wire`] trusts: the certificate authority in a PEM file.
pub(crate) fn trust(ca: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("the CA's certificate") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let mut config = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A TCP connection to `127.0.0.1:PORT`.
pub(crate) fn tcp(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    stream.set_nodelay(true).expect("no delay");
    stream
}

impl Wire {
    /// Connects and shakes hands.
    pub(crate) fn connect(address: &str, trusted: &Arc<ClientConfig>) -> Self {
        Self::over(tcp(address), trusted).expect("a handshake")
    }

    fn over(mut stream: TcpStream, trusted: &Arc<ClientConfig>) -> std::io::Result<Self> {
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let mut connection = ClientConnection::new(Arc::clone(trusted), name).expect("a client");
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self(StreamOwned::new(connection, stream)))
    }

    /// The first bytes of a handshake.
    pub(crate) fn client_hello(trusted: &Arc<ClientConfig>) -> Vec<u8> {
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let mut connection = ClientConnection::new(Arc::clone(trusted), name).expect("a client");
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).expect("a ClientHello");
        bytes
    }

    /// Sends bytes; `false` if the other side is gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).is_ok()
    }

    /// Reads at most `count` bytes, at least one unless the other side is gone.
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = self.0.read(&mut bytes).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }

    /// Reads one answer with a `Content-Length`, head and body.
    pub(crate) fn answer(&mut self) -> String {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length =
                    head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(|length| length.trim().parse::<usize>()));
                if body.len() >= length.expect("a Content-Length").expect("a number") {
                    return text;
                }
            }
            let more = self.read(16 * 1024);
            assert!(!more.is_empty(), "the answer ends too early: {text}");
            bytes.extend(more);
        }
    }

    /// The server's certificate (DER).
    pub(crate) fn server_certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().expect("a certificate")[0].to_vec()
    }
}

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n" + body
}
