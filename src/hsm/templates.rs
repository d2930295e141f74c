//! What objects are made with, and whether the token kept to it.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};

use super::errors::HsmError;
use super::profile::{Profile, TemplateAttribute as Name};
use super::{NewObject, ObjectKind};

/// Bytes of an AES-256 key.
pub(super) const AES_256_BYTES: usize = 32;
/// Bits of an RSA modulus.
const RSA_BITS: u64 = 2048;
/// 65537.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];
/// The DER of the OID of P-256, `prime256v1` (RFC 5480, 2.1.1.1).
pub(super) const P256_OID: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Templates of a pair.
pub(super) struct PairTemplates {
    pub(super) public: Vec<Attribute>,
    pub(super) private: Vec<Attribute>,
}

fn naming(object: &NewObject) -> [Attribute; 2] {
    [Attribute::Id(object.id.as_bytes().to_vec()), Attribute::Label(object.label.clone().into_bytes())]
}

fn wanted(profile: &Profile, all: impl IntoIterator<Item = (Name, Attribute)>) -> impl Iterator<Item = Attribute> {
    all.into_iter().filter(|(name, _)| profile.wants(*name)).map(|(_, attribute)| attribute)
}

/// What every private or secret key is: in the token, private, sensitive, not extractable, not modifiable. Usages that are not
/// named are allowed by some tokens, so those that a key must not have are denied by name.
fn guarded(object: &NewObject, profile: &Profile) -> Vec<Attribute> {
    let all = [
        (Name::Token, Attribute::Token(true)),
        (Name::Private, Attribute::Private(true)),
        (Name::Sensitive, Attribute::Sensitive(true)),
        (Name::Extractable, Attribute::Extractable(false)),
        (Name::Modifiable, Attribute::Modifiable(false)),
        (Name::Derive, Attribute::Derive(false)),
    ];
    naming(object).into_iter().chain(wanted(profile, all)).collect()
}

/// What every one of them is but those that are there to unwrap.
fn protected(object: &NewObject, profile: &Profile) -> Vec<Attribute> {
    let mut template = guarded(object, profile);
    template.extend(wanted(profile, [(Name::Unwrap, Attribute::Unwrap(false))]));
    template
}

/// What every AES key is for.
fn to_encrypt(profile: &Profile) -> impl Iterator<Item = Attribute> {
    let denied = [(Name::Sign, Attribute::Sign(false)), (Name::Verify, Attribute::Verify(false)), (Name::Wrap, Attribute::Wrap(false))];
    [Attribute::Encrypt(true), Attribute::Decrypt(true)].into_iter().chain(wanted(profile, denied))
}

/// What most private keys are for.
fn to_sign(profile: &Profile) -> impl Iterator<Item = Attribute> {
    let denied = [(Name::Decrypt, Attribute::Decrypt(false)), (Name::SignRecover, Attribute::SignRecover(false))];
    [Attribute::Sign(true)].into_iter().chain(wanted(profile, denied))
}

/// What a private key is for that unwraps imported keys: whoever could decrypt with it could read them.
fn to_unwrap(profile: &Profile) -> impl Iterator<Item = Attribute> {
    let denied = [(Name::Decrypt, Attribute::Decrypt(false)), (Name::Sign, Attribute::Sign(false)), (Name::SignRecover, Attribute::SignRecover(false))];
    [Attribute::Unwrap(true)].into_iter().chain(wanted(profile, denied))
}

/// What every public key is: in the token, not modifiable, there to verify, or only to be read where its private key unwraps.
fn public(kind: ObjectKind, object: &NewObject, profile: &Profile) -> Vec<Attribute> {
    let all = [
        (Name::Token, Attribute::Token(true)),
        (Name::Modifiable, Attribute::Modifiable(false)),
        (Name::Encrypt, Attribute::Encrypt(false)),
        (Name::VerifyRecover, Attribute::VerifyRecover(false)),
        (Name::Wrap, Attribute::Wrap(false)),
    ];
    let mut template: Vec<_> = naming(object).into_iter().chain(wanted(profile, all)).collect();
    match kind {
        ObjectKind::Rsa2048Unwrap => template.extend(wanted(profile, [(Name::Verify, Attribute::Verify(false))])),
        ObjectKind::Aes256 | ObjectKind::Rsa2048 | ObjectKind::EcP256 => template.push(Attribute::Verify(true)),
    }
    template
}

/// A new AES-256 key.
pub(super) fn aes_256(object: &NewObject, profile: &Profile) -> Vec<Attribute> {
    let mut template = protected(object, profile);
    template.push(Attribute::ValueLen((AES_256_BYTES as u64).into()));
    template.extend(to_encrypt(profile));
    template
}

/// An AES-256 key that is unwrapped. It names no length: of what is unwrapped tokens refuse `CKA_VALUE_LEN` (PKCS#11 v3.0, table 12).
pub(super) fn unwrapped_aes_256(object: &NewObject, profile: &Profile) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    template.extend(protected(object, profile));
    template.extend(to_encrypt(profile));
    // SoftHSM takes a template one attribute after the other, and while it unwraps nothing after "not modifiable".
    template.sort_by_key(|attribute| matches!(attribute, Attribute::Modifiable(_)));
    template
}

/// A key for the moment that it takes to see how long it is: of the session alone, sensitive, not extractable.
pub(super) fn weighed(profile: &Profile) -> Vec<Attribute> {
    let all = [
        (Name::Token, Attribute::Token(false)),
        (Name::Private, Attribute::Private(true)),
        (Name::Sensitive, Attribute::Sensitive(true)),
        (Name::Extractable, Attribute::Extractable(false)),
    ];
    let kind = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::GENERIC_SECRET), Attribute::Sign(true)];
    kind.into_iter().chain(wanted(profile, all)).collect()
}

/// An AES-256 key of a given value. The caller wipes the value ([`wipe`]).
pub(super) fn imported_aes_256(object: &NewObject, profile: &Profile, value: &[u8]) -> Vec<Attribute> {
    let mut template = unwrapped_aes_256(object, profile);
    template.push(Attribute::Value(value.to_vec()));
    template
}

/// Wipes key values in a template that was used.
pub(super) fn wipe(template: &mut [Attribute]) {
    for attribute in template {
        if let Attribute::Value(value) = attribute {
            zeroize::Zeroize::zeroize(value);
        }
    }
}

/// A new pair to sign and verify with, or to unwrap with.
pub(super) fn pair(kind: ObjectKind, object: &NewObject, profile: &Profile) -> PairTemplates {
    let mut templates = PairTemplates { public: public(kind, object, profile), private: Vec::new() };
    if kind == ObjectKind::Rsa2048Unwrap {
        templates.private.extend(guarded(object, profile).into_iter().chain(to_unwrap(profile)));
    } else {
        templates.private.extend(protected(object, profile).into_iter().chain(to_sign(profile)));
    }
    if kind == ObjectKind::EcP256 {
        templates.public.push(Attribute::EcParams(P256_OID.to_vec()));
    } else {
        templates.public.extend([Attribute::ModulusBits(RSA_BITS.into()), Attribute::PublicExponent(RSA_EXPONENT.to_vec())]);
    }
    templates
}

/// How a key came into the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provenance {
    Generated,
    Imported,
}

/// What is read back of a private key that unwraps, beside what is of every one.
pub(super) const UNWRAP_READ_BACK: [AttributeType; 3] = [AttributeType::Unwrap, AttributeType::Decrypt, AttributeType::Sign];

/// Whether a private key unwraps and does nothing else.
pub(super) fn check_unwraps_only(read: &[Attribute]) -> Result<(), HsmError> {
    let asked = [("CKA_UNWRAP", Attribute::Unwrap(true)), ("CKA_DECRYPT", Attribute::Decrypt(false)), ("CKA_SIGN", Attribute::Sign(false))];
    let lie = asked.into_iter().find(|(_, attribute)| !read.contains(attribute));
    lie.map_or(Ok(()), |(attribute, _)| Err(HsmError::Dishonest { attribute }))
}

/// What is read back of every private or secret key.
pub(super) const READ_BACK: [AttributeType; 6] = [
    AttributeType::Token,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::AlwaysSensitive,
    AttributeType::NeverExtractable,
    AttributeType::Local,
];

/// Whether what was read back is what was asked for; an attribute that the token doesn't tell is a lie.
pub(super) fn check_honesty(read: &[Attribute], provenance: Provenance) -> Result<(), HsmError> {
    let asked: [(&'static str, Attribute, bool); 6] = [
        ("CKA_TOKEN", Attribute::Token(true), true),
        ("CKA_SENSITIVE", Attribute::Sensitive(true), true),
        ("CKA_EXTRACTABLE", Attribute::Extractable(false), true),
        ("CKA_ALWAYS_SENSITIVE", Attribute::AlwaysSensitive(true), provenance == Provenance::Generated),
        ("CKA_NEVER_EXTRACTABLE", Attribute::NeverExtractable(true), provenance == Provenance::Generated),
        ("CKA_LOCAL", Attribute::Local(true), provenance == Provenance::Generated),
    ];
    let lie = asked.into_iter().find(|(_, attribute, applies)| *applies && !read.contains(attribute));
    lie.map_or(Ok(()), |(attribute, ..)| Err(HsmError::Dishonest { attribute }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn honest() -> Vec<Attribute> {
        vec![
            Attribute::Token(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::AlwaysSensitive(true),
            Attribute::NeverExtractable(true),
            Attribute::Local(true),
        ]
    }

    #[test]
    fn each_attribute_is_checked_and_silence_is_a_lie() {
        assert!(check_honesty(&honest(), Provenance::Generated).is_ok());
        for index in 0..honest().len() {
            let mut silent = honest();
            silent.remove(index);
            assert!(check_honesty(&silent, Provenance::Generated).is_err(), "{:?}", honest()[index]);
        }
        let extractable: Vec<_> = honest().into_iter().map(|a| if a == Attribute::Extractable(false) { Attribute::Extractable(true) } else { a }).collect();
        assert!(matches!(check_honesty(&extractable, Provenance::Imported), Err(HsmError::Dishonest { attribute: "CKA_EXTRACTABLE" })));
    }

    #[test]
    fn an_imported_key_was_somewhere_else_before() {
        assert!(check_honesty(&honest()[..3], Provenance::Imported).is_ok());
        assert!(check_honesty(&honest()[..3], Provenance::Generated).is_err());
    }
}
