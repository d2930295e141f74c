//! A webhook's receiver: HTTPS with a certificate of its own CA, which answers as a test says and remembers who called.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;

/// The longest that a receiver waits for a caller who says nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A CA for receivers and mail servers, and a certificate of it for 127.0.0.1 and localhost.
pub(crate) struct Identity {
    /// Of the CA.
    pub(crate) ca_pem: String,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    config: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let ca_key = rcgen::KeyPair::generate().expect("a key");
        let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "receivers' CA");
        let ca_certificate = ca.self_signed(&ca_key).expect("a CA");
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
            .expect("names")
            .signed_by(&key, &issuer)
            .expect("a certificate");
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("a certificate");
        Self { ca_pem: ca_certificate.pem(), certificate_pem: certificate.pem(), key_pem: key.serialize_pem(), config: Arc::new(config) }
    }

    /// The CA as a file.
    pub(crate) fn write_ca(&self, path: &Path) -> String {
        std::fs::write(path, &self.ca_pem).expect("a file");
        path.display().to_string()
    }
}

/// What a receiver does with a call.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    Redirect(String),
    /// No answer, until the caller gives up.
    Hang,
    /// No end of an answer.
    Endless,
}

/// A call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().expect("a type").to_owned()
    }

    /// Checks it as a receiver with that secret does.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("Base64");
        let signed = format!("{}.{}.{}", self.id(), self.header("webhook-timestamp"), self.body);
        let tag = STANDARD.decode(self.header("webhook-signature").strip_prefix("v1,").expect("v1")).expect("Base64");
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes(), &tag).is_ok()
    }
}

/// A receiver, up until it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    reply: Arc<Mutex<Reply>>,
}

impl Receiver {
    pub(crate) fn start(identity: &Identity, reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let receiver = Self { address: listener.local_addr().expect("an address"), calls: Arc::default(), reply: Arc::new(Mutex::new(reply)) };
        let (config, calls, reply) = (Arc::clone(&identity.config), Arc::clone(&receiver.calls), Arc::clone(&receiver.reply));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, calls, reply) = (Arc::clone(&config), Arc::clone(&calls), Arc::clone(&reply));
                std::thread::spawn(move || serve(stream, config, &calls, &reply));
            }
        });
        receiver
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// The same by name.
    pub(crate) fn named_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// What it does from now on.
    pub(crate) fn answers(&self, reply: Reply) {
        *self.reply.lock().expect("the reply") = reply;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("the calls").clone()
    }

    pub(crate) fn of_kind(&self, kind: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.kind() == kind).collect()
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, calls: &Mutex<Vec<Call>>, reply: &Mutex<Reply>) {
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a time-out");
    let connection = ServerConnection::new(config).expect("a connection");
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let Some(call) = read_call(&mut reader) else { return };
    let mut stream = reader.into_inner();
    calls.lock().expect("the calls").push(call);
    let reply = reply.lock().expect("the reply").clone();
    let written = match reply {
        Reply::Status(status) => stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()),
        Reply::Redirect(to) => stream.write_all(format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").as_bytes()),
        Reply::Hang => {
            // Until the caller closes it.
            let _ = stream.read(&mut [0]);
            Ok(())
        }
        Reply::Endless => {
            let begun = stream.write_all(b"HTTP/1.1 200 X\r\n");
            begun.and_then(|()| (0..1_000_000).try_for_each(|number| stream.write_all(format!("x-{number}: {}\r\n", "y".repeat(1_000)).as_bytes())))
        }
    };
    // A caller who is killed meanwhile gets no answer.
    drop(written);
    let _ = stream.flush();
}

fn read_call(reader: &mut BufReader<StreamOwned<ServerConnection, TcpStream>>) -> Option<Call> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Call { path, headers, body: String::from_utf8(body).ok()? })
}
