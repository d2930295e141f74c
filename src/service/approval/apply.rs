//! From what was approved to what is done: each change by the function that its own use case calls, with its record, in one transaction.

use std::collections::BTreeMap;

use super::base::{account, look_at};
use super::governance::require_two;
use super::recording;
use crate::domain::account::Role;
use crate::domain::approval::{ChangeItem, ChangeRequest, Content, Made, ProposedChange};
use crate::domain::audit::{Actor, AuditEvent, Uses};
use crate::domain::client_checks::{Method, RuleValue};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyId, KeyStoreId, KeyVersion, ObjectId};
use crate::domain::key::{KeyKind, Origin, RotationPeriod, Stamp};
use crate::domain::lifecycle::{Command, Event};
use crate::domain::result_code::ResultCode;
use crate::domain::text::{Description, Invalid, Name};
use crate::service::Refusal;
use crate::service::change_key_store::{begin_deleting, replace};
use crate::service::change_secret::put_secret_version;
use crate::service::client_rule_life;
use crate::service::client_rules::{Certified, put_rule};
use crate::service::create_key::{lost_lease, put_in_service, put_new_secret, require_active};
use crate::service::create_key_store::{self, NewKeyStore};
use crate::service::key_life::{self, KeyChange, deletion, on_held_key, versions};
use crate::service::provisioning::random_id;
use crate::service::register_clients::put_entries;
use crate::service::rotate_key::{Plan, RotateWhen, finish_rotation, plan_rotation};
use crate::store::{Change, NewClientEntry, NewKey, PlannedObject, Tx};

/// The most characters that the reason of a failure says of a change.
const OBSTACLE_MAX_CHARS: usize = 400;

/// What a change has in the token.
#[derive(Debug, Clone)]
pub(super) enum InToken {
    /// A key's first version, or a key store's own key.
    Object(PlannedObject),
    /// A key's next version.
    Rotation(Plan),
}

impl InToken {
    pub(super) const fn planned(&self) -> &PlannedObject {
        match self {
            Self::Object(planned) => planned,
            Self::Rotation(plan) => &plan.planned,
        }
    }

    pub(super) const fn planned_mut(&mut self) -> &mut PlannedObject {
        match self {
            Self::Object(planned) => planned,
            Self::Rotation(plan) => &mut plan.planned,
        }
    }
}

/// What changes have in the token, by their place, with a pair's public key.
pub(super) type AllInToken = BTreeMap<u32, (InToken, Option<Vec<u8>>)>;

/// A request that is being applied, or tried.
#[derive(Debug, Clone)]
pub(super) struct Application {
    pub(super) request: ChangeRequest,
    pub(super) items: Vec<ChangeItem>,
    /// Who asked, and the time of all of it.
    pub(super) stamp: Stamp,
    /// When what is scheduled to be deleted now is due.
    pub(super) due: Timestamp,
    /// Until when this node is trusted to be at it.
    pub(super) lease_until: Timestamp,
    /// What changes have in the token, by their place, with a pair's public key.
    pub(super) in_token: AllInToken,
    /// Sealed parts that aren't in the store yet.
    pub(super) sealed: BTreeMap<u32, Vec<u8>>,
    /// The draft of the records.
    pub(super) event: AuditEvent,
}

/// Why a change can't be applied.
#[derive(Debug)]
pub(super) struct Obstacle {
    pub(super) refusal: Refusal,
    /// Which change it is.
    pub(super) what: Option<String>,
}

impl From<Refusal> for Obstacle {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, what: None }
    }
}

fn at(item: &ChangeItem, refusal: Refusal) -> Obstacle {
    Obstacle { refusal, what: Some(format!("change {} ({})", item.position, item.told(OBSTACLE_MAX_CHARS))) }
}

impl Application {
    /// Refuses where something that a change builds on is no longer as it was.
    pub(super) fn check_bases(&self, tx: &mut Tx<'_>) -> Result<(), Obstacle> {
        for item in &self.items {
            let now = look_at(tx, self.request.project, self.request.key_store, &item.change).map_err(|refusal| at(item, refusal))?;
            if now != item.base {
                return Err(at(item, ResultCode::Conflict.into()));
            }
        }
        Ok(())
    }

    /// Holds the rows of the accounts that changes are about: nobody sets a password or makes an access key of one meanwhile.
    pub(super) fn hold_accounts(&self, tx: &mut Tx<'_>) -> Result<(), Obstacle> {
        for item in &self.items {
            let of = match &item.change {
                ProposedChange::GrantRole { login, .. } | ProposedChange::ResetPassword { login } | ProposedChange::EnableAccount { login } => {
                    account(tx, login)
                }
                ProposedChange::SetMayApprove { access_key, .. } => match tx.owner_of_access_key(access_key).map_err(Refusal::from)? {
                    Some(account) => Ok(account),
                    // Whether it is there is looked at with what the change builds on.
                    None => continue,
                },
                _ => continue,
            };
            of.and_then(|account| Ok(tx.hold_account(account)?)).map_err(|refusal| at(item, refusal))?;
        }
        Ok(())
    }

    /// Inserts the rows of what the token is to make.
    pub(super) fn plan(&mut self, tx: &mut Tx<'_>) -> Result<(), Obstacle> {
        for item in &self.items {
            if self.in_token.contains_key(&item.position) || item.change.made() != Made::WhenApplied {
                continue;
            }
            let planned = self.plan_item(tx, item).map_err(|refusal| at(item, refusal))?;
            self.in_token.insert(item.position, (planned, None));
        }
        Ok(())
    }

    fn plan_item(&self, tx: &mut Tx<'_>, item: &ChangeItem) -> Result<InToken, Refusal> {
        let object = ObjectId::from_bytes(random_id()?);
        match &item.change {
            ProposedChange::RotateKey { key } => {
                let plan = plan_rotation(tx, *key, RotateWhen::Asked(None), object, self.lease_until, &self.stamp)?;
                Ok(InToken::Rotation(plan.ok_or(ResultCode::Conflict)?))
            }
            ProposedChange::CreateKey { key, .. } => {
                let planned = PlannedObject { object, key: *key, version: KeyVersion::FIRST, lease_until: self.lease_until };
                // Its ID is what was approved: whoever takes the job over makes a key of this ID once more.
                tx.plan_lone_object(&planned, self.stamp.at)?;
                Ok(InToken::Object(planned))
            }
            _ => Err(Refusal::unavailable("nothing is planned for such a change")),
        }
    }

    /// Does it all, each change with its record; answers what is to be destroyed then.
    pub(super) fn finish(&self, tx: &mut Tx<'_>) -> Result<Vec<ObjectId>, Obstacle> {
        let mut doomed = Vec::new();
        let hands = tx.hands(self.request.id).map_err(Refusal::from)?;
        let content = Content::of(&self.request, &hands, &self.items);
        for item in &self.items {
            doomed.extend(self.finish_item(tx, &content, item).map_err(|refusal| at(item, refusal))?);
        }
        Ok(doomed)
    }

    fn finish_item(&self, tx: &mut Tx<'_>, content: &Content, item: &ChangeItem) -> Result<Vec<ObjectId>, Refusal> {
        let record = self.record(tx, content, item)?;
        if let ProposedChange::RotateKey { .. } = item.change {
            let (InToken::Rotation(plan), public_key) = self.in_token(item)? else { return Err(Refusal::unavailable("a rotation was not planned")) };
            finish_rotation(tx, plan, public_key.as_deref(), &self.stamp, (record, Uses::default()))?;
            return Ok(Vec::new());
        }
        let doomed = if item.change.is_of_project() {
            self.finish_of_project(tx, item).map(|()| Vec::new())?
        } else if let Some(key) = item.change.key() {
            self.finish_of_key(tx, item, key)?
        } else {
            self.finish_of_key_store(tx, item)?
        };
        tx.audit(record, Uses::default())?;
        Ok(doomed)
    }

    fn key_store(&self) -> Result<KeyStoreId, Refusal> {
        self.request.key_store.ok_or(ResultCode::InvalidKeyStore.into())
    }

    fn in_token(&self, item: &ChangeItem) -> Result<&(InToken, Option<Vec<u8>>), Refusal> {
        self.in_token.get(&item.position).ok_or_else(|| Refusal::unavailable("a change has nothing in the token"))
    }

    fn sealed(&self, tx: &mut Tx<'_>, item: &ChangeItem) -> Result<Vec<u8>, Refusal> {
        let kept = match self.sealed.get(&item.position) {
            Some(sealed) => Some(sealed.clone()),
            None => tx.sealed_part(self.request.id, item.position)?,
        };
        kept.ok_or_else(|| Refusal::unavailable("the sealed part of a change is missing"))
    }

    /// The record of a change: what was done, who asked, who approved, and exactly what.
    fn record(&self, tx: &mut Tx<'_>, content: &Content, item: &ChangeItem) -> Result<AuditEvent, Refusal> {
        let event = AuditEvent {
            at: self.stamp.at,
            actor: Actor::Account(self.request.requester_login.clone()),
            operation: item.change.operation(),
            key: item.change.key(),
            version: item.change.version(),
            ..recording::of_request(tx, self.event.clone(), &self.request)?
        };
        Ok(recording::change(event, &self.request, content, item))
    }

    fn finish_of_key_store(&self, tx: &mut Tx<'_>, item: &ChangeItem) -> Result<Vec<ObjectId>, Refusal> {
        let (id, stamp) = (self.key_store()?, &self.stamp);
        match &item.change {
            ProposedChange::CreateKeyStore { name, description, checks, .. } => {
                create_key_store::put_in_service(tx, id, self.in_token(item)?.0.planned(), stamp).map_err(lost_lease)?;
                replace(tx, id, &NewKeyStore { name: name.clone(), description: description.clone(), checks: *checks }, stamp)?;
            }
            ProposedChange::ReplaceKeyStore { name, description, checks } => {
                replace(tx, id, &NewKeyStore { name: name.clone(), description: description.clone(), checks: *checks }, stamp)?;
            }
            ProposedChange::DeleteKeyStore => return begin_deleting(tx, id, self.lease_until, stamp),
            ProposedChange::AddClients { method, entries } => {
                let entries: Vec<_> =
                    entries.iter().map(|entry| NewClientEntry { value: entry.value.clone(), description: entry.description.clone() }).collect();
                put_entries(tx, id, *method, &entries, stamp)?;
            }
            ProposedChange::AddCertificate { name, description, fingerprint, serial, not_after, issuer, certificate } => {
                let value = RuleValue::Certificate { name: name.to_string(), fingerprint: *fingerprint, serial: serial.clone(), not_after: *not_after };
                // One that was signed from a request has no file.
                let sealed_p12 = if certificate.is_none() { Some(self.sealed(tx, item)?) } else { None };
                put_rule(tx, id, &value, description, Some(&Certified { issuer: *issuer, sealed_p12 }), stamp)?;
            }
            ProposedChange::RequestClientDeletion { method, value } => {
                self.on_rule(tx, (*method, value), Event::DeletionRequested, |tx, rule, stamp| client_rule_life::request_deletion(tx, rule, self.due, stamp))?;
            }
            ProposedChange::RestoreClient { method, value } => {
                self.on_rule(tx, (*method, value), Event::Restored, client_rule_life::restore)?;
            }
            ProposedChange::DeleteClient { method, value } => {
                self.on_rule(tx, (*method, value), Event::Destroy, client_rule_life::delete)?;
            }
            _ => return Err(Refusal::unavailable("no change of a key store")),
        }
        Ok(Vec::new())
    }

    fn on_rule<T>(
        &self,
        tx: &mut Tx<'_>,
        (method, value): (Method, &str),
        event: Event,
        act: impl FnOnce(&mut Tx<'_>, &crate::domain::client_checks::ClientRule, &Stamp) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        client_rule_life::on_held_rule(tx, self.key_store()?, (method, value, None), event, &self.stamp, act)
    }

    fn finish_of_key(&self, tx: &mut Tx<'_>, item: &ChangeItem, key: KeyId) -> Result<Vec<ObjectId>, Refusal> {
        let (stamp, lease_until) = (&self.stamp, self.lease_until);
        match &item.change {
            ProposedChange::CreateKey { .. } => self.finish_new_key(tx, item, key)?,
            ProposedChange::ChangeKey { name, description, rotation, .. } => {
                let change = KeyChange { name: name.clone(), description: description.clone(), rotation: *rotation };
                on_held_key(tx, (key, None), Command::Change, stamp, |tx, row, stamp| key_life::put(tx, row, change, stamp))?;
            }
            ProposedChange::ChangeSecret { current, name, description, .. } => {
                let sealed = self.sealed(tx, item)?;
                let next = current.next().ok_or(ResultCode::KeyUseLimitReached)?;
                let change = KeyChange { name: name.clone(), description: description.clone(), rotation: None };
                put_secret_version(tx, key, (*current, next), &sealed, change.check().is_ok().then_some((change, None)), stamp)?;
            }
            ProposedChange::RequestKeyDeletion { .. } => {
                on_held_key(tx, (key, None), Command::RequestDeletion, stamp, |tx, row, stamp| deletion::request_deletion(tx, row, self.due, stamp))?;
            }
            ProposedChange::RestoreKey { .. } => on_held_key(tx, (key, None), Command::Restore, stamp, deletion::restore)?,
            ProposedChange::DeleteKey { .. } => {
                return on_held_key(tx, (key, None), Command::Destroy, stamp, |tx, row, stamp| deletion::begin_destroying(tx, row, lease_until, stamp));
            }
            ProposedChange::RequestVersionDeletion { version, .. } => {
                let command = Command::RequestVersionDeletion(*version);
                on_held_key(tx, (key, None), command, stamp, |tx, row, stamp| versions::request_deletion(tx, row, (*version, self.due), stamp))?;
            }
            ProposedChange::RestoreVersion { version, .. } => {
                let command = Command::RestoreVersion(*version);
                on_held_key(tx, (key, None), command, stamp, |tx, row, stamp| versions::restore(tx, row, *version, stamp))?;
            }
            ProposedChange::DeleteVersion { version, .. } => {
                let command = Command::DestroyVersion(*version);
                return on_held_key(tx, (key, None), command, stamp, |tx, row, stamp| versions::begin_destroying(tx, row, (*version, lease_until), stamp));
            }
            _ => return Err(Refusal::unavailable("no change of a key")),
        }
        Ok(Vec::new())
    }

    fn finish_new_key(&self, tx: &mut Tx<'_>, item: &ChangeItem, key: KeyId) -> Result<(), Refusal> {
        let ProposedChange::CreateKey { key_kind, origin, name, description, rotation, .. } = &item.change else {
            return Err(Refusal::unavailable("no new key"));
        };
        let next_rotation = rotation.next_after(self.stamp.at);
        let unnamed = unnamed_key(&self.request, key, *key_kind, *origin, &self.stamp)?;
        if *key_kind == KeyKind::Secret {
            let sealed = self.sealed(tx, item)?;
            return put_new_secret(tx, &NewKey { name: name.clone(), description: description.clone(), ..unnamed }, &sealed);
        }
        let (in_token, public_key) = self.in_token(item)?;
        require_active(tx, self.key_store()?)?;
        if item.change.made() == Made::WhenApplied {
            tx.insert_key_of_object(&unnamed, in_token.planned())?;
        }
        put_in_service(tx, in_token.planned(), public_key.as_deref(), *origin).map_err(lost_lease)?;
        Ok(tx.change_key(key, (name, description), *rotation, next_rotation, &self.stamp)?)
    }

    fn finish_of_project(&self, tx: &mut Tx<'_>, item: &ChangeItem) -> Result<(), Refusal> {
        let (project, stamp) = (self.request.project, &self.stamp);
        match &item.change {
            ProposedChange::GrantRole { login, role } => {
                let account = account(tx, login)?;
                tx.grant_role(account, project, *role, stamp)?;
                if role.may_approve() {
                    // Whoever made access keys of this account before made none that approve: that is asked for by itself.
                    for access_key in tx.let_none_approve(account, stamp)? {
                        tx.changed(Change::AccessKey(access_key))?;
                    }
                }
                tx.changed(Change::Identity)?;
            }
            ProposedChange::RevokeRole { login, role } => {
                let account = account(tx, login)?;
                tx.revoke_role(account, project, *role)?;
                tx.changed(Change::Identity)?;
                require_two(tx, project)?;
            }
            ProposedChange::CreateAccount { login, roles } => self.finish_account(tx, item, login, roles)?,
            ProposedChange::ResetPassword { login } => {
                let (account, hash) = (account(tx, login)?, self.password_hash(tx, item)?);
                tx.set_password(account, &hash, true, stamp)?;
                tx.password_is_of_two(account)?;
                tx.changed(Change::Identity)?;
            }
            ProposedChange::EnableAccount { login } => {
                let account = account(tx, login)?;
                tx.set_account_enabled(account, true, stamp)?;
                tx.changed(Change::Identity)?;
            }
            ProposedChange::SetMayApprove { access_key, allowed } => {
                tx.set_may_approve(access_key, *allowed, stamp)?;
                tx.changed(Change::AccessKey(access_key.clone()))?;
            }
            ProposedChange::ChangeGovernance { expiry } => tx.set_expiry(project, *expiry, stamp)?,
            ProposedChange::TurnApprovalOff => {
                tx.turn_approval(project, false, stamp)?;
                tx.changed(Change::Project(project))?;
            }
            _ => return Err(Refusal::unavailable("no change of a project")),
        }
        Ok(())
    }

    fn finish_account(&self, tx: &mut Tx<'_>, item: &ChangeItem, login: &str, roles: &[Role]) -> Result<(), Refusal> {
        let hash = self.password_hash(tx, item)?;
        let account = tx.insert_account(login, &hash, true, &self.stamp)?;
        tx.password_is_of_two(account)?;
        for role in roles {
            tx.grant_role(account, self.request.project, *role, &self.stamp)?;
        }
        Ok(tx.changed(Change::Identity)?)
    }

    /// The hash of the whole password, which is there once somebody has approved it.
    fn password_hash(&self, tx: &mut Tx<'_>, item: &ChangeItem) -> Result<String, Refusal> {
        match tx.password_hash_of_change(self.request.id, item.position)? {
            Some(hash) => Ok(hash),
            None if tx.is_rehearsal() => Ok(String::new()),
            // It never will be: the second part is in nobody's hands.
            None => Err(Invalid::new("password", "has no second part: ask for it anew").into()),
        }
    }

    /// What the caches of this node have of it.
    pub(super) fn touched(&self) -> Vec<Change> {
        let mut touched: Vec<Change> = self.items.iter().filter_map(|item| item.change.key()).map(Change::Key).collect();
        touched.extend(self.request.key_store.map(Change::KeyStore));
        if self.items.iter().any(|item| item.change.is_of_project()) {
            touched.extend([Change::Identity, Change::Project(self.request.project)]);
        }
        touched
    }
}

/// A key under a name that nobody chose: its own is given with the rest of the request, so that what else the request names or renames isn't
/// in its way before.
pub(super) fn unnamed_key(request: &ChangeRequest, id: KeyId, kind: KeyKind, origin: Origin, created: &Stamp) -> Result<NewKey, Refusal> {
    Ok(NewKey {
        id,
        project: request.project,
        key_store: request.key_store.ok_or(ResultCode::InvalidKeyStore)?,
        kind,
        name: Name::from_stored(id.to_string()),
        description: Description::default(),
        rotation: RotationPeriod::NEVER,
        next_rotation: None,
        origin,
        created: created.clone(),
    })
}
