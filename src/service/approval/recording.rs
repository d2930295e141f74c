//! What the audit log keeps of drafts and requests. It alone tells for every change who asked, who approved, exactly what, and when it was applied:
//! the record that somebody asks is followed, in its transaction, by the whole content of the request, in parts; the records of a decision, of
//! each change and of the end name the request, who asked, who decided and the digest of that content.

use crate::domain::approval::{ChangeItem, ChangeRequest, Content, Decision, RECORD_MAX_CHARS, RequestRecord, TOLD_MAX_CHARS, part_detail, told};
use crate::domain::audit::{AuditEvent, Operation, Uses};
use crate::domain::ids::RequestId;
use crate::domain::text::quoted;
use crate::store::{StoreError, Tx};

/// A record with these details.
pub(super) fn with_detail(event: AuditEvent, detail: &str) -> AuditEvent {
    AuditEvent { detail: Some(detail.chars().take(RECORD_MAX_CHARS).collect()), ..event }
}

/// What a record says of a request: who asked, who approved it if somebody did, and the digest of what.
pub(super) fn of(request: &ChangeRequest) -> RequestRecord {
    RequestRecord {
        request: request.id,
        requester: request.requester_login.clone(),
        decision: request.decider.as_ref().map(|(_, login)| Decision::Approved(login.clone())),
        digest: request.digest,
        change: None,
        changes: None,
        parts: None,
    }
}

/// The record that a change was put into a draft, or taken out of it.
pub(super) fn edited(event: AuditEvent, draft: &ChangeRequest, item: &ChangeItem, is_withdrawn: bool) -> AuditEvent {
    let of = RequestRecord { change: Some(item.position), ..of(draft) };
    let what = if is_withdrawn { "withdrawn: " } else { "" };
    with_detail(event, &of.with(format!("{what}{}", item.told(TOLD_MAX_CHARS))))
}

/// A record of the service's own under the request's name, as those of its changes are, with what it is about.
pub(super) fn of_request(tx: &mut Tx<'_>, event: AuditEvent, request: &ChangeRequest) -> Result<AuditEvent, StoreError> {
    let key_store = request.key_store.map(|key_store| tx.key_store_label(key_store)).transpose()?.flatten().map(|(number, _)| number);
    Ok(AuditEvent { request: RequestId::from_bytes(*request.id.as_bytes()), project: Some(request.project), key_store, ..event })
}

/// The record that somebody asks, followed by all that he asks for.
pub(super) fn asked(tx: &mut Tx<'_>, (event, uses): (AuditEvent, Uses), request: &ChangeRequest, content: &Content) -> Result<(), StoreError> {
    let parts = content.parts();
    let of_parts = parts.len();
    let of = RequestRecord { changes: Some(content.changes()), parts: Some((1, of_parts)), ..of(request) };
    tx.audit(with_detail(event.clone(), &of.with(quoted(&request.note))), uses)?;
    for (number, part) in (1..).zip(parts) {
        let detail = part_detail(request.id, number, of_parts, part);
        let part = AuditEvent { operation: Operation::DescribeRequest, key: None, version: None, ..event.clone() };
        tx.audit(with_detail(part, &detail), Uses::default())?;
    }
    Ok(())
}

/// The record of a decision, or of the end of a request, with the reason if one was given.
pub(super) fn decided(event: AuditEvent, request: &ChangeRequest, decision: Option<Decision>, reason: Option<&str>) -> AuditEvent {
    let own = of(request);
    let of = RequestRecord { decision: decision.or_else(|| own.decision.clone()), ..own };
    let detail = reason.map_or_else(|| of.to_string(), |reason| of.with(quoted(reason)));
    with_detail(event, &detail)
}

/// The record that all of a request is done.
pub(super) fn applied(event: AuditEvent, request: &ChangeRequest, changes: usize) -> AuditEvent {
    with_detail(event, &RequestRecord { changes: Some(changes), ..of(request) }.to_string())
}

/// The record of one change that was applied: what it says, as far as that fits, and which parts of the request's content have all of it.
pub(super) fn change(event: AuditEvent, request: &ChangeRequest, content: &Content, item: &ChangeItem) -> AuditEvent {
    let of = RequestRecord { change: Some(item.position), parts: content.parts_of(item.position), ..of(request) };
    let told = told(&item.change, TOLD_MAX_CHARS);
    with_detail(event, &if told.is_empty() { of.to_string() } else { of.with(told) })
}
