//! What the operator with the machine in hand does: projects, appkeys, accounts, roles, access keys, a look at the token. Each use case
//! leaves one audit record with the uid, in the transaction of the change; a refusal leaves one too.

mod access_keys;
pub(super) mod accounts;
mod appkeys;
mod backup;
mod projects;
mod roles;
mod token;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};

pub use access_keys::NewAccessKey;
pub(super) use access_keys::fresh_access_key;
pub use accounts::check_password;
pub use appkeys::NewAppkey;

use super::Service;
use super::refusal::Refusal;
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::ids::AccountId;
use crate::domain::key::Stamp;
use crate::domain::key_store::Project;
use crate::domain::result_code::ResultCode;
use crate::domain::text::{Invalid, Name};
use crate::store::{Change, Reader, Tx};

/// The most rows of one page of a list.
pub const LIST_PAGE: i64 = 1_000;
/// Characters of an appkey and of a User Access Key ID.
const RANDOM_NAME_CHARS: usize = 20;
/// The most characters of a login name.
const LOGIN_MAX_CHARS: usize = 64;

/// A person with the machine in hand.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// The uid of the process that asks.
    pub uid: u32,
}

/// What a use case does beside changing rows.
pub(super) struct Act {
    /// The draft of its record.
    pub(super) event: AuditEvent,
    /// Who and when, for rows.
    pub(super) stamp: Stamp,
    /// What it touched, for the caches of all nodes.
    pub(super) changes: Vec<Change>,
}

/// What an operator typed, read into types, with what the record says of it; or what is wrong with it.
type Prepared<P> = Result<(String, P), Refusal>;

/// 20 random letters and digits.
fn random_name() -> Result<String, Refusal> {
    let mut name = String::new();
    while name.len() < RANDOM_NAME_CHARS {
        let mut bytes = [0_u8; 48];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Refusal::unavailable("the operating system gives no random numbers"))?;
        name.extend(STANDARD.encode(bytes).chars().filter(char::is_ascii_alphanumeric));
    }
    name.truncate(RANDOM_NAME_CHARS);
    Ok(name)
}

/// A login name: 1 to 64 of letters, digits, `.`, `-`, `_` and `@`.
pub(super) fn parse_login(login: &str) -> Result<String, Invalid> {
    let fits = (1..=LOGIN_MAX_CHARS).contains(&login.len()) && login.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte));
    if fits { Ok(login.to_owned()) } else { Err(Invalid::new("login", "must have 1 to 64 letters, digits, '.', '-', '_' or '@'")) }
}

/// The account of that login name, which must be there.
fn account(reader: &mut Reader<'_>, login: &str) -> Result<AccountId, Refusal> {
    Ok(reader.account_by_login(login)?.ok_or_else(|| Invalid::new("login", "names no account"))?)
}

/// Refuses where an account asks or approves in a project with approval on: whoever gives it a password or an access key makes himself an
/// accomplice.
fn require_no_accomplice(tx: &mut Tx<'_>, account: AccountId) -> Result<(), Refusal> {
    if tx.governed_projects_of(account)?.is_empty() { Ok(()) } else { Err(ResultCode::ApprovalRequired.into()) }
}

/// The project of that name, which must be there.
pub(super) fn project(reader: &mut Reader<'_>, name: &Name) -> Result<Project, Refusal> {
    Ok(reader.project_by_name(name)?.ok_or_else(|| Invalid::new("project", "names no project"))?)
}

impl Service {
    fn operator_event(&self, operator: Operator, operation: Operation, detail: String) -> Result<AuditEvent, Refusal> {
        Ok(AuditEvent { actor: Actor::Operator(operator.uid), detail: Some(detail), ..self.own_event(operation)? })
    }

    fn operator_stamp(&self, operator: Operator) -> Stamp {
        Stamp { user: Actor::Operator(operator.uid).user(), at: self.now() }
    }

    /// Runs a use case in one transaction with its record and its change numbers: a crash leaves all of it or nothing. What it touched is
    /// dropped here before this answers, and elsewhere within the follower's interval. A refusal is recorded by itself.
    pub(super) async fn administer<P, T, F>(&self, operator: Operator, operation: Operation, prepared: Prepared<P>, act: F) -> Result<T, Refusal>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, P, &mut Act) -> Result<T, Refusal> + Send + 'static,
    {
        let (detail, input) = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let event = self.operator_event(operator, operation, refusal.to_string())?;
                return Err(self.record_refusal(event, refusal).await);
            }
        };
        let event = self.operator_event(operator, operation, detail)?;
        let (refused, stamp) = (event.clone(), self.operator_stamp(operator));
        let outcome = self
            .store()
            .change::<_, Refusal, _>(move |tx| {
                let mut done = Act { event, stamp, changes: Vec::new() };
                let answer = act(tx, input, &mut done)?;
                for change in &done.changes {
                    tx.changed(change.clone())?;
                }
                tx.audit(done.event, Uses::default())?;
                Ok((answer, done.changes))
            })
            .await;
        match outcome {
            Ok((answer, changes)) => {
                self.apply(&changes);
                Ok(answer)
            }
            Err(refusal) => Err(self.record_refusal(refused, refusal).await),
        }
    }

    /// Reads a page of a list. The first page leaves the record of it all.
    pub(super) async fn look<P, T, F>(&self, operator: Operator, prepared: Prepared<P>, is_first: bool, read: F) -> Result<Vec<T>, Refusal>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut Reader<'_>, P) -> Result<Vec<T>, Refusal> + Send + 'static,
    {
        let (detail, input) = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let event = self.operator_event(operator, Operation::ReadInventory, refusal.to_string())?;
                return Err(self.record_refusal(event, refusal).await);
            }
        };
        let event = self.operator_event(operator, Operation::ReadInventory, detail)?;
        match self.store().read(move |reader| read(reader, input)).await {
            Ok(rows) => {
                if is_first {
                    self.store().audit(event, Uses::default()).await?;
                }
                Ok(rows)
            }
            Err(refusal) => Err(self.record_refusal(event, refusal).await),
        }
    }

    /// Records that an operator was refused; answers why.
    async fn record_refusal(&self, mut event: AuditEvent, refusal: Refusal) -> Refusal {
        event.result_code = refusal.code().number();
        match self.store().audit(event, Uses::default()).await {
            Ok(()) => refusal,
            Err(error) => error.into(),
        }
    }
}
