//! The end of token objects whose row says `DESTROYING`. What a crash leaves at any step is an object with a lease: whoever takes it over
//! when that ends finishes it.

use super::Service;
use super::refusal::Refusal;
use crate::domain::audit::{AuditEvent, Uses};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ObjectId;
use crate::domain::result_code::ResultCode;
use crate::store::Change;

impl Service {
    /// Until when this node is trusted to be at work on what it begins now.
    pub(super) fn lease(&self) -> Timestamp {
        self.now().plus(self.0.settings.lease)
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

    /// An object of this node's lease out of the token, then its row to `DESTROYED`, with `record` where no request keeps one.
    pub(super) async fn destroy_doomed(&self, object: ObjectId, record: Option<AuditEvent>) -> Result<(), Refusal> {
        self.token().destroy(object).await?;
        let at = self.now();
        self.store()
            .change::<_, Refusal, _>(move |tx| {
                tx.object_destroyed(object, at)?;
                if let Some(event) = record {
                    tx.audit(event, Uses::default())?;
                }
                Ok(tx.changed(Change::ObjectGone(object))?)
            })
            .await?;
        self.apply(&[Change::ObjectGone(object)]);
        Ok(())
    }
}
