//! The way of a request to a service: through its router, splitters and resolvers, to targets. What Consul calls a
//! discovery chain.

mod compile;
mod flatten;
mod show;
mod walk;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Lookup;
use crate::view::Subset;

/// The only namespace and partition.
pub(crate) const DEFAULT: &str = "default";

/// Where a chain is looked at from.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Datacenter.
    pub datacenter: &'a str,
    /// What names in certificates end with.
    pub trust_domain: &'a str,
}

/// What a proxy says otherwise than the entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overrides {
    /// Through which gateways; empty: as the entries say.
    pub mesh_gateway: String,
    /// What is spoken; empty: as the entries say. What has no requests leaves routers and splitters out.
    pub protocol: String,
    /// Limit for opening a connection, nanoseconds; 0: as the entries say.
    pub connect_timeout: i64,
}

/// Why entries make no chain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChainError {
    /// Services of one chain speak differently.
    #[error(
        "discovery chain \"{chain}\" uses inconsistent protocols; service \"{service}\" has \"{protocol}\" which is not \"{others}\""
    )]
    Protocols {
        /// The service whose chain it is.
        chain: String,
        /// The one that differs.
        service: String,
        /// What it speaks.
        protocol: String,
        /// What the others speak.
        others: String,
    },
    /// A router or splitter of a service without requests.
    #[error(
        "discovery chain \"{chain}\" uses a protocol \"{protocol}\" that does not permit advanced routing or splitting behavior"
    )]
    NoRequests {
        /// The service whose chain it is.
        chain: String,
        /// What is spoken.
        protocol: String,
    },
    /// A way that leads back to itself.
    #[error("detected circular reference: [{}]", .0.join(" -> "))]
    Circle(Vec<String>),
    /// Redirects that lead back to where they began.
    #[error("detected circular resolver redirect: [{}]", .0.join(" -> "))]
    RedirectCircle(Vec<String>),
    /// A subset that its service does not have.
    #[error("service \"{service}\" does not have a subset named \"{subset}\"")]
    SubsetMissing {
        /// The service.
        service: String,
        /// The subset.
        subset: String,
    },
    /// A service outside of the mesh that is resolved as one inside.
    #[error(
        "service \"{service}\" has an external SNI set; cannot define {what} for external services"
    )]
    External {
        /// The service.
        service: String,
        /// What it may not have.
        what: &'static str,
    },
    /// It is too large.
    #[error(
        "discovery chain \"{0}\" is too large: at most 64 splitters may follow each other, and 4096 nodes or splits be in it"
    )]
    TooLarge(String),
}

/// A chain.
#[derive(Clone, PartialEq, Debug)]
pub struct Chain {
    /// The service whose chain it is.
    pub service: String,
    /// Where it is looked at from.
    pub datacenter: String,
    /// What is spoken, in lower case.
    pub protocol: String,
    /// Tells chains with overrides apart; empty without.
    pub customization_hash: String,
    /// No router, no splitter, and nothing said of how the service is resolved.
    pub is_default: bool,
    /// Where it begins.
    pub start: String,
    /// Its nodes, by their keys.
    pub nodes: BTreeMap<String, ChainNode>,
    /// Its targets, by their ids.
    pub targets: BTreeMap<String, ChainTarget>,
    /// `Meta` of the service's own entry.
    meta: Map<String, Value>,
    /// Patches of Envoy's resources.
    envoy_extensions: Vec<Value>,
}

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub struct ChainNode {
    /// Its name, without its kind.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// How instances are picked behind it, as its entry says.
    pub load_balancer: Option<Value>,
}

/// What a node does.
#[derive(Clone, PartialEq, Debug)]
pub enum NodeKind {
    /// Chooses by what the request is.
    Router(Vec<ChainRoute>),
    /// Chooses by chance.
    Splitter(Vec<ChainSplit>),
    /// Names a target.
    Resolver(ChainResolver),
}

/// A route of a router; the last one is for all that no other took.
#[derive(Clone, PartialEq, Debug)]
pub struct ChainRoute {
    /// As the entry defines it.
    pub definition: Value,
    /// Key of the node behind it.
    pub next: String,
}

/// A share of a splitter.
#[derive(Clone, PartialEq, Debug)]
pub struct ChainSplit {
    /// As the entry defines it, with what splitters before it say.
    pub definition: Value,
    /// Hundredths of a percent.
    pub weight: i64,
    /// Key of the node behind it.
    pub next: String,
}

/// A resolved target.
#[derive(Clone, PartialEq, Debug)]
pub struct ChainResolver {
    /// No entry says anything of how it is resolved.
    pub is_default: bool,
    /// Limit for opening a connection, nanoseconds.
    pub connect_timeout: i64,
    /// Limit for a request, nanoseconds; 0: none is given.
    pub request_timeout: i64,
    /// Id of the target.
    pub target: String,
    /// Where to go when nothing works there.
    pub failover: Option<ChainFailover>,
}

/// Targets that are tried in this order.
#[derive(Clone, PartialEq, Debug)]
pub struct ChainFailover {
    /// Their ids.
    pub targets: Vec<String>,
    /// In which order, as an entry says.
    pub policy: Option<Value>,
}

/// Instances that requests may go to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ChainTarget {
    /// Its id: the other names with dots between them.
    pub id: String,
    /// Service.
    pub service: String,
    /// Subset; empty for all.
    pub subset: String,
    /// Datacenter; empty for one in a cluster peer.
    pub datacenter: String,
    /// Cluster peer; empty for none.
    pub peer: String,
    /// Which instances are of the subset.
    pub definition: Subset,
    /// Through which gateways.
    pub mesh_gateway: String,
    /// Instances may be called at their own addresses.
    pub dialed_directly: bool,
    /// Limit for opening a connection, nanoseconds.
    pub connect_timeout: i64,
    /// It is outside of the mesh.
    pub is_external: bool,
    /// Name that is asked for in TLS.
    pub sni: String,
    /// Name that it has among load balancers.
    pub name: String,
}

impl Chain {
    /// The chain of a service.
    ///
    /// # Errors
    /// When the entries that are there make none. The registry accepts no such entries.
    pub fn compile(
        lookup: &dyn Lookup,
        service: &str,
        scope: Scope<'_>,
        overrides: &Overrides,
    ) -> Result<Self, ChainError> {
        compile::compile(lookup, service, scope, overrides)
    }

    /// The chain as Consul shows it.
    #[must_use]
    pub fn show(&self) -> Value {
        show::show(self)
    }
}

impl ChainNode {
    /// Its key among the nodes.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}:{}", self.kind.word(), self.name)
    }
}

impl NodeKind {
    fn word(&self) -> &'static str {
        match self {
            NodeKind::Router(_) => "router",
            NodeKind::Splitter(_) => "splitter",
            NodeKind::Resolver(_) => "resolver",
        }
    }

    /// Keys of the nodes behind it.
    fn next(&self) -> Vec<&str> {
        match self {
            NodeKind::Router(routes) => routes.iter().map(|it| it.next.as_str()).collect(),
            NodeKind::Splitter(splits) => splits.iter().map(|it| it.next.as_str()).collect(),
            NodeKind::Resolver(_) => Vec::new(),
        }
    }
}
