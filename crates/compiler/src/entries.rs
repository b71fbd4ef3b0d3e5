//! Consul's configuration entries, as far as a proxy acts on them: the routes of the services that they speak about,
//! and the clusters that those lead to.
//!
//! A service's chain is compiled by `config-entries`. Each of its targets becomes a cluster: `web` for all instances,
//! `web/v1` for a subset. Targets to fail over to are further priorities of the same cluster. What is said of an
//! instance's side (`LocalConnectTimeoutMs`, `MaxInboundConnections`) holds here, too, for there is no other proxy in
//! between.
//!
//! Chains reach other services, so that all of them are compiled anew when any entry changes, or a service comes or
//! goes. A change of an instance costs the endpoints of the clusters that its service is in.

mod clusters;
mod endpoints;
mod findings;
mod matching;
mod narrow;
mod routes;
mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config_entries::{Chain, ChainNode, ChainResolver, Lookup, NodeKind, Overrides, Scope};
use model::{Catalog, DocumentKey, Folded, Revision, Severity, Table};
use proxy_config::{Cluster, Endpoints, Route};

use crate::declared::keep;
use crate::registered::{self, Registered, SELF, ServiceChanges};
use crate::{Finding, Settings};

use self::clusters::cluster;
use self::endpoints::{Group, endpoints};
pub(crate) use self::findings::finding;
pub(crate) use self::narrow::narrow;
use self::said::Said;

/// Kinds of entries that give a service a chain of its own.
const ROUTING: [&str; 3] = ["service-router", "service-splitter", "service-resolver"];

/// What the entries of a catalog were compiled to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    /// Index of the table that this was compiled from.
    index: Revision,
    /// There is an entry that could matter.
    is_used: bool,
    /// The services that entries speak about, registered or not.
    hosts: BTreeMap<Folded, Host>,
    /// Clusters that differ from those of the registry, by name.
    targets: BTreeMap<String, Target>,
    pub(crate) findings: Vec<Finding>,
}

/// A service that requests are routed for.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) routes: Vec<Route>,
    /// The entry that says most of it.
    pub(crate) cause: Option<DocumentKey>,
}

/// A cluster that an entry makes, or makes different.
#[derive(Clone, Debug)]
struct Target {
    /// Whose instances, by priority.
    groups: Vec<Group>,
    cluster: Arc<Cluster>,
    endpoints: Arc<Endpoints>,
}

impl Entries {
    /// Brings it up to date. True when routes or clusters may have changed.
    pub(crate) fn refresh(
        &mut self,
        catalog: &Catalog,
        settings: &Settings,
        services: &BTreeMap<Folded, Registered>,
        changes: &ServiceChanges,
    ) -> bool {
        let index = catalog.table_index(Table::ConfigEntry);
        if index != self.index || (changes.names && self.is_used) {
            *self = Compilation::new(catalog, settings, services, self).compile(index);
            return true;
        }
        let is_touched =
            |it: &Target| it.groups.iter().any(|it| changes.services.contains(&it.service));
        for (name, target) in self.targets.iter_mut().filter(|it| is_touched(it.1)) {
            let endpoints = endpoints(name, &target.groups, catalog, &settings.datacenter);
            target.endpoints = keep(Some(&target.endpoints), endpoints);
        }
        false
    }

    /// The services that entries speak about.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Folded> {
        self.hosts.keys()
    }

    /// What is said of a service; `None` when nothing is.
    pub(crate) fn host(&self, name: &Folded) -> Option<&Host> {
        self.hosts.get(name)
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = (&Arc<Cluster>, &Arc<Endpoints>)> {
        self.targets.values().map(|it| (&it.cluster, &it.endpoints))
    }
}

/// One compilation of all entries.
struct Compilation<'a> {
    catalog: &'a Catalog,
    settings: &'a Settings,
    services: &'a BTreeMap<Folded, Registered>,
    said: Said<'a>,
    before: &'a Entries,
    targets: BTreeMap<String, Target>,
    findings: Vec<Finding>,
}

impl<'a> Compilation<'a> {
    fn new(
        catalog: &'a Catalog,
        settings: &'a Settings,
        services: &'a BTreeMap<Folded, Registered>,
        before: &'a Entries,
    ) -> Self {
        let mut findings = Vec::new();
        let said = Said::new(catalog, &mut findings);
        let targets = BTreeMap::new();
        Self { catalog, settings, services, said, before, targets, findings }
    }

    fn compile(mut self, index: Revision) -> Entries {
        findings::of_entries(self.catalog, &self.settings.datacenter, &mut self.findings);
        let mut hosts = BTreeMap::new();
        for name in self.names() {
            if let Some(host) = self.host(&name) {
                hosts.insert(name, host);
            }
        }
        let mut findings = self.findings;
        findings.sort_by(|a, b| {
            (&a.0, &a.1.field, &a.1.message).cmp(&(&b.0, &b.1.field, &b.1.message))
        });
        findings.dedup();
        let is_used = self.said.is_any || !hosts.is_empty();
        Entries { index, is_used, hosts, targets: self.targets, findings }
    }

    /// The services that have a chain of their own, or of which more is said than nothing.
    fn names(&self) -> BTreeSet<Folded> {
        let mut names: BTreeSet<Folded> = BTreeSet::new();
        for kind in ROUTING {
            names.extend(self.catalog.entries(kind).iter().map(|it| Folded::new(&it.name)));
        }
        let is_said = |name: &&Folded| self.said.is_anything_of(name);
        names.extend(self.services.keys().filter(is_said).cloned());
        names.remove(&Folded::new(SELF));
        names
    }

    fn host(&mut self, name: &Folded) -> Option<Host> {
        let scope = Scope { datacenter: &self.settings.datacenter, trust_domain: "" };
        let cause = self.cause(name);
        let chain = Chain::compile(self.catalog, name.as_str(), scope, &Overrides::default());
        let chain = match chain {
            Ok(chain) => chain,
            Err(error) => {
                let message = format!("{error}: requests go to the service itself");
                let remedy = "change one of the entries that the message is about";
                if let Some(key) = &cause {
                    let found = (Severity::Error, "", message, remedy);
                    self.findings.push(finding(key, found));
                }
                return None;
            }
        };
        for node in chain.nodes.values() {
            self.add_target(&chain, node);
        }
        let routes = self.routes(&chain, name);
        Some(Host { routes, cause })
    }

    /// The entry that says most of how a service is reached.
    fn cause(&self, name: &Folded) -> Option<DocumentKey> {
        let kinds = ROUTING.iter().chain(&["service-defaults"]);
        let mut entries = kinds.filter_map(|kind| self.catalog.entry(kind, name.as_str()));
        entries.next().map(findings::key)
    }

    /// Makes the cluster of a resolved target, unless it is as the registry's own.
    fn add_target(&mut self, chain: &Chain, node: &ChainNode) {
        let NodeKind::Resolver(resolver) = &node.kind else { return };
        let Some(target) = chain.targets.get(&resolver.target) else { return };
        let name = self.cluster_name(chain, resolver);
        if self.targets.contains_key(&name) {
            return;
        }
        let service = Folded::new(&target.service);
        let cluster = cluster(self, &name, target, resolver.failover.is_some());
        let failover = resolver.failover.iter().flat_map(|it| &it.targets);
        let groups: Vec<Group> = [&resolver.target]
            .into_iter()
            .chain(failover)
            .filter_map(|id| chain.targets.get(id))
            .filter(|it| it.peer.is_empty() && it.datacenter == chain.datacenter)
            .map(Group::new)
            .collect();
        let plain = self.services.get(&service).map(|it| &*it.cluster);
        let is_plain = groups.len() == 1
            && resolver.failover.is_none()
            && plain.is_some_and(|it| *it == cluster);
        if is_plain {
            return;
        }
        let endpoints = endpoints(&name, &groups, self.catalog, &self.settings.datacenter);
        let before = self.before.targets.get(&name);
        let cluster = keep(before.map(|it| &it.cluster), cluster);
        let endpoints = keep(before.map(|it| &it.endpoints), endpoints);
        self.targets.insert(name, Target { groups, cluster, endpoints });
    }

    /// `web`, or `web/v1` for a subset, and Consul's own id for what is elsewhere.
    fn cluster_name(&self, chain: &Chain, resolver: &ChainResolver) -> String {
        let Some(target) = chain.targets.get(&resolver.target) else { return String::new() };
        if !target.peer.is_empty() || target.datacenter != chain.datacenter {
            return target.id.clone();
        }
        let service = Folded::new(&target.service);
        if target.subset.is_empty() {
            return service.to_string();
        }
        let mut name = format!("{service}/{}", target.subset);
        // A service may be called so; then it keeps its name.
        while self.services.contains_key(&Folded::new(&name)) {
            name.push('~');
        }
        name
    }

    /// The cause of a route that no entry says anything special of.
    fn built_in(name: &Folded) -> proxy_config::Source {
        registered::source(name)
    }
}
