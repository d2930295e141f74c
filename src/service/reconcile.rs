//! Healing what a crash left behind: objects that were being made or destroyed when their maker's lease ended.

use super::Service;
use super::refusal::Refusal;
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::ids::{ObjectId, RequestId};
use crate::domain::key::State;

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
    /// Objects in the token that no row names: reported, never destroyed on a guess.
    pub orphans: Vec<String>,
    /// Objects that an `ACTIVE` row names and the token doesn't have: an alarm.
    pub missing: Vec<ObjectId>,
    /// Objects of `DESTROYED` rows that appeared late, and were destroyed.
    pub late: usize,
}

impl Service {
    /// Takes over objects whose lease has ended and always undoes them. Safe on any number of nodes at once.
    pub async fn reconcile(&self) -> Result<Reconciled, Refusal> {
        let now = self.now();
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
                None => comparison.orphans.push(format!("{} \"{}\"", object.class, object.label)),
                Some(id) if known.contains_key(&id) => drop(present.insert(id)),
                Some(id) if present.contains(&id) => {}
                Some(id) => {
                    present.insert(id);
                    self.settle_stranger(id, &object.label, &mut comparison).await?;
                }
            }
        }
        for (id, state) in known {
            if state == State::Active && !present.contains(&id) && self.is_missing(id).await? {
                tracing::error!(object = %id, "an object that a key in service needs is not in the token");
                comparison.missing.push(id);
            }
        }
        self.0.comparison.store(Some(std::sync::Arc::new(comparison.clone())));
        Ok(comparison)
    }

    /// An object that the pages of known rows don't name: one row's state decides, read after the object was seen.
    async fn settle_stranger(&self, id: ObjectId, label: &str, comparison: &mut Comparison) -> Result<(), Refusal> {
        match self.store().read::<_, Refusal, _>(move |reader| Ok(reader.object_state(id)?)).await? {
            None => comparison.orphans.push(format!("{id} \"{label}\"")),
            Some(State::Destroyed) => {
                comparison.late += 1;
                tracing::warn!(object = %id, "an object of a destroyed key appeared late and is destroyed");
                self.token().destroy(id).await?;
            }
            Some(State::Provisioning | State::Active | State::PendingDeletion | State::Destroying) => {}
        }
        Ok(())
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
