//! The password of an account that asks or approves, in two parts of which nobody alone has both (NIST SP 800-57 part 1, "split knowledge").
//!
//! Whoever asks types the first part, which is kept sealed by the token until the request ends. Whoever approves gets the second, made at random,
//! in the answer to that alone. The account signs in with the first part followed by the second, and must change it then. What is kept in the
//! transaction that approves is the hash of the whole, so that any node applies it. A crash after that transaction and before the answer loses the
//! second part: then another password is asked for.

use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::domain::approval::ChangeItem;
use crate::domain::audit::KeyUse;
use crate::domain::ids::{ChangeRequestId, ProjectId};
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::Invalid;
use crate::service::administration::accounts::{PASSWORD_MAX_BYTES, PASSWORD_MIN_CHARS, hashed};
use crate::service::request::Scope;
use crate::service::{Refusal, Service};
use crate::store::{StoreError, Tx};

/// Letters and digits that nobody takes for one another. 32 of them, so that each is worth 5 bits and a random byte chooses evenly.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters and digits of a second part: 100 bits.
const SECOND_PART_LETTERS: usize = 20;
/// How many stand together.
const GROUP_LETTERS: usize = 5;
/// Bytes of a second part, with what stands between its groups.
const SECOND_PART_BYTES: usize = SECOND_PART_LETTERS + SECOND_PART_LETTERS / GROUP_LETTERS - 1;
/// The most bytes of a first part.
const FIRST_PART_MAX_BYTES: usize = PASSWORD_MAX_BYTES - SECOND_PART_BYTES;

/// Whether the first part of a password can be taken: as a whole one, and with room for the second.
pub fn check_first_part(password: &SecretText) -> Result<(), Invalid> {
    let length = password.expose().chars().count();
    if length < PASSWORD_MIN_CHARS || password.expose().len() > FIRST_PART_MAX_BYTES {
        return Err(Invalid::new("password", format!("must have {PASSWORD_MIN_CHARS} characters or more and at most {FIRST_PART_MAX_BYTES} bytes")));
    }
    Ok(())
}

/// What a first part is sealed for: it opens for no other account, and in no other project.
fn context(project: ProjectId, login: &str) -> Vec<u8> {
    format!("first part of the password of {login}, project {project}").into_bytes()
}

/// `xxxxx-xxxxx-xxxxx-xxxxx`
fn second_part() -> Result<SecretText, Refusal> {
    let mut bytes = Zeroizing::new([0_u8; SECOND_PART_LETTERS]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| Refusal::unavailable("the operating system gives no random numbers"))?;
    // Never moved, so that no copy of it is left.
    let mut part = String::with_capacity(SECOND_PART_BYTES);
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 && place % GROUP_LETTERS == 0 {
            part.push('-');
        }
        part.extend(ALPHABET.get(usize::from(*byte) % ALPHABET.len()).map(|letter| char::from(*letter)));
    }
    Ok(SecretText::new(part))
}

/// A password of which both parts are there, as whoever approves keeps it.
pub(super) struct Completed {
    /// Which change sets it.
    position: u32,
    /// The hash of the whole.
    hash: String,
    /// For whoever approves, and nobody else.
    pub(super) second_part: SecretText,
}

impl Completed {
    /// In the transaction that approves.
    pub(super) fn keep(&self, tx: &mut Tx<'_>, request: ChangeRequestId) -> Result<(), StoreError> {
        tx.put_password_hash(request, self.position, &self.hash)
    }
}

impl Service {
    /// Seals the first part of an account's password, for a request.
    pub(super) async fn seal_first_part(&self, scope: &mut Scope, login: &str, first_part: SecretText) -> Result<Vec<u8>, Refusal> {
        check_first_part(&first_part)?;
        let seal = self.authorities()?.seal.clone();
        let sealed = self.seal(&seal, &context(scope.project.id, login), first_part.into_bytes()).await?;
        scope.uses_key(KeyUse { key: seal.id, version: seal.version, encryptions: 1 });
        Ok(sealed)
    }

    /// Adds the second part to what is sealed for a change.
    pub(super) async fn complete_password(&self, project: ProjectId, item: &ChangeItem, sealed: &[u8]) -> Result<Completed, Refusal> {
        let login = item.change.password_of().ok_or_else(|| Refusal::unavailable("a change sets no password"))?;
        let seal = self.authorities()?.seal.clone();
        let first_part = self.unseal(&seal, &context(project, login), sealed).await?;
        let second_part = second_part()?;
        let hash = hashed(whole(first_part, &second_part)?).await?;
        Ok(Completed { position: item.position, hash, second_part })
    }
}

fn whole(first_part: SecretBytes, second_part: &SecretText) -> Result<SecretText, Refusal> {
    let first_part = first_part.into_text().map_err(|_| StoreError::Corrupt { what: "password" })?;
    let mut whole = String::with_capacity(first_part.expose().len() + second_part.expose().len());
    whole.push_str(first_part.expose());
    whole.push_str(second_part.expose());
    Ok(SecretText::new(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::administration::check_password;

    #[test]
    fn a_second_part_is_random_and_can_be_read_out() {
        let parts: Vec<String> = (0..100).map(|_| second_part().unwrap().expose().to_owned()).collect();
        for part in &parts {
            assert_eq!(part.len(), SECOND_PART_BYTES);
            assert_eq!(part.split('-').map(str::len).collect::<Vec<_>>(), [GROUP_LETTERS; 4]);
            assert!(part.bytes().all(|letter| letter == b'-' || ALPHABET.contains(&letter)) && !part.contains(['l', 'o', '0', '1']), "{part}");
        }
        let mut letters: Vec<char> = parts.concat().chars().filter(|letter| *letter != '-').collect();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), ALPHABET.len());
        let mut different = parts.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), parts.len());
    }

    #[test]
    fn both_parts_together_are_a_password() {
        let of = |length: usize| SecretText::new("p".repeat(length));
        for wrong in [0, PASSWORD_MIN_CHARS - 1, FIRST_PART_MAX_BYTES + 1] {
            assert!(check_first_part(&of(wrong)).is_err(), "{wrong}");
        }
        for right in [PASSWORD_MIN_CHARS, FIRST_PART_MAX_BYTES] {
            assert!(check_first_part(&of(right)).is_ok(), "{right}");
            let whole = whole(of(right).into_bytes(), &second_part().unwrap()).unwrap();
            assert!(check_password(&whole).is_ok() && whole.expose().len() == right + SECOND_PART_BYTES);
        }
    }
}
