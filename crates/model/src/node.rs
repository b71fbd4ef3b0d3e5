use serde::{Deserialize, Serialize};

use crate::{FlatMap, Locality, NodeName};

/// A machine (or a stand-in for one) that instances run on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// UUID of the node; empty when it was registered without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Unique name, compared without regard to letter case.
    pub name: NodeName,
    /// IP address or host name at which its instances are reached unless they give their own.
    pub address: String,
    /// Addresses by role (`lan`, `wan`, `lan_ipv4`, …); `None` when registered without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tagged_addresses: Option<FlatMap<String>>,
    /// Free metadata; `None` when registered without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<FlatMap<String>>,
    /// Region and zone, if told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
}
