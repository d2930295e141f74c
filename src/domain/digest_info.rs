//! What `sign` must not sign: raw text that parses as a `DigestInfo` (RFC 8017, 9.2), since a caller could mint a
//! signature over a digest of their choice, SHA-1 included.

/// Whether `text` is the DER of `SEQUENCE { SEQUENCE { OID, parameters }, OCTET STRING }`, whatever the hash.
/// Non-minimal (BER) lengths count as well, and so does anything after it: some verifiers take them.
pub fn looks_like_digest_info(text: &[u8]) -> bool {
    let Some((0x30, outer, _)) = element(text) else { return false };
    let Some((0x30, algorithm, after)) = element(outer) else { return false };
    matches!((element(algorithm), element(after)), (Some((0x06, _, _)), Some((0x04, _, _))))
}

/// The first BER element of `bytes`: its tag, its contents, what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if first & 0x80 == 0 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let digits = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
        (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest.get(count..)?)
    };
    Some((*tag, rest.get(..length)?, rest.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: [u8; 15] = [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];
    const SHA256: [u8; 19] = [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

    #[test]
    fn sees_digest_infos() {
        assert!(looks_like_digest_info(&[SHA1.as_slice(), &[7; 20]].concat()));
        assert!(looks_like_digest_info(&[SHA256.as_slice(), &[7; 32]].concat()));
    }

    #[test]
    fn sees_them_with_long_lengths() {
        let mut long = vec![0x30, 0x81, 0x21];
        long.extend_from_slice(&SHA1[2..]);
        long.extend_from_slice(&[7; 20]);
        assert!(looks_like_digest_info(&long));
    }

    #[test]
    fn sees_them_before_garbage() {
        assert!(looks_like_digest_info(&[SHA1.as_slice(), &[7; 20], b"and more"].concat()));
    }

    #[test]
    fn lets_text_through() {
        for text in ["", "0", "00", "0! ordinary text", "{\"a\":1}"] {
            assert!(!looks_like_digest_info(text.as_bytes()), "{text}");
        }
        assert!(!looks_like_digest_info(&SHA1));
    }
}
