//! What is told of requests, each in the transaction that brings it about: that somebody asks, and what became of it.

use super::requests::listed;
use crate::domain::approval::{ChangeRequest, RequestEvent, RequestState};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::key::Stamp;
use crate::domain::notification::NotificationEvent;
use crate::domain::text::Name;
use crate::service::Refusal;
use crate::store::{Reader, StoreError, Tx};

/// The name of the key store that a request is about, as it is to be.
fn key_store(reader: &mut Reader<'_>, request: &ChangeRequest) -> Result<Option<Name>, Refusal> {
    Ok(listed(reader, request.clone())?.key_store.map(|(_, name)| Name::from_stored(name)))
}

/// Tells those who may decide that somebody asks.
pub(super) fn requested(tx: &mut Tx<'_>, request: &ChangeRequest, by: &str, at: Timestamp) -> Result<(), Refusal> {
    let event = NotificationEvent::ApprovalRequested { request: request.id.to_string(), key_store: key_store(tx, request)?, by: by.to_owned() };
    Ok(tx.notify(Some(request.project), &event, at)?)
}

/// What became of a request, in the word of the console; none of what is no end.
const fn outcome(event: RequestEvent) -> Option<&'static str> {
    match event {
        RequestEvent::Applied => Some("Approved"),
        RequestEvent::Denied => Some("Denied"),
        RequestEvent::Withdrawn => Some("Withdrawn"),
        RequestEvent::Expired => Some("Expired"),
        RequestEvent::Failed => Some("Failed"),
        RequestEvent::Requested | RequestEvent::Approved => None,
    }
}

/// Whose decision the end of a request was, or is.
pub(super) enum By<'a> {
    /// Somebody who denies it.
    Decider(AccountId, &'a str),
    /// Somebody else, or whoever had approved it before.
    Another(&'a str),
}

/// Ends a request, and tells of it. Of a draft nobody has heard.
pub(super) fn end(tx: &mut Tx<'_>, request: &ChangeRequest, event: RequestEvent, by: By<'_>, reason: Option<&str>, at: Timestamp) -> Result<(), Refusal> {
    let (decider, by) = match by {
        By::Decider(account, login) => (Some((account, login)), login),
        By::Another(login) => (None, login),
    };
    if let Some(outcome) = outcome(event).filter(|_| request.state != RequestState::Draft) {
        let told = NotificationEvent::ApprovalDecided {
            request: request.id.to_string(),
            key_store: key_store(tx, request)?,
            outcome,
            by: by.to_owned(),
            requested_by: request.requester_login.clone(),
        };
        tx.notify(Some(request.project), &told, at)?;
    }
    Ok(tx.end_request(request, event, decider, reason, at)?)
}

/// Tells everybody that approval was turned off alone.
pub(super) fn disabled(tx: &mut Tx<'_>, project: ProjectId, stamp: &Stamp) -> Result<(), StoreError> {
    tx.notify(Some(project), &NotificationEvent::ApprovalDisabled { by: stamp.user.clone() }, stamp.at)
}
