//! What the service answers, in the envelope of the wire contract.

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::cli::exit::{Exit, Failure};
use crate::domain::secret::SecretText;

/// An answer that says it succeeded.
#[derive(Debug)]
pub(super) struct Reply(Zeroizing<Vec<u8>>);

#[derive(Deserialize)]
struct Envelope<'a> {
    header: Header,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    result_code: i64,
    result_message: String,
    is_successful: bool,
}

impl Reply {
    /// Reads an answer with its HTTP status and its `X-Request-Id`; a refusal becomes a failure in the service's own words.
    pub(super) fn parse(status: u16, request_id: Option<&str>, bytes: Zeroizing<Vec<u8>>) -> Result<Self, Failure> {
        let request = request_id.map(|id| format!(", request {id}")).unwrap_or_default();
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&bytes) else {
            return Err(Failure::new(exit_of(status, ""), format!("the answer is not of the key manager API: HTTP {status}{request}")));
        };
        let Header { result_code, result_message, is_successful } = envelope.header;
        if is_successful {
            return Ok(Self(bytes));
        }
        let message = result_message.escape_debug();
        let line = format!("the service refuses: {message} (code {result_code}, HTTP {status}{request})");
        Err(Failure::new(exit_of(status, &result_message), line))
    }

    /// The body of the answer, as JSON.
    pub(super) fn body_json(&self) -> Result<&str, Failure> {
        let envelope: Envelope<'_> = serde_json::from_slice(&self.0).map_err(|_| incomplete())?;
        Ok(envelope.body.map_or("null", RawValue::get))
    }

    /// The body of the answer. Unknown members don't matter.
    pub(super) fn body<'a, B: Deserialize<'a>>(&'a self) -> Result<B, Failure> {
        serde_json::from_str(self.body_json()?).map_err(|_| incomplete())
    }
}

fn incomplete() -> Failure {
    Failure::new(Exit::Failed, "the answer lacks what the key manager API promises")
}

/// By status, and by message where a setting of the service makes every status 200.
fn exit_of(status: u16, message: &str) -> Exit {
    let message = message.to_ascii_lowercase();
    if matches!(status, 401 | 403) || message == "unauthorized" || message == "forbidden" || message.ends_with("auth failure") {
        Exit::Refused
    } else if matches!(status, 429 | 502..=504) || message == "service unavailable" || message == "too many requests" {
        Exit::Unavailable
    } else {
        Exit::Failed
    }
}

/// `confirm`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Confirmed {
    pub(super) client_ip: String,
    pub(super) client_mac_header: Option<String>,
    pub(super) client_sent_certificate: bool,
}

/// `secrets`
#[derive(Deserialize)]
pub(super) struct Secret {
    pub(super) secret: SecretText,
}

/// `encrypt`
#[derive(Deserialize)]
pub(super) struct Encrypted {
    pub(super) ciphertext: String,
}

/// `decrypt`
#[derive(Deserialize)]
pub(super) struct Plain {
    pub(super) plaintext: SecretText,
}

/// `sign`, `sign-standard`
#[derive(Deserialize)]
pub(super) struct Signed {
    pub(super) signature: String,
}

/// `verify`, `verify-standard`
#[derive(Deserialize)]
pub(super) struct Verified {
    pub(super) result: bool,
}

/// `create-local-key`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LocalKey {
    pub(super) local_key_plaintext: SecretText,
    pub(super) local_key_ciphertext: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(status: u16, text: &str) -> Result<Reply, Failure> {
        Reply::parse(status, Some("r-1"), Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_success_has_its_body() {
        let reply = parse(200, r#"{"header":{"resultCode":0,"resultMessage":"success","isSuccessful":true},"body":{"secret":"s\n","more":1}}"#).unwrap();
        assert_eq!(reply.body::<Secret>().unwrap().secret.expose(), "s\n");
        assert_eq!(reply.body_json().unwrap(), r#"{"secret":"s\n","more":1}"#);
        assert!(reply.body::<Signed>().is_err());
    }

    #[test]
    fn refusals_speak_for_themselves() {
        let refused = |message: &str| format!(r#"{{"header":{{"resultCode":7,"resultMessage":"{message}","isSuccessful":false}},"body":null}}"#);
        let failure = parse(404, &refused("Invalid Key ID")).unwrap_err();
        assert_eq!(failure.lines(), ["the service refuses: Invalid Key ID (code 7, HTTP 404, request r-1)"]);
        for (status, message, exit) in [
            (404, "Invalid Key ID", Exit::Failed),
            (403, "Forbidden", Exit::Refused),
            (200, "ipv4 auth failure", Exit::Refused),
            (503, "Service Unavailable", Exit::Unavailable),
            (200, "Too Many Requests", Exit::Unavailable),
        ] {
            assert_eq!(parse(status, &refused(message)).unwrap_err().exit(), exit, "{message}");
        }
    }

    #[test]
    fn what_is_no_envelope_is_not_repeated() {
        let failure = parse(502, "<html>hunter2").unwrap_err();
        assert_eq!(failure.lines(), ["the answer is not of the key manager API: HTTP 502, request r-1"]);
        assert_eq!(failure.exit(), Exit::Unavailable);
    }
}
