//! What the parts of a running service tell at each scrape.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::assembly::Assembly;
use super::server_certificate::Listeners;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::ClockState;
use crate::telemetry::Metrics;
use crate::tls::{HandshakeFailure, ListenerCounters};

/// What the rooms tell about themselves, at each scrape.
pub(super) fn show_gauges(assembly: &Assembly, certificates: &Listeners) {
    let metrics = &assembly.metrics;
    let health = |pick: fn(&crate::service::Health) -> Option<f64>| {
        let service = assembly.service.clone();
        move || pick(&service.health())
    };
    metrics.gauge(
        "ready",
        "1 if the token's canary, the database and the freshness are all right",
        health(|h| Some(f64::from(u8::from(h.problems.is_empty())))),
    );
    metrics.gauge("token_ready", "1 if the token's canary succeeds and the breaker is closed", health(|h| Some(f64::from(u8::from(h.token.ready)))));
    metrics.gauge("token_generation", "How often the connection to the token was made", health(|h| whole(h.token.generation)));
    metrics.gauge("token_cached_objects", "Objects with a cached handle", health(|h| whole(h.token.cached_objects as u64)));
    metrics.gauge("token_queue_fast", "Jobs waiting in the fast lane", health(|h| whole(h.token.queued.0 as u64)));
    metrics.gauge("token_queue_slow", "Jobs waiting in the slow lane", health(|h| whole(h.token.queued.1 as u64)));
    metrics.gauge("token_workers_replaced", "Threads replaced because they did not come back", health(|h| whole(h.token.workers_replaced)));
    metrics.gauge("token_missing_objects", "Objects that keys in service need and the token lacks: an alarm", health(|h| whole(h.missing_objects as u64)));
    metrics.gauge(
        "keys_near_use_limit",
        "Key versions that have encrypted 2^31 times or more and don't rotate by themselves: they refuse at 2^32 - 2^24",
        health(|h| whole(h.keys_near_use_limit as u64)),
    );
    let held = "1 if nothing is destroyed by this machine's clock: it jumped, or is too far from the database server's. An alarm";
    metrics.gauge("clock_held", held, health(|h| Some(f64::from(u8::from(h.clock != ClockState::Right)))));
    metrics.gauge("clock_skew_seconds", "How far this machine's clock is ahead of the database server's, where that has one", health(|h| h.clock_skew_s));
    metrics.gauge("freshness_seconds", "How long ago the change log was read", health(|h| h.staleness.map(|age| age.as_secs_f64())));
    metrics.gauge("writer_queue", "Audit records and changes waiting for the database", health(|h| whole(h.writer_queue as u64)));
    metrics.gauge("keys_kept", "Keys kept ready", health(|h| whole(h.keys_kept as u64)));
    let service = assembly.service.clone();
    metrics.gauge("limited_addresses", "Addresses whose requests are counted against their limit now", move || whole(service.addresses_tracked() as u64));
    metrics.gauge("use_cases", "Use cases under way", health(|h| whole(h.tasks as u64)));
    show_outbox(assembly);
    show_approvals(assembly);
    show_expiry(assembly, certificates);
}

/// Notifications that wait. They are no part of readiness: a mail server that is away keeps no key from being used.
fn show_outbox(assembly: &Assembly) {
    let metrics = &assembly.metrics;
    let state = |pick: fn(crate::service::OutboxState) -> Option<f64>| {
        let service = assembly.service.clone();
        move || service.outbox_state().and_then(pick)
    };
    metrics.gauge("notifications_queued", "Notifications that are to be sent", state(|state| whole(u64::try_from(state.queued).unwrap_or(0))));
    metrics.gauge(
        "notifications_parked",
        "Notifications that were given up, until somebody sends them again or discards them",
        state(|state| whole(u64::try_from(state.parked).unwrap_or(0))),
    );
    metrics.gauge(
        "notifications_oldest_seconds",
        "How long the oldest of those that are to be sent has waited",
        state(|state| Some(state.oldest.as_secs_f64())),
    );
}

/// What of approval is to be watched: from the database, so that every node tells it, and after a restart, too.
fn show_approvals(assembly: &Assembly) {
    let metrics = &assembly.metrics;
    let counted = |pick: fn(crate::service::ApprovalCounts) -> i64| {
        let service = assembly.service.clone();
        move || service.approval_counts().map(pick).and_then(|count| whole(u64::try_from(count).unwrap_or(0)))
    };
    metrics.gauge(
        "approval_emergencies",
        "Projects in which an operator turned approval off alone, until somebody acknowledges that: an alarm",
        counted(|counts| counts.emergencies),
    );
    metrics.gauge("approval_requests_ready", "Requests that wait for a decision", counted(|counts| counts.ready));
    metrics.gauge("approval_requests_applying", "Approved requests that are not applied yet", counted(|counts| counts.applying));
}

/// What expires when: points in time, as Prometheus likes them, so that a rule subtracts `time()`.
fn show_expiry(assembly: &Assembly, certificates: &Listeners) {
    let metrics = &assembly.metrics;
    let certificate = Arc::clone(&certificates.api);
    metrics.gauge("server_certificate_expires_seconds", "When the server's certificate expires, in seconds since the Unix epoch", move || {
        since_epoch(certificate.not_after())
    });
    let service = assembly.service.clone();
    let help = "When an internal certificate authority expires, in seconds since the Unix epoch";
    metrics.gauges("authority_certificate_expires_seconds", help, "authority", move || {
        let authorities = service.list_authorities().unwrap_or_default();
        authorities.iter().filter_map(|authority| Some((authority.number.to_string(), since_epoch(authority.validity.not_after)?))).collect()
    });
    let expiry = |pick: fn(crate::service::Expiry) -> Option<f64>| {
        let service = assembly.service.clone();
        move || service.expiry().and_then(pick)
    };
    metrics.gauge(
        "client_certificates_expiring",
        "Clients' certificates in service that expire within 30 days",
        expiry(|expiry| whole(u64::try_from(expiry.clients_soon).unwrap_or(0))),
    );
    metrics.gauge(
        "client_certificate_expires_seconds",
        "When the next of clients' certificates in service expires, in seconds since the Unix epoch",
        expiry(|expiry| expiry.next_client.and_then(since_epoch)),
    );
}

/// Whole seconds below 2^53 are exact in a gauge.
fn since_epoch(at: Timestamp) -> Option<f64> {
    u64::try_from(at.seconds()).ok().map(|seconds| Duration::from_secs(seconds).as_secs_f64())
}

/// Counts stay far below 2^32; what doesn't is shown as that.
fn whole(number: u64) -> Option<f64> {
    Some(f64::from(u32::try_from(number).unwrap_or(u32::MAX)))
}

pub(super) fn show_listener(metrics: &Metrics, name: &'static str, counters: &Arc<ListenerCounters>) {
    let counter = |pick: fn(&ListenerCounters) -> u64| {
        let counters = Arc::clone(counters);
        move || whole(pick(&counters))
    };
    let names = match name {
        "api" => ["api_connections", "api_connections_accepted", "api_connections_refused", "api_handshake_failures"],
        "console" => ["console_connections", "console_connections_accepted", "console_connections_refused", "console_handshake_failures"],
        _ => ["operations_connections", "operations_connections_accepted", "operations_connections_refused", "operations_handshake_failures"],
    };
    metrics.gauge(names[0], "Connections open now", counter(|c| c.open.load(Ordering::Relaxed)));
    metrics.gauge(names[1], "Connections accepted since the start", counter(|c| c.accepted.load(Ordering::Relaxed)));
    metrics.gauge(names[2], "Connections refused at the limit since the start", counter(|c| c.refused_at_limit.load(Ordering::Relaxed)));
    metrics.gauge(
        names[3],
        "Handshakes that failed since the start",
        counter(|c| HandshakeFailure::ALL.into_iter().map(|kind| c.handshake_failures(kind)).sum()),
    );
}
