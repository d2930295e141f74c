//! PKCS#12 keystores (RFC 7292): how a client gets a certificate whose key was made here.

use p12_keystore::{Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain};

use super::ca::IssuedKeyPair;
use super::error::PkiError;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::Invalid;

/// The most characters in a keystore's password.
pub const PASSWORD_MAX_CHARS: usize = 128;

/// Of PBKDF2 and of the derivation of the MAC's key.
const ITERATIONS: u32 = 210_000;

/// Whether a keystore's password can be taken: 1 to 128 printable ASCII characters. Java reads no others: it and OpenSSL turn them
/// into bytes in different ways.
pub fn check_password(password: &SecretText) -> Result<(), Invalid> {
    let text = password.expose();
    if text.is_empty() || text.len() > PASSWORD_MAX_CHARS || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Invalid::new("password", format!("must have 1 to {PASSWORD_MAX_CHARS} printable ASCII characters")));
    }
    Ok(())
}

/// A keystore with the key, its certificate and the CA certificates (DER) above it, encrypted with AES-256 under a key that
/// PBKDF2 with HMAC-SHA-256 derives from the password: for OpenSSL 3, Java 17 and what is newer. Slow on purpose: call it where blocking is allowed.
/// (`p12_keystore` doesn't wipe its own copy of the key.)
pub fn pkcs12(pair: &IssuedKeyPair, ca_chain: &[&[u8]], password: &SecretText, friendly_name: &str) -> Result<SecretBytes, PkiError> {
    check_password(password)?;
    let key = PrivateKey::from_der(pair.key.expose()).map_err(encoding)?;
    let chain = std::iter::once(pair.certificate.der.as_slice()).chain(ca_chain.iter().copied());
    let chain = chain.map(Certificate::from_der).collect::<Result<Vec<_>, _>>().map_err(encoding)?;
    let entry = PrivateKeyChain::new(&pair.certificate.fingerprint.0[..], key, chain);
    let mut keystore = KeyStore::new();
    keystore.add_entry(&basic_plane(friendly_name), KeyStoreEntry::PrivateKeyChain(entry));
    keystore
        .writer(password.expose())
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(ITERATIONS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(ITERATIONS)
        .write()
        .map(SecretBytes::new)
        .map_err(encoding)
}

/// A friendly name is a BMPString (RFC 2985, 5.5.1), which has no characters beyond U+FFFF.
fn basic_plane(name: &str) -> String {
    name.chars().map(|c| if u32::from(c) > 0xffff { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn encoding(error: p12_keystore::error::Error) -> PkiError {
    PkiError::Encoding(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_printable_ascii() {
        let longest = "x".repeat(PASSWORD_MAX_CHARS);
        for right in ["x", "correct horse battery staple", "~!@#$%^&*()", &longest] {
            assert!(check_password(&SecretText::new(right.to_owned())).is_ok(), "{right}");
        }
        let too_long = "x".repeat(PASSWORD_MAX_CHARS + 1);
        for wrong in ["", "pässword", "tab\t", "nul\0", "\u{7f}", &too_long] {
            let refused = check_password(&SecretText::new(wrong.to_owned())).expect_err("not a password");
            assert_eq!(refused.field, "password");
            assert!(wrong.is_empty() || !refused.problem.contains(wrong));
        }
    }

    #[test]
    fn names_beyond_the_basic_plane_are_replaced() {
        assert_eq!(basic_plane("käse 🧀"), "käse \u{fffd}");
    }
}
