//! Keys on their way in, as people and programs write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::secret::{SecretBytes, SecretText};
use super::text::Invalid;

/// Bytes of an AES-256 key.
pub const AES_256_BYTES: usize = 32;
/// The field of a key's value.
pub const KEY_DATA: &str = "keyData";

/// An AES-256 key in Base64 (RFC 4648, 4): exactly 32 bytes.
pub fn from_base64(text: &SecretText) -> Result<SecretBytes, Invalid> {
    /// Of 32 bytes, with padding.
    const TEXT_BYTES: usize = AES_256_BYTES.div_ceil(3) * 4;
    let wrong = || Invalid::new(KEY_DATA, "must be Base64 of exactly 32 bytes");
    if text.expose().len() != TEXT_BYTES {
        return Err(wrong());
    }
    // Room for what the decoder takes, which is a multiple of 3.
    let mut decoded = Zeroizing::new([0_u8; TEXT_BYTES / 4 * 3]);
    let length = STANDARD.decode_slice(text.expose(), decoded.as_mut_slice()).map_err(|_| wrong())?;
    decoded.get(..length).filter(|bytes| bytes.len() == AES_256_BYTES).map(|bytes| SecretBytes::new(bytes.to_vec())).ok_or_else(wrong)
}

/// An AES-256 key as `0x00, 0x1F, …`: 32 bytes of two hex digits, each with its `0x`, separated by commas or white space in any mix.
/// White space around it means nothing. Errors say which byte is wrong (from 1), never what stands there.
pub fn from_hex_bytes(text: &SecretText) -> Result<SecretBytes, Invalid> {
    let wrong = |number: usize| Invalid::new(KEY_DATA, format!("must be 32 bytes like 0x1F, separated by commas or spaces; byte {number} is none"));
    let mut key = Zeroizing::new([0_u8; AES_256_BYTES]);
    let mut pieces = text.expose().trim().split(|c: char| c == ',' || c.is_whitespace()).filter(|piece| !piece.is_empty());
    for (byte, number) in key.iter_mut().zip(1..) {
        let Some(piece) = pieces.next() else {
            return Err(Invalid::new(KEY_DATA, format!("must have exactly 32 bytes, not {}", number - 1)));
        };
        let digits = piece.strip_prefix("0x").or_else(|| piece.strip_prefix("0X")).ok_or_else(|| wrong(number))?;
        hex::decode_to_slice(digits, std::slice::from_mut(byte)).map_err(|_| wrong(number))?;
    }
    if pieces.next().is_some() {
        return Err(Invalid::new(KEY_DATA, "must have exactly 32 bytes, not more"));
    }
    Ok(SecretBytes::new(key.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex_bytes(text: &str) -> Result<SecretBytes, String> {
        from_hex_bytes(&SecretText::new(text.to_owned())).map_err(|error| error.to_string())
    }

    fn base64(text: &str) -> Result<SecretBytes, String> {
        from_base64(&SecretText::new(text.to_owned())).map_err(|error| error.to_string())
    }

    fn bytes(count: usize) -> String {
        vec!["0x5a"; count].join(", ")
    }

    #[test]
    fn errors_name_the_field_and_the_byte_and_show_nothing() {
        for (text, problem) in [
            (String::new(), "keyData must have exactly 32 bytes, not 0"),
            (" ,, \n".to_owned(), "keyData must have exactly 32 bytes, not 0"),
            (bytes(31), "keyData must have exactly 32 bytes, not 31"),
            (bytes(33), "keyData must have exactly 32 bytes, not more"),
            (bytes(32).replacen("0x5a", "5a", 1), "keyData must be 32 bytes like 0x1F, separated by commas or spaces; byte 1 is none"),
            (format!("{}, 0xfoo", bytes(2)), "keyData must be 32 bytes like 0x1F, separated by commas or spaces; byte 3 is none"),
            (format!("{}, 0x5", bytes(31)), "keyData must be 32 bytes like 0x1F, separated by commas or spaces; byte 32 is none"),
            (format!("{};{}", bytes(1), bytes(31)), "keyData must be 32 bytes like 0x1F, separated by commas or spaces; byte 1 is none"),
            ("0x".to_owned(), "keyData must be 32 bytes like 0x1F, separated by commas or spaces; byte 1 is none"),
            ("0x+5".to_owned(), "keyData must be 32 bytes like 0x1F, separated by commas or spaces; byte 1 is none"),
            ("0xé".to_owned(), "keyData must be 32 bytes like 0x1F, separated by commas or spaces; byte 1 is none"),
            ("5a".repeat(32), "keyData must be 32 bytes like 0x1F, separated by commas or spaces; byte 1 is none"),
        ] {
            assert_eq!(hex_bytes(&text), Err(problem.to_owned()), "{text}");
        }
    }

    #[test]
    fn base64_is_of_exactly_32_bytes() {
        let encoded = STANDARD.encode([0xa5; 32]);
        assert_eq!(base64(&encoded), Ok(SecretBytes::new(vec![0xa5; 32])));
        let wrong = [0, 16, 30, 31, 33, 64].map(|count| STANDARD.encode(vec![0xa5; count]));
        let broken = [
            encoded.trim_end_matches('=').to_owned(),
            encoded.replace('p', "_"),
            format!(" {encoded}"),
            encoded.replace('=', "A"),
            encoded.replace("U=", "V="),
        ];
        for text in wrong.iter().chain(&broken) {
            assert_eq!(base64(text), Err("keyData must be Base64 of exactly 32 bytes".to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_key_is_read_however_it_is_separated(
            key in any::<[u8; 32]>(),
            separators in proptest::collection::vec("[ \t\r\n]{0,2}(,|[ \n])[ ,\t]{0,2}", 31),
            around in "[ \t\n]{0,3}",
            upper in any::<bool>(),
        ) {
            let mut text = around.clone();
            for (index, byte) in key.iter().enumerate() {
                text.push_str(&if upper { format!("0X{byte:02X}") } else { format!("0x{byte:02x}") });
                text.push_str(separators.get(index).unwrap_or(&around));
            }
            prop_assert_eq!(hex_bytes(&text), Ok(SecretBytes::new(key.to_vec())));
        }

        #[test]
        fn nothing_but_32_bytes_is_taken(count in 0_usize..100) {
            prop_assert_eq!(hex_bytes(&bytes(count)).is_ok(), count == 32);
        }

        #[test]
        fn no_text_makes_it_panic_or_shows_up_in_an_error(text in "\\PC{0,200}", mark in "[g-z]{6}") {
            let said = hex_bytes(&format!("{text} 0x{mark} {text}")).expect_err("no key");
            prop_assert!(said.starts_with("keyData must") && !said.contains(&mark));
            let base64_refused = base64(&format!("{text}{mark}-")).is_err();
            prop_assert!(base64_refused);
        }

        #[test]
        fn base64_reads_every_key(key in any::<[u8; 32]>()) {
            prop_assert_eq!(base64(&STANDARD.encode(key)), Ok(SecretBytes::new(key.to_vec())));
        }
    }
}
