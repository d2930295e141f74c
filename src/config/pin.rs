//! Where the token's PIN comes from. It is read once, when the token is opened, and never tried twice.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::secret_file::{SecretFileError, read_credential, read_secret_file};
use super::setting::FromText;
use crate::domain::secret::SecretBytes;

/// Where the PIN comes from; never the PIN itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// `file:PATH`: a file that only its owner can read.
    File(PathBuf),
    /// `credential:NAME`: a systemd credential (`LoadCredentialEncrypted=`).
    Credential(String),
    /// `env:VARIABLE`: an environment variable.
    Variable(String),
    /// `prompt`: asked for at the terminal.
    Prompt,
}

/// Why there is no PIN.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file or credential can't be used.
    #[error("the token's PIN: {0}")]
    File(#[from] SecretFileError),
    /// The variable is not set, empty or not UTF-8.
    #[error("the token's PIN: the environment variable {0} is not set, empty or not UTF-8")]
    Variable(String),
    /// Nobody can be asked.
    #[error("the token's PIN: can't ask for it at the terminal: {0}")]
    Prompt(std::io::Error),
    /// Nothing was typed.
    #[error("the token's PIN: nothing was typed")]
    Empty,
}

impl PinSource {
    /// Fetches the PIN. A newline at its end is cut off. May wait for the terminal.
    pub fn read(&self) -> Result<SecretBytes, PinError> {
        match self {
            Self::File(path) => Ok(read_secret_file(path)?),
            Self::Credential(name) => Ok(read_credential(name)?),
            Self::Variable(name) => match std::env::var(name) {
                Ok(pin) if !pin.is_empty() => Ok(SecretBytes::new(pin.into_bytes())),
                _ => Err(PinError::Variable(name.clone())),
            },
            Self::Prompt => {
                let pin = Zeroizing::new(rpassword::prompt_password("PIN of the token: ").map_err(PinError::Prompt)?);
                if pin.is_empty() { Err(PinError::Empty) } else { Ok(SecretBytes::new(pin.as_bytes().to_vec())) }
            }
        }
    }
}

impl FromText for PinSource {
    const ALLOWED: &'static str = "the source of the PIN, never the PIN itself: \"file:PATH\", \"credential:NAME\" (systemd), \"env:VARIABLE\" or \"prompt\"";

    fn from_text(text: &str) -> Option<Self> {
        if text == "prompt" {
            return Some(Self::Prompt);
        }
        let (source, place) = text.split_once(':')?;
        let is_name = |extra: &str| !place.is_empty() && place.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
        match source {
            "file" => PathBuf::from_text(place).map(Self::File),
            "credential" => (is_name("-_.") && !place.starts_with('.')).then(|| Self::Credential(place.to_owned())),
            "env" => is_name("_").then(|| Self::Variable(place.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_from_pins() {
        assert_eq!(PinSource::from_text("prompt"), Some(PinSource::Prompt));
        assert_eq!(PinSource::from_text("file:/run/pin"), Some(PinSource::File(PathBuf::from("/run/pin"))));
        assert_eq!(PinSource::from_text("credential:skm-pin"), Some(PinSource::Credential("skm-pin".to_owned())));
        assert_eq!(PinSource::from_text("env:TOKEN_PIN"), Some(PinSource::Variable("TOKEN_PIN".to_owned())));
        for wrong in ["1234", "crypto_user:1234", "file:", "credential:../x", "credential:", "env:A B", "env:", ""] {
            assert_eq!(PinSource::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = PinSource::Variable("SKM_TEST_NO_SUCH_PIN".to_owned()).read().unwrap_err();
        assert!(error.to_string().contains("SKM_TEST_NO_SUCH_PIN"));
    }
}
