//! `[operations]`: health and metrics, over plain HTTP.

use std::net::{Ipv4Addr, SocketAddr};

use super::document::section;

section! {
    /// `[operations]`
    pub Operations is "operations" {
        /// Where `/healthz`, `/readyz` and `/metrics` are. It asks nobody who they are: keep it on the loopback interface.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 9090));
    }
}
