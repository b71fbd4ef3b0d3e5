use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{RolloutSpec, WorkloadSpec};

/// What a document asks for, in our own words. Foreign forms (three versions of Ingress, …) end in the room
/// `manifests`, which reads them into this.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spec {
    /// A name that callers use, in front of instances chosen by labels.
    Service(ServiceSpec),
    /// Routes from outside to services.
    Ingress(IngressSpec),
    /// Confidential data, for example a certificate with its key.
    Secret(SecretSpec),
    /// A process to supervise.
    Workload(Box<WorkloadSpec>),
    /// Which version of a service that others run gets its requests.
    Rollout(Box<RolloutSpec>),
}

/// A Kubernetes-style service.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// Labels that an instance must have, all of them. Empty selects nothing.
    pub selector: BTreeMap<String, String>,
    /// Ports that callers use.
    pub ports: Vec<PortSpec>,
    /// Word for the balancing policy (`random`, `round-robin`, `weighted`, `least-request`), already checked;
    /// `None` means the default.
    pub balancing: Option<String>,
    /// Host name outside that it stands for, instead of instances (`type: ExternalName`).
    pub external_name: Option<String>,
    /// Address of this machine at which its only raw TCP port is reached (annotation `leno.dev/listen`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

/// One port of a service.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PortSpec {
    /// Name; empty when the only port has none.
    pub name: String,
    /// Port that callers use, 1 to 65535.
    pub port: u16,
    /// Port of the instances. A number picks the instances that are registered with it; where there are none,
    /// all, on the ports that they registered. A name picks the port in an instance's metadata `port-<name>`, or
    /// else its registered port, as does the empty name, which stands for "not given".
    pub target: PortRef,
    /// True when it carries bytes rather than HTTP (`appProtocol: tcp`).
    pub raw_tcp: bool,
    /// True when it speaks HTTP/2 without TLS (`appProtocol: kubernetes.io/h2c` or `grpc`, or a name `grpc…`).
    pub http2: bool,
}

/// A port by number or by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortRef {
    /// By number, 1 to 65535.
    Number(u16),
    /// By name.
    Name(String),
}

impl Default for PortRef {
    fn default() -> Self {
        PortRef::Name(String::new())
    }
}

/// Routes from outside, the same for all three API versions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IngressSpec {
    /// Backend for requests that no rule matches.
    pub default_backend: Option<Backend>,
    /// Rules.
    pub rules: Vec<IngressRule>,
    /// Certificates by host.
    pub tls: Vec<IngressTls>,
    /// Add `x-envoy-upstream-service-time` and `x-request-id` to the response head
    /// (annotation `envoy.insert_header`).
    pub timing_headers: bool,
    /// Send `x-envoy-upstream-service-time` as a trailer (annotation `envoy.insert_footer`).
    pub timing_trailer: bool,
}

/// The paths of one host.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IngressRule {
    /// Host in lower case, `*.example.com`, or empty for any.
    pub host: String,
    /// Paths as written.
    pub paths: Vec<IngressPath>,
}

/// One path of an ingress rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IngressPath {
    /// Path, starts with `/`.
    pub path: String,
    /// How it is matched.
    pub kind: PathKind,
    /// Where it leads.
    pub backend: Backend,
}

/// How the path of an ingress rule is matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathKind {
    /// The whole path.
    Exact,
    /// Whole segments.
    Prefix,
    /// `ImplementationSpecific`, and the versions before path types: here as `Prefix`.
    Implementation,
}

/// A service and its port, as an ingress names them; the namespace is the ingress's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backend {
    /// Name of the service document.
    pub service: String,
    /// Port of that document, by number or name.
    pub port: PortRef,
}

/// Certificate for hosts of an ingress.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IngressTls {
    /// Hosts in lower case; empty means all hosts of the rules.
    pub hosts: Vec<String>,
    /// Name of the secret document, same namespace.
    pub secret: String,
}

/// Confidential data by name.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretSpec {
    /// `type` as written, for example `kubernetes.io/tls`.
    pub kind: String,
    /// For `kubernetes.io/tls`: `tls.crt` and `tls.key`, decoded to text.
    pub data: BTreeMap<String, String>,
}

impl std::fmt::Debug for SecretSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.data.keys().collect();
        f.debug_struct("SecretSpec").field("kind", &self.kind).field("names", &names).finish()
    }
}
