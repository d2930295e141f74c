//! How records hang together: a chain per process start. Each record carries the hash of the one before, over a versioned, length-prefixed
//! encoding, so that nothing can be changed, dropped or put elsewhere without breaking a hash.

use sha2::{Digest as _, Sha256};

use super::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ChainId, KeyId};

/// A record's place in its chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The chain.
    pub chain: ChainId,
    /// The record's number in it, from 0.
    pub sequence: i64,
    /// The hash of the record before; zeroes for the first.
    pub previous: [u8; 32],
}

/// The version of [`record_hash`]'s encoding.
pub const ENCODING_VERSION: u8 = 1;

/// The hash of a record at its place: SHA-256 over the version, then each field with a length or presence mark.
pub fn record_hash(link: &Link, event: &AuditEvent) -> [u8; 32] {
    let (actor_kind, actor_name) = event.actor.parts();
    let mut encoder = Encoder(Sha256::new_with_prefix([ENCODING_VERSION]));
    encoder.bytes(link.chain.as_bytes());
    encoder.number(link.sequence);
    encoder.bytes(&link.previous);
    encoder.number(event.at.micros());
    encoder.bytes(event.request.as_bytes());
    encoder.optional(event.project.map(|project| project.0.to_be_bytes()));
    encoder.bytes(actor_kind.as_bytes());
    encoder.bytes(actor_name.as_bytes());
    encoder.optional(event.address.map(|address| address.to_string()));
    encoder.optional(event.mac.map(|mac| mac.to_string()));
    encoder.optional(event.certificate.map(|fingerprint| fingerprint.0));
    encoder.optional(event.user_agent.as_deref());
    encoder.bytes(event.operation.as_str().as_bytes());
    encoder.optional(event.key_store.map(|number| number.0.to_be_bytes()));
    encoder.optional(event.key.as_ref().map(KeyId::as_bytes));
    encoder.optional(event.version.map(|version| version.number().to_be_bytes()));
    encoder.number(i64::from(event.result_code));
    encoder.optional(event.detail.as_deref());
    encoder.0.finalize().into()
}

/// An encoding that is hashed while it is written: each field with a length or presence mark.
struct Encoder(Sha256);

impl Encoder {
    fn number(&mut self, number: i64) {
        self.0.update(number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn optional(&mut self, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            None => self.0.update([0]),
            Some(bytes) => {
                self.0.update([1]);
                self.bytes(bytes.as_ref());
            }
        }
    }
}

/// The last record of a chain, as a checkpoint lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainHead {
    /// The chain.
    pub chain: ChainId,
    /// The number of its last record.
    pub sequence: i64,
    /// That record's hash.
    pub hash: [u8; 32],
}

/// What a checkpoint's signature is over: a version byte, its number, its time, the hash of the checkpoint before it, the
/// heads of the chains that went on since that one, in the order of their names.
pub fn checkpoint_digest(number: i64, at: Timestamp, previous: &[u8; 32], heads: &[ChainHead]) -> [u8; 32] {
    let mut encoder = Encoder(Sha256::new_with_prefix([ENCODING_VERSION]));
    encoder.bytes(b"skm checkpoint");
    encoder.number(number);
    encoder.number(at.micros());
    encoder.bytes(previous);
    encoder.number(i64::try_from(heads.len()).unwrap_or(i64::MAX));
    for head in heads {
        encoder.bytes(head.chain.as_bytes());
        encoder.number(head.sequence);
        encoder.bytes(&head.hash);
    }
    encoder.0.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::{Actor, Operation};
    use super::*;
    use crate::domain::caller::{CertFingerprint, MacAddr};
    use crate::domain::ids::{KeyStoreNumber, KeyVersion, ProjectId, RequestId};

    fn event() -> AuditEvent {
        AuditEvent {
            at: Timestamp::from_micros(1),
            request: RequestId::from_bytes([1; 16]),
            project: None,
            actor: Actor::Appkey,
            address: None,
            mac: None,
            certificate: None,
            user_agent: None,
            operation: Operation::Encrypt,
            key_store: None,
            key: None,
            version: None,
            result_code: 0,
            detail: None,
        }
    }

    fn link() -> Link {
        Link { chain: ChainId::from_bytes([9; 16]), sequence: 0, previous: [0; 32] }
    }

    /// Each field alone changes the hash, and text can't slide from one field into the next.
    #[test]
    fn every_field_is_bound() {
        let base = event();
        let variants = [
            AuditEvent { at: Timestamp::from_micros(2), ..base.clone() },
            AuditEvent { request: RequestId::from_bytes([2; 16]), ..base.clone() },
            AuditEvent { project: Some(ProjectId(0)), ..base.clone() },
            AuditEvent { actor: Actor::Service, ..base.clone() },
            AuditEvent { address: Some(IpAddr::from([127, 0, 0, 1])), ..base.clone() },
            AuditEvent { mac: Some(MacAddr::from_bytes([0; 6])), ..base.clone() },
            AuditEvent { certificate: Some(CertFingerprint([0; 32])), ..base.clone() },
            AuditEvent { user_agent: Some(String::new()), ..base.clone() },
            AuditEvent { operation: Operation::Decrypt, ..base.clone() },
            AuditEvent { key_store: Some(KeyStoreNumber(0)), ..base.clone() },
            AuditEvent { key: Some(KeyId::from_bytes([0; 16])), ..base.clone() },
            AuditEvent { version: Some(KeyVersion::FIRST), ..base.clone() },
            AuditEvent { result_code: 1, ..base.clone() },
            AuditEvent { detail: Some(String::new()), ..base.clone() },
        ];
        let mut hashes: Vec<_> = variants.iter().map(|variant| record_hash(&link(), variant)).collect();
        hashes.push(record_hash(&link(), &base));
        hashes.push(record_hash(&Link { sequence: 1, ..link() }, &base));
        hashes.push(record_hash(&Link { previous: [1; 32], ..link() }, &base));
        hashes.push(record_hash(&Link { chain: ChainId::from_bytes([8; 16]), ..link() }, &base));
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}
