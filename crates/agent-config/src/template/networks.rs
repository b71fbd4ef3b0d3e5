//! Networks, and which of them the RFCs are about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::InterfaceAddress;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Network {
    ip: IpAddr,
    bits: u8,
}

impl Network {
    pub(super) fn new(ip: IpAddr, bits: u8) -> Option<Self> {
        (bits <= width(ip)).then_some(Self { ip, bits })
    }

    /// The network that an address is in.
    pub(super) fn of(address: &InterfaceAddress) -> Self {
        Self { ip: address.ip, bits: address.network_bits.min(width(address.ip)) }
    }

    /// `IP/BITS`, or an IP address alone.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            Some((ip, bits)) => Self::new(ip.parse().ok()?, bits.parse().ok()?),
            None => text.parse().ok().map(|ip| Self { ip, bits: width(ip) }),
        }
    }

    pub(super) fn bits(self) -> u8 {
        self.bits
    }

    pub(super) fn first(self) -> IpAddr {
        ip_of(number(self.ip) & !hosts(self.ip, self.bits), self.ip)
    }

    /// Whether it holds all of another network: an address counts with the network that it is in.
    pub(super) fn contains(self, other: &Self) -> bool {
        let is_of_family = self.ip.is_ipv4() == other.ip.is_ipv4();
        let same_bits = Self { ip: other.ip, bits: self.bits };
        is_of_family && self.bits <= other.bits && self.first() == same_bits.first()
    }
}

pub(super) fn netmask(ip: IpAddr, bits: u8) -> IpAddr {
    ip_of(!hosts(ip, bits), ip)
}

/// An address so many further. Its first bits stay as they are: it comes round at the end of its network.
pub(super) fn shifted(ip: IpAddr, by: i64, bits: u8) -> IpAddr {
    let hosts = hosts(ip, bits);
    let moved = number(ip).wrapping_add_signed(i128::from(by));
    ip_of((number(ip) & !hosts) | (moved & hosts), ip)
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The address of that number, of the family of `like`.
fn ip_of(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits((number & u128::from(u32::MAX)) as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

/// The bits of an address that are not its network's.
fn hosts(ip: IpAddr, bits: u8) -> u128 {
    let free = u32::from(width(ip).saturating_sub(bits));
    1_u128.checked_shl(free).map_or(u128::MAX, |it| it - 1)
}

/// Whether the network of an address is in one of those.
pub(super) fn is_of_any(address: &InterfaceAddress, networks: &[&str]) -> bool {
    let own = Network::of(address);
    networks.iter().filter_map(|it| Network::parse(it)).any(|it| it.contains(&own))
}

/// Whether the network of an address is one that an RFC is about.
pub(crate) fn is_of_rfc(address: &InterfaceAddress, rfc: u32) -> bool {
    networks_of_rfc(rfc).is_some_and(|networks| is_of_any(address, networks))
}

pub(super) fn networks_of_rfc(rfc: u32) -> Option<&'static [&'static str]> {
    RFCS.iter().find(|it| it.0 == rfc).map(|it| it.1)
}

/// Networks whose addresses no router passes on (RFC 6890).
pub(super) const NOT_FORWARDED: &[&str] = &[
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "2001:10::/28",
    "2001:db8::/32",
    "fe80::/10",
];

/// RFCs by number, with the networks that they set apart. Those of 2928 are as wide as go-sockaddr has them, here and in 6890.
const RFCS: &[(u32, &[&str])] = &[
    (919, &["255.255.255.255/32"]),
    (1112, &["224.0.0.0/4"]),
    (1122, &["0.0.0.0/8", "127.0.0.0/8"]),
    (1918, &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]),
    (2544, &["198.18.0.0/15"]),
    (2928, &["2001::/16"]),
    (3056, &["2002::/16"]),
    (3068, &["192.88.99.0/24", "2002:c058:6301::/120"]),
    (3171, &["224.0.0.0/4"]),
    (
        3330,
        &[
            "0.0.0.0/8",
            "10.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ],
    ),
    (3849, &["2001:db8::/32"]),
    (3927, &["169.254.0.0/16"]),
    (4193, &["fc00::/7"]),
    (4291, &["::/96", "::ffff:0:0/96", "fe80::/10", "fec0::/10", "ff00::/8"]),
    (4380, &["2001::/32"]),
    (4773, &["2001::/23"]),
    (4843, &["2001:10::/28"]),
    (5180, &["2001:2::/48"]),
    (5735, &["192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"]),
    (5737, &["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]),
    (6052, &["64:ff9b::/96"]),
    (6333, &["192.0.0.0/29"]),
    (6598, &["100.64.0.0/10"]),
    (6666, &["100::/64"]),
    (
        6890,
        &[
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "::/128",
            "::1/128",
            "64:ff9b::/96",
            "::ffff:0:0/96",
            "100::/64",
            "2001::/16",
            "2002::/16",
            "fc00::/7",
            "fe80::/10",
        ],
    ),
    (7335, &["192.0.0.0/29"]),
];
