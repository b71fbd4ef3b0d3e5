//! The PROXY protocol, versions 1 and 2: what a proxy says first on a connection about whose connection it is
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

mod crc32c;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, with its line end (section 2.1).
const V1_BYTES_MAX: usize = 107;
const V1_PREFIX: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_BYTES: usize = 16;
/// Longest rest of a header of version 2. Senders must be content with 520 (section 2.2); certificates in TLVs need more.
const V2_REST_BYTES_MAX: usize = 16 * 1024;
/// Type of the TLV with the checksum of the header (section 2.2.3).
const TLV_CRC32C: u8 = 0x03;

/// Most bytes that [`read`] needs to see.
pub const BYTES_MAX: usize = V2_FIXED_BYTES + V2_REST_BYTES_MAX;

/// A version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Both ends of the connection that a header speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its version.
    pub version: Version,
    /// Whose connection it is. `None` when it is the proxy's own (`LOCAL`, a health check), or not known: then the
    /// addresses of the connection itself hold.
    pub addresses: Option<Addresses>,
}

/// The bytes at the beginning of a connection, as far as the protocol goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// More bytes are needed to tell.
    Incomplete,
    /// It does not begin with a header.
    NoHeader,
    /// It does; what follows it begins after `length` bytes.
    Header {
        /// What it says.
        header: Header,
        /// Its length.
        length: usize,
    },
}

/// A connection begins like a header that it is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// A header of version 1 does not end within 107 bytes.
    #[error("a PROXY protocol header of version 1 is longer than 107 bytes")]
    V1TooLong,
    /// A header of version 1 is not of the form `PROXY TCP4 source destination port port`.
    #[error("a PROXY protocol header of version 1 has the wrong form")]
    V1Form,
    /// A header of version 2 has a version, command or family that does not exist.
    #[error("a PROXY protocol header of version 2 has an unknown version, command or family")]
    V2Kind,
    /// A header of version 2 is longer than 16 KiB.
    #[error("a PROXY protocol header of version 2 is longer than 16 KiB")]
    V2TooLong,
    /// A header of version 2 is too short for its addresses, or its TLVs for their lengths.
    #[error("a PROXY protocol header of version 2 is shorter than what it holds")]
    V2Short,
    /// The checksum in a header of version 2 does not fit it.
    #[error("the checksum of a PROXY protocol header does not fit")]
    V2Checksum,
}

/// Reads the beginning of a connection. To be called again with all bytes so far while it is [`Start::Incomplete`]: at
/// most with [`BYTES_MAX`]. A checksum is checked where there is one; other TLVs are skipped.
///
/// # Errors
/// When it begins like a header and goes on otherwise. The connection must be closed then: who comes through a proxy
/// and who does not cannot be told apart.
pub fn read(bytes: &[u8]) -> Result<Start, Malformed> {
    if begins(bytes, V1_PREFIX) {
        return read_v1(bytes);
    }
    if begins(bytes, V2_SIGNATURE) {
        return read_v2(bytes);
    }
    Ok(Start::NoHeader)
}

/// True when `bytes` begin with `prefix`, or may do so when there are more of them.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    let common = bytes.len().min(prefix.len());
    bytes[..common] == prefix[..common]
}

fn read_v1(bytes: &[u8]) -> Result<Start, Malformed> {
    let within = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|it| it == b"\r\n") else {
        let is_full = within.len() == V1_BYTES_MAX;
        return if is_full { Err(Malformed::V1TooLong) } else { Ok(Start::Incomplete) };
    };
    let line = std::str::from_utf8(&bytes[V1_PREFIX.len()..end]).map_err(|_| Malformed::V1Form)?;
    let mut fields = line.split(' ');
    let addresses = match fields.next() {
        // What follows is not to be looked at (section 2.1).
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let fields: Vec<&str> = fields.collect();
            Some(v1_addresses(family == "TCP4", &fields).ok_or(Malformed::V1Form)?)
        }
        Some(_) | None => return Err(Malformed::V1Form),
    };
    let header = Header { version: Version::V1, addresses };
    Ok(Start::Header { header, length: end + 2 })
}

fn v1_addresses(is_v4: bool, fields: &[&str]) -> Option<Addresses> {
    let [source, destination, source_port, destination_port] = fields else { return None };
    let ip = |text: &str| -> Option<IpAddr> {
        if is_v4 {
            text.parse::<Ipv4Addr>().ok().map(IpAddr::from)
        } else {
            text.parse::<Ipv6Addr>().ok().map(IpAddr::from)
        }
    };
    let port = |text: &str| -> Option<u16> {
        let is_plain = text.bytes().all(|it| it.is_ascii_digit());
        let has_no_padding = text == "0" || !text.starts_with('0');
        (is_plain && has_no_padding).then(|| text.parse().ok()).flatten()
    };
    Some(Addresses {
        source: SocketAddr::new(ip(source)?, port(source_port)?),
        destination: SocketAddr::new(ip(destination)?, port(destination_port)?),
    })
}

fn read_v2(bytes: &[u8]) -> Result<Start, Malformed> {
    let Some((fixed, rest)) = bytes.split_at_checked(V2_FIXED_BYTES) else {
        return Ok(Start::Incomplete);
    };
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::V2Kind),
    };
    let rest_bytes = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if rest_bytes > V2_REST_BYTES_MAX {
        return Err(Malformed::V2TooLong);
    }
    let Some(rest) = rest.get(..rest_bytes) else { return Ok(Start::Incomplete) };
    let (addresses, tlvs) = v2_addresses(fixed[13], rest)?;
    let length = V2_FIXED_BYTES + rest_bytes;
    check_tlvs(&bytes[..length], length - tlvs.len())?;
    let addresses = if is_local { None } else { addresses };
    Ok(Start::Header { header: Header { version: Version::V2, addresses }, length })
}

/// The addresses at the beginning of `rest`, and the TLVs behind them.
fn v2_addresses(family: u8, rest: &[u8]) -> Result<(Option<Addresses>, &[u8]), Malformed> {
    /// Two paths of 108 bytes.
    const UNIX_BYTES: usize = 216;
    let short = Malformed::V2Short;
    match family {
        // What follows an unspecified family may be anything (section 2.2).
        0x00 => Ok((None, &[])),
        0x11 | 0x12 => {
            let (addresses, tlvs) = rest.split_first_chunk::<12>().ok_or(short)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *addresses;
            let (source, destination) = ([a, b, c, d].into(), [e, f, g, h].into());
            Ok((Some(with_ports(source, destination, ports)), tlvs))
        }
        0x21 | 0x22 => {
            let (source, after) = rest.split_first_chunk::<16>().ok_or(short)?;
            let (destination, after) = after.split_first_chunk::<16>().ok_or(short)?;
            let (ports, tlvs) = after.split_first_chunk::<4>().ok_or(short)?;
            Ok((Some(with_ports((*source).into(), (*destination).into(), *ports)), tlvs))
        }
        0x31 | 0x32 => Ok((None, rest.get(UNIX_BYTES..).ok_or(short)?)),
        _ => Err(Malformed::V2Kind),
    }
}

fn with_ports(source: IpAddr, destination: IpAddr, ports: [u8; 4]) -> Addresses {
    let [a, b, c, d] = ports;
    Addresses {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    }
}

fn check_tlvs(header: &[u8], begin: usize) -> Result<(), Malformed> {
    let mut at = begin;
    while at < header.len() {
        let Some([kind, high, low]) = header.get(at..at + 3) else {
            return Err(Malformed::V2Short);
        };
        let value_at = at + 3;
        at = value_at + usize::from(u16::from_be_bytes([*high, *low]));
        let value = header.get(value_at..at).ok_or(Malformed::V2Short)?;
        if *kind != TLV_CRC32C {
            continue;
        }
        let told = <[u8; 4]>::try_from(value).map_err(|_| Malformed::V2Checksum)?;
        // Of the header with zeros in the place of the checksum.
        let parts = [&header[..value_at], &[0; 4], &header[at..]];
        if crc32c::checksum(&parts) != u32::from_be_bytes(told) {
            return Err(Malformed::V2Checksum);
        }
    }
    Ok(())
}

/// Appends a header. Without addresses it is one that says that the connection is the proxy's own. When one address is
/// of version 4 and the other of version 6, the first is written as one of version 6 (`::ffff:…`).
pub fn write(version: Version, addresses: Option<&Addresses>, out: &mut Vec<u8>) {
    match version {
        Version::V1 => write_v1(addresses, out),
        Version::V2 => write_v2(addresses, out),
    }
}

fn write_v1(addresses: Option<&Addresses>, out: &mut Vec<u8>) {
    let Some(addresses) = addresses else { return out.extend_from_slice(b"PROXY UNKNOWN\r\n") };
    let (source, destination) = of_one_family(addresses);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let ports = (addresses.source.port(), addresses.destination.port());
    let line = format!("PROXY {family} {source} {destination} {} {}\r\n", ports.0, ports.1);
    out.extend_from_slice(line.as_bytes());
}

fn write_v2(addresses: Option<&Addresses>, out: &mut Vec<u8>) {
    out.extend_from_slice(V2_SIGNATURE);
    let Some(addresses) = addresses else { return out.extend_from_slice(&[0x20, 0, 0, 0]) };
    match of_one_family(addresses) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&as_v6(source).octets());
            out.extend_from_slice(&as_v6(destination).octets());
        }
    }
    out.extend_from_slice(&addresses.source.port().to_be_bytes());
    out.extend_from_slice(&addresses.destination.port().to_be_bytes());
}

fn of_one_family(addresses: &Addresses) -> (IpAddr, IpAddr) {
    let (source, destination) = (addresses.source.ip(), addresses.destination.ip());
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    (as_v6(source).into(), as_v6(destination).into())
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests;
