//! Addresses of this machine's network interfaces, by rtnetlink: `/proc` does not tell which interface has an IPv4
//! address, and `getifaddrs` is a foreign call.

use std::fs;
use std::io;
use std::net::IpAddr;

mod netlink;

/// An address of a network interface of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    /// Name of the interface: `eth0`.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// Leading bits of the address that are its network: at most 32, or 128.
    pub network_bits: u8,
    /// The interface is up.
    pub is_up: bool,
    /// It leads back to this machine.
    pub is_loopback: bool,
    /// It leads to one other machine.
    pub is_point_to_point: bool,
    /// It can be sent to all at once.
    pub is_broadcast: bool,
    /// It can be sent to groups.
    pub is_multicast: bool,
    /// Packets for addresses that no other route is for leave by this interface.
    pub has_default_route: bool,
}

/// The addresses of this machine's network interfaces, in the kernel's order of interfaces, IPv4 first in each. At most one
/// interface has the default route: that of IPv4, or that of IPv6 if there is none.
///
/// # Errors
/// When the kernel does not tell.
pub fn interfaces() -> io::Result<Vec<InterfaceAddress>> {
    let (links, addresses) = netlink::links_and_addresses()?;
    // A namespace without one of the tables has no such routes.
    let table = |path| fs::read_to_string(path).unwrap_or_default();
    let default = default_interface(&table("/proc/net/route"), &table("/proc/net/ipv6_route"));
    let mut found = Vec::with_capacity(addresses.len());
    for link in links {
        let (four, six): (Vec<_>, Vec<_>) =
            addresses.iter().filter(|it| it.index == link.index).partition(|it| it.ip.is_ipv4());
        found.extend(four.into_iter().chain(six).map(|address| InterfaceAddress {
            name: link.name.clone(),
            ip: address.ip,
            network_bits: address.network_bits,
            is_up: link.has(libc::IFF_UP),
            is_loopback: link.has(libc::IFF_LOOPBACK),
            is_point_to_point: link.has(libc::IFF_POINTOPOINT),
            is_broadcast: link.has(libc::IFF_BROADCAST),
            is_multicast: link.has(libc::IFF_MULTICAST),
            has_default_route: default.as_ref() == Some(&link.name),
        }));
    }
    Ok(found)
}

/// Flags of a route, `RTF_UP` and `RTF_REJECT` of `linux/route.h`: it is in use; it leads nowhere.
const ROUTE_UP: u32 = 0x1;
const ROUTE_REJECT: u32 = 0x200;

/// The interface of the default route with the least metric, from the texts of `/proc/net/route` and
/// `/proc/net/ipv6_route`.
fn default_interface(ipv4: &str, ipv6: &str) -> Option<String> {
    let best = |routes: Vec<(u32, &str)>| {
        routes.into_iter().min_by_key(|(metric, _)| *metric).map(|(_, name)| name.to_owned())
    };
    let ipv4 = ipv4.lines().filter_map(default_ipv4).collect();
    best(ipv4).or_else(|| best(ipv6.lines().filter_map(default_ipv6).collect()))
}

/// Metric and interface of a line that is an IPv4 default route: columns are interface, destination, gateway, flags (in hex),
/// references, use, metric (in decimal), mask.
fn default_ipv4(line: &str) -> Option<(u32, &str)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [name, "00000000", _, flags, _, _, metric, "00000000", ..] = columns.as_slice() else {
        return None;
    };
    is_usable(flags).then_some((metric.parse().ok()?, *name))
}

/// Metric and interface of a line that is an IPv6 default route: columns are destination and its length, source and its
/// length, next hop, metric, references, use, flags (all in hex), interface.
fn default_ipv6(line: &str) -> Option<(u32, &str)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [destination, "00", _, "00", _, metric, _, _, flags, name] = columns.as_slice() else {
        return None;
    };
    let is_default = destination.bytes().all(|it| it == b'0') && is_usable(flags);
    is_default.then_some((u32::from_str_radix(metric, 16).ok()?, *name))
}

fn is_usable(flags: &str) -> bool {
    let flags = u32::from_str_radix(flags, 16).unwrap_or_default();
    flags & ROUTE_UP != 0 && flags & ROUTE_REJECT == 0
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_loopback_interface_is_found() {
        let found = interfaces().expect("the kernel tells");
        let lo = found
            .iter()
            .find(|it| it.name == "lo" && it.ip == Ipv4Addr::LOCALHOST)
            .unwrap_or_else(|| panic!("{found:?}"));
        assert_eq!(lo.network_bits, 8);
        assert!(lo.is_up && lo.is_loopback, "{lo:?}");
        assert!(!lo.is_point_to_point && !lo.is_broadcast && !lo.has_default_route, "{lo:?}");
    }

    #[test]
    fn at_most_one_interface_has_the_default_route() {
        let found = interfaces().expect("the kernel tells");
        let mut names: Vec<&str> =
            found.iter().filter(|it| it.has_default_route).map(|it| it.name.as_str()).collect();
        names.dedup();
        assert!(names.len() <= 1, "{names:?}");
    }

    const HEAD: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n";
    const ZEROS: &str = "00000000000000000000000000000000";

    fn route(name: &str, flags: &str, metric: u32) -> String {
        format!("{name}\t00000000\t0100000A\t{flags}\t0\t0\t{metric}\t00000000\t0\t0\t0\n")
    }

    fn route6(name: &str, flags: &str, metric: &str) -> String {
        format!("{ZEROS} 00 {ZEROS} 00 {ZEROS} {metric} 00000001 00000000 {flags} {name}\n")
    }

    #[test]
    fn the_default_route_is_the_usable_one_of_least_metric() {
        let inner = "eth2\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let reject = route6("lo", "00200200", "ffffffff");
        let cases = [
            (format!("{HEAD}{inner}"), String::new(), None),
            (
                format!("{HEAD}{}{}", route("wlan0", "0003", 600), route("eth0", "0003", 100)),
                route6("eth9", "00000003", "00000001"),
                Some("eth0"),
            ),
            (
                format!("{HEAD}{}{}", route("eth0", "0200", 1), route("eth1", "0003", 100)),
                String::new(),
                Some("eth1"),
            ),
            (
                format!("{HEAD}{inner}"),
                format!(
                    "{}{}{reject}",
                    route6("eth1", "00000003", "00000400"),
                    route6("eth0", "00000003", "00000100")
                ),
                Some("eth0"),
            ),
            (String::new(), reject.clone(), None),
            ("eth0\t00000000".into(), "00 00".into(), None),
        ];
        for (ipv4, ipv6, expected) in cases {
            assert_eq!(default_interface(&ipv4, &ipv6).as_deref(), expected, "{ipv4}{ipv6}");
        }
    }
}
