//! Whether changes of a project need approval: turned on by one who may, turned off by two; and the operator's emergency way.

use crate::domain::approval::{Governance, Note, Standing, is_workable};
use crate::domain::audit::Operation;
use crate::domain::ids::ProjectId;
use crate::domain::result_code::ResultCode;
use crate::domain::text::{Invalid, Name};
use crate::service::administration::{Operator, project};
use crate::service::request::{Request, Right};
use crate::service::{Refusal, Service};
use crate::store::{Change, Reader, StoreError, Tx};

/// The most roles of a project that are looked at: who has one beyond that doesn't count among those who could ask and approve.
const STANDINGS_MAX: i64 = 1_000;

/// How approval stands in a project.
#[derive(Debug, Clone)]
pub struct GovernanceState {
    /// Whether it is on, and how long requests wait.
    pub governance: Governance,
    /// Whether enough accounts could ask and approve.
    pub workable: bool,
}

/// How approval stands in a project, as operators see it.
#[derive(Debug, Clone)]
pub struct ApprovalStatus {
    /// The project.
    pub project: Name,
    /// Its governance.
    pub state: GovernanceState,
    /// The login names that approve.
    pub approvers: Vec<String>,
    /// The login names that ask.
    pub askers: Vec<String>,
}

fn governance_of(reader: &mut Reader<'_>, project: ProjectId) -> Result<(Governance, Vec<Standing>), Refusal> {
    let governance = reader.governance(project)?.ok_or(StoreError::Stale { what: "approval" })?;
    Ok((governance, reader.standings(project, STANDINGS_MAX)?))
}

/// In the transaction that turns it on, or takes a role away while it is on: somebody must be left who approves, and somebody else who asks.
pub(super) fn require_two(tx: &mut Tx<'_>, project: ProjectId) -> Result<(), Refusal> {
    if is_workable(&tx.standings(project, STANDINGS_MAX)?) {
        return Ok(());
    }
    let problem = "needs an enabled account with the role APPROVAL ADMIN, and another one that asks: nobody could change anything otherwise";
    Err(Invalid::new("approval", problem).into())
}

fn turn_on(tx: &mut Tx<'_>, project: ProjectId, stamp: &crate::domain::key::Stamp) -> Result<(), Refusal> {
    tx.turn_approval(project, true, stamp).map_err(|error| already(error, "is on already"))?;
    require_two(tx, project)?;
    Ok(tx.changed(Change::Project(project))?)
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
                        turn_on(tx, project, &stamp)?;
                        Ok(tx.audit(event, uses)?)
                    })
                    .await?;
                scope.committed();
                service.apply(&[Change::Project(project)]);
                Ok(())
            })
        })
        .await
    }

    /// The same, by an operator.
    pub async fn enable_approval(&self, operator: Operator, name: &str) -> Result<(), Refusal> {
        let prepared = Name::parse("project", name).map(|name| (name.to_string(), name)).map_err(Refusal::from);
        self.administer(operator, Operation::TurnApprovalOn, prepared, |tx, name, act| {
            let id = project(tx, &name)?.id;
            turn_on(tx, id, &act.stamp)?;
            act.event.project = Some(id);
            act.changes.push(Change::Project(id));
            Ok(())
        })
        .await
    }

    /// Turns approval off without anybody's approval: the way out for whoever has the machine in hand. It is told wherever something can be
    /// told: audit log, log, metrics.
    pub async fn disable_approval(&self, operator: Operator, name: &str, reason: &str) -> Result<(), Refusal> {
        let read = || -> Result<_, Invalid> { Ok((Name::parse("project", name)?, Note::parse("reason", reason)?)) };
        let told = |name: &Name, reason: &Note| format!("EMERGENCY: approval of {name} turned off alone: {}", reason.as_str());
        let prepared = read().map(|(name, reason)| (told(&name, &reason).chars().take(crate::domain::audit::DETAIL_MAX_CHARS).collect(), name));
        self.administer(operator, Operation::DisableApproval, prepared.map_err(Refusal::from), |tx, name, act| {
            let id = project(tx, &name)?.id;
            tx.turn_approval(id, false, &act.stamp).map_err(|error| already(error, "is off already"))?;
            act.event.project = Some(id);
            act.changes.push(Change::Project(id));
            Ok(())
        })
        .await?;
        self.metrics().approval_disabled();
        tracing::warn!(project = name, uid = operator.uid, reason, "EMERGENCY: an operator turned approval off alone");
        Ok(())
    }

    /// How approval stands in a project, and who could ask and approve.
    pub async fn approval_status(&self, operator: Operator, name: &str) -> Result<ApprovalStatus, Refusal> {
        let prepared = Name::parse("project", name).map(|name| (format!("approval of {name}"), name)).map_err(Refusal::from);
        let found = self.look(operator, prepared, true, |reader, name| {
            let id = project(reader, &name)?.id;
            let (governance, standings) = governance_of(reader, id)?;
            let state = GovernanceState { governance, workable: is_workable(&standings) };
            let named = |wanted: fn(&Standing) -> bool| standings.iter().filter(|found| wanted(found)).map(|found| found.login.clone()).collect();
            Ok(vec![ApprovalStatus { project: name, state, approvers: named(Standing::may_approve), askers: named(Standing::may_ask) }])
        });
        Ok(found.await?.into_iter().next().ok_or(ResultCode::Conflict)?)
    }
}
