//! Letting requests in, charging failures, and recording what was refused.

use std::sync::Arc;
use std::time::Duration;

use super::{Blame, Guesser, Limit, is_failure};
use crate::domain::appkey::Appkey;
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::caller::Caller;
use crate::domain::ids::ProjectId;
use crate::domain::key_store::Project;
use crate::domain::result_code::ResultCode;
use crate::service::request::{Named, Request};
use crate::service::{Refusal, Service};

impl Service {
    /// The project that is asked for, if its limit and the address's let the request in. What is over the address's limit, or names
    /// no project too often, is refused before anything is read.
    pub(in crate::service) async fn admit(&self, request: &Request) -> Result<Arc<Project>, Refusal> {
        let caller = &request.caller;
        let appkey = match &request.project {
            Named::Appkey(appkey) => Appkey::parse(appkey),
            Named::Project(id) => return self.admit_visitor(caller, *id).await,
        };
        self.admit_address(caller, || Some(self.views().project_kept(appkey.as_ref()?)?.id))?;
        let found = match &appkey {
            Some(appkey) => self.views().project(self.store(), appkey.clone(), self.guesser(&Actor::Unknown, caller)).await,
            None => Ok(None),
        };
        match found {
            Ok(Some(project)) => {
                self.admit_to_project(caller, project.id)?;
                Ok(project)
            }
            Ok(None) => {
                self.metrics().unknown_project();
                self.charge(ResultCode::InvalidAppkey, &Actor::Unknown, caller, None)?;
                Err(ResultCode::InvalidAppkey.into())
            }
            Err(Refusal::TooMany(wait)) => {
                self.metrics().unknown_project();
                Err(self.over_limit(Limit::Failures, None, caller, wait))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// The project that a person at the console names.
    async fn admit_visitor(&self, caller: &Caller, id: ProjectId) -> Result<Arc<Project>, Refusal> {
        self.admit_address(caller, || Some(id))?;
        let found = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.project(id)?)).await?;
        let project = found.ok_or(ResultCode::InvalidAppkey)?;
        self.admit_to_project(caller, id)?;
        Ok(Arc::new(project))
    }

    /// Takes a token from the address's bucket; to be called before anything is looked up. `project` is told where it is known.
    pub(in crate::service) fn admit_address(&self, caller: &Caller, project: impl FnOnce() -> Option<ProjectId>) -> Result<(), Refusal> {
        let limits = self.limits();
        let admitted = limits.addresses.take(caller.address.into(), limits.start.elapsed());
        admitted.map_err(|wait| self.over_limit(Limit::Address, project(), caller, wait))
    }

    /// Whether an address may ask for what is the same for everybody.
    pub fn admit_to_public(&self, caller: &Caller) -> Result<(), Refusal> {
        self.admit_address(caller, || None)
    }

    /// Takes a token from the project's bucket.
    pub(in crate::service) fn admit_to_project(&self, caller: &Caller, project: ProjectId) -> Result<(), Refusal> {
        let limits = self.limits();
        let admitted = limits.projects.take(project, limits.start.elapsed());
        admitted.map_err(|wait| self.over_limit(Limit::Project, Some(project), caller, wait))
    }

    /// Puts back the token of a request that turned out to be a failure.
    pub(in crate::service) fn give_back_to_project(&self, project: ProjectId) {
        self.limits().projects.give_back(&project);
    }

    /// Whoever is held to be `actor` looks something up.
    pub(in crate::service) fn guesser<'a>(&'a self, actor: &'a Actor, caller: &'a Caller) -> Guesser<'a> {
        Guesser { limits: self.limits(), actor, caller }
    }

    /// Charges a failure, where a refusal with that code is one. `Err`: there have been too many, and this is the answer instead.
    pub(in crate::service) fn charge(&self, code: ResultCode, actor: &Actor, caller: &Caller, project: Option<ProjectId>) -> Result<(), Refusal> {
        if !is_failure(code) {
            return Ok(());
        }
        if let Some(project) = project {
            self.give_back_to_project(project);
        }
        self.limits().take_failure(&Blame::of(actor, caller)).map_err(|wait| self.over_limit(Limit::Failures, project, caller, wait))
    }

    /// Counts a request that is over a limit, for the project's next record if it is known which.
    pub(in crate::service) fn over_limit(&self, limit: Limit, project: Option<ProjectId>, caller: &Caller, wait: Duration) -> Refusal {
        self.metrics().over_limit(limit.as_str());
        if project.is_some() {
            self.limits().tally.count(project, limit, caller.address, self.now());
        }
        Refusal::TooMany(wait)
    }

    /// Counts a token request that is over the limit of failures and names an access key that exists.
    pub(in crate::service) fn over_limit_at_token_endpoint(&self, caller: &Caller) {
        self.limits().tally.count(None, Limit::Failures, caller.address, self.now());
    }

    /// How many addresses have a bucket that isn't full, or was not when last looked at: at most `TRACKED_MAX`.
    pub fn addresses_tracked(&self) -> usize {
        self.limits().addresses.tracked()
    }

    /// Writes one audit record for each project of which requests were refused since the last time. What can't be written waits for
    /// the next time; what may have been written, though it can't be told, is counted in the next record too.
    pub async fn record_refusals(&self) -> Result<(), Refusal> {
        let mut refused = self.limits().tally.take();
        while let Some((project, of_project)) = refused.pop() {
            let recorded = async {
                let event = AuditEvent {
                    project,
                    actor: Actor::Unknown,
                    result_code: ResultCode::TooManyRequests.number(),
                    ..self.own_event(Operation::RefuseTooMany)?
                };
                let event = of_project.describe(event);
                Ok(self.store().audit(event, Uses::default()).await?)
            };
            if let Err(refusal) = recorded.await {
                refused.push((project, of_project));
                self.limits().tally.put_back(refused);
                return Err(refusal);
            }
        }
        Ok(())
    }
}
