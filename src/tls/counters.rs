//! What a listener counts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{CertificateError, Error as TlsError};

/// Why a handshake failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandshakeFailure {
    /// The client's certificate was not signed by our CA, or the client doesn't have its key: rustls doesn't tell which.
    CertificateForeign,
    /// The client's certificate has expired, or is not valid yet.
    CertificateExpired,
    /// The client's certificate is not for client authentication.
    CertificateUsage,
    /// Something else is wrong with the client's certificate.
    CertificateOther,
    /// The client refused our certificate, or gave up with another alert.
    ClientAlert,
    /// The client and we have no version, cipher suite or application protocol in common.
    Incompatible,
    /// What came was not TLS, or broken TLS.
    Protocol,
    /// The connection ended in the middle.
    Disconnected,
    /// It took too long.
    TimedOut,
    /// A newer one took its place ([`super::ListenerSettings::max_handshakes`]).
    Displaced,
    /// The PROXY header was missing or malformed.
    ProxyHeader,
}

impl HandshakeFailure {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::CertificateForeign,
        Self::CertificateExpired,
        Self::CertificateUsage,
        Self::CertificateOther,
        Self::ClientAlert,
        Self::Incompatible,
        Self::Protocol,
        Self::Disconnected,
        Self::TimedOut,
        Self::Displaced,
        Self::ProxyHeader,
    ];

    /// The word for the log and the metrics' label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateForeign => "certificate_foreign",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateUsage => "certificate_usage",
            Self::CertificateOther => "certificate_other",
            Self::ClientAlert => "client_alert",
            Self::Incompatible => "incompatible",
            Self::Protocol => "protocol",
            Self::Disconnected => "disconnected",
            Self::TimedOut => "timed_out",
            Self::Displaced => "displaced",
            Self::ProxyHeader => "proxy_header",
        }
    }

    /// What `error`, which ended a handshake, means.
    pub(super) fn of(error: &io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
            return Self::Disconnected;
        };
        match tls {
            TlsError::InvalidCertificate(certificate) => Self::of_certificate(certificate),
            TlsError::NoCertificatesPresented => Self::CertificateOther,
            TlsError::AlertReceived(_) => Self::ClientAlert,
            TlsError::PeerIncompatible(_) | TlsError::NoApplicationProtocol => Self::Incompatible,
            _ => Self::Protocol,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            // A certificate may name our CA and yet be signed by another.
            E::UnknownIssuer | E::BadSignature => Self::CertificateForeign,
            E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => Self::CertificateExpired,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::CertificateUsage,
            _ => Self::CertificateOther,
        }
    }
}

/// What a listener has done since it started; `open` and `handshaking` go down again.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    /// Connections accepted from the socket, those refused at the limit included.
    pub accepted: AtomicU64,
    /// Connections open now, those in their handshake included.
    pub open: AtomicU64,
    /// Handshakes under way now.
    pub handshaking: AtomicU64,
    /// Requests handed to the application.
    pub requests: AtomicU64,
    /// Connections closed at once because the limit was reached and nobody was idle.
    pub refused_at_limit: AtomicU64,
    /// Idle connections closed early to make room.
    pub displaced: AtomicU64,
    /// Connections closed because no request was under way for too long.
    pub idle_timeouts: AtomicU64,
    /// Connections closed because a request's header came too slowly.
    pub header_timeouts: AtomicU64,
    /// Requests whose body came too slowly.
    pub body_timeouts: AtomicU64,
    /// Failures of `accept(2)`: out of file descriptors or memory.
    pub accept_errors: AtomicU64,
    handshake_failures: [AtomicU64; HandshakeFailure::ALL.len()],
}

impl ListenerCounters {
    /// How many handshakes failed like that.
    pub fn handshake_failures(&self, kind: HandshakeFailure) -> u64 {
        self.failures(kind).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub(super) fn count_failure(&self, kind: HandshakeFailure) {
        if let Some(counter) = self.failures(kind) {
            add(counter);
        }
    }

    fn failures(&self, kind: HandshakeFailure) -> Option<&AtomicU64> {
        self.handshake_failures.get(kind as usize)
    }
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts one up for as long as it lives.
#[derive(Debug)]
pub(super) struct Gauge {
    counters: Arc<ListenerCounters>,
    which: fn(&ListenerCounters) -> &AtomicU64,
}

impl Gauge {
    pub(super) fn new(counters: Arc<ListenerCounters>, which: fn(&ListenerCounters) -> &AtomicU64) -> Self {
        add(which(&counters));
        Self { counters, which }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.which)(&self.counters).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_counter_and_a_word_of_its_own() {
        let counters = ListenerCounters::default();
        for (index, kind) in HandshakeFailure::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            counters.count_failure(kind);
            assert_eq!(counters.handshake_failures(kind), 1, "{kind:?}");
            assert_eq!(HandshakeFailure::ALL.iter().filter(|other| other.as_str() == kind.as_str()).count(), 1);
        }
    }
}
