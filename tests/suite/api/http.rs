//! A plain HTTP/1.1 client over TLS that sends exactly the bytes it is told to, and keeps the answer's bytes as they came.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

/// The longest wait for bytes of an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client certificate with its key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From two PEM files.
    pub(super) fn read(certificate: &Path, key: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate).expect("a PEM file").collect::<Result<_, _>>().expect("certificates");
        Self { chain, key: PrivateKeyDer::from_pem_file(key).expect("a key") }
    }
}

/// TLS as a client does it that trusts the certificates of `ca` alone.
pub(super) fn tls(ca: &Path, identity: Option<Identity>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("a PEM file") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("protocol versions").with_root_certificates(roots);
    Arc::new(match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key).expect("an identity"),
        None => builder.with_no_client_auth(),
    })
}

/// One connection.
pub(super) struct Connection(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Connection {
    pub(super) fn open(address: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?, config)
    }

    /// From that address of the loopback interface.
    pub(super) fn open_from(source: [u8; 4], address: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let tcp = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((source, 0).into())?;
            socket.connect(address.parse().expect("an address")).await?.into_std()
        })?;
        tcp.set_nonblocking(false)?;
        Self::over(tcp, config)
    }

    fn over(tcp: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Self> {
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Self(BufReader::new(StreamOwned::new(tls, tcp))))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)?;
        self.0.get_mut().flush()
    }

    /// Reads one answer; one to `HEAD` has no body, whatever its header says.
    pub(super) fn read(&mut self, head: bool) -> io::Result<Reply> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| io::Error::other(status_line.clone()))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        if !head && reply.header("transfer-encoding") == Some("chunked") {
            assert_eq!(reply.header("content-length"), None);
            while self.chunk(&mut reply.body)? {}
        } else if !head {
            let length: usize = reply.header("content-length").map_or(0, |length| length.parse().expect("a length"));
            reply.body.resize(length, 0);
            self.0.read_exact(&mut reply.body)?;
        }
        Ok(reply)
    }

    /// Reads a chunk (RFC 9112, 7.1); whether it was not the last.
    fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let length = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + length, 0);
        self.0.read_exact(&mut body[start..])?;
        assert_eq!(self.line()?, "");
        Ok(length > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// What stands in the envelope of a refusal, and the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) u16, pub(super) i64, pub(super) &'static str);

pub(super) const INVALID_APPKEY: Refusal = Refusal(404, 1001, "Invalid Appkey");
pub(super) const UNAUTHORIZED: Refusal = Refusal(401, 1002, "Unauthorized");
pub(super) const FORBIDDEN: Refusal = Refusal(403, 1003, "Forbidden");
pub(super) const URL_NOT_FOUND: Refusal = Refusal(404, 1004, "URL NOT FOUND");
pub(super) const METHOD_NOT_ALLOWED: Refusal = Refusal(405, 1005, "Method Not Allowed");
pub(super) const IPV4_AUTH_FAILURE: Refusal = Refusal(403, 2001, "IPv4 Auth Failure");
pub(super) const MAC_AUTH_FAILURE: Refusal = Refusal(403, 2002, "MAC Auth Failure");
pub(super) const CERTIFICATE_AUTH_FAILURE: Refusal = Refusal(403, 2003, "Certificate Auth Failure");
pub(super) const INVALID_KEY_ID: Refusal = Refusal(404, 3001, "Invalid Key ID");
pub(super) const INVALID_KEY_VERSION: Refusal = Refusal(404, 3002, "Invalid Key Version");
pub(super) const INVALID_KEY_STATUS: Refusal = Refusal(409, 3003, "Invalid Key Status");
pub(super) const INVALID_KEY_VERSION_STATUS: Refusal = Refusal(409, 3004, "Invalid Key Version Status");
pub(super) const KEY_NOT_EXPORTABLE: Refusal = Refusal(403, 3005, "Key Not Exportable");
pub(super) const INVALID_KEY_STORE: Refusal = Refusal(404, 3007, "Invalid Key Store");
pub(super) const KEY_NOT_ROTATABLE: Refusal = Refusal(409, 3008, "Key Not Rotatable");
pub(super) const CURRENT_KEY_VERSION: Refusal = Refusal(409, 3009, "Current Key Version");
pub(super) const KEY_STORE_NOT_EMPTY: Refusal = Refusal(409, 3010, "Key Store Not Empty");
pub(super) const INVALID_USER_DATA: Refusal = Refusal(400, 4001, "Invalid User Data");
pub(super) const UNSUPPORTED_MEDIA_TYPE: Refusal = Refusal(415, 4006, "Unsupported Media Type");
pub(super) const BODY_TOO_LARGE: Refusal = Refusal(413, 4004, "Body Too Large: at most 262144 bytes");
pub(super) const HEADER_TOO_LARGE: Refusal = Refusal(431, 4009, "Header Too Large");
pub(super) const TOO_MANY_REQUESTS: Refusal = Refusal(429, 1006, "Too Many Requests");
pub(super) const CONFLICT: Refusal = Refusal(409, 4007, "Conflict");
pub(super) const INVALID_ENTRY: Refusal = Refusal(404, 4008, "Invalid Authentication Entry");
pub(super) const INVALID_IMPORT_TOKEN: Refusal = Refusal(400, 4011, "Invalid Import Token");
pub(super) const IMPORT_NOT_SUPPORTED: Refusal = Refusal(409, 4012, "Import Not Supported");
pub(super) const INVALID_ENTRY_STATUS: Refusal = Refusal(409, 4010, "Invalid Authentication Entry Status");

/// A field that can't be taken.
pub(super) const fn field(message: &'static str) -> Refusal {
    Refusal(400, 4003, message)
}

/// A body that can't be read.
pub(super) const fn malformed(message: &'static str) -> Refusal {
    Refusal(400, 4002, message)
}

/// A name or value that is taken.
pub(super) const fn exists(message: &'static str) -> Refusal {
    Refusal(409, 4005, message)
}

/// An answer, as it came.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The body in the envelope of a success, every other byte of which is as it must be.
    pub(super) fn body(&self) -> Value {
        let mut json = self.json();
        let body = json.get_mut("body").map(Value::take).unwrap_or_else(|| panic!("no body: {self}"));
        assert_eq!(json, json!({"header": {"resultCode": 0, "resultMessage": "success", "isSuccessful": true}, "body": null}), "{self}");
        assert_eq!(self.status, 200, "{self}");
        body
    }

    /// A text in the body of a success.
    pub(super) fn text(&self, field: &str) -> String {
        self.body()[field].as_str().unwrap_or_else(|| panic!("no text {field}: {self}")).to_owned()
    }

    /// Asserts that this is exactly that refusal.
    pub(super) fn refused(&self, expected: Refusal, what: &str) {
        let Refusal(status, code, message) = expected;
        let json = json!({"header": {"resultCode": code, "resultMessage": message, "isSuccessful": false}, "body": null});
        assert_eq!((self.status, self.json()), (status, json), "{what}");
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}
