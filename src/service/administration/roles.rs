//! Roles of accounts in projects.

use super::{AccountRef, Administrator, LIST_PAGE, Prepared, ProjectRef, parse_login};
use crate::domain::account::{Role, RoleGrant};
use crate::domain::audit::Operation;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::text::{Invalid, Name};
use crate::service::{Refusal, Service};
use crate::store::{Change, StoreError};

/// A role that an account has or gets.
struct Grant {
    account: AccountRef,
    role: Role,
}

fn parse_role(text: &str) -> Result<Role, Invalid> {
    let known = || Role::ALL.map(Role::as_str).join(", ");
    Role::parse(text).ok_or_else(|| Invalid::new("role", format!("must be one of {}", known())))
}

/// How a record tells it.
fn told(role: Role, account: &dyn std::fmt::Display, project: &dyn std::fmt::Display) -> String {
    format!("{} of {account} in {project}", role.as_str())
}

fn prepare(account: AccountRef, project: ProjectRef, role: &str) -> Prepared<(ProjectRef, Grant)> {
    let (account, project, role) = (account.parsed()?, project.parsed()?, parse_role(role)?);
    Ok((told(role, &account, &project), (project, Grant { account, role })))
}

impl Service {
    /// Gives an account a role in a project. Its `ADMIN`s do that too.
    pub async fn grant_role(
        &self,
        by: impl Into<Administrator>,
        account: impl Into<AccountRef>,
        project: impl Into<ProjectRef>,
        role: &str,
    ) -> Result<(), Refusal> {
        let prepared = prepare(account.into(), project.into(), role);
        self.administer_in(by.into(), Operation::GrantRole, prepared, |tx, (project, grant), act| {
            let (account, login) = grant.account.find(tx)?;
            act.event.detail = Some(told(grant.role, &login, &project.name));
            tx.grant_role(account, project.id, grant.role, &act.stamp)?;
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Takes a role of an account in a project away. Its `ADMIN`s do that too, but nobody takes from himself what lets him do it.
    pub async fn revoke_role(
        &self,
        by: impl Into<Administrator>,
        account: impl Into<AccountRef>,
        project: impl Into<ProjectRef>,
        role: &str,
    ) -> Result<(), Refusal> {
        let prepared = prepare(account.into(), project.into(), role);
        self.administer_in(by.into(), Operation::RevokeRole, prepared, |tx, (project, grant), act| {
            let (account, login) = grant.account.find(tx)?;
            act.event.detail = Some(told(grant.role, &login, &project.name));
            if act.standing.is(account) && grant.role == Role::Admin && !act.standing.is_administrator() {
                return Err(Invalid::new("role", "is what lets you do this: another ADMIN takes it from you").into());
            }
            tx.revoke_role(account, project.id, grant.role).map_err(|error| match error {
                StoreError::Stale { .. } => Invalid::new("role", "is none that the account has in the project").into(),
                other => Refusal::from(other),
            })?;
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// A page of who has which role where, at most [`LIST_PAGE`], of one project, one account, or all.
    pub async fn list_roles(
        &self,
        by: impl Into<Administrator>,
        project_name: Option<&str>,
        login: Option<&str>,
        after: Option<(AccountId, ProjectId, Role)>,
    ) -> Result<Vec<RoleGrant>, Refusal> {
        let read = || -> Result<_, Invalid> { Ok((project_name.map(|name| Name::parse("project", name)).transpose()?, login.map(parse_login).transpose()?)) };
        let told = |project: &Option<Name>, login: &Option<String>| {
            let in_project = project.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
            format!("roles{}{in_project}", login.as_ref().map(|login| format!(" of {login}")).unwrap_or_default())
        };
        let prepared = read().map(|(project, login)| (told(&project, &login), (project, login))).map_err(Refusal::from);
        self.look(by.into(), prepared, after.is_none(), move |reader, (name, login)| {
            let in_project = name.map(|name| ProjectRef::from(name.as_str()).parsed()?.find(reader)).transpose()?.map(|project| project.id);
            let of_account = login.map(|login| AccountRef::from(login.as_str()).find(reader)).transpose()?.map(|(account, _)| account);
            Ok(reader.role_grants(in_project, of_account, after, LIST_PAGE)?)
        })
        .await
    }
}
