//! Recipients: made, changed, tested, taken away.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::super::Service;
use super::super::provisioning::random_id;
use super::super::refusal::{RETRY_AFTER, Refusal};
use super::super::request::Named;
use super::words;
use super::{NotificationArea, Prepared};
use crate::domain::audit::{KeyUse, Operation, Uses};
use crate::domain::ids::{MessageId, ProjectId, RecipientId};
use crate::domain::notification::{EventKind, RECIPIENTS_MAX, Recipient, Target};
use crate::domain::result_code::ResultCode;
use crate::domain::secret::{SecretBytes, SecretText};
use crate::domain::text::Invalid;
use crate::store::{NewRecipient, Reader, StoreError, TOO_MANY_RECIPIENTS};

/// Random bytes of a webhook's secret (the specification wants 24 to 64).
const SECRET_BYTES: usize = 32;
/// What stands before a secret for people and their libraries.
const SECRET_PREFIX: &str = "whsec_";

/// Who is to be told of what.
#[derive(Debug, Clone)]
pub struct NewTarget {
    /// Where messages go.
    pub target: Target,
    /// Of what.
    pub events: Vec<EventKind>,
}

/// A recipient that was made.
#[derive(Debug, Clone)]
pub struct AddedRecipient {
    /// Where messages go.
    pub target: Target,
    /// A webhook's secret as receivers' libraries take it, shown only now.
    pub secret: Option<SecretText>,
}

/// What became of a test message.
#[derive(Debug, Clone)]
pub struct TestResult {
    /// To whom.
    pub recipient: Recipient,
    /// Why it could not be sent; none where it was.
    pub problem: Option<String>,
}

/// What a webhook's secret is bound to. There is one recipient of that target in a project, and it never changes.
fn context(project: Option<ProjectId>, target: &Target) -> Vec<u8> {
    let place = project.map_or_else(|| "installation".to_owned(), |project| format!("project {project}"));
    format!("webhook of {place}: {}", target.as_str()).into_bytes()
}

/// The recipient of that area that a path names.
pub(super) fn named(reader: &mut Reader<'_>, project: Option<ProjectId>, id: RecipientId) -> Result<Recipient, Refusal> {
    Ok(reader.recipient(project, id)?.ok_or(ResultCode::UrlNotFound)?)
}

fn check_events(events: &[EventKind], project: Option<ProjectId>) -> Result<(), Refusal> {
    if events.is_empty() {
        return Err(Invalid::new("events", "must have one or more").into());
    }
    let fits = events.iter().all(|kind| kind.is_for(project.is_some()));
    if fits { Ok(()) } else { Err(Invalid::new("events", "has one that is not told here").into()) }
}

fn words_of(events: &[EventKind]) -> String {
    events.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

impl NotificationArea {
    /// The project it is about, none for the installation.
    fn project(&self) -> Result<Option<ProjectId>, Refusal> {
        match self {
            Self::Project(request) => match request.project {
                Named::Project(project) => Ok(Some(project)),
                // There is no such route. Whoever makes one finds the project first: none would be the installation.
                Named::Appkey(_) => Err(ResultCode::UrlNotFound.into()),
            },
            Self::Installation(_) => Ok(None),
        }
    }
}

impl Service {
    /// Whether mail can be sent.
    pub fn sends_mail(&self) -> bool {
        self.courier().has_mail()
    }

    /// The recipients of an area, oldest first.
    pub async fn recipients(&self, area: NotificationArea) -> Result<Vec<Recipient>, Refusal> {
        self.read_in(area, |reader, project| Ok(reader.recipients(project)?)).await
    }

    /// One of them.
    pub async fn recipient(&self, area: NotificationArea, id: RecipientId) -> Result<Recipient, Refusal> {
        self.read_in(area, move |reader, project| named(reader, project, id)).await
    }

    /// Makes a recipient. A webhook gets a secret, which is answered now and kept sealed.
    pub async fn add_recipient(&self, area: NotificationArea, input: Result<NewTarget, Refusal>) -> Result<AddedRecipient, Refusal> {
        let (service, project) = (self.clone(), area.project()?);
        let prepare = Box::pin(async move {
            let NewTarget { target, events } = input?;
            check_events(&events, project)?;
            service.courier().admits(&target).map_err(|problem| Invalid::new("target", format!("can't be used: {problem}")))?;
            let (secret, sealed_secret, uses) = service.new_secret(project, &target).await?;
            let told = format!("{}: {}", target.as_told(), words_of(&events));
            Ok(Prepared { value: (NewRecipient { project, target, events, sealed_secret }, secret), told, uses })
        });
        self.change_in(area, Operation::CreateRecipient, prepare, |tx, _, (new, secret), stamp| {
            tx.insert_recipient(&new, stamp).map_err(|error| match error {
                StoreError::Stale { what: TOO_MANY_RECIPIENTS } => {
                    Refusal::from(Invalid::new("target", format!("can't be one more: there are {RECIPIENTS_MAX} already")))
                }
                other => other.into(),
            })?;
            Ok(AddedRecipient { target: new.target, secret })
        })
        .await
    }

    /// A secret for a webhook: as it is shown, and sealed.
    async fn new_secret(&self, project: Option<ProjectId>, target: &Target) -> Result<(Option<SecretText>, Option<Vec<u8>>, Uses), Refusal> {
        if matches!(target, Target::Mail(_)) {
            return Ok((None, None, Uses::default()));
        }
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| Refusal::unavailable("the operating system gives no random numbers"))?;
        let shown = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
        let seal = self.authorities()?.seal.clone();
        let sealed = self.seal(&seal, &context(project, target), SecretBytes::new(bytes.to_vec())).await?;
        let uses = Uses { keys: vec![KeyUse { key: seal.id, version: seal.version, encryptions: 1 }], ..Uses::default() };
        Ok((Some(SecretText::new(format!("{SECRET_PREFIX}{}", shown.as_str()))), Some(sealed), uses))
    }

    /// Opens a webhook's secret.
    pub(super) async fn open_secret(&self, recipient: &Recipient) -> Result<Option<SecretBytes>, Refusal> {
        if matches!(recipient.target, Target::Mail(_)) {
            return Ok(None);
        }
        if let Some(kept) = self.outbox().secret(recipient.id) {
            return Ok(Some(kept));
        }
        let id = recipient.id;
        let Some(sealed) = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.recipient_secret(id)?)).await? else { return Ok(None) };
        let seal = self.authorities()?.seal.clone();
        let secret = self.unseal(&seal, &context(recipient.project, &recipient.target), &sealed).await?;
        self.outbox().keep_secret(id, secret.clone());
        Ok(Some(secret))
    }

    /// Gives a recipient other events.
    pub async fn set_recipient_events(&self, area: NotificationArea, id: RecipientId, events: Vec<EventKind>) -> Result<(), Refusal> {
        let project = area.project()?;
        let prepare = Box::pin(async move {
            check_events(&events, project)?;
            let told = format!("recipient {id}: {}", words_of(&events));
            Ok(Prepared::new(events, told))
        });
        self.change_in(area, Operation::ChangeRecipient, prepare, move |tx, project, events, stamp| {
            named(tx, project, id)?;
            Ok(tx.set_recipient_events(id, &events, stamp)?)
        })
        .await
    }

    /// Enables or disables a recipient.
    pub async fn set_recipient_enabled(&self, area: NotificationArea, id: RecipientId, enabled: bool) -> Result<(), Refusal> {
        let told = format!("recipient {id} {}", if enabled { "enabled" } else { "disabled" });
        let prepare = Box::pin(async move { Ok(Prepared::new((), told)) });
        self.change_in(area, Operation::ChangeRecipient, prepare, move |tx, project, (), stamp| {
            named(tx, project, id)?;
            Ok(tx.set_recipient_enabled(id, enabled, stamp)?)
        })
        .await
    }

    /// Takes a recipient away, with all messages to it.
    pub async fn delete_recipient(&self, area: NotificationArea, id: RecipientId) -> Result<(), Refusal> {
        let found = self.recipient(area.clone(), id).await?;
        let told = format!("recipient {id}, {}", found.target.as_told());
        let prepare = Box::pin(async move { Ok(Prepared::new((), told)) });
        let done = self.change_in(area, Operation::DeleteRecipient, prepare, move |tx, project, (), _| {
            named(tx, project, id)?;
            Ok(tx.delete_recipient(id)?)
        });
        done.await?;
        self.outbox().forget_secret(id);
        Ok(())
    }

    /// Sends a test message to a recipient, now and once. Its record says what became of it.
    pub async fn test_recipient(&self, area: NotificationArea, id: RecipientId) -> Result<TestResult, Refusal> {
        let service = self.clone();
        let found = self.recipient(area.clone(), id).await?;
        let prepare = Box::pin(async move {
            let Ok(_turn) = service.outbox().tests.try_acquire() else { return Err(Refusal::TooMany(RETRY_AFTER)) };
            let parcel = words::test_parcel(MessageId::from_bytes(random_id()?), service.now());
            let secret = service.open_secret(&found).await?;
            let problem = service.courier().deliver(&found.target, secret.as_ref(), &parcel, service.now()).await.err().map(|problem| problem.to_string());
            let told = format!("recipient {id}, {}: {}", found.target.as_told(), problem.as_deref().unwrap_or("sent"));
            Ok(Prepared::new(Arc::new(TestResult { recipient: found, problem }), told))
        });
        let done = self.change_in(area, Operation::TestRecipient, prepare, |_, _, result, _| Ok(result)).await?;
        Ok(Arc::unwrap_or_clone(done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_bound_to_its_place() {
        let target = Target::Webhook("https://h".to_owned());
        assert_ne!(context(None, &target), context(Some(ProjectId(1)), &target));
        assert_ne!(context(Some(ProjectId(1)), &target), context(Some(ProjectId(1)), &Target::Webhook("https://i".to_owned())));
    }

    #[test]
    fn events_are_of_the_area() {
        assert!(check_events(&[], None).is_err());
        assert!(check_events(&[EventKind::Rotated], Some(ProjectId(1))).is_ok());
        assert!(check_events(&[EventKind::Rotated], None).is_err());
        assert!(check_events(&[EventKind::TokenTrouble], Some(ProjectId(1))).is_err());
        assert!(check_events(&[EventKind::ApprovalDisabled, EventKind::TokenTrouble], None).is_ok());
    }
}
