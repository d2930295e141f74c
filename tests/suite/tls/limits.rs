//! Limits: connections, idle ones, slow and large requests.

use std::time::{Duration, Instant};

use skm::tls::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use super::world::*;

const SHORT: Duration = Duration::from_millis(150);

/// What a peer gets until the connection ends.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A TLS connection that is cut off ends without close_notify.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn at_the_limit_the_idlest_makes_room_and_busy_ones_stay() {
    let server = Server::start(OURS.transport(), |settings| settings.max_connections = 2).await;
    let connector = OURS.connector(&["http/1.1"], None);
    let mut idle = http1(server.connect_tls(&connector).await.expect("a handshake")).await;
    assert_eq!(idle.send_request(request("/peer")).await.expect("an answer").status(), 200);
    let mut busy = http1(server.connect_tls(&connector).await.expect("a handshake")).await;
    let work = tokio::spawn(async move { busy.send_request(request("/wait?ms=1500")).await.map(|answer| answer.status().as_u16()) });
    eventually("the request", || count(&server.counters.requests) == 2).await;
    // Nobody has been idle for a second yet.
    assert!(server.connect_tls(&connector).await.is_err());
    assert_eq!(count(&server.counters.refused_at_limit), 1);
    sleep(Duration::from_millis(1_050)).await;
    assert!(ask_peer(&server, &connector).await.ends_with("true"));
    assert_eq!(count(&server.counters.displaced), 1);
    eventually("the idle one ends", || idle.is_closed()).await;
    assert_eq!(work.await.expect("no panic").expect("an answer"), 200, "the busy one was left alone");
    server.stop().await;
}

#[tokio::test]
async fn idle_connections_end_in_http1_and_http2() {
    let server = Server::start(OURS.transport(), |settings| settings.idle_timeout = SHORT).await;
    let mut http1_client = http1(server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake")).await;
    let (mut http2_client, ended) = http2(server.connect_tls(&OURS.connector(&["h2"], None)).await.expect("a handshake")).await;
    // A request that takes longer than the idle timeout is not idle.
    let (by_http1, by_http2) = tokio::join!(http1_client.send_request(request("/wait?ms=300")), http2_client.send_request(request("/wait?ms=300")));
    assert_eq!(by_http1.expect("an answer").status(), 200);
    assert_eq!(by_http2.expect("an answer").status(), 200);
    eventually("the end", || http1_client.is_closed() && http2_client.is_closed()).await;
    ended.await.expect("no panic").expect("a proper end");
    assert_eq!(count(&server.counters.idle_timeouts), 2);
    eventually("nothing is open", || count(&server.counters.open) == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_never_says_anything_after_the_handshake_is_idle() {
    let server = Server::start(OURS.transport(), |settings| settings.idle_timeout = SHORT).await;
    for protocol in ["http/1.1", "h2"] {
        let began = Instant::now();
        let mut silent = server.connect_tls(&OURS.connector(&[protocol], None)).await.expect("a handshake");
        rest(&mut silent).await;
        assert!(began.elapsed() >= SHORT, "{protocol}");
    }
    assert_eq!(count(&server.counters.idle_timeouts), 2);
    server.stop().await;
}

#[tokio::test]
async fn http2_pings_do_not_keep_a_connection_open() {
    let server = Server::start(OURS.transport(), |settings| settings.idle_timeout = SHORT).await;
    let mut raw = server.connect_tls(&OURS.connector(&["h2"], None)).await.expect("a handshake");
    raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("a preface");
    let began = Instant::now();
    // A PING frame (RFC 9113, 6.7) each 20 ms, until the connection is gone.
    while raw.write_all(b"\0\0\x08\x06\0\0\0\0\0pingpong").await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "pings keep the connection open");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(count(&server.counters.idle_timeouts), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_header_is_cut_off() {
    let server = Server::start(OURS.transport(), |settings| settings.request_timeout = SHORT).await;
    let mut slow = server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake");
    // Between requests the idle timeout counts, not this one.
    sleep(SHORT * 2).await;
    slow.write_all(b"GET /peer HTTP/1.1\r\n").await.expect("still open");
    let began = Instant::now();
    while slow.write_all(b"a: b\r\n").await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "a slow header keeps the connection open");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= SHORT);
    assert_eq!(count(&server.counters.header_timeouts), 1);
    assert_eq!(count(&server.counters.requests), 0);
    server.stop().await;
}

#[tokio::test]
async fn keep_alive_outlasts_the_header_timeout() {
    let server = Server::start(OURS.transport(), |settings| settings.request_timeout = SHORT).await;
    let mut client = http1(server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake")).await;
    for _ in 0..2 {
        assert_eq!(text(client.send_request(request("/peer")).await.expect("an answer")).await.split(' ').next(), Some("127.0.0.1"));
        sleep(SHORT * 2).await;
        client.ready().await.expect("still open");
    }
    assert_eq!(count(&server.counters.header_timeouts), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_told_and_cut_off() {
    let server = Server::start(OURS.transport(), |settings| settings.request_timeout = SHORT).await;
    // An application that looks at the reason answers 408, one that doesn't 400; both connections end.
    for (path, expected) in [("/echo", "HTTP/1.1 408"), ("/bytes", "HTTP/1.1 400")] {
        for head in ["content-length: 10\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
            let mut slow = server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake");
            slow.write_all(format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{head}").as_bytes()).await.expect("sent");
            let answer = rest(&mut slow).await;
            assert!(answer.starts_with(expected), "{path} {head}: {answer}");
        }
    }
    assert_eq!(count(&server.counters.body_timeouts), 4);
    // In time.
    let mut quick = server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake");
    quick.write_all(b"POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 6\r\n\r\nabc").await.expect("sent");
    sleep(SHORT / 3).await;
    quick.write_all(b"def").await.expect("sent");
    assert!(rest(&mut quick).await.ends_with("abcdef"));
    server.stop().await;
}

#[tokio::test]
async fn headers_over_the_limit_are_refused_with_431() {
    let server = Server::start(OURS.transport(), |_| {}).await;
    let under = "x".repeat(15 * 1024);
    let over = "x".repeat(17 * 1024);
    for (value, expected) in [(&under, 200), (&over, 431)] {
        let mut with_header = request("/peer");
        with_header.headers_mut().insert("x-filler", value.parse().expect("a value"));
        let mut http1_client = http1(server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake")).await;
        assert_eq!(http1_client.send_request(with_header.clone()).await.expect("an answer").status(), expected, "HTTP/1.1");
        let (mut http2_client, _) = http2(server.connect_tls(&OURS.connector(&["h2"], None)).await.expect("a handshake")).await;
        assert_eq!(http2_client.send_request(with_header).await.expect("an answer").status(), expected, "HTTP/2");
    }
    // Far over the limit: the answer must survive what is still on its way.
    let mut flood = server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake");
    let head = format!("GET /peer HTTP/1.1\r\nhost: localhost\r\nx-filler: {}\r\n\r\n", "x".repeat(200 * 1024));
    flood.write_all(head.as_bytes()).await.expect("sent");
    assert!(rest(&mut flood).await.starts_with("HTTP/1.1 431"));
    assert_eq!(count(&server.counters.requests), 2);
    server.stop().await;
}

#[tokio::test]
async fn nonsense_gets_400_and_too_many_header_lines_431() {
    let server = Server::start(Transport::Plain, |_| {}).await;
    let many = format!("GET /peer HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (bytes, expected) in [("NONSENSE\r\n\r\n", "HTTP/1.1 400"), ("GET / HTTP/1.1\r\nbad header\r\n\r\n", "HTTP/1.1 400"), (&many, "HTTP/1.1 431")] {
        let mut client = server.connect().await;
        client.write_all(bytes.as_bytes()).await.expect("sent");
        assert!(rest(&mut client).await.starts_with(expected), "{expected}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_reaches_a_client_that_is_still_sending() {
    let server = Server::start(OURS.transport(), |_| {}).await;
    let directory = tempfile::tempdir().expect("a directory");
    let ca = OURS.write_ca(directory.path());
    let body = directory.path().join("body");
    std::fs::write(&body, vec![b'x'; 700 * 1024]).expect("written");
    let data = format!("@{}", body.display());
    for flag in ["--http1.1", "--http2"] {
        let arguments =
            ["-sS", flag, "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:", "--cacert", ca.to_str().expect("a path"), "--data-binary", &data];
        let status = run("curl", &[&arguments[..], &[&server.url("/ignore")]].concat(), &[]);
        assert_eq!(String::from_utf8_lossy(&status), "413", "{flag}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_refused_upload_is_taken_until_the_answer_is_read() {
    let server = Server::start(OURS.transport(), |_| {}).await;
    let mut client = server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake");
    client.write_all(b"POST /ignore HTTP/1.1\r\nhost: localhost\r\ncontent-length: 800000\r\n\r\n").await.expect("sent");
    for _ in 0..8 {
        sleep(Duration::from_millis(10)).await;
        client.write_all(&[b'x'; 100_000]).await.expect("no reset before the answer was read");
        client.flush().await.expect("no reset before the answer was read");
    }
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 413"));
    // But not for ever.
    let mut endless = server.connect_tls(&OURS.connector(&["http/1.1"], None)).await.expect("a handshake");
    endless.write_all(b"POST /ignore HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n").await.expect("sent");
    let mut sent = 0;
    while endless.write_all(&[b'x'; 100_000]).await.is_ok() && sent < 50_000_000 {
        sent += 100_000;
    }
    assert!(sent < 50_000_000, "{sent}");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off_and_a_slow_one_is_not() {
    let server = Server::start(Transport::Plain, |settings| settings.idle_timeout = SHORT).await;
    const BYTES: usize = 24 * 1024 * 1024;
    let head = format!("GET /big?bytes={BYTES} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut stuck = server.connect().await;
    stuck.write_all(head.as_bytes()).await.expect("sent");
    eventually("the idle timeout", || count(&server.counters.idle_timeouts) == 1).await;
    eventually("the end", || count(&server.counters.open) == 0).await;
    let mut slow = server.connect().await;
    slow.write_all(head.as_bytes()).await.expect("sent");
    let (mut total, mut buffer) = (0, vec![0; 2 * 1024 * 1024]);
    loop {
        let count = slow.read(&mut buffer).await.expect("bytes");
        if count == 0 {
            break;
        }
        if total / BYTES.div_ceil(8) != (total + count) / BYTES.div_ceil(8) {
            sleep(SHORT / 2).await;
        }
        total += count;
    }
    assert!(total > BYTES, "only {total} bytes came");
    server.stop().await;
}
