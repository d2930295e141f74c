//! The service's own beginnings: the keys it needs for itself, its certificate authority, and its start.

use std::time::Duration;

use super::Service;
use super::provisioning::{NewMaterial, random_id};
use super::refusal::Refusal;
use crate::domain::audit::{Actor, Operation, Uses};
use crate::domain::ids::{KeyId, KeyVersion};
use crate::domain::key::{Origin, Stamp};
use crate::hsm::ObjectKind;
use crate::store::{Change, InternalKey, Purpose};

/// How long after its lease an object of an interrupted run may still be in the way.
const LEFTOVER_GRACE: Duration = Duration::from_secs(5);
/// How long to wait before looking again whether that lease has ended.
const LEFTOVER_PAUSE: Duration = Duration::from_millis(500);
/// The most objects of an interrupted run that are undone at a time.
const LEFTOVERS_MAX: i64 = 64;
/// How long the start waits for the change log to be read.
const FRESHNESS_WAIT: Duration = Duration::from_secs(5);

impl Service {
    /// Makes what is missing of the service's own keys and its CA. Running it again makes nothing twice. The audit log's
    /// key comes first, so that everything after it is in a signed chain.
    pub async fn initialise(&self, operator_uid: u32, ca_name: &str) -> Result<(), Refusal> {
        let audit_key = match self.internal_key(Purpose::AuditCheckpoint).await? {
            Some(key) => key,
            None => self.make_internal_key(Purpose::AuditCheckpoint, ObjectKind::EcP256, None).await?,
        };
        self.begin_chain(audit_key).await?;
        for (purpose, kind) in [(Purpose::Canary, ObjectKind::Aes256), (Purpose::Seal, ObjectKind::Aes256), (Purpose::CertificateAuthority, ObjectKind::EcP256)]
        {
            if self.internal_key(purpose).await?.is_none() {
                self.make_internal_key(purpose, kind, Some(operator_uid)).await?;
            }
        }
        self.make_first_authority(operator_uid, ca_name).await?;
        self.use_own_keys().await
    }

    /// Starts the service on what [`Service::initialise`] made: canary, audit chain, CA, freshness.
    pub async fn begin(&self) -> Result<(), Refusal> {
        let missing = || Refusal::unavailable("the service's own keys are missing: run `skm init`");
        let audit_key = self.internal_key(Purpose::AuditCheckpoint).await?.ok_or_else(missing)?;
        self.begin_chain(audit_key).await?;
        self.use_own_keys().await
    }

    /// Hands the canary to the token, loads the CA, and waits until the change log was read.
    async fn use_own_keys(&self) -> Result<(), Refusal> {
        let missing = || Refusal::unavailable("the service's own keys are missing: run `skm init`");
        let canary = self.internal_key(Purpose::Canary).await?.ok_or_else(missing)?;
        self.token().use_canary(canary.object);
        self.load_authorities().await?;
        // Before anything is leased.
        self.look_at_clock().await?;
        let deadline = tokio::time::Instant::now() + FRESHNESS_WAIT;
        while let Err(refusal) = self.require_freshness() {
            if tokio::time::Instant::now() > deadline {
                return Err(refusal);
            }
            tokio::time::sleep(self.0.settings.freshness_interval.min(Duration::from_millis(20))).await;
        }
        Ok(())
    }

    /// The DER SPKI of the key that signs the audit log, to be pinned elsewhere, with its ID.
    pub async fn audit_public_key(&self) -> Result<(KeyId, Vec<u8>), Refusal> {
        let key = self.internal_key(Purpose::AuditCheckpoint).await?.ok_or_else(|| Refusal::unavailable("no audit key: run `skm init`"))?;
        let spki = key.public_key.ok_or_else(|| Refusal::unavailable("the audit key has no public key"))?;
        Ok((key.id, spki))
    }

    async fn internal_key(&self, purpose: Purpose) -> Result<Option<InternalKey>, Refusal> {
        self.store().read(move |reader| Ok(reader.internal_key(purpose)?)).await
    }

    /// Makes a key of the service's own. What an interrupted run left of it is waited for (its maker may still be at work until
    /// its lease ends) and undone first. Without an operator there is no record: that is the audit log's own key, which the first
    /// record of the log follows.
    async fn make_internal_key(&self, purpose: Purpose, kind: ObjectKind, operator_uid: Option<u32>) -> Result<InternalKey, Refusal> {
        let give_up = self.now().plus(self.0.settings.lease.saturating_add(LEFTOVER_GRACE));
        loop {
            match self.try_internal_key(purpose, kind, operator_uid).await {
                Err(Refusal::Exists { .. }) if self.now() < give_up => {
                    self.undo_leftovers().await?;
                    if let Some(key) = self.internal_key(purpose).await? {
                        return Ok(key);
                    }
                    tokio::time::sleep(LEFTOVER_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Undoes objects whose lease has ended, without records: the audit chain may not have begun yet.
    async fn undo_leftovers(&self) -> Result<(), Refusal> {
        let now = self.now();
        for object in self.store().read::<_, Refusal, _>(move |reader| Ok(reader.expired_objects(now, LEFTOVERS_MAX)?)).await? {
            tracing::info!(object = %object.object, "undoing what an interrupted run left");
            self.destroy_object(object, now, None).await?;
        }
        Ok(())
    }

    async fn try_internal_key(&self, purpose: Purpose, kind: ObjectKind, operator_uid: Option<u32>) -> Result<InternalKey, Refusal> {
        let id = KeyId::from_bytes(random_id()?);
        let planned = self.plan_object(id, KeyVersion::FIRST)?;
        let stamp = Stamp { user: "skm".to_owned(), at: self.now() };
        let row = planned.clone();
        self.store().change::<_, Refusal, _>(move |tx| Ok(tx.insert_internal_key(purpose, &row, &stamp)?)).await?;
        let public_key = self.make_object(&planned, NewMaterial::Generated(kind)).await?;
        let mut event = self.own_event(Operation::CreateKey)?;
        event.key = Some(id);
        event.detail = Some(format!("internal key: {purpose:?}"));
        let (row, spki) = (planned.clone(), public_key.clone());
        let activated = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                tx.activate_object(&row, spki.as_deref(), Origin::Generated)?;
                if let Some(uid) = operator_uid {
                    event.actor = Actor::Operator(uid);
                    tx.audit(event, Uses::default())?;
                }
                Ok(tx.changed(Change::Key(id))?)
            })
            .await;
        if let Err(refusal) = activated {
            self.undo_object(&planned).await;
            return Err(refusal);
        }
        Ok(InternalKey { id, purpose, version: KeyVersion::FIRST, object: planned.object, public_key })
    }
}
