//! The forms of single records.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use model::{FlatMap, Node, Timestamp};

use crate::DnsConfig;
use crate::name::{name_in, name_of};

/// The TTL on the wire: whole seconds, at most what a signed 32-bit number holds (RFC 2181, section 8).
pub(crate) fn ttl_s(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs())
}

/// An A or AAAA record.
pub(crate) fn address(owner: Name, ip: IpAddr, ttl: u32) -> Record {
    let data = match ip.to_canonical() {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(owner, ttl, data)
}

/// Does a question of type `qtype` about a service get a record of this address's family? TXT and NS do too in
/// Consul, which answers them with addresses.
pub(crate) fn service_type_takes(qtype: RecordType, ip: IpAddr) -> bool {
    let own = if ip.to_canonical().is_ipv4() { RecordType::A } else { RecordType::AAAA };
    qtype == own
        || matches!(qtype, RecordType::ANY | RecordType::SRV | RecordType::TXT | RecordType::NS)
}

/// Does a question of type `qtype` about a node or an `addr` name get a record of this address's family?
pub(crate) fn node_type_takes(qtype: RecordType, ip: IpAddr) -> bool {
    let own = if ip.to_canonical().is_ipv4() { RecordType::A } else { RecordType::AAAA };
    qtype == own || qtype == RecordType::ANY
}

pub(crate) fn cname(owner: Name, target: Name, ttl: u32) -> Record {
    Record::from_rdata(owner, ttl, RData::CNAME(CNAME(target)))
}

pub(crate) fn ptr(owner: Name, target: Name) -> Record {
    Record::from_rdata(owner, 0, RData::PTR(PTR(target)))
}

pub(crate) fn ns(owner: Name, target: Name, ttl: u32) -> Record {
    Record::from_rdata(owner, ttl, RData::NS(NS(target)))
}

/// Priority is always 1: the weight does the choosing.
pub(crate) fn srv(owner: Name, weight: u16, port: u16, target: Name, ttl: u32) -> Record {
    Record::from_rdata(owner, ttl, RData::SRV(SRV::new(1, weight, port, target)))
}

/// The SOA of a zone; the serial number is the time in seconds, since every answer may differ from the last.
pub(crate) fn soa(domain: &Name, config: &DnsConfig, now: Timestamp) -> Option<Record> {
    let times = config.soa;
    let time = |seconds: u32| i32::try_from(seconds).unwrap_or(i32::MAX);
    #[allow(clippy::cast_possible_truncation)] // Serial numbers wrap around (RFC 1982).
    let serial = (now.0 / 1000) as u32;
    let data = SOA::new(
        name_in("ns", domain)?,
        name_in("hostmaster", domain)?,
        serial,
        time(times.refresh_s),
        time(times.retry_s),
        time(times.expire_s),
        times.min_ttl_s,
    );
    Some(Record::from_rdata(domain.clone(), times.min_ttl_s, RData::SOA(data)))
}

/// A node's metadata: one TXT record for each entry, `key=value` after RFC 1464; an entry whose key starts with
/// `rfc1035-` is the value alone.
pub(crate) fn meta_txt(owner: &Name, node: &Node, ttl: u32) -> Vec<Record> {
    let entries = node.meta.iter().flat_map(FlatMap::iter);
    entries
        .map(|(key, value)| {
            let text = if key.to_ascii_lowercase().starts_with("rfc1035-") {
                value.clone()
            } else {
                format!("{}={}", escape_key(key), value.replace('`', "``"))
            };
            Record::from_rdata(owner.clone(), ttl, RData::TXT(character_strings(&text)))
        })
        .collect()
}

/// Quotes a key as RFC 1464 does: the grave accent, `=`, and spaces at either end.
fn escape_key(key: &str) -> String {
    let start = key.len() - key.trim_start_matches(' ').len();
    let body = key[start..].trim_end_matches(' ');
    let end = key.len() - start - body.len();
    let body = body.replace('`', "``").replace('=', "`=");
    format!("{}{body}{}", "` ".repeat(start), "` ".repeat(end))
}

/// A text as character strings, each of at most 255 bytes.
fn character_strings(text: &str) -> TXT {
    if text.is_empty() {
        return TXT::from_bytes(vec![b""]);
    }
    TXT::from_bytes(text.as_bytes().chunks(255).collect())
}

/// `<node>.node.<datacenter>.<domain>`, letter case kept; `None` when that is not a name.
pub(crate) fn node_name(node: &str, domain: &Name, config: &DnsConfig) -> Option<Name> {
    name_in(&format!("{node}.node.{}", config.datacenter), domain)
}

/// `<hex>.addr.<datacenter>.<domain>`.
pub(crate) fn addr_name(ip: IpAddr, domain: &Name, config: &DnsConfig) -> Option<Name> {
    let hex = match ip.to_canonical() {
        IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
        IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
    };
    name_in(&format!("{hex}.addr.{}", config.datacenter), domain)
}

/// An address of the catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Host {
    Ip(IpAddr),
    Name(Name),
}

/// Reads an address; `None` when it is empty or can be neither.
pub(crate) fn host(address: &str) -> Option<Host> {
    match address.parse::<IpAddr>() {
        Ok(ip) => Some(Host::Ip(ip.to_canonical())),
        Err(_) => name_of(address).map(Host::Name),
    }
}

/// The address for a question of type `qtype`, of the plain one and the ones tagged `lan_ipv4` and `lan_ipv6`.
pub(crate) fn choose_address<'a>(
    qtype: RecordType,
    plain: &'a str,
    lan_ipv4: Option<&'a str>,
    lan_ipv6: Option<&'a str>,
) -> &'a str {
    let tagged = match qtype {
        RecordType::A => lan_ipv4,
        RecordType::AAAA => lan_ipv6,
        RecordType::ANY | RecordType::SRV => lan_ipv6.or(lan_ipv4),
        _ => None,
    };
    tagged.unwrap_or(plain)
}

/// A node's address for a question of type `qtype`.
pub(crate) fn node_address(node: &Node, qtype: RecordType) -> &str {
    let tagged = |key| node.tagged_addresses.as_ref()?.get(key).map(String::as_str);
    choose_address(qtype, &node.address, tagged("lan_ipv4"), tagged("lan_ipv6"))
}
