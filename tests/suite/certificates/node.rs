//! A node as clients and operators see it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ureq::tls::{ClientCert, PrivateKey};

use super::{openssl, openssl_with};
use crate::support::installation::{Answer, Installation, Running, agent, certificates, send};

/// From here on, processes of the installation are of this node, with a data directory of its own.
pub(super) fn be_node(installation: &mut Installation, name: &str) {
    let data_dir = installation.path().join(format!("data-{name}"));
    std::fs::create_dir_all(&data_dir).expect("a directory");
    installation.set("SKM_SERVER__DATA_DIR", data_dir.to_str().expect("UTF-8"));
    installation.set("SKM_SERVER__NODE", name);
}

/// A change of the demo's project as its administrator, v1.2.
pub(super) fn change(installation: &Installation, running: &Running, method: &str, rest: &str, body: &Value) -> Answer {
    let headers = [("x-tc-authentication-id", installation.demo("ACCESS_KEY_ID")), ("x-tc-authentication-secret", installation.demo("SECRET_ACCESS_KEY"))];
    running.ask(method, &format!("/keymanager/v1.2/appkey/{}{rest}", installation.demo("APPKEY")), &headers, Some(body))
}

/// The same with a bearer token, v1.3.
pub(super) fn our_own(installation: &Installation, running: &Running, method: &str, rest: &str, body: &Value) -> Answer {
    use base64::Engine as _;
    let pair = format!("{}:{}", installation.demo("ACCESS_KEY_ID"), installation.demo("SECRET_ACCESS_KEY"));
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let token = running.call(false, "POST", "/oauth2/token/create", &headers, Some(b"grant_type=client_credentials")).expect("an answer");
    let bearer = format!("Bearer {}", token.json["access_token"].as_str().expect("a token"));
    running.ask(method, &format!("/keymanager/v1.3/appkey/{}{rest}", installation.demo("APPKEY")), &[("x-nhn-authorization", &bearer)], Some(body))
}

/// A client with a certificate from a signing request.
pub(super) struct Client {
    pub(super) certificate: PathBuf,
    pub(super) name: String,
    identity: ClientCert,
}

impl Client {
    pub(super) fn make(installation: &Installation, running: &Running, name: &str) -> Self {
        let [key, certificate] = ["key", "pem"].map(|kind| installation.path().join(format!("{name}.{kind}")));
        let file = key.to_str().expect("a path");
        openssl(&["genpkey", "-out", file, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        let csr = openssl(&["req", "-new", "-key", file, "-subj", "/CN=x"]);
        let body = json!({"keyStoreName": "demo-by-certificate", "name": name, "csr": csr, "lifeTime": 90});
        let signed = our_own(installation, running, "POST", "/auths/certificates/sign", &body).text("certificate");
        std::fs::write(&certificate, &signed).expect("written");
        let key = PrivateKey::from_pem(&std::fs::read(&key).expect("a key")).expect("a key");
        Self { certificate, name: name.to_owned(), identity: ClientCert::new_with_certs(&certificates(signed.as_bytes()), key) }
    }

    /// Status of an encryption with the key that wants a certificate; `None` if there is no answer.
    pub(super) fn encrypt(&self, installation: &Installation, running: &Running) -> Option<u16> {
        // As a new client, so that each goes through a handshake.
        let agent = agent(&std::fs::read(installation.demo("CA")).expect("the CA"), Some(self.identity.clone()));
        let path = format!("/keymanager/v1.0/appkey/{}/symmetric-keys/{}/encrypt", installation.demo("APPKEY"), installation.demo("MTLS_SYMMETRIC_ID"));
        let url = format!("https://{}{path}", running.api_address());
        send(&agent, "POST", &url, &[], Some(br#"{"plaintext": "x"}"#)).ok().map(|answer| answer.status)
    }

    pub(super) fn entry(&self) -> Value {
        json!({"keyStoreName": "demo-by-certificate", "name": self.name})
    }

    pub(super) fn issuer(&self) -> String {
        openssl(&["x509", "-in", self.certificate.to_str().expect("a path"), "-noout", "-issuer"])
    }
}

/// A file that everybody may have: status, content type, bytes.
pub(super) fn public(installation: &Installation, running: &Running, path: &str) -> (u16, String, Vec<u8>) {
    let agent = agent(&std::fs::read(installation.demo("CA")).expect("the CA"), None);
    let mut answer = agent.get(format!("https://{}{path}", running.api_address())).call().expect("an answer");
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_owned()).unwrap_or_default();
    (answer.status().as_u16(), kind, answer.body_mut().read_to_vec().expect("bytes"))
}

/// The certificate that a listener shows, PEM.
pub(super) fn shown(address: &str) -> String {
    let said = openssl_with(&["s_client", "-connect", address, "-showcerts"], b"");
    String::from_utf8(openssl_with(&["x509"], &said)).expect("PEM")
}

/// Who issued the certificate that a listener shows.
pub(super) fn shown_issuer(address: &str) -> String {
    String::from_utf8(openssl_with(&["x509", "-noout", "-issuer"], shown(address).as_bytes())).expect("text").trim().to_owned()
}

pub(super) fn path_text(path: &Path) -> &str {
    path.to_str().expect("a path")
}
