//! The end of token objects whose row says `DESTROYING`. What a crash leaves at any step is an object with a lease: whoever takes it over
//! when that ends finishes it.

use std::time::Duration;

use super::Service;
use super::refusal::Refusal;
use crate::domain::audit::{AuditEvent, Uses};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ObjectId;
use crate::domain::result_code::ResultCode;
use crate::store::Change;

/// How long somebody who asked for a destruction waits for the token.
const DESTRUCTION_WAIT: Duration = Duration::from_secs(5);

impl Service {
    /// Until when this node is trusted to be at work on what it begins now, in the time that all nodes agree on: their clocks may differ by more than a
    /// lease is long.
    pub(super) fn lease(&self) -> Timestamp {
        self.agreed_time().plus(self.0.settings.lease)
    }

    /// Finishes what a transaction of this node began: each object out of the token, then its row to `DESTROYED`. What fails is left to the
    /// reconciler: the decision is durable already, and none of these objects is used any more.
    pub(super) async fn finish_destruction(&self, objects: Vec<ObjectId>) -> Result<(), Refusal> {
        let mut outcome = Ok(());
        for object in objects {
            match self.destroy_doomed(object, None).await {
                // No longer `DESTROYING`: our lease ended meanwhile, and whoever took it over has finished.
                Ok(()) | Err(Refusal::Code(ResultCode::Conflict)) => {}
                // The others don't wait for one that can't be destroyed now.
                Err(refusal) => {
                    tracing::warn!(%object, ?refusal, "a token object could not be destroyed yet; the reconciler will");
                    outcome = Err(refusal);
                }
            }
        }
        outcome
    }

    /// The same for somebody who asked: waits a while at most, since many objects take long. Deleted it is, whether or not the token can be asked
    /// now: the transaction before this said so, and what is left over is finished by this task or by the reconciler.
    pub(super) async fn finish_destruction_soon(&self, objects: Vec<ObjectId>) {
        let service = self.clone();
        let work = self.tasks().spawn(async move { service.finish_destruction(objects).await });
        drop(tokio::time::timeout(DESTRUCTION_WAIT, work).await);
    }

    /// An object of this node's lease out of the token, then its row to `DESTROYED`, with `record` where no request keeps one: it tells the
    /// project that the key is of.
    pub(super) async fn destroy_doomed(&self, object: ObjectId, record: Option<AuditEvent>) -> Result<(), Refusal> {
        self.token().destroy(object).await?;
        let at = self.now();
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                tx.object_destroyed(object, at)?;
                if let Some(event) = record {
                    let home = event.key.map(|key| tx.home_of(key)).transpose()?.flatten();
                    let (project, key_store) = home.map_or((None, None), |(project, key_store)| (Some(project), key_store));
                    tx.audit(AuditEvent { project, key_store, ..event }, Uses::default())?;
                }
                Ok(tx.changed(Change::ObjectGone(object))?)
            })
            .await?;
        self.apply(&[Change::ObjectGone(object)]);
        Ok(())
    }
}
