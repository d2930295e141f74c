//! `[mail]`: the server that notifications go through.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::document::section;
use super::pin::PinSource;
use super::secret_file::{SecretFileError, read_credential, read_secret_file};
use super::setting::{FromText, Hostname, within};
use crate::domain::notification::is_mail_address;
use crate::domain::secret::SecretText;

section! {
    /// `[mail]`
    pub Mail is "mail" {
        /// The mail server; without one no mail is sent.
        server: Option<Hostname> = None;
        /// Its port.
        port: u32 = 587, within(1..=65_535);
        /// How the connection is protected.
        security: MailSecurity = MailSecurity::StartTls;
        /// The address that messages come from.
        sender: Option<MailAddress> = None;
        /// The user name, where the server wants one.
        user: Option<String> = None;
        /// Where its password comes from.
        password: Option<PasswordSource> = None;
        /// The authorities that the server's certificate may come from (PEM), in place of the machine's own list.
        ca: Option<PathBuf> = None;
    }
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// `tls`: from the first byte.
    Tls,
    /// `starttls`: asked for, and required.
    StartTls,
    /// `plain`: not at all, to the machine itself only.
    Plain,
}

impl FromText for MailSecurity {
    const ALLOWED: &'static str = "\"starttls\", \"tls\" or, to this machine itself, \"plain\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "tls" => Some(Self::Tls),
            "starttls" => Some(Self::StartTls),
            "plain" => Some(Self::Plain),
            _ => None,
        }
    }
}

/// A mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailAddress(String);

impl MailAddress {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for MailAddress {
    const ALLOWED: &'static str = "a mail address, such as \"skm@example.com\"";

    fn from_text(text: &str) -> Option<Self> {
        is_mail_address(text).then(|| Self(text.to_owned()))
    }
}

/// Where the mail server's password comes from; never the password itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordSource(PinSource);

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file or credential can't be used.
    #[error("[mail] password: {0}")]
    File(#[from] SecretFileError),
    /// The variable is not set, empty or not UTF-8.
    #[error("[mail] password: the environment variable {0} is not set, empty or not UTF-8")]
    Variable(String),
    /// It is not a text.
    #[error("[mail] password: is not UTF-8")]
    NotText,
}

impl PasswordSource {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            PinSource::File(path) => Some(path),
            PinSource::Credential(_) | PinSource::Variable(_) | PinSource::Prompt => None,
        }
    }

    /// Fetches the password. A newline at its end is cut off.
    pub fn read(&self) -> Result<SecretText, PasswordError> {
        let bytes = match &self.0 {
            PinSource::File(path) => read_secret_file(path)?,
            PinSource::Credential(name) => read_credential(name)?,
            PinSource::Variable(name) => match std::env::var(name) {
                Ok(password) if !password.is_empty() => return Ok(SecretText::new(password)),
                _ => return Err(PasswordError::Variable(name.clone())),
            },
            PinSource::Prompt => return Err(PasswordError::NotText),
        };
        bytes.into_text().map_err(|_| PasswordError::NotText)
    }
}

impl FromText for PasswordSource {
    const ALLOWED: &'static str = "the source of the password, never the password itself: \"file:PATH\", \"credential:NAME\" (systemd) or \"env:VARIABLE\"";

    fn from_text(text: &str) -> Option<Self> {
        PinSource::from_text(text).filter(|source| *source != PinSource::Prompt).map(Self)
    }
}

impl Mail {
    pub(super) fn resolve(&mut self, directory: &Path) {
        if let Some(file) = &mut self.ca {
            *file = directory.join(&*file);
        }
        if let Some(PasswordSource(PinSource::File(file))) = &mut self.password {
            *file = directory.join(&*file);
        }
    }

    /// What no key alone can tell, by key.
    pub(super) fn contradictions(&self) -> Vec<(&'static str, &'static str)> {
        let is_local = |server: &Hostname| server.as_str() == "localhost" || server.as_str().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let is_plain = self.security == MailSecurity::Plain;
        [
            (self.server.is_some() && self.sender.is_none(), ("sender", "must be set together with server")),
            (self.user.is_some() != self.password.is_some(), ("password", "must be set together with user, or neither")),
            (
                is_plain && !self.server.as_ref().is_none_or(is_local),
                ("security", "\"plain\" is for a server on this machine alone: localhost, 127.0.0.1 or ::1"),
            ),
        ]
        .into_iter()
        .filter_map(|(is_so, wrong)| is_so.then_some(wrong))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_taken_for_its_source() {
        assert!(PasswordSource::from_text("file:/run/mail").is_some_and(|source| source.file() == Some(Path::new("/run/mail"))));
        assert!(PasswordSource::from_text("credential:mail").is_some());
        for wrong in ["prompt", "hunter2", ""] {
            assert_eq!(PasswordSource::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn plain_mail_stays_on_the_machine() {
        let mail = |server: &str, security| Mail {
            server: Hostname::from_text(server),
            sender: MailAddress::from_text("skm@example.com"),
            security,
            ..Mail::default()
        };
        assert_eq!(mail("localhost", MailSecurity::Plain).contradictions(), []);
        assert_eq!(mail("127.0.0.1", MailSecurity::Plain).contradictions(), []);
        assert_eq!(mail("mail.example.com", MailSecurity::StartTls).contradictions(), []);
        assert_eq!(mail("mail.example.com", MailSecurity::Plain).contradictions().len(), 1);
        assert_eq!(mail("127.0.0.1.example.com", MailSecurity::Plain).contradictions().len(), 1);
        assert_eq!(Mail { sender: None, user: Some("u".to_owned()), ..mail("localhost", MailSecurity::Tls) }.contradictions().len(), 2);
        assert_eq!(Mail::default().contradictions(), []);
    }
}
