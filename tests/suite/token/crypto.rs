//! Encrypting, signing, random numbers.

use std::collections::HashSet;

use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use skm::hsm::{HsmError, ObjectKind, RsaPadding};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{AAD, block_on, id, object, open, secret, shut};
use crate::support::softhsm::with_token;

/// The bare public key of a DER SPKI, as ring takes it.
fn bare_key(spki: &[u8]) -> Vec<u8> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(spki).expect("an SPKI");
    assert!(rest.is_empty());
    info.parsed().expect("a key of a known kind");
    info.subject_public_key.data.to_vec()
}

/// The `DigestInfo` of SHA-256 (RFC 8017, 9.2, note 1).
fn digest_info(message: &[u8]) -> Vec<u8> {
    let prefix = hex::decode("3031300d060960864801650304020105000420").expect("hex");
    [prefix.as_slice(), &Sha256::digest(message)].concat()
}

#[test]
fn aes_round_trips_with_any_length_and_is_bound_to_its_aad() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            assert_eq!(token.create(ObjectKind::Aes256, object(1)).await.expect("a key"), None);
            token.create(ObjectKind::Aes256, object(2)).await.expect("a key");
            for length in [0, 1, 15, 16, 17, 1024, 32_768] {
                let plaintext = vec![0xa5; length];
                let payload = token.encrypt(id(1), AAD.to_vec(), secret(&plaintext)).await.expect("encrypted");
                assert_eq!(payload.len(), 12 + length + 16);
                let opened = token.decrypt(id(1), AAD.to_vec(), payload.clone()).await.expect("decrypted");
                assert_eq!(opened.expose(), plaintext);
                for (key, aad) in [(1, b"dad".to_vec()), (1, Vec::new()), (2, AAD.to_vec())] {
                    let foreign = token.decrypt(id(key), aad, payload.clone()).await;
                    assert!(matches!(foreign, Err(HsmError::Rejected { function: "C_Decrypt", .. })), "{foreign:?}");
                }
            }
        });
        shut(&token);
    });
}

#[test]
fn a_ciphertext_changed_anywhere_is_rejected_and_disturbs_nothing() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            for number in [1, 2] {
                token.create(ObjectKind::Aes256, object(number)).await.expect("a key");
            }
            token.use_canary(id(2));
            let payload = token.encrypt(id(1), AAD.to_vec(), secret("attack at dawn")).await.expect("encrypted");
            let flipped = (0..payload.len()).map(|index| {
                let mut changed = payload.clone();
                changed[index] ^= 1;
                changed
            });
            let cut = (0..payload.len()).map(|length| payload[..length].to_vec());
            let longer = [[payload.as_slice(), &[0]].concat()];
            for changed in flipped.chain(cut).chain(longer) {
                let answer = token.decrypt(id(1), AAD.to_vec(), changed).await;
                assert!(matches!(answer, Err(HsmError::Rejected { function: "C_Decrypt", .. })), "{answer:?}");
                let health = token.health();
                assert!(health.ready && health.generation == 0 && health.problem.is_none(), "{health:?}");
            }
            assert_eq!(token.decrypt(id(1), AAD.to_vec(), payload).await.expect("decrypted"), secret("attack at dawn"));
        });
        shut(&token);
    });
}

#[test]
fn no_iv_is_used_twice() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            let tasks = (0..8).map(|_| {
                let token = token.clone();
                tokio::spawn(async move {
                    let mut ivs = Vec::new();
                    for _ in 0..1250 {
                        let payload = token.encrypt(id(1), Vec::new(), secret("x")).await.expect("encrypted");
                        ivs.push(<[u8; 12]>::try_from(&payload[..12]).expect("an IV"));
                    }
                    ivs
                })
            });
            let mut ivs = HashSet::new();
            for task in tasks.collect::<Vec<_>>() {
                ivs.extend(task.await.expect("a task"));
            }
            assert_eq!(ivs.len(), 10_000);
        });
        shut(&token);
    });
}

#[test]
fn raw_signatures_are_pkcs1_over_the_text_as_it_is() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            let spki = token.create(ObjectKind::Rsa2048, object(1)).await.expect("a pair").expect("a public key");
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, bare_key(&spki));
            let signature = token.sign_raw(id(1), secret(digest_info(b"message"))).await.expect("signed");
            key.verify(b"message", &signature).expect("PKCS#1 v1.5 over the DigestInfo");

            for text in [vec![], vec![0], vec![7; 245]] {
                let signature = token.sign_raw(id(1), secret(&text)).await.expect("signed");
                assert!(token.verify_raw(id(1), secret(&text), signature.clone()).await.expect("verified"));
                assert!(!token.verify_raw(id(1), secret("another"), signature).await.expect("verified"));
            }
            let long = token.sign_raw(id(1), secret([7; 246])).await;
            assert!(matches!(long, Err(HsmError::Rejected { function: "C_Sign", .. })), "{long:?}");
            let long = token.verify_raw(id(1), secret([7; 246]), vec![0; 256]).await;
            assert!(matches!(long, Err(HsmError::Rejected { function: "C_Verify", .. })), "{long:?}");
        });
        shut(&token);
    });
}

#[test]
fn message_signatures_verify_elsewhere_and_wrong_ones_are_false() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            let spki = token.create(ObjectKind::Rsa2048, object(1)).await.expect("a pair").expect("a public key");
            let message = vec![0x42; 65_536];
            for (padding, algorithm) in [(RsaPadding::Pss, &RSA_PSS_2048_8192_SHA256), (RsaPadding::Pkcs1, &RSA_PKCS1_2048_8192_SHA256)] {
                let signature = token.sign_message(id(1), padding, secret(&message)).await.expect("signed");
                UnparsedPublicKey::new(algorithm, bare_key(&spki)).verify(&message, &signature).expect("it verifies elsewhere");
                assert!(token.verify_message(id(1), padding, secret(&message), signature.clone()).await.expect("verified"));
                let mut wrong: Vec<_> = [0, 100, 255].map(|index| [&signature[..index], &[!signature[index]], &signature[index + 1..]].concat()).to_vec();
                wrong.extend([vec![], vec![0; 256], vec![0xff; 256], signature[..255].to_vec(), [signature.as_slice(), &[0]].concat()]);
                for wrong in wrong {
                    let answer = token.verify_message(id(1), padding, secret(&message), wrong.clone()).await;
                    assert!(matches!(answer, Ok(false)), "{answer:?} for {}", hex::encode(wrong));
                }
                let other = if padding == RsaPadding::Pss { RsaPadding::Pkcs1 } else { RsaPadding::Pss };
                assert!(!token.verify_message(id(1), other, secret(&message), signature.clone()).await.expect("verified"));
                assert!(!token.verify_message(id(1), padding, secret("another"), signature).await.expect("verified"));
            }
            assert!(token.health().ready);
        });
        shut(&token);
    });
}

#[test]
fn the_ways_of_profiles_to_hash_here_sign_alike() {
    with_token(|hsm| {
        let text = std::fs::read_to_string(hsm.settings().profile).expect("the profile");
        let text = text.replace("\"CKM_SHA256_RSA_PKCS_PSS\"", "\"CKM_RSA_PKCS_PSS\"").replace("\"CKM_SHA256_RSA_PKCS\"", "\"CKM_RSA_PKCS\"");
        let mut settings = hsm.settings();
        settings.profile = hsm.path().join("hash-here.toml");
        std::fs::write(&settings.profile, text).expect("a profile");
        let token = skm::hsm::Token::open(&settings, &hsm.pin_bytes()).expect("an open token");
        block_on(async {
            let spki = token.create(ObjectKind::Rsa2048, object(1)).await.expect("a pair").expect("a public key");
            for (padding, algorithm) in [(RsaPadding::Pss, &RSA_PSS_2048_8192_SHA256), (RsaPadding::Pkcs1, &RSA_PKCS1_2048_8192_SHA256)] {
                let signature = token.sign_message(id(1), padding, secret("message")).await.expect("signed");
                UnparsedPublicKey::new(algorithm, bare_key(&spki)).verify(b"message", &signature).expect("it verifies elsewhere");
                assert!(token.verify_message(id(1), padding, secret("message"), signature).await.expect("verified"));
            }
        });
        shut(&token);
    });
}

#[test]
fn digests_are_signed_with_ecdsa_waiting_or_not() {
    with_token(|hsm| {
        let token = open(hsm);
        let digest = Sha256::digest(b"message").into();
        let spki = block_on(token.create(ObjectKind::EcP256, object(1))).expect("a pair").expect("a public key");
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bare_key(&spki));
        key.verify(b"message", &block_on(token.sign_digest(id(1), digest)).expect("signed")).expect("it verifies elsewhere");
        key.verify(b"message", &token.sign_digest_blocking(id(1), digest).expect("signed")).expect("it verifies elsewhere");
        block_on(async {
            let signature = token.sign_digest_blocking(id(1), digest).expect("no panic in an async context");
            key.verify(b"message", &signature).expect("it verifies elsewhere");
        });
        shut(&token);
    });
}

#[test]
fn a_key_of_another_kind_is_not_used() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            token.create(ObjectKind::Aes256, object(1)).await.expect("a key");
            token.create(ObjectKind::EcP256, object(2)).await.expect("a pair");
            assert!(matches!(token.sign_raw(id(1), secret("x")).await, Err(HsmError::Missing(_))));
            assert!(matches!(token.encrypt(id(2), Vec::new(), secret("x")).await, Err(HsmError::Missing(_))));
            let wrong = token.sign_raw(id(2), secret("x")).await;
            assert!(matches!(wrong, Err(HsmError::Failed { mechanism: Some("CKM_RSA_PKCS"), .. })), "{wrong:?}");
            assert!(token.health().ready);
        });
        shut(&token);
    });
}

#[test]
fn random_numbers_are_as_many_as_asked_for() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            let one = token.random(32).await.expect("random bytes");
            assert_eq!(one.len(), 32);
            assert_ne!(one, token.random(32).await.expect("random bytes"));
            assert!(matches!(token.random(65_537).await, Err(HsmError::Rejected { .. })));
        });
        shut(&token);
    });
}
