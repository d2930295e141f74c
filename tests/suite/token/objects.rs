//! Making, finding and destroying objects.

use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use skm::hsm::{HsmError, ObjectKind, Token};

use super::{AAD, block_on, id, in_another_process, object, open, secret, shut};
use crate::support::softhsm::{SoftHsm, with_token};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A plain session of our own, while no `Token` is open in this process.
pub(super) fn plain_session(hsm: &SoftHsm) -> (Pkcs11, Session) {
    let module = Pkcs11::new(MODULE).expect("the module");
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("initialized");
    let slot = module.get_slots_with_initialized_token().expect("slots")[0];
    let session = module.open_rw_session(slot).expect("a session");
    session.login(UserType::User, Some(&AuthPin::from(hsm.pin().to_owned()))).expect("logged in");
    (module, session)
}

pub(super) fn attributes_of(session: &Session, class: ObjectClass, number: u64) -> Vec<Attribute> {
    const WANTED: [AttributeType; 20] = [
        AttributeType::Label,
        AttributeType::Token,
        AttributeType::Private,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Local,
        AttributeType::Modifiable,
        AttributeType::Encrypt,
        AttributeType::Decrypt,
        AttributeType::Sign,
        AttributeType::SignRecover,
        AttributeType::Verify,
        AttributeType::VerifyRecover,
        AttributeType::Wrap,
        AttributeType::Unwrap,
        AttributeType::Derive,
        AttributeType::ValueLen,
        AttributeType::ModulusBits,
    ];
    let found = session.find_objects(&[Attribute::Class(class), Attribute::Id(id(number).as_bytes().to_vec())]).expect("found");
    assert_eq!(found.len(), 1, "{class} {number}");
    session.get_attributes(found[0], &WANTED).expect("attributes")
}

pub(super) fn assert_has(attributes: &[Attribute], expected: &[Attribute]) {
    for attribute in expected {
        assert!(attributes.contains(attribute), "{attribute:?} is not in {attributes:?}");
    }
}

pub(super) fn protected(generated: bool) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::AlwaysSensitive(generated),
        Attribute::NeverExtractable(generated),
        Attribute::Local(generated),
    ]
}

#[test]
fn every_object_has_the_attributes_that_the_product_promises() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            token.import_aes256(object(2), secret([7; 32])).await.expect("a key");
            token.create(ObjectKind::Rsa2048, object(3)).await.expect("a pair");
            token.create(ObjectKind::EcP256, object(4)).await.expect("a pair");
            let infos = token.objects().await.expect("a list");
            assert_eq!(infos.len(), 6);
            for info in infos {
                let public = info.class == "CKO_PUBLIC_KEY";
                assert!(info.label.starts_with("skm/") && info.id.is_some(), "{info:?}");
                assert!(public || (info.sensitive == Some(true) && info.extractable == Some(false)), "{info:?}");
            }
        });
        shut(&token);

        let (module, session) = plain_session(hsm);
        let no_more = [Attribute::Decrypt(false), Attribute::SignRecover(false), Attribute::Unwrap(false), Attribute::Derive(false)];
        for number in [1, 2] {
            let read = attributes_of(&session, ObjectClass::SECRET_KEY, number);
            assert_has(&read, &protected(number == 1));
            assert_has(&read, &[Attribute::Label(object(number).label.into_bytes()), Attribute::Encrypt(true), Attribute::Decrypt(true)]);
            assert_has(&read, &[Attribute::ValueLen(32.into()), Attribute::Sign(false), Attribute::Verify(false), Attribute::Wrap(false)]);
            assert_has(&read, &[Attribute::Unwrap(false), Attribute::Derive(false)]);
        }
        for number in [3, 4] {
            let private = attributes_of(&session, ObjectClass::PRIVATE_KEY, number);
            assert_has(&private, &protected(true));
            assert_has(&private, &no_more);
            assert_has(&private, &[Attribute::Label(object(number).label.into_bytes()), Attribute::Sign(true)]);
            let public = attributes_of(&session, ObjectClass::PUBLIC_KEY, number);
            assert_has(&public, &[Attribute::Token(true), Attribute::Verify(true), Attribute::Modifiable(false)]);
            assert_has(&public, &[Attribute::Encrypt(false), Attribute::VerifyRecover(false), Attribute::Wrap(false)]);
        }
        drop(session);
        module.finalize().expect("finalized");
    });
}

#[test]
fn an_imported_key_is_that_key() {
    with_token(|hsm| {
        let token = open(hsm);
        let payload = block_on(async {
            token.import_aes256(object(1), secret([7; 32])).await.expect("a key");
            for length in [0, 16, 31, 33] {
                let wrong = token.import_aes256(object(2), secret(vec![7; length])).await;
                assert!(matches!(wrong, Err(HsmError::Rejected { .. })), "{wrong:?}");
            }
            token.encrypt(id(1), AAD.to_vec(), secret("attack at dawn")).await.expect("encrypted")
        });
        let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &[7; 32]).expect("a key");
        let nonce = ring::aead::Nonce::try_assume_unique_for_key(&payload[..12]).expect("a nonce");
        let mut sealed = payload[12..].to_vec();
        let opened = ring::aead::LessSafeKey::new(key).open_in_place(nonce, ring::aead::Aad::from(AAD), &mut sealed).expect("it opens elsewhere");
        assert_eq!(opened, b"attack at dawn");
        shut(&token);
    });
}

#[test]
fn an_id_is_used_once_and_destroying_takes_all_of_it() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Rsa2048, object(1)).await.expect("a pair");
            for kind in [ObjectKind::Aes256, ObjectKind::EcP256] {
                assert!(matches!(token.create(kind, object(1)).await, Err(HsmError::Exists(of)) if of == id(1)));
            }
            assert!(matches!(token.import_aes256(object(1), secret([7; 32])).await, Err(HsmError::Exists(_))));
            assert!(token.exists(id(1)).await.expect("an answer"));
            assert_eq!(token.health().cached_objects, 2);
            assert_eq!(token.destroy(id(1)).await.expect("destroyed"), 2);
            assert_eq!(token.destroy(id(1)).await.expect("nothing left"), 0);
            assert!(!token.exists(id(1)).await.expect("an answer"));
            assert!(matches!(token.sign_raw(id(1), secret("x")).await, Err(HsmError::Missing(of)) if of == id(1)));
            assert_eq!(token.health().cached_objects, 0);
            assert!(token.objects().await.expect("a list").is_empty());
            assert!(token.health().ready);
        });
        shut(&token);
    });
}

#[test]
fn keys_of_another_process_are_found_once_and_gone_ones_are_missing() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            let payload = token.encrypt(id(1), Vec::new(), secret("x")).await.expect("encrypted");
            in_another_process(hsm, "+2 +3 -1");
            // First used by many at once: one search, no false error.
            let uses: Vec<_> = (0..32)
                .map(|_| {
                    tokio::spawn({
                        let token = token.clone();
                        async move { token.encrypt(id(2), Vec::new(), secret("x")).await }
                    })
                })
                .collect();
            for used in uses {
                used.await.expect("a task").expect("encrypted");
            }
            assert!(token.exists(id(3)).await.expect("an answer"));
            let gone = token.decrypt(id(1), Vec::new(), payload).await;
            assert!(matches!(gone, Err(HsmError::Missing(of)) if of == id(1)), "{gone:?}");
            in_another_process(hsm, "-2");
            token.forget(id(2));
            assert!(matches!(token.encrypt(id(2), Vec::new(), secret("x")).await, Err(HsmError::Missing(_))));
            let health = token.health();
            assert!(health.ready && health.generation == 0, "{health:?}");
        });
        shut(&token);
    });
}

#[test]
fn two_objects_of_one_id_are_never_chosen_between() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(token.create(ObjectKind::Aes256, object(1))).expect("a key");
        for _ in 0..2 {
            let made = Command::new("pkcs11-tool")
                .env("SOFTHSM2_CONF", hsm.configuration())
                .args(["--module", MODULE, "--token-label", hsm.label(), "--login", "--pin", hsm.pin()])
                .args(["--keygen", "--key-type", "AES:32", "--label", "twin", "--id", &id(2).to_string()])
                .output()
                .expect("pkcs11-tool (opensc)");
            assert!(made.status.success(), "{made:?}");
        }
        block_on(async {
            let answer = token.encrypt(id(2), Vec::new(), secret("x")).await;
            assert!(matches!(answer, Err(HsmError::Ambiguous(of)) if of == id(2)), "{answer:?}");
            assert!(matches!(token.create(ObjectKind::Aes256, object(2)).await, Err(HsmError::Exists(_))));
        });
        shut(&token);

        let token = open(hsm);
        block_on(async {
            assert!(matches!(token.encrypt(id(2), Vec::new(), secret("x")).await, Err(HsmError::Ambiguous(_))));
            token.encrypt(id(1), Vec::new(), secret("x")).await.expect("the others work");
            assert_eq!(token.destroy(id(2)).await.expect("destroyed"), 2);
        });
        shut(&token);
    });
}

#[test]
fn an_object_that_is_not_as_asked_is_destroyed() {
    with_token(|hsm| {
        let text = std::fs::read_to_string(hsm.settings().profile).expect("the profile");
        let mut settings = hsm.settings();
        settings.profile = hsm.path().join("no-token-attribute.toml");
        std::fs::write(&settings.profile, text.replace("leave_out = []", "leave_out = [\"CKA_TOKEN\"]")).expect("a profile");
        let token = Token::open(&settings, &hsm.pin_bytes()).expect("an open token");
        block_on(async {
            for kind in [ObjectKind::Aes256, ObjectKind::EcP256] {
                let answer = token.create(kind, object(1)).await;
                assert!(matches!(answer, Err(HsmError::Dishonest { attribute: "CKA_TOKEN" })), "{answer:?}");
            }
            let answer = token.import_aes256(object(1), secret([7; 32])).await;
            assert!(matches!(answer, Err(HsmError::Dishonest { attribute: "CKA_TOKEN" })), "{answer:?}");
            assert!(!token.exists(id(1)).await.expect("an answer"));
        });
        shut(&token);
    });
}

#[test]
fn creating_destroying_and_using_at_once_gives_no_false_error() {
    with_token(|hsm| {
        let mut settings = hsm.settings();
        (settings.fast_workers, settings.slow_workers) = (4, 3);
        let token = Token::open(&settings, &hsm.pin_bytes()).expect("an open token");
        block_on(async {
            token.create(ObjectKind::Aes256, object(0)).await.expect("a key");
            token.use_canary(id(0));
            let tasks: Vec<_> = (1..=12_u64)
                .map(|task| {
                    let token = token.clone();
                    tokio::spawn(async move {
                        for round in 0..15 {
                            let number = task * 1000 + round;
                            let kind = if round % 5 == 0 { ObjectKind::EcP256 } else { ObjectKind::Aes256 };
                            token.create(kind, object(number)).await.expect("created");
                            for _ in 0..10 {
                                let payload = token.encrypt(id(0), AAD.to_vec(), secret("x")).await.expect("encrypted");
                                token.decrypt(id(0), AAD.to_vec(), payload).await.expect("decrypted");
                            }
                            if kind == ObjectKind::EcP256 {
                                token.sign_digest(id(number), [7; 32]).await.expect("signed");
                            } else {
                                token.encrypt(id(number), AAD.to_vec(), secret("x")).await.expect("encrypted");
                            }
                            token.destroy(id(number)).await.expect("destroyed");
                            assert!(!token.exists(id(number)).await.expect("an answer"));
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("no error");
            }
            let health = token.health();
            assert!(health.ready && health.generation == 0 && health.workers_replaced == 0, "{health:?}");
            assert_eq!(health.cached_objects, 1);
        });
        shut(&token);
    });
}
