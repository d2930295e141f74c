//! Who gets through the handshake, and what is known of them.

use std::io;
use std::time::Duration;

use skm::tls::{HandshakeFailure, SharedTls, Transport, server_config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::*;

#[tokio::test]
async fn the_protocol_is_chosen_by_alpn() {
    let server = Server::start(OURS.transport(), |_| {}).await;
    let mut http1_client = http1(server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake")).await;
    let (mut http2_client, _) = http2(server.connect_tls(&OURS.connector(&["h2", "http/1.1"], None)).await.expect("a handshake")).await;
    let by_http1 = text(http1_client.send_request(request("/peer")).await.expect("an answer")).await;
    let by_http2 = text(http2_client.send_request(request("/peer")).await.expect("an answer")).await;
    assert!(by_http1.starts_with("127.0.0.1 ") && by_http1.ends_with("none 0 http/1.1 true"), "{by_http1}");
    assert!(by_http2.starts_with("127.0.0.1 ") && by_http2.ends_with("none 0 h2 true"), "{by_http2}");
    assert!(ask_peer(&server, &OURS.connector(&[], None)).await.ends_with("http/1.1 true"), "without ALPN");
    assert!(server.connect_tls(&OURS.connector(&["spdy/1"], None)).await.is_err());
    eventually("the failure", || server.counters.handshake_failures(HandshakeFailure::Incompatible) == 1).await;
    assert_eq!(count(&server.counters.requests), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_valid_certificate_is_reported_in_both_versions_and_protocols() {
    let server = Server::start(OURS.transport(), |_| {}).await;
    let certificate = &OURS.client.certificate;
    let expected = format!(" {} {} ", certificate.fingerprint, certificate.not_after.seconds());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let said = ask_peer(&server, &OURS.connector_for(&[version], &["http/1.1"], Some(&OURS.client))).await;
        assert!(said.contains(&expected), "{said}");
        let connector = OURS.connector_for(&[version], &["h2"], Some(&OURS.client));
        let (mut client, _) = http2(server.connect_tls(&connector).await.expect("a handshake")).await;
        let said = text(client.send_request(request("/peer")).await.expect("an answer")).await;
        assert!(said.contains(&expected), "{said}");
    }
    server.stop().await;
}

/// The error of a client whose handshake is refused. In TLS 1.3 it may come with the first read.
async fn refusal(server: &Server, version: &'static rustls::SupportedProtocolVersion, identity: &skm::service::pki::IssuedKeyPair) -> io::Error {
    let connector = OURS.connector_for(&[version], &["http/1.1"], Some(identity));
    match server.connect_tls(&connector).await {
        Err(error) => error,
        Ok(mut stream) => {
            // Already on its way when the alert comes: it must not turn the alert into a reset.
            let _ = stream.write_all(b"GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            stream.read_to_end(&mut Vec::new()).await.expect_err("a refusal")
        }
    }
}

#[tokio::test]
async fn a_wrong_certificate_ends_in_an_alert_that_the_client_sees() {
    use HandshakeFailure as F;
    use rustls::AlertDescription as A;
    let server = Server::start(OURS.transport(), |_| {}).await;
    for (name, identity, failure, alerts) in [
        ("foreign", &FOREIGN.client, F::CertificateForeign, [A::UnknownCA, A::DecryptError]),
        ("expired", &OURS.expired, F::CertificateExpired, [A::CertificateExpired; 2]),
        ("for servers", &OURS.server, F::CertificateUsage, [A::UnsupportedCertificate; 2]),
    ] {
        for (round, version) in [&rustls::version::TLS12, &rustls::version::TLS13].into_iter().enumerate() {
            let error = refusal(&server, version, identity).await;
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            assert!(matches!(tls, Some(rustls::Error::AlertReceived(alert)) if alerts.contains(alert)), "{name} {version:?}: {error:?}");
            eventually(name, || server.counters.handshake_failures(failure) == round as u64 + 1).await;
        }
    }
    assert_eq!(count(&server.counters.requests), 0);
    assert!(ask_peer(&server, &OURS.connector(&[], Some(&OURS.client))).await.contains(&OURS.client.certificate.fingerprint.to_string()));
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_tls_is_counted_and_closed() {
    let server = Server::start(OURS.transport(), |_| {}).await;
    let mut plain = server.connect().await;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let _ = plain.read_to_end(&mut Vec::new()).await;
    eventually("the failure", || server.counters.handshake_failures(HandshakeFailure::Protocol) == 1).await;
    drop(server.connect().await);
    eventually("the end", || server.counters.handshake_failures(HandshakeFailure::Disconnected) == 1).await;
    // Somebody who doesn't trust our CA says so.
    assert!(server.connect_tls(&FOREIGN.connector(&[], None)).await.is_err());
    eventually("the alert", || server.counters.handshake_failures(HandshakeFailure::ClientAlert) == 1).await;
    eventually("nothing is left open", || count(&server.counters.open) == 0).await;
    server.stop().await;
}

/// Whether two handshakes of the same client resumed, and what the second one reported.
async fn second_visit(server: &Server, connector: &tokio_rustls::TlsConnector) -> (Option<rustls::HandshakeKind>, String) {
    let stream = server.connect_tls(connector).await.expect("a handshake");
    let kind = stream.get_ref().1.handshake_kind();
    let mut client = http1(stream).await;
    (kind, text(client.send_request(request("/peer")).await.expect("an answer")).await)
}

#[tokio::test]
async fn a_resumed_session_reports_the_certificate_and_a_reload_ends_it() {
    use rustls::HandshakeKind::{Full, Resumed};
    let config = || server_config(chain(&OURS.server), private(&OURS.server), &[OURS.root()]).expect("a configuration");
    let shared = SharedTls::new(config());
    let server = Server::start(Transport::Tls(shared.clone()), |_| {}).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let connector = OURS.connector_for(&[version], &["http/1.1"], Some(&OURS.client));
        let (first, said) = second_visit(&server, &connector).await;
        assert_eq!(first, Some(Full));
        let (second, said_again) = second_visit(&server, &connector).await;
        assert_eq!(second, Some(Resumed), "{version:?}");
        let fingerprint = OURS.client.certificate.fingerprint.to_string();
        assert!(said.contains(&fingerprint) && said_again.contains(&fingerprint));
        shared.replace(config());
        assert_eq!(second_visit(&server, &connector).await.0, Some(Full), "{version:?}: a session of an old configuration must not resume");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_openssl_get_through() {
    let server = Server::start(OURS.transport(), |_| {}).await;
    let directory = tempfile::tempdir().expect("a directory");
    let ca = OURS.write_ca(directory.path());
    let ca = ca.to_str().expect("a path");
    for (flag, protocol) in [("--http1.1", "http/1.1"), ("--http2", "h2")] {
        let said = run("curl", &["-sS", flag, "--cacert", ca, &server.url("/peer")], &[]);
        assert!(String::from_utf8_lossy(&said).ends_with(&format!("none 0 {protocol} true")));
    }
    let address = server.address.to_string();
    let (_, out, err) = try_run("openssl", &["s_client", "-connect", &address, "-CAfile", ca, "-verify_return_error", "-alpn", "h2"], &[]);
    let out = String::from_utf8_lossy(&out);
    assert!(out.contains("Verify return code: 0 (ok)") && out.contains("ALPN protocol: h2") && out.contains("CN = Test CA"), "{out}{err}");
    for old in ["-tls1", "-tls1_1"] {
        let (ok, _, _) = try_run("openssl", &["s_client", "-connect", &address, "-cipher", "ALL:@SECLEVEL=0", old], &[]);
        assert!(!ok, "{old} must be refused");
    }
    server.stop().await;
}

#[tokio::test]
async fn silent_handshakes_time_out() {
    let server = Server::start(OURS.transport(), |settings| settings.handshake_timeout = Duration::from_millis(100)).await;
    let mut silent = server.connect().await;
    assert_eq!(silent.read(&mut [0; 1]).await.expect("an end"), 0);
    assert_eq!(server.counters.handshake_failures(HandshakeFailure::TimedOut), 1);
    assert_eq!((count(&server.counters.open), count(&server.counters.handshaking)), (0, 0));
    server.stop().await;
}

#[tokio::test]
async fn many_silent_handshakes_keep_nobody_out() {
    let server = Server::start(OURS.transport(), |settings| settings.max_handshakes = 8).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(server.connect().await);
    }
    eventually("the oldest made room", || server.counters.handshake_failures(HandshakeFailure::Displaced) == 12).await;
    assert!(count(&server.counters.handshaking) <= 8);
    assert!(ask_peer(&server, &OURS.connector(&[], None)).await.ends_with("true"));
    assert_eq!(silent[0].read(&mut [0; 1]).await.expect("an end"), 0, "the oldest was closed");
    server.stop().await;
}
