//! `skm client`, the program itself, against a service over real TLS that answers as the wire contract says.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

const KEY: &str = "00112233445566778899aabbccddeeff";
const UNKNOWN_KEY: &str = "ffffffffffffffffffffffffffffffff";
const ACCESS_KEY_ID: &str = "AccessKeyOfTheTests01";
const SECRET_ACCESS_KEY: &str = "hunter2-secret";

/// What reached the service.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    path: String,
    headers: axum::http::HeaderMap,
    body: Value,
    certificate: bool,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A service that answers as the contract says, with "encryption" that is Base64 and signatures that are "signed:" and the text.
struct Service {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    files: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

fn certificate(name: &str, usage: ExtendedKeyUsagePurpose, issuer: &Issuer<'_, KeyPair>) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.extended_key_usages = vec![usage];
    (parameters.signed_by(&key, issuer).unwrap(), key)
}

fn authority(name: &str) -> (String, rustls_pki_types::CertificateDer<'static>, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), certificate.der().clone(), Issuer::new(parameters, key))
}

impl Service {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text).unwrap();
        let (ca_pem, ca_der, issuer) = authority("first");
        write("ca.crt", &ca_pem);
        write("other-ca.crt", &authority("second").0);
        write("renewed-ca.crt", &authority("first").0);
        let (client, client_key) = certificate("client", ExtendedKeyUsagePurpose::ClientAuth, &issuer);
        write("client.crt", &client.pem());
        write("client.key", &client_key.serialize_pem());
        let (foreign, foreign_key) = certificate("client", ExtendedKeyUsagePurpose::ClientAuth, &authority("second").2);
        write("foreign.crt", &foreign.pem());
        write("foreign.key", &foreign_key.serialize_pem());

        let (server, server_key) = certificate("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth, &issuer);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca_der).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).allow_unauthenticated().build().unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der())))
            .unwrap();

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), seen.clone()));
        Self { address, seen, files, _runtime: runtime }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The program with `arguments`, knowing service and project and nothing else.
    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skm"));
        command.env_clear().arg("client").args(arguments);
        command.env("SKM_URL", format!("https://{}", self.address)).env("SKM_APPKEY", "demoAppkey1").env("SKM_CA", self.file("ca.crt"));
        command.env("SKM_SECRET_ID", KEY).env("SKM_SYMMETRIC_ID", KEY).env("SKM_ASYMMETRIC_ID", KEY);
        command
    }

    fn client_with_access_key(&self, arguments: &[&str]) -> Command {
        let mut command = self.client(arguments);
        command.env("SKM_ACCESS_KEY_ID", ACCESS_KEY_ID).env("SKM_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
        command
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn accept(listener: tokio::net::TcpListener, acceptor: TlsAcceptor, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let certificate = stream.get_ref().1.peer_certificates().is_some();
            let router = Router::new().fallback(answer).with_state((seen, certificate));
            let service = TowerToHyperService::new(router);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(State((seen, certificate)): State<(Arc<Mutex<Vec<Seen>>>, bool)>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    let this = Seen { method: parts.method, path: parts.uri.path().to_owned(), headers: parts.headers, body, certificate };
    seen.lock().unwrap().push(this.clone());
    respond(&this, &parts.uri)
}

fn respond(seen: &Seen, uri: &Uri) -> Response<Body> {
    let text = |name: &str| seen.body[name].as_str().unwrap_or_default().to_owned();
    if uri.path() == "/oauth2/token/create" {
        let expected = format!("Basic {}", BASE64.encode(format!("{ACCESS_KEY_ID}:{SECRET_ACCESS_KEY}")));
        return if seen.header("authorization") == Some(&expected) {
            json_response(200, &json!({"access_token": "token-of-the-tests", "token_type": "Bearer", "expires_in": 86400}))
        } else {
            json_response(401, &json!({"error": "invalid_client"}))
        };
    }
    if uri.path() == "/oauth2/token/revoke" {
        return json_response(200, &Value::Null);
    }
    if uri.path().contains(UNKNOWN_KEY) {
        return refused(404, 1004, "Invalid Key ID");
    }
    let body = match uri.path().rsplit('/').next().unwrap() {
        "confirm" => json!({
            "clientIp": "127.0.0.1", "clientMacHeader": seen.header("x-toast-client-mac-addr"), "clientSentCertificate": seen.certificate,
        }),
        "encrypt" => json!({"ciphertext": BASE64.encode(text("plaintext")), "keyVersion": 0}),
        "decrypt" => match BASE64.decode(text("ciphertext")).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(plaintext) => json!({"plaintext": plaintext, "keyVersion": 0}),
            None => return refused(400, 1005, "Invalid User Data"),
        },
        "sign" | "sign-standard" => json!({"signature": BASE64.encode(format!("signed:{}", text("plaintext"))), "keyVersion": 0}),
        "verify" | "verify-standard" => {
            json!({"result": text("signature") == BASE64.encode(format!("signed:{}", text("plaintext"))), "keyVersion": 0})
        }
        "create-local-key" => json!({"localKeyPlaintext": BASE64.encode([7; 32]), "localKeyCiphertext": "Y2lwaGVy", "keyVersion": 0}),
        KEY => json!({"secret": "a \"secret\"\nof two lines, ¬ÅSCII"}),
        _ => return refused(404, 1001, "URL NOT FOUND"),
    };
    json_response(200, &json!({"header": {"resultCode": 0, "resultMessage": "success", "isSuccessful": true}, "body": body}))
}

fn refused(status: u16, code: i64, message: &str) -> Response<Body> {
    json_response(status, &json!({"header": {"resultCode": code, "resultMessage": message, "isSuccessful": false}, "body": null}))
}

fn json_response(status: u16, body: &Value) -> Response<Body> {
    let builder = Response::builder().status(StatusCode::from_u16(status).unwrap()).header("X-Request-Id", "request-1");
    builder.header("Content-Type", "application/json").body(Body::from(body.to_string())).unwrap()
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that refuses its arguments doesn't read: that is its right.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn succeed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let output = run(command, input);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    output.stdout
}

/// The exit code and what was said on standard error.
fn fail(command: &mut Command, input: &[u8]) -> (i32, String) {
    let output = run(command, input);
    assert_ne!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn confirm_shows_what_the_service_sees() {
    let service = Service::start();
    let text = String::from_utf8(succeed(&mut service.client(&["confirm"]), b"")).unwrap();
    assert_eq!(text, "address      127.0.0.1\nMAC header   none\ncertificate  none\n");
    let seen = service.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("GET", "/keymanager/v1.0/appkey/demoAppkey1/confirm"));
    assert!(seen[0].header("user-agent").unwrap().starts_with("skm/"));
    assert_eq!(seen[0].header("x-tc-authentication-id"), None);

    let mut with_all = service.client(&["confirm", "--mac", "AA-BB-CC-DD-EE-0F", "--json"]);
    with_all.env("SKM_CLIENT_CERT", service.file("client.crt")).env("SKM_CLIENT_KEY", service.file("client.key"));
    let body: Value = serde_json::from_slice(&succeed(&mut with_all, b"")).unwrap();
    assert_eq!(body, json!({"clientIp": "127.0.0.1", "clientMacHeader": "aa:bb:cc:dd:ee:0f", "clientSentCertificate": true}));
}

#[test]
fn what_is_encrypted_is_decrypted_byte_for_byte() {
    let service = Service::start();
    let text = "line one\nline two, ¬ÅSCII \"quoted\" \u{1}\n";
    let ciphertext = succeed(&mut service.client(&["encrypt"]), text.as_bytes());
    assert_eq!(ciphertext, format!("{}\n", BASE64.encode(text)).as_bytes());
    assert_eq!(succeed(&mut service.client(&["decrypt"]), &ciphertext), text.as_bytes());

    let file = service.file("text");
    std::fs::write(&file, text).unwrap();
    assert_eq!(succeed(&mut service.client(&["encrypt", "--file", file.to_str().unwrap()]), b""), ciphertext);
    let seen = service.seen();
    assert_eq!(seen[0].path, format!("/keymanager/v1.0/appkey/demoAppkey1/symmetric-keys/{KEY}/encrypt"));
    assert_eq!(seen[0].body, json!({"plaintext": text}));
    assert_eq!(seen[0].header("content-type"), Some("application/json; charset=utf-8"));
}

#[test]
fn secrets_and_data_keys_are_printed() {
    let service = Service::start();
    assert_eq!(succeed(&mut service.client(&["secret"]), b""), "a \"secret\"\nof two lines, ¬ÅSCII".as_bytes());
    let keys = succeed(&mut service.client(&["local-key"]), b"");
    assert_eq!(keys, format!("{}\nY2lwaGVy\n", BASE64.encode([7; 32])).as_bytes());
}

#[test]
fn signatures_are_made_and_verified() {
    let service = Service::start();
    let signature = String::from_utf8(succeed(&mut service.client(&["sign"]), b"text")).unwrap();
    let file = service.file("signature");
    std::fs::write(&file, &signature).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(succeed(&mut service.client(&["verify", "--signature", signature.trim()]), b"text"), b"valid\n");
    assert_eq!(succeed(&mut service.client(&["verify", "--signature-file", file]), b"text"), b"valid\n");
    let wrong = run(&mut service.client(&["verify", "--signature-file", file]), b"another text");
    assert_eq!((wrong.status.code(), wrong.stdout.as_slice(), wrong.stderr.as_slice()), (Some(3), b"not valid\n".as_slice(), b"".as_slice()));
    let wrong = run(&mut service.client(&["verify", "--json", "--signature-file", file]), b"another text");
    assert_eq!((wrong.status.code(), String::from_utf8(wrong.stdout).unwrap().contains("\"result\":false")), (Some(3), true));

    service.seen();
    let signature = String::from_utf8(succeed(&mut service.client(&["sign", "--standard", "pss"]), b"\xff\x00")).unwrap();
    let verify = ["verify", "--standard", "pkcs1", "--key-version", "4", "--signature", signature.trim()];
    succeed(&mut service.client(&verify), b"\xff\x00");
    let seen = service.seen();
    assert_eq!(seen[0].body, json!({"plaintext": "/wA=", "algorithm": "RSASSA-PSS"}));
    assert_eq!(seen[1].body, json!({"plaintext": "/wA=", "algorithm": "RSASSA-PKCS1-v1_5", "keyVersion": 4, "signature": signature.trim()}));
    assert!(seen[1].path.ends_with("/verify-standard"));
}

#[test]
fn an_access_key_goes_into_headers() {
    let service = Service::start();
    succeed(&mut service.client_with_access_key(&["secret", "--key", KEY]), b"");
    let secret_file = service.file("secret-access-key");
    std::fs::write(&secret_file, "from a file\n").unwrap();
    std::fs::set_permissions(&secret_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    succeed(&mut service.client_with_access_key(&["secret", "--secret-access-key-file", secret_file.to_str().unwrap()]), b"");
    succeed(&mut service.client_with_access_key(&["secret", "--api-version", "v1.1"]), b"");
    let seen = service.seen();
    assert!(seen[0].path.starts_with("/keymanager/v1.2/"), "{}", seen[0].path);
    assert_eq!(seen[0].header("x-tc-authentication-id"), Some(ACCESS_KEY_ID));
    assert_eq!(seen[0].header("x-tc-authentication-secret"), Some(SECRET_ACCESS_KEY));
    assert_eq!(seen[1].header("x-tc-authentication-secret"), Some("from a file"));
    assert!(seen[2].path.starts_with("/keymanager/v1.1/"), "{}", seen[2].path);
    assert_eq!(seen[2].header("x-tc-authentication-secret"), None);
}

#[test]
fn v1_3_gets_a_token_first_and_gives_it_back() {
    let service = Service::start();
    succeed(&mut service.client_with_access_key(&["secret", "--api-version", "v1.3"]), b"");
    let seen = service.seen();
    let paths: Vec<&str> = seen.iter().map(|seen| seen.path.as_str()).collect();
    let operation = format!("/keymanager/v1.3/appkey/demoAppkey1/secrets/{KEY}");
    assert_eq!(paths, ["/oauth2/token/create", &operation, "/oauth2/token/revoke"]);
    assert_eq!(seen[0].body, "grant_type=client_credentials");
    assert_eq!(seen[1].header("x-nhn-authorization"), Some("Bearer token-of-the-tests"));
    assert_eq!(seen[1].header("x-tc-authentication-secret"), None);
    assert_eq!(seen[2].body, "token=token-of-the-tests");

    let mut wrong = service.client_with_access_key(&["secret", "--api-version", "v1.3"]);
    let (code, said) = fail(wrong.env("SKM_SECRET_ACCESS_KEY", "wrong-hunter3"), b"");
    assert_eq!(code, 77, "{said}");
    assert!(said.contains("HTTP 401") && !said.contains("hunter3"), "{said}");
}

#[test]
fn refusals_are_said_in_the_services_words() {
    let service = Service::start();
    let (code, said) = fail(&mut service.client(&["secret", "--key", UNKNOWN_KEY]), b"");
    assert_eq!((code, said.as_str()), (1, "skm: the service refuses: Invalid Key ID (code 1004, HTTP 404, request request-1)\n"));
    let (_, said) = fail(&mut service.client(&["decrypt"]), b"no Base64!");
    assert!(said.contains("Invalid User Data"), "{said}");
}

#[test]
fn failed_handshakes_are_explained() {
    let service = Service::start();
    for wrong in ["other-ca.crt", "renewed-ca.crt"] {
        let (code, said) = fail(service.client(&["confirm"]).env("SKM_CA", service.file(wrong)), b"");
        assert_eq!(code, 69, "{said}");
        assert!(said.contains("is SKM_CA (--ca) the certificate authority of this service?"), "{said}");
    }

    let url = format!("https://localhost:{}", service.address.port());
    let (_, said) = fail(service.client(&["confirm"]).env("SKM_URL", url), b"");
    assert!(said.contains("another name than the one in SKM_URL"), "{said}");

    let mut foreign = service.client(&["confirm"]);
    let (_, said) = fail(foreign.env("SKM_CLIENT_CERT", service.file("foreign.crt")).env("SKM_CLIENT_KEY", service.file("foreign.key")), b"");
    assert!(said.contains("refuses the client certificate"), "{said}");

    let (code, said) = fail(service.client(&["confirm"]).env("SKM_URL", "https://127.0.0.1:1"), b"");
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("Connection refused"), "{said}");
    assert!(service.seen().is_empty());
}

#[test]
fn what_is_missing_or_wrong_is_named_before_anything_is_sent() {
    let service = Service::start();
    let mut no_url = service.client(&["confirm"]);
    no_url.env_remove("SKM_URL");
    let mut no_project = service.client(&["confirm"]);
    no_project.env_remove("SKM_APPKEY");
    let mut plain_http = service.client(&["confirm"]);
    plain_http.env("SKM_URL", "http://127.0.0.1:8443");
    let mut half_certificate = service.client(&["confirm"]);
    half_certificate.env("SKM_CLIENT_CERT", service.file("client.crt"));
    let mut mixed_certificate = service.client(&["confirm"]);
    mixed_certificate.env("SKM_CLIENT_CERT", service.file("client.crt")).env("SKM_CLIENT_KEY", service.file("foreign.key"));
    let mut no_secret = service.client(&["confirm", "--api-version", "v1.2"]);
    no_secret.env("SKM_ACCESS_KEY_ID", ACCESS_KEY_ID);
    for (command, input, expected) in [
        (&mut no_url, b"".as_slice(), "SKM_URL"),
        (&mut no_project, b"", "SKM_APPKEY"),
        (&mut plain_http, b"", "https://"),
        (&mut half_certificate, b"", "SKM_CLIENT_KEY"),
        (&mut mixed_certificate, b"", "don't fit together"),
        (&mut no_secret, b"", "SKM_SECRET_ACCESS_KEY"),
        (&mut service.client(&["confirm", "--api-version", "v1.3"]), b"", "SKM_ACCESS_KEY_ID"),
        (&mut service.client(&["secret", "--key", "not-an-id"]), b"", "32 lower-case hex digits"),
        (&mut service.client(&["confirm", "--mac", "aa:bb"]), b"", "MAC address"),
        (&mut service.client(&["confirm", "--ca", "/no/such/ca"]), b"", "/no/such/ca"),
        (&mut service.client(&["encrypt"]), b"\xff", "not UTF-8"),
        (&mut service.client(&["encrypt", "--file", "/no/such/file"]), b"", "/no/such/file"),
        (&mut service.client(&["encrypt"]), &vec![b'x'; 200_000], "longer than 131072 bytes"),
        (&mut service.client(&["verify"]), b"", "--signature"),
    ] {
        let (_, said) = fail(command, input);
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    assert!(service.seen().is_empty());
}

#[test]
fn the_mac_address_of_the_machine_is_found() {
    let service = Service::start();
    let output = run(&mut service.client(&["confirm", "--mac", "auto", "--json"]), b"");
    // A machine may have no card at all (a container without a network): then it must say so.
    if mac_address::get_mac_address().unwrap().is_none() {
        assert!(String::from_utf8_lossy(&output.stderr).contains("--mac auto: "));
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let body: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = mac_address::get_mac_address().unwrap().unwrap().to_string().to_lowercase();
    assert_eq!(body["clientMacHeader"], expected);
}
