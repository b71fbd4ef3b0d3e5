use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{CheckId, FlatMap, NodeName, Origin, ServiceId, Timestamp, duration_ns};

/// What the id of a check begins with that says what proxies see of an instance.
const SIGHTINGS: &str = "_leno_sightings:";

/// A check of a node or of one of its instances: the latest verdict and how it is found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// Node that it belongs to.
    pub node: NodeName,
    /// Id, unique on the node.
    pub id: CheckId,
    /// Human name.
    pub name: String,
    /// Verdict.
    pub status: CheckStatus,
    /// Notes for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Output of the run that led to the verdict, at most 4 KiB.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Instance that it belongs to; empty for a check of the node.
    #[serde(skip_serializing_if = "ServiceId::is_empty")]
    pub service_id: ServiceId,
    /// Kind, as Consul's `Type` names it (`http`, `ttl`, `maintenance`, … or empty).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// What to run and how to judge it; `None` when there is nothing to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Arc<CheckDefinition>>,
    /// Which door it came through.
    pub origin: Origin,
    /// When the verdict last changed.
    pub since: Timestamp,
}

impl Check {
    /// True for the check that takes an instance, or a whole node, out of use because an operator, or a supervisor that is
    /// about to stop it, says so.
    #[must_use]
    pub fn is_maintenance(&self) -> bool {
        let id = self.id.as_str();
        id == "_node_maintenance" || id.starts_with("_service_maintenance:")
    }

    /// True for the check that takes an instance out of use because of what proxies see of it.
    #[must_use]
    pub fn is_sightings(&self) -> bool {
        self.id.as_str().starts_with(SIGHTINGS)
    }

    /// Id of that check of an instance.
    #[must_use]
    pub fn sightings_id(instance: &ServiceId) -> CheckId {
        format!("{SIGHTINGS}{instance}").into()
    }
}

/// Verdict of one check.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Works.
    Passing,
    /// Works, with doubts: still used, with its warning weight.
    Warning,
    /// Does not work, or is not known to work: not used.
    #[default]
    Critical,
}

impl CheckStatus {
    /// The word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CheckStatus::Passing => "passing",
            CheckStatus::Warning => "warning",
            CheckStatus::Critical => "critical",
        }
    }

    /// Reads the word used on the wire; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "passing" => Some(CheckStatus::Passing),
            "warning" => Some(CheckStatus::Warning),
            "critical" => Some(CheckStatus::Critical),
            _ => None,
        }
    }
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a check runs and how its results are judged. All durations zero when not given; a runner uses the
/// defaults of Consul 1.21 (interval ≥ 1 s, timeout 10 s, 30 s for scripts).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // The fields are Consul's, one to one; see docs/consul.md.
pub struct CheckDefinition {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub http: String,
    #[serde(skip_serializing_if = "FlatMap::is_empty")]
    pub header: FlatMap<Vec<String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable_redirects: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tcp: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tcp_use_tls: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub udp: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub grpc: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub grpc_use_tls: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub h2ping: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub h2ping_use_tls: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tls_server_name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_skip_verify: bool,
    /// Command and arguments; empty means no script.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub docker_container_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub shell: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os_service: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias_node: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias_service: String,
    #[serde(with = "duration_ns", skip_serializing_if = "Duration::is_zero")]
    pub interval: Duration,
    #[serde(with = "duration_ns", skip_serializing_if = "Duration::is_zero")]
    pub timeout: Duration,
    #[serde(with = "duration_ns", skip_serializing_if = "Duration::is_zero")]
    pub ttl: Duration,
    #[serde(with = "duration_ns", skip_serializing_if = "Duration::is_zero")]
    pub deregister_critical_service_after: Duration,
    /// Consecutive successes needed to become passing; 0 and 1 both mean at once.
    pub success_before_passing: u32,
    /// Consecutive failures needed to become warning; 0 means as `failures_before_critical`.
    pub failures_before_warning: u32,
    /// Consecutive failures needed to become critical; 0 and 1 both mean at once.
    pub failures_before_critical: u32,
    /// Bytes of output kept; 0 means 4096, which is also the most.
    pub output_bytes_max: u32,
}

impl CheckDefinition {
    /// What kind of check this is, by the field that is set; `None` when nothing is to be run.
    #[must_use]
    pub fn check_type(&self) -> Option<CheckType> {
        let set = |text: &str| !text.is_empty();
        if set(&self.http) {
            Some(CheckType::Http)
        } else if set(&self.tcp) {
            Some(CheckType::Tcp)
        } else if set(&self.udp) {
            Some(CheckType::Udp)
        } else if set(&self.grpc) {
            Some(CheckType::Grpc)
        } else if set(&self.h2ping) {
            Some(CheckType::H2Ping)
        } else if set(&self.docker_container_id) {
            Some(CheckType::Docker)
        } else if !self.args.is_empty() {
            Some(CheckType::Script)
        } else if set(&self.os_service) {
            Some(CheckType::OsService)
        } else if set(&self.alias_node) || set(&self.alias_service) {
            Some(CheckType::Alias)
        } else if !self.ttl.is_zero() {
            Some(CheckType::Ttl)
        } else {
            None
        }
    }
}

/// Kinds of checks that a [`CheckDefinition`] can describe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The names say it.
pub enum CheckType {
    Http,
    Tcp,
    Udp,
    Grpc,
    H2Ping,
    Docker,
    Script,
    OsService,
    Alias,
    Ttl,
}

impl CheckType {
    /// Consul's word for it (`Type` of a check).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CheckType::Http => "http",
            CheckType::Tcp => "tcp",
            CheckType::Udp => "udp",
            CheckType::Grpc => "grpc",
            CheckType::H2Ping => "h2ping",
            CheckType::Docker => "docker",
            CheckType::Script => "script",
            CheckType::OsService => "os_service",
            CheckType::Alias => "alias",
            CheckType::Ttl => "ttl",
        }
    }
}
