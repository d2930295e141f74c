//! What the organization area of the console shows: pages of lists, one project, one account, and what a project's programs need to know.

use super::{AccountRef, Administrator, LIST_PAGE, ProjectRef};
use crate::domain::account::{AccessKeySummary, AccountSummary, Member, RoleGrant, Session};
use crate::domain::ids::{AccountId, KeyId, ProjectId};
use crate::domain::key_store::{AppkeySummary, Project, ProjectSummary};
use crate::domain::listing::{ListQuery, Listed};
use crate::domain::result_code::ResultCode;
use crate::service::{HealthReport, Refusal, Service};

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Projects.
    pub projects: i64,
    /// Accounts.
    pub accounts: i64,
    /// Access keys.
    pub access_keys: i64,
}

/// A project with its appkeys.
#[derive(Debug, Clone)]
pub struct ProjectDetails {
    /// The project.
    pub listed: ProjectSummary,
    /// Its appkeys, [`LIST_PAGE`] at most.
    pub appkeys: Vec<AppkeySummary>,
}

/// An account with all that it has.
#[derive(Debug, Clone)]
pub struct AccountDetails {
    /// The account.
    pub listed: AccountSummary,
    /// Its roles, [`LIST_PAGE`] at most.
    pub roles: Vec<RoleGrant>,
    /// Its access keys.
    pub access_keys: Vec<AccessKeySummary>,
    /// Its sessions that are good now, the one that was used last first.
    pub sessions: Vec<Session>,
    /// The projects with approval on in which it asks or approves: there somebody else approves what is done to its credentials.
    pub governed: Vec<Project>,
}

/// What programs of a project need to know.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The project.
    pub project: Project,
    /// Its appkeys, [`LIST_PAGE`] at most.
    pub appkeys: Vec<AppkeySummary>,
    /// A symmetric key to try.
    pub key: Option<KeyId>,
}

impl Service {
    /// How many projects, accounts and access keys there are, and how the service does.
    pub async fn overview(&self, by: impl Into<Administrator>) -> Result<(Counts, HealthReport), Refusal> {
        let counted = self.look(by.into(), Ok(("overview".to_owned(), ())), true, |reader, ()| Ok(reader.administered()?)).await;
        counted.map(|(projects, accounts, access_keys)| (Counts { projects, accounts, access_keys }, self.health_report()))
    }

    /// A page of projects, searched and sorted.
    pub async fn projects_page(&self, by: impl Into<Administrator>, query: ListQuery) -> Result<Listed<ProjectSummary>, Refusal> {
        self.look(by.into(), Ok(("projects".to_owned(), query)), true, |reader, query| Ok(reader.projects_page(&query)?)).await
    }

    /// A project with its appkeys.
    pub async fn project_details(&self, by: impl Into<Administrator>, project: ProjectId) -> Result<ProjectDetails, Refusal> {
        self.look(by.into(), Ok((format!("project {project}"), project)), true, |reader, project| {
            let listed = reader.project_as_listed(project)?.ok_or(ResultCode::UrlNotFound)?;
            Ok(ProjectDetails { listed, appkeys: reader.appkeys(Some(project), None, LIST_PAGE)? })
        })
        .await
    }

    /// A page of those who have roles in a project, for an administrator and for its `ADMIN`s.
    pub async fn members_page(&self, by: impl Into<Administrator>, project: ProjectId, query: ListQuery) -> Result<(Project, Listed<Member>), Refusal> {
        let prepared = Ok((format!("members of project {project}"), (project, query)));
        self.look_as(by.into(), prepared, true, |reader, (named, query), standing, event| {
            let project = ProjectRef::from(named).find(reader)?;
            event.project = Some(project.id);
            standing.require_admin_of(project.id)?;
            let members = reader.members_page(project.id, &query)?;
            Ok((project, members))
        })
        .await
    }

    /// A page of accounts, searched and sorted.
    pub async fn accounts_page(&self, by: impl Into<Administrator>, query: ListQuery) -> Result<Listed<AccountSummary>, Refusal> {
        self.look(by.into(), Ok(("accounts".to_owned(), query)), true, |reader, query| Ok(reader.accounts_page(&query)?)).await
    }

    /// An account with its roles, access keys and sessions.
    pub async fn account_details(&self, by: impl Into<Administrator>, account: AccountId) -> Result<AccountDetails, Refusal> {
        let now = self.now();
        let prepared = Ok((AccountRef::from(account).to_string(), account));
        self.look_as(by.into(), prepared, true, move |reader, account, standing, event| {
            standing.require_administrator()?;
            let listed = reader.account(account)?.ok_or(ResultCode::UrlNotFound)?;
            event.detail = Some(format!("account {}", listed.login));
            let (roles, access_keys) = (reader.role_grants(None, Some(account), None, LIST_PAGE)?, reader.access_keys(Some(account), None, LIST_PAGE)?);
            let sessions = reader.sessions_of(account, now)?.into_iter().filter(|session| session.is_live(now)).collect();
            let mut governed = Vec::new();
            for project in reader.governed_projects_of(account)? {
                governed.extend(reader.project(project)?);
            }
            Ok(AccountDetails { listed, roles, access_keys, sessions, governed })
        })
        .await
    }

    /// A page of all access keys, searched and sorted.
    pub async fn access_keys_page(&self, by: impl Into<Administrator>, query: ListQuery) -> Result<Listed<AccessKeySummary>, Refusal> {
        self.look(by.into(), Ok(("access keys".to_owned(), query)), true, |reader, query| Ok(reader.access_keys_page(&query)?)).await
    }

    /// How the service does, for an administrator.
    pub async fn health_for(&self, by: impl Into<Administrator>) -> Result<HealthReport, Refusal> {
        self.look(by.into(), Ok(("health".to_owned(), ())), true, |_, ()| Ok(())).await?;
        Ok(self.health_report())
    }

    /// What programs of a project need to know, for everybody who has a role in it.
    pub async fn endpoint(&self, by: impl Into<Administrator>, project: ProjectId) -> Result<Endpoint, Refusal> {
        let prepared = Ok((format!("appkeys of project {project}"), project));
        self.look_as(by.into(), prepared, true, |reader, named, standing, event| {
            let project = ProjectRef::from(named).find(reader)?;
            event.project = Some(project.id);
            standing.require_member_of(project.id)?;
            let (appkeys, key) = (reader.appkeys(Some(project.id), None, LIST_PAGE)?, reader.symmetric_key_to_try(project.id)?);
            Ok(Endpoint { project, appkeys, key })
        })
        .await
    }
}
