//! Decisions upon requests: approved, denied, withdrawn, expired.

use std::time::Duration;

use super::password::Completed;
use super::propose::no_uses;
use super::telling::{self, By};
use super::undo::undo_all;
use super::{held, parse_id, recording};
use crate::domain::account::AccessKeyId;
use crate::domain::approval::{ChangeRequest, Decision, Note, RequestEvent, RequestState, Standing, key_may_decide, may_decide};
use crate::domain::audit::{Actor, Operation};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ChangeRequestId, ObjectId, ProjectId};
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::service::due::Swept;
use crate::service::request::{Request, Right, Scope};
use crate::service::{Refusal, Service};
use crate::store::{Change, Reader, StoreError, Tx};

/// How long somebody who approves waits for it to be applied.
const APPLY_WAIT: Duration = Duration::from_secs(8);
/// The same of a request that sets a password, which needs no token: its second part must reach whoever approved before he hangs up.
const PASSWORD_WAIT: Duration = Duration::from_secs(1);
/// The most requests that one run ends.
const SWEEP_MAX: i64 = 64;

/// Who decides.
#[derive(Debug, Clone)]
struct Decider {
    account: AccountId,
    access_key: Option<AccessKeyId>,
}

impl Decider {
    fn of(scope: &Scope) -> Result<Self, Refusal> {
        let access_key = match &scope.actor {
            Actor::AccessKey { id, .. } => Some(id.clone()),
            _ => None,
        };
        Ok(Self { account: scope.account()?, access_key })
    }

    /// How he stands now, if he decides upon the request.
    fn standing(&self, reader: &mut Reader<'_>, request: &ChangeRequest) -> Result<Standing, Refusal> {
        let editors = reader.change_editors(request.id)?;
        if let Some(id) = &self.access_key {
            let access_key = reader.access_key(id)?.filter(|access_key| access_key.enabled && access_key.may_approve).ok_or(ResultCode::Forbidden)?;
            key_may_decide(access_key.maker, request.requester, &editors)?;
        }
        let standing = reader.standing(request.project, self.account)?.ok_or(ResultCode::Forbidden)?;
        may_decide(&standing, request.requester, &editors)?;
        Ok(standing)
    }
}

/// A request that was approved.
#[derive(Debug, Clone)]
pub struct Approved {
    /// As it is after a while: applied, failed, or still being applied.
    pub request: ChangeRequest,
    /// Of one that sets an account's password: the second part of it, which nobody else is ever shown.
    pub password_part: Option<SecretText>,
}

/// A request that waits for a decision, its row held.
fn ready(tx: &mut Tx<'_>, (project, now): (ProjectId, Timestamp), id: ChangeRequestId) -> Result<ChangeRequest, Refusal> {
    let request = held(tx, project, id)?;
    require_ready(&request, now)?;
    Ok(request)
}

fn require_ready(request: &ChangeRequest, now: Timestamp) -> Result<(), Refusal> {
    // One whose time is over has expired, whether or not that was noticed.
    if request.state == RequestState::Ready && now < request.expires { Ok(()) } else { Err(ResultCode::InvalidApprovalRequestStatus.into()) }
}

/// Refuses where the digest that somebody has looked at is another.
fn require_seen(request: &ChangeRequest, seen: Option<&str>) -> Result<(), Refusal> {
    let digest = request.digest.map(hex::encode);
    if seen.is_none_or(|seen| digest.as_deref() == Some(seen)) { Ok(()) } else { Err(ResultCode::Conflict.into()) }
}

impl Service {
    /// Approves a request, which is applied then. Answers it as it is after a while: applied, failed, or still being applied. `seen` is the
    /// digest of what the approver has looked at: where the request's is another, nothing is done. Nor is it where a password is to be set and
    /// the token is away.
    pub async fn approve_request(&self, request: Request, id: String, seen: Result<Option<String>, Refusal>) -> Result<Approved, Refusal> {
        self.run(request, Operation::ApproveRequest, Right::Approve, move |service, scope| {
            Box::pin(async move {
                let id = parse_id(&id)?;
                service.names_request(scope, id).await?;
                let seen = seen?;
                let (approved, lease_until, password_part) = service.begin_applying(scope, id, seen).await?;
                scope.committed();
                let worker = service.clone();
                let work = service.tasks().spawn(async move { worker.apply_request(id, lease_until).await });
                let wait = if password_part.is_some() { PASSWORD_WAIT } else { APPLY_WAIT };
                drop(tokio::time::timeout(wait, work).await);
                let found = service.store().read::<_, Refusal, _>(move |reader| Ok(reader.change_request(id)?)).await;
                // What is approved stays so, and the password's second part is shown now or never: it is answered though nobody can tell how it goes on.
                let request = found.ok().flatten().unwrap_or(approved);
                Ok(Approved { password_part: password_part.filter(|_| request.state != RequestState::Failed), request })
            })
        })
        .await
    }

    /// Answers the request as it is then, until when this node applies it, and the second part of the password that it sets, if it sets one.
    async fn begin_applying(
        &self,
        scope: &Scope,
        id: ChangeRequestId,
        seen: Option<String>,
    ) -> Result<(ChangeRequest, Timestamp, Option<SecretText>), Refusal> {
        let (decider, project, now) = (Decider::of(scope)?, scope.project.id, self.now());
        let completed = self.password_to_set(&decider, (project, now), id, seen.clone()).await?;
        let (event, uses) = scope.record_of_success(self);
        // Counted from here: opening and hashing take their time.
        let lease_until = self.lease();
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                let request = ready(tx, (project, now), id)?;
                let standing = decider.standing(tx, &request)?;
                require_seen(&request, seen.as_deref())?;
                tx.begin_applying(id, (standing.account, &standing.login, decider.access_key.as_ref()), now, lease_until)?;
                if let Some(completed) = &completed {
                    completed.keep(tx, id)?;
                }
                tx.audit(recording::decided(event, &request, Some(Decision::Approved(standing.login.clone())), None), uses)?;
                let decider = Some((standing.account, standing.login));
                let approved = ChangeRequest { state: RequestState::Applying, decider, decided: Some(now), ..request };
                Ok((approved, lease_until, completed.map(|completed| completed.second_part)))
            })
            .await
    }

    /// The password that a request sets, if it sets one, with its second part. Whoever may not approve it has nothing opened.
    async fn password_to_set(
        &self,
        decider: &Decider,
        (project, now): (ProjectId, Timestamp),
        id: ChangeRequestId,
        seen: Option<String>,
    ) -> Result<Option<Completed>, Refusal> {
        let decider = decider.clone();
        let found = self.store().read::<_, Refusal, _>(move |reader| {
            let request = reader.change_request(id)?.filter(|request| request.project == project).ok_or(ResultCode::InvalidApprovalRequest)?;
            require_ready(&request, now)?;
            decider.standing(reader, &request)?;
            require_seen(&request, seen.as_deref())?;
            // A request about a project itself has one change, and no other sets a password.
            let Some(item) = reader.change_items(id)?.into_iter().find(|item| item.change.password_of().is_some()) else { return Ok(None) };
            let sealed = reader.sealed_part(id, item.position)?.ok_or_else(|| Refusal::unavailable("the sealed part of a change is missing"))?;
            Ok(Some((item, sealed)))
        });
        let Some((item, sealed)) = found.await? else { return Ok(None) };
        self.complete_password(project, &item, &sealed).await.map(Some)
    }

    /// Denies a request, with a reason; what was made for it is destroyed or revoked.
    pub async fn deny_request(&self, request: Request, id: String, reason: Result<Note, Refusal>) -> Result<ChangeRequest, Refusal> {
        self.run(request, Operation::DenyRequest, Right::Approve, move |service, scope| {
            Box::pin(async move {
                let id = parse_id(&id)?;
                service.names_request(scope, id).await?;
                let reason = reason?;
                let (decider, project, now, lease) = (Decider::of(scope)?, scope.project.id, service.now(), service.lease());
                let (stamp, (event, uses)) = (scope.stamp(service), scope.record_of_success(service));
                let ended = service.store().change::<_, Refusal, _>(move |tx| {
                    let request = ready(tx, (project, now), id)?;
                    let standing = decider.standing(tx, &request)?;
                    telling::end(tx, &request, RequestEvent::Denied, By::Decider(standing.account, &standing.login), Some(reason.as_str()), now)?;
                    let items = tx.change_items(id)?;
                    let doomed = undo_all(tx, &request, &items, &stamp, lease)?;
                    tx.audit(recording::decided(event, &request, Some(Decision::Denied(standing.login)), Some(reason.as_str())), uses)?;
                    Ok((tx.change_request(id)?.ok_or(StoreError::Stale { what: "change request" })?, doomed))
                });
                let (ended, doomed) = ended.await?;
                scope.committed();
                service.after_the_end(&ended, doomed).await;
                Ok(ended)
            })
        })
        .await
    }

    /// Withdraws a draft, or the request that one has made oneself; what was made for it is destroyed or revoked.
    pub async fn withdraw_request(&self, request: Request, id: String) -> Result<ChangeRequest, Refusal> {
        self.run(request, Operation::WithdrawRequest, Right::Ask, move |service, scope| {
            Box::pin(async move {
                let id = parse_id(&id)?;
                service.names_request(scope, id).await?;
                let (account, project, now, lease) = (scope.account()?, scope.project.id, service.now(), service.lease());
                let (stamp, (event, uses)) = (scope.stamp(service), scope.record_of_success(service));
                let ended = service.store().change::<_, Refusal, _>(move |tx| {
                    let request = held(tx, project, id)?;
                    match request.state {
                        // A draft is everybody's who asks.
                        RequestState::Draft => {}
                        RequestState::Ready if request.requester == account => {}
                        RequestState::Ready => return Err(ResultCode::Forbidden.into()),
                        _ => return Err(ResultCode::InvalidApprovalRequestStatus.into()),
                    }
                    telling::end(tx, &request, RequestEvent::Withdrawn, By::Another(&stamp.user), None, now)?;
                    let items = tx.change_items(id)?;
                    let doomed = undo_all(tx, &request, &items, &stamp, lease)?;
                    tx.audit(recording::decided(event, &request, None, None), uses)?;
                    Ok((tx.change_request(id)?.ok_or(StoreError::Stale { what: "change request" })?, doomed))
                });
                let (ended, doomed) = ended.await?;
                scope.committed();
                service.after_the_end(&ended, doomed).await;
                Ok(ended)
            })
        })
        .await
    }

    /// Ends drafts and requests that nobody has decided upon in time, and drafts where approval was turned off: what is asked for already can
    /// still be decided upon.
    pub async fn expire_requests(&self) -> Result<Swept, Refusal> {
        // What waits isn't ended, nor what was made for it destroyed, by a clock that is wrong.
        self.require_right_clock().await?;
        let now = self.agreed_time();
        let due = self.store().read::<_, Refusal, _>(move |reader| {
            let mut due = reader.expired_requests(now, SWEEP_MAX)?;
            due.extend(reader.idle_drafts(SWEEP_MAX)?);
            Ok(due)
        });
        let due = due.await?;
        let mut swept = Swept::default();
        for id in due {
            swept.count(&format!("the end of request {id}"), self.expire_request(id).await);
        }
        Ok(swept)
    }

    async fn expire_request(&self, id: ChangeRequestId) -> Result<bool, Refusal> {
        let (event, stamp, lease) = (self.own_event(Operation::ExpireRequest)?, self.own_stamp(), self.lease());
        let ended = self.store().change::<_, Refusal, _>(move |tx| {
            let waits = |request: &ChangeRequest| matches!(request.state, RequestState::Draft | RequestState::Ready);
            let Some(request) = tx.hold_change_request(id)?.filter(waits) else { return Ok(None) };
            let is_off = request.state == RequestState::Draft && !tx.governance(request.project)?.is_some_and(|governance| governance.approval);
            if request.expires > stamp.at && !is_off {
                return Ok(None);
            }
            telling::end(tx, &request, RequestEvent::Expired, By::Another(&stamp.user), None, stamp.at)?;
            let items = tx.change_items(id)?;
            let doomed = undo_all(tx, &request, &items, &stamp, lease)?;
            let event = recording::of_request(tx, event, &request)?;
            let why = (request.expires > stamp.at).then_some("approval was turned off");
            tx.audit(recording::decided(event, &request, None, why), no_uses())?;
            Ok(Some((request, doomed)))
        });
        let Some((request, doomed)) = ended.await? else { return Ok(false) };
        self.after_the_end(&request, doomed).await;
        Ok(true)
    }

    /// Destroys what a request leaves in the token, and drops what this node has of its key store.
    pub(super) async fn after_the_end(&self, request: &ChangeRequest, doomed: Vec<ObjectId>) {
        if let Some(key_store) = request.key_store {
            self.apply(&[Change::KeyStore(key_store)]);
        }
        self.finish_destruction_soon(doomed).await;
    }
}
