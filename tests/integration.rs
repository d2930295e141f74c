//! All integration tests, in one program: they talk to a real token, real databases and real TLS.

#[path = "suite/support/mod.rs"]
mod support;

#[path = "suite/api/mod.rs"]
mod api;
#[path = "suite/client.rs"]
mod client;
#[path = "suite/config.rs"]
mod config;
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
