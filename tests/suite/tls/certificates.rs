//! The server's certificate: its files, and exchanging it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use skm::domain::clock::SystemClock;
use skm::service::pki::{certificate_pem, private_key_pem};
use skm::tls::{CertFiles, Reloader, Transport};
use tokio_util::sync::CancellationToken;

use super::world::*;

struct Files {
    _directory: tempfile::TempDir,
    files: CertFiles,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (certificate, key) = write_pair(directory.path(), &OURS.server);
        Self { _directory: directory, files: CertFiles { certificate, key } }
    }

    fn open(&self) -> Result<Reloader, skm::tls::ReloadError> {
        Reloader::open(self.files.clone(), vec![OURS.root()], Arc::new(SystemClock))
    }

    fn problem(&self) -> String {
        self.open().expect_err("a refusal").to_string()
    }
}

/// Another server certificate, that lives for longer.
fn other_server() -> skm::service::pki::IssuedKeyPair {
    OURS.ca.issue_server(&["localhost".to_owned()], &[], 31, now()).expect("a certificate")
}

#[test]
fn each_bad_file_is_named_with_its_problem() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = write_pair(directory.path(), &OURS.server);
    let expired = OURS.ca.issue_server(&["localhost".to_owned()], &[], 1, now().minus(DAY * 3)).expect("a certificate");
    let future = OURS.ca.issue_server(&["localhost".to_owned()], &[], 1, now().plus(DAY)).expect("a certificate");
    let encrypted = openssl(&["pkcs8", "-topk8", "-passout", "pass:x", "-in", key.to_str().expect("a path")], &[]);
    let good = private_key_pem(&OURS.server.key).expose().to_owned();
    for (what, which, content, expected) in [
        ("no certificate", 0, "nothing".to_owned(), "has no certificate"),
        ("a key for a certificate", 0, good.clone(), "has no certificate"),
        ("broken PEM", 0, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n".to_owned(), "is not PEM"),
        ("broken DER", 0, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), "can't be read"),
        ("expired", 0, certificate_pem(&expired.certificate.der), "expired on"),
        ("future", 0, certificate_pem(&future.certificate.der), "is not valid before"),
        ("huge", 0, "x".repeat(300 * 1024), "has more than 256 KiB"),
        ("another key's certificate", 0, certificate_pem(&other_server().certificate.der), "does not belong to"),
        ("no key", 1, "nothing".to_owned(), "has no private key"),
        ("a certificate for a key", 1, certificate_pem(&OURS.server.certificate.der), "has no private key"),
        ("an encrypted key", 1, encrypted, "is encrypted"),
        ("a cut key", 1, good[..good.len() - 40].to_owned(), "is not proper PEM"),
        ("another certificate's key", 1, private_key_pem(&other_server().key).expose().to_owned(), "does not belong to"),
    ] {
        let mut files = Files::new();
        let path = if which == 0 { &mut files.files.certificate } else { &mut files.files.key };
        fs::write(&path, &content).expect("written");
        let name = path.display().to_string();
        let problem = files.problem();
        assert!(problem.contains(expected) && problem.contains(&name), "{what}: {problem}");
        assert!(!problem.contains(&good[40..60]), "{what}: no key in the message");
    }
    let missing = CertFiles { certificate: certificate.with_extension("missing"), key };
    let problem = Reloader::open(missing, vec![], Arc::new(SystemClock)).expect_err("a refusal").to_string();
    assert!(problem.contains("server.missing: can't be read: No such file"), "{problem}");
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let files = Files::new();
    for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o604, false), (0o660, false), (0o602, false)] {
        fs::set_permissions(&files.files.key, fs::Permissions::from_mode(mode)).expect("a mode");
        assert_eq!(files.open().is_ok(), accepted, "{mode:o}");
    }
    fs::set_permissions(&files.files.key, fs::Permissions::from_mode(0o644)).expect("a mode");
    assert!(files.problem().contains("others may use it (mode 0644)"));
}

#[test]
fn keys_of_all_kinds_are_read() {
    for kind in [
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["-algorithm", "ED25519"],
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let (certificate, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
        openssl(&[&["genpkey", "-out", key.to_str().expect("a path")][..], kind].concat(), &[]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
        let [key_path, certificate_path] = [&key, &certificate].map(|path| path.to_str().expect("a path"));
        openssl(&["req", "-x509", "-key", key_path, "-subj", "/CN=localhost", "-days", "2", "-out", certificate_path], &[]);
        let reloader = Reloader::open(CertFiles { certificate, key }, vec![], Arc::new(SystemClock)).expect("a certificate");
        assert!(reloader.not_after() > now().plus(DAY) && reloader.not_after() < now().plus(DAY * 3));
    }
}

/// The certificate that a new connection gets.
async fn served(server: &Server) -> Vec<u8> {
    let stream = server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake");
    stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).expect("a certificate").to_vec()
}

#[tokio::test]
async fn a_reload_changes_new_connections_and_leaves_old_ones_alone() {
    let files = Files::new();
    let reloader = files.open().expect("a certificate");
    let server = Server::start(Transport::Tls(reloader.shared()), |_| {}).await;
    let mut old = http1(server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake")).await;
    assert_eq!(served(&server).await, OURS.server.certificate.der);
    assert!(!reloader.reload_if_changed().expect("nothing changed"));

    let next = other_server();
    write_pair(files.files.certificate.parent().expect("a directory"), &next);
    assert!(reloader.reload_if_changed().expect("a good change"));
    assert_eq!(served(&server).await, next.certificate.der);
    assert_eq!(reloader.not_after(), next.certificate.not_after);
    assert_eq!(old.send_request(request("/peer")).await.expect("the old connection still works").status(), 200);

    // A bad change is told once, and changes nothing.
    fs::write(&files.files.certificate, "nothing").expect("written");
    assert!(reloader.reload_if_changed().is_err());
    assert!(!reloader.reload_if_changed().expect("not tried again"));
    assert!(reloader.reload().is_err(), "tried again when told to");
    assert_eq!(served(&server).await, next.certificate.der);
    assert_eq!(reloader.not_after(), next.certificate.not_after);
    server.stop().await;
}

#[tokio::test]
async fn changed_files_are_noticed() {
    let files = Files::new();
    let reloader = Arc::new(files.open().expect("a certificate"));
    let server = Server::start(Transport::Tls(reloader.shared()), |_| {}).await;
    let stop = CancellationToken::new();
    let watching = tokio::spawn(reloader.clone().watch(Duration::from_millis(20), stop.clone()));
    let next = other_server();
    // As tools do it: the certificate first, and for a moment it doesn't fit the key.
    fs::write(&files.files.certificate, certificate_pem(&next.certificate.der)).expect("written");
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(served(&server).await, OURS.server.certificate.der);
    fs::write(&files.files.key, private_key_pem(&next.key).expose()).expect("written");
    eventually("the reload", || reloader.not_after() == next.certificate.not_after).await;
    assert_eq!(served(&server).await, next.certificate.der);
    stop.cancel();
    watching.await.expect("no panic");
    server.stop().await;
}
