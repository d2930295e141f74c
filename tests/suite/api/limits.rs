//! Requests that are too large or too slow.

use std::time::{Duration, Instant};

use super::http::{BODY_TOO_LARGE, Connection, INVALID_APPKEY, Refusal, Reply, malformed};
use super::stage::{Ask, Stage};
use crate::support::installation::Installation;

/// The most bytes of a body.
const BODY_MAX: usize = 256 * 1024;

fn encrypt(stage: &Stage) -> Ask {
    Ask::new("POST", stage.v1(&format!("/symmetric-keys/{}/encrypt", stage.id("SYMMETRIC_ID"))))
}

/// A JSON body of exactly that many bytes, that would be right.
fn body(bytes: usize) -> Vec<u8> {
    let start = br#"{"plaintext":"x","more":""#;
    [start.as_slice(), &vec![b'x'; bytes - start.len() - 2], b"\"}"].concat()
}

fn head(ask: &Ask, more: &str) -> Vec<u8> {
    format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{more}\r\n", ask.method, ask.path).into_bytes()
}

/// Sends as much as the service takes: it may answer and hang up before the end.
fn pour(connection: &mut Connection, parts: impl Iterator<Item = Vec<u8>>) {
    for part in parts {
        if connection.write(&part).is_err() {
            break;
        }
    }
}

fn chunks(body: &[u8], size: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    body.chunks(size).map(chunk).chain(std::iter::once(b"0\r\n\r\n".to_vec()))
}

#[test]
fn bodies_over_the_limit_are_refused() {
    let stage = Stage::new();
    let ask = encrypt(&stage);
    let measured = |body: Vec<u8>| stage.ask(&ask.clone().bytes(body).header("Content-Type", "application/json"));
    let chunked = |body: &[u8], size: usize| {
        let mut connection = stage.connect(false);
        connection.write(&head(&ask, "Transfer-Encoding: chunked\r\n")).expect("a head");
        pour(&mut connection, chunks(body, size));
        stage.read(&mut connection, &ask)
    };
    measured(body(BODY_MAX)).body();
    chunked(&body(BODY_MAX), 10_000).body();
    chunked(&body(200), 1).body();
    measured(body(BODY_MAX + 1)).refused(BODY_TOO_LARGE, "a byte more");
    chunked(&body(BODY_MAX + 1), 10_000).refused(BODY_TOO_LARGE, "a byte more, chunked");
    // Where the rest of a body is still to come, an HTTP/1 connection is over, and the answer says so.
    let ends = |reply: Reply| reply.header("connection") == Some("close");
    assert!(ends(measured(body(BODY_MAX + 1))));
    assert!(ends(stage.ask(&Ask::new("POST", stage.v1("/nothing")).bytes(body(BODY_MAX)))));
    assert!(!ends(measured(body(BODY_MAX))));
    assert!(!ends(measured(b"{".to_vec())));
    let local_key = Ask::new("POST", ask.path.replace("encrypt", "create-local-key"));
    assert!(!ends(stage.ask(&local_key.clone().bytes("{}"))) && !ends(stage.ask(&local_key)));
    // Announced only: refused before anything of it came.
    for announced in [BODY_MAX + 1, 1 << 40, usize::MAX / 2] {
        let mut connection = stage.connect(false);
        connection.write(&head(&ask, &format!("Content-Length: {announced}\r\n"))).expect("a head");
        stage.read(&mut connection, &ask).refused(BODY_TOO_LARGE, &announced.to_string());
    }
    // Never ending: refused at the limit.
    let mut connection = stage.connect(false);
    connection.write(&head(&ask, "Transfer-Encoding: chunked\r\n")).expect("a head");
    pour(&mut connection, std::iter::repeat_n([b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat(), 5));
    stage.read(&mut connection, &ask).refused(BODY_TOO_LARGE, "without end");
    // Whom it is told to comes first here too.
    let unknown = Ask::new("POST", "/keymanager/v1.0/appkey/unknown/symmetric-keys/x/encrypt");
    let mut connection = stage.connect(false);
    connection.write(&head(&unknown, "Content-Length: 300000\r\n")).expect("a head");
    stage.read(&mut connection, &unknown).refused(INVALID_APPKEY, "an unknown project");
    stage.finish();
}

/// The status of an answer that the listener gave before the API saw a request, so there is nothing to record.
fn status(stage: &Stage, bytes: &[u8]) -> Option<Reply> {
    let mut connection = stage.connect(false);
    pour(&mut connection, bytes.chunks(4_096).map(<[u8]>::to_vec));
    connection.read(false).ok()
}

#[test]
fn heads_over_the_limit_are_refused() {
    let stage = Stage::new();
    let confirm = Ask::get(stage.v1("/confirm"));
    stage.ask(&confirm.clone().header("X-Long", "x".repeat(15_000))).body();
    let refused = |head: String, expected: u16| {
        let reply = status(&stage, head.as_bytes()).expect("an answer");
        assert_eq!((reply.status, reply.body.len()), (expected, 0), "{reply}");
    };
    let start = format!("GET {} HTTP/1.1\r\nHost: x\r\n", confirm.path);
    refused(format!("{start}X-Long: {}\r\n\r\n", "x".repeat(17_000)), 431);
    refused(format!("{start}{}\r\n", "X-Many: x\r\n".repeat(1_600)), 431);
    let long = status(&stage, format!("GET {}?{} HTTP/1.1\r\nHost: x\r\n\r\n", confirm.path, "x".repeat(70_000)).as_bytes()).expect("an answer");
    assert!((400..500).contains(&long.status), "{long}");
    // No HTTP: an answer or an end, and the service goes on.
    for rubbish in [
        format!("{start}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
        format!("{start}Content-Length: -1\r\n\r\n"),
        format!("{start}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{start}X-Space : x\r\n\r\n"),
        format!("{start}X-Nul: a\0b\r\n\r\n"),
        "GET\r\n\r\n".to_owned(),
        "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
        format!("GET {} HTTP/9.9\r\nHost: x\r\n\r\n", confirm.path),
        format!("GET {}\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n", confirm.path),
    ] {
        if let Some(reply) = status(&stage, rubbish.as_bytes()) {
            assert!(reply.status < 500, "{rubbish:?}: {reply}");
        }
    }
    stage.ask(&confirm).body();
    stage.finish();
}

#[test]
fn slow_bodies_are_given_up() {
    const LIMIT: Duration = Duration::from_millis(1_500);
    let stage = Stage::with(
        Installation::new(),
        &[("SKM_API__REQUEST_TIMEOUT", "1500 ms"), ("SKM_TOKEN__FAST_DEADLINE", "1 s"), ("SKM_TOKEN__SLOW_DEADLINE", "1 s"), ("SKM_DATABASE__DEADLINE", "1 s")],
    );
    let ask = encrypt(&stage);
    const LATE: Refusal = malformed("Malformed Body: the body did not arrive in time");
    let began = Instant::now();
    // One that stops, one that drips: both at once, so that the wait is one.
    let (mut stopped, mut dripping) = (stage.connect(false), stage.connect(false));
    for connection in [&mut stopped, &mut dripping] {
        connection.write(&head(&ask, "Content-Length: 60\r\n")).expect("a head");
        connection.write(br#"{"plaintext":""#).expect("a beginning");
    }
    while began.elapsed() < LIMIT && dripping.write(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
    stage.read(&mut stopped, &ask).refused(LATE, "one that stopped");
    stage.read(&mut dripping, &ask).refused(LATE, "one that drips");
    assert!((LIMIT..LIMIT * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
    // In time, if only just, is in time.
    let mut connection = stage.connect(false);
    connection.write(&head(&ask, "Content-Length: 17\r\n")).expect("a head");
    for part in [br#"{"plaintex"#.as_slice(), br#"t":"x"}"#] {
        std::thread::sleep(LIMIT / 6);
        connection.write(part).expect("a part");
    }
    stage.read(&mut connection, &ask).body();
    stage.finish();
}
