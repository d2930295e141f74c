//! The token room, against a real SoftHSM2.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "the tests' own tools fail loudly")]

#[path = "token/crypto.rs"]
mod crypto;
#[path = "token/faults.rs"]
mod faults;
#[path = "token/objects.rs"]
mod objects;
#[path = "token/setup.rs"]
mod setup;
#[path = "token/start.rs"]
mod start;
#[path = "token/unwrapping.rs"]
mod unwrapping;

use std::future::Future;
use std::process::Stdio;
use std::time::{Duration, Instant};

use skm::domain::ids::ObjectId;
use skm::domain::secret::SecretBytes;
use skm::hsm::{NewObject, ObjectKind, Token};

use crate::support::softhsm::SoftHsm;

const AAD: &[u8] = b"aad";

fn id(number: u64) -> ObjectId {
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

fn object(number: u64) -> NewObject {
    NewObject { id: id(number), label: format!("skm/{}/v0", id(number)) }
}

fn secret(bytes: impl AsRef<[u8]>) -> SecretBytes {
    SecretBytes::new(bytes.as_ref().to_vec())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(future)
}

fn open(hsm: &SoftHsm) -> Token {
    Token::open(&hsm.settings(), &hsm.pin_bytes()).expect("an open token")
}

fn shut(token: &Token) {
    assert!(token.shut_down(Duration::from_secs(10)), "a worker stayed out");
}

/// Waits until `done`, at most `limit`; answers how long it took.
async fn within(limit: Duration, mut done: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < limit, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// Set in another process of the same token: what it is to do.
const STEPS: &str = "SKM_TEST_STEPS";

/// Has another process create (`+1`) and destroy (`-1`) AES keys by number.
fn in_another_process(hsm: &SoftHsm, steps: &str) {
    let program = std::env::current_exe().expect("this program");
    let output = hsm
        .command(program)
        .args(["token::another_process", "--exact", "--nocapture"])
        .env(STEPS, steps)
        .stderr(Stdio::inherit())
        .output()
        .expect("another process");
    assert!(output.status.success(), "{steps}: {}", String::from_utf8_lossy(&output.stdout));
}

/// The other process; nothing without its steps.
#[test]
fn another_process() {
    let Ok(steps) = std::env::var(STEPS) else { return };
    let configuration = std::env::var_os(crate::support::softhsm::CONFIGURATION).expect("a configuration");
    let hsm = SoftHsm::of_configuration(configuration.as_ref());
    let token = open(&hsm);
    block_on(async {
        for step in steps.split_whitespace() {
            let (what, number) = step.split_at(1);
            let number = number.parse().expect("a number");
            match what {
                "*" => {
                    let spki = token.create(ObjectKind::Rsa2048Unwrap, object(number)).await.expect("created");
                    std::fs::write(hsm.path().join("spki"), spki.expect("a public key")).expect("written");
                }
                "+" => drop(token.create(ObjectKind::Aes256, object(number)).await.expect("created")),
                _ => assert_eq!(token.destroy(id(number)).await.expect("destroyed"), 1),
            }
        }
    });
    shut(&token);
}
