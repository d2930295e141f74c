//! Proxies in front of the listener.

use skm::tls::{HandshakeFailure, ProxyProtocol};
use tokio::io::AsyncWriteExt as _;

use super::world::*;

fn proxies(network: &str) -> ProxyProtocol {
    ProxyProtocol::From(vec![network.parse().expect("a network")])
}

async fn peer_after(server: &Server, header: &[u8]) -> Option<String> {
    let mut tcp = server.connect().await;
    tcp.write_all(header).await.expect("sent");
    let name = rustls_pki_types::ServerName::try_from("localhost").expect("a name");
    let stream = OURS.connector(&["http/1.1"], None).connect(name, tcp).await.ok()?;
    Some(text(http1(stream).await.send_request(request("/peer")).await.expect("an answer")).await)
}

#[tokio::test]
async fn a_trusted_proxy_says_who_its_client_is() {
    let server = Server::start(OURS.transport(), |settings| settings.proxy_protocol = proxies("127.0.0.0/8")).await;
    let said = peer_after(&server, b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n").await.expect("a handshake");
    assert!(said.starts_with("192.0.2.1 4711 "), "{said}");
    let said = peer_after(&server, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x02\x0a\0\0\x01\x12\x67\x01\xbb").await.expect("a handshake");
    assert!(said.starts_with("192.0.2.2 4711 "), "{said}");
    let said = peer_after(&server, b"PROXY TCP6 ::ffff:192.0.2.3 ::1 4711 443\r\n").await.expect("a handshake");
    assert!(said.starts_with("192.0.2.3 4711 "), "{said}");
    let said = peer_after(&server, b"PROXY UNKNOWN\r\n").await.expect("a handshake");
    assert!(said.starts_with("127.0.0.1 "), "{said}");
    assert!(peer_after(&server, b"").await.is_none(), "a trusted proxy must send the header");
    eventually("the failure", || server.counters.handshake_failures(HandshakeFailure::ProxyHeader) == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn nobody_else_may() {
    for setting in [ProxyProtocol::Off, proxies("10.0.0.0/8")] {
        let server = Server::start(OURS.transport(), |settings| settings.proxy_protocol = setting).await;
        assert!(peer_after(&server, b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n").await.is_none());
        assert!(peer_after(&server, b"").await.expect("a handshake").starts_with("127.0.0.1 "));
        eventually("the failure", || server.counters.handshake_failures(HandshakeFailure::Protocol) == 1).await;
        server.stop().await;
    }
}
