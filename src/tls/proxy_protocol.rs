//! The PROXY protocol (versions 1 and 2): a proxy says before the first byte of a connection whose connection it is.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What every version-2 header begins with.
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The version-2 header up to and including its length field.
const V2_FIXED_BYTES: usize = 16;
/// Most bytes of a version-2 header: addresses and what proxies add to them come to some hundred.
const V2_MAX_BYTES: usize = 2_048;
/// Most bytes of a version-1 header, its line end included (the specification's worst case).
const V1_MAX_BYTES: usize = 107;

/// Reads the header and not one byte more. `None` is a connection of the proxy's own (a health check), or one whose
/// addresses the proxy doesn't know.
pub(super) async fn read_source(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // The shortest version-1 header has 15 bytes, so this doesn't read too far.
    let mut header = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        read_v2(stream, &mut header).await?;
        source_v2(&header)
    } else {
        read_v1(stream, &mut header).await?;
        source_v1(&header)
    }
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    let mut fixed = [0; V2_FIXED_BYTES - V2_SIGNATURE.len()];
    stream.read_exact(&mut fixed).await?;
    header.extend_from_slice(&fixed);
    let [_, _, high, low] = fixed;
    let total = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if total > V2_MAX_BYTES {
        return Err(malformed("its PROXY header is too long"));
    }
    let mut rest = vec![0; total - V2_FIXED_BYTES];
    stream.read_exact(&mut rest).await?;
    header.append(&mut rest);
    Ok(())
}

async fn read_v1(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    if !header.starts_with(b"PROXY ") {
        return Err(malformed("it has no PROXY header"));
    }
    while !header.ends_with(b"\r\n") {
        if header.len() >= V1_MAX_BYTES {
            return Err(malformed("its PROXY header is too long"));
        }
        // Byte by byte: what follows belongs to TLS.
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

fn source_v1(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    use ppp::v1::Addresses;
    let parsed = ppp::v1::Header::try_from(header).map_err(|error| malformed(error.to_string()))?;
    Ok(match parsed.addresses {
        Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        Addresses::Unknown => None,
    })
}

fn source_v2(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    use ppp::v2::{Addresses, Command};
    let parsed = ppp::v2::Header::try_from(header).map_err(|error| malformed(error.to_string()))?;
    Ok(match (parsed.command, parsed.addresses) {
        (Command::Local, _) => None,
        (Command::Proxy, Addresses::IPv4(ip)) => Some((ip.source_address, ip.source_port).into()),
        (Command::Proxy, Addresses::IPv6(ip)) => Some((ip.source_address, ip.source_port).into()),
        (Command::Proxy, Addresses::Unspecified | Addresses::Unix(_)) => None,
    })
}

fn malformed(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `bytes`, and what is left.
    async fn read(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let mut stream = bytes;
        let result = read_source(&mut stream).await;
        (result, stream.to_vec())
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).expect("a length").to_be_bytes();
        [&V2_SIGNATURE[..], &[0x20 | command, family], &length, addresses].concat()
    }

    fn v4_addresses() -> Vec<u8> {
        [&[192, 0, 2, 1, 10, 0, 0, 1][..], &4711_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_source_and_leave_the_rest() {
        let v6: Vec<u8> = [&"2001:db8::1".parse::<std::net::Ipv6Addr>().expect("an address").octets()[..], &[0; 16], &[0x12, 0x67, 1, 187]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n".to_vec(), Some("192.0.2.1:4711")),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n".to_vec(), Some("[2001:db8::1]:4711")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (v2(1, 0x11, &v4_addresses()), Some("192.0.2.1:4711")),
            (v2(1, 0x21, &v6), Some("[2001:db8::1]:4711")),
            (v2(1, 0x11, &[v4_addresses(), vec![4, 0, 1, 0]].concat()), Some("192.0.2.1:4711")),
            (v2(0, 0x11, &v4_addresses()), None),
            (v2(0, 0, &[]), None),
        ] {
            let (result, rest) = read(&[&header[..], b"\x16\x03\x01"].concat()).await;
            assert_eq!(result.expect("a header").map(|source| source.to_string()).as_deref(), expected, "{header:?}");
            assert_eq!(rest, b"\x16\x03\x01", "{header:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 500]].concat();
        for wrong in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.300 10.0.0.1 4711 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\n".to_vec(),
            b"proxy TCP4 192.0.2.1 10.0.0.1 4711 443\r\n".to_vec(),
            endless,
            b"PROX".to_vec(),
            v2(1, 0x11, &v4_addresses()[..8]),
            v2(9, 0x11, &v4_addresses()),
            v2(1, 0x11, &[0; 3_000]),
            v2(1, 0x11, &v4_addresses())[..20].to_vec(),
        ] {
            assert!(read(&wrong).await.0.is_err(), "{wrong:?}");
        }
    }
}
