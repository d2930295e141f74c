//! The limits of a listener.

use std::time::Duration;

use ipnet::IpNet;

/// Everything about a listener that has a limit. The configuration sets the values; [`Default`] is what the product promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Most connections at a time. At the limit the connection that has been idle for longest makes room for the new one; if
    /// none is idle, the new one is closed at once.
    pub max_connections: usize,
    /// Most connections whose handshake is unfinished. At the limit the oldest makes room for the newest, so that silent
    /// peers can't keep honest ones out.
    pub max_handshakes: usize,
    /// How long the handshake may take, a PROXY header included.
    pub handshake_timeout: Duration,
    /// How long a connection may have no request under way.
    pub idle_timeout: Duration,
    /// How long a request's header may take from its first byte (HTTP/1.1), and its body from the end of the header.
    pub request_timeout: Duration,
    /// How long a connection that was asked to close may stay open without a request under way.
    pub close_grace: Duration,
    /// How long requests under way may take after the stop signal.
    pub drain: Duration,
    /// Most bytes of a request's header, the request line included.
    pub max_header_bytes: u32,
    /// Most requests at a time on one HTTP/2 connection.
    pub max_streams: u32,
    /// Whether proxies put a PROXY protocol header before each connection.
    pub proxy_protocol: ProxyProtocol,
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_handshakes: 1_000,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(10),
            close_grace: Duration::from_secs(2),
            drain: Duration::from_secs(15),
            max_header_bytes: 16 * 1024,
            max_streams: 128,
            proxy_protocol: ProxyProtocol::Off,
        }
    }
}

/// Whether connections begin with a PROXY protocol header (version 1 or 2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxyProtocol {
    /// They don't.
    #[default]
    Off,
    /// Those from these proxies must; those from anywhere else must not.
    From(Vec<IpNet>),
}
