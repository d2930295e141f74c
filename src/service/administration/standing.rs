//! Who administers, and what he may as of the transaction in which he acts.

use crate::domain::account::{Role, Session};
use crate::domain::audit::Actor;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::result_code::ResultCode;
use crate::service::{Refusal, Visit};
use crate::store::Reader;

/// A person with the machine in hand.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// The uid of the process that asks.
    pub uid: u32,
}

/// Who administers.
#[derive(Debug, Clone)]
pub enum Administrator {
    /// With the machine in hand: he may everything.
    Operator(Operator),
    /// Signed in at the console: his account says what he may.
    Account(Visit),
}

impl Administrator {
    /// Whether he administers the installation as far as is known without asking: enough to begin work that harms nobody.
    pub(super) fn seems_administrator(&self) -> bool {
        match self {
            Self::Operator(_) => true,
            Self::Account(visit) => visit.session.administrator,
        }
    }

    /// Who is held to have done it.
    pub(super) fn actor(&self) -> Actor {
        match self {
            Self::Operator(operator) => Actor::Operator(operator.uid),
            Self::Account(visit) => Actor::Account(visit.session.login.clone()),
        }
    }
}

impl From<Operator> for Administrator {
    fn from(operator: Operator) -> Self {
        Self::Operator(operator)
    }
}

impl From<Visit> for Administrator {
    fn from(visit: Visit) -> Self {
        Self::Account(visit)
    }
}

/// What somebody may, as the database says now.
pub(in crate::service) enum Standing {
    /// Everything.
    Operator,
    /// What the account may that the session is of.
    Account(Session),
}

impl Standing {
    /// Whoever changes something holds the administration first ([`crate::store::Tx::hold_administration`]), or somebody could be taking away what
    /// is read here. Refused where the session is not good now: it ended, the account was disabled, the code or another password is still to be given.
    pub(super) fn of(reader: &mut Reader<'_>, by: &Administrator, now: Timestamp) -> Result<Self, Refusal> {
        let Administrator::Account(visit) = by else { return Ok(Self::Operator) };
        let session = reader.session(visit.session.token)?.filter(|session| session.is_live(now) && !session.awaits_code);
        let session = session.ok_or(ResultCode::Unauthorized)?;
        if session.must_change_password { Err(ResultCode::Forbidden.into()) } else { Ok(Self::Account(session)) }
    }

    /// Refused unless he administers the installation.
    pub(super) fn require_administrator(&self) -> Result<(), Refusal> {
        if self.is_administrator() { Ok(()) } else { Err(ResultCode::Forbidden.into()) }
    }

    /// Refused unless he administers the installation, or is `ADMIN` of the project. To whom it is strange the project is as one that isn't
    /// there.
    pub(super) fn require_admin_of(&self, project: ProjectId) -> Result<(), Refusal> {
        self.require_member_of(project)?;
        let may = |session: &Session| session.administrator || session.roles_in(project).any(Role::may_change_at_console);
        match self {
            Self::Account(session) if !may(session) => Err(ResultCode::Forbidden.into()),
            Self::Account(_) | Self::Operator => Ok(()),
        }
    }

    /// Refused unless he administers the installation, or has a role in the project.
    pub(super) fn require_member_of(&self, project: ProjectId) -> Result<(), Refusal> {
        match self {
            Self::Account(session) if !session.administrator && session.roles_in(project).next().is_none() => Err(ResultCode::InvalidAppkey.into()),
            Self::Account(_) | Self::Operator => Ok(()),
        }
    }

    /// Refused unless he administers the installation, or asks for changes of the project at the console, or approves them.
    pub(in crate::service) fn require_asker_of(&self, project: ProjectId) -> Result<(), Refusal> {
        self.require_member_of(project)?;
        let may = |session: &Session| session.administrator || session.roles_in(project).any(|role| role.may_ask_at_console() || role.may_approve());
        match self {
            Self::Account(session) if !may(session) => Err(ResultCode::Forbidden.into()),
            Self::Account(_) | Self::Operator => Ok(()),
        }
    }

    /// Whether he administers the installation.
    pub(super) fn is_administrator(&self) -> bool {
        match self {
            Self::Operator => true,
            Self::Account(session) => session.administrator,
        }
    }

    /// His own account; none of an operator.
    pub(super) fn account(&self) -> Option<AccountId> {
        match self {
            Self::Operator => None,
            Self::Account(session) => Some(session.account),
        }
    }

    /// Whether that is his own account.
    pub(super) fn is(&self, account: AccountId) -> bool {
        self.account() == Some(account)
    }
}
