//! What can be done with a list of addresses. Words are taken in any letter case.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::InterfaceAddress;
use super::functions::is_forwarded;
use super::networks::{Network, is_of_any, is_of_rfc, netmask, networks_of_rfc, shifted};

type Addresses = Vec<InterfaceAddress>;
/// Whether an address is one of those that are looked for.
type Test = Box<dyn Fn(&InterfaceAddress) -> bool>;

/// The addresses of which something is so, and the others. Several networks, RFCs, types and flags are alternatives, with a
/// `|` between them; the first are of the first.
pub(super) fn partition(
    by: &str,
    value: &str,
    addresses: Addresses,
) -> Result<(Addresses, Addresses), String> {
    let tests: Vec<Test> = match by.to_lowercase().as_str() {
        "address" => {
            let pattern = filter::pattern::compile(value)?;
            vec![boxed(move |it| pattern.is_match(&text_of(it)))]
        }
        "name" => {
            let pattern = filter::pattern::compile(value)?;
            vec![boxed(move |it| pattern.is_match(&it.name))]
        }
        "flag" | "flags" => vec![flags(value)?],
        "network" => value.split('|').map(network).collect::<Result<_, _>>()?,
        "rfc" | "rfcs" => value.split('|').map(rfc).collect::<Result<_, _>>()?,
        "size" => {
            let bits: u8 = value.parse().map_err(|_| format!("{value:?} is no number of bits"))?;
            vec![boxed(move |it| it.network_bits == bits)]
        }
        // All at once, so that the order stays.
        "type" => {
            let types: Vec<Test> = value.split('|').map(family).collect::<Result<_, _>>()?;
            vec![boxed(move |it| types.iter().any(|test| test(it)))]
        }
        "port" => return Err("addresses of interfaces have no port".to_owned()),
        _ => {
            let known = "address, flags, name, network, rfc, size, type";
            return Err(format!("{by:?} is nothing to choose by; there are {known}"));
        }
    };
    let (mut chosen, mut rest) = (Vec::new(), addresses);
    for test in tests {
        let (more, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|it| test(it));
        chosen.extend(more);
        rest = others;
    }
    Ok((chosen, rest))
}

fn boxed(test: impl Fn(&InterfaceAddress) -> bool + 'static) -> Test {
    Box::new(test)
}

fn network(text: &str) -> Result<Test, String> {
    let network = Network::parse(text)
        .ok_or_else(|| format!("{text:?} is not a network such as 10.0.0.0/8"))?;
    Ok(boxed(move |it| network.contains(&Network::of(it))))
}

fn rfc(text: &str) -> Result<Test, String> {
    let networks = text.parse().ok().and_then(networks_of_rfc);
    let networks = networks.ok_or_else(|| format!("no networks are known of RFC {text:?}"))?;
    Ok(boxed(move |it| is_of_any(it, networks)))
}

fn family(text: &str) -> Result<Test, String> {
    match text.to_lowercase().as_str() {
        "ip" => Ok(boxed(|_| true)),
        "ipv4" => Ok(boxed(|it| it.ip.is_ipv4())),
        "ipv6" => Ok(boxed(|it| it.ip.is_ipv6())),
        "unix" => Ok(boxed(|_| false)),
        _ => Err(format!("{text:?} is no type; there are ip, ipv4, ipv6")),
    }
}

/// Whether an interface has all flags that are asked of interfaces, or its address one of those that are asked of addresses:
/// so it is with go-sockaddr, whose `down` fits all interfaces, however, and not those that are down.
fn flags(text: &str) -> Result<Test, String> {
    let mut of_interface: Vec<fn(&InterfaceAddress) -> bool> = Vec::new();
    let mut of_address: Vec<fn(&InterfaceAddress) -> bool> = Vec::new();
    for flag in text.to_lowercase().split('|') {
        match flag {
            "up" => of_interface.push(|it| it.is_up),
            "down" => of_interface.push(|it| !it.is_up),
            "broadcast" => of_interface.push(|it| it.is_broadcast),
            "point-to-point" => of_interface.push(|it| it.is_point_to_point),
            "loopback" => {
                of_interface.push(|it| it.is_loopback);
                of_address.push(|it| it.ip.is_loopback());
            }
            "multicast" => {
                of_interface.push(|it| it.is_multicast);
                of_address.push(|it| it.ip.is_multicast());
            }
            "forwardable" => of_address.push(is_forwarded),
            "global unicast" => of_address.push(is_global_unicast),
            "link-local unicast" => of_address.push(is_link_local),
            "link-local multicast" => {
                of_address.push(|it| is_of_any(it, &["224.0.0.0/24", "ff02::/16"]));
            }
            "interface-local multicast" => of_address.push(|it| is_of_any(it, &["ff01::/16"])),
            "unspecified" => of_address.push(|it| it.ip.is_unspecified()),
            _ => return Err(format!("{flag:?} is no flag; there are {FLAGS}")),
        }
    }
    Ok(boxed(move |it| {
        let has_all = !of_interface.is_empty() && of_interface.iter().all(|has| has(it));
        has_all || of_address.iter().any(|has| has(it))
    }))
}

const FLAGS: &str = "broadcast, down, forwardable, global unicast, interface-local multicast, \
    link-local multicast, link-local unicast, loopback, multicast, point-to-point, unspecified, up";

fn is_link_local(address: &InterfaceAddress) -> bool {
    match address.ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// In Go's sense, to which private addresses belong.
fn is_global_unicast(address: &InterfaceAddress) -> bool {
    let ip = address.ip;
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let is_other = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_broadcast;
    !is_other && !is_link_local(address)
}

/// Sorts by several things, with a comma between them; a `-` before one of them turns it round. What is equal stays in its order.
pub(super) fn sorted(mut addresses: Addresses, by: &str) -> Result<Addresses, String> {
    type Compare = fn(&InterfaceAddress, &InterfaceAddress) -> Ordering;
    let mut order: Vec<(Compare, bool)> = Vec::new();
    for clause in by.split(',') {
        let clause = clause.trim().to_lowercase();
        let word = clause.strip_prefix(['+', '-']).unwrap_or(&clause);
        let compare: Compare = match word {
            "address" => |a, b| a.ip.cmp(&b.ip),
            "default" => |a, b| b.has_default_route.cmp(&a.has_default_route),
            "name" => |a, b| a.name.cmp(&b.name),
            "private" => |a, b| is_of_rfc(b, 6890).cmp(&is_of_rfc(a, 6890)),
            // Large networks come first.
            "size" => |a, b| {
                let key = |it: &InterfaceAddress| (it.ip.is_ipv6(), it.network_bits);
                key(a).cmp(&key(b))
            },
            "type" => |a, b| a.ip.is_ipv6().cmp(&b.ip.is_ipv6()),
            "port" => return Err("addresses of interfaces have no port".to_owned()),
            _ => {
                let known = "address, default, name, private, size, type";
                return Err(format!("{clause:?} is nothing to sort by; there are {known}"));
            }
        };
        order.push((compare, clause.starts_with('-')));
    }
    addresses.sort_by(|a, b| {
        let decisions = order.iter().map(|(compare, is_turned)| {
            let decision = compare(a, b);
            if *is_turned { decision.reverse() } else { decision }
        });
        decisions.fold(Ordering::Equal, Ordering::then)
    });
    Ok(addresses)
}

/// Leaves out those that are like the one before them.
pub(super) fn unique(mut addresses: Addresses, by: &str) -> Result<Addresses, String> {
    match by.to_lowercase().as_str() {
        "address" => addresses.dedup_by_key(|it| (it.ip, it.network_bits)),
        "name" => addresses.dedup_by(|a, b| a.name == b.name),
        _ => return Err(format!("{by:?} is neither address nor name")),
    }
    Ok(addresses)
}

/// What is told of an address.
pub(super) fn attribute(address: &InterfaceAddress, what: &str) -> Result<String, String> {
    let network = Network::of(address);
    Ok(match what.to_lowercase().as_str() {
        "address" | "host" => address.ip.to_string(),
        "flags" => flags_of(address),
        "mask_bits" => address.network_bits.to_string(),
        "name" => address.name.clone(),
        "netmask" => netmask(address.ip, address.network_bits).to_string(),
        "network" => network.first().to_string(),
        "string" => text_of(address),
        "type" => if address.ip.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        _ => {
            let known = "address, flags, host, mask_bits, name, netmask, network, string, type";
            return Err(format!("{what:?} is not known of an address; there are {known}"));
        }
    })
}

/// An address with its network, which is left out when it is the address alone.
fn text_of(address: &InterfaceAddress) -> String {
    let InterfaceAddress { ip, network_bits, .. } = address;
    let is_alone = *network_bits == if ip.is_ipv4() { 32 } else { 128 };
    if is_alone { ip.to_string() } else { format!("{ip}/{network_bits}") }
}

fn flags_of(address: &InterfaceAddress) -> String {
    let flags = [
        (address.is_up, "up"),
        (address.is_broadcast, "broadcast"),
        (address.is_loopback, "loopback"),
        (address.is_point_to_point, "pointtopoint"),
        (address.is_multicast, "multicast"),
    ];
    let names: Vec<&str> = flags.into_iter().filter(|it| it.0).map(|it| it.1).collect();
    names.join("|")
}

/// Another address: so many further (`address`), so many from the beginning of the network or, if negative, from behind its end
/// (`network`), or with only so many leading bits (`mask`).
pub(super) fn calculated(
    address: &InterfaceAddress,
    what: &str,
    value: &str,
) -> Result<InterfaceAddress, String> {
    let mut result = address.clone();
    let network = Network::of(address);
    match what.to_lowercase().as_str() {
        "address" => result.ip = shifted(address.ip, signed(value)?, 0),
        "network" => {
            result.ip = shifted(network.first(), signed(value)?, address.network_bits);
        }
        "mask" => {
            let bits = value.parse().ok().and_then(|bits| Network::new(address.ip, bits));
            let masked = bits.ok_or_else(|| format!("{value:?} is no number of bits"))?;
            result.ip = masked.first();
            result.network_bits = address.network_bits.min(masked.bits());
        }
        _ => return Err(format!("{what:?} is none of address, network, mask")),
    }
    Ok(result)
}

fn signed(text: &str) -> Result<i64, String> {
    let number = text.trim().parse().ok().filter(|_| text.trim().starts_with(['+', '-']));
    number.ok_or_else(|| format!("{text:?} is not a number with its sign, such as \"+1\""))
}
