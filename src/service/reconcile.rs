//! Healing what a crash left behind: objects that were being made or destroyed when their maker's lease ended.

use super::Service;
use super::refusal::Refusal;
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::ids::{KeyId, KeyVersion, ObjectId, RequestId};
use crate::domain::key::State;
use crate::hsm::ObjectInfo;

/// The most objects that one run takes over.
const BATCH: i64 = 256;
/// The most rows that one read of known objects answers.
const PAGE: i64 = 4_096;

/// What a run found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Objects that were undone or whose destruction was finished.
    pub settled: usize,
    /// Objects that could not be settled now; the next run tries again.
    pub failed: usize,
}

/// How token and database compare.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Objects in the token that no row names: reported, never destroyed on a guess. A pair is two.
    pub orphans: Vec<Orphan>,
    /// Objects that an `ACTIVE` row names and the token doesn't have: an alarm.
    pub missing: Vec<MissingObject>,
    /// Objects of `DESTROYED` rows that appeared late, and were destroyed.
    pub late: Vec<ObjectId>,
}

/// An object in the token that no row names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its `CKA_ID`, if it could be one of ours.
    pub id: Option<ObjectId>,
    /// Its `CKA_LABEL`.
    pub label: String,
    /// Its `CKA_CLASS` in PKCS#11's words.
    pub class: String,
}

/// An object that a key in service needs and the token doesn't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingObject {
    /// Its `CKA_ID`.
    pub id: ObjectId,
    /// The client's key, or the service's own, that it is of.
    pub key: KeyId,
    /// The version of that key.
    pub version: KeyVersion,
}

fn orphan(object: ObjectInfo) -> Orphan {
    Orphan { id: object.id, label: object.label, class: object.class }
}

impl Service {
    /// Takes over objects whose lease has ended and always undoes them. Safe on any number of nodes at once.
    pub async fn reconcile(&self) -> Result<Reconciled, Refusal> {
        self.require_agreeing_clock().await?;
        let now = self.agreed_time();
        let expired = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.expired_objects(now, BATCH)?)).await?;
        let mut outcome = Reconciled::default();
        for object in expired {
            let id = object.object;
            let (key, version) = (object.key, object.version);
            let mut event = self.own_event(Operation::Reconcile)?;
            let done = if object.state == State::Destroying { "destroyed" } else { "undone" };
            (event.key, event.version, event.detail) = (Some(key), Some(version), Some(format!("object {id} {done}")));
            match self.destroy_object(object, now, Some(event)).await {
                Ok(true) => {
                    outcome.settled += 1;
                    tracing::info!(object = %id, %key, "a token object that was left half made or half destroyed is {done}");
                }
                Ok(false) => {}
                Err(refusal) => {
                    outcome.failed += 1;
                    tracing::warn!(object = %id, ?refusal, "a token object could not be undone yet");
                }
            }
        }
        Ok(outcome)
    }

    /// Compares the token's objects with the database's rows. Read-only, except that objects of `DESTROYED` rows are destroyed.
    pub async fn compare_token(&self) -> Result<Comparison, Refusal> {
        let objects = self.token().objects().await?;
        let known = self.known_objects().await?;
        let mut comparison = Comparison::default();
        let mut present = std::collections::HashSet::with_capacity(objects.len());
        for object in objects {
            match object.id {
                Some(id) if known.contains_key(&id) => drop(present.insert(id)),
                // The other half of a pair.
                Some(id) if !present.insert(id) => {
                    if comparison.orphans.iter().any(|orphan| orphan.id == Some(id)) {
                        comparison.orphans.push(orphan(object));
                    }
                }
                _ => self.settle_stranger(object, &mut comparison).await?,
            }
        }
        for (id, state) in known {
            if state == State::Active && !present.contains(&id) && self.is_missing(id).await? {
                tracing::error!(object = %id, "an object that a key in service needs is not in the token");
                let owner = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.object_owner(id)?)).await?;
                comparison.missing.extend(owner.map(|(key, version)| MissingObject { id, key, version }));
            }
        }
        self.0.comparison.store(Some(std::sync::Arc::new(comparison.clone())));
        Ok(comparison)
    }

    /// An object that the pages of known rows don't name: one row's state decides, read after the object was seen.
    async fn settle_stranger(&self, object: ObjectInfo, comparison: &mut Comparison) -> Result<(), Refusal> {
        let Some(id) = object.id else {
            comparison.orphans.push(orphan(object));
            return Ok(());
        };
        match self.store().read::<_, Refusal, _>(move |reader| Ok(reader.object_state(id)?)).await? {
            None => comparison.orphans.push(orphan(object)),
            // Still there, that is: it may have been destroyed since it was seen.
            Some(State::Destroyed) if self.token().exists(id).await? => {
                tracing::warn!(object = %id, "an object of a destroyed key appeared late and is destroyed");
                self.token().destroy(id).await?;
                self.record_late(id).await?;
                comparison.late.push(id);
            }
            Some(State::Provisioning | State::Active | State::PendingDeletion | State::Destroying | State::Destroyed) => {}
        }
        Ok(())
    }

    async fn record_late(&self, id: ObjectId) -> Result<(), Refusal> {
        let whose = self.store().read::<_, Refusal, _>(move |reader| {
            let Some((key, version)) = reader.object_owner(id)? else { return Ok(None) };
            Ok(Some((key, version, reader.home_of(key)?)))
        });
        let whose = whose.await?;
        let fill = move |event: &mut AuditEvent| {
            event.detail = Some(format!("late object {id} destroyed"));
            if let Some((key, version, home)) = whose {
                (event.key, event.version) = (Some(key), Some(version));
                (event.project, event.key_store) = home.map_or((None, None), |(project, key_store)| (Some(project), key_store));
            }
        };
        self.record_own(Operation::Reconcile, fill).await
    }

    /// A row was ACTIVE when it was read: still so, and its object still not there? What was destroyed meanwhile isn't missing.
    async fn is_missing(&self, id: ObjectId) -> Result<bool, Refusal> {
        let state = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.object_state(id)?)).await?;
        Ok(state == Some(State::Active) && !self.token().exists(id).await?)
    }

    async fn known_objects(&self) -> Result<std::collections::HashMap<ObjectId, State>, Refusal> {
        let mut known = std::collections::HashMap::new();
        let mut after = None;
        loop {
            let page = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.known_objects(after, PAGE)?)).await?;
            let Some((last, _)) = page.last() else { return Ok(known) };
            after = Some(*last);
            known.extend(page);
        }
    }

    /// Keeps a record of what the service did by itself.
    pub(super) async fn record_own(&self, operation: Operation, fill: impl FnOnce(&mut AuditEvent)) -> Result<(), Refusal> {
        let mut event = self.own_event(operation)?;
        fill(&mut event);
        Ok(self.store().audit(event, Uses::default()).await?)
    }

    /// The draft of a record of what the service does by itself.
    pub(super) fn own_event(&self, operation: Operation) -> Result<AuditEvent, Refusal> {
        Ok(AuditEvent {
            at: self.now(),
            request: RequestId::from_bytes(super::provisioning::random_id()?),
            project: None,
            actor: Actor::Service,
            address: None,
            mac: None,
            certificate: None,
            user_agent: None,
            operation,
            key_store: None,
            key: None,
            version: None,
            result_code: 0,
            detail: None,
        })
    }
}
