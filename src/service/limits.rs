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
//! view and that this process doesn't know to have been right takes a failure's token while it is looked up; without a token it is
//! refused unread. (While the bucket is half full it is looked up without one, so that many first requests after a start don't wait
//! for each other.) Names are known (`names.rs`) that were right once, though their view was dropped since, those that the change log
//! tells (a key made on another node), and tokens issued here: these are always looked up. What is left to suffer is a credential,
//! an appkey or, in v1.0 and v1.1, a key that this process has not seen yet, used for the first time from an address that is failing
//! at that moment. It passes when there is a token for it, or after its first use from anywhere else. Who shows a right access key is
//! to blame for himself alone: which keys he may ask for doesn't depend on his address.
//!
//! In v1.0 and v1.1 the appkey is the credential: whoever knows it counts as the project, as far as his address's limit lets him.
//!
//! # What is bounded
//!
//! Each table has at most [`TRACKED_MAX`] buckets (`table.rs` says what a flood of addresses gains: nothing), the tally its projects and
//! addresses. All of it is this process's own: several processes each give as much. A crash loses what was counted since the last
//! record, an interval at most; requests that were refused did nothing.

mod admission;
mod table;
mod tally;

use std::time::{Duration, Instant};

use super::refusal::Refusal;
use crate::domain::account::AccessKeyId;
use crate::domain::audit::Actor;
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

    /// Whether there were few failures of late.
    fn is_at_ease(&self, blame: &Blame) -> bool {
        let now = self.start.elapsed();
        match blame {
            Blame::Network(network) => self.failing_networks.is_half_full(network, now),
            Blame::AccessKey(id) => self.failing_access_keys.is_half_full(id, now),
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
    /// Permission for one look, where it takes a token with that; none: ask again after that time.
    pub(super) fn look(self) -> Result<Option<Held<'a>>, Refusal> {
        let blame = Blame::of(self.actor, self.caller);
        if self.limits.is_at_ease(&blame) {
            return Ok(None);
        }
        self.limits.take_failure(&blame).map_err(Refusal::TooMany)?;
        Ok(Some(Held { limits: self.limits, blame }))
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
            | ResultCode::InvalidKeyVersion
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::MacHeader;

    #[test]
    fn many_may_look_at_once_until_somebody_fails() {
        let limits = Limits::new(LimitSettings { failures: Rate::new(1, 4), ..LimitSettings::default() });
        let caller = |address: [u8; 4]| Caller { address: address.into(), mac: MacHeader::Absent, certificate: None, user_agent: None };
        let (failing, other) = (caller([192, 0, 2, 1]), caller([192, 0, 2, 2]));
        let look = |caller| Guesser { limits: &limits, actor: &Actor::Appkey, caller }.look();
        let looks: Vec<_> = (0..1_000).map(|_| look(&failing)).collect();
        assert!(looks.iter().all(|look| matches!(look, Ok(None))));
        let blame = Blame::of(&Actor::Appkey, &failing);
        for _ in 0..3 {
            limits.take_failure(&blame).unwrap();
        }
        let held = look(&failing);
        assert!(matches!(held, Ok(Some(_))));
        assert!(matches!(look(&failing), Err(Refusal::TooMany(_))));
        assert!(matches!(look(&other), Ok(None)));
        // An access key answers for itself.
        let id = AccessKeyId::parse("abc").unwrap();
        let proved = Actor::AccessKey { id, login: "alice".to_owned() };
        assert!(matches!(Guesser { limits: &limits, actor: &proved, caller: &failing }.look(), Ok(None)));
        drop(held);
        assert!(matches!(look(&failing), Ok(Some(_))));
    }
}
