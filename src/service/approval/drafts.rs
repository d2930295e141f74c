//! A key store's draft: what is taken out of it again, and how it is asked for.

use std::collections::BTreeMap;

use super::propose::{try_all, wait_until};
use super::telling::{self, By};
use super::undo::{undo_all, undo_item};
use super::{held, parse_id, recording};
use crate::domain::approval::{ChangeRequest, Content, ExpiryDays, Note, ProposedChange, RequestEvent, RequestState};
use crate::domain::audit::Operation;
use crate::domain::result_code::ResultCode;
use crate::service::certificates::DownloadedCertificate;
use crate::service::client_rules::p12_context;
use crate::service::request::{Request, Right};
use crate::service::{Refusal, Service};

impl Service {
    /// Takes a change out of a draft; what was made for it is destroyed or revoked. The draft ends with its last change, and with its new key
    /// store.
    pub async fn withdraw_change(&self, request: Request, id: String, position: u32) -> Result<(), Refusal> {
        self.run(request, Operation::EditDraft, Right::Ask, move |service, scope| {
            Box::pin(async move {
                let id = parse_id(&id)?;
                service.names_request(scope, id).await?;
                let asked = service.asked(scope)?;
                let (event, uses) = scope.record_of_success(service);
                let doomed = service.store().change::<_, Refusal, _>(move |tx| {
                    let draft = held(tx, asked.project, id)?;
                    if draft.state != RequestState::Draft {
                        return Err(ResultCode::InvalidApprovalRequestStatus.into());
                    }
                    let items = tx.change_items(id)?;
                    let item = items.iter().find(|item| item.position == position).ok_or(ResultCode::InvalidApprovalRequest)?;
                    tx.audit(recording::edited(event, &draft, item, true), uses)?;
                    asked.note_editors(tx, id)?;
                    let is_last = items.len() == 1 || matches!(item.change, ProposedChange::CreateKeyStore { .. });
                    if is_last {
                        telling::end(tx, &draft, RequestEvent::Withdrawn, By::Another(&asked.login), None, asked.now)?;
                        return undo_all(tx, &draft, &items, &asked.stamp(), asked.lease_until);
                    }
                    let doomed = undo_item(tx, &draft, item, &asked.stamp(), asked.lease_until)?;
                    tx.delete_change_item(id, position)?;
                    tx.edited(id)?;
                    Ok(doomed)
                });
                let doomed = doomed.await?;
                scope.committed();
                service.finish_destruction_soon(doomed).await;
                Ok(())
            })
        })
        .await
    }

    /// The `.p12` that was made for a certificate entry which is only asked for: it admits nobody until that was approved. The audit record is
    /// durable before it is handed out.
    pub async fn download_drafted_certificate(&self, request: Request, id: String, position: u32) -> Result<DownloadedCertificate, Refusal> {
        self.run(request, Operation::DownloadCertificate, Right::Change, move |service, scope| {
            Box::pin(async move {
                let id = parse_id(&id)?;
                service.names_request(scope, id).await?;
                let project = scope.project.id;
                let found = service.store().read::<_, Refusal, _>(move |reader| {
                    let of_project = reader.change_request(id)?.filter(|found| found.project == project && found.state.is_open());
                    of_project.ok_or(ResultCode::InvalidApprovalRequest)?;
                    let item = reader.change_items(id)?.into_iter().find(|item| item.position == position).ok_or(ResultCode::InvalidApprovalRequest)?;
                    Ok((item.change, reader.sealed_part(id, position)?))
                });
                let (ProposedChange::AddCertificate { name, fingerprint, .. }, Some(sealed)) = found.await? else {
                    return Err(ResultCode::InvalidApprovalRequest.into());
                };
                scope.details(format!("request {id}, change {position}: {name}"));
                let seal = service.authorities()?.seal.clone();
                let p12 = service.unseal(&seal, &p12_context(fingerprint), &sealed).await?;
                Ok(DownloadedCertificate { name, p12 })
            })
        })
        .await
    }

    /// Asks for all that is in a draft, which is changed no more from then on. Whoever asks is the requester. With the note comes the revision
    /// of the draft that he has looked at: where it was edited since, nothing is done.
    pub async fn ask_for_draft(&self, request: Request, id: String, input: Result<(Note, Option<u32>), Refusal>) -> Result<ChangeRequest, Refusal> {
        self.run(request, Operation::RequestApproval, Right::Ask, move |service, scope| {
            Box::pin(async move {
                let id = parse_id(&id)?;
                service.names_request(scope, id).await?;
                let (note, seen) = input?;
                let asked = service.asked(scope)?;
                let trial = asked.clone();
                let turn = service.turn_to_draft().await?;
                let tried = service
                    .store()
                    .change::<_, Refusal, _>(move |tx| {
                        tx.rehearse();
                        let draft = held(tx, trial.project, id)?;
                        if draft.state != RequestState::Draft {
                            return Err(ResultCode::InvalidApprovalRequestStatus.into());
                        }
                        let (items, revision) = (tx.change_items(id)?, draft.revision);
                        try_all(tx, &trial, draft, items, BTreeMap::new(), BTreeMap::new())?;
                        Ok(revision)
                    })
                    .await;
                turn.end();
                let tried = tried?;
                let (event, uses) = scope.record_of_success(service);
                let asked_for = service.store().change::<_, Refusal, _>(move |tx| {
                    let draft = held(tx, asked.project, id)?;
                    let items = tx.change_items(id)?;
                    if draft.state != RequestState::Draft || items.is_empty() {
                        return Err(ResultCode::InvalidApprovalRequestStatus.into());
                    }
                    // What is asked for is what he has seen, and what was tried.
                    if tried != draft.revision || seen.is_some_and(|seen| seen != draft.revision) {
                        return Err(ResultCode::Conflict.into());
                    }
                    asked.require_room_to_ask(tx)?;
                    let expiry = tx.governance(asked.project)?.map_or(ExpiryDays::DEFAULT, |governance| governance.expiry);
                    let mut ready = ChangeRequest {
                        state: RequestState::Ready,
                        requester: asked.account,
                        requester_login: asked.login.clone(),
                        note: note.as_str().to_owned(),
                        requested: Some(asked.now),
                        expires: expiry.after(asked.now),
                        ..draft
                    };
                    let content = Content::of(&ready, &asked.hands(tx, id)?, &items);
                    ready.digest = Some(content.digest());
                    tx.ask_for(&ready)?;
                    asked.note_editors(tx, id)?;
                    wait_until(tx, &ready)?;
                    telling::requested(tx, &ready, &asked.login, asked.now)?;
                    recording::asked(tx, (event, uses), &ready, &content)?;
                    Ok(ready)
                });
                let asked_for = asked_for.await?;
                scope.committed();
                Ok(asked_for)
            })
        })
        .await
    }
}
