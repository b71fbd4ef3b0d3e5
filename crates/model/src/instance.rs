use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FlatMap, NodeName, ServiceId, ServiceName};

/// One running copy of a service: what a balancer may pick.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// Node that it runs on.
    pub node: NodeName,
    /// Id, unique on the node.
    pub id: ServiceId,
    /// Service that it is a copy of.
    pub service: ServiceName,
    /// Consul's kind (`connect-proxy`, …); empty for an ordinary service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Tags in the order given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// IP address or host name; empty means the node's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Addresses by role (`lan_ipv4`, `wan`, …).
    #[serde(skip_serializing_if = "FlatMap::is_empty")]
    pub tagged_addresses: FlatMap<ServiceAddress>,
    /// Free metadata; `None` when registered without any. Also the labels that a selector matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<FlatMap<String>>,
    /// Port; 0 means none.
    pub port: u16,
    /// Unix socket path instead of address and port; empty means none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// Weights by health.
    pub weights: Weights,
    /// Consul's flag: the catalog's tags win over the agent's.
    pub enable_tag_override: bool,
    /// True for `Connect.Native`.
    pub connect_native: bool,
    /// What a proxy or gateway says of itself: Consul's `Proxy`, an object in the letter case of its API. `None` for
    /// others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Arc<Value>>,
    /// The instance that this one was registered with as its sidecar, and goes with; empty for none.
    #[serde(skip_serializing_if = "ServiceId::is_empty")]
    pub sidecar_of: ServiceId,
    /// Region and zone, if told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// Which door it came through.
    pub origin: Origin,
}

/// Kind of a proxy in front of an instance of a service.
const PROXY: &str = "connect-proxy";

impl Instance {
    /// What proxies call it: `node/id`.
    #[must_use]
    pub fn endpoint_id(&self) -> String {
        format!("{}/{}", self.node, self.id)
    }

    /// The service that callers in the mesh reach through it: its own when it speaks mutual TLS itself, or the one that
    /// it is a proxy for.
    #[must_use]
    pub fn mesh_service(&self) -> Option<&str> {
        if self.connect_native {
            return Some(self.service.as_str());
        }
        let proxy = self.proxy.as_ref().filter(|_| self.kind == PROXY)?;
        proxy.get("DestinationServiceName")?.as_str().filter(|it| !it.is_empty())
    }

    /// Whether it is neither a proxy nor a gateway.
    #[must_use]
    pub fn is_typical(&self) -> bool {
        matches!(self.kind.as_str(), "" | "typical")
    }

    /// The labels that a selector is matched against: metadata, then `app` (the service's name), then
    /// tags of the form `key=value`. Metadata wins over `app`, and both over tags.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        if let Some(value) = self.meta.as_ref().and_then(|meta| meta.get(key)) {
            return Some(value);
        }
        if key == "app" {
            return Some(self.service.as_str());
        }
        self.tags
            .iter()
            .find_map(|tag| tag.split_once('=').filter(|(k, _)| *k == key).map(|(_, v)| v))
    }

    /// Its version: the label `label`, or else the first of its tags that is known to be a version, or else the empty one.
    #[must_use]
    pub fn version(&self, label: &str, is_known: impl Fn(&str) -> bool) -> &str {
        let bare_tag = || self.tags.iter().map(String::as_str).find(|it| is_known(it));
        self.label(label).or_else(bare_tag).unwrap_or_default()
    }
}

/// An address with a port, as in Consul's tagged addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// How much of the traffic an instance takes, relative to the others of its service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Weights {
    /// While its verdict is passing. 1 to 65535.
    pub passing: u16,
    /// While its verdict is warning. 0 to 65535.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// Where an instance or node is, for locality-aware balancing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Locality {
    /// Region, for example `eu-west-1`.
    pub region: String,
    /// Zone, for example `eu-west-1a`.
    pub zone: String,
}

/// Which door an object came through, and so who owns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Registered with the agent of its node, which runs its checks.
    Agent,
    /// Registered in the catalog from outside; nobody here probes it.
    #[default]
    Catalog,
}
