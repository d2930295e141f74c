//! Keys that come wrapped.

use std::time::Duration;

use cryptoki::object::{Attribute, ObjectClass};
use skm::hsm::{HsmError, ImportWays, OaepHash, ObjectKind, Token};

use super::objects::{assert_has, attributes_of, plain_session, protected};
use super::{AAD, block_on, id, in_another_process, object, open, secret, shut, within};
use crate::support::softhsm::{SoftHsm, with_token};
use crate::support::wrapping::{self, wrap};

const KEY: [u8; 32] = *b"0123456789abcdef0123456789ABCDEF";

async fn pair(token: &Token) -> Vec<u8> {
    token.create(ObjectKind::Rsa2048Unwrap, object(1)).await.expect("a pair").expect("a public key")
}

#[test]
fn a_wrapped_key_is_that_key_and_what_is_none_leaves_nothing() {
    with_token(|hsm| {
        let token = open(hsm);
        assert_eq!(token.import_ways(), ImportWays { plain: true, wrapped: Some(OaepHash::Sha1) });
        let payload = block_on(async {
            let spki = pair(&token).await;
            let wrong: Vec<_> = [1, 16, 24, 31, 33, 48, 64].iter().map(|length| (format!("{length} bytes"), wrap(&spki, "sha1", &vec![7; *length]))).collect();
            let strange =
                [("garbage".to_owned(), vec![7; 256]), ("another hash".to_owned(), wrap(&spki, "sha256", &KEY)), ("too short".to_owned(), vec![7; 255])];
            for (what, wrapped) in wrong.into_iter().chain(strange) {
                let answer = token.unwrap_aes256(object(2), id(1), wrapped).await;
                assert!(matches!(answer, Err(HsmError::Rejected { .. })), "{what}: {answer:?}");
                assert_eq!(token.objects().await.expect("a list").len(), 2, "{what}");
                assert!(!token.exists(id(2)).await.expect("an answer"), "{what}");
            }
            assert!(token.health().ready && token.health().generation == 0, "{:?}", token.health());
            token.unwrap_aes256(object(2), id(1), wrap(&spki, "sha1", &KEY)).await.expect("a key");
            let again = token.unwrap_aes256(object(2), id(1), wrap(&spki, "sha1", &KEY)).await;
            assert!(matches!(again, Err(HsmError::Exists(of)) if of == id(2)), "{again:?}");
            let missing = token.unwrap_aes256(object(3), id(9), wrap(&spki, "sha1", &KEY)).await;
            assert!(matches!(missing, Err(HsmError::Missing(of)) if of == id(9)), "{missing:?}");
            token.encrypt(id(2), AAD.to_vec(), secret("attack at dawn")).await.expect("encrypted")
        });
        assert_eq!(wrapping::open(&KEY, AAD, &payload).as_deref(), Some(b"attack at dawn".as_slice()));
        shut(&token);
    });
}

#[test]
fn the_pair_unwraps_and_does_nothing_else_and_the_key_is_protected() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            let spki = pair(&token).await;
            token.unwrap_aes256(object(2), id(1), wrap(&spki, "sha1", &KEY)).await.expect("a key");
            let signed = token.sign_raw(id(1), secret("text")).await;
            assert!(matches!(signed, Err(HsmError::Failed { .. })), "{signed:?}");
        });
        shut(&token);
        drop(token);
        let (module, session) = plain_session(hsm);
        let private = attributes_of(&session, ObjectClass::PRIVATE_KEY, 1);
        assert_has(&private, &protected(true));
        assert_has(
            &private,
            &[Attribute::Unwrap(true), Attribute::Decrypt(false), Attribute::Sign(false), Attribute::SignRecover(false), Attribute::Derive(false)],
        );
        let public = attributes_of(&session, ObjectClass::PUBLIC_KEY, 1);
        assert_has(&public, &[Attribute::Wrap(false), Attribute::Encrypt(false), Attribute::Verify(false), Attribute::Modifiable(false)]);
        let key = attributes_of(&session, ObjectClass::SECRET_KEY, 2);
        assert_has(&key, &protected(false));
        assert_has(&key, &[Attribute::Encrypt(true), Attribute::Decrypt(true), Attribute::Sign(false), Attribute::Wrap(false), Attribute::Unwrap(false)]);
        drop(session);
        module.finalize().expect("finalized");
    });
}

#[test]
fn a_process_unwraps_with_a_pair_that_another_made() {
    with_token(|hsm| {
        let token = open(hsm);
        in_another_process(hsm, "*1");
        let spki = std::fs::read(hsm.path().join("spki")).expect("a public key");
        block_on(token.unwrap_aes256(object(2), id(1), wrap(&spki, "sha1", &KEY))).expect("a key");
        shut(&token);
    });
}

/// The token, by a profile in which `from` stands for `to`.
fn open_with(hsm: &SoftHsm, from: &str, to: &str) -> Token {
    let mut settings = hsm.settings();
    let text = std::fs::read_to_string(&settings.profile).expect("the profile");
    assert!(text.contains(from), "{from}");
    settings.profile = hsm.path().join("profile.toml");
    std::fs::write(&settings.profile, text.replace(from, to)).expect("written");
    Token::open(&settings, &hsm.pin_bytes()).expect("an open token")
}

#[test]
fn a_token_that_does_not_tell_the_length_of_what_it_unwrapped_is_not_believed() {
    with_token(|hsm| {
        let token = open_with(hsm, "\"hmac-minimum\"", "\"attribute\"");
        block_on(async {
            let spki = pair(&token).await;
            let answer = token.unwrap_aes256(object(2), id(1), wrap(&spki, "sha1", &KEY)).await;
            assert!(matches!(answer, Err(HsmError::Dishonest { attribute: "CKA_VALUE_LEN" })), "{answer:?}");
            assert_eq!(token.objects().await.expect("a list").len(), 2);
        });
        shut(&token);
    });
}

#[test]
fn the_profile_says_which_ways_lead_into_the_token() {
    with_token(|hsm| {
        let token = open_with(hsm, "path = \"create\"", "path = \"none\"");
        assert_eq!(token.import_ways(), ImportWays { plain: false, wrapped: None });
        block_on(async {
            let spki = pair(&token).await;
            let answer = token.unwrap_aes256(object(2), id(1), wrap(&spki, "sha1", &KEY)).await;
            assert!(matches!(answer, Err(HsmError::Setup(_))), "{answer:?}");
            assert!(matches!(token.import_aes256(object(2), secret(KEY)).await, Err(HsmError::Setup(_))));
        });
        shut(&token);
    });
}

#[test]
fn where_values_come_wrapped_alone_they_still_come() {
    with_token(|hsm| {
        let token = open_with(hsm, "path = \"create\"", "path = \"unwrap\"");
        assert_eq!(token.import_ways(), ImportWays { plain: false, wrapped: Some(OaepHash::Sha1) });
        block_on(async {
            let spki = pair(&token).await;
            token.unwrap_aes256(object(2), id(1), wrap(&spki, "sha1", &KEY)).await.expect("a key");
            assert!(matches!(token.import_aes256(object(3), secret(KEY)).await, Err(HsmError::Setup(_))));
        });
        shut(&token);
    });
}

#[test]
fn a_token_that_is_gone_is_not_the_callers_fault() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            let spki = pair(&token).await;
            token.create(ObjectKind::Aes256, object(3)).await.expect("a key");
            token.use_canary(id(3));
            within(Duration::from_secs(2), async || token.health().last_success.is_some()).await;
            let away = hsm.path().join("away");
            std::fs::rename(hsm.tokens(), &away).expect("moved away");
            // At once, before the periodic canary notices.
            for wrapped in [wrap(&spki, "sha1", &KEY), vec![7; 256]] {
                let answer = token.unwrap_aes256(object(2), id(1), wrapped).await;
                assert!(matches!(answer, Err(HsmError::Unavailable { .. })), "{answer:?}");
            }
            std::fs::rename(&away, hsm.tokens()).expect("put back");
            within(Duration::from_secs(5), async || token.health().ready).await;
            assert_eq!(token.import_ways().wrapped, Some(OaepHash::Sha1));
            // Its threads may be about to renew their sessions once more.
            let mut made = Err(HsmError::Busy);
            for _ in 0..50 {
                made = token.unwrap_aes256(object(2), id(1), wrap(&spki, "sha1", &KEY)).await;
                if !matches!(made, Err(HsmError::Busy | HsmError::Unavailable { .. })) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            made.expect("a key");
        });
        shut(&token);
    });
}
