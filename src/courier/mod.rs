//! Mail and webhooks: what brings messages to people and their machines. The only room that knows `lettre`.
//!
//! [`Courier`] is the door: one attempt, bounded in time, whose failure is a text for people. When, how often and to whom is the service's matter.

mod letter;
mod mail;
mod reach;
mod trust;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::notification::Target;
use crate::domain::secret::{SecretBytes, SecretText};

/// How long a connection, its handshake included, may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long one call of a webhook may take, all in all.
const CALL_WITHIN: Duration = Duration::from_secs(15);
/// How long handing one mail to the server may take, all in all: servers keep strangers waiting before they greet them.
const MAIL_WITHIN: Duration = Duration::from_secs(30);
/// The most characters of what is told of a failure.
const PROBLEM_MAX_CHARS: usize = 300;

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte (RFC 8314, 3.3).
    Tls,
    /// `STARTTLS` (RFC 3207), or nothing is sent.
    StartTls,
    /// None: to the machine itself only.
    Plain,
}

/// How mail is sent.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// The server's name or address.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: MailSecurity,
    /// The address that messages come from.
    pub sender: String,
    /// User name and password, where the server wants them.
    pub credentials: Option<(String, SecretText)>,
    /// The authorities (PEM) that the server's certificate may come from; the machine's own list otherwise.
    pub ca: Option<PathBuf>,
}

/// How webhooks are called.
#[derive(Debug, Clone, Default)]
pub struct WebhookSettings {
    /// The authorities (PEM) that receivers' certificates may come from, beside the machine's own list.
    pub ca: Option<PathBuf>,
    /// Addresses that are called although they are the machine's own, of its link, or otherwise nobody's receiver. To those of the machine
    /// itself plain HTTP is allowed, too.
    pub allowed_networks: Vec<IpNet>,
}

/// Why there is no courier.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{section} ca: {problem}")]
pub struct TrustError {
    section: &'static str,
    problem: String,
}

/// What is sent, in the words of each way.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The message's name, the same at each attempt.
    pub id: MessageId,
    /// When it happened.
    pub happened: Timestamp,
    /// A mail's subject, one line.
    pub subject: String,
    /// A mail's text.
    pub text: String,
    /// A webhook's body, JSON.
    pub json: String,
}

/// Why an attempt failed, for people: one line, without anything secret, at most 300 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undelivered(String);

impl Undelivered {
    fn new(problem: impl AsRef<str>) -> Self {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        Self(problem.as_ref().chars().map(clean).take(PROBLEM_MAX_CHARS).collect())
    }
}

/// Brings messages. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Courier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    mail: Option<mail::Mail>,
    webhook: webhook::Webhook,
}

impl Courier {
    /// Reads the authorities that are named. Blocking. Without mail settings mail can't be sent.
    pub fn new(mail: Option<MailSettings>, webhooks: WebhookSettings) -> Result<Self, TrustError> {
        let mail = mail.map(mail::Mail::new).transpose().map_err(|problem| TrustError { section: "[mail]", problem })?;
        let webhook = webhook::Webhook::new(webhooks).map_err(|problem| TrustError { section: "[webhooks]", problem })?;
        Ok(Self(Arc::new(Inner { mail, webhook })))
    }

    /// Whether mail can be sent.
    pub fn has_mail(&self) -> bool {
        self.0.mail.is_some()
    }

    /// Whether that could ever be reached, as far as can be told without asking anybody; if not, why.
    pub fn admits(&self, target: &Target) -> Result<(), Undelivered> {
        match target {
            Target::Mail(_) if !self.has_mail() => Err(Undelivered::new(NO_MAIL)),
            Target::Mail(_) => Ok(()),
            Target::Webhook(url) => self.0.webhook.admits(url),
        }
    }

    /// One attempt at `now`, within 30 s (mail) or 15 s (webhooks). A webhook is signed with `secret`.
    pub async fn deliver(&self, target: &Target, secret: Option<&SecretBytes>, parcel: &Parcel, now: Timestamp) -> Result<(), Undelivered> {
        let attempt = async {
            match (target, &self.0.mail, secret) {
                (Target::Mail(_), None, _) => Err(Undelivered::new(NO_MAIL)),
                (Target::Mail(address), Some(mail), _) => mail.send(address, parcel, now).await,
                (Target::Webhook(_), _, None) => Err(Undelivered::new("the webhook has no secret")),
                (Target::Webhook(url), _, Some(secret)) => self.0.webhook.call(url, secret, parcel, now).await,
            }
        };
        let within = if matches!(target, Target::Mail(_)) { MAIL_WITHIN } else { CALL_WITHIN };
        tokio::time::timeout(within, attempt).await.unwrap_or_else(|_| Err(Undelivered::new("it took too long")))
    }
}

const NO_MAIL: &str = "mail is not set up: [mail] server is missing in the configuration";
