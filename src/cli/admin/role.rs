//! `skm admin role`

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::list::{Page, Row, fetch, print};
use super::{Admin, Command, Commands, Show, reach};
use crate::cli::audit::time;
use crate::cli::exit::Failure;
use crate::domain::account::{Role, RoleGrant};
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::text::Invalid;
use crate::service::{Operator, Refusal};

/// `skm admin role`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Arguments {
    /// Give an account a role in a project
    Grant(Named),
    /// Take a role of an account in a project away
    Revoke(Named),
    /// List who has which role where
    List {
        /// In this project only
        #[arg(long)]
        project: Option<String>,
        /// Of this account only
        #[arg(long, value_name = "LOGIN")]
        account: Option<String>,
    },
}

/// A role of an account in a project.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The account's login name
    login: String,
    /// ADMIN, VIEWER, "APPROVAL ADMIN", "APPROVAL MEMBER", API.ADMIN or API.VIEWER
    role: String,
    /// The project's name
    #[arg(long)]
    project: String,
}

pub(super) fn run(named: Option<&Path>, show: Show, arguments: Arguments) -> Result<(), Failure> {
    reach::with(named, |reach| match arguments {
        Arguments::Grant(Named { login, role, project }) => {
            let done = format!("granted {role} to {login} in {project}");
            reach.ask(GrantRole { login, role, project })?;
            show.done(&done)
        }
        Arguments::Revoke(Named { login, role, project }) => {
            let done = format!("revoked {role} of {login} in {project}");
            reach.ask(RevokeRole { login, role, project })?;
            show.done(&done)
        }
        Arguments::List { project, account } => {
            let page = |last: Option<&RoleRow>| ListRoles { project: project.clone(), account: account.clone(), after: last.map(RoleRow::cursor) };
            print(show, &fetch(reach, page)?)
        }
    })
}

pub(super) fn add(commands: Commands) -> Commands {
    commands.with::<GrantRole>().with::<RevokeRole>().with::<ListRoles>()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GrantRole {
    login: String,
    role: String,
    project: String,
}

impl Command for GrantRole {
    const PATH: &'static str = "/role/grant";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.grant_role(operator, &self.login, &self.project, &self.role).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevokeRole {
    login: String,
    role: String,
    project: String,
}

impl Command for RevokeRole {
    const PATH: &'static str = "/role/revoke";
    type Answer = ();

    async fn run(self, admin: Admin, operator: Operator) -> Result<(), Failure> {
        Ok(admin.service.revoke_role(operator, &self.login, &self.project, &self.role).await?)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListRoles {
    project: Option<String>,
    account: Option<String>,
    after: Option<Cursor>,
}

/// The last row of the page before.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cursor {
    account_id: i64,
    project_id: i64,
    role: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleRow {
    account_id: i64,
    login: String,
    role: String,
    project_id: i64,
    project: String,
    created_at: String,
}

impl RoleRow {
    fn of(found: RoleGrant) -> Self {
        Self {
            account_id: found.account.0,
            login: found.login,
            role: found.role.as_str().to_owned(),
            project_id: found.project.0,
            project: found.project_name.to_string(),
            created_at: time(found.created.micros()),
        }
    }

    fn cursor(&self) -> Cursor {
        Cursor { account_id: self.account_id, project_id: self.project_id, role: self.role.clone() }
    }
}

impl Row for RoleRow {
    const HEADINGS: &'static [&'static str] = &["LOGIN", "ROLE", "PROJECT", "GRANTED"];

    fn cells(&self) -> Vec<String> {
        vec![self.login.clone(), self.role.clone(), self.project.clone(), self.created_at.clone()]
    }
}

impl Command for ListRoles {
    const PATH: &'static str = "/role/list";
    type Answer = Page<RoleRow>;

    async fn run(self, admin: Admin, operator: Operator) -> Result<Page<RoleRow>, Failure> {
        let parse = |after: Cursor| {
            let role = Role::parse(&after.role).ok_or_else(|| Refusal::from(Invalid::new("after", "names no role")))?;
            Ok::<_, Refusal>((AccountId(after.account_id), ProjectId(after.project_id), role))
        };
        let after = self.after.map(parse).transpose()?;
        let found = admin.service.list_roles(operator, self.project.as_deref(), self.account.as_deref(), after).await?;
        Ok(Page::of(found, RoleRow::of))
    }
}
