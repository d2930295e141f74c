//! The way of a request through the service: who asks, for which project, by which right; then the act; then its audit
//! record; then the answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::Service;
use super::limits::Limit;
use super::refusal::Refusal;
use super::to_the_end::ToTheEnd;
use crate::domain::account::{AccessKey, AccessKeyId, Role};
use crate::domain::approval::Note;
use crate::domain::audit::{Actor, AuditEvent, DETAIL_MAX_CHARS, KeyUse, Operation, Uses};
use crate::domain::caller::{Caller, MacHeader};
use crate::domain::client_checks::{self, Admitted};
use crate::domain::ids::{AccountId, ClientRuleId, KeyId, KeyStoreNumber, KeyVersion, ProjectId, RequestId};
use crate::domain::key::Stamp;
use crate::domain::key_store::Project;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::telemetry::metrics::Outcome;

/// How the caller proves who it is, by the version of the API.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// v1.0 and v1.1: the appkey alone.
    Appkey,
    /// v1.2: an access key's headers.
    AccessKey {
        /// The User Access Key ID as it was sent.
        id: String,
        /// Its secret as it was sent.
        secret: SecretText,
    },
    /// v1.3: a bearer token.
    Bearer(SecretText),
    /// The console: a session's token.
    Session(SecretText),
    /// The version wants credentials, and none that can be read were sent.
    Missing,
}

/// How a request names its project.
#[derive(Debug, Clone)]
pub enum Named {
    /// By an appkey as it was sent.
    Appkey(String),
    /// At the console.
    Project(ProjectId),
}

/// How a change is meant where approval is on; elsewhere it is made at once, and nothing else.
#[derive(Debug, Clone, Default)]
pub enum Asking {
    /// It is to be made now: refused.
    #[default]
    Directly,
    /// It goes into the key store's draft.
    Draft,
    /// It becomes a request of its own, with this note.
    Request(Note),
    /// It can't be told: what was sent for it is wrong, or two ways were sent at once.
    Wrong(Invalid),
}

impl Asking {
    /// Whether somebody asks for a change, rather than to make it.
    pub(super) const fn asks(&self) -> bool {
        matches!(self, Self::Draft | Self::Request(_) | Self::Wrong(_))
    }
}

/// A request as the listener hands it on.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its name in the log, the answer and the audit record.
    pub id: RequestId,
    /// Who asks.
    pub caller: Caller,
    /// Which project it is about.
    pub project: Named,
    /// How the caller proves who it is.
    pub credentials: Credentials,
    /// How a change is meant where approval is on.
    pub asking: Asking,
}

/// Which right an operation needs in the appkey's project, beside the client checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Use keys and secrets: with an access key any role; by appkey alone too.
    Use,
    /// Read the inventory: `API.VIEWER` or above; by appkey alone where the project allows it.
    Read,
    /// Change things: `API.ADMIN` or above; never by appkey alone. Where approval is on and a change is asked for: [`Right::Ask`].
    Change,
    /// What goes before a change, and changes nothing itself: whoever may change, or ask for changes.
    Prepare,
    /// Ask for changes, see what others ask for, withdraw one's own: `ADMIN`, `APPROVAL ADMIN`, `APPROVAL MEMBER`; with an access key
    /// `API.ADMIN`, too.
    Ask,
    /// Approve or deny what others ask for: `APPROVAL ADMIN`; with an access key if that may approve.
    Approve,
    /// Decide that changes of the project need approval: `ADMIN`.
    Govern,
    /// None: what is asked for doesn't exist. Who asks is noted where credentials tell.
    Nothing,
}

/// A request of a known project, with the draft of its audit record.
#[derive(Debug)]
pub struct Scope {
    /// The project that the appkey names.
    pub project: Arc<Project>,
    /// Who asks.
    pub caller: Caller,
    /// Who is held to have asked.
    pub actor: Actor,
    /// That account, where it is one's.
    pub(super) account: Option<AccountId>,
    /// Whether it may approve as it comes: an access key must have been given that.
    pub(super) key_may_approve: bool,
    /// Who made the access key that it comes with, and knows its secret.
    pub(super) key_maker: Option<AccountId>,
    /// How a change is meant.
    pub(super) asking: Asking,
    /// Whether a person asks at the console: the key store's client checks are for programs.
    at_console: bool,
    event: AuditEvent,
    uses: Uses,
    /// Its record is durable already, or it is counted with others in one.
    recorded: bool,
}

impl Scope {
    fn new(service: &Service, request: &Request, project: Arc<Project>, operation: Operation) -> Self {
        let event = draft(service, request.id, &request.caller, Some(&project), operation);
        Self {
            project,
            caller: request.caller.clone(),
            actor: Actor::Unknown,
            account: None,
            key_may_approve: false,
            key_maker: None,
            asking: request.asking.clone(),
            at_console: false,
            event,
            uses: Uses::default(),
            recorded: false,
        }
    }

    /// Whether a change needs approval here: then it is asked for, or refused. Where it doesn't, how it is meant counts for nothing.
    fn pass_approval(&mut self) -> Result<(), Refusal> {
        if !self.project.approval {
            self.asking = Asking::Directly;
        }
        if !self.project.approval || !self.event.operation.is_change() {
            return Ok(());
        }
        match &self.asking {
            Asking::Directly => Err(ResultCode::ApprovalRequired.into()),
            Asking::Wrong(invalid) => Err(invalid.clone().into()),
            Asking::Draft | Asking::Request(_) => Ok(()),
        }
    }

    /// Whether this asks for a change, rather than to make it.
    fn asks(&self) -> bool {
        self.project.approval && self.event.operation.is_change() && self.asking.asks()
    }

    /// Who makes a request of this, where it is one.
    pub(super) fn asker(&self) -> Option<AccountId> {
        let may_be = self.project.approval && (self.event.operation.is_change() || self.event.operation == Operation::RequestApproval);
        self.account.filter(|_| may_be && matches!(self.asking, Asking::Request(_)))
    }

    /// Whether the change is only asked for, which has been allowed.
    pub(super) const fn is_asked(&self) -> bool {
        self.asking.asks()
    }

    /// The same request, recorded as another operation: a change that is only asked for.
    pub(super) fn becomes(&mut self, operation: Operation) {
        self.event.operation = operation;
    }

    /// Whose account asks; none of what comes by appkey alone.
    pub(super) fn account(&self) -> Result<AccountId, Refusal> {
        self.account.ok_or(ResultCode::Forbidden.into())
    }

    /// Names the key that the request is about.
    pub fn names_key(&mut self, key: KeyId) {
        self.event.key = Some(key);
    }

    /// Names the version that was used.
    pub fn names_version(&mut self, version: KeyVersion) {
        self.event.version = Some(version);
    }

    /// Names the key store that the request is about.
    pub fn names_key_store(&mut self, number: KeyStoreNumber) {
        self.event.key_store = Some(number);
    }

    /// Says what else was done: names and numbers, never data.
    pub fn details(&mut self, detail: impl Into<String>) {
        let mut detail: String = detail.into();
        if let Some((cut, _)) = detail.char_indices().nth(DETAIL_MAX_CHARS) {
            detail.truncate(cut);
        }
        self.event.detail = Some(detail);
    }

    /// Counts a use of a key version.
    pub fn uses_key(&mut self, used: KeyUse) {
        self.uses.keys.push(used);
    }

    /// Notes the entries that admitted the caller.
    pub fn admitted_by(&mut self, rules: &[ClientRuleId]) {
        self.uses.rules.extend_from_slice(rules);
    }

    /// Runs the client checks of a key store, unless a person asks at the console.
    pub(super) fn pass_client_checks(&mut self, service: &Service, view: &super::views::KeyStoreView) -> Result<(), Refusal> {
        if self.at_console {
            return Ok(());
        }
        let admitted: Admitted = client_checks::check(view.key_store.checks, &view.rules, &self.caller, service.now())?;
        self.admitted_by(&admitted);
        Ok(())
    }

    /// Who did it, for a row.
    pub fn stamp(&self, service: &Service) -> Stamp {
        Stamp { user: self.actor.user(), at: service.now() }
    }

    /// The record of a change that succeeds with this very transaction. Whoever takes it puts it into the transaction
    /// that makes the change; [`Scope::committed`] says that it is there for good.
    pub fn record_of_success(&self, service: &Service) -> (AuditEvent, Uses) {
        let event = AuditEvent { at: service.now(), actor: self.actor.clone(), result_code: 0, ..self.event.clone() };
        (event, self.uses.clone())
    }

    /// Where looking up what the caller named is refused because of too many failures: counts it, and has it not recorded.
    pub(super) fn over_failures(&mut self, service: &Service, refusal: Refusal) -> Refusal {
        if let Refusal::TooMany(wait) = refusal {
            self.recorded = true;
            service.give_back_to_project(self.project.id);
            return service.over_limit(Limit::Failures, Some(self.project.id), &self.caller, wait);
        }
        refusal
    }

    /// Charges a failure to whoever is to blame. `Err`: there have been too many, which is the answer instead and is counted, not
    /// recorded; a token that was used, or a change that was made, keeps its record.
    fn charge(&mut self, service: &Service, code: ResultCode) -> Result<(), Refusal> {
        if self.recorded || !self.uses.keys.is_empty() {
            return Ok(());
        }
        let charged = service.charge(code, &self.actor, &self.caller, Some(self.project.id));
        self.recorded = charged.is_err();
        charged
    }

    /// The transaction that holds the record is durable.
    pub fn committed(&mut self) {
        self.recorded = true;
    }
}

fn draft(service: &Service, request: RequestId, caller: &Caller, project: Option<&Project>, operation: Operation) -> AuditEvent {
    AuditEvent {
        at: service.now(),
        request,
        project: project.map(|project| project.id),
        actor: Actor::Unknown,
        address: Some(caller.address),
        mac: match caller.mac {
            MacHeader::Claimed(mac) => Some(mac),
            MacHeader::Absent | MacHeader::Malformed => None,
        },
        certificate: caller.certificate.as_ref().map(|certificate| certificate.fingerprint),
        user_agent: caller.user_agent.clone(),
        operation,
        key_store: None,
        key: None,
        version: None,
        result_code: 0,
        detail: None,
    }
}

/// What a use case does between authorization and its audit record; its answer goes another way.
type Act = Box<dyn for<'a> FnOnce(&'a Service, &'a mut Scope) -> BoxFuture<'a, Result<(), Refusal>> + Send>;

impl Service {
    /// Runs one request from authorization to its audit record, to its end even if this future is dropped: a caller that hangs up
    /// leaves neither half a change nor an unaudited use. The answer comes after the record is durable; if it can't be, there is none.
    pub(super) async fn run<T, F>(&self, request: Request, operation: Operation, right: Right, act: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Self, &'a mut Scope) -> BoxFuture<'a, Result<T, Refusal>> + Send + 'static,
    {
        let (answer, mut answered) = oneshot::channel();
        let act: Act = Box::new(move |service, scope| {
            let acted = act(service, scope);
            Box::pin(async move {
                // Nobody may wait for it any more.
                drop(answer.send(acted.await?));
                Ok(())
            })
        });
        self.run_act(request, operation, right, act).await?;
        answered.try_recv().map_err(|_| Refusal::unavailable("a use case ended without an answer"))
    }

    /// What is the same for all use cases, so that it is compiled once.
    fn run_act(&self, request: Request, operation: Operation, right: Right, act: Act) -> BoxFuture<'static, Result<(), Refusal>> {
        let service = self.clone();
        let use_case = async move {
            let began = Instant::now();
            let outcome = AssertUnwindSafe(service.run_to_record(&request, operation, right, act)).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_| Err(Refusal::unavailable("a use case ended without an answer")));
            service.metrics().request(operation.as_str(), outcome_of(&outcome), began.elapsed());
            outcome
        };
        Box::pin(ToTheEnd::new(self.tasks().track_future(use_case)))
    }

    async fn run_to_record(&self, request: &Request, operation: Operation, right: Right, act: Act) -> Result<(), Refusal> {
        self.require_freshness()?;
        let project = self.admit(request).await?;
        let mut scope = Scope::new(self, request, project, operation);
        let authorized = self.authorize(&request.credentials, right, &mut scope).await.and_then(|()| scope.pass_approval());
        let authorized = match authorized {
            Ok(()) => self.require_room_for_request(&scope).await,
            Err(refusal) => Err(scope.over_failures(self, refusal)),
        };
        let unproved = authorized.as_ref().err().map(Refusal::code);
        let outcome = match authorized {
            Err(refusal) if right != Right::Nothing || matches!(refusal, Refusal::Unavailable { .. } | Refusal::TooMany(_)) => Err(refusal),
            Err(_) | Ok(()) => {
                AssertUnwindSafe(act(self, &mut scope)).catch_unwind().await.unwrap_or_else(|_| Err(Refusal::unavailable("a use case panicked")))
            }
        };
        let code = outcome.as_ref().err().map(Refusal::code);
        if let Some(failed) = unproved.or(code) {
            scope.charge(self, failed)?;
        }
        self.record(scope, code).await?;
        outcome
    }

    async fn record(&self, mut scope: Scope, refused: Option<ResultCode>) -> Result<(), Refusal> {
        if scope.recorded {
            return Ok(());
        }
        scope.event.at = self.now();
        scope.event.actor = scope.actor;
        scope.event.result_code = refused.map_or(0, ResultCode::number);
        let began = Instant::now();
        let kept = self.store().audit_in_company(scope.event, scope.uses, self.company()).await;
        match &kept {
            Ok(()) => self.metrics().audit_committed(began.elapsed()),
            Err(_) => self.metrics().audit_commit_failed(),
        }
        Ok(kept?)
    }

    /// How many audit records one commit should take: half of the requests under way where some of these wait for the token. Then the
    /// token is what limits, it stays busy with the others, and a commit for each record would take its cores away.
    fn company(&self) -> usize {
        if self.token().is_behind() { self.tasks().len() / 2 } else { 0 }
    }

    /// Who asks, and whether a role in the project gives the right. Sets the scope's actor.
    async fn authorize(&self, credentials: &Credentials, right: Right, scope: &mut Scope) -> Result<(), Refusal> {
        let access_key = match credentials {
            Credentials::Missing => return Err(ResultCode::Unauthorized.into()),
            Credentials::Appkey => {
                scope.actor = Actor::Appkey;
                let allowed = match right {
                    Right::Use | Right::Nothing => true,
                    Right::Read => scope.project.appkey_reads,
                    Right::Change | Right::Prepare | Right::Ask | Right::Approve | Right::Govern => false,
                };
                return if allowed { Ok(()) } else { Err(ResultCode::Forbidden.into()) };
            }
            Credentials::Session(token) => return self.authorize_session(token, right, scope).await,
            Credentials::AccessKey { id, secret } => self.access_key_by_secret(id, secret, &scope.caller).await?,
            Credentials::Bearer(token) => self.access_key_by_token(token, &scope.caller).await?,
        };
        scope.actor = Actor::AccessKey { id: access_key.id.clone(), login: access_key.login.clone() };
        scope.uses.access_key = Some(access_key.id.clone());
        (scope.account, scope.key_may_approve, scope.key_maker) = (Some(access_key.account), access_key.may_approve, access_key.maker);
        let mut roles = access_key.roles_in(scope.project.id);
        let allowed = match right {
            Right::Use => roles.next().is_some(),
            Right::Read => roles.any(Role::may_read_by_api),
            Right::Change if scope.asks() => roles.any(Role::may_ask_by_api),
            Right::Change => roles.any(Role::may_change_by_api),
            Right::Prepare => roles.any(|role| role.may_change_by_api() || scope.project.approval && role.may_ask_by_api()),
            Right::Ask => roles.any(Role::may_ask_by_api),
            Right::Approve => access_key.may_approve && roles.any(Role::may_approve),
            Right::Govern => roles.any(Role::may_govern),
            Right::Nothing => true,
        };
        if allowed { Ok(()) } else { Err(ResultCode::Forbidden.into()) }
    }

    /// Whether the person who is signed in may do this in the project. Sets the scope's actor.
    async fn authorize_session(&self, token: &SecretText, right: Right, scope: &mut Scope) -> Result<(), Refusal> {
        let session = self.session(token, &scope.caller).await?.ok_or(ResultCode::Unauthorized)?;
        scope.actor = Actor::Account(session.login.clone());
        scope.at_console = true;
        (scope.account, scope.key_may_approve) = (Some(session.account), true);
        let mut roles = session.roles_in(scope.project.id);
        let allowed = match right {
            Right::Read => roles.any(Role::may_read_at_console),
            Right::Change if scope.asks() => roles.any(Role::may_ask_at_console),
            Right::Use | Right::Change => roles.any(Role::may_change_at_console),
            Right::Prepare => roles.any(|role| role.may_change_at_console() || scope.project.approval && role.may_ask_at_console()),
            Right::Ask => roles.any(Role::may_ask_at_console),
            Right::Approve => roles.any(Role::may_approve),
            Right::Govern => roles.any(Role::may_govern),
            Right::Nothing => true,
        };
        // Whoever has no role in a project learns nothing of it, not even that it is there.
        let sees_project = session.administrator || session.roles_in(scope.project.id).next().is_some();
        match (allowed && !session.must_change_password, sees_project) {
            (true, _) => Ok(()),
            (false, true) => Err(ResultCode::Forbidden.into()),
            (false, false) => Err(ResultCode::InvalidAppkey.into()),
        }
    }

    /// The enabled access key with that ID and secret; the secret is compared in constant time, whether or not the ID exists.
    pub(super) async fn access_key_by_secret(&self, id: &str, secret: &SecretText, caller: &Caller) -> Result<Arc<AccessKey>, Refusal> {
        let shown = crate::domain::account::SecretHash::of(secret.expose());
        let found = match AccessKeyId::parse(id) {
            Some(id) => self.views().access_key(self.store(), id, Some(self.guesser(&Actor::Unknown, caller))).await?,
            None => None,
        };
        let kept = found.as_ref().map_or(crate::domain::account::SecretHash([0; 32]), |access_key| access_key.secret);
        let matches = shown == kept;
        found.filter(|access_key| matches && access_key.enabled).ok_or(ResultCode::Unauthorized.into())
    }

    /// The enabled access key that a bearer token was issued for, while the token lives.
    async fn access_key_by_token(&self, token: &SecretText, caller: &Caller) -> Result<Arc<AccessKey>, Refusal> {
        let unauthorized = || Refusal::Code(ResultCode::Unauthorized);
        let hash = crate::domain::account::SecretHash::of(token.expose());
        let token = self.views().bearer_token(self.store(), hash, self.guesser(&Actor::Unknown, caller)).await?.ok_or_else(unauthorized)?;
        if self.now() >= token.expires {
            return Err(unauthorized());
        }
        let access_key = self.views().access_key(self.store(), token.access_key.clone(), None).await?.ok_or_else(unauthorized)?;
        if access_key.enabled { Ok(access_key) } else { Err(unauthorized()) }
    }

    /// A request of a known project for a route that doesn't exist: recorded and refused.
    pub async fn refuse(&self, request: Request, code: ResultCode) -> Refusal {
        let outcome = self.run::<(), _>(request, Operation::UnknownRoute, Right::Nothing, move |_, _| Box::pin(async move { Err(code.into()) })).await;
        match outcome {
            Err(refusal @ (Refusal::Unavailable { .. } | Refusal::TooMany(_))) => refusal,
            // Whoever asks for a route that isn't there learns nothing else.
            Err(_) | Ok(()) => code.into(),
        }
    }
}

fn outcome_of<T>(outcome: &Result<T, Refusal>) -> Outcome {
    match outcome {
        Ok(_) | Err(Refusal::Proposed(_)) => Outcome::Success,
        Err(Refusal::Unavailable { .. }) => Outcome::Failed,
        Err(_) => Outcome::Refused,
    }
}

/// A record that belongs to no project: tokens made and revoked.
pub(super) fn event_without_project(service: &Service, request: RequestId, caller: &Caller, actor: Actor, operation: Operation) -> AuditEvent {
    AuditEvent { actor, ..draft(service, request, caller, None, operation) }
}
