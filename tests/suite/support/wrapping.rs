//! Keys wrapped as a client would: by OpenSSL's command line.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// RSAES-OAEP of `material` under a DER SPKI, with that hash (`sha1`, `sha256`) for label and mask.
pub(crate) fn wrap(spki: &[u8], hash: &str, material: &[u8]) -> Vec<u8> {
    let key = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(key.path(), spki).expect("written");
    let mut openssl = Command::new("openssl")
        .args(["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", key.path().to_str().expect("UTF-8")])
        .args(["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", &format!("rsa_oaep_md:{hash}"), "-pkeyopt", &format!("rsa_mgf1_md:{hash}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    openssl.stdin.take().expect("stdin").write_all(material).expect("written");
    let output = openssl.wait_with_output().expect("openssl");
    assert!(output.status.success(), "openssl pkeyutl: {}", output.status);
    output.stdout
}

/// What AES-256-GCM with `key` makes of IV, ciphertext and tag.
pub(crate) fn open(key: &[u8], aad: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let (iv, sealed) = payload.split_at_checked(12)?;
    let mut sealed = sealed.to_vec();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    let opened = key.open_in_place(Nonce::try_assume_unique_for_key(iv).ok()?, Aad::from(aad), &mut sealed).ok()?;
    Some(opened.to_vec())
}
