//! How much one caller may ask: limits by client address and by project, and a smaller one for what fails.
//!
//! # What is counted
//!
//! Each request takes a token from the bucket of its address (an IPv6 address counts by its /64) before anything is looked up, then
//! one from the bucket of its project, which it gets back if it turns out to be a failure: whoever knows an appkey but may not use it
//! can't use up what the project's own clients need. Where a bucket is empty the answer is 429, with the time until the next token.
//!
//! Failures are: an appkey or key ID that doesn't exist, credentials that are missing or wrong, a client check that doesn't pass. Each
//! costs a token of a bucket of whoever is to blame: the access key where one was proved, else the address. A role that doesn't
//! suffice, a route that doesn't exist, a field that can't be taken: all that is no guessing and is limited as every request is.
//!
//! # Whom an empty bucket of failures stops
//!
//! Failures alone. Behind one address (a NAT, a proxy that isn't trusted) there may be others, and it must not take more than a
//! flood of nonsense to keep them out. So nothing is refused for what others did; only what turns out to be a failure is answered 429
//! instead of its own answer, and is counted with others in one audit record (`tally.rs`) instead of having its own. The price: who
//! guesses can tell a wrong guess (429) from a right one. He could before, and secrets are 256 random bits.
//!
//! What can't be told without reading the database is where this ends: a read costs more than an answer. A name that is in no cached
//! view and that was never right here since the start takes a failure's token before it is looked up, and gives it back if it exists;
//! without a token it is refused unread. Names that were right once are remembered when their view is dropped, those that the change
//! log tells (a key made on another node) and tokens issued here are known before their first use: these are always looked up. What
//! is left to suffer is a credential or appkey that this process has not seen yet, used for the first time from an address that
//! is failing at that moment; it passes when the bucket has a token for it, or after its first use from anywhere else. Who shows a
//! right access key is to blame for himself alone: the keys that he asks for don't depend on his address.
//!
//! # What is bounded
//!
//! Each table has at most [`TRACKED_MAX`] buckets (`table.rs` says what a flood of addresses gains: nothing), the tally its projects and
//! addresses. All of it is this process's own: several processes each give as much. A crash loses what was counted since the last
//! record, an interval at most; requests that were refused did nothing.

mod table;
mod tally;

use std::time::{Duration, Instant};

use super::Service;
use super::refusal::Refusal;
use crate::domain::account::AccessKeyId;
use crate::domain::audit::{Actor, AuditEvent, Operation, Uses};
use crate::domain::caller::{Caller, Network};
use crate::domain::ids::ProjectId;
use crate::domain::rate::Rate;
use crate::domain::result_code::ResultCode;

pub use table::TRACKED_MAX;
use table::Table;
use tally::Tally;

/// How much one caller may ask. `None` is without a limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct LimitSettings {
    /// Requests of one address.
    pub address: Option<Rate>,
    /// Requests of one project.
    pub project: Option<Rate>,
    /// Failures of one address, and of one access key.
    pub failures: Option<Rate>,
}

/// Which limit a request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Address,
    Project,
    Failures,
}

impl Limit {
    const ALL: [Self; 3] = [Self::Address, Self::Project, Self::Failures];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Project => "project",
            Self::Failures => "failures",
        }
    }
}

/// Whose failures they are.
#[derive(Debug, Clone)]
pub(super) enum Blame {
    /// Whoever is behind an address.
    Network(Network),
    /// The access key that proved itself.
    AccessKey(AccessKeyId),
}

impl Blame {
    /// Whom to blame for what a caller asks that is held to be `actor`.
    pub(super) fn of(actor: &Actor, caller: &Caller) -> Self {
        match actor {
            Actor::AccessKey { id, .. } => Self::AccessKey(id.clone()),
            Actor::Appkey | Actor::Account(_) | Actor::Operator(_) | Actor::Service | Actor::Unknown => Self::Network(caller.address.into()),
        }
    }
}

/// All buckets.
#[derive(Debug)]
pub(super) struct Limits {
    /// Buckets count time from here: by a clock that never goes back, whatever becomes of the machine's.
    start: Instant,
    addresses: Table<Network>,
    projects: Table<ProjectId>,
    failing_networks: Table<Network>,
    failing_access_keys: Table<AccessKeyId>,
    tally: Tally,
}

impl Limits {
    pub(super) fn new(settings: LimitSettings) -> Self {
        Self {
            start: Instant::now(),
            addresses: Table::new(settings.address),
            projects: Table::new(settings.project),
            failing_networks: Table::new(settings.failures),
            failing_access_keys: Table::new(settings.failures),
            tally: Tally::default(),
        }
    }

    fn take_failure(&self, blame: &Blame) -> Result<(), Duration> {
        let now = self.start.elapsed();
        match blame {
            Blame::Network(network) => self.failing_networks.take(*network, now),
            Blame::AccessKey(id) => self.failing_access_keys.take(id.clone(), now),
        }
    }

    fn give_back_failure(&self, blame: &Blame) {
        match blame {
            Blame::Network(network) => self.failing_networks.give_back(network),
            Blame::AccessKey(id) => self.failing_access_keys.give_back(id),
        }
    }
}

/// A failure's token, held while a name is looked up that may not exist; given back when dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    limits: &'a Limits,
    blame: Blame,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.limits.give_back_failure(&self.blame);
    }
}

/// Who looks up a name that may not exist.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guesser<'a> {
    limits: &'a Limits,
    actor: &'a Actor,
    caller: &'a Caller,
}

impl<'a> Guesser<'a> {
    /// A token for one look; none: ask again after that time.
    pub(super) fn look(self) -> Result<Held<'a>, Refusal> {
        let blame = Blame::of(self.actor, self.caller);
        self.limits.take_failure(&blame).map_err(Refusal::TooMany)?;
        Ok(Held { limits: self.limits, blame })
    }
}

/// Whether a refusal with that code is what a failed guess gets.
const fn is_failure(code: ResultCode) -> bool {
    matches!(
        code,
        ResultCode::InvalidAppkey
            | ResultCode::Unauthorized
            | ResultCode::Ipv4AuthFailure
            | ResultCode::MacAuthFailure
            | ResultCode::CertificateAuthFailure
            | ResultCode::InvalidKeyId
    )
}

impl Service {
    /// Takes a token from the address's bucket; to be called before anything is looked up. `project` is told where it is known.
    pub(super) fn admit_address(&self, caller: &Caller, project: impl FnOnce() -> Option<ProjectId>) -> Result<(), Refusal> {
        let limits = self.limits();
        let admitted = limits.addresses.take(caller.address.into(), limits.start.elapsed());
        admitted.map_err(|wait| self.over_limit(Limit::Address, project(), caller, wait))
    }

    /// Takes a token from the project's bucket.
    pub(super) fn admit_to_project(&self, caller: &Caller, project: ProjectId) -> Result<(), Refusal> {
        let limits = self.limits();
        let admitted = limits.projects.take(project, limits.start.elapsed());
        admitted.map_err(|wait| self.over_limit(Limit::Project, Some(project), caller, wait))
    }

    /// Puts back the token of a request that turned out to be a failure.
    pub(super) fn give_back_to_project(&self, project: ProjectId) {
        self.limits().projects.give_back(&project);
    }

    /// Whoever is held to be `actor` looks something up.
    pub(super) fn guesser<'a>(&'a self, actor: &'a Actor, caller: &'a Caller) -> Guesser<'a> {
        Guesser { limits: self.limits(), actor, caller }
    }

    /// Charges a failure, where a refusal with that code is one. `Err`: there have been too many, and this is the answer instead.
    pub(super) fn charge(&self, code: ResultCode, actor: &Actor, caller: &Caller, project: Option<ProjectId>) -> Result<(), Refusal> {
        if !is_failure(code) {
            return Ok(());
        }
        if let Some(project) = project {
            self.give_back_to_project(project);
        }
        self.limits().take_failure(&Blame::of(actor, caller)).map_err(|wait| self.over_limit(Limit::Failures, project, caller, wait))
    }

    /// Counts a request that is over a limit, for the project's next record if it is known which.
    pub(super) fn over_limit(&self, limit: Limit, project: Option<ProjectId>, caller: &Caller, wait: Duration) -> Refusal {
        self.metrics().over_limit(limit.as_str());
        if project.is_some() {
            self.limits().tally.count(project, limit, caller.address, self.now());
        }
        Refusal::TooMany(wait)
    }

    /// Counts a token request that is over the limit of failures and names an access key that exists.
    pub(super) fn over_limit_at_token_endpoint(&self, caller: &Caller) {
        self.limits().tally.count(None, Limit::Failures, caller.address, self.now());
    }

    /// How many addresses have a bucket that isn't full, or was not when last looked at: at most [`TRACKED_MAX`].
    pub fn addresses_tracked(&self) -> usize {
        self.limits().addresses.tracked()
    }

    /// Writes one audit record for each project of which requests were refused since the last time. What can't be written waits for
    /// the next time.
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
