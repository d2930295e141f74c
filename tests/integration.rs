//! All integration tests, in one program: they talk to a real token, real databases and real TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that can't go on fails; clippy.toml exempts only functions marked #[test], not what they share"
)]

#[path = "suite/support/mod.rs"]
mod support;

#[path = "suite/admin/mod.rs"]
mod admin;
#[path = "suite/api/mod.rs"]
mod api;
#[path = "suite/approval/mod.rs"]
mod approval;
#[path = "suite/audit/mod.rs"]
mod audit;
#[path = "suite/browser/mod.rs"]
mod browser;
#[path = "suite/certificates/mod.rs"]
mod certificates;
#[path = "suite/client.rs"]
mod client;
#[path = "suite/clockwork/mod.rs"]
mod clockwork;
#[path = "suite/config.rs"]
mod config;
#[path = "suite/console/mod.rs"]
mod console;
#[path = "suite/faults/mod.rs"]
mod faults;
#[path = "suite/notifications/mod.rs"]
mod notifications;
#[path = "suite/openapi/mod.rs"]
mod openapi;
#[path = "suite/operations.rs"]
mod operations;
#[path = "suite/pages.rs"]
mod pages;
#[path = "suite/process.rs"]
mod process;
#[path = "suite/rooms.rs"]
mod rooms;
#[path = "suite/source_paths.rs"]
mod source_paths;
#[path = "suite/store.rs"]
mod store;
#[path = "suite/tls.rs"]
mod tls;
#[path = "suite/token.rs"]
mod token;
#[path = "suite/tour.rs"]
mod tour;
