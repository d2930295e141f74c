//! `[api]`: the listener for clients, and the limits on what they may send.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::document::section;
use super::setting::{ByteSize, FromText, Hostname, within, within_ms};

section! {
    /// `[api]`
    pub Api is "api" {
        /// Where clients connect.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443));
        /// The names in the server certificate that the internal CA issues.
        names: Vec<Hostname> = ["localhost", "127.0.0.1", "::1"].into_iter().filter_map(Hostname::from_text).collect();
        /// A server certificate and its chain (PEM) in place of the internal CA's.
        certificate: Option<PathBuf> = None;
        /// The private key of `certificate` (PEM).
        key: Option<PathBuf> = None;
        /// Proxies whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<IpNet> = Vec::new();
        /// Whether the trusted proxies put a PROXY protocol header (version 1 or 2) before each connection. Nobody else may.
        proxy_protocol: bool = false;
        /// The largest request body.
        body_limit: ByteSize = ByteSize(256 * 1024), within(ByteSize(64 * 1024)..=ByteSize(16 << 20));
        /// The largest request head.
        header_limit: ByteSize = ByteSize(16 * 1024), within(ByteSize(8 * 1024)..=ByteSize(1 << 20));
        /// How many connections may be open.
        connections: usize = 10_000, within(1..=1_000_000);
        /// How long a TLS handshake may take.
        handshake_timeout: Duration = Duration::from_secs(10), within_ms(100..=60_000);
        /// How long a connection may be silent.
        idle_timeout: Duration = Duration::from_secs(60), within_ms(1_000..=3_600_000);
        /// How long a request may take, its body included.
        request_timeout: Duration = Duration::from_secs(10), within_ms(100..=300_000);
        /// Whether the API's OpenAPI document and the page to read and try it are served, to everybody who can connect.
        documentation: bool = true;
    }
}

impl Api {
    pub(super) fn resolve(&mut self, directory: &Path) {
        for file in [&mut self.certificate, &mut self.key].into_iter().flatten() {
            *file = directory.join(&*file);
        }
    }
}
