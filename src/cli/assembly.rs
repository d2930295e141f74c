//! From the configuration to a running service: the rooms, wired together once.

use std::path::Path;
use std::sync::Arc;

use super::configuration;
use super::exit::{Exit, Failure};
use crate::config::{self, Config};
use crate::domain::clock::{SharedClock, SystemClock};
use crate::domain::rate::Rate;
use crate::hsm::{HsmError, Token};
use crate::service::{CertificateSettings, LimitSettings, Refusal, Service, ServiceSettings};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// The rooms of a process.
#[derive(Debug, Clone)]
pub(super) struct Assembly {
    pub(super) service: Service,
    pub(super) token: Token,
    pub(super) store: Store,
    pub(super) metrics: Metrics,
    pub(super) clock: SharedClock,
}

impl From<HsmError> for Failure {
    fn from(error: HsmError) -> Self {
        let exit = if matches!(error, HsmError::Setup(_)) { Exit::Configuration } else { Exit::Unavailable };
        Self::new(exit, format!("token: {error}"))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = if matches!(error, StoreError::Schema(_)) { Exit::Configuration } else { Exit::Unavailable };
        Self::new(exit, format!("database: {error}"))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unavailable { reason } => Self::new(Exit::Unavailable, reason),
            other => Self::new(Exit::Failed, other.to_string()),
        }
    }
}

/// Opens token and database and puts the service over them. Blocking: token and database are waited for.
pub(super) fn assemble(config: &Config, file: &Path) -> Result<Assembly, Failure> {
    let token_settings = configuration::token_settings(config, file)?;
    let store_settings = configuration::store_settings(config)?;
    let courier = configuration::courier(config)?;
    let pin = config.token.pin.read().map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    let clock: SharedClock = Arc::new(SystemClock);
    // The database first: it asks for no PIN that could be locked.
    let store = Store::open(&store_settings, Arc::clone(&clock))?;
    let token = Token::open(&token_settings, &pin)?;
    let metrics = Metrics::new();
    // Three times what making an object may take: whoever is slower than that is taken for dead.
    let lease = token_settings.slow_deadline.saturating_mul(3);
    let settings = ServiceSettings {
        node: config.server.node_name(),
        freshness_limit: config.freshness.limit,
        freshness_interval: config.freshness.interval,
        lease,
        limits: limits(&config.limits),
        zone: config.server.timezone,
        certificates: CertificateSettings {
            public_url: config.certificates.public_url.as_ref().map(|url| url.as_str().to_owned()),
            overlap: DAY.saturating_mul(config.certificates.authority_overlap_days),
        },
    };
    let service = Service::new(settings, token.clone(), store.clone(), courier, Arc::clone(&clock), metrics.clone());
    Ok(Assembly { service, token, store, metrics, clock })
}

fn limits(configured: &config::Limits) -> LimitSettings {
    LimitSettings {
        address: Rate::new(configured.address_per_second, configured.address_burst),
        project: Rate::new(configured.project_per_second, configured.project_burst),
        failures: Rate::new(configured.failures_per_second, configured.failures_burst),
    }
}

/// A runtime for everything that isn't the token's or the database's own threads.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("skm").build()?)
}

/// The most time that each of audit chain, token and database gets to end what it is at.
const SHUT_DOWN_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

impl Assembly {
    /// Signs the end of the audit chain, joins the token's workers, finalizes the module, and makes the database's queue durable.
    /// `false` if something stayed out: then the process should just exit.
    pub(super) async fn shut_down(self) -> bool {
        match tokio::time::timeout(SHUT_DOWN_WITHIN, self.service.end_chain()).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => tracing::error!(?refusal, "the audit chain could not be ended; its last checkpoint stands"),
            Err(_) => tracing::error!("the audit chain was not ended in time; its last checkpoint stands"),
        }
        let ended = tokio::task::spawn_blocking(move || {
            let store = self.store.shut_down(SHUT_DOWN_WITHIN);
            let token = self.token.shut_down(SHUT_DOWN_WITHIN);
            store && token
        });
        ended.await.unwrap_or(false)
    }
}
