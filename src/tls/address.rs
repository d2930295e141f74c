//! Where a request comes from, when there may be proxies between.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Most parts of `X-Forwarded-For` that are walked; a longer chain of trusted proxies is not believed further.
const MAX_HOPS: usize = 32;

/// `address`, an IPv4-mapped IPv6 address (`::ffff:192.0.2.1`, RFC 4291, 2.5.5.2) as the IPv4 address that it is.
pub fn normalised(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Whether `address` is in one of the networks.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = normalised(address);
    trusted.iter().any(|network| network.contains(&address))
}

/// The client's address: the socket's peer, or, if that is one of the trusted proxies, the rightmost hop of
/// `X-Forwarded-For` that is not one. Each proxy appends whom it got the request from, so what stands left of the first
/// untrusted hop is only that hop's word, and is not believed. A part that is no address ends the walk at the last trusted hop.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> IpAddr {
    let mut hop = normalised(peer);
    for part in parts_from_the_right(headers).take(MAX_HOPS) {
        if !is_trusted(hop, trusted_proxies) {
            return hop;
        }
        match part.and_then(parse_hop) {
            Some(address) => hop = normalised(address),
            None => return hop,
        }
    }
    hop
}

/// The parts of all `X-Forwarded-For` lines, as if they were joined by commas (RFC 9110, 5.3), the last first. `None` is a
/// line that is not text.
fn parts_from_the_right(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    lines.into_iter().rev().flat_map(|line| match line.to_str() {
        Ok(text) => text.rsplit(',').map(Some).collect::<Vec<_>>(),
        Err(_) => vec![None],
    })
}

/// One hop: an address, or what some proxies write, an address with a port or an IPv6 address in brackets.
fn parse_hop(part: &str) -> Option<IpAddr> {
    let part = part.trim_matches([' ', '\t']);
    if let Ok(address) = part.parse() {
        return Some(address);
    }
    if let Ok(socket) = part.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    part.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().expect("a network")).collect()
    }

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, axum::http::HeaderValue::from_bytes(line).expect("a header value"));
        }
        headers
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        client_address(peer.parse().expect("an address"), &headers(&lines), &trusted()).to_string()
    }

    #[test]
    fn the_header_counts_only_from_a_trusted_proxy() {
        for (peer, lines, expected) in [
            // No proxy: the header is a lie or a mistake.
            ("192.0.2.9", vec![], "192.0.2.9"),
            ("192.0.2.9", vec!["127.0.0.1"], "192.0.2.9"),
            ("192.0.2.9", vec!["127.0.0.1", "10.0.0.1"], "192.0.2.9"),
            // A proxy, without and with a header.
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", vec!["  192.0.2.1\t"], "192.0.2.1"),
            // What the client itself wrote stands left, and is not believed.
            ("10.0.0.1", vec!["127.0.0.1, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", vec!["10.0.0.7, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", vec!["rubbish, 192.0.2.1"], "192.0.2.1"),
            // Several lines are one list.
            ("10.0.0.1", vec!["127.0.0.1", "192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", vec!["192.0.2.1", "10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", vec!["127.0.0.1, 192.0.2.1", "10.0.0.3, 10.0.0.2"], "192.0.2.1"),
            // All trusted: the leftmost is where it began.
            ("10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(client(peer, &lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn a_malformed_part_ends_the_walk_at_the_last_trusted_hop() {
        for (lines, expected) in [
            (vec![""], "10.0.0.1"),
            (vec!["unknown"], "10.0.0.1"),
            (vec!["_hidden, 10.0.0.2"], "10.0.0.2"),
            (vec!["192.0.2.1, unknown"], "10.0.0.1"),
            (vec!["192.0.2.1,"], "10.0.0.1"),
            (vec!["192.0.2.1,,10.0.0.2"], "10.0.0.2"),
            (vec!["192.0.2.01"], "10.0.0.1"),
            (vec!["192.0.2"], "10.0.0.1"),
            (vec!["192.0.2.256"], "10.0.0.1"),
            (vec!["192.0.2.1 10.0.0.2"], "10.0.0.1"),
            (vec!["192.0.2.1:99999"], "10.0.0.1"),
            (vec!["[192.0.2.1]"], "10.0.0.1"),
            (vec!["[2001:db8::1"], "10.0.0.1"),
            (vec!["fe80::1%eth0"], "10.0.0.1"),
            (vec!["192.0.2.1/32"], "10.0.0.1"),
            (vec!["\u{a0}192.0.2.1"], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &lines), expected, "{lines:?}");
        }
        assert_eq!(client_address("10.0.0.1".parse().expect("an address"), &headers(&[b"192.0.2.1", b"\xff"]), &trusted()).to_string(), "10.0.0.1");
    }

    #[test]
    fn notations_of_proxies_are_read() {
        for (line, expected) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
            ("192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
            ("192.0.2.1, fd00::2", "192.0.2.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[line]), expected, "{line}");
        }
    }

    #[test]
    fn mapped_addresses_of_the_peer_are_normalised() {
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("::1", &["192.0.2.1"]), "::1");
    }

    #[test]
    fn a_mapped_network_or_an_endless_chain_gives_nothing_away() {
        let chain = vec!["10.0.0.2"; 1_000].join(",");
        let spoofed = format!("192.0.2.1,{chain}");
        assert_eq!(client("10.0.0.1", &[&spoofed]), "10.0.0.2");
        assert!(!is_trusted("::ffff:192.0.2.1".parse().expect("an address"), &trusted()));
        assert!(is_trusted("::ffff:10.9.9.9".parse().expect("an address"), &trusted()));
    }

    proptest! {
        /// Whatever stands left of the hop that a trusted proxy wrote changes nothing.
        #[test]
        fn nothing_left_of_the_first_untrusted_hop_matters(junk in "[ -~]{0,80}") {
            prop_assert_eq!(client("10.0.0.1", &[&format!("{junk},192.0.2.1")]), "192.0.2.1");
            prop_assert_eq!(client("10.0.0.1", &[&junk, "192.0.2.1, 10.0.0.2"]), "192.0.2.1");
            prop_assert_eq!(client("192.0.2.7", &[&junk]), "192.0.2.7");
        }
    }
}
