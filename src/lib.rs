//! Secure Key Manager: a self-hosted key service whose keys never leave a PKCS#11 token.
//!
//! The rooms, and the one direction in which they may call each other
//! (`tests/rooms.rs` reads the `use` lines and enforces it):
//!
//! ```text
//! cli ──► api, console, scheduler ──► service ──► hsm, store, courier ──► domain
//!          (tls wraps api and console)              (siblings, never meet)
//! ```

pub mod api;
pub mod cli;
pub mod config;
pub mod console;
pub mod courier;
pub mod domain;
pub mod hsm;
pub mod scheduler;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod tls;
