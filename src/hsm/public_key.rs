//! The DER `SubjectPublicKeyInfo` (RFC 5280, 4.1) of a pair, from the public half's attributes.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;

use super::ObjectKind;
use super::errors::{Call, Fault};
use super::templates::P256_OID;

const RSA_ENCRYPTION: [u8; 13] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// Bytes of an uncompressed point on P-256: 0x04, x, y (SEC 1, 2.3.3).
const POINT_BYTES: usize = 65;
const FUNCTION: &str = "C_GetAttributeValue";

/// Reads the public half `handle` of a pair.
pub(super) fn read(session: &Session, kind: ObjectKind, handle: ObjectHandle) -> Call<Vec<u8>> {
    if kind == ObjectKind::EcP256 {
        let attributes = session.get_attributes(handle, &[AttributeType::EcPoint])?;
        let point = attributes.iter().find_map(|attribute| if let Attribute::EcPoint(point) = attribute { Some(point) } else { None });
        let point = point.and_then(|point| uncompressed_point(point)).ok_or_else(|| Fault::said(FUNCTION, "a CKA_EC_POINT that is none of P-256"))?;
        return Ok(ec_p256(point));
    }
    let attributes = session.get_attributes(handle, &[AttributeType::Modulus, AttributeType::PublicExponent])?;
    let modulus = attributes.iter().find_map(|attribute| if let Attribute::Modulus(modulus) = attribute { Some(modulus) } else { None });
    let exponent = attributes.iter().find_map(|attribute| if let Attribute::PublicExponent(exponent) = attribute { Some(exponent) } else { None });
    match (modulus, exponent) {
        (Some(modulus), Some(exponent)) if !modulus.is_empty() && !exponent.is_empty() => Ok(rsa(modulus, exponent)),
        _ => Err(Fault::said(FUNCTION, "no CKA_MODULUS or CKA_PUBLIC_EXPONENT")),
    }
}

/// `CKA_EC_POINT` is a DER OCTET STRING around the point (PKCS#11 v3.0, 2.3.3); some tokens give the bare point.
fn uncompressed_point(attribute: &[u8]) -> Option<&[u8]> {
    let point = match attribute {
        [OCTET_STRING, 65, point @ ..] if point.len() == POINT_BYTES => point,
        bare => bare,
    };
    (point.len() == POINT_BYTES && point.first() == Some(&0x04)).then_some(point)
}

/// Of a modulus and an exponent, both big-endian.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = der(SEQUENCE, &[unsigned_integer(modulus), unsigned_integer(exponent)].concat());
    subject_public_key_info(&RSA_ENCRYPTION, &key)
}

/// Of an uncompressed point on P-256.
fn ec_p256(point: &[u8]) -> Vec<u8> {
    subject_public_key_info(&[EC_PUBLIC_KEY.as_slice(), &P256_OID].concat(), point)
}

fn subject_public_key_info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = der(BIT_STRING, &[[0].as_slice(), key].concat());
    der(SEQUENCE, &[der(SEQUENCE, algorithm), bits].concat())
}

/// A DER INTEGER is signed and has no leading zeroes but the one before a high bit (X.690, 8.3).
fn unsigned_integer(big_endian: &[u8]) -> Vec<u8> {
    let start = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len());
    let digits = big_endian.get(start..).unwrap_or_default();
    let sign: &[u8] = if digits.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    der(INTEGER, &[sign, digits].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let start = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
    let digits = length.get(start..).unwrap_or_default();
    let mut encoded = vec![tag];
    if let [short @ 0..=0x7f] = digits {
        encoded.push(*short);
    } else {
        // At most eight digits: the count fits.
        encoded.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
        encoded.extend_from_slice(digits);
    }
    encoded.extend_from_slice(content);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::FromDer as _;
    use x509_parser::public_key::PublicKey;
    use x509_parser::x509::SubjectPublicKeyInfo;

    #[test]
    fn lengths_are_minimal() {
        for (content, prefix) in [(0, vec![4, 0]), (127, vec![4, 127]), (128, vec![4, 0x81, 128]), (256, vec![4, 0x82, 1, 0])] {
            assert!(der(4, &vec![0; content]).starts_with(&prefix), "{content}");
        }
    }

    #[test]
    fn integers_have_a_sign_byte_only_where_needed() {
        assert_eq!(unsigned_integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned_integer(&[0, 0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(unsigned_integer(&[0]), [2, 1, 0]);
    }

    #[test]
    fn a_modulus_with_and_without_a_high_bit_parses() {
        for first in [0x80, 0x7f] {
            let mut modulus = vec![0x5a; 256];
            modulus[0] = first;
            let der = rsa(&modulus, &[1, 0, 1]);
            let (rest, info) = SubjectPublicKeyInfo::from_der(&der).expect("an SPKI");
            assert!(rest.is_empty());
            let PublicKey::RSA(key) = info.parsed().expect("a key") else { panic!("not RSA") };
            assert_eq!(key.modulus.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>(), modulus);
            assert_eq!(key.try_exponent().expect("an exponent"), 65_537);
        }
    }

    #[test]
    fn points_are_taken_wrapped_and_bare_and_nothing_else() {
        let mut bare = vec![0x5a; POINT_BYTES];
        bare[0] = 4;
        let wrapped = der(OCTET_STRING, &bare);
        assert_eq!(uncompressed_point(&wrapped), Some(bare.as_slice()));
        assert_eq!(uncompressed_point(&bare), Some(bare.as_slice()));
        for wrong in [&bare[1..], &wrapped[..66], &[], &[2; 65]] {
            assert_eq!(uncompressed_point(wrong), None);
        }
        let der = ec_p256(&bare);
        let (_, info) = SubjectPublicKeyInfo::from_der(&der).expect("an SPKI");
        assert!(matches!(info.parsed(), Ok(PublicKey::EC(_))));
    }
}
