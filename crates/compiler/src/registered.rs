//! Services of the registry: each is a cluster of its name, with all its instances as endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Catalog, Check, CheckStatus, Folded, Instance, Revision, ServiceId, Spec};
use proxy_config::{Cluster, Endpoint, EndpointHealth, Endpoints, Source, UpstreamProtocol};

use crate::settings::RETRY_BUDGET;
use crate::{Settings, split};

/// Consul's own service, which nobody calls through a proxy.
pub(crate) const SELF: &str = "consul";

/// What a service of the registry was compiled to.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    /// [`ServiceEntry::index`](model::ServiceEntry) that this was compiled from.
    index: Revision,
    /// The revision of its split.
    split: Option<Revision>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) endpoints: Arc<Endpoints>,
}

/// What is different from the last time.
#[derive(Default)]
pub(crate) struct ServiceChanges {
    /// A service came or went.
    pub(crate) names: bool,
    /// Services that came, went, or changed.
    pub(crate) services: BTreeSet<Folded>,
}

/// Services that workloads register as. Those are known also while no copy runs, so that whoever calls one is told that there is
/// nobody to serve, and not that there is no such service.
pub(crate) fn promised(catalog: &Catalog) -> BTreeSet<Folded> {
    let specs = catalog.documents().filter_map(|it| match &it.spec {
        Spec::Workload(spec) => spec.service.as_ref(),
        Spec::Service(_) | Spec::Ingress(_) | Spec::Secret(_) | Spec::Rollout(_) => None,
    });
    specs.map(|it| it.name.folded()).filter(|it| it.as_str() != SELF).collect()
}

/// Brings `services` up to date: only those whose index moved are compiled again. `promised` are there in any case.
pub(crate) fn refresh(
    services: &mut BTreeMap<Folded, Registered>,
    promised: &BTreeSet<Folded>,
    catalog: &Catalog,
    settings: &Settings,
) -> ServiceChanges {
    let mut changes = ServiceChanges::default();
    let splits = split::revisions(catalog);
    let mut seen = 0;
    let registered = catalog.services().filter(|it| it.0.as_str() != SELF);
    let absent = promised.iter().filter(|it| catalog.service(it).is_none());
    let all = registered.map(|(name, entry)| (name, entry.index));
    for (name, index) in all.chain(absent.map(|it| (it, Revision(0)))) {
        seen += 1;
        let before = services.get_mut(name);
        let split = splits.get(name).copied();
        match before {
            Some(before) if before.index == index && before.split == split => continue,
            Some(before) => before.update(catalog, name, index, split),
            None => {
                let cluster = Arc::new(cluster(name, settings));
                let endpoints = Arc::new(endpoints(catalog, name));
                let registered = Registered { index, split, cluster, endpoints };
                services.insert(name.clone(), registered);
                changes.names = true;
            }
        }
        changes.services.insert(name.clone());
    }
    if services.len() > seen {
        services.retain(|name, _| {
            let stays = catalog.service(name).is_some() || promised.contains(name);
            if !stays {
                changes.services.insert(name.clone());
            }
            stays
        });
        changes.names = true;
    }
    changes
}

impl Registered {
    /// Endpoints that came out the same stay the same.
    fn update(
        &mut self,
        catalog: &Catalog,
        name: &Folded,
        index: Revision,
        split: Option<Revision>,
    ) {
        (self.index, self.split) = (index, split);
        let endpoints = endpoints(catalog, name);
        if *self.endpoints != endpoints {
            self.endpoints = Arc::new(endpoints);
        }
    }
}

/// The cluster of a service of which nothing is said.
pub(crate) fn cluster(name: &Folded, settings: &Settings) -> Cluster {
    Cluster {
        name: name.to_string(),
        balancing: settings.balancing,
        protocol: UpstreamProtocol::Http1,
        connect_timeout: settings.connect_timeout,
        idle_timeout: settings.upstream_idle_timeout,
        connections_max: settings.upstream_connections_max,
        retry_budget: Some(RETRY_BUDGET),
        narrowing: split::narrowing(),
        source: source(name),
        ..Cluster::default()
    }
}

/// The cause of a service's cluster and routes. That a registered service is reached by its name is built in, so
/// the revision is 0: were it that of the service, every failing check would make all routes new.
pub(crate) fn source(name: &Folded) -> Source {
    Source { object: format!("service {name} in the registry"), revision: Revision(0) }
}

fn endpoints(catalog: &Catalog, name: &Folded) -> Endpoints {
    let instances = catalog.instances_of_service(name);
    let instances = instances.filter_map(|it| Some((endpoint(catalog, it)?, &it.value)));
    let instances = instances.filter(|it| it.0.port != 0).collect();
    split::endpoints(name.as_str(), vec![instances], catalog)
}

/// An instance as an endpoint on its registered port, which may be 0. `None` when it has no address or weighs nothing.
pub(crate) fn endpoint(catalog: &Catalog, instance: &Instance) -> Option<Endpoint> {
    let node = instance.node.folded();
    let host = if instance.address.is_empty() {
        catalog.node(&node).map_or("", |node| node.address.as_str())
    } else {
        instance.address.as_str()
    };
    let (weight, health) = match verdict(catalog, &node, &instance.id) {
        CheckStatus::Passing => (instance.weights.passing, EndpointHealth::Healthy),
        CheckStatus::Warning => (instance.weights.warning, EndpointHealth::Healthy),
        CheckStatus::Critical if is_in_maintenance(catalog, &node, &instance.id) => {
            (instance.weights.passing, EndpointHealth::Draining)
        }
        CheckStatus::Critical => (instance.weights.passing, EndpointHealth::Unhealthy),
    };
    (!host.is_empty() && weight != 0).then(|| Endpoint {
        id: instance.endpoint_id(),
        host: host.to_owned(),
        port: instance.port,
        weight,
        health,
        ..Endpoint::default()
    })
}

/// The worst of the checks of an instance and of its node; passing when there are none. Maintenance is a critical
/// check.
pub(crate) fn verdict(catalog: &Catalog, node: &Folded, id: &ServiceId) -> CheckStatus {
    let worst = checks(catalog, node, id).map(|it| it.status).max();
    worst.unwrap_or(CheckStatus::Passing)
}

fn is_in_maintenance(catalog: &Catalog, node: &Folded, id: &ServiceId) -> bool {
    checks(catalog, node, id).any(Check::is_maintenance)
}

fn checks<'a>(
    catalog: &'a Catalog,
    node: &Folded,
    id: &ServiceId,
) -> impl Iterator<Item = &'a Check> + use<'a> {
    let of_node = catalog.checks_of_instance(node, &ServiceId::default());
    of_node.chain(catalog.checks_of_instance(node, id)).map(|it| &it.value)
}
