//! What administrators do, the operator with the machine in hand and whoever administers the installation at the console: projects, appkeys,
//! accounts, roles, access keys, a look at the token. Each use case leaves one audit record that names who it was, in the transaction of the
//! change; a refusal leaves one too. What somebody may is decided in that very transaction (`standing.rs`).

mod access_keys;
pub(super) mod accounts;
mod appkeys;
mod backup;
mod named;
mod pages;
mod projects;
mod roles;
mod standing;
mod token;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};

pub use access_keys::NewAccessKey;
pub(super) use access_keys::fresh_access_key;
pub use accounts::check_password;
pub use appkeys::NewAppkey;
pub use named::{AccountRef, ProjectRef};
pub use pages::{AccountDetails, Counts, Endpoint, ProjectDetails};
pub use standing::{Administrator, Operator};

use super::Service;
use super::refusal::Refusal;
use super::request::event_without_project;
use super::to_the_end::ToTheEnd;
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::ids::AccountId;
use crate::domain::key::Stamp;
use crate::domain::key_store::Project;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::store::{Change, Reader, StoreError, Tx};
use standing::Standing;

/// The most rows of one page of a list.
pub const LIST_PAGE: i64 = 1_000;
/// Characters of an appkey and of a User Access Key ID.
const RANDOM_NAME_CHARS: usize = 20;
/// The most characters of a login name.
const LOGIN_MAX_CHARS: usize = 64;

/// What a use case does beside changing rows.
pub(super) struct Act {
    /// The draft of its record.
    pub(super) event: AuditEvent,
    /// Who and when, for rows.
    pub(super) stamp: Stamp,
    /// What whoever acts may.
    standing: Standing,
    /// What it touched, for the caches of all nodes.
    pub(super) changes: Vec<Change>,
}

/// Why it isn't done, with the record as far as it was known by then.
struct Refused {
    refusal: Refusal,
    event: Option<Box<AuditEvent>>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, event: None }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

/// What somebody typed, read into types, with what the record says of it; or what is wrong with it.
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

/// Refuses where an account asks or approves in a project with approval on: whoever gives it a password or an access key makes himself an
/// accomplice.
fn require_no_accomplice(tx: &mut Tx<'_>, account: AccountId) -> Result<(), Refusal> {
    if tx.governed_projects_of(account)?.is_empty() { Ok(()) } else { Err(ResultCode::ApprovalRequired.into()) }
}

impl Service {
    fn operator_event(&self, operator: Operator, operation: Operation, detail: String) -> Result<AuditEvent, Refusal> {
        Ok(AuditEvent { actor: Actor::Operator(operator.uid), detail: Some(detail), ..self.own_event(operation)? })
    }

    fn event_by(&self, by: &Administrator, operation: Operation, detail: String) -> Result<AuditEvent, Refusal> {
        match by {
            Administrator::Operator(operator) => self.operator_event(*operator, operation, detail),
            Administrator::Account(visit) => {
                let event = event_without_project(self, visit.id, &visit.caller, by.actor(), operation);
                Ok(AuditEvent { detail: Some(detail), ..event })
            }
        }
    }

    /// What an administrator of the installation does. Runs a use case in one transaction with its record and its change numbers: a crash leaves
    /// all of it or nothing. What it touched is dropped here before this answers, and elsewhere within the follower's interval. A refusal is
    /// recorded by itself. Runs to its end even if the caller hangs up.
    async fn administer<P, T, F>(&self, by: Administrator, operation: Operation, prepared: Prepared<P>, act: F) -> Result<T, Refusal>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, P, &mut Act) -> Result<T, Refusal> + Send + 'static,
    {
        self.carry_out(by, operation, prepared, |tx, input, done| {
            done.standing.require_administrator()?;
            act(tx, input, done)
        })
        .await
    }

    /// The same, of what an `ADMIN` of the project does too.
    pub(super) async fn administer_in<P, T, F>(
        &self,
        by: Administrator,
        operation: Operation,
        prepared: Prepared<(ProjectRef, P)>,
        act: F,
    ) -> Result<T, Refusal>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, (Project, P), &mut Act) -> Result<T, Refusal> + Send + 'static,
    {
        self.carry_out(by, operation, prepared, |tx, (named, input), done| {
            let project = named.find(tx)?;
            done.event.project = Some(project.id);
            done.standing.require_admin_of(project.id)?;
            act(tx, (project, input), done)
        })
        .await
    }

    async fn carry_out<P, T, F>(&self, by: Administrator, operation: Operation, prepared: Prepared<P>, act: F) -> Result<T, Refusal>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, P, &mut Act) -> Result<T, Refusal> + Send + 'static,
    {
        let service = self.clone();
        ToTheEnd::new(self.tasks().track_future(async move { service.carry_out_now(by, operation, prepared, act).await })).await
    }

    async fn carry_out_now<P, T, F>(&self, by: Administrator, operation: Operation, prepared: Prepared<P>, act: F) -> Result<T, Refusal>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, P, &mut Act) -> Result<T, Refusal> + Send + 'static,
    {
        if matches!(by, Administrator::Account(_)) {
            self.require_freshness()?;
        }
        let (detail, input) = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => return Err(self.record_refusal(self.event_by(&by, operation, refusal.to_string())?, refusal).await),
        };
        let event = self.event_by(&by, operation, detail)?;
        let (first, now) = (event.clone(), self.now());
        let outcome = self
            .store()
            .change::<_, Refused, _>(move |tx| {
                tx.hold_administration()?;
                let stamp = Stamp { user: by.actor().user(), at: now };
                let mut done = Act { event, stamp, standing: Standing::of(tx, &by, now)?, changes: Vec::new() };
                let answer = act(tx, input, &mut done).map_err(|refusal| Refused { refusal, event: Some(Box::new(done.event.clone())) })?;
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
            Err(Refused { refusal, event }) => Err(self.record_refusal(event.map_or(first, |event| *event), refusal).await),
        }
    }

    /// Reads something for an administrator of the installation, such as a page of a list. The first page leaves the record of it all.
    pub(super) async fn look<P, T, F>(&self, by: Administrator, prepared: Prepared<P>, is_first: bool, read: F) -> Result<T, Refusal>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut Reader<'_>, P) -> Result<T, Refusal> + Send + 'static,
    {
        self.look_as(by, prepared, is_first, |reader, input, standing, _| {
            standing.require_administrator()?;
            read(reader, input)
        })
        .await
    }

    /// The same, of what others see too: `read` decides who, and says of which project it was.
    pub(in crate::service) async fn look_as<P, T, F>(&self, by: Administrator, prepared: Prepared<P>, is_first: bool, read: F) -> Result<T, Refusal>
    where
        P: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&mut Reader<'_>, P, &Standing, &mut AuditEvent) -> Result<T, Refusal> + Send + 'static,
    {
        if matches!(by, Administrator::Account(_)) {
            self.require_freshness()?;
        }
        let (detail, input) = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => return Err(self.record_refusal(self.event_by(&by, Operation::ReadInventory, refusal.to_string())?, refusal).await),
        };
        let mut event = self.event_by(&by, Operation::ReadInventory, detail)?;
        let (first, now) = (event.clone(), self.now());
        let read = self.store().read::<_, Refused, _>(move |reader| {
            let standing = Standing::of(reader, &by, now)?;
            match read(reader, input, &standing, &mut event) {
                Ok(answer) => Ok((answer, event)),
                Err(refusal) => Err(Refused { refusal, event: Some(Box::new(event)) }),
            }
        });
        match read.await {
            Ok((answer, event)) => {
                if is_first {
                    self.store().audit(event, Uses::default()).await?;
                }
                Ok(answer)
            }
            Err(Refused { refusal, event }) => Err(self.record_refusal(event.map_or(first, |event| *event), refusal).await),
        }
    }

    /// Records that somebody was refused; answers why.
    async fn record_refusal(&self, mut event: AuditEvent, refusal: Refusal) -> Refusal {
        event.result_code = refusal.code().number();
        match self.store().audit(event, Uses::default()).await {
            Ok(()) => refusal,
            Err(error) => error.into(),
        }
    }
}
