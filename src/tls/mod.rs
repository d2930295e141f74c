//! The listener: TCP and TLS, HTTP/1.1 and HTTP/2, certificates, and who the peer is.
//!
//! [`serve`] is given its socket, its application and its stop signal. What a request's handler may know of the connection
//! is its [`Peer`] extension. A request body that comes too slowly ends in an [`std::io::Error`] of kind
//! [`std::io::ErrorKind::TimedOut`] somewhere in the error's chain, so that no other room needs to know this one to answer 408.

mod activity;
mod address;
mod body;
mod cert_files;
mod connection;
mod counters;
mod listener;
mod peer;
mod proxy_protocol;
mod registry;
mod reload;
mod server_config;
mod settings;
mod socket;

pub use address::{client_address, is_trusted, normalised};
pub use cert_files::{CertFileError, CertFiles, LoadedCertificate};
pub use counters::{HandshakeFailure, ListenerCounters};
pub use listener::{DrainReport, Transport, serve};
pub use peer::{Peer, Protocol};
pub use reload::{ReloadError, Reloader, SharedTls};
pub use server_config::{ServerConfigError, server_config};
pub use settings::{ListenerSettings, ProxyProtocol};
