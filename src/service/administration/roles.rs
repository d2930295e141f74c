//! Roles of accounts in projects.

use super::{LIST_PAGE, Operator, Prepared, account, parse_login, project};
use crate::domain::account::{Role, RoleGrant};
use crate::domain::audit::Operation;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::text::{Invalid, Name};
use crate::service::{Refusal, Service};
use crate::store::{Change, StoreError};

/// A role that an account has or gets.
struct Grant {
    login: String,
    project: Name,
    role: Role,
}

fn parse_role(text: &str) -> Result<Role, Invalid> {
    let known = || Role::ALL.map(Role::as_str).join(", ");
    Role::parse(text).ok_or_else(|| Invalid::new("role", format!("must be one of {}", known())))
}

fn prepare(login: &str, project: &str, role: &str) -> Prepared<Grant> {
    let grant = Grant { login: parse_login(login)?, project: Name::parse("project", project)?, role: parse_role(role)? };
    Ok((format!("{} of {} in {}", grant.role.as_str(), grant.login, grant.project), grant))
}

impl Service {
    /// Gives an account a role in a project, by their names.
    pub async fn grant_role(&self, operator: Operator, login: &str, project_name: &str, role: &str) -> Result<(), Refusal> {
        self.administer(operator, Operation::GrantRole, prepare(login, project_name, role), |tx, grant, act| {
            let (account, project) = (account(tx, &grant.login)?, project(tx, &grant.project)?.id);
            tx.grant_role(account, project, grant.role, &act.stamp)?;
            act.event.project = Some(project);
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// Takes a role of an account in a project away.
    pub async fn revoke_role(&self, operator: Operator, login: &str, project_name: &str, role: &str) -> Result<(), Refusal> {
        self.administer(operator, Operation::RevokeRole, prepare(login, project_name, role), |tx, grant, act| {
            let (account, project) = (account(tx, &grant.login)?, project(tx, &grant.project)?.id);
            tx.revoke_role(account, project, grant.role).map_err(|error| match error {
                StoreError::Stale { .. } => Invalid::new("role", "is none that the account has in the project").into(),
                other => Refusal::from(other),
            })?;
            act.event.project = Some(project);
            act.changes.push(Change::Identity);
            Ok(())
        })
        .await
    }

    /// A page of who has which role where, at most [`LIST_PAGE`], of one project, one account, or all.
    pub async fn list_roles(
        &self,
        operator: Operator,
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
        self.look(operator, prepared, after.is_none(), move |reader, (name, login)| {
            let in_project = name.map(|name| project(reader, &name)).transpose()?.map(|project| project.id);
            let of_account = login.map(|login| account(reader, &login)).transpose()?;
            Ok(reader.role_grants(in_project, of_account, after, LIST_PAGE)?)
        })
        .await
    }
}
