//! Approval: in a project that has it on, nobody changes anything alone.
//!
//! - **The gate** is twofold. `Service::run` refuses a change of such a project unless it is asked for; and `Tx::audit` refuses the record of
//!   one, and so the change itself, unless the transaction applies what was approved. No path can go round that.
//! - **Asking** is the change's own use case: it checks what was typed as ever, and then, instead of the change, a [`Proposal`] goes into the
//!   key store's draft or becomes a request (`propose.rs`). Whether it could be done is found out by doing it, all of the draft, in a
//!   transaction that is not kept.
//! - **Deciding** (`decide.rs`) is one transaction; of two who decide at once, one wins.
//! - **Applying** (`job.rs`, `apply.rs`) is a job with a lease. It calls what the use cases call, so that no rule is written twice:
//!
//! | step | a crash here leaves | healed by |
//! |---|---|---|
//! | 1 rows of what the token is to make, `PROVISIONING`, with the job's lease | rows without objects | whoever takes the job over once its lease has ended: undoes them, begins again |
//! | 2 the objects | objects of such rows | the same |
//! | 3 one transaction: what it builds on is as it was, digest and standing of both people are right; then every change with its record, and `APPROVED` | all of it done | nothing to heal |
//! | 4 what was deleted leaves the token | `DESTROYING` rows with a lease | the reconciler |
//!
//! What is made with the draft (keys from outside, a new key store's own key) is `PROVISIONING` with a lease that lasts as long as the draft or
//! request may, and a while longer: no node needs to be up meanwhile. The transaction that ends a request otherwise begins its end.

mod apply;
mod base;
mod decide;
mod drafts;
mod governance;
mod job;
mod password;
mod project;
mod proposal;
mod propose;
mod recording;
mod requests;
mod telling;
mod undo;

use std::time::Duration;

use super::Service;
use super::refusal::Refusal;
use super::request::Scope;
use crate::domain::approval::ChangeRequest;
use crate::domain::ids::{ChangeRequestId, ProjectId};
use crate::domain::result_code::ResultCode;
use crate::store::Tx;

pub use decide::Approved;
pub(super) use governance::Workable;
pub use governance::{ApprovalCounts, ApprovalStatus, GovernanceState, ProjectEmergency, RoleHolder};
pub use password::check_first_part;
pub use project::ProjectChange;
pub(super) use proposal::Proposal;
pub use requests::{ListedRequest, OpenRequest, RequestDetails, RequestQuery};

/// The most requests about a project itself that are open at a time.
const PROJECT_REQUESTS_MAX: i64 = 100;
/// How long what was made for a draft or request outlives its expiry: longer than it takes to apply it, or to notice that it has expired.
const MATERIAL_GRACE: Duration = Duration::from_secs(24 * 3_600);

/// The name that a path has for a draft or request.
fn parse_id(text: &str) -> Result<ChangeRequestId, ResultCode> {
    text.parse().map_err(|_| ResultCode::InvalidApprovalRequest)
}

/// A draft or request of a project, its row held.
fn held(tx: &mut Tx<'_>, project: ProjectId, id: ChangeRequestId) -> Result<ChangeRequest, Refusal> {
    let found = tx.hold_change_request(id)?.filter(|request| request.project == project);
    found.ok_or(ResultCode::InvalidApprovalRequest.into())
}

impl Service {
    /// Names the key store of a request in the record.
    async fn names_request(&self, scope: &mut Scope, id: ChangeRequestId) -> Result<(), Refusal> {
        let project = scope.project.id;
        let found = self.store().read::<_, Refusal, _>(move |reader| {
            let Some(request) = reader.change_request(id)?.filter(|request| request.project == project) else { return Ok(None) };
            Ok(request.key_store.map(|key_store| reader.key_store_label(key_store)).transpose()?.flatten())
        });
        if let Some((number, _)) = found.await? {
            scope.names_key_store(number);
        }
        scope.details(format!("request {id}"));
        Ok(())
    }
}
