//! Which instances a read of a service is about.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use config_entries::{gateways, merged_proxy};
use http::StatusCode;
use model::{Catalog, FlatMap, Folded, Instance, Node, Revision, Stored, Table, WatchKey};
use serde_json::Value;

use super::Call;
use super::response::Reply;

/// The parameters that choose among the instances of a service, save `filter` and `passing`.
pub(super) struct Selection<'a> {
    /// All of them must be there, letter case ignored.
    tags: Vec<String>,
    node_meta: Vec<(&'a str, &'a str)>,
    kind: Kind,
    /// Another mesh was asked for. We know of none, so there is nothing.
    is_of_peer: bool,
    /// Proxies are shown with what configuration entries say of them.
    is_merged: bool,
}

/// Which instances of a service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    All,
    /// Those that it is reached through in the mesh: proxies in front of it, those that speak mutual TLS themselves, and
    /// the terminating gateways that it stands behind.
    Connect,
    /// The ingress gateways that it stands behind.
    Ingress,
}

impl<'a> Selection<'a> {
    /// # Errors
    /// 400 for sameness groups, which are not there.
    pub(super) fn of(call: &Call<'a>, kind: Kind) -> Result<Self, Reply> {
        let bad = |text: &str| Reply::text(StatusCode::BAD_REQUEST, text);
        let is_of_peer = !call.query.text("peer").is_empty();
        let groups = ["sg", "sameness-group"];
        if let Some(group) = groups.into_iter().find(|it| !call.query.text(it).is_empty()) {
            return Err(if is_of_peer {
                bad("peer-name and sameness-group are mutually exclusive")
            } else {
                let text = "Sameness groups are a Consul Enterprise feature";
                bad(&format!("Invalid query parameter: \"{group}\" - {text}"))
            });
        }
        let tags = call.query.all("tag").map(str::to_lowercase).collect();
        let is_merged = call.query.has("merge-central-config");
        Ok(Self { tags, node_meta: call.query.node_meta(), kind, is_of_peer, is_merged })
    }

    /// By `node-meta` alone, for the reads that know no tags.
    pub(super) fn of_node_meta(call: &Call<'a>) -> Self {
        Self {
            tags: Vec::new(),
            node_meta: call.query.node_meta(),
            kind: Kind::All,
            is_of_peer: false,
            is_merged: false,
        }
    }

    /// The chosen instances of a service with their nodes, by node and then by id.
    pub(super) fn instances(
        &self,
        catalog: &'a Catalog,
        service: &Folded,
    ) -> impl Iterator<Item = (&'a Stored<Node>, &'a Stored<Instance>)> {
        // Instances come node by node, so most have the node of the one before.
        let mut last: Option<&'a Stored<Node>> = None;
        let node_of = move |instance: &Instance| {
            if last.is_none_or(|node| node.name != instance.node) {
                last = catalog.node(&instance.node.folded()).map(|node| &**node);
            }
            last
        };
        self.of_kind(catalog, service)
            .map(|it| &**it)
            .filter(|it| self.fits(it))
            .scan(node_of, |node_of, it| Some(node_of(it).map(|node| (node, it))))
            .flatten()
            .filter(|(node, _)| has_meta(node, &self.node_meta))
    }

    fn of_kind(
        &self,
        catalog: &'a Catalog,
        service: &Folded,
    ) -> Box<dyn Iterator<Item = &'a Arc<Stored<Instance>>> + 'a> {
        match self.kind {
            Kind::All => Box::new(catalog.instances_of_service(service)),
            Kind::Connect => {
                let mut found: Vec<_> = catalog.mesh_instances(service).collect();
                found.extend(of_gateways(catalog, "terminating-gateway", service));
                found.sort_by_cached_key(|it| (it.node.folded(), it.id.clone()));
                Box::new(found.into_iter())
            }
            Kind::Ingress => Box::new(of_gateways(catalog, "ingress-gateway", service).into_iter()),
        }
    }

    fn fits(&self, instance: &Instance) -> bool {
        let has = |tag: &String| instance.tags.iter().any(|own| own.to_lowercase() == *tag);
        !self.is_of_peer && self.tags.iter().all(has)
    }

    /// When what the read shows last changed.
    pub(super) fn index(&self, catalog: &Catalog, service: &Folded) -> Revision {
        let entries = catalog.table_index(Table::ConfigEntry);
        let index = match self.kind {
            Kind::All => catalog.service_index(service),
            Kind::Connect | Kind::Ingress => {
                let services = self.services(catalog, service);
                let of_services = services.iter().map(|it| catalog.service_index(it)).max();
                // While there are no instances, any service that goes may have been one.
                let of_services = of_services.unwrap_or_else(|| catalog.service_index(service));
                let of_mesh = match self.kind {
                    Kind::Connect => catalog.mesh_index(service),
                    Kind::All | Kind::Ingress => Revision(0),
                };
                of_services.max(of_mesh).max(entries)
            }
        };
        if self.is_merged { index.max(entries) } else { index }
    }

    /// What may change what the read shows.
    pub(super) fn watched(&self, catalog: &Catalog, service: &Folded) -> Vec<WatchKey> {
        let mut services = self.services(catalog, service);
        // Its first instance may put it behind a gateway for all.
        services.insert(service.clone());
        let mut keys: Vec<WatchKey> = services.into_iter().map(WatchKey::Service).collect();
        if self.kind == Kind::Connect {
            keys.push(WatchKey::Mesh(service.clone()));
        }
        if self.is_merged || self.kind != Kind::All {
            keys.push(WatchKey::Table(Table::ConfigEntry));
        }
        keys
    }

    /// The services whose instances a read of a service through the mesh shows, and whether `*` means it.
    fn services(&self, catalog: &Catalog, service: &Folded) -> BTreeSet<Folded> {
        let gateway = match self.kind {
            Kind::All => return BTreeSet::from([service.clone()]),
            Kind::Connect => "terminating-gateway",
            Kind::Ingress => "ingress-gateway",
        };
        let mut services: BTreeSet<Folded> = match self.kind {
            Kind::Connect => {
                catalog.mesh_instances(service).map(|it| it.service.folded()).collect()
            }
            Kind::All | Kind::Ingress => BTreeSet::new(),
        };
        // A gateway for all knows those that are registered.
        let is_known = is_typical(catalog, service);
        let gateways = gateways::in_front_of(catalog, gateway, service.as_str(), is_known);
        services.extend(gateways.iter().map(|it| Folded::new(&it.name)));
        if catalog.service(service).is_some() || !services.is_empty() {
            services.insert(service.clone());
        }
        services
    }

    /// True if who asks may see an instance that was found by this service: the proxies of a service are seen by those
    /// who may see both.
    pub(super) fn is_seen(&self, call: &Call<'_>, service: &Folded, instance: &Instance) -> bool {
        let through = instance.mesh_service().unwrap_or(service.as_str());
        let is_through = self.kind != Kind::Connect || call.access().sees_service(through);
        is_through && call.access().sees_instance(instance)
    }

    /// An instance as it is to be shown.
    pub(super) fn shown(
        &self,
        catalog: &Catalog,
        instance: &'a Stored<Instance>,
    ) -> Cow<'a, Stored<Instance>> {
        if self.is_merged { merged(catalog, instance) } else { Cow::Borrowed(instance) }
    }
}

/// A proxy or gateway with what configuration entries say of it; others as they are.
pub(super) fn merged<'a>(
    catalog: &Catalog,
    instance: &'a Stored<Instance>,
) -> Cow<'a, Stored<Instance>> {
    match merged_proxy(catalog, instance) {
        Some(proxy) => {
            let mut merged = instance.clone();
            merged.value.proxy = Some(Arc::new(Value::Object(proxy)));
            Cow::Owned(merged)
        }
        None => Cow::Borrowed(instance),
    }
}

/// Instances of the gateways of a kind that a service stands behind.
fn of_gateways<'a>(
    catalog: &'a Catalog,
    kind: &str,
    service: &Folded,
) -> Vec<&'a Arc<Stored<Instance>>> {
    let is_known = is_typical(catalog, service);
    let gateways = gateways::in_front_of(catalog, kind, service.as_str(), is_known);
    let instances =
        gateways.iter().flat_map(|it| catalog.instances_of_service(&Folded::new(&it.name)));
    let mut found: Vec<_> = instances.filter(|it| it.kind == kind).collect();
    found.sort_by_cached_key(|it| (it.node.folded(), it.id.clone()));
    found.dedup_by(|a, b| Arc::ptr_eq(a, b));
    found
}

/// Whether a service is registered, and not one of proxies or gateways, nor Consul's own.
pub(super) fn is_typical(catalog: &Catalog, service: &Folded) -> bool {
    let mut instances = catalog.instances_of_service(service);
    service.as_str() != "consul" && instances.any(|it| it.is_typical())
}

/// True if the node has all of these pairs.
pub(super) fn has_meta(node: &Node, pairs: &[(&str, &str)]) -> bool {
    let value = |key: &str| node.meta.as_ref().and_then(|meta: &FlatMap<String>| meta.get(key));
    pairs.iter().all(|(key, wanted)| value(key).is_some_and(|value| value == wanted))
}
