//! Which addresses webhooks reach.
//!
//! An administrator of a project names the URL, and the service calls it from inside the operator's network: by that nobody may get at what only
//! the machine itself, or its link, can reach (the operations listener, a cloud's metadata service with its credentials). So these are refused,
//! after the name was resolved and for the very address that is then connected to, unless the operator allows them. Private networks
//! are where receivers of a self-hosted service are, and stay open; answers are never shown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Metadata services that are not on the link: AWS and Google Cloud (IPv6), Alibaba Cloud, Oracle Cloud's older one, Azure's wire server.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// The IPv4 address that an IPv6 one stands for: mapped (RFC 4291, 2.5.5.2), 6to4 (RFC 3056), NAT64's prefixes (RFC 6052; RFC 8215 with
/// the address at the end).
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let embedded = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b) {
        (0x2002, _) => embedded(b, c),
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] || c == 1 => embedded(g, h),
        _ => v6.to_canonical(),
    }
}

fn is_nobodys_receiver(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || is_compatible(v6),
    };
    special || METADATA.contains(&address)
}

/// `::a.b.c.d` (RFC 4291, 2.5.5.1), which nobody uses rightly any more.
fn is_compatible(v6: Ipv6Addr) -> bool {
    v6.segments().iter().take(6).all(|segment| *segment == 0)
}

/// Whether that address may be called, over TLS or without.
pub(super) fn may_reach(address: SocketAddr, over_tls: bool, allowed: &[IpNet]) -> bool {
    let plain = plain(address.ip());
    let is_allowed = allowed.iter().any(|net| net.contains(&plain));
    if over_tls { is_allowed || !is_nobodys_receiver(plain) } else { is_allowed && plain.is_loopback() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(address: &str, over_tls: bool, allowed: &[&str]) -> bool {
        let allowed: Vec<IpNet> = allowed.iter().map(|net| net.parse().unwrap_or_else(|_| IpNet::from(net.parse::<IpAddr>().unwrap()))).collect();
        may_reach(SocketAddr::new(address.parse().unwrap(), 443), over_tls, &allowed)
    }

    #[test]
    fn what_only_the_machine_or_its_link_reaches_is_refused_in_every_form() {
        for refused in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "168.63.129.16",
            "100.100.100.200",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::7f00:1",
            "fd20:ce::254",
        ] {
            assert!(!reaches(refused, true, &[]), "{refused}");
            assert!(!reaches(refused, false, &[]), "{refused}");
        }
        for open in ["10.0.0.1", "192.168.1.1", "172.16.0.1", "93.184.216.34", "fd12::1", "2606:2800::1", "::ffff:10.0.0.1"] {
            assert!(reaches(open, true, &[]), "{open}");
            assert!(!reaches(open, false, &[open]), "plain HTTP to {open}");
        }
    }

    #[test]
    fn what_the_operator_allows_is_reached() {
        assert!(reaches("127.0.0.1", true, &["127.0.0.0/8"]));
        assert!(reaches("127.0.0.1", false, &["127.0.0.0/8"]));
        assert!(reaches("::ffff:127.0.0.1", false, &["127.0.0.0/8"]));
        assert!(reaches("::1", false, &["::1/128"]));
        assert!(reaches("169.254.1.1", true, &["169.254.1.1/32"]));
        assert!(!reaches("169.254.169.254", true, &["127.0.0.0/8"]));
    }
}
