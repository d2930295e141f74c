//! Use cases, one file each: authorize, act, audit, in that order, once.
//!
//! [`Service`] is the door. Every use case of a project's caller goes through `Service::run` (`request.rs`), which runs it to
//! its audit record even if the caller hangs up.

mod administration;
mod approval;
mod audit_log;
pub mod audit_verify;
mod authorities;
pub mod bootstrap;
mod certificates;
mod change_key_store;
mod change_secret;
mod client_lists;
mod client_rule_life;
mod client_rules;
mod confirm;
mod create_key;
mod create_key_store;
mod decrypt;
mod destruction;
mod due;
mod encrypt;
pub mod health;
mod history;
mod import_key;
mod internal_keys;
mod inventory;
mod key_access;
mod key_details;
mod key_life;
mod limits;
mod lists;
mod names;
mod notifications;
mod own_access_keys;
mod own_account;
mod patience;
pub mod pki;
mod provisioning;
mod public_key;
mod read_secret;
mod reconcile;
pub mod refusal;
mod register_clients;
pub mod request;
mod revocation;
mod right_clock;
mod rotate_key;
mod second_factor;
mod sign;
mod sign_in;
mod statistics;
mod to_the_end;
mod tokens;
mod use_limits;
mod verify;
mod views;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::courier::Courier;
use crate::domain::clock::{SharedClock, Timestamp};
use crate::hsm::Token;
use crate::store::{Change, Store};
use crate::telemetry::Metrics;

pub use crate::hsm::{OaepHash, RsaPadding as Padding};
pub use crate::store::{KeyCalls, NamedKey};
pub use administration::{
    AccountDetails, AccountRef, Administrator, Counts, Endpoint, LIST_PAGE, NewAccessKey, NewAppkey, Operator, ProjectDetails, ProjectRef, check_password,
};
pub use approval::{
    ApprovalCounts, ApprovalStatus, Approved, GovernanceState, ListedRequest, OpenRequest, ProjectChange, ProjectEmergency, RequestDetails, RequestQuery,
    RoleHolder, check_first_part,
};
pub use audit_log::CheckpointOutcome;
pub use authorities::{AuthorityInfo, CertificateSettings};
pub use certificates::{CertificateSelector, DownloadedCertificate, Expiry, ServerIdentity, SignedCertificate, SigningRequest};
pub use change_key_store::KeyStoreAsSeen;
pub use change_secret::ChangedSecret;
pub use client_lists::{ClientsPage, EXPIRY_WARNING};
pub use client_rules::{NewClientRule, NewRuleValue, RegisteredClientRule, RuleSelector, shown_value};
pub use confirm::Confirmed;
pub use create_key::{CreatedKey, KeyStoreRef, NewContent, NewKeyRequest};
pub use create_key_store::NewKeyStore;
pub use decrypt::Decrypted;
pub use due::Swept;
pub use encrypt::{Encrypted, LocalKey, PLAINTEXT_MAX_BYTES};
pub use health::{Health, HealthReport};
pub use history::{AuditLogPage, DOWNLOAD_RECORDS_MAX, HistoryDownload, HistoryEntry, HistoryPage, LogState};
pub use import_key::{ImportParameters, WRAPPED_KEY_BYTES, WrappedKey};
pub use inventory::{ClientListing, KeyListing, KeyPosition, KeyQuery, KeyStoreListing, ListedClientRule, ListedKey, Pieces};
pub use key_details::KeyDetails;
pub use key_life::{ChangedKey, KeyAsSeen, KeyChange, KeyDeletion, KeyVersions, ListedVersion, RestoredKey, RestoredVersion, VersionDeletion};
pub use limits::{LimitSettings, TRACKED_MAX};
pub use notifications::{AddedRecipient, NewTarget, NotificationArea, OutboxState, RECENT_MAX, RecipientMessages, TestResult};
pub use own_account::Visit;
pub use pki::LIFE_MAX_DAYS as CERTIFICATE_LIFE_MAX_DAYS;
pub use public_key::PublicKey;
pub use reconcile::{Comparison, MissingObject, Orphan, Reconciled};
pub use refusal::{Proposed, Refusal};
pub use register_clients::{CheckedClients, ClientEntry, EntryProblem, REGISTERED_AT_ONCE_MAX};
pub use request::{Asking, Credentials, Named, Request, Right};
pub use revocation::MAX_AGE as REVOCATION_LIST_MAX_AGE;
pub use rotate_key::RotatedKey;
pub use second_factor::{Enrolment, SecondFactorState};
pub use sign::{Signed, SignedStandard};
pub use sign_in::{BROWSERS_KEPT, CodeRequest, SignInRequest, SignedIn};
pub use statistics::{ByResult, CallSlot, DAYS_KEPT, HOURS_KEPT_DAYS, Period, SlotBegin, Statistics, StatisticsQuery};
pub use tokens::{IssuedToken, TokenRequest};
pub use verify::{Verified, VerifyStandard};

/// How many lists are read at a time.
const LISTS_AT_ONCE: usize = 2;

/// How the service works.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// This process's name among all that share the database.
    pub node: String,
    /// Data operations are refused once the change log was last read longer ago than this.
    pub freshness_limit: Duration,
    /// How often the change log is read.
    pub freshness_interval: Duration,
    /// How long the maker of a token object is trusted to be at work; longer than the token's slow deadline.
    pub lease: Duration,
    /// How much one caller may ask.
    pub limits: LimitSettings,
    /// The zone whose hours and days the statistics are of.
    pub zone: chrono_tz::Tz,
    /// How the internal certificate authorities work.
    pub certificates: CertificateSettings,
}

/// The service, shared by everything in the process. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ServiceSettings,
    token: Token,
    store: Store,
    clock: SharedClock,
    clock_watch: right_clock::RightClock,
    views: views::Views,
    limits: limits::Limits,
    patience: patience::Patience,
    tasks: TaskTracker,
    authorities: authorities::AuthorityRoom,
    revocations: revocation::Revocations,
    expiry: arc_swap::ArcSwapOption<Expiry>,
    approvals: arc_swap::ArcSwapOption<ApprovalCounts>,
    audit: audit_log::AuditKeys,
    /// Token and database as last compared: objects missing from the token are an alarm.
    comparison: arc_swap::ArcSwapOption<Comparison>,
    /// Key versions near the limit of their use, as last looked at: a warning.
    near_use_limit: arc_swap::ArcSwap<use_limits::NearLimit>,
    courier: Courier,
    outbox: notifications::Outbox,
    metrics: Metrics,
    /// Lists are read a few at a time: they may take long, and what proves who asks is read over the same connections.
    listing: tokio::sync::Semaphore,
    /// Places for those who download the history.
    downloads: Arc<history::Downloads>,
    looks: history::Looks,
}

impl Service {
    /// Puts the service together and begins to follow the change log. [`Service::begin`] must succeed before it is used.
    pub fn new(settings: ServiceSettings, token: Token, store: Store, courier: Courier, clock: SharedClock, metrics: Metrics) -> Self {
        let limits = limits::Limits::new(settings.limits);
        let service = Self(Arc::new(Inner {
            settings,
            token,
            store,
            clock,
            clock_watch: right_clock::RightClock::default(),
            views: views::Views::new(metrics.clone()),
            limits,
            patience: patience::Patience::default(),
            tasks: TaskTracker::new(),
            authorities: authorities::AuthorityRoom::default(),
            revocations: revocation::Revocations::default(),
            expiry: arc_swap::ArcSwapOption::empty(),
            approvals: arc_swap::ArcSwapOption::empty(),
            audit: audit_log::AuditKeys::default(),
            comparison: arc_swap::ArcSwapOption::empty(),
            near_use_limit: arc_swap::ArcSwap::default(),
            courier,
            outbox: notifications::Outbox::new(),
            metrics,
            listing: tokio::sync::Semaphore::new(LISTS_AT_ONCE),
            downloads: Arc::default(),
            looks: history::Looks::default(),
        }));
        let follower = Arc::downgrade(&service.0);
        service.0.store.follow(service.0.settings.freshness_interval, move |changes| {
            if let Some(inner) = follower.upgrade() {
                Self(inner).apply(changes);
            }
        });
        service
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn token(&self) -> &Token {
        &self.0.token
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    fn views(&self) -> &views::Views {
        &self.0.views
    }

    fn limits(&self) -> &limits::Limits {
        &self.0.limits
    }

    fn patience(&self) -> &patience::Patience {
        &self.0.patience
    }

    fn courier(&self) -> &Courier {
        &self.0.courier
    }

    fn outbox(&self) -> &notifications::Outbox {
        &self.0.outbox
    }

    fn looks(&self) -> &history::Looks {
        &self.0.looks
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The tasks that must end before the process does: use cases under way.
    pub fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// Drops what `changes` touched, here and in the token's handle cache.
    fn apply(&self, changes: &[Change]) {
        self.0.views.apply(changes);
        for change in changes {
            match change {
                Change::ObjectGone(object) => self.0.token.forget(*object),
                Change::Authorities => self.0.authorities.note_change(),
                Change::KeyStore(_) => self.0.revocations.note_change(),
                Change::Everything => {
                    self.0.authorities.note_change();
                    self.0.revocations.note_change();
                }
                // A cached handle of an object that is gone answers so, and is then dropped.
                Change::Key(_) | Change::Project(_) | Change::Identity | Change::AccessKey(_) | Change::Token(_) | Change::Session(_) => {}
            }
        }
    }

    /// Refuses when it is not known how fresh the rules are.
    fn require_freshness(&self) -> Result<(), Refusal> {
        match self.0.store.staleness() {
            Some(age) if age <= self.0.settings.freshness_limit => Ok(()),
            Some(age) => Err(Refusal::unavailable(format!("the change log was last read {} ms ago", age.as_millis()))),
            None => Err(Refusal::unavailable("the change log was not read yet")),
        }
    }
}
