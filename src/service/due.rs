//! What the clock asks for: keys that rotate by themselves, and what was pending for its seven days. Every node looks at the same time;
//! whoever first holds a row, with what is due still due, does it, and the others find it done. What could not be done is tried again at the
//! next run; what a crash leaves half done has a lease, and the reconciler settles it.

use super::Service;
use super::client_rules::shown_value;
use super::notifications::telling;
use super::refusal::Refusal;
use super::rotate_key::RotateWhen;
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientRuleId, KeyId, KeyStoreId, KeyVersion, ObjectId};
use crate::domain::key::{Stamp, State};
use crate::domain::lifecycle::{Command, Event, next, permit};
use crate::store::{Change, Due, DueKind, DueSubject, KeyRow, StoreError, Tx};

/// The most things that are read at a time.
const BATCH: i64 = 256;

/// What a run of a task did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Done by this node.
    pub done: usize,
    /// Could not be done now.
    pub failed: usize,
}

impl Swept {
    /// Counts what became of one thing; `false` is that it isn't wanted any more.
    pub(super) fn count(&mut self, what: &str, outcome: Result<bool, Refusal>) {
        match outcome {
            Ok(done) => self.done += usize::from(done),
            // Another node was faster, or it was restored, changed or destroyed meanwhile.
            Err(Refusal::Code(code)) => tracing::info!(what, ?code, "something due is no longer as it was; left alone"),
            Err(refusal) => {
                self.failed += 1;
                tracing::warn!(what, ?refusal, "something due could not be done; the next run tries again");
            }
        }
    }
}

impl Service {
    /// Rotates keys whose date has come. A rotation that came due several times while nothing ran happens once: the next date counts from it.
    pub async fn rotate_due(&self) -> Result<Swept, Refusal> {
        self.require_agreeing_clock().await?;
        self.sweep(&[DueKind::Rotation]).await
    }

    /// Destroys keys, versions and client rules whose seven days are over, by a clock that is right.
    pub async fn delete_due(&self) -> Result<Swept, Refusal> {
        self.note_right_clock().await?;
        self.sweep(&[DueKind::ClientRuleDeletion, DueKind::VersionDeletion, DueKind::KeyDeletion]).await
    }

    async fn sweep(&self, kinds: &[DueKind]) -> Result<Swept, Refusal> {
        let now = self.now();
        let mut swept = Swept::default();
        for kind in kinds.iter().copied() {
            let mut after = None;
            loop {
                let page = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.due(kind, now, after, BATCH)?)).await?;
                let Some(last) = page.last() else { break };
                after = Some(*last);
                if kind != DueKind::Rotation {
                    self.require_right_clock().await?;
                }
                for due in page {
                    // Entries have nothing in the token.
                    if kind != DueKind::ClientRuleDeletion || self.tasks().is_closed() {
                        self.require_token()?;
                    }
                    let settled = self.settle(due, now).await;
                    if let (DueSubject::Rotation(key), Err(Refusal::Unavailable { .. })) = (due.what, &settled) {
                        // Others that are due don't wait for that.
                        if let Err(refusal) = self.tell_of_failed_rotation(key).await {
                            tracing::warn!(%key, ?refusal, "a rotation that failed could not be told");
                        }
                    }
                    swept.count(&format!("{:?}", due.what), settled);
                }
            }
        }
        Ok(swept)
    }

    /// Refuses to begin anything else by itself while the token can't be used (each try would use up a version number), or when the
    /// process is about to end.
    pub(super) fn require_token(&self) -> Result<(), Refusal> {
        if self.tasks().is_closed() {
            return Err(Refusal::unavailable("the service stops"));
        }
        if self.token().health().ready { Ok(()) } else { Err(Refusal::unavailable("the token is not ready")) }
    }

    async fn settle(&self, due: Due, now: Timestamp) -> Result<bool, Refusal> {
        match due.what {
            DueSubject::Rotation(key) => self.rotate_by_itself(key, RotateWhen::Due(now), "due").await,
            DueSubject::Key(key) => self.delete_due_key(key, now).await,
            DueSubject::Version(key, version) => self.delete_due_version(key, version, now).await,
            DueSubject::ClientRule(rule) => self.delete_due_rule(rule, now).await,
        }
    }

    /// Rotates a key without anybody asking, if it is still wanted; whether this node did it.
    pub(super) async fn rotate_by_itself(&self, key: KeyId, when: RotateWhen, why: &str) -> Result<bool, Refusal> {
        let mut record = self.own_event(Operation::RotateKey)?;
        record.detail = Some(why.to_owned());
        let found = self.store().read::<_, Refusal, _>(move |reader| {
            let Some((project, row)) = reader.key(key)? else { return Ok(None) };
            Ok(Some((project, reader.key_store(row.key.key_store)?)))
        });
        let Some((project, key_store)) = found.await? else { return Ok(false) };
        (record.project, record.key, record.key_store) = (Some(project), Some(key), key_store.map(|key_store| key_store.number));
        let rotated = self.rotate(key, when, self.own_stamp(), (record, Uses::default())).await?;
        if let Some(rotated) = &rotated {
            tracing::info!(%key, version = %rotated.version, why, "a key was rotated");
        }
        Ok(rotated.is_some())
    }

    async fn delete_due_key(&self, key: KeyId, now: Timestamp) -> Result<bool, Refusal> {
        self.destroy_due(key, Operation::DeleteKey, None, move |tx, row, lease_until, stamp| {
            let is_due = row.key.state == State::PendingDeletion && row.key.deletion.is_some_and(|due| due <= now);
            if !is_due {
                return Ok(None);
            }
            permit(&row.key, &row.versions, Command::Destroy)?;
            Ok(Some(tx.begin_destroying_key(key, lease_until, stamp)?))
        })
        .await
    }

    async fn delete_due_version(&self, key: KeyId, number: KeyVersion, now: Timestamp) -> Result<bool, Refusal> {
        self.destroy_due(key, Operation::DeleteVersion, Some(number), move |tx, row, lease_until, stamp| {
            let version = row.versions.iter().find(|version| version.version == number);
            let is_due = version.is_some_and(|version| version.state == State::PendingDeletion && version.deletion.is_some_and(|due| due <= now));
            if !is_due {
                return Ok(None);
            }
            permit(&row.key, &row.versions, Command::DestroyVersion(number))?;
            Ok(Some(tx.begin_destroying_version(key, number, lease_until, stamp)?))
        })
        .await
    }

    /// Begins the end of a key or a version, with its record, by `begin`, which is given the key as it is while its row is held, and brings it
    /// about. From the transaction on there is no way back: what can't be finished now, the reconciler finishes.
    async fn destroy_due<F>(&self, key: KeyId, operation: Operation, version: Option<KeyVersion>, begin: F) -> Result<bool, Refusal>
    where
        F: FnOnce(&mut Tx<'_>, &KeyRow, Timestamp, &Stamp) -> Result<Option<Vec<ObjectId>>, Refusal> + Send + 'static,
    {
        let record = AuditEvent { key: Some(key), version, detail: Some("due".to_owned()), ..self.own_event(operation)? };
        let (stamp, lease_until) = (self.own_stamp(), self.lease());
        let begun = self.store().change::<_, Refusal, _>(move |tx| {
            let Some((project, row)) = tx.hold_key(key)? else { return Ok(None) };
            let Some(objects) = begin(tx, &row, lease_until, &stamp)? else { return Ok(None) };
            let about = telling::key_subject(tx, &row.key, version)?;
            telling::deleted(tx, about, &stamp)?;
            tx.changed(Change::Key(key))?;
            let key_store = tx.key_store(row.key.key_store)?.map(|key_store| key_store.number);
            tx.audit(AuditEvent { project: Some(project), key_store, ..record }, Uses::default())?;
            Ok(Some(objects))
        });
        let Some(objects) = begun.await? else { return Ok(false) };
        self.apply(&[Change::Key(key)]);
        tracing::info!(%key, version = version.map(tracing::field::display), "a deletion that was due is carried out");
        self.finish_destruction(objects).await?;
        Ok(true)
    }

    async fn delete_due_rule(&self, rule: ClientRuleId, now: Timestamp) -> Result<bool, Refusal> {
        let (record, stamp) = (self.own_event(Operation::DeleteClientRule)?, self.own_stamp());
        let done = self.store().change::<_, Refusal, _>(move |tx| end_rule(tx, rule, now, &stamp, record)).await?;
        if let Some(key_store) = done {
            self.apply(&[Change::KeyStore(key_store)]);
        }
        Ok(done.is_some())
    }

    /// Who did what the service does by itself.
    pub(super) fn own_stamp(&self) -> Stamp {
        Stamp { user: Actor::Service.user(), at: self.now() }
    }
}

/// Destroys a client rule that is still due, with its record; answers its key store. A key store on its way out takes its rules along.
fn end_rule(tx: &mut Tx<'_>, rule: ClientRuleId, now: Timestamp, stamp: &Stamp, record: AuditEvent) -> Result<Option<KeyStoreId>, Refusal> {
    let Some((id, _)) = tx.client_rule(rule)? else { return Ok(None) };
    tx.hold_active_key_store(id)?;
    let Some((_, found)) = tx.client_rule(rule)?.filter(|(_, found)| found.deletion.is_some_and(|due| due <= now)) else { return Ok(None) };
    if next(found.state, Event::Destroy).is_err() {
        return Ok(None);
    }
    let about = telling::rule_subject(tx, &found)?;
    telling::deleted(tx, about, stamp)?;
    tx.set_client_rule_state(rule, State::PendingDeletion, State::Destroyed, Some(stamp.at), stamp)?;
    tx.changed(Change::KeyStore(id))?;
    let key_store = tx.key_store(id)?.ok_or(StoreError::Stale { what: "key store" })?;
    let detail = Some(format!("{} {}, due", found.value.method().as_str(), shown_value(&found.value)));
    tx.audit(AuditEvent { project: Some(key_store.project), key_store: Some(key_store.number), detail, ..record }, Uses::default())?;
    Ok(Some(id))
}
