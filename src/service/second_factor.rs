//! The second factor: codes of an authenticator app (RFC 6238, SHA-1, six digits, 30 s, what all apps take), and recovery codes.
//!
//! The seed is sealed by the token, bound to its account. What a crash leaves: a seed that was not confirmed, which the next beginning replaces.

use ring::rand::{SecureRandom as _, SystemRandom};
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use super::Service;
use super::own_account::{Own, Visit};
use super::patience::Blamed;
use super::refusal::Refusal;
use crate::domain::account::SecretHash;
use crate::domain::audit::{KeyUse, Operation, Uses};
use crate::domain::clock::Timestamp;
use crate::domain::ids::AccountId;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::Invalid;
use crate::store::Change;

/// Bytes of a seed (RFC 4226, 4: 160 bits are recommended).
const SEED_BYTES: usize = 20;
/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code: 80 bits, so that a fast hash is enough.
const RECOVERY_CODE_BYTES: usize = 10;
/// Who asks for the code, as authenticator apps show it.
const ISSUER: &str = "Secure Key Manager";

/// What an authenticator app is told.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The seed, in Base32, to be typed.
    pub secret: SecretText,
    /// The `otpauth` address, to be scanned.
    pub address: SecretText,
}

/// How an account's second factor stands.
#[derive(Debug, Clone, Copy)]
pub struct SecondFactorState {
    /// Whether a code is asked for.
    pub is_on: bool,
    /// How many recovery codes are left.
    pub recovery_codes: i64,
}

fn context(account: AccountId) -> Vec<u8> {
    format!("second factor of account {}", account.0).into_bytes()
}

fn codes_of(seed: &SecretBytes) -> Result<Totp, Refusal> {
    Builder::new().with_secret(seed.expose().to_vec()).build().map_err(|error| Refusal::unavailable(format!("a second factor: {error}")))
}

/// The time step of a code that is right at `now`, or was or will be 30 s away.
pub(super) fn step_of(seed: &SecretBytes, code: &str, now: Timestamp) -> Result<Option<i64>, Refusal> {
    let seconds = u64::try_from(now.seconds()).unwrap_or_default();
    Ok(codes_of(seed)?.check(code, seconds).and_then(|step| i64::try_from(step).ok()))
}

/// What was typed, without what people put between the groups.
pub(super) fn typed_code(code: &str) -> SecretText {
    SecretText::new(code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect())
}

/// `xxxx-xxxx-xxxx-xxxx`, and the hash of it as [`typed_code`] reads it.
fn recovery_code() -> Result<(SecretText, SecretHash), Refusal> {
    let code = Zeroizing::new(Secret::from(random::<RECOVERY_CODE_BYTES>()?.to_vec()).to_base32().to_ascii_lowercase());
    let groups: Vec<&str> = code.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    Ok((SecretText::new(groups.join("-")), SecretHash::of(&code)))
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Refusal> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| Refusal::unavailable("the operating system gives no random numbers"))?;
    Ok(bytes)
}

impl Service {
    /// How the second factor of whoever is signed in stands.
    pub async fn second_factor_state(&self, visit: &Visit) -> Result<SecondFactorState, Refusal> {
        let account = visit.session.account;
        self.store()
            .read::<_, Refusal, _>(move |reader| {
                let is_on = reader.second_factor(account)?.sealed.is_some();
                Ok(SecondFactorState { is_on, recovery_codes: reader.recovery_codes_left(account)? })
            })
            .await
    }

    /// Makes a seed, which counts once a code of it was confirmed.
    pub async fn begin_second_factor(&self, visit: &Visit) -> Result<(), Refusal> {
        let (account, seal) = (visit.session.account, self.authorities()?.seal.clone());
        let seed = SecretBytes::new(random::<SEED_BYTES>()?.to_vec());
        let sealed = self.seal(&seal, &context(account), seed).await?;
        let uses = Uses { keys: vec![KeyUse { key: seal.id, version: seal.version, encryptions: 1 }], ..Uses::default() };
        let own = Own { uses, ..Own::new(Operation::ChangeAccount, "second factor begun") };
        self.change_own(visit, own, move |tx, stamp, _| Ok(tx.begin_second_factor(account, &sealed, stamp)?)).await
    }

    /// What the authenticator app is told, while the second factor is not confirmed; else there is no such page.
    pub async fn pending_second_factor(&self, visit: &Visit) -> Result<Enrolment, Refusal> {
        let account = visit.session.account;
        let kept = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.second_factor(account)?)).await?;
        let pending = kept.pending.filter(|_| kept.sealed.is_none()).ok_or(ResultCode::UrlNotFound)?;
        let seed = self.open_seed(account, &pending).await?;
        let secret = Secret::from(seed.expose().to_vec()).to_base32();
        // The login name has no character that an address would need escaped, but for `@`, which is allowed in a path.
        let issuer = ISSUER.replace(' ', "%20");
        let address = format!("otpauth://totp/{issuer}:{}?secret={secret}&issuer={issuer}", visit.session.login);
        Ok(Enrolment { secret: SecretText::new(secret), address: SecretText::new(address) })
    }

    /// From now on signing in asks for a code. Answers the recovery codes, which are shown once.
    pub async fn confirm_second_factor(&self, visit: &Visit, code: &str) -> Result<Vec<SecretText>, Refusal> {
        let account = visit.session.account;
        let kept = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.second_factor(account)?)).await?;
        let pending = kept.pending.ok_or(ResultCode::Conflict)?;
        let blamed = [Blamed::Account(account)];
        self.patience().begin(&blamed).map_err(Refusal::TooMany)?;
        let seed = self.open_seed(account, &pending).await?;
        let wrong = || Invalid::new("code", "is not the code that the app shows now");
        let step = step_of(&seed, typed_code(code).expose(), self.now())?.ok_or_else(wrong)?;
        self.patience().forgive(&blamed);
        let made = (0..RECOVERY_CODES).map(|_| recovery_code()).collect::<Result<Vec<_>, _>>()?;
        let (codes, hashes): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        self.change_own(visit, Own::new(Operation::ChangeAccount, "second factor on"), move |tx, stamp, changes| {
            tx.confirm_second_factor(account, &pending, step, &hashes, stamp)?;
            changes.push(Change::Identity);
            Ok(())
        })
        .await?;
        Ok(codes)
    }

    /// Signing in asks for the password alone again. The password is asked for: a session that was left open must not be enough.
    pub async fn remove_second_factor(&self, visit: &Visit, password: SecretText) -> Result<(), Refusal> {
        self.confirm_password(visit, Operation::ChangeAccount, "password", password).await?;
        let account = visit.session.account;
        self.change_own(visit, Own::new(Operation::ChangeAccount, "second factor off"), move |tx, stamp, changes| {
            tx.remove_second_factor(account, stamp)?;
            changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Opens a seed that is kept for an account.
    pub(super) async fn open_seed(&self, account: AccountId, sealed: &[u8]) -> Result<SecretBytes, Refusal> {
        let seal = self.authorities()?.seal.clone();
        self.unseal(&seal, &context(account), sealed).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, in six digits.
        let seed = SecretBytes::new(b"12345678901234567890".to_vec());
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(step_of(&seed, "287082", at(59)).unwrap(), Some(1));
        assert_eq!(step_of(&seed, "287082", at(89)).unwrap(), Some(1), "a step late");
        assert_eq!(step_of(&seed, "287082", at(120)).unwrap(), None);
        assert_eq!(step_of(&seed, "081804", at(1_111_111_109)).unwrap(), Some(37_037_036));
        for wrong in ["", "28708", "2870822", "abcdef", "٢٨٧٠٨٢"] {
            assert_eq!(step_of(&seed, wrong, at(59)).unwrap(), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_recovery_code_is_read_however_it_is_typed() {
        let (code, hash) = recovery_code().unwrap();
        assert_eq!(code.expose().len(), 19);
        for typed in [code.expose().to_owned(), code.expose().to_uppercase(), code.expose().replace('-', " ")] {
            assert_eq!(SecretHash::of(typed_code(&typed).expose()), hash, "{typed}");
        }
    }
}
