//! What never reaches the log. The types that hold secrets redact themselves; this is the second line: fields by name, and
//! paths, whose appkey alone lets a caller of v1.0 in.

use std::borrow::Cow;

/// What stands in place of a redacted value.
pub const REDACTED: &str = "[redacted]";

/// Words that, as a part of a field's name (`client_secret`, `user.password`), keep its value out of the log.
const SECRET_WORDS: [&str; 14] =
    ["pin", "password", "passphrase", "secret", "plaintext", "authorization", "cookie", "bearer", "credential", "credentials", "appkey", "seed", "otp", "totp"];

/// Whether the value of a field of that name is kept out of the log.
pub fn is_secret(field: &str) -> bool {
    field.split(['_', '.', '-']).any(|word| SECRET_WORDS.iter().any(|secret| word.eq_ignore_ascii_case(secret)))
}

/// The path of a request without its query, and with the part after `/appkey/` replaced.
pub fn path(path: &str) -> Cow<'_, str> {
    const BEFORE: &str = "/appkey/";
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let Some((before, after)) = path.split_once(BEFORE) else { return Cow::Borrowed(path) };
    let rest = after.find('/').and_then(|end| after.get(end..)).unwrap_or_default();
    Cow::Owned(format!("{before}{BEFORE}{REDACTED}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_a_word_of_the_name() {
        for secret in ["pin", "user_pin", "client.secret", "Authorization", "access-key-secret", "appkey", "db_password"] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["pinned", "operation", "token_label", "key_id", "spinning", "message"] {
            assert!(!is_secret(open), "{open}");
        }
    }

    #[test]
    fn paths_lose_their_appkey_and_query() {
        assert_eq!(path("/keymanager/v1.0/appkey/aBc/secrets/1?x=y"), "/keymanager/v1.0/appkey/[redacted]/secrets/1");
        assert_eq!(path("/keymanager/v1.0/appkey/aBc"), "/keymanager/v1.0/appkey/[redacted]");
        assert_eq!(path("/healthz?pin=1"), "/healthz");
    }
}
