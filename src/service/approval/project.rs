//! Requests about a project itself: who may ask and approve, and whether changes need approval.

use super::proposal::Proposal;
use crate::domain::account::{AccessKeyId, Role};
use crate::domain::approval::{ExpiryDays, Note, ProposedChange};
use crate::domain::audit::Operation;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::administration::parse_login;
use crate::service::refusal::Proposed;
use crate::service::request::{Asking, Request, Right, Scope};
use crate::service::{Refusal, Service};
use crate::store::Change;

/// A change of a project itself.
#[derive(Debug, Clone)]
pub enum ProjectChange {
    /// An account gets a role.
    GrantRole {
        /// Its login name.
        login: String,
        /// The role.
        role: Role,
    },
    /// A role is taken away.
    RevokeRole {
        /// The account's login name.
        login: String,
        /// The role.
        role: Role,
    },
    /// An account comes into being, with roles in the project.
    CreateAccount {
        /// Its login name.
        login: String,
        /// The first part of its first password, to be changed; whoever approves gets the second.
        password: SecretText,
        /// Its roles.
        roles: Vec<Role>,
    },
    /// An account that asks or approves in this project alone gets another password; its second factor is removed.
    ResetPassword {
        /// Its login name.
        login: String,
        /// The first part of the password, to be changed; whoever approves gets the second.
        password: SecretText,
    },
    /// An account that asks or approves in this project alone, and was disabled, may do again what its roles allow.
    EnableAccount {
        /// Its login name.
        login: String,
    },
    /// An access key may approve, or no longer.
    SetMayApprove {
        /// The User Access Key ID.
        access_key: String,
        /// Whether it may.
        allowed: bool,
    },
    /// How long drafts and requests wait.
    ChangeExpiry(ExpiryDays),
    /// Changes need no approval any more.
    TurnApprovalOff,
}

impl ProjectChange {
    /// What is to be changed, and the first part of a password.
    fn proposed(self) -> Result<(ProposedChange, Option<SecretText>), Invalid> {
        Ok(match self {
            Self::GrantRole { login, role } => (ProposedChange::GrantRole { login: parse_login(&login)?, role }, None),
            Self::RevokeRole { login, role } => (ProposedChange::RevokeRole { login: parse_login(&login)?, role }, None),
            Self::CreateAccount { login, password, mut roles } => {
                roles.sort_unstable();
                roles.dedup();
                (ProposedChange::CreateAccount { login: parse_login(&login)?, roles }, Some(password))
            }
            Self::ResetPassword { login, password } => (ProposedChange::ResetPassword { login: parse_login(&login)? }, Some(password)),
            Self::EnableAccount { login } => (ProposedChange::EnableAccount { login: parse_login(&login)? }, None),
            Self::SetMayApprove { access_key, allowed } => {
                let access_key = AccessKeyId::parse(&access_key).ok_or_else(|| Invalid::new("id", "names no access key"))?;
                (ProposedChange::SetMayApprove { access_key, allowed }, None)
            }
            Self::ChangeExpiry(expiry) => (ProposedChange::ChangeGovernance { expiry }, None),
            Self::TurnApprovalOff => (ProposedChange::TurnApprovalOff, None),
        })
    }
}

impl Service {
    async fn project_proposal(&self, scope: &mut Scope, change: ProjectChange) -> Result<Proposal, Refusal> {
        let (change, first_part) = change.proposed()?;
        let sealed = match (change.password_of(), first_part) {
            (Some(login), Some(first_part)) => Some(self.seal_first_part(scope, login, first_part).await?),
            _ => None,
        };
        let proposal = Proposal::of_project(change);
        Ok(match sealed {
            Some(sealed) => proposal.sealed(sealed),
            None => proposal,
        })
    }

    /// Asks for a change of the project itself, in a request of its own. Approval must be on: where it is off, there are other ways.
    pub async fn ask_of_project(&self, request: Request, input: Result<(Note, ProjectChange), Refusal>) -> Result<Proposed, Refusal> {
        // One whose note can't be read is refused below, to those alone who may ask.
        let asking = input.as_ref().map_or(Asking::Draft, |(note, _)| Asking::Request(note.clone()));
        let asked = self.run::<(), _>(Request { asking, ..request }, Operation::RequestApproval, Right::Govern, move |service, scope| {
            Box::pin(async move {
                let (_, change) = input?;
                if !scope.is_asked() {
                    return Err(Invalid::new("approval", "is off in this project").into());
                }
                let proposal = service.project_proposal(scope, change).await?;
                Err(service.propose(scope, proposal).await)
            })
        });
        match asked.await {
            Err(Refusal::Proposed(proposed)) => Ok(proposed),
            Err(refusal) => Err(refusal),
            Ok(()) => Err(ResultCode::Conflict.into()),
        }
    }

    /// Sets how long drafts and requests wait, where approval is off; where it is on, that is asked for.
    pub async fn set_request_expiry(&self, request: Request, expiry: Result<ExpiryDays, Invalid>) -> Result<(), Refusal> {
        self.run(request, Operation::ChangeGovernance, Right::Govern, move |service, scope| {
            Box::pin(async move {
                let expiry = expiry?;
                scope.details(format!("requests wait {} days", expiry.days()));
                let (project, stamp) = (scope.project.id, scope.stamp(service));
                let (event, uses) = scope.record_of_success(service);
                service
                    .store()
                    .change::<_, Refusal, _>(move |tx| {
                        tx.set_expiry(project, expiry, &stamp)?;
                        tx.changed(Change::Project(project))?;
                        Ok(tx.audit(event, uses)?)
                    })
                    .await?;
                scope.committed();
                Ok(())
            })
        })
        .await
    }
}
