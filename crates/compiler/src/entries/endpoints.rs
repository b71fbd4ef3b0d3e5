//! The endpoints of a target: the instances that are of its subset, and those to fail over to.

use std::collections::BTreeSet;
use std::sync::Arc;

use config_entries::ChainTarget;
use filter::{CHECK_SERVICE_NODE, Filter, HealthRow};
use model::{Catalog, Check, CheckStatus, Folded, Instance, ServiceId};
use proxy_config::{Endpoint, EndpointHealth, Endpoints};

use crate::registered;
use crate::split::{self, Instances};

/// Some of the instances of a service.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) service: Folded,
    /// Which of them; `None` where the definition is no filter, which nothing fits.
    filter: Option<Arc<Filter>>,
    only_passing: bool,
}

impl Group {
    pub(super) fn new(target: &ChainTarget) -> Self {
        let filter = Filter::parse(&target.definition.filter, &CHECK_SERVICE_NODE);
        Self {
            service: Folded::new(&target.service),
            filter: filter.ok().map(Arc::new),
            only_passing: target.definition.only_passing,
        }
    }

    fn instances<'a>(&self, catalog: &'a Catalog, datacenter: &str) -> Instances<'a> {
        let instances = catalog.instances_of_service(&self.service);
        let fits = |it: &Instance| {
            self.filter.as_ref().is_some_and(|filter| fits(filter, catalog, it, datacenter))
        };
        let fitting = instances.map(|it| &it.value).filter(|it| fits(it));
        let fitting = fitting.filter_map(|it| Some((self.endpoint(catalog, it)?, it)));
        fitting.filter(|it| it.0.port != 0).collect()
    }

    fn endpoint(&self, catalog: &Catalog, instance: &Instance) -> Option<Endpoint> {
        let mut endpoint = registered::endpoint(catalog, instance)?;
        let verdict = registered::verdict(catalog, &instance.node.folded(), &instance.id);
        if self.only_passing && verdict != CheckStatus::Passing {
            endpoint.health = EndpointHealth::Unhealthy;
        }
        Some(endpoint)
    }
}

fn fits(filter: &Filter, catalog: &Catalog, instance: &Instance, datacenter: &str) -> bool {
    let folded = instance.node.folded();
    let Some(node) = catalog.node(&folded) else { return false };
    let of_node = catalog.checks_of_instance(&folded, &ServiceId::default());
    let own = catalog.checks_of_instance(&folded, &instance.id);
    let checks: Vec<&Check> = of_node.chain(own).map(|it| &it.value).collect();
    filter.matches(&HealthRow { node: &node.value, datacenter, instance, checks: &checks })
}

/// The endpoints of a cluster. A group without any leaves no gap in the priorities; an instance of two groups is in the
/// first.
pub(super) fn endpoints(
    cluster: &str,
    groups: &[Group],
    catalog: &Catalog,
    datacenter: &str,
) -> Endpoints {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let priorities = groups.iter().map(|group| {
        let mut found = group.instances(catalog, datacenter);
        found.retain(|it| seen.insert(it.0.id.clone()));
        found
    });
    split::endpoints(cluster, priorities.collect(), catalog)
}
