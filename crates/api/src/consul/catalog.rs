//! `/v1/catalog`: nodes and instances, whoever registered them.

use std::collections::{BTreeMap, BTreeSet};

use acl::{Access as Right, Resource};
use config_entries::gateways::{self, GatewayService};
use model::{Catalog, ConfigEntry, Folded, Instance, Node, Stored, Table, WatchKey};
use registry::Command;

use super::coordinate::nearest_first;
use super::read::{Read, with_cache_hit};
use super::select::{Kind, Selection, has_meta, is_typical, merged};
use super::write::Door;
use super::{Answer, Call, Outcome, decode, shapes};
use crate::json::JsonWriter;
use filter::{Filter, NODE, NODE_SERVICE, NodeRow, NodeServiceRow, SERVICE_NODE, ServiceNodeRow};

/// `PUT /v1/catalog/register`
pub(super) fn register(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let registration = decode::catalog_registration(call.request.body(), call.agent())?;
    call.require_our_datacenter()?;
    write(call, Command::RegisterInCatalog(registration))
}

/// `PUT /v1/catalog/deregister`
pub(super) fn deregister(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    let (node, target) = decode::catalog_deregistration(call.request.body(), call.agent())?;
    call.require_our_datacenter()?;
    write(call, Command::DeregisterFromCatalog { node, target })
}

fn write(call: &Call<'_>, command: Command) -> Outcome {
    Ok(Answer::Write(command, Door::Catalog { is_pretty: call.query.has("pretty") }))
}

/// `GET /v1/catalog/datacenters`: ours alone.
pub(super) fn datacenters(call: &Call<'_>) -> Outcome {
    let reply = call.json(|w| w.array(|w| w.string(&call.agent().datacenter)));
    Ok(Answer::Reply(if call.query.has("cached") { with_cache_hit(reply) } else { reply }))
}

/// `GET /v1/catalog/nodes`
pub(super) fn nodes(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let filter = call.filter(&NODE)?;
    let meta = call.query.node_meta();
    let catalog = call.catalog();
    let datacenter = call.agent().datacenter.as_str();
    let keys = || vec![WatchKey::Nodes];
    Ok(read.answer(catalog.nodes_index(), keys, |w| {
        w.array(|w| {
            let nodes = catalog.nodes().filter(|node| has_meta(node, &meta));
            for node in nearest_first(call, nodes, |it| &it.name) {
                if call.access().sees_node(node) && filter.matches(&NodeRow { node, datacenter }) {
                    shapes::node(w, node, datacenter);
                }
            }
        });
    }))
}

/// `GET /v1/catalog/services`: every name with the tags of all its instances.
pub(super) fn services(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let filter = call.filter(&SERVICE_NODE)?;
    let by_node_meta = call.query.has("node-meta");
    let catalog = call.catalog();
    let (index, key) = if by_node_meta {
        (catalog.services_index().max(catalog.nodes_index()), WatchKey::Nodes)
    } else {
        (catalog.services_index(), WatchKey::Services)
    };
    let selection = Selection::of_node_meta(call);
    Ok(read.answer_cacheable(
        index,
        || vec![key],
        |w| {
            let tags = tags_by_service(call, &selection, &filter);
            w.object(|w| {
                for (name, tags) in tags {
                    w.map_key(name);
                    w.array(|w| tags.into_iter().for_each(|tag| w.string(tag)));
                }
            });
        },
    ))
}

/// Names keep the letter case of each registration, as in Consul, so one service may appear under two.
fn tags_by_service<'a>(
    call: &Call<'a>,
    selection: &Selection<'a>,
    filter: &Filter,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let datacenter = call.agent().datacenter.as_str();
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, _) in call.catalog().services() {
        // Who may see a service may see its name, wherever it is.
        let instances = selection.instances(call.catalog(), name).filter(|(node, instance)| {
            call.access().sees_service(instance.service.as_str())
                && filter.matches(&ServiceNodeRow { node, datacenter, instance })
        });
        for (_, instance) in instances {
            let tags = all.entry(instance.service.as_str()).or_default();
            tags.extend(instance.value.tags.iter().map(String::as_str));
        }
    }
    all
}

/// `GET /v1/catalog/service/:service`
pub(super) fn service(call: &Call<'_>) -> Outcome {
    service_nodes(call, Kind::All)
}

/// `GET /v1/catalog/connect/:service`
pub(super) fn connect(call: &Call<'_>) -> Outcome {
    service_nodes(call, Kind::Connect)
}

fn service_nodes(call: &Call<'_>, kind: Kind) -> Outcome {
    let read = Read::of(call)?;
    let service = read.name("service name")?;
    let filter = call.filter(&SERVICE_NODE)?;
    let selection = Selection::of(call, kind)?;
    let service = Folded::new(service);
    let catalog = call.catalog();
    let index = selection.index(catalog, &service);
    let datacenter = call.agent().datacenter.as_str();
    let keys = || selection.watched(catalog, &service);
    Ok(read.answer_cacheable(index, keys, |w| {
        w.array(|w| {
            let instances = selection.instances(catalog, &service);
            for (node, instance) in nearest_first(call, instances, |it| &it.0.name) {
                let instance = selection.shown(catalog, instance);
                let row = ServiceNodeRow { node, datacenter, instance: &instance };
                if selection.is_seen(call, &service, &instance) && filter.matches(&row) {
                    shapes::service_node(w, node, &instance, datacenter);
                }
            }
        });
    }))
}

/// `GET /v1/catalog/node/:node`: the services by id.
pub(super) fn node(call: &Call<'_>) -> Outcome {
    node_with_services(call, |w, found| match found {
        Some((node, services)) => w.object(|w| {
            w.key("Node");
            shapes::node(w, node, &call.agent().datacenter);
            w.key("Services");
            w.object(|w| {
                for service in services {
                    w.map_key(service.id.as_str());
                    shapes::node_service(w, service);
                }
            });
        }),
        None => w.null(),
    })
}

/// `GET /v1/catalog/node-services/:node`: the services as a list.
pub(super) fn node_services(call: &Call<'_>) -> Outcome {
    node_with_services(call, |w, found| {
        w.object(|w| match found {
            Some((node, services)) => {
                w.key("Node");
                shapes::node(w, node, &call.agent().datacenter);
                w.key("Services");
                let is_merged = call.query.has("merge-central-config");
                let catalog = call.catalog();
                w.array(|w| {
                    for it in services {
                        if is_merged {
                            shapes::node_service(w, &merged(catalog, it));
                        } else {
                            shapes::node_service(w, it);
                        }
                    }
                });
            }
            None => {
                w.key("Node");
                w.null();
                w.key("Services");
                w.null();
            }
        });
    })
}

type NodeWithServices<'a> = (&'a Stored<Node>, Vec<&'a Stored<Instance>>);

fn node_with_services<'a>(
    call: &Call<'a>,
    write: impl FnOnce(&mut JsonWriter, Option<NodeWithServices<'a>>),
) -> Outcome {
    let read = Read::of(call)?;
    let name = read.name("node name")?;
    let filter = call.filter(&NODE_SERVICE)?;
    let catalog = call.catalog();
    // A name of one letter is never taken for the start of an id.
    let by_id = || (name.len() > 1).then(|| catalog.node_by_id_prefix(name)).flatten();
    let node = catalog.node(&Folded::new(name)).or_else(by_id);
    let folded = node.map_or_else(|| Folded::new(name), |node| node.name.folded());
    let index = catalog.node_index(&folded);
    let keys = || vec![WatchKey::Node(folded.clone())];
    Ok(read.answer(index, keys, |w| {
        let services = catalog.instances_of_node(&folded).map(|it| &**it);
        let services = services
            .filter(|it| call.access().sees_service(it.service.as_str()))
            .filter(|instance| filter.matches(&NodeServiceRow { instance }));
        let node = node.filter(|it| call.access().sees_node(it));
        let found = node.map(|node| (&**node, services.collect()));
        write(w, found);
    }))
}

/// `GET /v1/catalog/gateway-services/:gateway`: the services behind a gateway.
pub(super) fn gateway_services(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let gateway = read.name("gateway name")?;
    call.access().require(Resource::Service, Right::Read, gateway)?;
    let catalog = call.catalog();
    // What `*` means changes with the services that there are.
    let index = catalog.services_index().max(catalog.table_index(Table::ConfigEntry));
    let keys = || vec![WatchKey::Services, WatchKey::Table(Table::ConfigEntry)];
    Ok(read.answer(index, keys, |w| {
        let typical = catalog.services().filter(|(name, _)| is_typical(catalog, name));
        let known: Vec<&str> = typical.map(|(_, it)| it.name.as_str()).collect();
        let found = gateways::services_of(catalog, gateway, &known);
        if found.is_empty() {
            return w.null();
        }
        w.array(|w| found.iter().for_each(|it| gateway_service(w, catalog, it)));
    }))
}

/// Go's `structs.GatewayService`.
fn gateway_service(w: &mut JsonWriter, catalog: &Catalog, it: &GatewayService<'_>) {
    let key = ConfigEntry::key_of(&it.entry.kind, &it.entry.name);
    let entry = catalog.record::<ConfigEntry>(&key);
    let name = |w: &mut JsonWriter, key, name: &str| {
        w.key(key);
        w.object(|w| w.string_field("Name", name));
    };
    w.object(|w| {
        name(w, "Gateway", &it.entry.name);
        name(w, "Service", &it.service);
        w.string_field("GatewayKind", &it.entry.kind);
        if let Some(port) = u32::try_from(it.port).ok().filter(|port| *port != 0) {
            w.number_field("Port", port);
        }
        w.string_field_if_any("Protocol", &it.protocol);
        if !it.hosts.is_empty() {
            w.strings_field("Hosts", it.hosts.iter().map(String::as_str));
        }
        w.string_field_if_any("CAFile", &it.ca_file);
        w.string_field_if_any("CertFile", &it.cert_file);
        w.string_field_if_any("KeyFile", &it.key_file);
        w.string_field_if_any("SNI", &it.sni);
        w.boolean_field_if_true("FromWildcard", it.from_wildcard);
        if catalog.service(&Folded::new(&it.service)).is_some() {
            w.string_field("ServiceKind", "service");
        }
        w.number_field("CreateIndex", entry.map_or(0, |it| it.created.0));
        w.number_field("ModifyIndex", entry.map_or(0, |it| it.modified.0));
        w.boolean_field_if_true("AutoHostRewrite", it.auto_host_rewrite);
    });
}
