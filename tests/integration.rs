//! All integration tests, in one program: they talk to a real token, real databases and real TLS.

#[path = "suite/support/mod.rs"]
mod support;

#[path = "suite/rooms.rs"]
mod rooms;
#[path = "suite/store.rs"]
mod store;
#[path = "suite/tls.rs"]
mod tls;
#[path = "suite/token.rs"]
mod token;
