//! The audit log's seals: the signature of a chain's first record, and checkpoints over the chains' heads.

use std::collections::HashSet;
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use super::Service;
use super::refusal::Refusal;
use crate::domain::audit::{Operation, Uses, checkpoint_digest};
use crate::domain::ids::ChainId;
use crate::store::{Checkpoint, InternalKey, StoreError};

/// How often a checkpoint is tried while other nodes are faster.
const CHECKPOINT_TRIES: usize = 16;

/// The key that signs, once it is known.
#[derive(Debug, Default)]
pub(super) struct AuditKeys(OnceLock<InternalKey>);

/// What the first record of a chain says, so that the node that its row names is bound by its hash.
fn start_detail(node: &str) -> String {
    format!("skm {}, node {node}", env!("CARGO_PKG_VERSION"))
}

/// Whether a first record says that this node wrote it, whichever the program's version.
pub(super) fn names_node(detail: &str, node: &str) -> bool {
    detail.split_once(", node ").is_some_and(|(program, named)| program.starts_with("skm ") && named == node)
}

/// Which chains a checkpoint may list. Nobody signs what a process that is over, or another node, seems to have written since:
/// only whoever can write to the database could have.
#[derive(Debug, Clone, Copy)]
enum Listed {
    /// This process's own.
    ThisProcess,
    /// This node's: at the start, with what an earlier process wrote after its last checkpoint before it crashed.
    ThisNode,
}

/// What a checkpoint did.
#[derive(Debug, Clone)]
pub enum CheckpointOutcome {
    /// One was made.
    Made(Box<Checkpoint>),
    /// Another node made one at the same moment; its heads may lack our newest records, which the next one lists.
    AnotherNodeWas,
}

impl Service {
    /// Begins this process's chain: its first record, signed, and a checkpoint that lists it, so that the whole chain can't
    /// be dropped unnoticed.
    pub(super) async fn begin_chain(&self, signer: InternalKey) -> Result<(), Refusal> {
        let chain = self.store().chain();
        let mut event = self.own_event(Operation::StartChain)?;
        event.detail = Some(start_detail(&self.0.settings.node));
        self.store().audit(event, Uses::default()).await?;
        let first = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.chain_records(chain, 0, 1)?)).await?;
        let first = first.first().ok_or_else(|| Refusal::unavailable("the first audit record can't be read back"))?;
        let signature = self.sign_hash(&signer, &first.hash).await?;
        let signer_id = signer.id;
        self.store().change::<_, Refusal, _>(move |tx| Ok(tx.sign_chain(chain, &signature, signer_id)?)).await?;
        // Only the first call sets it; a service begins once.
        let _ = self.0.audit.0.set(signer);
        self.checkpoint_of_ours(Listed::ThisNode).await
    }

    /// A checkpoint of this node's own: another node's at the same moment may not list what this one just wrote.
    async fn checkpoint_of_ours(&self, listed: Listed) -> Result<(), Refusal> {
        for _ in 0..CHECKPOINT_TRIES {
            if let CheckpointOutcome::Made(_) = self.checkpoint_over(listed).await? {
                return Ok(());
            }
        }
        Err(Refusal::unavailable("other nodes make one checkpoint after the other"))
    }

    /// Signs the head of this process's chain, if it went on since the checkpoint before, and puts the checkpoint into the database
    /// and the log. Two nodes can't both follow the same checkpoint: together the checkpoints list the head of every chain.
    pub async fn checkpoint(&self) -> Result<CheckpointOutcome, Refusal> {
        self.checkpoint_over(Listed::ThisProcess).await
    }

    async fn checkpoint_over(&self, listed: Listed) -> Result<CheckpointOutcome, Refusal> {
        let signer = self.0.audit.0.get().ok_or_else(|| Refusal::unavailable("the audit chain was not begun"))?;
        let (chain, node) = (self.store().chain(), self.0.settings.node.clone());
        let (last, mut heads) = self
            .store()
            .read::<_, Refusal, _>(move |reader| {
                let mut heads = reader.chain_heads_to_checkpoint()?;
                match listed {
                    Listed::ThisProcess => heads.retain(|head| head.chain == chain),
                    Listed::ThisNode => {
                        let ours: HashSet<ChainId> = reader.chains()?.into_iter().filter(|of| of.node == node).map(|of| of.chain).collect();
                        heads.retain(|head| ours.contains(&head.chain));
                    }
                }
                Ok((reader.last_checkpoint()?, heads))
            })
            .await?;
        heads.sort_unstable_by_key(|head| head.chain);
        let number = last.as_ref().map_or(1, |last| last.number.saturating_add(1));
        let previous = last.map_or([0; 32], |last| last.digest);
        let at = self.now();
        let digest = checkpoint_digest(number, at, &previous, &heads);
        let signature = self.sign_hash(signer, &digest).await?;
        let checkpoint = Checkpoint { number, at, previous, heads, digest, signature, signer: signer.id };
        let row = checkpoint.clone();
        match self.store().change::<_, StoreError, _>(move |tx| tx.insert_checkpoint(&row)).await {
            Ok(()) => {}
            Err(StoreError::Exists { .. }) => return Ok(CheckpointOutcome::AnotherNodeWas),
            Err(error) => return Err(error.into()),
        }
        tracing::info!(target: "skm::audit", number, at = at.micros(), digest = hex::encode(digest), signature = hex::encode(signature), "audit checkpoint");
        Ok(CheckpointOutcome::Made(Box::new(checkpoint)))
    }

    /// Ends this process's chain in good order: what was only counted so far, a last record, and a checkpoint over it.
    pub async fn end_chain(&self) -> Result<(), Refusal> {
        let counted = self.record_refusals().await;
        self.record_own(Operation::EndChain, |_| {}).await?;
        self.checkpoint_of_ours(Listed::ThisProcess).await?;
        counted
    }

    /// How many audit records this process has written; never waits.
    pub fn records_written(&self) -> i64 {
        self.store().records_written()
    }

    /// ECDSA with SHA-256 over the 32 bytes of a hash, so that common tools can verify it.
    async fn sign_hash(&self, signer: &InternalKey, hash: &[u8; 32]) -> Result<[u8; 64], Refusal> {
        Ok(self.token().sign_digest(signer.object, Sha256::digest(hash).into()).await?)
    }
}
