//! Identifiers, each a type of its own.

use std::fmt;
use std::str::FromStr;

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// A project's row.
    ProjectId
);
row_id!(
    /// An account's row.
    AccountId
);
row_id!(
    /// A key store's row. Outside, a key store is known by its number in its project ([`KeyStoreNumber`]).
    KeyStoreId
);
row_id!(
    /// A key store's number, unique in its project: the `keyStoreId` of the wire contract.
    KeyStoreNumber
);
row_id!(
    /// A client rule's row (an IPv4, MAC or certificate entry of a key store).
    ClientRuleId
);
row_id!(
    /// A recipient of notifications.
    RecipientId
);

impl KeyStoreNumber {
    /// The number that a part of a path names: from 1, in decimal, without sign or leading zeroes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        text.parse().ok().filter(|_| digits).map(Self)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $error:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 32];
                hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = $error;

            /// Takes exactly 32 lower-case hex digits.
            fn from_str(text: &str) -> Result<Self, $error> {
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err($error);
                }
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| $error)?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        #[doc = concat!("The text is no ", stringify!($name), ": 32 lower-case hex digits are.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error("must be 32 lower-case hex digits")]
        pub struct $error;
    };
}

hex_id!(
    /// A key's name on the wire: a UUID without dashes.
    KeyId,
    InvalidKeyId
);
hex_id!(
    /// The `CKA_ID` (PKCS#11) of a token object or pair: random, persisted; a handle never is.
    ObjectId,
    InvalidObjectId
);
hex_id!(
    /// A request's name in the answer's header, in the log and in the audit record.
    RequestId,
    InvalidRequestId
);
hex_id!(
    /// An audit chain's name: one chain per process start.
    ChainId,
    InvalidChainId
);
hex_id!(
    /// A notification's name, the same at each attempt to send it: by it receivers see that they have it already.
    MessageId,
    InvalidMessageId
);

hex_id!(
    /// A change request's name: a draft, or what somebody has asked for.
    ChangeRequestId,
    InvalidChangeRequestId
);

/// One generation of a key: 0 and up, three bytes on the wire beside the format byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct KeyVersion(u32);

impl KeyVersion {
    /// The first version of every key.
    pub const FIRST: Self = Self(0);
    /// The highest version that the envelope's three bytes can name.
    pub const MAX: Self = Self(0x00ff_ffff);

    /// A version, if it is at most [`KeyVersion::MAX`].
    pub const fn new(number: u32) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The version after this one, unless this is the last.
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_are_lower_case_hex_of_sixteen_bytes() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(text.parse::<KeyId>().map(|id| id.to_string()), Ok(text.to_owned()));
        for wrong in ["", "0011", "00112233445566778899AABBCCDDEEFF", "00112233-4455-6677-8899-aabbccddeeff", "zz112233445566778899aabbccddeeff"] {
            assert_eq!(wrong.parse::<KeyId>(), Err(InvalidKeyId), "{wrong}");
        }
    }

    #[test]
    fn key_store_numbers_are_written_in_one_way() {
        assert_eq!(KeyStoreNumber::parse("10"), Some(KeyStoreNumber(10)));
        assert_eq!(KeyStoreNumber::parse("9223372036854775807"), Some(KeyStoreNumber(i64::MAX)));
        for wrong in ["", "0", "-1", "+1", "01", "1.0", "1e3", " 1", "x", "9223372036854775808", "\u{661}"] {
            assert_eq!(KeyStoreNumber::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn versions_end_at_three_bytes() {
        assert_eq!(KeyVersion::MAX.next(), None);
        assert_eq!(KeyVersion::FIRST.next().map(KeyVersion::number), Some(1));
    }
}
