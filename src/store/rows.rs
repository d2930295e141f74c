//! What the columns hold, back into the domain's types: nobody but this program writes them, so what can't be read is
//! [`StoreError::Corrupt`].

use std::str::FromStr;

use super::error::StoreError;
use crate::domain::clock::Timestamp;
use crate::domain::ids::KeyVersion;
use crate::domain::key::{Stamp, State};

/// The state that a column names.
pub(super) fn state(text: &str) -> Result<State, StoreError> {
    known(State::parse(text), "state")
}

/// An ID of 32 hex digits.
pub(super) fn id<T: FromStr>(text: &str, what: &'static str) -> Result<T, StoreError> {
    known(text.parse().ok(), what)
}

/// A key version.
pub(super) fn version(number: i64) -> Result<KeyVersion, StoreError> {
    known(u32::try_from(number).ok().and_then(KeyVersion::new), "key version")
}

/// A hash, a digest, a signature: exactly `N` bytes.
pub(super) fn bytes<const N: usize>(column: Vec<u8>, what: &'static str) -> Result<[u8; N], StoreError> {
    known(column.try_into().ok(), what)
}

/// A time that may be missing.
pub(super) fn time(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_micros)
}

/// Who and when.
pub(super) const fn stamp(user: String, at: i64) -> Stamp {
    Stamp { user, at: Timestamp::from_micros(at) }
}

/// A value that was read, or `Corrupt`.
pub(super) fn known<T>(value: Option<T>, what: &'static str) -> Result<T, StoreError> {
    value.ok_or(StoreError::Corrupt { what })
}

/// `Stale` unless a row was changed.
pub(super) const fn changed_one(rows: usize, what: &'static str) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Stale { what }) }
}

/// The 32 hex digits of an ID.
pub(super) fn hex(id: &[u8; 16]) -> String {
    let mut digits = [0; 32];
    // Never fails: the digits are exactly twice the bytes.
    hex::encode_to_slice(id, &mut digits).ok();
    String::from_utf8_lossy(&digits).into_owned()
}
