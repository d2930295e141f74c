//! Names and descriptions, and the one shape of "this field is wrong".

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// A field that can't be taken, and what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Invalid {
    /// The field's name on the wire.
    pub field: &'static str,
    /// What is wrong with it, naming the limit; never the value.
    pub problem: String,
}

impl Invalid {
    /// `field` is wrong because of `problem`.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// The most characters in a name.
pub const NAME_MAX_CHARS: usize = 100;
/// The most characters in a description.
pub const DESCRIPTION_MAX_CHARS: usize = 1_000;

/// A name of 1 to 100 characters, in Unicode normalization form C, compared case-sensitively.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Name(String);

impl Name {
    /// A name from what somebody typed: white space at the ends is cut off, the rest brought to NFC.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let name: String = bounded_nfc(field, text.trim(), NAME_MAX_CHARS)?;
        if name.is_empty() {
            return Err(Invalid::new(field, "must have 1 to 100 characters"));
        }
        if name.chars().any(is_misleading) {
            return Err(Invalid::new(field, "must not contain control characters"));
        }
        Ok(Self(name))
    }

    /// A name that the database kept.
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A part of a name, 1 to 100 characters in NFC: what names are searched for. White space at the ends counts, as it does inside a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamePart(String);

impl NamePart {
    /// A part of a name from what somebody typed.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let part = bounded_nfc(field, text, NAME_MAX_CHARS)?;
        if part.is_empty() {
            return Err(Invalid::new(field, "must have 1 to 100 characters"));
        }
        if part.chars().any(char::is_control) {
            return Err(Invalid::new(field, "must not contain control characters"));
        }
        Ok(Self(part))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A description of 0 to 1,000 characters, in NFC; line breaks and tabs are welcome, other control characters aren't.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Description(String);

impl Description {
    /// A description from what somebody typed.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let description = bounded_nfc(field, text, DESCRIPTION_MAX_CHARS)?;
        if description.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(Invalid::new(field, "must not contain control characters"));
        }
        Ok(Self(description))
    }

    /// A description that the database kept.
    pub fn from_stored(description: String) -> Self {
        Self(description)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character of a name would make people read another: control characters, line and paragraph separators, and those that embed,
/// override or isolate a direction of writing (UAX 9, 2.1 to 2.5). What merely marks a direction is welcome.
pub(crate) fn is_misleading(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character isn't seen, or turns the direction of writing (UAX 9): where a text must not pass for another one, its number stands for it.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text as a JSON string of visible characters: whatever it holds, it ends at its closing quote, and looks like nothing else.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if is_unseen(c) => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| quoted.push_str(&format!("\\u{unit:04x}"))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn bounded_nfc(field: &'static str, text: &str, max_chars: usize) -> Result<String, Invalid> {
    let too_long = || Invalid::new(field, format!("must have at most {max_chars} characters"));
    // A composed character has at most a few parts: what is far longer can't come within the limit.
    const MAX_PARTS: usize = 8;
    if text.chars().nth(max_chars * MAX_PARTS).is_some() {
        return Err(too_long());
    }
    let normalized: String = text.nfc().collect();
    if normalized.chars().count() > max_chars { Err(too_long()) } else { Ok(normalized) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_in_characters_after_normalization() {
        let limit = "é".repeat(NAME_MAX_CHARS);
        assert!(Name::parse("name", &limit).is_ok());
        assert!(Name::parse("name", &"e\u{301}".repeat(NAME_MAX_CHARS)).is_ok());
        assert!(Name::parse("name", &"é".repeat(NAME_MAX_CHARS + 1)).is_err());
        assert_eq!(Name::parse("name", "e\u{301}"), Name::parse("name", "é"));
    }

    #[test]
    fn empty_blank_and_control_characters_are_refused() {
        for wrong in ["", "  ", "a\0b", "a\nb", "a\u{2028}b", "a\u{202e}b", "a\u{2066}b\u{2069}"] {
            assert!(Name::parse("name", wrong).is_err(), "{wrong:?}");
        }
        assert!(Name::parse("name", "a\u{200f}b").is_ok());
        assert!(Description::parse("description", "a\nb\tc").is_ok());
        assert!(Description::parse("description", "a\0b").is_err());
    }

    #[test]
    fn what_is_quoted_ends_at_its_quote_and_has_nothing_unseen() {
        assert_eq!(quoted("a\"b\\\n\r\t열쇠"), "\"a\\\"b\\\\\\n\\r\\t열쇠\"");
        assert_eq!(quoted("\u{0}\u{7f}\u{200b}\u{202e}\u{e0041}"), r#""\u0000\u007f\u200b\u202e\udb40\udc41""#);
    }
}
