//! The token goes away, hangs, fills up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skm::hsm::{HAND_OFF_EXIT_CODE, HsmError, ObjectKind, Token, TokenSettings};

use super::{AAD, block_on, id, object, open, secret, shut, within};
use crate::support::softhsm::{Hang, SoftHsm, with_token};

/// What callers of a token saw.
#[derive(Default)]
struct Seen {
    good: AtomicU64,
    unavailable: AtomicU64,
    longest: AtomicU64,
    other: Mutex<Vec<String>>,
}

/// Uses key 1 from `count` tasks until `stop`.
fn use_under_load(token: &Token, count: usize, seen: &Arc<Seen>, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<()>> {
    let task = || {
        let (token, seen, stop) = (token.clone(), Arc::clone(seen), Arc::clone(stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = token.encrypt(id(1), AAD.to_vec(), secret("x")).await;
                let took = begun.elapsed();
                seen.longest.fetch_max(u64::try_from(took.as_millis()).expect("a short time"), Ordering::Relaxed);
                match answer {
                    Ok(_) => seen.good.fetch_add(1, Ordering::Relaxed),
                    Err(HsmError::Unavailable { .. }) => {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        seen.unavailable.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(other) => {
                        seen.other.lock().push(other.to_string());
                        0
                    }
                };
            }
        })
    };
    (0..count).map(|_| task()).collect()
}

fn away_and_back(hsm: &SoftHsm, place: &std::path::Path, canary: bool) {
    let token = open(hsm);
    block_on(async {
        for number in [1, 2] {
            token.create(ObjectKind::Aes256, object(number)).await.expect("a key");
        }
        if canary {
            token.use_canary(id(2));
        }
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let load = use_under_load(&token, 16, &seen, &stop);
        for round in 1..=2 {
            within(Duration::from_secs(2), async || seen.good.load(Ordering::Relaxed) > round * 100).await;
            let away = hsm.path().join("away");
            std::fs::rename(place, &away).expect("moved away");
            within(Duration::from_secs(2), async || !token.health().ready).await;
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let begun = Instant::now();
                for answer in [token.encrypt(id(1), AAD.to_vec(), secret("x")).await.map(drop), token.exists(id(1)).await.map(drop)] {
                    assert!(matches!(answer, Err(HsmError::Unavailable { .. })), "{answer:?}");
                }
                assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
            }
            let problem = token.health().problem.expect("a problem");
            assert!(!problem.is_empty());
            std::fs::rename(&away, place).expect("put back");
            let took = within(Duration::from_secs(5), async || token.encrypt(id(1), AAD.to_vec(), secret("x")).await.is_ok()).await;
            assert!(took < Duration::from_secs(3), "{took:?}, though it is tried each second; it said: {problem}");
            let health = token.health();
            assert!(health.ready && health.generation == round && health.problem.is_none(), "{health:?}");
            assert_eq!(health.cached_objects, 2);
        }
        stop.store(true, Ordering::Relaxed);
        for task in load {
            task.await.expect("a task");
        }
        assert!(seen.other.lock().is_empty(), "{:?}", seen.other.lock().first());
        let longest = Duration::from_millis(seen.longest.load(Ordering::Relaxed));
        assert!(longest < hsm.settings().fast_deadline, "{longest:?}");
        assert!(seen.unavailable.load(Ordering::Relaxed) > 100);
        token.create(ObjectKind::Rsa2048, object(3)).await.expect("a pair");
    });
    shut(&token);
}

#[test]
fn a_token_directory_moved_away_under_load_comes_back() {
    with_token(|hsm| away_and_back(hsm, &hsm.tokens(), true));
}

#[test]
fn one_token_moved_away_under_load_comes_back() {
    with_token(|hsm| away_and_back(hsm, &hsm.token(), true));
}

#[test]
fn a_token_without_a_canary_key_comes_back_too() {
    with_token(|hsm| away_and_back(hsm, &hsm.tokens(), false));
}

#[test]
fn an_idle_token_is_noticed_to_be_gone() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Aes256, object(2)).await.expect("a key");
            token.use_canary(id(2));
            std::fs::rename(hsm.tokens(), hsm.path().join("away")).expect("moved away");
            within(Duration::from_secs(2), async || !token.health().ready).await;
            // Nothing is said to be missing while the token is away.
            assert!(matches!(token.exists(id(9)).await, Err(HsmError::Unavailable { .. })));
            std::fs::rename(hsm.path().join("away"), hsm.tokens()).expect("put back");
            within(Duration::from_secs(5), async || token.health().ready).await;
            assert!(token.exists(id(2)).await.expect("an answer"));
        });
        shut(&token);
    });
}

#[test]
fn an_absent_object_is_not_believed_when_the_token_is_gone() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            token.use_canary(id(1));
            within(Duration::from_secs(2), async || token.health().last_success.is_some()).await;
            std::fs::rename(hsm.tokens(), hsm.path().join("away")).expect("moved away");
            // At once, before the periodic canary notices.
            let answers = [token.encrypt(id(7), Vec::new(), secret("x")).await.map(drop), token.destroy(id(1)).await.map(drop)];
            for answer in answers {
                assert!(matches!(answer, Err(HsmError::Unavailable { .. })), "{answer:?}");
            }
        });
        assert!(token.shut_down(Duration::from_secs(10)), "while it is away");
    });
}

#[test]
fn a_pin_that_is_wrong_at_recovery_is_not_tried_again() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            token.use_canary(id(1));
            let away = hsm.path().join("away");
            std::fs::rename(hsm.tokens(), &away).expect("moved away");
            within(Duration::from_secs(2), async || !token.health().ready).await;
            let changed = std::process::Command::new("pkcs11-tool")
                .env("SOFTHSM2_CONF", hsm.configuration_for(&away))
                .args(["--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", hsm.label(), "--login"])
                .args(["--change-pin", "--pin", hsm.pin(), "--new-pin", "8765432109"])
                .output()
                .expect("pkcs11-tool (opensc)");
            assert!(changed.status.success(), "{changed:?}");
            std::fs::rename(&away, hsm.tokens()).expect("put back");
            let gave_up = async || token.health().problem.is_some_and(|problem| problem.contains("CKR_PIN_INCORRECT"));
            within(Duration::from_secs(5), gave_up).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let health = token.health();
            assert!(!health.ready && health.problem.is_some_and(|problem| problem.contains("not be tried again")));
            assert!(matches!(token.encrypt(id(1), Vec::new(), secret("x")).await, Err(HsmError::Unavailable { .. })));
        });
        shut(&token);
    });
}

#[test]
fn another_token_of_the_same_label_is_not_taken_for_it() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            token.use_canary(id(1));
            let away = hsm.path().join("away");
            std::fs::rename(hsm.tokens(), &away).expect("moved away");
            within(Duration::from_secs(2), async || !token.health().ready).await;
            std::fs::create_dir(hsm.tokens()).expect("a directory");
            let made = hsm
                .command("softhsm2-util")
                .args(["--init-token", "--free", "--label", hsm.label(), "--so-pin", hsm.so_pin(), "--pin", hsm.pin()])
                .output()
                .expect("softhsm2-util");
            assert!(made.status.success());
            within(Duration::from_secs(5), async || token.health().problem.is_some_and(|problem| problem.contains("there are: skm"))).await;
            assert!(!token.health().ready);
            std::fs::remove_dir_all(hsm.tokens()).expect("removed");
            std::fs::rename(&away, hsm.tokens()).expect("put back");
            within(Duration::from_secs(5), async || token.encrypt(id(1), Vec::new(), secret("x")).await.is_ok()).await;
        });
        shut(&token);
    });
}

#[test]
fn a_canary_key_that_is_gone_makes_the_token_unready() {
    with_token(|hsm| {
        let token = open(hsm);
        token.use_canary(id(404));
        block_on(async {
            within(Duration::from_secs(2), async || !token.health().ready).await;
            let problem = token.health().problem.expect("a problem");
            assert!(problem.contains("canary"), "{problem}");
        });
        shut(&token);
    });
}

fn short_deadlines(hsm: &SoftHsm) -> TokenSettings {
    TokenSettings { fast_workers: 1, queue_limit: 2, fast_deadline: Duration::from_millis(300), slow_deadline: Duration::from_millis(600), ..hsm.settings() }
}

#[test]
fn a_hanging_token_makes_callers_late_then_busy_and_workers_are_replaced() {
    with_token(|hsm| {
        let (settings, told) = (short_deadlines(hsm), Arc::new(AtomicBool::new(false)));
        let hand_off = Arc::clone(&told);
        let token = Token::open_with(&settings, &hsm.pin_bytes(), Arc::new(move |_| hand_off.store(true, Ordering::Release))).expect("an open token");
        block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            let hang = Hang::begin(hsm);
            let begun = Instant::now();
            let calls: Vec<_> = (0..8)
                .map(|_| {
                    let token = token.clone();
                    tokio::spawn(async move { token.encrypt(id(1), AAD.to_vec(), secret("x")).await })
                })
                .collect();
            let (mut late, mut busy) = (0, 0);
            for call in calls {
                match call.await.expect("a task") {
                    Err(HsmError::Late { function: "C_Encrypt" }) => late += 1,
                    Err(HsmError::Busy) => busy += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert!(begun.elapsed() < Duration::from_millis(450), "{:?}", begun.elapsed());
            assert!(late >= 2 && busy >= 4, "{late} late, {busy} busy");
            within(Duration::from_secs(1), async || token.health().workers_replaced > 0).await;
            assert!(!told.load(Ordering::Acquire));
            drop(hang);
            within(Duration::from_secs(5), async || token.encrypt(id(1), AAD.to_vec(), secret("x")).await.is_ok()).await;
        });
        shut(&token);
    });
}

#[test]
fn a_token_that_hangs_for_good_hands_the_process_off() {
    with_token(|hsm| {
        let (settings, told) = (short_deadlines(hsm), Arc::new(Mutex::new(Vec::new())));
        let reasons = Arc::clone(&told);
        let hand_off = Arc::new(move |reason: &str| reasons.lock().push(reason.to_owned()));
        let token = Token::open_with(&settings, &hsm.pin_bytes(), hand_off).expect("an open token");
        block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            let hang = Hang::begin(hsm);
            let search = token.exists(id(9)).await;
            assert!(matches!(search, Err(HsmError::Late { function: "C_FindObjects" })), "{search:?}");
            // Others wait for the lock no longer than they may.
            let begun = Instant::now();
            assert!(token.exists(id(8)).await.is_err());
            assert!(begun.elapsed() < Duration::from_secs(1));
            within(Duration::from_secs(5), async || !told.lock().is_empty()).await;
            assert!(matches!(token.encrypt(id(1), AAD.to_vec(), secret("x")).await, Err(HsmError::Unavailable { .. })));
            assert!(!token.shut_down(Duration::from_millis(300)), "a worker is out");
            assert!(!token.shut_down(Duration::from_millis(300)), "it stays so");
            drop(hang);
            // This process doesn't end like one that was handed off: what hung must be out of the module when it does.
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
        assert_eq!(told.lock().len(), 1, "{:?}", told.lock());
    });
}

#[test]
fn the_process_exits_with_the_hand_off_code() {
    const HANGING: &str = "SKM_TEST_HANGING";
    with_token(|hsm| {
        if std::env::var_os(HANGING).is_some() {
            let token = Token::open(&short_deadlines(hsm), &hsm.pin_bytes()).expect("an open token");
            block_on(async {
                let _hang = Hang::begin(hsm);
                drop(token.exists(id(9)).await);
                tokio::time::sleep(Duration::from_secs(20)).await;
            });
            panic!("still here");
        }
        let begun = Instant::now();
        let output = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["token::faults::the_process_exits_with_the_hand_off_code", "--exact"])
            .env(HANGING, "1")
            .output()
            .expect("a child");
        assert_eq!(output.status.code(), Some(HAND_OFF_EXIT_CODE), "{output:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}
