//! The mechanisms that profiles may name, and how each is put to use.

use std::borrow::Cow;

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::RsaPadding;
use super::profile::Mechanisms;

macro_rules! mechanism_names {
    ($($name:ident => $text:literal),* $(,)?) => {
        /// A mechanism by its PKCS#11 name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[allow(missing_docs, reason = "each is documented by its PKCS#11 name")]
        pub enum MechanismName {
            $(#[serde(rename = $text)] $name),*
        }

        impl MechanismName {
            /// Its PKCS#11 name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }
        }
    };
}

mechanism_names! {
    AesKeyGen => "CKM_AES_KEY_GEN",
    AesGcm => "CKM_AES_GCM",
    AesCbc => "CKM_AES_CBC",
    RsaPkcsKeyPairGen => "CKM_RSA_PKCS_KEY_PAIR_GEN",
    RsaX931KeyPairGen => "CKM_RSA_X9_31_KEY_PAIR_GEN",
    RsaPkcs => "CKM_RSA_PKCS",
    RsaPkcsPss => "CKM_RSA_PKCS_PSS",
    Sha256RsaPkcs => "CKM_SHA256_RSA_PKCS",
    Sha256RsaPkcsPss => "CKM_SHA256_RSA_PKCS_PSS",
    EcKeyPairGen => "CKM_EC_KEY_PAIR_GEN",
    Ecdsa => "CKM_ECDSA",
}

impl MechanismName {
    /// The value behind the name; `None` where the binding has none.
    pub(super) const fn kind(self) -> Option<MechanismType> {
        Some(match self {
            Self::AesKeyGen => MechanismType::AES_KEY_GEN,
            Self::AesGcm => MechanismType::AES_GCM,
            Self::AesCbc => MechanismType::AES_CBC,
            Self::RsaPkcsKeyPairGen => MechanismType::RSA_PKCS_KEY_PAIR_GEN,
            Self::RsaX931KeyPairGen => return None,
            Self::RsaPkcs => MechanismType::RSA_PKCS,
            Self::RsaPkcsPss => MechanismType::RSA_PKCS_PSS,
            Self::Sha256RsaPkcs => MechanismType::SHA256_RSA_PKCS,
            Self::Sha256RsaPkcsPss => MechanismType::SHA256_RSA_PKCS_PSS,
            Self::EcKeyPairGen => MechanismType::ECC_KEY_PAIR_GEN,
            Self::Ecdsa => MechanismType::ECDSA,
        })
    }
}

/// What a profile asks of operations that they can't do.
pub(super) fn refusals(mechanisms: &Mechanisms) -> Vec<String> {
    use MechanismName as M;
    let implemented: [(&str, M, &[M]); 8] = [
        ("aes_generate", mechanisms.aes_generate, &[M::AesKeyGen]),
        ("aes_encrypt", mechanisms.aes_encrypt, &[M::AesGcm]),
        ("rsa_generate", mechanisms.rsa_generate, &[M::RsaPkcsKeyPairGen]),
        ("rsa_sign_raw", mechanisms.rsa_sign_raw, &[M::RsaPkcs]),
        ("rsa_sign_pss", mechanisms.rsa_sign_pss, &[M::Sha256RsaPkcsPss, M::RsaPkcsPss]),
        ("rsa_sign_pkcs1", mechanisms.rsa_sign_pkcs1, &[M::Sha256RsaPkcs, M::RsaPkcs]),
        ("ec_generate", mechanisms.ec_generate, &[M::EcKeyPairGen]),
        ("ec_sign", mechanisms.ec_sign, &[M::Ecdsa]),
    ];
    let refused = implemented.into_iter().filter(|(_, asked, allowed)| !allowed.contains(asked));
    refused
        .map(|(operation, asked, allowed)| {
            let allowed: Vec<_> = allowed.iter().map(|name| name.as_str()).collect();
            format!("mechanisms.{operation} = {:?}: only {} is implemented", asked.as_str(), allowed.join(" or "))
        })
        .collect()
}

/// Bytes of the PSS salt: as long as the hash (RFC 8017, 9.1).
const SALT_BYTES: u64 = 32;

fn pss_parameters() -> PkcsPssParams {
    PkcsPssParams { hash_alg: MechanismType::SHA256, mgf: PkcsMgfType::MGF1_SHA256, s_len: SALT_BYTES.into() }
}

/// What makes a mechanism's input of a message.
type Prepare = fn(&[u8]) -> Vec<u8>;

/// How an RSA signature with SHA-256 is made: the mechanism, and what it is given.
pub(super) struct RsaScheme {
    pub(super) name: MechanismName,
    pub(super) mechanism: Mechanism<'static>,
    /// `None` where the mechanism hashes the message itself.
    prepare: Option<Prepare>,
}

impl RsaScheme {
    pub(super) fn new(padding: RsaPadding, mechanisms: &Mechanisms) -> Self {
        let name = match padding {
            RsaPadding::Pss => mechanisms.rsa_sign_pss,
            RsaPadding::Pkcs1 => mechanisms.rsa_sign_pkcs1,
        };
        let (mechanism, prepare): (_, Option<Prepare>) = match (padding, name) {
            (RsaPadding::Pss, MechanismName::RsaPkcsPss) => (Mechanism::RsaPkcsPss(pss_parameters()), Some(digest)),
            (RsaPadding::Pss, _) => (Mechanism::Sha256RsaPkcsPss(pss_parameters()), None),
            (RsaPadding::Pkcs1, MechanismName::RsaPkcs) => (Mechanism::RsaPkcs, Some(digest_info)),
            (RsaPadding::Pkcs1, _) => (Mechanism::Sha256RsaPkcs, None),
        };
        Self { name, mechanism, prepare }
    }

    /// What to hand to the token for `message`.
    pub(super) fn input<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        self.prepare.map_or(Cow::Borrowed(message), |prepare| Cow::Owned(prepare(message)))
    }
}

fn digest(message: &[u8]) -> Vec<u8> {
    Sha256::digest(message).to_vec()
}

/// The DER of a `DigestInfo` with SHA-256 (RFC 8017, 9.2, note 1).
fn digest_info(message: &[u8]) -> Vec<u8> {
    const PREFIX: [u8; 19] = [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];
    [PREFIX.as_slice(), &Sha256::digest(message)].concat()
}
