//! The end: requests under way are finished, nothing else is waited for.

use std::time::{Duration, Instant};

use skm::tls::Transport;
use tokio::net::TcpStream;

use super::world::*;

#[tokio::test]
async fn requests_under_way_are_finished_and_nobody_new_is_accepted() {
    let server = Server::start(OURS.transport(), |_| {}).await;
    let address = server.address;
    let mut http1_client = http1(server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake")).await;
    let (mut http2_client, _) = http2(server.connect_tls(&OURS.connector(&["h2"], None)).await.expect("a handshake")).await;
    let mut idle = http1(server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake")).await;
    assert_eq!(idle.send_request(request("/peer")).await.expect("an answer").status(), 200);
    let never_asked = server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake");
    let silent = server.connect().await;
    let counters = server.counters.clone();
    let by_http1 = tokio::spawn(async move { text(http1_client.send_request(request("/wait?ms=400")).await.expect("an answer")).await });
    let by_http2 = tokio::spawn(async move { text(http2_client.send_request(request("/wait?ms=400")).await.expect("an answer")).await });
    eventually("both requests", || count(&counters.requests) == 3).await;
    let began = Instant::now();
    let stopping = tokio::spawn(server.stop());
    eventually("nobody is accepted", || counters.accepted.load(std::sync::atomic::Ordering::Relaxed) == 5).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed at once");
    eventually("the idle one ends", || idle.is_closed()).await;
    assert!(began.elapsed() < Duration::from_millis(350), "idle connections don't wait for busy ones");
    assert_eq!((by_http1.await.expect("no panic"), by_http2.await.expect("no panic")), ("waited".to_owned(), "waited".to_owned()));
    assert_eq!(stopping.await.expect("no panic").cut_off, 0);
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert_eq!(count(&counters.open), 0);
    drop((never_asked, silent));
}

#[tokio::test]
async fn what_outlasts_the_drain_time_is_cut_off() {
    let server = Server::start(OURS.transport(), |settings| settings.drain = Duration::from_millis(150)).await;
    let mut client = http1(server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake")).await;
    let counters = server.counters.clone();
    let work = tokio::spawn(async move { client.send_request(request("/wait?ms=60000")).await });
    eventually("the request", || count(&counters.requests) == 1).await;
    let began = Instant::now();
    assert_eq!(server.stop().await.cut_off, 1);
    assert!(began.elapsed() < Duration::from_millis(600));
    assert!(work.await.expect("no panic").is_err());
}

#[tokio::test]
async fn the_plain_listener_serves_and_drains_too() {
    let server = Server::start(Transport::Plain, |_| {}).await;
    let counters = server.counters.clone();
    let mut client = http1(server.connect().await).await;
    let said = text(client.send_request(request("/peer")).await.expect("an answer")).await;
    assert!(said.starts_with("127.0.0.1 ") && said.ends_with("none 0 http/1.1 false"), "{said}");
    let work = tokio::spawn(async move { text(client.send_request(request("/wait?ms=200")).await.expect("an answer")).await });
    eventually("the request", || count(&counters.requests) == 2).await;
    assert_eq!(server.stop().await.cut_off, 0);
    assert_eq!(work.await.expect("no panic"), "waited");
}

#[tokio::test]
async fn a_panic_ends_its_own_request_only() {
    let server = Server::start(OURS.transport(), |_| {}).await;
    let mut http1_client = http1(server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake")).await;
    let (mut http2_client, _) = http2(server.connect_tls(&OURS.connector(&["h2"], None)).await.expect("a handshake")).await;
    let neighbour = http2_client.send_request(request("/wait?ms=100"));
    assert!(http1_client.send_request(request("/panic")).await.is_err());
    assert!(http2_client.clone().send_request(request("/panic")).await.is_err());
    assert_eq!(neighbour.await.expect("an answer").status(), 200);
    eventually("the connection of the panic ends", || count(&server.counters.open) == 1).await;
    assert!(ask_peer(&server, &OURS.connector(&[], None)).await.ends_with("true"));
    server.stop().await;
}
