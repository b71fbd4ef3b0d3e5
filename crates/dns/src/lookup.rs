//! Lookups other than those of services: zones, nodes, addresses, reverse names.

use std::net::IpAddr;
use std::sync::Arc;

use acl::Authorizer;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use model::{Catalog, Folded, Node, Timestamp};
use rand::Rng;
use rand::seq::SliceRandom;

use registry::{find_query, rendered};

use crate::name::{self, Asked, InZone, name_in};
use crate::records::{self, Host, host, node_address, node_name, node_type_takes, ttl_s};
use crate::service::{Selection, finds, is_usable};
use crate::{DnsConfig, Who};

/// How many names of ours a host name may lead through.
pub(crate) const CNAME_DEPTH: u8 = 3;
/// Most name servers in an answer.
const NAME_SERVERS_MAX: usize = 3;

/// The sections of a reply.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Sections {
    pub(crate) code: ResponseCode,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

impl Sections {
    pub(crate) fn of(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new() }
    }
}

/// Answers questions from one catalog.
pub(crate) struct Lookup<'a> {
    pub(crate) catalog: &'a Catalog,
    /// What whoever asks may find.
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) who: Who<'a>,
    pub(crate) config: &'a DnsConfig,
    pub(crate) rng: &'a mut dyn Rng,
    pub(crate) now: Timestamp,
    /// Answers beyond this number would be left out of the reply anyway, so none are made.
    pub(crate) answers_enough: usize,
}

impl Lookup<'_> {
    /// Answers a question about a name in one of the zones, with at most `depth` names of ours on the way.
    pub(crate) fn zone(
        &mut self,
        name: &Name,
        zone: &InZone,
        qtype: RecordType,
        depth: u8,
    ) -> Sections {
        match qtype {
            RecordType::SOA => return self.soa(&zone.domain),
            RecordType::NS => return self.ns(&zone.domain),
            RecordType::AXFR => return Sections::of(ResponseCode::NotImp),
            _ => {}
        }
        match &zone.asked {
            Asked::Node(node) => match self.catalog.node(node).filter(|it| self.finds(it)).cloned()
            {
                Some(node) => self.node(name, &node, qtype, depth),
                None => self.no_such_name(&zone.domain),
            },
            Asked::Service { name: service, tag } => {
                let selection = Selection::Service { name: service, tag: tag.as_deref() };
                self.service(name, &zone.domain, selection, qtype, depth)
            }
            Asked::Connect(service) => {
                let selection = Selection::Connect { name: service };
                self.service(name, &zone.domain, selection, qtype, depth)
            }
            Asked::Query(asked) => {
                let found = find_query(self.catalog, asked);
                // A template that cannot be filled was refused when it was written.
                match found.and_then(|it| rendered(it.value, asked).ok()) {
                    Some(query) => {
                        let selection = Selection::Query(&query);
                        self.service(name, &zone.domain, selection, qtype, depth)
                    }
                    None => self.no_such_name(&zone.domain),
                }
            }
            Asked::Address(ip) => self.spelled_address(name, *ip, qtype),
            Asked::Nothing => self.no_such_name(&zone.domain),
        }
    }

    fn finds(&self, node: &Node) -> bool {
        self.authorizer.node_read(node.name.as_str())
    }

    /// Answers a question about a reverse name; `None` when nothing here has that address.
    pub(crate) fn reverse(&mut self, name: &Name, qtype: RecordType) -> Option<Sections> {
        let ip = name::reverse_address(name)?.to_canonical();
        let text = ip.to_string();
        // Equal texts are found without parsing; only IPv6 has more than one spelling.
        let is_it = |address: &str| {
            address == text
                || (address.contains(':')
                    && address.parse::<IpAddr>().is_ok_and(|it| it.to_canonical() == ip))
        };
        let domain = self.config.domain.name();
        let node = self.catalog.nodes().find(|node| is_it(&node.address) && self.finds(node));
        let target = match node {
            Some(node) => node_name(node.name.as_str(), domain, self.config)?,
            None => {
                let mut all = self.catalog.instances();
                let instance = all.find(|it| is_it(&it.address) && finds(&self.authorizer, it))?;
                let labels = format!("{}.service.{}", instance.service, self.config.datacenter);
                name_in(&labels, domain)?
            }
        };
        let mut sections = Sections::of(ResponseCode::NoError);
        if matches!(qtype, RecordType::PTR | RecordType::ANY) {
            sections.answers.push(records::ptr(name.clone(), target));
        } else {
            sections.authorities.extend(records::soa(domain, self.config, self.now));
        }
        Some(sections)
    }

    /// NXDOMAIN with the zone's SOA.
    pub(crate) fn no_such_name(&self, domain: &Name) -> Sections {
        let mut sections = Sections::of(ResponseCode::NXDomain);
        sections.authorities.extend(records::soa(domain, self.config, self.now));
        sections
    }

    fn soa(&mut self, domain: &Name) -> Sections {
        let mut sections = self.ns(domain);
        sections.authorities = std::mem::take(&mut sections.answers);
        sections.answers.extend(records::soa(domain, self.config, self.now));
        sections
    }

    /// The name servers: nodes with a usable instance of the service `consul`.
    fn ns(&mut self, domain: &Name) -> Sections {
        let ttl = ttl_s(self.config.node_ttl);
        let catalog = self.catalog;
        let mut servers: Vec<&Node> = catalog
            .instances_of_service(&Folded::new("consul"))
            .filter(|it| finds(&self.authorizer, it))
            .filter(|it| is_usable(catalog, it, self.config.only_passing))
            .filter_map(|it| catalog.node(&it.node.folded()).map(|node| &node.value))
            .filter(|node| is_host_label(node.name.as_str()))
            .collect();
        servers.shuffle(self.rng);
        let mut sections = Sections::of(ResponseCode::NoError);
        for node in servers {
            let Some(target) = node_name(node.name.as_str(), domain, self.config) else { continue };
            let record = records::ns(domain.clone(), target.clone(), ttl);
            if sections.answers.contains(&record) {
                continue;
            }
            sections.answers.push(record);
            if let Some(Host::Ip(ip)) = host(node_address(node, RecordType::ANY)) {
                sections.additionals.push(records::address(target, ip, ttl));
            }
            if sections.answers.len() == NAME_SERVERS_MAX {
                break;
            }
        }
        sections
    }

    /// A type that the node has no record of is an empty answer without SOA, as Consul gives it.
    fn node(&mut self, name: &Name, node: &Node, qtype: RecordType, depth: u8) -> Sections {
        let ttl = ttl_s(self.config.node_ttl);
        let mut sections = Sections::of(ResponseCode::NoError);
        let takes_addresses =
            matches!(qtype, RecordType::A | RecordType::AAAA | RecordType::ANY | RecordType::CNAME);
        if takes_addresses {
            match host(node_address(node, qtype)) {
                Some(Host::Ip(ip)) if node_type_takes(qtype, ip) => {
                    sections.answers.push(records::address(name.clone(), ip, ttl));
                }
                Some(Host::Name(target)) => {
                    sections.answers = self.cname(name, target, qtype, ttl, depth);
                }
                Some(Host::Ip(_)) | None => {}
            }
        }
        let meta = match qtype {
            RecordType::ANY | RecordType::TXT => &mut sections.answers,
            RecordType::A | RecordType::AAAA if self.config.node_meta_txt => {
                &mut sections.additionals
            }
            _ => return sections,
        };
        meta.extend(records::meta_txt(name, node, ttl));
        sections
    }

    /// The alias, then what is known here of its target.
    pub(crate) fn cname(
        &mut self,
        name: &Name,
        target: Name,
        qtype: RecordType,
        ttl: u32,
        depth: u8,
    ) -> Vec<Record> {
        let mut answers = vec![records::cname(name.clone(), target.clone(), ttl)];
        answers.extend(self.target_records(&target, qtype, depth));
        answers
    }

    /// Address records of a host name if it is one of ours. Others are left to the client's resolver.
    pub(crate) fn target_records(
        &mut self,
        target: &Name,
        qtype: RecordType,
        depth: u8,
    ) -> Vec<Record> {
        let qtype = match qtype {
            RecordType::A | RecordType::AAAA => qtype,
            RecordType::CNAME => return Vec::new(),
            _ => RecordType::ANY,
        };
        let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
        let Some(zone) = name::parse(target, qtype, self.config) else { return Vec::new() };
        let mut found = self.zone(target, &zone, qtype, depth).answers;
        found.retain(|it| matches!(it.data, RData::A(_) | RData::AAAA(_) | RData::CNAME(_)));
        found
    }

    fn spelled_address(&self, name: &Name, ip: IpAddr, qtype: RecordType) -> Sections {
        let mut sections = Sections::of(ResponseCode::NoError);
        let ip_type = if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let data_ttl = ttl_s(self.config.node_ttl);
        // Not canonical: 32 digits are an AAAA record whatever they say.
        let data = match ip {
            IpAddr::V4(ip) => RData::A(ip.into()),
            IpAddr::V6(ip) => RData::AAAA(ip.into()),
        };
        let record = Record::from_rdata(name.clone(), data_ttl, data);
        if qtype == ip_type || qtype == RecordType::ANY {
            sections.answers.push(record);
        } else {
            sections.additionals.push(record);
        }
        sections
    }
}

fn is_host_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
