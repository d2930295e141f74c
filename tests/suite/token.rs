//! The token room, against a real SoftHSM2.

use std::collections::HashSet;
use std::future::Future;
use std::time::{Duration, Instant};

use skm::domain::ids::ObjectId;
use skm::domain::secret::SecretBytes;
use skm::hsm::{HsmError, NewObject, ObjectKind, RsaPadding, Token};

use crate::support::softhsm::{SoftHsm, with_token};

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

#[test]
fn aes_round_trips_with_any_length() {
    with_token(|hsm| {
        let token = open(hsm);
        block_on(async {
            assert_eq!(token.create(ObjectKind::Aes256, object(1)).await.expect("a key"), None);
            for length in [0, 1, 15, 16, 17, 1024, 32_768] {
                let plaintext = vec![0xa5; length];
                let payload = token.encrypt(id(1), b"aad".to_vec(), secret(&plaintext)).await.expect("encrypted");
                assert_eq!(payload.len(), 12 + length + 16);
                let opened = token.decrypt(id(1), b"aad".to_vec(), payload.clone()).await.expect("decrypted");
                assert_eq!(opened.expose(), plaintext);
                let foreign = token.decrypt(id(1), b"dad".to_vec(), payload).await;
                assert!(matches!(foreign, Err(HsmError::Rejected { .. })), "{foreign:?}");
            }
        });
        assert!(token.shut_down(Duration::from_secs(5)));
    });
}
