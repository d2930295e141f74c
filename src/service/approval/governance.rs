//! Whether changes of a project need approval: turned on by one who may, turned off by two; and the operator's emergency way.

use super::recording::with_detail;
use crate::domain::account::{AccessKeyId, ApprovingKey, Role, Session};
use crate::domain::approval::{Emergency, Governance, Note, RequestState, Standing, is_workable};
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::text::{Invalid, Name, quoted};
use crate::service::administration::{Administrator, Operator, ProjectRef};
use crate::service::request::{Request, Right};
use crate::service::{Refusal, Service};
use crate::store::{Change, Reader, StoreError, Tx};

/// The most roles of a project that are looked at: who has one beyond that doesn't count among those who could ask and approve.
const STANDINGS_MAX: i64 = 1_000;

/// The most access keys that are told of.
const APPROVING_KEYS_MAX: i64 = 1_000;

/// The most projects that are told of as having approval turned off alone.
const EMERGENCIES_MAX: i64 = 20;

/// Approval of a project was turned off alone.
#[derive(Debug, Clone)]
pub struct ProjectEmergency {
    /// The project's row.
    pub id: ProjectId,
    /// Its name.
    pub project: Name,
    /// By whom, when, why.
    pub emergency: Emergency,
}

/// What of approval is to be watched, in all projects.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApprovalCounts {
    /// Projects in which it was turned off alone, which nobody has acknowledged.
    pub emergencies: i64,
    /// Requests that wait for a decision.
    pub ready: i64,
    /// Approved requests that are not applied yet.
    pub applying: i64,
}

/// How approval stands in a project.
#[derive(Debug, Clone)]
pub struct GovernanceState {
    /// Whether it is on, and how long requests wait.
    pub governance: Governance,
    /// Whether enough accounts could ask and approve.
    pub workable: bool,
}

/// How approval stands in a project, with the people whom that concerns.
#[derive(Debug, Clone)]
pub struct ApprovalStatus {
    /// The project.
    pub project: Name,
    /// Its governance.
    pub state: GovernanceState,
    /// Who approves.
    pub approvers: Vec<RoleHolder>,
    /// Who asks.
    pub askers: Vec<RoleHolder>,
    /// The access keys that approve in the name of one of the approvers, `APPROVING_KEYS_MAX` at most.
    pub approving_keys: Vec<ApprovingKey>,
}

/// An account with a role that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleHolder {
    /// Its login name.
    pub login: String,
    /// Whether it may do anything: one that is disabled can be enabled again, by a request.
    pub enabled: bool,
    /// Of one that approves: who last set its password alone, and may know it still.
    pub password_set_by: Option<String>,
}

fn governance_of(reader: &mut Reader<'_>, project: ProjectId) -> Result<(Governance, Vec<Standing>), Refusal> {
    let governance = reader.governance(project)?.ok_or(StoreError::Stale { what: "approval" })?;
    Ok((governance, reader.standings(project, STANDINGS_MAX)?))
}

/// In the transaction that turns it on, or takes a role away while it is on: somebody must be left who approves, and somebody else who asks. Two
/// nodes that take two of them away are one after the other.
pub(super) fn require_two(tx: &mut Tx<'_>, project: ProjectId) -> Result<(), Refusal> {
    tx.lock_governance(project)?;
    if is_workable(&tx.standings(project, STANDINGS_MAX)?) {
        return Ok(());
    }
    let problem = "needs an enabled account with the role APPROVAL ADMIN, and another one that asks: nobody could change anything otherwise";
    Err(Invalid::new("approval", problem).into())
}

/// The projects with approval on that an account has a part in, where somebody can approve what somebody else asks for: held until the commit.
pub(in crate::service) struct Workable(Vec<ProjectId>);

impl Workable {
    /// Before the account is changed.
    pub(in crate::service) fn hold(tx: &mut Tx<'_>, account: AccountId) -> Result<Self, Refusal> {
        let mut workable = Vec::new();
        // In the order of their rows, for all who hold several.
        for project in tx.governed_projects_of(account)? {
            tx.lock_governance(project)?;
            if is_workable(&tx.standings(project, STANDINGS_MAX)?) {
                workable.push(project);
            }
        }
        Ok(Self(workable))
    }

    /// After it: refused where nobody could change anything any more in one of them.
    pub(in crate::service) fn require_still(&self, tx: &mut Tx<'_>) -> Result<(), Refusal> {
        for project in &self.0 {
            if !is_workable(&tx.standings(*project, STANDINGS_MAX)?) {
                let name = tx.project(*project)?.map(|project| project.name.to_string()).unwrap_or_default();
                let problem = format!(
                    "names an account that project {name} needs, which has approval on: somebody must be left who approves, and somebody else who asks"
                );
                return Err(Invalid::new("login", problem).into());
            }
        }
        Ok(())
    }
}

/// Turns it on, and takes from access keys that they may approve, which was given to them alone. Answers what else the record says.
fn turn_on(tx: &mut Tx<'_>, project: ProjectId, stamp: &crate::domain::key::Stamp) -> Result<Option<String>, Refusal> {
    // Whoever lets an access key approve on another node is before this or after it.
    tx.hold_administration()?;
    tx.turn_approval(project, true, stamp).map_err(|error| already(error, "is on already"))?;
    require_two(tx, project)?;
    tx.changed(Change::Project(project))?;
    let approving = tx.let_none_approve_in(project, stamp)?;
    for access_key in &approving {
        tx.changed(Change::AccessKey(access_key.clone()))?;
    }
    let mut told = Vec::new();
    if !approving.is_empty() {
        let names: Vec<&str> = approving.iter().map(AccessKeyId::as_str).collect();
        let keys = if names.len() == 1 { "access key" } else { "access keys" };
        told.push(format!("{} {keys} may not approve any more: {}", names.len(), names.join(", ")));
    }
    let mut known = Vec::new();
    for found in tx.standings(project, STANDINGS_MAX)?.iter().filter(|found| found.has_approving_role()) {
        known.extend(tx.password_setter(found.account)?.map(|setter| format!("{} by {setter}", found.login)));
    }
    if !known.is_empty() {
        told.push(format!("passwords of those who approve, last set by one person alone: {}", known.join(", ")));
    }
    Ok((!told.is_empty()).then(|| told.join("; ")))
}

fn already(error: StoreError, problem: &str) -> Refusal {
    match error {
        StoreError::Stale { .. } => Invalid::new("approval", problem).into(),
        other => other.into(),
    }
}

impl Service {
    /// How approval stands in a project.
    pub async fn read_governance(&self, request: Request) -> Result<GovernanceState, Refusal> {
        self.run(request, Operation::ReadApprovals, Right::Ask, |service, scope| {
            Box::pin(async move {
                let project = scope.project.id;
                let read = service.store().read::<_, Refusal, _>(move |reader| governance_of(reader, project));
                let (governance, standings) = read.await?;
                Ok(GovernanceState { governance, workable: is_workable(&standings) })
            })
        })
        .await
    }

    /// From now on each change of the project needs somebody else's approval. Refused where nobody could ever change anything then.
    pub async fn turn_approval_on(&self, request: Request) -> Result<(), Refusal> {
        self.run(request, Operation::TurnApprovalOn, Right::Govern, |service, scope| {
            Box::pin(async move {
                let (project, stamp) = (scope.project.id, scope.stamp(service));
                let (event, uses) = scope.record_of_success(service);
                service
                    .store()
                    .change::<_, Refusal, _>(move |tx| {
                        let event = match turn_on(tx, project, &stamp)? {
                            Some(more) => with_detail(event, &more),
                            None => event,
                        };
                        Ok(tx.audit(event, uses)?)
                    })
                    .await?;
                scope.committed();
                service.apply(&[Change::Project(project), Change::Identity]);
                Ok(())
            })
        })
        .await
    }

    /// The same, by an administrator of the installation, or by an operator. Answers which access keys may not approve any more, if any might.
    pub async fn enable_approval(&self, by: impl Into<Administrator>, project: impl Into<ProjectRef>) -> Result<Option<String>, Refusal> {
        self.administer_in(by.into(), Operation::TurnApprovalOn, named(project.into()), |tx, (project, ()), act| {
            act.event.detail = Some(project.name.to_string());
            let more = turn_on(tx, project.id, &act.stamp)?;
            if let Some(more) = &more {
                act.event = with_detail(act.event.clone(), &format!("{}: {more}", quoted(project.name.as_str())));
            }
            act.changes.extend([Change::Project(project.id), Change::Identity]);
            Ok(more)
        })
        .await
    }

    /// Turns approval off without anybody's approval: the way out for whoever has the machine in hand. It is told wherever something can be
    /// told: audit log, log, metrics.
    pub async fn disable_approval(&self, operator: Operator, name: &str, reason: &str) -> Result<(), Refusal> {
        let told = |project: &dyn std::fmt::Display, reason: &Note| -> String {
            format!("EMERGENCY: approval of {} turned off alone: {}", quoted(&project.to_string()), quoted(reason.as_str()))
        };
        let read = || -> Result<_, Invalid> { Ok((ProjectRef::from(name).parsed()?, Note::parse("reason", reason)?)) };
        let prepared = read().map(|(project, reason)| (told(&project, &reason), (project, reason.as_str().to_owned()))).map_err(Refusal::from);
        self.administer_in(operator.into(), Operation::DisableApproval, prepared, |tx, (project, reason), act| {
            tx.turn_approval(project.id, false, &act.stamp).map_err(|error| already(error, "is off already"))?;
            super::telling::disabled(tx, project.id, &act.stamp)?;
            tx.note_emergency(project.id, &Emergency { disabled: act.stamp.clone(), reason })?;
            act.changes.push(Change::Project(project.id));
            Ok(())
        })
        .await?;
        tracing::warn!(project = name, uid = operator.uid, reason, "EMERGENCY: an operator turned approval off alone");
        Ok(())
    }

    /// Whoever keeps a project has seen that approval was turned off alone at `disabled`.
    pub async fn acknowledge_disabling(
        &self,
        by: impl Into<Administrator>,
        project: impl Into<ProjectRef>,
        disabled: Result<Timestamp, Refusal>,
    ) -> Result<(), Refusal> {
        let prepared = named(project.into()).and_then(|(told, (project, ()))| Ok((format!("approval of {told} was turned off alone"), (project, disabled?))));
        self.administer_in(by.into(), Operation::AcknowledgeDisabling, prepared, |tx, (project, disabled), act| {
            act.event.detail = Some(format!("approval of {} was turned off alone", project.name));
            Ok(tx.acknowledge_emergency(project.id, disabled)?)
        })
        .await
    }

    /// The projects in which approval was turned off alone, as far as the person at the console keeps them: an administrator of the
    /// installation all, an `ADMIN` his own.
    pub async fn emergencies(&self, by: &Session) -> Result<Vec<ProjectEmergency>, Refusal> {
        let keeps = |project: ProjectId| by.administrator || by.roles_in(project).any(Role::may_govern);
        if !by.administrator && !by.roles.iter().any(|(_, role)| role.may_govern()) {
            return Ok(Vec::new());
        }
        let found = self.store().read::<_, Refusal, _>(|reader| Ok(reader.emergencies(EMERGENCIES_MAX)?)).await?;
        let kept = found.into_iter().filter(|(id, ..)| keeps(*id));
        Ok(kept.map(|(id, project, emergency)| ProjectEmergency { id, project, emergency }).collect())
    }

    /// Looks what of approval is to be watched, for the metrics.
    pub async fn count_approvals(&self) -> Result<(), Refusal> {
        let counts = self.store().read::<_, Refusal, _>(|reader| {
            let (ready, applying) = (reader.count_in_state(RequestState::Ready)?, reader.count_in_state(RequestState::Applying)?);
            Ok(ApprovalCounts { emergencies: reader.count_emergencies()?, ready, applying })
        });
        self.0.approvals.store(Some(std::sync::Arc::new(counts.await?)));
        Ok(())
    }

    /// What of approval is to be watched, as last looked at; never waits. `None` before the first look.
    pub fn approval_counts(&self) -> Option<ApprovalCounts> {
        self.0.approvals.load().as_deref().copied()
    }

    /// Whether changes of a project need approval; of one that isn't there they don't.
    pub async fn needs_approval(&self, project: ProjectId) -> Result<bool, Refusal> {
        let found = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.project(project)?)).await?;
        Ok(found.is_some_and(|project| project.approval))
    }

    /// How approval stands in a project, and who could ask and approve: for those whom it concerns, and for who administers the installation.
    pub async fn approval_status(&self, by: impl Into<Administrator>, project: impl Into<ProjectRef>) -> Result<ApprovalStatus, Refusal> {
        let prepared = named(project.into()).map(|(told, (project, ()))| (format!("approval of {told}"), project));
        self.look_as(by.into(), prepared, true, |reader, project, standing, event| {
            let project = project.find(reader)?;
            event.project = Some(project.id);
            standing.require_asker_of(project.id)?;
            let (governance, standings) = governance_of(reader, project.id)?;
            let state = GovernanceState { governance, workable: is_workable(&standings) };
            let holder = |found: &Standing| RoleHolder { login: found.login.clone(), enabled: found.enabled, password_set_by: None };
            let mut approvers = Vec::new();
            for found in standings.iter().filter(|found| found.has_approving_role()) {
                approvers.push(RoleHolder { password_set_by: reader.password_setter(found.account)?, ..holder(found) });
            }
            Ok(ApprovalStatus {
                project: project.name,
                state,
                approvers,
                askers: standings.iter().filter(|found| found.has_asking_role()).map(holder).collect(),
                approving_keys: reader.approving_keys(project.id, APPROVING_KEYS_MAX)?,
            })
        })
        .await
    }
}

fn named(project: ProjectRef) -> Result<(String, (ProjectRef, ())), Refusal> {
    let project = project.parsed()?;
    Ok((project.to_string(), (project, ())))
}
