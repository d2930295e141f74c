//! The envelope around every ciphertext and every signature of `sign`: one byte format, three bytes key version
//! (together the wire contract's 4-byte big-endian version while the format is 0), then the payload.

use super::ids::{KeyId, KeyVersion};

/// How the payload was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// 12-byte IV, AES-256-GCM ciphertext, 16-byte tag (NIST SP 800-38D); or the bare signature of `sign`.
    Plain,
}

impl Format {
    const fn byte(self) -> u8 {
        match self {
            Self::Plain => 0,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Plain),
            _ => None,
        }
    }
}

/// Bytes of an AES-GCM initialisation vector.
pub const IV_BYTES: usize = 12;
/// Bytes of an AES-GCM tag.
pub const TAG_BYTES: usize = 16;
/// Bytes before the payload.
pub const PREFIX_BYTES: usize = 4;

/// Format and key version of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// How the payload was made.
    pub format: Format,
    /// The key version that made it.
    pub version: KeyVersion,
}

impl Prefix {
    /// The four bytes.
    pub const fn to_bytes(self) -> [u8; PREFIX_BYTES] {
        let [_, high, middle, low] = self.version.number().to_be_bytes();
        [self.format.byte(), high, middle, low]
    }

    /// The additional authenticated data of a ciphertext with this prefix under the key `id`: `skm`, the prefix, the key ID.
    pub fn aad(self, id: KeyId) -> Vec<u8> {
        [b"skm".as_slice(), &self.to_bytes(), id.as_bytes()].concat()
    }
}

/// A ciphertext or signature with its prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Format and key version.
    pub prefix: Prefix,
    /// What the token made.
    pub payload: Vec<u8>,
}

/// These bytes are no envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an envelope")]
pub struct NotAnEnvelope;

impl Envelope {
    /// Prefix and payload in one.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.prefix.to_bytes().as_slice(), &self.payload].concat()
    }

    /// Reads what [`Envelope::to_bytes`] wrote; an unknown format or an empty payload is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAnEnvelope> {
        let ([format, high, middle, low], payload) = bytes.split_first_chunk().ok_or(NotAnEnvelope)?;
        let format = Format::from_byte(*format).ok_or(NotAnEnvelope)?;
        let version = KeyVersion::new(u32::from_be_bytes([0, *high, *middle, *low])).ok_or(NotAnEnvelope)?;
        if payload.is_empty() {
            return Err(NotAnEnvelope);
        }
        Ok(Self { prefix: Prefix { format, version }, payload: payload.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_version_is_four_zero_bytes() {
        let prefix = Prefix { format: Format::Plain, version: KeyVersion::FIRST };
        assert_eq!(prefix.to_bytes(), [0; 4]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(version in 0_u32..=0x00ff_ffff, payload in proptest::collection::vec(any::<u8>(), 1..64)) {
            let version = KeyVersion::new(version).expect("three bytes");
            let envelope = Envelope { prefix: Prefix { format: Format::Plain, version }, payload };
            prop_assert_eq!(Envelope::parse(&envelope.to_bytes()), Ok(envelope));
        }

        #[test]
        fn reading_anything_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(envelope) = Envelope::parse(&bytes) {
                prop_assert_eq!(envelope.to_bytes(), bytes);
            }
        }
    }
}
