//! `[console]`: the listener for people's browsers. It has the API's certificate and limits.

use std::net::{Ipv4Addr, SocketAddr};

use super::document::section;

section! {
    /// `[console]`
    pub Console is "console" {
        /// Where browsers connect.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9443));
    }
}
