//! A mail as it goes over the wire (RFC 5322, RFC 2045, RFC 2047). Whatever people typed is in Base64, so that nothing of it can begin a header, end
//! the text or be taken for a command.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;

use super::Parcel;
use crate::domain::clock::Timestamp;

/// The most bytes of text in an encoded word: with its ends it has at most 75 characters (RFC 2047, 2).
const WORD_MAX_BYTES: usize = 45;
/// The most characters of a line of Base64 (RFC 2045, 6.8).
const LINE_MAX_CHARS: usize = 76;
/// The most characters of a subject.
const SUBJECT_MAX_CHARS: usize = 200;
/// Who it is from, to people.
const SENDER_NAME: &str = "Secure Key Manager";

/// The subject as encoded words, folded.
fn encoded_subject(subject: &str) -> String {
    let mut words = vec![String::new()];
    for letter in subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT_MAX_CHARS) {
        match words.last_mut() {
            Some(word) if word.len() + letter.len_utf8() <= WORD_MAX_BYTES => word.push(letter),
            _ => words.push(letter.to_string()),
        }
    }
    words.iter().map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word))).collect::<Vec<_>>().join("\r\n ")
}

fn encoded_text(text: &str) -> String {
    let encoded = STANDARD.encode(text.replace('\n', "\r\n"));
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / LINE_MAX_CHARS * 2 + 2);
    for (place, letter) in encoded.chars().enumerate() {
        if place > 0 && place % LINE_MAX_CHARS == 0 {
            lines.push_str("\r\n");
        }
        lines.push(letter);
    }
    lines + "\r\n"
}

/// The whole mail. `from` and `to` are addresses that were checked (`domain::notification::is_mail_address`).
pub(super) fn compose(from: &str, to: &str, parcel: &Parcel, now: Timestamp) -> String {
    let date = DateTime::from_timestamp(now.seconds(), 0).unwrap_or_default().to_rfc2822();
    let host = from.rsplit_once('@').map_or("localhost", |(_, host)| host);
    let id = parcel.id;
    let headers = [
        format!("Date: {date}"),
        format!("From: {SENDER_NAME} <{from}>"),
        format!("To: <{to}>"),
        format!("Subject: {}", encoded_subject(&parcel.subject)),
        // The same at each attempt: mail servers and readers see by it that they have it already.
        format!("Message-ID: <{id}@{host}>"),
        // Nobody's absence note answers it (RFC 3834, 5).
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: base64".to_owned(),
    ];
    format!("{}\r\n\r\n{}", headers.join("\r\n"), encoded_text(&parcel.text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::MessageId;

    fn parcel(subject: &str, text: &str) -> Parcel {
        let happened = Timestamp::from_micros(0);
        Parcel { id: MessageId::from_bytes([7; 16]), happened, subject: subject.to_owned(), text: text.to_owned(), json: String::new() }
    }

    #[test]
    fn nothing_that_was_typed_begins_a_header_or_a_line() {
        let hostile = "name\r\nBcc: victim@example.com\r\n\r\nbody\u{2028}\u{0}";
        let mail = compose("skm@example.com", "to@example.com", &parcel(hostile, &format!(".\r\n{hostile}")), Timestamp::from_micros(0));
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with(' ')).map(|line| line.split_once(':').unwrap().0).collect();
        assert_eq!(names, ["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]);
        assert!(body.split("\r\n").all(|line| line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))), "{body}");
        assert!(mail.is_ascii() && mail.lines().all(|line| line.len() <= 78), "{mail}");
        assert!(head.contains("Message-ID: <07070707070707070707070707070707@example.com>"), "{head}");
    }

    #[test]
    fn a_subject_comes_back_whole() {
        let subject = "Schlüssel „äöü“ 키 ".repeat(6);
        let words = encoded_subject(&subject);
        let decoded: Vec<u8> = words
            .split("\r\n ")
            .flat_map(|word| {
                assert!(word.len() <= 75, "{word}");
                STANDARD.decode(word.strip_prefix("=?UTF-8?B?").unwrap().strip_suffix("?=").unwrap()).unwrap()
            })
            .collect();
        assert_eq!(String::from_utf8(decoded).unwrap(), subject);
    }
}
