//! The listener and the certificates: real sockets, real TLS, real clients.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "what a test stands on fails the test by panicking")]

#[path = "tls/certificates.rs"]
mod certificates;
#[path = "tls/closing.rs"]
mod closing;
#[path = "tls/handshake.rs"]
mod handshake;
#[path = "tls/limits.rs"]
mod limits;
#[path = "tls/pki.rs"]
mod pki;
#[path = "tls/proxies.rs"]
mod proxies;
#[path = "tls/world.rs"]
mod world;
