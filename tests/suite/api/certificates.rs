//! Certificates of clients: a `.p12` handed out, requests signed; used by real TLS, looked at by OpenSSL.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::ClientConfig;
use serde_json::{Value, json};

use super::http::{
    CERTIFICATE_AUTH_FAILURE, Connection, FORBIDDEN, INVALID_ENTRY, INVALID_KEY_STORE, Identity, Refusal, Reply, UNAUTHORIZED, URL_NOT_FOUND, exists, field,
    tls,
};
use super::stage::{Ask, Stage};
use crate::certificates::{openssl, openssl_with};

const PKCS12: &str = "application/x-pkcs12";
const STORE: &str = "demo-by-certificate";
const INVALID_ENTRY_STATUS: Refusal = Refusal(409, 4010, "Invalid Authentication Entry Status");

/// v1.3 as the demo's administrator.
struct V13 {
    stage: Stage,
    bearer: String,
}

impl V13 {
    fn new() -> Self {
        let stage = Stage::new();
        let bearer = format!("Bearer {}", stage.token(stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY")));
        Self { stage, bearer }
    }

    fn download_of(&self, method: &str, query: &str) -> Ask {
        Ask::new(method, self.stage.path("v1.3", &format!("/auths/certificates/download{query}"))).header("X-NHN-Authorization", &self.bearer)
    }

    fn download(&self, query: &str) -> Reply {
        self.stage.ask(&self.download_of("GET", query))
    }

    fn sign(&self, body: &Value) -> Reply {
        self.stage.ask(&Ask::post(self.stage.path("v1.3", "/auths/certificates/sign"), body).header("X-NHN-Authorization", &self.bearer))
    }

    /// Encrypts with the demo's key that wants a certificate.
    fn encrypt_as(&self, config: &Arc<ClientConfig>) -> Reply {
        let ask = Ask::post(self.stage.v1(&format!("/symmetric-keys/{}/encrypt", self.stage.id("MTLS_SYMMETRIC_ID"))), &json!({"plaintext": "x"}));
        let mut connection = Connection::open(self.stage.running.api_address(), config).expect("a connection");
        self.stage.ask_on(&mut connection, &ask)
    }

    fn client(&self, certificate: &Path, key: &Path) -> Arc<ClientConfig> {
        tls(Path::new(self.stage.id("CA")), Some(Identity::read(certificate, key)))
    }
}

#[test]
fn a_p12_is_handed_out_to_those_who_may_and_works() {
    let at = V13::new();
    let password = "correct horse";
    at.stage.make("/auths/certificates", &json!({"keyStoreName": STORE, "name": "läptop 1", "password": password, "lifeTime": 30})).body();
    let query = "?keyStoreName=demo-by-certificate&name=l%C3%A4ptop%201";
    let reply = at.stage.ask(&at.download_of("GET", query).file(PKCS12));
    assert_eq!(reply.status, 200);
    let disposition = "attachment; filename=\"l_ptop_1.p12\"; filename*=UTF-8''l%C3%A4ptop%201.p12";
    assert_eq!(reply.header("content-disposition"), Some(disposition));
    let directory = tempfile::tempdir().expect("a directory");
    let [p12, certificate, key] = ["c.p12", "c.pem", "c.key"].map(|name| directory.path().join(name));
    std::fs::write(&p12, &reply.body).expect("written");
    let open = |rest: &[&str]| {
        let pass = format!("pass:{password}");
        openssl_with(&[&["pkcs12", "-in", p12.to_str().expect("a path"), "-passin", &pass][..], rest].concat(), &[])
    };
    std::fs::write(&certificate, open(&["-nokeys", "-clcerts"])).expect("written");
    std::fs::write(&key, open(&["-nocerts", "-nodes"])).expect("written");
    let client = at.client(&certificate, &key);
    at.encrypt_as(&client).body();
    // The records come with it, HEAD's too, which hands nothing out.
    let head = at.stage.ask(&at.download_of("HEAD", query).file(PKCS12));
    assert_eq!((head.status, head.body.len()), (200, 0));
    let downloads = at.stage.records().into_iter().filter(|record| record["operation"] == "DOWNLOAD_CERTIFICATE").collect::<Vec<_>>();
    assert_eq!(downloads.len(), 2, "{downloads:?}");
    assert!(downloads.iter().all(|record| record["detail"] == "läptop 1" && record["resultCode"] == 0), "{downloads:?}");
    // Once its deletion is asked for it is neither used nor handed out.
    let entry = json!({"keyStoreName": STORE, "name": "läptop 1"});
    at.stage.ask(&Ask::put(at.stage.path("v1.2", "/auths/certificates/delete"), &entry).headers(&at.stage.admin())).body();
    at.download(query).refused(INVALID_ENTRY_STATUS, "pending");
    at.encrypt_as(&client).refused(CERTIFICATE_AUTH_FAILURE, "pending");
    at.stage.ask(&Ask::put(at.stage.path("v1.3", "/auths/certificates/restore"), &entry).header("X-NHN-Authorization", &at.bearer)).body();
    assert_eq!(at.stage.ask(&at.download_of("GET", query).file(PKCS12)).body, reply.body);
    at.stage.finish();
}

#[test]
fn nobody_else_gets_a_p12() {
    let at = V13::new();
    let query = "?keyStoreName=demo-by-certificate&name=demo-client";
    let by = |id: &str| {
        let bearer = format!("Bearer {}", at.stage.token(id, &format!("{id}-secret")));
        at.stage.ask(&Ask::get(at.stage.path("v1.3", &format!("/auths/certificates/download{query}"))).header("X-NHN-Authorization", bearer))
    };
    for who in ["apiViewer", "viewer", "stranger", "approvalAdmin"] {
        by(who).refused(FORBIDDEN, who);
    }
    let anonymous = Ask::get(at.stage.path("v1.3", &format!("/auths/certificates/download{query}")));
    at.stage.ask(&anonymous).refused(UNAUTHORIZED, "no token");
    for version in ["v1.0", "v1.1", "v1.2"] {
        let ask = Ask::get(at.stage.path(version, &format!("/auths/certificates/download{query}"))).headers(&at.stage.admin());
        at.stage.ask(&ask).refused(URL_NOT_FOUND, version);
    }
    for (query, expected) in [
        ("", field("keyStoreName is required")),
        ("?keyStoreName=demo-by-certificate", field("name is required")),
        ("?keyStoreName=demo-by-certificate&name=", field("name must have 1 to 100 characters")),
        ("?keyStoreName=demo-by-certificate&name=a&name=b", field("name comes twice")),
        ("?keyStoreName=nowhere&name=demo-client", INVALID_KEY_STORE),
        ("?keyStoreName=demo-by-certificate&name=nobody", INVALID_ENTRY),
    ] {
        at.download(query).refused(expected, query);
    }
    let stage = at.stage;
    assert_eq!(
        stage.ask(&Ask::get(stage.path("v1.3", &format!("/auths/certificates/download{query}"))).header("X-NHN-Authorization", &at.bearer).file(PKCS12)).status,
        200
    );
    stage.finish();
}

/// A request that OpenSSL made, PEM, and its key's file.
fn csr(directory: &Path, key: &[&str], request: &[&str]) -> (String, std::path::PathBuf) {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let path = directory.join(format!("{}.key", MADE.fetch_add(1, Ordering::Relaxed)));
    let file = path.to_str().expect("a path");
    openssl(&[&["genpkey", "-out", file][..], key].concat());
    (openssl(&[&["req", "-new", "-key", file, "-subj", "/CN=whatever"][..], request].concat()), path)
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[test]
fn a_request_is_signed_and_its_certificate_works() {
    let at = V13::new();
    let directory = tempfile::tempdir().expect("a directory");
    let (request, key) = csr(directory.path(), P256, &[]);
    let body = json!({"keyStoreName": STORE, "name": "by request", "csr": request, "lifeTime": 10, "description": "d"});
    let signed = at.sign(&body).body();
    let text = |name: &str| signed[name].as_str().expect("a text").to_owned();
    assert_eq!((signed["name"].clone(), signed["description"].clone(), signed.as_object().expect("an object").len()), (json!("by request"), json!("d"), 5));
    let [certificate, ca] = ["s.pem", "ca.pem"].map(|name| directory.path().join(name));
    std::fs::write(&certificate, text("certificate")).expect("written");
    std::fs::write(&ca, text("caCertificate")).expect("written");
    let paths = [&ca, &certificate].map(|path| path.to_str().expect("a path"));
    assert!(openssl(&["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", paths[0], paths[1]]).ends_with("OK\n"));
    let said = openssl(&["x509", "-in", paths[1], "-noout", "-subject", "-enddate", "-dateopt", "iso_8601"]);
    assert!(said.contains("CN = by request") && said.contains(&text("expirationDate").replace('T', " ")), "{said} {signed}");
    at.encrypt_as(&at.client(&certificate, &key)).body();
    at.sign(&body).refused(exists("name is taken: that entry exists"), "the same name");
    at.download("?keyStoreName=demo-by-certificate&name=by+request")
        .refused(field("name was signed from a request: its key never was here, so there is no .p12"), "no key here");
    at.stage.finish();
}

#[test]
fn bad_requests_are_refused_by_the_name_of_the_field() {
    let at = V13::new();
    let directory = tempfile::tempdir().expect("a directory");
    let make = |key: &[&str], request: &[&str]| csr(directory.path(), key, request).0;
    let good = make(P256, &[]);
    let mut der = openssl_with(&["req", "-outform", "DER"], good.as_bytes());
    let last = der.len() - 1;
    der[last] ^= 1;
    let forged = String::from_utf8(openssl_with(&["req", "-inform", "DER"], &der)).expect("PEM");
    let sign = |csr: Value| at.sign(&json!({"keyStoreName": STORE, "name": "bad", "csr": csr, "lifeTime": 10}));
    let large = format!("{good}{}", " ".repeat(16 * 1024));
    for (what, csr, expected) in [
        ("a wrong signature", json!(forged), "csr must be signed with its own private key"),
        ("RSA 1024", json!(make(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], &[])), "csr must be signed with its own private key"),
        ("a CA", json!(make(P256, &["-addext", "basicConstraints=critical,CA:TRUE"])), "csr must not ask for a CA's certificate (CA:TRUE)"),
        ("no PEM", json!("nonsense"), "csr must be a PKCS#10 certificate signing request, PEM"),
        ("DER's first byte", json!("0nonsense"), "csr must be a PKCS#10 certificate signing request, PEM"),
        ("empty", json!(""), "csr must be a PKCS#10 certificate signing request, PEM"),
        ("too large", json!(large), "csr must have at most 16384 bytes"),
        ("null", Value::Null, "csr is required"),
        ("a number", json!(5), "csr must be a text"),
    ] {
        sign(csr).refused(field(expected), what);
    }
    let life = |life: Value| at.sign(&json!({"keyStoreName": STORE, "name": life.to_string(), "csr": good, "lifeTime": life}));
    let limits = "lifeTime must be 1 to 3650 days";
    for (value, expected) in [
        (json!(0), limits),
        (json!(3_651), limits),
        (json!(-1), limits),
        (Value::Null, "lifeTime is required"),
        (json!("x"), "lifeTime must be a whole number"),
    ] {
        life(value.clone()).refused(field(expected), &value.to_string());
        let made = json!({"keyStoreName": STORE, "name": "never", "password": "pass word", "lifeTime": value});
        at.stage.make("/auths/certificates", &made).refused(field(expected), &value.to_string());
    }
    for value in [1, 3_650] {
        life(json!(value)).body();
    }
    at.stage.finish();
}
