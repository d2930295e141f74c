//! RSA's public operation, written out: what `sign` makes can be checked by nothing of the service's own.

use std::cmp::Ordering;

use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Words of a 2,048-bit number.
const WORDS: usize = 32;

/// A 2,048-bit number, least word first.
type Number = [u64; WORDS];

fn number(bytes: &[u8]) -> Number {
    let mut number = [0; WORDS];
    // DER puts a zero before a modulus, lest it be negative.
    let bytes = if bytes.len() > WORDS * 8 { &bytes[bytes.len() - WORDS * 8..] } else { bytes };
    for (index, byte) in bytes.iter().rev().enumerate() {
        number[index / 8] |= u64::from(*byte) << (index % 8 * 8);
    }
    number
}

fn bytes(number: &Number) -> Vec<u8> {
    number.iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}

fn at_least(a: &Number, b: &Number) -> bool {
    a.iter().rev().cmp(b.iter().rev()) != Ordering::Less
}

/// `a + b` modulo `modulus`, both being less than it.
fn add(a: &Number, b: &Number, modulus: &Number) -> Number {
    let (mut sum, mut carry) = ([0; WORDS], false);
    for index in 0..WORDS {
        let (half, first) = a[index].overflowing_add(b[index]);
        let (whole, second) = half.overflowing_add(u64::from(carry));
        (sum[index], carry) = (whole, first || second);
    }
    if !carry && !at_least(&sum, modulus) {
        return sum;
    }
    let mut borrow = false;
    for index in 0..WORDS {
        let (half, first) = sum[index].overflowing_sub(modulus[index]);
        let (whole, second) = half.overflowing_sub(u64::from(borrow));
        (sum[index], borrow) = (whole, first || second);
    }
    sum
}

fn multiply(a: &Number, b: &Number, modulus: &Number) -> Number {
    let mut product = [0; WORDS];
    for word in b.iter().rev() {
        for bit in (0..64).rev() {
            product = add(&product, &product, modulus);
            if word >> bit & 1 == 1 {
                product = add(&product, a, modulus);
            }
        }
    }
    product
}

/// `signature` to the power of the public exponent (RFC 8017, 5.2.2): the padded block that was signed.
pub(super) fn recover(spki: &[u8], signature: &[u8]) -> Vec<u8> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).expect("a SubjectPublicKeyInfo");
    let PublicKey::RSA(key) = spki.parsed().expect("a public key") else { panic!("not RSA") };
    assert_eq!(key.key_size(), 2048);
    assert_eq!(number(key.exponent)[0], 65_537);
    let (modulus, base) = (number(key.modulus), number(signature));
    assert!(!at_least(&base, &modulus));
    let mut power = base;
    for _ in 0..16 {
        power = multiply(&power, &power, &modulus);
    }
    bytes(&multiply(&power, &base, &modulus))
}

/// `text` under type-1 padding (RFC 8017, 9.2), as raw text has it: without a `DigestInfo`.
pub(super) fn padded(text: &[u8]) -> Vec<u8> {
    let mut block = vec![0, 1];
    block.resize(255 - text.len(), 0xff);
    block.push(0);
    block.extend_from_slice(text);
    block
}

/// The bare `RSAPublicKey` (RFC 8017, A.1.1) in a `SubjectPublicKeyInfo`.
pub(super) fn bare_key(spki: &[u8]) -> Vec<u8> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).expect("a SubjectPublicKeyInfo");
    spki.subject_public_key.data.to_vec()
}
