//! Clients that hang up at any point: what began runs to its audit record, and nothing stays open.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;

use super::database_gone::encryptions;
use super::load::wait_until;
use crate::support::installation::{Installation, Running};
use crate::support::random::{Random, is_full};
use crate::support::wire::{Wire, request, tcp, trust};

/// Requests at the same time on one HTTP/2 connection.
const STREAMS: usize = 16;

/// When a client hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum When {
    AfterConnecting,
    AmidHandshake,
    AfterHandshake,
    AmidHead,
    AmidBody,
    AfterBody,
    AmidAnswer,
    AfterAnswer,
}

impl When {
    const ALL: [Self; 8] = [
        Self::AfterConnecting,
        Self::AmidHandshake,
        Self::AfterHandshake,
        Self::AmidHead,
        Self::AmidBody,
        Self::AfterBody,
        Self::AmidAnswer,
        Self::AfterAnswer,
    ];
}

struct Clients<'a> {
    installation: &'a Installation,
    address: String,
    trusted: Arc<ClientConfig>,
}

impl Clients<'_> {
    /// One request with this User-Agent, hung up on.
    fn hang_up(&self, when: When, user_agent: &str, random: &mut Random) {
        let mut stream = tcp(&self.address);
        match when {
            When::AfterConnecting => return,
            When::AmidHandshake => {
                let hello = Wire::client_hello(&self.trusted);
                return stream.write_all(&hello[..random.below(hello.len())]).expect("sent");
            }
            _ => drop(stream),
        }
        let mut wire = Wire::connect(&self.address, &self.trusted);
        let path = format!("/keymanager/v1.0/appkey/{}/symmetric-keys/{}/encrypt", self.installation.demo("APPKEY"), self.installation.demo("SYMMETRIC_ID"));
        let text = request("POST", &path, &[("user-agent", user_agent)], r#"{"plaintext": "of somebody who doesn't wait"}"#);
        let head = text.find("\r\n\r\n").expect("a head") + 4;
        let sent = match when {
            When::AfterConnecting | When::AmidHandshake | When::AfterHandshake => 0,
            When::AmidHead => 1 + random.below(head - 2),
            When::AmidBody => head + random.below(text.len() - head),
            When::AfterBody | When::AmidAnswer | When::AfterAnswer => text.len(),
        };
        assert!(wire.send(&text.as_bytes()[..sent]));
        match when {
            When::AmidAnswer => assert!(!wire.read(1 + random.below(40)).is_empty()),
            When::AfterAnswer => assert!(wire.answer().starts_with("HTTP/1.1 200 ")),
            // Some of them leave time for the service to be in the midst of it.
            _ => std::thread::sleep(random.between(Duration::ZERO, Duration::from_millis(3))),
        }
    }
}

/// A number in the metrics.
fn gauge(running: &Running, name: &str) -> f64 {
    let (_, text) = running.operations("/metrics");
    let line = text.lines().find(|line| line.split_whitespace().next().is_some_and(|word| word == name || word == format!("skm_{name}")));
    let value = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_else(|| panic!("no {name} in\n{text}"));
    value.parse().expect("a number")
}

fn must_run_to_the_record(installation: &Installation, count: usize, mut random: Random) {
    let running = installation.start();
    let clients = Clients { installation, address: running.api_address().to_owned(), trusted: trust(installation.demo("CA")) };
    let mut hung_up: HashMap<String, When> = HashMap::new();
    let threads: Vec<_> = (0..4).map(|_| random.fork()).collect();
    std::thread::scope(|scope| {
        let started: Vec<_> = threads
            .into_iter()
            .enumerate()
            .map(|(thread, mut random)| {
                let clients = &clients;
                scope.spawn(move || {
                    let one = |number: usize| {
                        let (when, user_agent) = (When::ALL[(number + thread) % When::ALL.len()], format!("hang-up {thread}/{number}"));
                        clients.hang_up(when, &user_agent, &mut random);
                        (user_agent, when)
                    };
                    (0..count / 4).map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        started.into_iter().for_each(|thread| hung_up.extend(thread.join().expect("the clients")));
    });
    wait_until("no connection left", Duration::from_secs(20), || gauge(&running, "api_connections") == 0.0 && gauge(&running, "use_cases") == 0.0);
    let (counted, recorded) = encryptions(installation);
    assert_eq!(counted, recorded);
    must_be_recorded(installation, &hung_up, recorded);
    let (status, log) = running.stop();
    assert!(status.success(), "{status}\n{log}");
    assert_eq!(encryptions(installation), (counted, recorded));
    super::settled::audit_is_intact(installation);
}

/// Who saw something of the answer has a record of success; who sent less than the whole request has no such record.
fn must_be_recorded(installation: &Installation, hung_up: &HashMap<String, When>, recorded: i64) {
    let successes =
        installation.database().texts("user_agent", "audit_records WHERE operation = 'ENCRYPT' AND result_code = 0 AND user_agent LIKE 'hang-up %'");
    assert_eq!(i64::try_from(successes.len()), Ok(recorded));
    let mut by_moment: HashMap<When, (usize, usize)> = HashMap::new();
    for (user_agent, when) in hung_up {
        let times = successes.iter().filter(|success| *success == user_agent).count();
        assert!(times <= 1, "{user_agent}");
        let of_moment = by_moment.entry(*when).or_default();
        *of_moment = (of_moment.0 + 1, of_moment.1 + times);
    }
    println!("hung up, recorded: {by_moment:?}");
    for (when, (all, done)) in by_moment {
        match when {
            When::AmidAnswer | When::AfterAnswer => assert_eq!(done, all, "{when:?}"),
            // The service may or may not have seen the whole of it before the end.
            When::AfterBody => {}
            _ => assert_eq!(done, 0, "{when:?}"),
        }
    }
}

/// Connections with many streams each, of which all are dropped at once, by turns with and without their connection.
async fn hang_up_streams(clients: &Clients<'_>, connection: usize, random: &mut Random) {
    let mut config = (*clients.trusted).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(&clients.address).await.expect("a connection");
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").expect("a name");
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    let (sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let driver = tokio::spawn(driver);
    let installation = clients.installation;
    let uri = format!("https://127.0.0.1/keymanager/v1.0/appkey/{}/symmetric-keys/{}/encrypt", installation.demo("APPKEY"), installation.demo("SYMMETRIC_ID"));
    let streams: Vec<_> = (0..STREAMS)
        .map(|stream| {
            let body = http_body_util::Full::new(bytes::Bytes::from_static(br#"{"plaintext": "of somebody who doesn't wait"}"#));
            let user_agent = format!("hang-up stream {connection}/{stream}");
            let request = hyper::Request::post(&uri).header("content-type", "application/json").header("user-agent", user_agent).body(body);
            tokio::spawn(sender.clone().send_request(request.expect("a request")))
        })
        .collect();
    tokio::time::sleep(random.between(Duration::ZERO, Duration::from_millis(15))).await;
    if connection.is_multiple_of(2) {
        driver.abort();
    }
    streams.into_iter().for_each(|stream| stream.abort());
    drop(sender);
}

#[test]
fn streams_that_began_run_to_their_records() {
    let installation = Installation::new();
    let running = installation.start();
    let clients = Clients { installation: &installation, address: running.api_address().to_owned(), trusted: trust(installation.demo("CA")) };
    let mut random = Random::of_test("faults::hang_up::streams");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for connection in 0..if is_full() { 1_000 } else { 40 } {
            hang_up_streams(&clients, connection, &mut random).await;
        }
    });
    drop(runtime);
    wait_until("no connection left", Duration::from_secs(20), || gauge(&running, "api_connections") == 0.0 && gauge(&running, "use_cases") == 0.0);
    let (counted, recorded) = encryptions(&installation);
    println!("{recorded} of the streams were served");
    assert!(recorded > 0);
    assert_eq!(counted, recorded);
    let mut user_agents = installation.database().texts("user_agent", "audit_records WHERE operation = 'ENCRYPT' AND result_code = 0");
    user_agents.sort_unstable();
    let all = user_agents.len();
    user_agents.dedup();
    assert_eq!((user_agents.len(), i64::try_from(all)), (all, Ok(recorded)));
}

#[test]
fn what_began_runs_to_its_record() {
    must_run_to_the_record(&Installation::new(), if is_full() { 8_000 } else { 480 }, Random::of_test("faults::hang_up"));
}
