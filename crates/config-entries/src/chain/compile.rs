use std::collections::{BTreeMap, BTreeSet};

use model::ConfigEntry;
use serde_json::{Value, json};

use super::flatten::flatten;
use super::walk::{find_circle, reachable};
use super::{
    Chain, ChainError, ChainFailover, ChainNode, ChainResolver, ChainRoute, ChainSplit,
    ChainTarget, DEFAULT, NodeKind, Overrides, Scope,
};
use crate::entry::shown_body;
use crate::hash;
use crate::normalize::hundredths;
use crate::view::{
    Failover, FailoverTarget, LoadBalancer, ProxyDefaults, Redirect, Resolver, RouteDestination,
    ServiceDefaults, Split, view,
};
use crate::{Lookup, is_http_like, protocol_of};

/// Consul's default: 5 s.
const CONNECT_TIMEOUT: i64 = 5_000_000_000;
/// Splitters that may follow each other; each is a call on the stack.
const SPLITTERS_MAX: usize = 64;
/// Nodes of a chain.
pub(super) const NODES_MAX: usize = 4096;

pub(super) fn compile(
    lookup: &dyn Lookup,
    service: &str,
    scope: Scope<'_>,
    overrides: &Overrides,
) -> Result<Chain, ChainError> {
    let compiler = Compiler {
        lookup,
        service: service.to_owned(),
        scope,
        overrides,
        leaves_out_routing: !overrides.protocol.is_empty() && !is_http_like(&overrides.protocol),
        proxy_defaults: lookup.entry("proxy-defaults", "global").map(view),
        protocol: None,
        has_routing: false,
        customized: Customized::default(),
        nodes: BTreeMap::new(),
        targets: BTreeMap::new(),
        retained: BTreeSet::new(),
    };
    compiler.compile()
}

struct Compiler<'a> {
    lookup: &'a dyn Lookup,
    service: String,
    scope: Scope<'a>,
    overrides: &'a Overrides,
    leaves_out_routing: bool,
    proxy_defaults: Option<ProxyDefaults>,
    /// What all services spoke so far.
    protocol: Option<String>,
    has_routing: bool,
    customized: Customized,
    nodes: BTreeMap<String, ChainNode>,
    targets: BTreeMap<String, ChainTarget>,
    /// Targets that are in use; others were only passed.
    retained: BTreeSet<String>,
}

/// Which overrides made a difference.
#[derive(Default)]
struct Customized {
    mesh_gateway: bool,
    protocol: bool,
    connect_timeout: bool,
}

/// Which parts of a target are replaced; what is empty stays.
#[derive(Clone, Default)]
struct Rewrite<'a> {
    service: &'a str,
    subset: &'a str,
    datacenter: &'a str,
    peer: &'a str,
}

impl<'a> From<&'a Redirect> for Rewrite<'a> {
    fn from(it: &'a Redirect) -> Self {
        Self {
            service: &it.service,
            subset: &it.service_subset,
            datacenter: &it.datacenter,
            peer: &it.peer,
        }
    }
}

impl<'a> From<&'a FailoverTarget> for Rewrite<'a> {
    fn from(it: &'a FailoverTarget) -> Self {
        Self {
            service: &it.service,
            subset: &it.service_subset,
            datacenter: &it.datacenter,
            peer: &it.peer,
        }
    }
}

impl Compiler<'_> {
    fn compile(mut self) -> Result<Chain, ChainError> {
        let start = self.assemble()?;
        find_circle(&self.nodes, &start)?;
        flatten(&mut self.nodes, &self.service)?;
        let used = reachable(&self.nodes, &start);
        self.nodes.retain(|key, _| used.contains(key));
        let retained = std::mem::take(&mut self.retained);
        self.targets.retain(|id, _| retained.contains(id));
        let mut protocol = self.protocol.take().unwrap_or_else(|| "tcp".to_owned());
        if self.has_routing && !is_http_like(&protocol) {
            return Err(ChainError::NoRequests { chain: self.service, protocol });
        }
        if !self.overrides.protocol.is_empty() && self.overrides.protocol != protocol {
            protocol.clone_from(&self.overrides.protocol);
            self.customized.protocol = true;
        }
        let own = self.lookup.entry("service-defaults", &self.service).map(shown_body);
        let meta = own.and_then(|it| it.get("Meta")?.as_object().cloned()).unwrap_or_default();
        Ok(Chain {
            customization_hash: self.customization_hash(),
            is_default: self.is_default(&start),
            datacenter: self.scope.datacenter.to_owned(),
            envoy_extensions: self.envoy_extensions(),
            service: self.service,
            protocol,
            start,
            nodes: self.nodes,
            targets: self.targets,
            meta,
        })
    }

    /// Makes the nodes. Returns the key of the first.
    fn assemble(&mut self) -> Result<String, ChainError> {
        let service = self.service.clone();
        let router = self.lookup.entry("service-router", &service);
        let Some(router) = router.filter(|_| self.allows_routing(router.is_some())) else {
            let target = self.target(&service, "", "", "");
            return self.splitter_or_resolver(&target, 0);
        };
        self.has_routing = true;
        self.record_protocol(&service)?;
        let definitions = shown_body(router).get("Routes").and_then(Value::as_array);
        let mut routes = Vec::new();
        for definition in definitions.into_iter().flatten() {
            let destination: RouteDestination =
                serde_json::from_value(definition["Destination"].clone()).unwrap_or_default();
            let to = or(&destination.service, &service);
            let target = self.target(to, &destination.service_subset, "", "");
            let next = if destination.service_subset.is_empty() {
                self.splitter_or_resolver(&target, 0)?
            } else {
                self.resolver(&target)?
            };
            routes.push(ChainRoute { definition: definition.clone(), next });
        }
        let target = self.target(&service, "", "", "");
        let next = self.splitter_or_resolver(&target, 0)?;
        let definition = json!({
            "Match": {"HTTP": {"PathPrefix": "/"}},
            "Destination": {"Service": service, "Namespace": DEFAULT, "Partition": DEFAULT},
        });
        routes.push(ChainRoute { definition, next });
        let name = format!("{service}.{DEFAULT}.{DEFAULT}");
        self.add(ChainNode { name, kind: NodeKind::Router(routes), load_balancer: None })
    }

    /// False when there is a router or splitter, and an override leaves it out.
    fn allows_routing(&mut self, is_there: bool) -> bool {
        if is_there && self.leaves_out_routing {
            self.customized.protocol = true;
        }
        !self.leaves_out_routing
    }

    fn add(&mut self, node: ChainNode) -> Result<String, ChainError> {
        if self.nodes.len() >= NODES_MAX {
            return Err(ChainError::TooLarge(self.service.clone()));
        }
        let key = node.key();
        self.nodes.insert(key.clone(), node);
        Ok(key)
    }

    fn record_protocol(&mut self, service: &str) -> Result<(), ChainError> {
        let protocol = protocol_of(self.lookup, service);
        match &self.protocol {
            None => self.protocol = Some(protocol),
            Some(others) if *others == protocol => {}
            Some(others) => {
                return Err(ChainError::Protocols {
                    chain: self.service.clone(),
                    service: service.to_owned(),
                    others: others.clone(),
                    protocol,
                });
            }
        }
        Ok(())
    }

    fn splitter_or_resolver(&mut self, target: &str, depth: usize) -> Result<String, ChainError> {
        let service = self.targets[target].service.clone();
        match self.splitter(&service, depth)? {
            Some(key) => Ok(key),
            None => self.resolver(target),
        }
    }

    fn splitter(&mut self, service: &str, depth: usize) -> Result<Option<String>, ChainError> {
        let name = format!("{service}.{DEFAULT}.{DEFAULT}");
        let key = format!("splitter:{name}");
        if self.nodes.contains_key(&key) {
            return Ok(Some(key));
        }
        let entry = self.lookup.entry("service-splitter", service);
        let Some(entry) = entry.filter(|_| self.allows_routing(entry.is_some())) else {
            return Ok(None);
        };
        if depth >= SPLITTERS_MAX {
            return Err(ChainError::TooLarge(self.service.clone()));
        }
        // It is there before what it leads to, so that a circle ends here.
        let kind = NodeKind::Splitter(Vec::new());
        self.add(ChainNode { name: name.clone(), kind, load_balancer: None })?;
        let definitions = shown_body(entry).get("Splits").and_then(Value::as_array);
        let mut splits = Vec::new();
        let mut load_balancer = None;
        for definition in definitions.into_iter().flatten() {
            let split: Split = serde_json::from_value(definition.clone()).unwrap_or_default();
            let to = or(&split.service, service);
            let further = if split.service_subset.is_empty() && to != service {
                self.splitter(to, depth + 1)?
            } else {
                None
            };
            let next = match further {
                Some(next) => next,
                None => {
                    let target = self.target(to, &split.service_subset, "", "");
                    let next = self.resolver(&target)?;
                    // A route hashes in one way only: as the first resolver that hashes says.
                    let of_next = self.nodes[&next].load_balancer.as_ref();
                    load_balancer =
                        load_balancer.or_else(|| of_next.filter(|it| is_hash(it)).cloned());
                    next
                }
            };
            let definition = definition.clone();
            splits.push(ChainSplit { definition, weight: hundredths(split.weight), next });
        }
        let node = self.nodes.get_mut(&key).expect("it was added above");
        node.kind = NodeKind::Splitter(splits);
        node.load_balancer = load_balancer;
        self.has_routing = true;
        Ok(Some(key))
    }

    fn resolver(&mut self, target: &str) -> Result<String, ChainError> {
        let (node, failover) = match self.resolve(target)? {
            Resolved::Before(key) => return Ok(key),
            Resolved::New(node, failover) => (node, failover),
        };
        let target = node.target.clone();
        let load_balancer = self.load_balancer(&self.targets[&target].service);
        let kind = NodeKind::Resolver(*node);
        let key = self.add(ChainNode { name: target.clone(), kind, load_balancer })?;
        if let Some(failover) = failover {
            let failover = self.failover(&target, &failover)?;
            if let Some(ChainNode { kind: NodeKind::Resolver(it), .. }) = self.nodes.get_mut(&key) {
                it.failover = failover;
            }
        }
        Ok(key)
    }

    /// Follows redirects and default subsets from a target to the one that is meant.
    fn resolve(&mut self, target: &str) -> Result<Resolved, ChainError> {
        let mut at = target.to_owned();
        let mut passed: Vec<String> = Vec::new();
        loop {
            let key = format!("resolver:{at}");
            if self.nodes.contains_key(&key) {
                return Ok(Resolved::Before(key));
            }
            let ChainTarget { service, subset, peer, .. } = self.targets[&at].clone();
            if peer.is_empty() {
                self.record_protocol(&service)?;
            }
            // What a service of a peer resolves to is the peer's to say.
            let is_ours = peer.is_empty();
            let entry = self.lookup.entry("service-resolver", &service).filter(|_| is_ours);
            let resolver: Resolver = entry.map(view).unwrap_or_default();
            let is_back = passed.contains(&at);
            passed.push(at.clone());
            if is_back {
                return Err(ChainError::RedirectCircle(passed));
            }
            if let Some(redirect) = &resolver.redirect {
                let to = self.rewrite(&at, &redirect.into());
                if to != at {
                    at = to;
                    continue;
                }
            }
            if subset.is_empty() && !resolver.default_subset.is_empty() {
                let subset = resolver.default_subset.as_str();
                at = self.rewrite(&at, &Rewrite { subset, peer: &peer, ..Rewrite::default() });
                continue;
            }
            if !subset.is_empty() && !resolver.subsets.contains_key(&subset) {
                return Err(ChainError::SubsetMissing { service, subset });
            }
            return self.finish(&at, entry, &resolver);
        }
    }

    /// Says of a target what its service's entries say.
    fn finish(
        &mut self,
        id: &str,
        entry: Option<&ConfigEntry>,
        resolver: &Resolver,
    ) -> Result<Resolved, ChainError> {
        let mut connect_timeout =
            if resolver.connect_timeout < 1 { CONNECT_TIMEOUT } else { resolver.connect_timeout };
        let wanted = self.overrides.connect_timeout;
        if wanted > 0 && wanted != connect_timeout {
            connect_timeout = wanted;
            self.customized.connect_timeout = true;
        }
        let mut target = self.targets[id].clone();
        let defaults = self.lookup.entry("service-defaults", &target.service);
        let defaults: ServiceDefaults = defaults.map(view).unwrap_or_default();
        target.connect_timeout = connect_timeout;
        target.definition = resolver.subsets.get(&target.subset).cloned().unwrap_or_default();
        if !defaults.external_sni.is_empty() {
            target.sni.clone_from(&defaults.external_sni);
            target.is_external = true;
            let forbidden = [
                (resolver.redirect.is_some(), "redirects"),
                (!resolver.subsets.is_empty(), "subsets"),
                (!resolver.failover.is_empty(), "failover"),
            ];
            if let Some((_, what)) = forbidden.into_iter().find(|it| it.0) {
                return Err(ChainError::External { service: target.service, what });
            }
        } else {
            self.say_mesh_settings(&mut target, &defaults);
        }
        let failover = resolver.failover.get(&target.subset).or(resolver.failover.get("*"));
        let node = ChainResolver {
            is_default: entry.is_none() || says_nothing(resolver),
            connect_timeout,
            request_timeout: resolver.request_timeout.max(0),
            target: id.to_owned(),
            failover: None,
        };
        self.retained.insert(id.to_owned());
        self.targets.insert(id.to_owned(), target);
        Ok(Resolved::New(Box::new(node), failover.cloned().map(Box::new)))
    }

    fn say_mesh_settings(&mut self, target: &mut ChainTarget, defaults: &ServiceDefaults) {
        let of_all = self.proxy_defaults.clone().unwrap_or_default();
        target.mesh_gateway = or(&defaults.mesh_gateway.mode, &of_all.mesh_gateway.mode).to_owned();
        target.dialed_directly =
            defaults.transparent_proxy.dialed_directly || of_all.transparent_proxy.dialed_directly;
        let wanted = &self.overrides.mesh_gateway;
        if !wanted.is_empty() && target.mesh_gateway != *wanted {
            target.mesh_gateway.clone_from(wanted);
            self.customized.mesh_gateway = true;
        }
    }

    /// Targets other than `target` itself, each resolved on its own but without its own failover.
    fn failover(
        &mut self,
        target: &str,
        failover: &Failover,
    ) -> Result<Option<ChainFailover>, ChainError> {
        let own = Rewrite {
            service: &failover.service,
            subset: &failover.service_subset,
            ..Rewrite::default()
        };
        let rewrites: Vec<Rewrite<'_>> = if !failover.datacenters.is_empty() {
            let each = failover.datacenters.iter();
            each.map(|datacenter| Rewrite { datacenter, ..own.clone() }).collect()
        } else if !failover.targets.is_empty() {
            failover.targets.iter().map(Rewrite::from).collect()
        } else {
            vec![own]
        };
        let mut targets = Vec::new();
        for rewrite in &rewrites {
            let id = self.rewrite(target, rewrite);
            if id == target {
                continue;
            }
            targets.push(match self.resolve(&id)? {
                Resolved::New(node, _) => node.target,
                Resolved::Before(key) => key.trim_start_matches("resolver:").to_owned(),
            });
        }
        if targets.is_empty() {
            return Ok(None);
        }
        let of_all = || {
            let defaults = self.lookup.entry("proxy-defaults", "global")?;
            shown_body(defaults).get("FailoverPolicy").cloned()
        };
        let policy = match &failover.policy {
            Some(policy) if !policy.mode.is_empty() => Some(json!({"Mode": policy.mode})),
            Some(_) | None => of_all(),
        };
        Ok(Some(ChainFailover { targets, policy }))
    }

    /// The id of a target, which is known from then on.
    fn target(&mut self, service: &str, subset: &str, datacenter: &str, peer: &str) -> String {
        let mut target = ChainTarget {
            service: service.to_owned(),
            subset: subset.to_owned(),
            peer: peer.to_owned(),
            ..ChainTarget::default()
        };
        let prefix = if subset.is_empty() { String::new() } else { format!("{subset}.") };
        if peer.is_empty() {
            let datacenter = or(datacenter, self.scope.datacenter);
            let trust = self.scope.trust_domain;
            target.datacenter = datacenter.to_owned();
            target.id = format!("{prefix}{service}.{DEFAULT}.{DEFAULT}.{datacenter}");
            target.sni = format!("{prefix}{service}.{DEFAULT}.{datacenter}.internal.{trust}");
            target.name.clone_from(&target.sni);
        } else {
            target.id = format!("{service}.{DEFAULT}.{DEFAULT}.external.{peer}");
        }
        let id = target.id.clone();
        self.targets.entry(id.clone()).or_insert(target);
        id
    }

    fn rewrite(&mut self, id: &str, by: &Rewrite<'_>) -> String {
        let ChainTarget { service, subset, datacenter, .. } = self.targets[id].clone();
        // A subset is of its own service only.
        let keeps_subset = by.service.is_empty() || by.service == service;
        let subset = if keeps_subset { subset.as_str() } else { "" };
        self.target(
            or(by.service, &service),
            or(by.subset, subset),
            or(by.datacenter, &datacenter),
            by.peer,
        )
    }

    fn load_balancer(&self, service: &str) -> Option<Value> {
        let resolver = self.lookup.entry("service-resolver", service)?;
        shown_body(resolver).get("LoadBalancer").cloned()
    }

    fn is_default(&self, start: &str) -> bool {
        match &self.nodes[start].kind {
            NodeKind::Resolver(node) => {
                node.is_default && self.targets[&node.target].service == self.service
            }
            NodeKind::Router(_) | NodeKind::Splitter(_) => false,
        }
    }

    fn envoy_extensions(&self) -> Vec<Value> {
        let entries = [
            self.lookup.entry("proxy-defaults", "global"),
            self.lookup.entry("service-defaults", &self.service),
        ];
        let lists = entries
            .into_iter()
            .flatten()
            .filter_map(|it| shown_body(it).get("EnvoyExtensions").and_then(Value::as_array));
        lists.flatten().cloned().collect()
    }

    /// The first eight digits of what Go's `hashstructure` makes of the overrides that made a difference.
    fn customization_hash(&self) -> String {
        let Customized { mesh_gateway, protocol, connect_timeout } = self.customized;
        if !mesh_gateway && !protocol && !connect_timeout {
            return String::new();
        }
        let said =
            |is_said: bool, text: &str| if is_said { text.to_owned() } else { String::new() };
        let mode = said(mesh_gateway, &self.overrides.mesh_gateway);
        let protocol = said(protocol, &self.overrides.protocol);
        let timeout = if connect_timeout { self.overrides.connect_timeout } else { 0 };
        let digits = format!("{:x}", hash::customization(&mode, &protocol, timeout));
        digits.chars().take(8).collect()
    }
}

enum Resolved {
    /// By a node that there is already: its key.
    Before(String),
    /// By this one, with the failover that holds for it.
    New(Box<ChainResolver>, Option<Box<Failover>>),
}

fn or<'t>(text: &'t str, otherwise: &'t str) -> &'t str {
    if text.is_empty() { otherwise } else { text }
}

fn is_hash(load_balancer: &Value) -> bool {
    let read: LoadBalancer = serde_json::from_value(load_balancer.clone()).unwrap_or_default();
    read.is_hash_based()
}

fn says_nothing(resolver: &Resolver) -> bool {
    *resolver == Resolver::default()
}
