//! Mail by SMTP (RFC 5321), over TLS.

use std::error::Error as _;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::letter::compose;
use super::{MAIL_WITHIN, MailSecurity, MailSettings, Parcel, Undelivered, trust};
use crate::domain::clock::Timestamp;

/// Sends mail through one server.
#[derive(Debug)]
pub(super) struct Mail {
    settings: MailSettings,
    tls: Tls,
}

impl Mail {
    pub(super) fn new(settings: MailSettings) -> Result<Self, String> {
        let mut parameters = TlsParameters::builder(settings.server.clone());
        if let Some(file) = &settings.ca {
            parameters = parameters.certificate_store(CertificateStore::None);
            for authority in trust::authorities(file)? {
                parameters = parameters.add_root_certificate(Certificate::from_der(authority.to_vec()).map_err(|error| error.to_string())?);
            }
        }
        let parameters = || parameters.build_rustls().map_err(|error| error.to_string());
        let tls = match settings.security {
            MailSecurity::Tls => Tls::Wrapper(parameters()?),
            MailSecurity::StartTls => Tls::Required(parameters()?),
            MailSecurity::Plain => Tls::None,
        };
        Ok(Self { settings, tls })
    }

    /// Hands one mail to the server, on a connection of its own.
    pub(super) async fn send(&self, to: &str, parcel: &Parcel, now: Timestamp) -> Result<(), Undelivered> {
        let address = |text: &str| text.parse::<Address>().map_err(|_| Undelivered::new("the mail address can't be used"));
        let envelope = Envelope::new(Some(address(&self.settings.sender)?), vec![address(to)?]).map_err(|error| Undelivered::new(error.to_string()))?;
        let mail = compose(&self.settings.sender, to, parcel, now);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.settings.server.as_str())
            .port(self.settings.port)
            .tls(self.tls.clone())
            .timeout(Some(MAIL_WITHIN));
        if let Some((user, password)) = &self.settings.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        match builder.build::<Tokio1Executor>().send_raw(&envelope, mail.as_bytes()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Undelivered::new(told(&error))),
        }
    }
}

/// What went wrong, with its cause.
fn told(error: &lettre::transport::smtp::Error) -> String {
    match error.source() {
        Some(cause) if !error.to_string().contains(&cause.to_string()) => format!("mail server: {error}: {cause}"),
        Some(_) | None => format!("mail server: {error}"),
    }
}
