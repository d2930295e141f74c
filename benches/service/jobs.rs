//! What is asked of the service.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Problem;
use crate::installation::Service;

/// Bytes of the text that is encrypted.
pub(crate) const PLAINTEXT_BYTES: usize = 1_024;
/// What is signed.
pub(crate) const SIGNED_TEXT: &str = "order 4711: 12 pieces, to be delivered on Monday";

/// The kinds of work that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Encrypt,
    Decrypt,
    Sign,
    Verify,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Encrypt, Self::Decrypt, Self::Sign, Self::Verify];

    /// Its name on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
            Self::Verify => "verify",
        }
    }

    /// For people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Encrypt => "AES-256-GCM encrypt 1 KiB",
            Self::Decrypt => "AES-256-GCM decrypt 1 KiB",
            Self::Sign => "RSA-2048 sign",
            Self::Verify => "RSA-2048 verify",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A request that is sent again and again, and a sample of its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(crate) path: String,
    pub(crate) request: String,
    pub(crate) answer: String,
}

impl Job {
    /// A field of the answer's body.
    fn answered(&self, field: &str) -> Result<Value, Problem> {
        let answer: Value = serde_json::from_str(&self.answer)?;
        answer.pointer(&format!("/body/{field}")).cloned().ok_or_else(|| format!("{} answers no {field}", self.kind.as_str()).into())
    }
}

/// The path of an operation with a key.
pub(crate) fn path(service: &Service<'_>, kind: Kind, key: &str) -> Result<String, Problem> {
    let family = if matches!(kind, Kind::Encrypt | Kind::Decrypt) { "symmetric-keys" } else { "asymmetric-keys" };
    Ok(format!("/keymanager/v1.0/appkey/{}/{family}/{key}/{}", service.installation.demo("APPKEY")?, kind.as_str()))
}

/// The text that is encrypted.
pub(crate) fn plaintext() -> String {
    "0123456789abcdef".repeat(PLAINTEXT_BYTES / 16)
}

/// All four jobs, each done once and its answer checked.
pub(crate) fn prepare(service: &Service<'_>) -> Result<Vec<Job>, Problem> {
    let job = |kind: Kind, key: &str, request: &Value| -> Result<Job, Problem> {
        let (path, request) = (path(service, kind, key)?, request.to_string());
        let answer = service.post(&path, &request)?;
        Ok(Job { kind, path, request, answer })
    };
    let (symmetric, asymmetric) = (service.installation.demo("SYMMETRIC_ID")?, service.installation.demo("ASYMMETRIC_ID")?);
    let encrypt = job(Kind::Encrypt, symmetric, &json!({ "plaintext": plaintext() }))?;
    let decrypt = job(Kind::Decrypt, symmetric, &json!({ "ciphertext": encrypt.answered("ciphertext")? }))?;
    let sign = job(Kind::Sign, asymmetric, &json!({ "plaintext": SIGNED_TEXT }))?;
    let verify = job(Kind::Verify, asymmetric, &json!({ "plaintext": SIGNED_TEXT, "signature": sign.answered("signature")? }))?;
    if decrypt.answered("plaintext")? != plaintext() || verify.answered("result")? != true {
        return Err("what was encrypted does not decrypt, or what was signed does not verify".into());
    }
    Ok(vec![encrypt, decrypt, sign, verify])
}
