//! The JSON of nodes, instances and checks. The order of the keys, what is left out when empty and what is `null`
//! are those of Consul's Go structs, one function a struct.

use std::sync::LazyLock;
use std::time::Duration;

use config_entries::{AGENT_PROXY, PROXY, show_fields};
use model::{
    Check, CheckDefinition, FlatMap, Instance, Locality, Node, Origin, Revision, ServiceAddress,
    Stored, Weights,
};

use crate::json::JsonWriter;
use filter::{CheckRow, check_duration};
use model::go;
use serde_json::{Map, Value};

/// Go's `structs.Node`.
pub(super) fn node(w: &mut JsonWriter, node: &Stored<Node>, datacenter: &str) {
    w.object(|w| {
        w.string_field("ID", &node.id);
        w.string_field("Node", node.name.as_str());
        w.string_field("Address", &node.address);
        w.string_field("Datacenter", datacenter);
        w.key("TaggedAddresses");
        texts_or_null(w, node.tagged_addresses.as_ref());
        w.key("Meta");
        texts_or_null(w, node.meta.as_ref());
        if let Some(it) = &node.locality {
            w.key("Locality");
            locality(w, it);
        }
        indexes(w, node.created, node.modified);
    });
}

/// Go's `structs.NodeService`.
pub(super) fn node_service(w: &mut JsonWriter, it: &Stored<Instance>) {
    w.object(|w| {
        w.string_field_if_any("Kind", &it.kind);
        w.string_field("ID", it.id.as_str());
        w.string_field("Service", it.service.as_str());
        w.strings_field("Tags", tags(it));
        w.string_field("Address", &it.address);
        if !it.tagged_addresses.is_empty() {
            w.key("TaggedAddresses");
            service_addresses(w, &it.tagged_addresses);
        }
        w.key("Meta");
        texts_or_null(w, it.meta.as_ref());
        if it.port != 0 {
            w.number_field("Port", it.port);
        }
        w.string_field_if_any("SocketPath", &it.socket_path);
        w.key("Weights");
        weights(w, it.weights);
        w.boolean_field("EnableTagOverride", it.enable_tag_override);
        if let Some(it) = &it.locality {
            w.key("Locality");
            locality(w, it);
        }
        w.key("Proxy");
        proxy(w, it);
        w.key("Connect");
        connect(w, it);
        w.string_field("PeerName", "");
        indexes(w, it.created, it.modified);
    });
}

/// Go's `structs.ServiceNode`.
pub(super) fn service_node(
    w: &mut JsonWriter,
    node: &Node,
    it: &Stored<Instance>,
    datacenter: &str,
) {
    w.object(|w| {
        w.string_field("ID", &node.id);
        w.string_field("Node", node.name.as_str());
        w.string_field("Address", &node.address);
        w.string_field("Datacenter", datacenter);
        w.key("TaggedAddresses");
        texts_or_null(w, node.tagged_addresses.as_ref());
        w.key("NodeMeta");
        texts_or_null(w, node.meta.as_ref());
        w.string_field("ServiceKind", &it.kind);
        w.string_field("ServiceID", it.id.as_str());
        w.string_field("ServiceName", it.service.as_str());
        w.strings_field("ServiceTags", tags(it));
        w.string_field("ServiceAddress", &it.address);
        if !it.tagged_addresses.is_empty() {
            w.key("ServiceTaggedAddresses");
            service_addresses(w, &it.tagged_addresses);
        }
        w.key("ServiceWeights");
        weights(w, it.weights);
        w.key("ServiceMeta");
        texts(w, it.meta.as_ref());
        w.number_field("ServicePort", it.port);
        w.string_field("ServiceSocketPath", &it.socket_path);
        w.boolean_field("ServiceEnableTagOverride", it.enable_tag_override);
        w.key("ServiceProxy");
        proxy(w, it);
        w.key("ServiceConnect");
        connect(w, it);
        w.key("ServiceLocality");
        match &it.locality {
            Some(it) => locality(w, it),
            None => w.null(),
        }
        indexes(w, it.created, it.modified);
    });
}

/// Go's `api.AgentService`: another shape than [`node_service`], without revisions.
pub(super) fn agent_service(
    w: &mut JsonWriter,
    it: &Instance,
    datacenter: &str,
    content_hash: Option<&str>,
) {
    w.object(|w| {
        w.string_field_if_any("Kind", &it.kind);
        w.string_field("ID", it.id.as_str());
        w.string_field("Service", it.service.as_str());
        w.strings_field("Tags", tags(it));
        w.key("Meta");
        texts(w, it.meta.as_ref());
        w.number_field("Port", it.port);
        w.string_field("Address", &it.address);
        w.string_field_if_any("SocketPath", &it.socket_path);
        if !it.tagged_addresses.is_empty() {
            w.key("TaggedAddresses");
            service_addresses(w, &it.tagged_addresses);
        }
        w.key("Weights");
        weights(w, it.weights);
        w.boolean_field("EnableTagOverride", it.enable_tag_override);
        if let Some(hash) = content_hash {
            w.string_field("ContentHash", hash);
        }
        let proxy = it.proxy.as_ref().filter(|_| !it.is_typical());
        if let Some(fields) = proxy.and_then(|it| it.as_object()) {
            w.key("Proxy");
            w.object(|w| w.fields(&show_fields(&AGENT_PROXY, fields)));
        }
        if it.connect_native {
            w.key("Connect");
            connect(w, it);
        }
        w.string_field("Datacenter", datacenter);
        if let Some(it) = &it.locality {
            w.key("Locality");
            locality(w, it);
        }
    });
}

/// A check with what is shown of it beside its record.
#[derive(Clone, Copy)]
pub(super) struct CheckView<'a> {
    pub(super) check: &'a Check,
    /// The instance that it belongs to; `None` for a check of the node.
    pub(super) owner: Option<&'a Instance>,
    pub(super) created: Revision,
    pub(super) modified: Revision,
}

impl<'a> CheckView<'a> {
    /// As the catalog has it.
    pub(super) fn stored(check: &'a Stored<Check>, owner: Option<&'a Instance>) -> Self {
        Self { check: &check.value, owner, created: check.created, modified: check.modified }
    }

    /// As the agent shows its own, which have no revision.
    pub(super) fn local(check: &'a Check, owner: Option<&'a Instance>) -> Self {
        Self { check, owner, created: Revision(0), modified: Revision(0) }
    }

    /// What a filter sees of it.
    pub(super) fn row(&self) -> CheckRow<'a> {
        CheckRow { check: self.check, instance: self.owner }
    }
}

/// Go's `structs.HealthCheck`.
pub(super) fn check(w: &mut JsonWriter, it: &CheckView<'_>) {
    check_with(w, it, |w| w.strings_field("ServiceTags", it.owner.into_iter().flat_map(tags)));
}

/// As [`check`], of a transaction: no tags are `null` there.
pub(super) fn check_of_txn(w: &mut JsonWriter, it: &CheckView<'_>) {
    check_with(w, it, |w| match it.owner.filter(|owner| !owner.tags.is_empty()) {
        Some(owner) => w.strings_field("ServiceTags", tags(owner)),
        None => {
            w.key("ServiceTags");
            w.null();
        }
    });
}

fn check_with(w: &mut JsonWriter, it: &CheckView<'_>, tags: impl FnOnce(&mut JsonWriter)) {
    w.object(|w| {
        check_head(w, it);
        tags(w);
        w.string_field("Type", &it.check.kind);
        w.string_field("Interval", &check_duration(it.check, |definition| definition.interval));
        w.string_field("Timeout", &check_duration(it.check, |definition| definition.timeout));
        w.number_field("ExposedPort", 0u32);
        w.key("Definition");
        w.object(|w| {
            // What an agent runs is its own affair; only the catalog's definitions are for others to read.
            if let (Origin::Catalog, Some(it)) = (it.check.origin, &it.check.definition) {
                definition(w, it);
            }
        });
        indexes(w, it.created, it.modified);
    });
}

/// Go's `api.HealthCheck` as `agent/health` fills it: without type, definition and revisions.
pub(super) fn agent_health_check(w: &mut JsonWriter, it: &CheckView<'_>) {
    w.object(|w| {
        check_head(w, it);
        w.strings_field("ServiceTags", it.owner.into_iter().flat_map(tags));
        w.string_field("Type", "");
        w.number_field("ExposedPort", 0u32);
        w.key("Definition");
        w.object(|w| {
            for name in ["Interval", "Timeout", "DeregisterCriticalServiceAfter"] {
                w.string_field(name, "0s");
            }
            w.string_field("HTTP", "");
            w.key("Header");
            w.null();
            for name in ["Method", "Body", "TLSServerName"] {
                w.string_field(name, "");
            }
            w.boolean_field("TLSSkipVerify", false);
            w.string_field("TCP", "");
            w.boolean_field("TCPUseTLS", false);
            for name in ["UDP", "GRPC", "OSService"] {
                w.string_field(name, "");
            }
            w.boolean_field("GRPCUseTLS", false);
        });
        indexes(w, Revision(0), Revision(0));
    });
}

fn check_head(w: &mut JsonWriter, it: &CheckView<'_>) {
    w.string_field("Node", it.check.node.as_str());
    w.string_field("CheckID", it.check.id.as_str());
    w.string_field("Name", &it.check.name);
    w.string_field("Status", it.check.status.as_str());
    w.string_field("Notes", &it.check.notes);
    w.string_field("Output", &it.check.output);
    w.string_field("ServiceID", it.check.service_id.as_str());
    w.string_field("ServiceName", it.owner.map_or("", |owner| owner.service.as_str()));
}

/// Go's `structs.HealthCheckDefinition`: three of its durations are texts and come first, `TTL` is a number.
fn definition(w: &mut JsonWriter, it: &CheckDefinition) {
    duration_if_any(w, "Interval", it.interval);
    if it.output_bytes_max > 0 {
        w.number_field("OutputMaxSize", it.output_bytes_max);
    }
    duration_if_any(w, "Timeout", it.timeout);
    let reap_after = it.deregister_critical_service_after;
    duration_if_any(w, "DeregisterCriticalServiceAfter", reap_after);
    w.string_field_if_any("HTTP", &it.http);
    w.string_field_if_any("TLSServerName", &it.tls_server_name);
    w.boolean_field_if_true("TLSSkipVerify", it.tls_skip_verify);
    if !it.header.is_empty() {
        w.key("Header");
        w.object(|w| {
            for (name, values) in it.header.iter() {
                w.map_key(name);
                w.array(|w| values.iter().for_each(|value| w.string(value)));
            }
        });
    }
    w.string_field_if_any("Method", &it.method);
    w.string_field_if_any("Body", &it.body);
    w.boolean_field_if_true("DisableRedirects", it.disable_redirects);
    w.string_field_if_any("TCP", &it.tcp);
    w.boolean_field_if_true("TCPUseTLS", it.tcp_use_tls);
    w.string_field_if_any("UDP", &it.udp);
    w.string_field_if_any("H2PING", &it.h2ping);
    w.string_field_if_any("OSService", &it.os_service);
    w.boolean_field_if_true("H2PingUseTLS", it.h2ping_use_tls);
    if !it.args.is_empty() {
        w.strings_field("ScriptArgs", it.args.iter().map(String::as_str));
    }
    w.string_field_if_any("DockerContainerID", &it.docker_container_id);
    w.string_field_if_any("Shell", &it.shell);
    w.string_field_if_any("GRPC", &it.grpc);
    w.boolean_field_if_true("GRPCUseTLS", it.grpc_use_tls);
    w.string_field_if_any("AliasNode", &it.alias_node);
    w.string_field_if_any("AliasService", &it.alias_service);
    if !it.ttl.is_zero() {
        w.number_field("TTL", u64::try_from(it.ttl.as_nanos()).unwrap_or(u64::MAX));
    }
}

fn duration_if_any(w: &mut JsonWriter, name: &'static str, time: Duration) {
    if !time.is_zero() {
        w.string_field(name, &go::format_duration(time));
    }
}

fn tags(it: &Instance) -> impl Iterator<Item = &str> {
    it.tags.iter().map(String::as_str)
}

pub(super) fn texts_or_null(w: &mut JsonWriter, map: Option<&FlatMap<String>>) {
    match map {
        Some(_) => texts(w, map),
        None => w.null(),
    }
}

fn texts(w: &mut JsonWriter, map: Option<&FlatMap<String>>) {
    w.object(|w| {
        for (key, value) in map.iter().flat_map(|map| map.iter()) {
            w.map_key(key);
            w.string(value);
        }
    });
}

fn service_addresses(w: &mut JsonWriter, addresses: &FlatMap<ServiceAddress>) {
    w.object(|w| {
        for (role, it) in addresses.iter() {
            w.map_key(role);
            w.object(|w| {
                w.string_field("Address", &it.address);
                w.number_field("Port", it.port);
            });
        }
    });
}

fn weights(w: &mut JsonWriter, it: Weights) {
    w.object(|w| {
        w.number_field("Passing", it.passing);
        w.number_field("Warning", it.warning);
    });
}

fn locality(w: &mut JsonWriter, it: &Locality) {
    w.object(|w| {
        w.string_field_if_any("Region", &it.region);
        w.string_field_if_any("Zone", &it.zone);
    });
}

/// Go's `structs.ConnectProxyConfig`; that of an instance that is no proxy says nothing.
fn proxy(w: &mut JsonWriter, it: &Instance) {
    static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    let fields = it.proxy.as_ref().and_then(|it| it.as_object()).unwrap_or(&NOTHING);
    w.object(|w| w.fields(&show_fields(&PROXY, fields)));
}

fn connect(w: &mut JsonWriter, it: &Instance) {
    w.object(|w| w.boolean_field_if_true("Native", it.connect_native));
}

fn indexes(w: &mut JsonWriter, created: Revision, modified: Revision) {
    w.number_field("CreateIndex", created.0);
    w.number_field("ModifyIndex", modified.0);
}
