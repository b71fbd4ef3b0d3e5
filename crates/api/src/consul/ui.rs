//! `/v1/internal/ui`: what Consul's UI and some dashboards read.

use std::collections::{BTreeMap, BTreeSet};

use config_entries::gateways;
use filter::{CHECK_SERVICE_NODE, Filter, HealthRow, NODE, NodeRow};
use http::StatusCode;
use model::{
    Catalog, Check, CheckStatus, Folded, Instance, Node, ServiceId, Stored, Table, WatchKey,
};

use super::read::Read;
use super::response::Reply;
use super::select::is_typical;
use super::shapes::{self, CheckView};
use super::{Call, Outcome};
use crate::json::JsonWriter;

/// `GET /v1/internal/ui/nodes`
pub(super) fn nodes(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let filter = call.filter(&NODE)?;
    let catalog = call.catalog();
    let datacenter = call.agent().datacenter.as_str();
    let index = catalog.nodes_index().max(catalog.services_index()).max(catalog.checks_index());
    Ok(read.answer(index, all, |w| {
        w.array(|w| {
            let seen = catalog.nodes().filter(|node| call.access().sees_node(node));
            for node in seen.filter(|node| filter.matches(&NodeRow { node, datacenter })) {
                node_info(w, call, node);
            }
        });
    }))
}

/// `GET /v1/internal/ui/node/:node`
pub(super) fn node(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let name = Folded::new(read.name("node name")?);
    let catalog = call.catalog();
    let checks = catalog.checks_of_node(&name).map(|it| it.modified).max().unwrap_or_default();
    let index = catalog.node_index(&name).max(checks);
    let keys = || vec![WatchKey::Node(name.clone()), WatchKey::NodeChecks(name.clone())];
    let node = || catalog.node(&name).filter(|it| call.access().sees_node(it));
    Ok(read.answer(index, keys, |w| match node() {
        Some(node) => node_info(w, call, node),
        None => w.null(),
    }))
}

fn all() -> Vec<WatchKey> {
    vec![WatchKey::Nodes, WatchKey::Services, WatchKey::Checks]
}

/// Go's `structs.NodeInfo`.
fn node_info(w: &mut JsonWriter, call: &Call<'_>, node: &Stored<Node>) {
    let (catalog, access) = (call.catalog(), call.access());
    let name = node.name.folded();
    w.object(|w| {
        w.string_field("ID", &node.id);
        w.string_field("Node", node.name.as_str());
        w.string_field("Address", &node.address);
        w.key("TaggedAddresses");
        shapes::texts_or_null(w, node.tagged_addresses.as_ref());
        w.key("Meta");
        shapes::texts_or_null(w, node.meta.as_ref());
        w.key("Services");
        w.array(|w| {
            let services = catalog.instances_of_node(&name);
            let seen = services.filter(|it| access.sees_service(it.service.as_str()));
            seen.for_each(|it| shapes::node_service(w, it));
        });
        w.key("Checks");
        w.array(|w| {
            for check in catalog.checks_of_node(&name) {
                let owner = catalog.instance(&name, &check.service_id).map(|it| &it.value);
                if access.sees_check(check, owner) {
                    shapes::check(w, &CheckView::stored(check, owner));
                }
            }
        });
    });
}

/// What is shown of a service at a glance.
#[derive(Default)]
struct Summary<'a> {
    name: &'a str,
    kind: &'a str,
    tags: BTreeSet<&'a str>,
    nodes: BTreeSet<&'a str>,
    sources: BTreeSet<&'a str>,
    instances: u64,
    /// Checks by status.
    checks: [u64; 3],
    is_native: bool,
    /// Proxies are in front of its instances.
    has_proxy: bool,
    /// It stands behind a gateway.
    has_gateway: bool,
}

fn summaries<'a>(call: &Call<'a>, filter: &Filter) -> impl Iterator<Item = Summary<'a>> {
    let (catalog, access) = (call.catalog(), call.access());
    let datacenter = call.agent().datacenter.as_str();
    catalog.services().map(move |(name, entry)| {
        let mut summary = Summary { name: entry.name.as_str(), ..Summary::default() };
        let mut seen = BTreeSet::new();
        for instance in catalog.instances_of_service(name).filter(|it| access.sees_instance(it)) {
            let folded = instance.node.folded();
            let Some(node) = catalog.node(&folded) else { continue };
            let of = |owner: &ServiceId| catalog.checks_of_instance(&folded, owner);
            let checks = of(&ServiceId::default()).chain(of(&instance.id));
            let checks: Vec<&Check> = checks.map(|it| &it.value).collect();
            if filter.matches(&HealthRow { node, datacenter, instance, checks: &checks }) {
                summary.add(catalog, instance, &mut seen);
            }
        }
        summary.has_proxy = catalog.mesh_instances(name).any(|it| it.kind == "connect-proxy");
        let is_known = is_typical(catalog, name);
        summary.has_gateway = ["ingress-gateway", "terminating-gateway"]
            .into_iter()
            .any(|kind| !gateways::in_front_of(catalog, kind, name.as_str(), is_known).is_empty());
        summary
    })
}

impl<'a> Summary<'a> {
    /// The checks of a node count once, however many instances of the service it has.
    fn add(&mut self, catalog: &'a Catalog, it: &'a Instance, seen: &mut BTreeSet<Folded>) {
        let node = it.node.folded();
        self.kind = &it.kind;
        self.instances += 1;
        self.is_native |= it.connect_native;
        self.nodes.insert(it.node.as_str());
        self.tags.extend(it.tags.iter().map(String::as_str));
        let source = it.meta.as_ref().and_then(|meta| meta.get("external-source"));
        self.sources.extend(source.map(String::as_str));
        let mut count = |owner: &ServiceId| {
            for check in catalog.checks_of_instance(&node, owner) {
                self.checks[check.status as usize] += 1;
            }
        };
        count(&it.id);
        if seen.insert(node.clone()) {
            count(&ServiceId::default());
        }
    }

    fn write(&self, w: &mut JsonWriter, datacenter: &str) {
        let list = |w: &mut JsonWriter, name: &'static str, items: &BTreeSet<&str>| {
            w.strings_field(name, items.iter().copied());
        };
        w.object(|w| {
            w.string_field_if_any("Kind", self.kind);
            w.string_field("Name", self.name);
            w.string_field("Datacenter", datacenter);
            list(w, "Tags", &self.tags);
            list(w, "Nodes", &self.nodes);
            list(w, "ExternalSources", &self.sources);
            w.number_field("InstanceCount", self.instances);
            w.number_field("ChecksPassing", self.checks[CheckStatus::Passing as usize]);
            w.number_field("ChecksWarning", self.checks[CheckStatus::Warning as usize]);
            w.number_field("ChecksCritical", self.checks[CheckStatus::Critical as usize]);
            w.key("GatewayConfig");
            w.object(|_| {});
            w.boolean_field("TransparentProxy", false);
            w.boolean_field("ConnectNative", self.is_native);
            w.boolean_field("ConnectedWithProxy", self.has_proxy);
            w.boolean_field("ConnectedWithGateway", self.has_gateway);
        });
    }
}

/// `GET /v1/internal/ui/services`
pub(super) fn services(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let filter = call.filter(&CHECK_SERVICE_NODE)?;
    let catalog = call.catalog();
    let index = catalog.nodes_index().max(catalog.services_index()).max(catalog.checks_index());
    // Gateways are what entries say.
    let index = index.max(catalog.table_index(Table::ConfigEntry));
    let keys = || [all(), vec![WatchKey::Table(Table::ConfigEntry)]].concat();
    let datacenter = call.agent().datacenter.as_str();
    Ok(read.answer(index, keys, |w| {
        let seen = summaries(call, &filter).filter(|it| it.instances > 0);
        w.array(|w| seen.for_each(|it| it.write(w, datacenter)));
    }))
}

/// How many of a kind there are, by their worst check.
#[derive(Clone, Copy, Default)]
struct Health {
    total: u64,
    by_status: [u64; 3],
}

impl Health {
    fn add(&mut self, worst: CheckStatus) {
        self.total += 1;
        self.by_status[worst as usize] += 1;
    }

    fn write(&self, w: &mut JsonWriter, name: &str) {
        w.object(|w| {
            w.string_field("Name", name);
            w.number_field("Total", self.total);
            w.number_field("Passing", self.by_status[CheckStatus::Passing as usize]);
            w.number_field("Warning", self.by_status[CheckStatus::Warning as usize]);
            w.number_field("Critical", self.by_status[CheckStatus::Critical as usize]);
        });
    }
}

/// `GET /v1/internal/ui/catalog-overview`
pub(super) fn overview(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let catalog = call.catalog();
    let index = catalog.nodes_index().max(catalog.services_index()).max(catalog.checks_index());
    Ok(read.answer(index, all, |w| {
        let worst = |node: &Folded, owner: &ServiceId| {
            let checks = catalog.checks_of_instance(node, owner);
            checks.map(|it| it.status).max().unwrap_or(CheckStatus::Passing)
        };
        let (mut nodes, mut services) = (Health::default(), BTreeMap::<&str, Health>::new());
        for node in catalog.nodes() {
            nodes.add(worst(&node.name.folded(), &ServiceId::default()));
        }
        for it in catalog.instances() {
            let node = it.node.folded();
            let status = worst(&node, &it.id).max(worst(&node, &ServiceId::default()));
            services.entry(it.service.as_str()).or_default().add(status);
        }
        let mut checks = BTreeMap::<&str, Health>::new();
        for check in catalog.checks() {
            checks.entry(&check.name).or_default().add(check.status);
        }
        let list = |w: &mut JsonWriter, all: &BTreeMap<&str, Health>| {
            w.array(|w| all.iter().for_each(|(name, it)| it.write(w, name)));
        };
        w.object(|w| {
            w.key("Nodes");
            w.array(|w| nodes.write(w, ""));
            w.key("Services");
            list(w, &services);
            w.key("Checks");
            list(w, &checks);
        });
    }))
}

/// `GET /v1/internal/federation-states` and what is below: there is one datacenter, and no federation.
pub(super) fn federation(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let is_map = call.request.uri().path().ends_with("/mesh-gateways");
    Ok(read.answer(model::Revision(1), Vec::new, |w| {
        if is_map {
            w.object(|_| {});
        } else {
            w.array(|_| {});
        }
    }))
}

/// `GET /v1/internal/federation-state/:datacenter`
pub(super) fn federation_state(call: &Call<'_>) -> Outcome {
    Read::of(call)?;
    let text = format!("Federation state not found: {}", call.name);
    Err(Reply::text(StatusCode::NOT_FOUND, text))
}
