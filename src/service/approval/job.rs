//! The job that applies an approved request: all of it, or nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::apply::{AllInToken, Application, InToken, Obstacle};
use super::propose::no_uses;
use super::telling::{self, By};
use super::undo::undo_all;
use super::{MATERIAL_UNTIL, recording};
use crate::domain::approval::{ChangeItem, ChangeRequest, Content, Made, ProposedChange, RequestEvent, Standing, key_may_decide, may_decide};
use crate::domain::audit::{AuditEvent, Operation};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ChangeRequestId, ObjectId};
use crate::domain::key::{KeyKind, Stamp, State};
use crate::domain::lifecycle::deletion_due;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::hsm::ObjectKind;
use crate::service::due::Swept;
use crate::service::provisioning::NewMaterial;
use crate::service::{Refusal, Service};
use crate::store::{PlannedObject, StoreError, Tx};

/// How often a request is begun: whatever keeps it from being applied (a crash, a token that says no) has had its time then. A token that is away isn't
/// counted: it has until the request's own time is over, and for [`BEHIND_MAX`] after the approval at least.
const ATTEMPTS_MAX: u32 = 5;
/// How long after its approval a request waits for what a try before has made to leave the token.
const BEHIND_MAX: Duration = Duration::from_secs(3_600);
/// The most jobs that one run takes over.
const SWEEP_MAX: i64 = 16;

/// The changes whose part in the token is made at once.
pub(super) fn material_of(items: &[ChangeItem]) -> Vec<u32> {
    items.iter().filter(|item| item.change.made() == Made::AtOnce).map(|item| item.position).collect()
}

/// Makes this node the maker of what was made with the draft; refuses where some of it is gone. Its lease is not the job's: whoever takes the
/// job over after a crash, or once the token is back, must find it.
pub(super) fn lease_material(tx: &mut Tx<'_>, request: &ChangeRequest, items: &[ChangeItem]) -> Result<AllInToken, Refusal> {
    let positions = material_of(items);
    if positions.is_empty() {
        return Ok(AllInToken::new());
    }
    let mut leased = AllInToken::new();
    let lease_until = MATERIAL_UNTIL;
    tx.lease_objects(request.id, &positions, lease_until)?;
    for (position, object) in tx.objects_of_request(request.id)?.into_iter().filter(|(position, _)| positions.contains(position)) {
        if tx.object_state(object.object)? != Some(State::Provisioning) {
            return Err(lacking(position).into());
        }
        let planned = PlannedObject { object: object.object, key: object.key, version: object.version, lease_until };
        leased.insert(position, (InToken::Object(planned), None));
    }
    Ok(leased)
}

/// That what was made for a change is gone.
fn lacking(position: u32) -> Invalid {
    Invalid::new("changes", format!("lack the key in the token that was made for number {position}: withdraw that one, and make it anew"))
}

/// Why a job is over, or not.
enum Halt {
    /// It can't be applied.
    Failed(String),
    /// Not now: it goes on once the lease has ended.
    Later(Refusal),
    /// Not before somebody else is done with what an attempt before this one has made.
    Behind,
}

impl From<Obstacle> for Halt {
    fn from(obstacle: Obstacle) -> Self {
        match (obstacle.refusal, obstacle.what) {
            (refusal @ Refusal::Unavailable { .. }, _) => Self::Later(refusal),
            (refusal, Some(what)) => Self::Failed(format!("{what}: {refusal}")),
            (refusal, None) => Self::Failed(refusal.to_string()),
        }
    }
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Obstacle::from(refusal).into()
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl Service {
    /// Takes over requests that somebody began to apply and didn't come back to.
    pub async fn resume_requests(&self) -> Result<Swept, Refusal> {
        self.require_agreeing_clock().await?;
        let now = self.agreed_time();
        let abandoned = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.abandoned_requests(now, SWEEP_MAX)?)).await?;
        let mut swept = Swept::default();
        for id in abandoned {
            // Each try counts. What is about the project itself needs no token.
            if self.changes_key_store(id).await?
                && let Err(away) = self.require_token()
            {
                swept.count(&format!("request {id}"), Err(away));
                continue;
            }
            let lease_until = self.lease();
            let taken = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.take_over_request(id, now, lease_until)?)).await?;
            if taken {
                tracing::info!(request = %id, "an approved request that somebody began to apply is taken over");
                self.apply_request(id, lease_until).await;
            }
            swept.count(&format!("request {id}"), Ok(taken));
        }
        Ok(swept)
    }

    async fn changes_key_store(&self, id: ChangeRequestId) -> Result<bool, Refusal> {
        self.store().read::<_, Refusal, _>(move |reader| Ok(reader.change_request(id)?.is_some_and(|request| request.key_store.is_some()))).await
    }

    /// Applies a request that this node holds until `lease_until`, or ends it as failed. What can't be decided now is left to whoever takes it
    /// over.
    pub(super) fn apply_request(&self, id: ChangeRequestId, lease_until: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(self.apply_or_end(id, lease_until))
    }

    async fn apply_or_end(&self, id: ChangeRequestId, lease_until: Timestamp) {
        let mut lease = lease_until;
        match self.try_apply(id, &mut lease).await {
            Ok(doomed) => drop(self.finish_destruction(doomed).await),
            // Whatever keeps the token away keeps it from being applied, and is no fault of the request.
            Err(Halt::Later(refusal)) if self.require_token().is_err() => {
                let over = "the token failed whenever it was tried, until the request's time was over";
                let until = |request: &ChangeRequest| request.decided.map(|decided| request.expires.max(decided.plus(BEHIND_MAX)));
                self.wait_or_fail(id, lease, until, (&format!("{refusal:?}"), over)).await;
            }
            // Whatever comes of the request, the reconciler goes on with the object.
            Err(Halt::Behind) => {
                let why = ("what was made for it before is still being destroyed", "what a try before had made in the token could not be destroyed");
                self.wait_or_fail(id, lease, |request| request.decided.map(|decided| decided.plus(BEHIND_MAX)), why).await;
            }
            // Not before the lease has ended: what was begun may still be under way in the token.
            Err(Halt::Later(refusal)) => {
                tracing::warn!(request = %id, ?refusal, "an approved request could not be applied yet; it is taken over once its lease has ended");
            }
            Err(Halt::Failed(reason)) => {
                tracing::warn!(request = %id, %reason, "an approved request could not be applied: nothing of it is done");
                if let Err(refusal) = self.fail_request(id, lease, reason).await {
                    tracing::warn!(request = %id, ?refusal, "a request that failed could not be ended yet");
                }
            }
        }
    }

    /// Leaves a request to whoever looks next because of `why`; beyond `until` it is over, because of `over`.
    async fn wait_or_fail(&self, id: ChangeRequestId, lease: Timestamp, until: fn(&ChangeRequest) -> Option<Timestamp>, (why, over): (&str, &str)) {
        let read = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.change_request(id)?.and_then(|request| until(&request)))).await;
        let is_over = read.is_ok_and(|until| until.is_some_and(|until| self.agreed_time() > until));
        if !is_over {
            return self.put_off_request(id, lease, why).await;
        }
        if let Err(refusal) = self.fail_request(id, lease, over.to_owned()).await {
            tracing::warn!(request = %id, ?refusal, "a request that failed could not be ended yet");
        }
    }

    /// Leaves a request to whoever looks next, and doesn't count the try.
    async fn put_off_request(&self, id: ChangeRequestId, lease: Timestamp, why: &str) {
        tracing::warn!(request = %id, why, "an approved request could not be applied yet; the next look at it goes on");
        let now = self.agreed_time();
        let put_off = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.put_off_request(id, lease, now)?)).await;
        if let Err(refusal) = put_off {
            tracing::warn!(request = %id, ?refusal, "it is taken over once its lease has ended");
        }
    }

    async fn try_apply(&self, id: ChangeRequestId, lease: &mut Timestamp) -> Result<Vec<ObjectId>, Halt> {
        self.undo_attempt(id, *lease).await?;
        let mut application = self.plan_request(id, *lease).await?;
        self.require_material(&application).await?;
        self.make_planned(&mut application, lease).await?;
        let touched = application.touched();
        let doomed = self.store().change::<_, Halt, _>(move |tx| finish(tx, &application)).await?;
        self.apply(&touched);
        tracing::info!(request = %id, "an approved request is applied");
        Ok(doomed)
    }

    /// Undoes what an attempt before this one has planned, all of it, before anything is planned again: the reconciler may be at it, too.
    async fn undo_attempt(&self, id: ChangeRequestId, lease: Timestamp) -> Result<(), Halt> {
        let left = self.store().change::<_, Halt, _>(move |tx| {
            let request = tx.hold_applying(id, lease)?;
            if request.attempts > ATTEMPTS_MAX {
                return Err(Halt::Failed(format!("it was begun {ATTEMPTS_MAX} times and never came to its end")));
            }
            let made_later: Vec<u32> = tx.change_items(id)?.iter().filter(|item| item.change.made() == Made::WhenApplied).map(|item| item.position).collect();
            let (mut left, mut doomed) = (Vec::new(), Vec::new());
            for (_, object) in tx.objects_of_request(id)?.into_iter().filter(|(position, _)| made_later.contains(position)) {
                doomed.extend(tx.doom_planned(&object, lease)?);
                left.push(object.object);
            }
            Ok((left, doomed))
        });
        let (left, doomed) = left.await?;
        self.finish_destruction(doomed).await?;
        let gone = self.store().read::<_, Halt, _>(move |reader| {
            let mut states = left.into_iter().map(|object| reader.object_state(object));
            Ok(states.try_fold(true, |gone, state| state.map(|state| gone && state == Some(State::Destroyed)))?)
        });
        if gone.await? { Ok(()) } else { Err(Halt::Behind) }
    }

    async fn plan_request(&self, id: ChangeRequestId, lease: Timestamp) -> Result<Application, Halt> {
        let event = self.own_event(Operation::ApplyRequest)?;
        let (now, due) = (self.now(), deletion_due(self.latest_time()));
        let planned = self.store().change::<_, Halt, _>(move |tx| {
            let request = tx.hold_applying(id, lease)?;
            let items = tx.change_items(id)?;
            require_standing(tx, &request)?;
            let in_token = lease_material(tx, &request, &items)?;
            let stamp = Stamp { user: request.requester_login.clone(), at: now };
            let mut application = Application { request, items, stamp, due, lease_until: lease, in_token, sealed: BTreeMap::new(), event };
            application.check_bases(tx)?;
            application.plan(tx)?;
            for (position, (in_token, _)) in &application.in_token {
                tx.note_planned(id, *position, in_token.planned())?;
            }
            Ok(application)
        });
        planned.await
    }

    /// Looks whether the token still has what was made with the draft, which may be long ago: a token that was restored has not.
    async fn require_material(&self, application: &Application) -> Result<(), Halt> {
        for position in material_of(&application.items) {
            let Some((in_token, _)) = application.in_token.get(&position) else { continue };
            if !self.token().exists(in_token.planned().object).await.map_err(Refusal::from)? {
                return Err(Refusal::from(lacking(position)).into());
            }
        }
        Ok(())
    }

    /// Makes the planned objects, and takes more time for that before the half of it is over.
    async fn make_planned(&self, application: &mut Application, lease: &mut Timestamp) -> Result<(), Halt> {
        let kinds: BTreeMap<u32, ObjectKind> = application.items.iter().filter_map(|item| Some((item.position, kind(item)?))).collect();
        let positions: Vec<u32> =
            application.in_token.keys().copied().filter(|position| material_of(&application.items).iter().all(|made| made != position)).collect();
        for position in positions {
            if lease.since(self.agreed_time()) < self.0.settings.lease / 2 {
                self.take_more_time(application, lease).await?;
            }
            let Some((in_token, public_key)) = application.in_token.get_mut(&position) else { continue };
            let kind = match (&in_token, kinds.get(&position)) {
                (InToken::Rotation(plan), _) => plan.kind,
                (InToken::Object(_), Some(kind)) => *kind,
                (InToken::Object(_), None) => return Err(Halt::Later(Refusal::unavailable("an object of no kind"))),
            };
            *public_key = self.make_object(in_token.planned(), NewMaterial::Generated(kind)).await?;
        }
        Ok(())
    }

    async fn take_more_time(&self, application: &mut Application, lease: &mut Timestamp) -> Result<(), Halt> {
        let (id, until, longer) = (application.request.id, *lease, self.lease());
        let material = material_of(&application.items);
        let planned: Vec<u32> = application.in_token.keys().copied().filter(|position| !material.contains(position)).collect();
        let leased = planned.clone();
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                tx.renew_request(id, until, longer)?;
                tx.lease_objects(id, &leased, longer)?;
                Ok(())
            })
            .await?;
        *lease = longer;
        application.lease_until = longer;
        let being_made = application.in_token.iter_mut().filter(|(position, _)| planned.contains(position));
        being_made.for_each(|(_, (in_token, _))| in_token.planned_mut().lease_until = longer);
        Ok(())
    }

    /// `APPLYING` to `FAILED`: what was made for it is destroyed or revoked.
    async fn fail_request(&self, id: ChangeRequestId, lease: Timestamp, reason: String) -> Result<(), Refusal> {
        let (event, stamp, doomed_until) = (self.own_event(Operation::FailRequest)?, self.own_stamp(), self.lease());
        let reason: String = reason.chars().take(crate::domain::text::DESCRIPTION_MAX_CHARS).collect();
        let ended = self.store().change::<_, Refusal, _>(move |tx| {
            let request = tx.hold_applying(id, lease)?;
            telling::end(tx, &request, RequestEvent::Failed, By::Another(decider(&request)), Some(&reason), stamp.at)?;
            let items = tx.change_items(id)?;
            let doomed = undo_all(tx, &request, &items, &stamp, doomed_until)?;
            let event = recording::of_request(tx, event, &request)?;
            tx.audit(recording::decided(event, &request, None, Some(&reason)), no_uses())?;
            Ok((request, doomed))
        });
        let (request, doomed) = ended.await?;
        self.after_the_end(&request, doomed).await;
        Ok(())
    }
}

/// What kind of object a new key is.
fn kind(item: &ChangeItem) -> Option<ObjectKind> {
    match item.change {
        ProposedChange::CreateKey { key_kind: KeyKind::Symmetric, .. } => Some(ObjectKind::Aes256),
        ProposedChange::CreateKey { key_kind: KeyKind::Asymmetric, .. } => Some(ObjectKind::Rsa2048),
        _ => None,
    }
}

/// Both people must still be who they were when they asked and approved.
fn require_standing(tx: &mut Tx<'_>, request: &ChangeRequest) -> Result<(), Halt> {
    let may_ask = if request.key_store.is_some() { Standing::may_ask } else { Standing::may_govern };
    let requester = tx.standing(request.project, request.requester)?.filter(may_ask);
    requester.ok_or_else(|| Halt::Failed("whoever asked may not ask any more".to_owned()))?;
    let (decider, _) = request.decider.as_ref().ok_or_else(|| Halt::Failed("nobody approved it".to_owned()))?;
    let standing = tx.standing(request.project, *decider)?.ok_or_else(|| Halt::Failed("whoever approved is gone".to_owned()))?;
    let editors = tx.change_editors(request.id)?;
    let may = may_decide(&standing, request.requester, &editors).map_err(|code| match code {
        ResultCode::Forbidden => Halt::Failed("whoever approved may not approve any more".to_owned()),
        code => Halt::Failed(format!("whoever approved may not: {}", code.message())),
    });
    may.and_then(|()| require_key_standing(tx, request, *decider, &editors))
}

/// The access key with which it was approved, if it was with one, must still be one that approves.
fn require_key_standing(tx: &mut Tx<'_>, request: &ChangeRequest, decider: AccountId, editors: &[AccountId]) -> Result<(), Halt> {
    let Some(id) = tx.deciding_key(request.id)? else { return Ok(()) };
    let found = tx.access_key(&id)?.filter(|found| found.account == decider && found.enabled && found.may_approve);
    let found = found.ok_or_else(|| Halt::Failed("the access key that approved may not approve any more".to_owned()))?;
    key_may_decide(found.maker, request.requester, editors)
        .map_err(|_| Halt::Failed("the access key that approved was made by somebody who asked for it, or had a hand in it".to_owned()))
}

fn decider(request: &ChangeRequest) -> &str {
    request.decider.as_ref().map_or("nobody", |(_, login)| login.as_str())
}

/// The one transaction: everything is still as it was, the digest is that of what is done, both people may; then all of it is done.
fn finish(tx: &mut Tx<'_>, application: &Application) -> Result<Vec<ObjectId>, Halt> {
    let request = tx.hold_applying(application.request.id, application.lease_until)?;
    let items = tx.change_items(request.id)?;
    if request.digest != Some(Content::of(&request, &tx.hands(request.id)?, &items).digest()) {
        return Err(Halt::Failed("what was approved is not what would be done: the digest is another".to_owned()));
    }
    require_sealed(tx, &request, &items)?;
    require_standing(tx, &request)?;
    // What was planned is noted in the rows; all else must be what was read when it was planned.
    let of = |items: &[ChangeItem]| items.iter().map(|item| ChangeItem { object: None, ..item.clone() }).collect::<Vec<_>>();
    if of(&items) != of(&application.items) {
        return Err(Halt::Failed("it was changed while it was applied".to_owned()));
    }
    application.hold_accounts(tx)?;
    application.check_bases(tx)?;
    let doomed = application.finish(tx)?;
    let event = recording::of_request(tx, application.event.clone(), &request)?;
    let event = AuditEvent { at: application.stamp.at, ..event };
    tx.audit(recording::applied(event, &request, items.len()), no_uses())?;
    telling::end(tx, &request, RequestEvent::Applied, By::Another(decider(&request)), None, application.stamp.at)?;
    Ok(doomed)
}

/// The sealed parts are those whose hashes the digest has.
fn require_sealed(tx: &mut Tx<'_>, request: &ChangeRequest, items: &[ChangeItem]) -> Result<(), Halt> {
    use sha2::Digest as _;
    for item in items.iter().filter(|item| item.sealed_hash.is_some()) {
        let sealed = tx.sealed_part(request.id, item.position)?.map(|sealed| <[u8; 32]>::from(sha2::Sha256::digest(sealed)));
        if sealed != item.sealed_hash {
            return Err(Halt::Failed(format!("the sealed part of change {} is another", item.position)));
        }
    }
    Ok(())
}
