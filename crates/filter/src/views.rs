//! The nouns of the model as rows, under the field names of Consul's Go structs.

use std::time::Duration;

use model::{Check, CheckDefinition, FlatMap, Instance, Node, Origin, Weights};

use super::fields::Fields;
use super::row::{Row, Value};
use model::go;

/// Row of `catalog/nodes`; schema [`super::NODE`].
#[derive(Clone, Copy)]
pub struct NodeRow<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its datacenter.
    pub datacenter: &'a str,
}

impl Row for NodeRow<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        node_field(self.node, self.datacenter, name)
    }
}

/// Row of `catalog/service` and `catalog/services`; schema [`super::SERVICE_NODE`].
#[derive(Clone, Copy)]
pub struct ServiceNodeRow<'a> {
    /// The instance's node.
    pub node: &'a Node,
    /// Its datacenter.
    pub datacenter: &'a str,
    /// The instance.
    pub instance: &'a Instance,
}

impl Row for ServiceNodeRow<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        match name {
            "NodeMeta" => map(self.node.meta.as_ref()),
            "ServiceName" => Value::Str(self.instance.service.as_str()),
            "PeerName" => Value::Zero,
            _ => match name.strip_prefix("Service") {
                Some(field) => instance_field(self.instance, field),
                None => node_field(self.node, self.datacenter, name),
            },
        }
    }
}

/// Service of `catalog/node`, `catalog/node-services` and `agent/services`; schemas [`super::NODE_SERVICE`] and
/// [`super::AGENT_SERVICE`].
#[derive(Clone, Copy)]
pub struct NodeServiceRow<'a> {
    /// The instance.
    pub instance: &'a Instance,
}

impl Row for NodeServiceRow<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        match name {
            "Service" => Value::Str(self.instance.service.as_str()),
            _ => instance_field(self.instance, name),
        }
    }
}

/// Check of `health/checks`, `health/node`, `health/state`, `agent/checks`; schema [`super::HEALTH_CHECK`].
#[derive(Clone, Copy)]
pub struct CheckRow<'a> {
    /// The check.
    pub check: &'a Check,
    /// The instance that it belongs to, if to one.
    pub instance: Option<&'a Instance>,
}

impl Row for CheckRow<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        let Self { check, instance } = *self;
        match name {
            "Node" => Value::Str(check.node.as_str()),
            "CheckID" => Value::Str(check.id.as_str()),
            "Name" => Value::Str(&check.name),
            "Status" => Value::Str(check.status.as_str()),
            "Notes" => Value::Str(&check.notes),
            "Output" => Value::Str(&check.output),
            "ServiceID" => Value::Str(check.service_id.as_str()),
            "ServiceName" => instance.map_or(Value::Zero, |it| Value::Str(it.service.as_str())),
            "ServiceTags" => instance.map_or(Value::Zero, |it| Value::Strings(&it.tags)),
            "Type" => Value::Str(&check.kind),
            "Interval" => Value::Text(check_duration(check, |definition| definition.interval)),
            "Timeout" => Value::Text(check_duration(check, |definition| definition.timeout)),
            _ => Value::Zero,
        }
    }
}

/// `Interval` or `Timeout` of a check as responses show it: only checks of an agent show any, and one that is not set
/// is `0s` for a check that was registered alone, and empty for one that belongs to a service.
#[must_use]
pub fn check_duration(check: &Check, which: impl Fn(&CheckDefinition) -> Duration) -> String {
    match (&check.definition, check.origin) {
        (Some(definition), Origin::Agent) => {
            let value = which(definition);
            let is_alone = check.service_id.is_empty();
            if value.is_zero() && !is_alone { String::new() } else { go::format_duration(value) }
        }
        (Some(_), Origin::Catalog) | (None, Origin::Agent | Origin::Catalog) => String::new(),
    }
}

/// Row of `health/service`; schema [`super::CHECK_SERVICE_NODE`].
#[derive(Clone, Copy)]
pub struct HealthRow<'a> {
    /// The instance's node.
    pub node: &'a Node,
    /// Its datacenter.
    pub datacenter: &'a str,
    /// The instance.
    pub instance: &'a Instance,
    /// Checks of the node and of the instance.
    pub checks: &'a [&'a Check],
}

impl Row for HealthRow<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        let Self { node, datacenter, instance, checks } = *self;
        match name {
            "Node" => Value::Struct(Box::new(NodeRow { node, datacenter })),
            "Service" => Value::Struct(Box::new(NodeServiceRow { instance })),
            "Checks" => Value::Structs(
                checks
                    .iter()
                    .map(|check| {
                        let of = Some(instance).filter(|it| it.id == check.service_id);
                        Box::new(CheckRow { check, instance: of }) as Box<dyn Row>
                    })
                    .collect(),
            ),
            _ => Value::Zero,
        }
    }
}

/// Row of `agent/members`; schema [`super::MEMBER`].
#[derive(Clone, Copy)]
pub struct MemberRow<'a> {
    /// Name of the node.
    pub name: &'a str,
    /// Its address.
    pub address: &'a str,
    /// Its gossip port.
    pub port: u16,
    /// Its tags.
    pub tags: &'a FlatMap<String>,
    /// Its status: 1 alive, 2 leaving, 3 left, 4 failed.
    pub status: u8,
}

impl Row for MemberRow<'_> {
    fn field(&self, name: &str) -> Value<'_> {
        match name {
            "Name" => Value::Str(self.name),
            "Addr" => Value::Str(self.address),
            "Port" => Value::Int(self.port.into()),
            "Tags" => Value::StringMap(self.tags),
            "Status" => Value::Int(self.status.into()),
            // The versions of the gossip protocol that Consul 1.21 speaks.
            "ProtocolMin" => Value::Int(1),
            "ProtocolMax" | "DelegateMax" => Value::Int(5),
            "ProtocolCur" | "DelegateMin" => Value::Int(2),
            "DelegateCur" => Value::Int(4),
            _ => Value::Zero,
        }
    }
}

fn node_field<'a>(node: &'a Node, datacenter: &'a str, name: &str) -> Value<'a> {
    match name {
        "ID" => Value::Str(&node.id),
        "Node" => Value::Str(node.name.as_str()),
        "Address" => Value::Str(&node.address),
        "Datacenter" => Value::Str(datacenter),
        "TaggedAddresses" => map(node.tagged_addresses.as_ref()),
        "Meta" => map(node.meta.as_ref()),
        _ => Value::Zero,
    }
}

/// Fields that a service has under the same name everywhere.
fn instance_field<'a>(instance: &'a Instance, name: &str) -> Value<'a> {
    match name {
        "Kind" => Value::Str(&instance.kind),
        "ID" => Value::Str(instance.id.as_str()),
        "Tags" => Value::Strings(&instance.tags),
        "Address" => Value::Str(&instance.address),
        "TaggedAddresses" => Value::StructMap(&instance.tagged_addresses),
        "Meta" => map(instance.meta.as_ref()),
        "Port" => Value::Int(instance.port.into()),
        "SocketPath" => Value::Str(&instance.socket_path),
        "Weights" => Value::Struct(Box::new(instance.weights)),
        "EnableTagOverride" => Value::Bool(instance.enable_tag_override),
        "Proxy" => match instance.proxy.as_ref().and_then(|it| it.as_object()) {
            Some(fields) => Value::Struct(Box::new(Fields(fields))),
            None => Value::Zero,
        },
        "Connect" => Value::Struct(Box::new(ConnectRow { native: instance.connect_native })),
        _ => Value::Zero,
    }
}

fn map(map: Option<&FlatMap<String>>) -> Value<'_> {
    map.map_or(Value::Zero, Value::StringMap)
}

impl Row for Weights {
    fn field(&self, name: &str) -> Value<'_> {
        match name {
            "Passing" => Value::Int(self.passing.into()),
            "Warning" => Value::Int(self.warning.into()),
            _ => Value::Zero,
        }
    }
}

struct ConnectRow {
    native: bool,
}

impl Row for ConnectRow {
    fn field(&self, name: &str) -> Value<'_> {
        match name {
            "Native" => Value::Bool(self.native),
            _ => Value::Zero,
        }
    }
}
