//! PEM (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::secret::{SecretBytes, SecretText};

/// So many bytes make a line of 64 characters.
const LINE_BYTES: usize = 48;

/// A certificate as PEM.
pub fn certificate_pem(der: &[u8]) -> String {
    encode("CERTIFICATE", der)
}

/// A revocation list as PEM.
pub fn crl_pem(der: &[u8]) -> String {
    encode("X509 CRL", der)
}

/// A PKCS#8 private key as PEM.
pub fn private_key_pem(key: &SecretBytes) -> SecretText {
    SecretText::new(encode("PRIVATE KEY", key.expose()))
}

fn encode(label: &str, der: &[u8]) -> String {
    // All of it at once: a key must leave no copies behind by growing.
    let mut text = String::with_capacity(der.len().div_ceil(LINE_BYTES) * 65 + 2 * (label.len() + 17));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in der.chunks(LINE_BYTES) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivatePkcs8KeyDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_never_grew() {
        for length in [0, 1, 47, 48, 49, 96, 138, 1_000] {
            let der: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).expect("a byte")).collect();
            let text = encode("PRIVATE KEY", &der);
            assert!(text.lines().all(|line| line.len() <= 64));
            let capacity = der.len().div_ceil(LINE_BYTES) * 65 + 2 * ("PRIVATE KEY".len() + 17);
            assert!(text.len() <= capacity, "{length}");
            let read = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).expect("PEM");
            assert_eq!(read.secret_pkcs8_der(), der);
        }
    }
}
