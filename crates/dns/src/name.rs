//! The grammar of names: what a question asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{Name, RecordType};
use model::Folded;

use crate::DnsConfig;

/// What the part of a name left of its zone asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Node(Folded),
    Service {
        name: Folded,
        /// In lower case; `None` for any.
        tag: Option<String>,
    },
    /// Instances of a service that speak the mesh's mTLS themselves or through a sidecar.
    Connect(Folded),
    /// A prepared query, by name or id.
    Query(String),
    /// An address spelled in hex digits.
    Address(IpAddr),
    /// No such name: outside of the grammar, of another datacenter, or of a kind that does not exist here
    /// (`virtual`, `ingress`).
    Nothing,
}

/// A name of our zones, split into the zone and what is asked in it.
pub(crate) struct InZone {
    /// The zone in the letter case of the question: answers echo it.
    pub(crate) domain: Name,
    /// What is asked.
    pub(crate) asked: Asked,
}

/// Splits `name`; `None` when it is in none of our zones.
pub(crate) fn parse(name: &Name, qtype: RecordType, config: &DnsConfig) -> Option<InZone> {
    let mesh = mesh_zone();
    let zones = [Some(config.domain.name()), config.alt_domain.as_ref().map(|it| it.name())];
    let zone = zones
        .into_iter()
        .flatten()
        .chain([&mesh])
        .filter(|zone| zone.zone_of(name))
        .max_by_key(|zone| zone.iter().len())?;
    let label_count = name.iter().len();
    let zone_label_count = zone.iter().len();
    let domain = name.trim_to(zone_label_count);
    let labels: Option<Vec<String>> = name
        .iter()
        .take(label_count - zone_label_count)
        .map(|label| std::str::from_utf8(label).ok().map(str::to_lowercase))
        .collect();
    let asked = match labels {
        // `mesh.` is also the zone of plain service names, as in a cluster's own DNS.
        Some(labels) if labels.len() == 1 && *zone == mesh => {
            Asked::Service { name: Folded::new(&labels[0]), tag: None }
        }
        Some(labels) => parse_labels(&labels, qtype, config),
        None => Asked::Nothing,
    };
    Some(InZone { domain, asked })
}

fn mesh_zone() -> Name {
    name_of("mesh.").expect("it is a name")
}

fn parse_labels(labels: &[String], qtype: RecordType, config: &DnsConfig) -> Asked {
    for (at, label) in labels.iter().enumerate().rev() {
        let (parts, suffix) = (&labels[..at], &labels[at + 1..]);
        match label.as_str() {
            "service" if is_here(suffix, config) => return parse_service(parts),
            "connect" if is_here(suffix, config) => {
                return parts.last().map_or(Asked::Nothing, |it| Asked::Connect(Folded::new(it)));
            }
            "node" if is_here(suffix, config) && !parts.is_empty() => {
                return Asked::Node(Folded::new(&parts.join(".")));
            }
            "query" if is_here(suffix, config) && !parts.is_empty() => {
                return Asked::Query(query_name(parts));
            }
            "addr" => return parse_address(parts),
            "service" | "connect" | "node" | "virtual" | "ingress" | "query" => {
                return Asked::Nothing;
            }
            // SRV names of RFC 2782 may leave `service` out: `_web._tcp.consul`.
            _ if qtype == RecordType::SRV && label.starts_with('_') => {
                return if is_here(suffix, config) {
                    parse_service(&labels[..=at])
                } else {
                    Asked::Nothing
                };
            }
            _ => {}
        }
    }
    Asked::Nothing
}

/// Is the locality suffix (`dc1`, `dc1.dc`, or nothing) this datacenter?
fn is_here(suffix: &[String], config: &DnsConfig) -> bool {
    match suffix {
        [] => true,
        [datacenter] => datacenter.eq_ignore_ascii_case(&config.datacenter),
        [datacenter, dc] => dc == "dc" && datacenter.eq_ignore_ascii_case(&config.datacenter),
        _ => false,
    }
}

fn parse_service(parts: &[String]) -> Asked {
    if let [service, tag] = parts
        && let (Some(service), Some(tag)) = (service.strip_prefix('_'), tag.strip_prefix('_'))
    {
        // `_tcp` is the protocol that everything here speaks, so it selects nothing.
        let tag = (tag != "tcp").then(|| tag.to_owned());
        return Asked::Service { name: Folded::new(service), tag };
    }
    match parts.split_last() {
        Some((service, tags)) => {
            let tag = (!tags.is_empty()).then(|| tags.join("."));
            Asked::Service { name: Folded::new(service), tag }
        }
        None => Asked::Nothing,
    }
}

/// Names of queries may have dots; of the form of RFC 2782 (`_web._tcp.query`) the first part is the name.
fn query_name(parts: &[String]) -> String {
    if let [name, protocol] = parts
        && let (Some(name), true) = (name.strip_prefix('_'), protocol.starts_with('_'))
    {
        return name.to_owned();
    }
    parts.join(".")
}

fn parse_address(parts: &[String]) -> Asked {
    let [hex] = parts else { return Asked::Nothing };
    if !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Asked::Nothing;
    }
    let ip = match hex.len() {
        8 => u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from(bits).into()),
        32 => u128::from_str_radix(hex, 16).ok().map(|bits| Ipv6Addr::from(bits).into()),
        _ => None,
    };
    ip.map_or(Asked::Nothing, Asked::Address)
}

/// The address of a complete reverse name; `None` for any other.
pub(crate) fn reverse_address(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

/// A fully qualified name from text; `None` if it is not one. Letter case is kept; any bytes may be in a label,
/// since node names are free text.
pub(crate) fn name_of(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    Name::from_labels(text.split('.').map(str::as_bytes)).ok()
}

/// `labels` (which may have dots in them) in front of `domain`; `None` if that is too long for a name.
pub(crate) fn name_in(labels: &str, domain: &Name) -> Option<Name> {
    let labels = labels.split('.').map(str::as_bytes);
    Name::from_labels(labels.chain(domain.iter())).ok()
}
