//! Lookups of services.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use acl::Authorizer;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};
use model::{Catalog, Folded, Instance, Node, PreparedQuery, ServiceId, Stored};
use rand::seq::SliceRandom;
use registry::{VerdictState, aggregate, instances_of_query};

use crate::DnsConfig;
use crate::lookup::{Lookup, Sections};
use crate::name::name_of;
use crate::records::{
    self, Host, addr_name, choose_address, host, node_address, node_name, service_type_takes, ttl_s,
};

/// Which instances a name selects.
#[derive(Clone, Copy)]
pub(crate) enum Selection<'a> {
    /// The instances of a service, with a tag if given.
    Service { name: &'a Folded, tag: Option<&'a str> },
    /// The instances that take the mesh's mTLS for a service.
    Connect { name: &'a Folded },
    /// What a prepared query finds, which has rules of its own about health.
    Query(&'a PreparedQuery),
}

impl<'a> Selection<'a> {
    fn ttl(self, config: &DnsConfig) -> Duration {
        match self {
            Selection::Service { name, .. } | Selection::Connect { name } => {
                config.service_ttl.of(name.as_str())
            }
            Selection::Query(query) => match &query.dns_ttl {
                Some(ttl) => ttl.time,
                None => config.service_ttl.of(&query.service.service.to_lowercase()),
            },
        }
    }

    /// Those that may be in an answer.
    fn usable(self, catalog: &'a Catalog, config: &DnsConfig) -> Vec<&'a Stored<Instance>> {
        if let Selection::Query(query) = self {
            let found = instances_of_query(catalog, &query.service);
            return found.into_iter().map(|(_, instance)| instance).collect();
        }
        let mut instances = self.instances(catalog);
        instances.retain(|it| is_usable(catalog, it, config.only_passing));
        instances
    }

    fn instances(self, catalog: &'a Catalog) -> Vec<&'a Stored<Instance>> {
        match self {
            Selection::Service { name, tag } => catalog
                .instances_of_service(name)
                .filter(|it| tag.is_none_or(|tag| has_tag(it, tag)))
                .map(|it| &**it)
                .collect(),
            Selection::Connect { name } => catalog.mesh_instances(name).map(|it| &**it).collect(),
            Selection::Query(_) => Vec::new(),
        }
    }
}

fn has_tag(instance: &Instance, tag: &str) -> bool {
    instance.tags.iter().any(|it| it.to_lowercase() == tag)
}

/// May whoever asks find the instance?
pub(crate) fn finds(authorizer: &Authorizer, instance: &Instance) -> bool {
    authorizer.node_read(instance.node.as_str())
        && authorizer.service_read(instance.service.as_str())
}

/// May the instance be in an answer?
pub(crate) fn is_usable(catalog: &Catalog, instance: &Instance, only_passing: bool) -> bool {
    let state = state(catalog, instance);
    if only_passing { state == VerdictState::Passing } else { state.is_usable() }
}

fn state(catalog: &Catalog, instance: &Instance) -> VerdictState {
    let node = instance.node.folded();
    let of_node = catalog.checks_of_instance(&node, &ServiceId::default());
    let own = catalog.checks_of_instance(&node, &instance.id);
    aggregate(of_node.chain(own).map(|check| &check.value))
}

/// Where an instance is reached.
enum Place {
    /// At its node's address.
    Node(Host),
    /// At an address of its own.
    Own(Host),
}

/// An instance of an answer in the making.
struct Found<'a> {
    instance: &'a Instance,
    node: &'a Node,
    place: Place,
}

/// What every record of one answer has in common.
#[derive(Clone, Copy)]
struct Shape<'a> {
    name: &'a Name,
    domain: &'a Name,
    qtype: RecordType,
    ttl: u32,
    depth: u8,
}

impl Lookup<'_> {
    pub(crate) fn service(
        &mut self,
        name: &Name,
        domain: &Name,
        selection: Selection<'_>,
        qtype: RecordType,
        depth: u8,
    ) -> Sections {
        let (catalog, config) = (self.catalog, self.config);
        let mut usable = selection.usable(catalog, config);
        let authorizer = match selection {
            Selection::Query(query) if !query.token.is_empty() => (self.who)(query.token.reveal()),
            _ => Arc::clone(&self.authorizer),
        };
        usable.retain(|it| finds(&authorizer, it));
        if usable.is_empty() {
            return self.no_such_name(domain);
        }
        usable.shuffle(self.rng);
        let ttl = ttl_s(selection.ttl(config));
        let found = usable.into_iter().filter_map(|instance| {
            let node = catalog.node(&instance.node.folded())?;
            let place = place(instance, node, name, qtype)?;
            Some(Found { instance, node, place })
        });
        let shape = Shape { name, domain, qtype, ttl, depth };
        let mut sections = if qtype == RecordType::SRV {
            self.srv(shape, found)
        } else {
            self.addresses(shape, found)
        };
        if sections.answers.is_empty() {
            sections.authorities.extend(records::soa(domain, config, self.now));
        }
        sections
    }

    /// Address records, each once. An alias only if there is no address at all: a name with an alias may have
    /// no other record.
    fn addresses<'a>(
        &mut self,
        shape: Shape<'_>,
        found: impl Iterator<Item = Found<'a>>,
    ) -> Sections {
        let mut sections = Sections::of(ResponseCode::NoError);
        let mut seen = BTreeSet::new();
        let mut alias = None;
        let limit = match self.config.a_record_limit {
            0 => self.answers_enough,
            limit => limit.min(self.answers_enough),
        };
        for it in found {
            match it.place {
                Place::Node(Host::Ip(ip)) | Place::Own(Host::Ip(ip)) => {
                    if service_type_takes(shape.qtype, ip) && seen.insert(ip) {
                        let record = records::address(shape.name.clone(), ip, shape.ttl);
                        sections.answers.push(record);
                    }
                }
                Place::Node(Host::Name(target)) | Place::Own(Host::Name(target)) => {
                    alias.get_or_insert(target);
                }
            }
            if sections.answers.len() >= limit {
                break;
            }
        }
        if let Some(target) = alias.filter(|_| sections.answers.is_empty()) {
            sections.answers = self.cname(shape.name, target, shape.qtype, shape.ttl, shape.depth);
        }
        sections
    }

    fn srv<'a>(&mut self, shape: Shape<'_>, found: impl Iterator<Item = Found<'a>>) -> Sections {
        let mut sections = Sections::of(ResponseCode::NoError);
        let mut seen = BTreeSet::new();
        let mut described = BTreeSet::new();
        for it in found {
            let Some((target, ip)) = self.srv_target(shape, &it) else { continue };
            let port = it.instance.port;
            if !seen.insert((it.node.name.folded(), target.clone(), port)) {
                continue;
            }
            let weights = it.instance.weights;
            let weight = match state(self.catalog, it.instance) {
                VerdictState::Passing => weights.passing,
                VerdictState::Warning => weights.warning,
                VerdictState::Critical | VerdictState::Maintenance => 0,
            };
            let owner = shape.name.clone();
            sections.answers.push(records::srv(owner, weight, port, target.clone(), shape.ttl));
            if described.insert((target.clone(), RecordType::ANY)) {
                sections.additionals.extend(match ip {
                    Some(ip) => vec![records::address(target, ip, shape.ttl)],
                    None => self.target_records(&target, shape.qtype, shape.depth),
                });
            }
            self.describe_node(shape, it.node, &mut described, &mut sections.additionals);
            if sections.answers.len() >= self.answers_enough {
                break;
            }
        }
        sections
    }

    /// The host that an SRV record points to, and its address if it is a name that we make for one.
    fn srv_target(&self, shape: Shape<'_>, found: &Found<'_>) -> Option<(Name, Option<IpAddr>)> {
        match &found.place {
            Place::Node(Host::Ip(ip)) => {
                let node = found.node.name.as_str();
                Some((node_name(node, shape.domain, self.config)?, Some(*ip)))
            }
            Place::Own(Host::Ip(ip)) => {
                Some((addr_name(*ip, shape.domain, self.config)?, Some(*ip)))
            }
            Place::Node(Host::Name(target)) | Place::Own(Host::Name(target)) => {
                Some((target.clone(), None))
            }
        }
    }

    /// Adds a node's metadata once.
    fn describe_node(
        &self,
        shape: Shape<'_>,
        node: &Node,
        described: &mut BTreeSet<(Name, RecordType)>,
        additionals: &mut Vec<Record>,
    ) {
        let has_meta = node.meta.as_ref().is_some_and(|meta| !meta.is_empty());
        if !self.config.node_meta_txt || !has_meta {
            return;
        }
        let Some(owner) = node_name(node.name.as_str(), shape.domain, self.config) else { return };
        if described.insert((owner.clone(), RecordType::TXT)) {
            additionals.extend(records::meta_txt(&owner, node, shape.ttl));
        }
    }
}

/// The instance's own address, or its node's when it has none or has the very name that is asked for.
fn place(instance: &Instance, node: &Node, name: &Name, qtype: RecordType) -> Option<Place> {
    let tagged = |key| instance.tagged_addresses.get(key).map(|it| it.address.as_str());
    let own = choose_address(qtype, &instance.address, tagged("lan_ipv4"), tagged("lan_ipv6"));
    if own.is_empty() || name_of(own).is_some_and(|own| own == *name) {
        return host(node_address(node, qtype)).map(Place::Node);
    }
    host(own).map(Place::Own)
}
