//! The MAC address that is sent: a given one, or that of the interface in use towards the service.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::str::FromStr;

use mac_address::MacAddress;
use nix::ifaddrs::getifaddrs;

use crate::cli::exit::{Exit, Failure};
use crate::domain::caller::MacAddr;

/// What `--mac` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MacChoice {
    /// That of the interface in use towards the service.
    Auto,
    /// This one.
    Given(MacAddr),
}

impl FromStr for MacChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => MacAddr::parse(text).map(Self::Given).ok_or("must be auto or a MAC address such as aa:bb:cc:dd:ee:ff"),
        }
    }
}

impl MacChoice {
    /// The address to send to the service at `host` and `port`.
    pub(super) fn address(self, host: &str, port: u16) -> Result<MacAddr, Failure> {
        match self {
            Self::Given(address) => Ok(address),
            Self::Auto => towards(host, port),
        }
    }
}

fn towards(host: &str, port: u16) -> Result<MacAddr, Failure> {
    let failed = |reason: String| Failure::new(Exit::Failed, format!("--mac auto: {reason}; give the address instead"));
    let servers: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|error| failed(format!("{host}: {error}")))?.collect();
    let local = servers.iter().find_map(|server| local_address(*server)).ok_or_else(|| failed(format!("no way to {host}")))?;
    let address = match interface_of(local) {
        // A service on this very machine is reached over the loopback interface, which has no address: the machine's first card is meant.
        _ if local.is_loopback() => mac_address::get_mac_address(),
        Some(interface) => mac_address::mac_address_by_name(&interface),
        None => return Err(failed(format!("no interface has the address {local}"))),
    };
    let address = address.map_err(|error| failed(error.to_string()))?.map(MacAddress::bytes).map(MacAddr::from_bytes);
    address.filter(|address| address.is_unicast()).ok_or_else(|| failed(format!("the interface with {local} has no MAC address")))
}

/// The local address from which `server` would be reached. Connecting a UDP socket chooses the route and sends nothing.
fn local_address(server: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { std::net::Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(server).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn interface_of(local: IpAddr) -> Option<String> {
    let has_it = |interface: &nix::ifaddrs::InterfaceAddress| {
        let Some(address) = &interface.address else { return false };
        match local {
            IpAddr::V4(local) => address.as_sockaddr_in().is_some_and(|address| address.ip() == local),
            IpAddr::V6(local) => address.as_sockaddr_in6().is_some_and(|address| address.ip() == local),
        }
    };
    getifaddrs().ok()?.find(has_it).map(|interface| interface.interface_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_belongs_to_an_interface() {
        let local = local_address(SocketAddr::from(([127, 0, 0, 1], 8443))).unwrap();
        assert_eq!(local, IpAddr::from([127, 0, 0, 1]));
        assert!(interface_of(local).is_some());
        assert_eq!(interface_of(IpAddr::from([192, 0, 2, 1])), None);
    }

    #[test]
    fn choices_are_read() {
        assert_eq!("auto".parse(), Ok(MacChoice::Auto));
        assert!("aa-bb-cc-dd-ee-ff".parse::<MacChoice>().is_ok());
        assert!("aa:bb".parse::<MacChoice>().is_err());
    }
}
