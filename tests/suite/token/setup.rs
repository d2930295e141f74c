//! Opening and shutting; initialising a token.

use std::path::PathBuf;
use std::time::Duration;

use skm::hsm::{HsmError, ObjectKind, Token, initialise_token};

use super::{block_on, id, object, open, secret, shut};
use crate::support::softhsm::{SoftHsm, with_empty_directory, with_token};

/// Logs every PKCS#11 call (of the package opensc).
const SPY: &str = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so";

/// Why the token doesn't open.
fn refusal(settings: &skm::hsm::TokenSettings, hsm: &SoftHsm) -> String {
    match Token::open(settings, &hsm.pin_bytes()) {
        Err(HsmError::Setup(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_pin_is_tried_once_and_leaves_the_token_usable() {
    with_token(|hsm| {
        let wrong = Token::open(&hsm.settings(), &secret("0000000000"));
        let Err(HsmError::Setup(message)) = wrong else { panic!("{wrong:?}") };
        assert!(message.contains("CKR_PIN_INCORRECT") && message.contains("will not be tried again"), "{message}");
        assert!(!message.contains("0000000000"), "{message}");
        let token = open(hsm);
        assert!(token.health().ready);
        shut(&token);
    });
}

/// Set in a process under the spy: the PIN to use.
const SPY_PIN: &str = "SKM_TEST_SPY_PIN";

/// How often each function was called by [`under_the_spy`] with that PIN.
fn count_calls(hsm: &SoftHsm, pin: &str) -> impl Fn(&str) -> usize {
    let log = hsm.path().join("spy.log");
    // The module that logs reads its settings from the environment: a process of its own for it.
    let output = hsm
        .command(std::env::current_exe().expect("this program"))
        .args(["token::setup::under_the_spy", "--exact"])
        .env(SPY_PIN, pin)
        .env("PKCS11SPY", "/usr/lib/softhsm/libsofthsm2.so")
        .env("PKCS11SPY_OUTPUT", &log)
        .output()
        .expect("a child");
    assert!(output.status.success(), "{output:?}");
    let log = std::fs::read_to_string(log).expect("the log");
    move |function| log.lines().filter(|line| line.trim_end().ends_with(&format!(": {function}"))).count()
}

#[test]
fn a_wrong_pin_costs_one_login() {
    with_token(|hsm| {
        let count = count_calls(hsm, "0000000000");
        assert_eq!((count("C_Login"), count("C_Finalize")), (1, 1));
        assert_eq!(count("C_OpenSession"), count("C_CloseSession"));
    });
}

#[test]
fn calls_are_as_few_as_promised() {
    with_token(|hsm| {
        let count = count_calls(hsm, hsm.pin());
        assert_eq!((count("C_Initialize"), count("C_Login"), count("C_Logout"), count("C_Finalize")), (1, 1, 0, 1));
        assert_eq!((count("C_EncryptInit"), count("C_DecryptInit")), (100, 100));
        assert!(count("C_GenerateRandom") <= 2, "64 IVs at a time");
        // One for each class at the start, one before the key is made; none for its hundreds of uses.
        assert_eq!(count("C_FindObjectsInit"), 4);
        // The guard, two workers, the canary and the search at the start at most.
        assert!(count("C_OpenSession") <= 5);
        assert_eq!(count("C_OpenSession"), count("C_CloseSession"));
    });
}

/// What [`count_calls`] counts; nothing elsewhere.
#[test]
fn under_the_spy() {
    let Ok(pin) = std::env::var(SPY_PIN) else { return };
    let configuration = PathBuf::from(std::env::var_os(crate::support::softhsm::CONFIGURATION).expect("a configuration"));
    let hsm = SoftHsm::of_configuration(&configuration);
    let mut settings = hsm.settings();
    (settings.module, settings.fast_workers) = (Some(SPY.into()), 1);
    let opened = Token::open(&settings, &secret(&pin));
    if pin != hsm.pin() {
        assert!(matches!(opened, Err(HsmError::Setup(_))), "{opened:?}");
        return;
    }
    let token = opened.expect("an open token");
    block_on(async {
        token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
        for _ in 0..100 {
            let payload = token.encrypt(id(1), Vec::new(), secret("x")).await.expect("encrypted");
            token.decrypt(id(1), Vec::new(), payload).await.expect("decrypted");
        }
    });
    shut(&token);
}

#[test]
fn the_raw_token_is_measured_and_left_as_it_was() {
    use skm::hsm::raw::{RawOperation, RawPlan, measure};
    with_token(|hsm| {
        let plan = RawPlan { threads: 2, duration: Duration::from_millis(200), bytes: 1024 };
        let operations = [RawOperation::Encrypt, RawOperation::Decrypt, RawOperation::Sign, RawOperation::Verify];
        let figures = measure(&hsm.settings(), &hsm.pin_bytes(), &plan, &operations).expect("figures");
        assert_eq!(figures.iter().map(|figure| figure.operation).collect::<Vec<_>>(), operations);
        for figure in figures {
            println!("{figure:?}");
            assert!(figure.operations > 10 && figure.per_second > 10.0 && figure.p50 <= figure.p99 && figure.p99 <= figure.longest, "{figure:?}");
        }
        let token = open(hsm);
        assert!(block_on(token.objects()).expect("a list").is_empty());
        shut(&token);
    });
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_tried() {
    with_token(|hsm| {
        let mut settings = hsm.settings();
        settings.label = "other".to_owned();
        let message = refusal(&settings, hsm);
        assert!(message.contains("no token other; there are: skm"), "{message}");

        let mut settings = hsm.settings();
        settings.serial = Some("0000".to_owned());
        assert!(refusal(&settings, hsm).contains("no token skm (0000)"));

        let mut settings = hsm.settings();
        settings.module = Some(hsm.path().join("none.so"));
        assert!(refusal(&settings, hsm).contains("none.so"));

        let mut settings = hsm.settings();
        settings.profile = hsm.path().join("none.toml");
        assert!(refusal(&settings, hsm).contains("none.toml"));

        for (profile, part) in [("aws-cloudhsm", "write-back"), ("yubihsm2", "CKM_AES_CBC")] {
            let mut settings = hsm.settings();
            settings.profile = settings.profile.with_file_name(format!("{profile}.toml"));
            assert!(refusal(&settings, hsm).contains(part));
        }

        let text = std::fs::read_to_string(hsm.settings().profile).expect("the profile");
        let mut settings = hsm.settings();
        settings.profile = hsm.path().join("few-sessions.toml");
        std::fs::write(&settings.profile, format!("max_sessions = 4\n{text}")).expect("a profile");
        assert!(refusal(&settings, hsm).contains("5 sessions are needed"));
    });
}

#[test]
fn two_tokens_of_one_label_need_a_serial_number() {
    with_token(|hsm| {
        let made = hsm
            .command("softhsm2-util")
            .args(["--init-token", "--free", "--label", hsm.label(), "--so-pin", hsm.so_pin(), "--pin", hsm.pin()])
            .output()
            .expect("softhsm2-util");
        assert!(made.status.success());
        let message = refusal(&hsm.settings(), hsm);
        assert!(message.contains("name its serial number"), "{message}");
        let (_, serial) = message.rsplit_once('(').expect("a serial number");
        let mut settings = hsm.settings();
        settings.serial = Some(serial.trim_end_matches(')').to_owned());
        let token = Token::open(&settings, &hsm.pin_bytes()).expect("an open token");
        assert!(token.health().identity.contains(settings.serial.as_deref().expect("it")));
        shut(&token);
    });
}

#[test]
fn a_token_can_be_initialised_and_opened() {
    with_empty_directory(|hsm| {
        let profile = hsm.settings().profile;
        let (so_pin, pin) = (secret(hsm.so_pin()), hsm.pin_bytes());
        let serial = initialise_token(&profile, None, hsm.label(), &so_pin, &pin).expect("a token");
        assert!(matches!(initialise_token(&profile, None, hsm.label(), &so_pin, &pin), Err(HsmError::Setup(_))));
        assert!(matches!(initialise_token(&profile, None, &"x".repeat(33), &so_pin, &pin), Err(HsmError::Setup(_))));
        let mut settings = hsm.settings();
        settings.serial = Some(serial.clone());
        let token = Token::open(&settings, &pin).expect("an open token");
        assert!(token.health().identity.contains(&serial));
        block_on(token.create(ObjectKind::Aes256, object(1))).expect("a key");
        shut(&token);
    });
}

#[test]
fn keys_survive_a_restart_and_are_known_at_once() {
    with_token(|hsm| {
        let token = open(hsm);
        let payload = block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            token.encrypt(id(1), Vec::new(), secret("attack at dawn")).await.expect("encrypted")
        });
        shut(&token);
        assert!(matches!(block_on(token.random(1)), Err(HsmError::Unavailable { .. })));
        let token = open(hsm);
        assert_eq!(token.health().cached_objects, 1);
        assert_eq!(block_on(token.decrypt(id(1), Vec::new(), payload)).expect("decrypted"), secret("attack at dawn"));
        // A module can be initialised once.
        let second = Token::open(&hsm.settings(), &hsm.pin_bytes());
        assert!(matches!(&second, Err(HsmError::Setup(message)) if message.contains("CKR_CRYPTOKI_ALREADY_INITIALIZED")), "{second:?}");
        assert!(token.health().ready && block_on(token.encrypt(id(1), Vec::new(), secret("x"))).is_ok());
        shut(&token);
        assert!(token.shut_down(Duration::from_secs(1)), "shutting twice is no error");
    });
}

#[test]
fn shutting_finishes_what_is_queued() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Rsa2048, object(1)).await.expect("a pair");
            let signing: Vec<_> = (0..200)
                .map(|_| {
                    let token = token.clone();
                    tokio::spawn(async move { token.sign_raw(id(1), secret("x")).await })
                })
                .collect();
            super::within(Duration::from_secs(5), async || token.health().queued.0 > 50).await;
            let shutting = tokio::task::spawn_blocking({
                let token = token.clone();
                move || token.shut_down(Duration::from_secs(10))
            });
            assert!(shutting.await.expect("a task"));
            let (mut signed, mut refused) = (0, 0);
            for answer in signing {
                match answer.await.expect("a task") {
                    Ok(_) => signed += 1,
                    Err(HsmError::Unavailable { .. }) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert!(signed > 50, "{signed} signed, {refused} refused");
            assert!(!token.health().ready);
        });
    });
}
