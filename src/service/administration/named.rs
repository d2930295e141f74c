//! How projects and accounts are named: by what somebody types, or by their row as a page shows it, with the moment as of which that was seen.

use std::fmt;

use super::parse_login;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::key_store::Project;
use crate::domain::result_code::ResultCode;
use crate::domain::text::{Invalid, Name};
use crate::service::Refusal;
use crate::store::{Reader, Tx};

/// A project that is meant.
#[derive(Debug, Clone)]
pub struct ProjectRef {
    named: NamedProject,
    seen: Option<Timestamp>,
}

#[derive(Debug, Clone)]
enum NamedProject {
    Typed(String),
    Name(Name),
    Row(ProjectId),
}

impl From<&str> for ProjectRef {
    fn from(name: &str) -> Self {
        Self { named: NamedProject::Typed(name.to_owned()), seen: None }
    }
}

impl From<&String> for ProjectRef {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

impl From<ProjectId> for ProjectRef {
    fn from(row: ProjectId) -> Self {
        Self { named: NamedProject::Row(row), seen: None }
    }
}

impl ProjectRef {
    /// That project, if it was last changed at `seen`.
    pub fn as_seen(row: ProjectId, seen: Option<Timestamp>) -> Self {
        Self { named: NamedProject::Row(row), seen }
    }

    /// Refused where no project can have that name.
    pub(in crate::service) fn parsed(self) -> Result<Self, Invalid> {
        let named = match self.named {
            NamedProject::Typed(text) => NamedProject::Name(Name::parse("project", &text)?),
            named => named,
        };
        Ok(Self { named, ..self })
    }

    /// The project, which must be there.
    pub(in crate::service) fn find(&self, reader: &mut Reader<'_>) -> Result<Project, Refusal> {
        let unknown = || Refusal::from(Invalid::new("project", "names no project"));
        match &self.named {
            NamedProject::Typed(_) => Err(unknown()),
            NamedProject::Name(name) => reader.project_by_name(name)?.ok_or_else(unknown),
            NamedProject::Row(row) => Ok(reader.project(*row)?.ok_or(ResultCode::InvalidAppkey)?),
        }
    }

    /// The same, held until the commit, as it was seen.
    pub(super) fn hold(&self, tx: &mut Tx<'_>) -> Result<Project, Refusal> {
        let project = self.find(tx)?;
        let changed = tx.hold_project(project.id)?;
        if self.seen.is_none_or(|seen| seen == changed) { Ok(project) } else { Err(ResultCode::Conflict.into()) }
    }
}

impl fmt::Display for ProjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.named {
            NamedProject::Typed(text) => f.write_str(text),
            NamedProject::Name(name) => name.fmt(f),
            NamedProject::Row(row) => write!(f, "project {row}"),
        }
    }
}

/// An account that is meant.
#[derive(Debug, Clone)]
pub struct AccountRef {
    named: NamedAccount,
    seen: Option<Timestamp>,
}

#[derive(Debug, Clone)]
enum NamedAccount {
    Login(String),
    Row(AccountId),
}

impl From<&str> for AccountRef {
    fn from(login: &str) -> Self {
        Self { named: NamedAccount::Login(login.to_owned()), seen: None }
    }
}

impl From<&String> for AccountRef {
    fn from(login: &String) -> Self {
        login.as_str().into()
    }
}

impl From<AccountId> for AccountRef {
    fn from(row: AccountId) -> Self {
        Self { named: NamedAccount::Row(row), seen: None }
    }
}

impl AccountRef {
    /// That account, if it was last changed at `seen`.
    pub fn as_seen(row: AccountId, seen: Option<Timestamp>) -> Self {
        Self { named: NamedAccount::Row(row), seen }
    }

    /// Refused where no account can have that login name.
    pub(super) fn parsed(self) -> Result<Self, Invalid> {
        if let NamedAccount::Login(login) = &self.named {
            parse_login(login)?;
        }
        Ok(self)
    }

    /// The account and its login name. It must be there.
    pub(super) fn find(&self, reader: &mut Reader<'_>) -> Result<(AccountId, String), Refusal> {
        match &self.named {
            NamedAccount::Login(login) => {
                let row = reader.account_by_login(login)?.ok_or_else(|| Invalid::new("login", "names no account"))?;
                Ok((row, login.clone()))
            }
            NamedAccount::Row(row) => Ok((*row, reader.login_of(*row)?.ok_or(ResultCode::UrlNotFound)?)),
        }
    }

    /// The same, held until the commit, as it was seen.
    pub(super) fn hold(&self, tx: &mut Tx<'_>) -> Result<(AccountId, String), Refusal> {
        let (row, login) = self.find(tx)?;
        let changed = tx.hold_account(row)?;
        if self.seen.is_none_or(|seen| seen == changed) { Ok((row, login)) } else { Err(ResultCode::Conflict.into()) }
    }
}

impl fmt::Display for AccountRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.named {
            NamedAccount::Login(login) => f.write_str(login),
            NamedAccount::Row(row) => write!(f, "account {}", row.0),
        }
    }
}
