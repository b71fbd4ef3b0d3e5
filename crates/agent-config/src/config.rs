use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// What an agent is told. What is not told is `None`, or empty: the agent knows its own defaults.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AgentConfig {
    /// Name of the node.
    pub node_name: Option<String>,
    /// UUID of the node.
    pub node_id: Option<String>,
    /// Metadata of the node.
    pub node_meta: Vec<(String, String)>,
    /// Datacenter, in lower case.
    pub datacenter: Option<String>,
    /// Folder for data.
    pub data_dir: Option<PathBuf>,
    /// Nothing is kept on disk, and what `-dev` says otherwise.
    pub dev: bool,
    /// `bind_addr`.
    pub bind: Option<IpAddr>,
    /// Address at which others reach the node.
    pub advertise: Option<IpAddr>,
    /// Address that everything listens on that is for clients.
    pub client_addrs: Vec<IpAddr>,
    /// Addresses by what listens there.
    pub addresses: Addresses,
    /// Ports.
    pub ports: Ports,
    /// Region and zone of the node.
    pub locality: Option<(String, String)>,
    /// DNS.
    pub dns: DnsConfig,
    /// HTTP.
    pub http: HttpConfig,
    /// Limits.
    pub limits: Limits,
    /// TLS of the HTTP API.
    pub tls: TlsConfig,
    /// Files of sockets.
    pub unix_sockets: UnixSockets,
    /// Access control.
    pub acl: AclConfig,
    /// Service mesh.
    pub connect: ConnectConfig,
    /// Definitions of services, in Consul's form.
    pub services: Vec<Value>,
    /// Definitions of checks, in Consul's form.
    pub checks: Vec<Value>,
    /// Configuration entries to write at the start, in Consul's form.
    pub config_entries: Vec<Value>,
    /// Checks that run programs may be registered by anybody.
    pub enable_script_checks: bool,
    /// Checks that run programs may stand in these files.
    pub enable_local_script_checks: bool,
    /// Most bytes of a check's output.
    pub check_output_max_size: Option<u64>,
    /// How long a blocking query waits when it does not say.
    pub default_query_time: Option<Duration>,
    /// How long a blocking query may wait.
    pub max_query_time: Option<Duration>,
    /// Shortest TTL of a session.
    pub session_ttl_min: Option<Duration>,
    /// What is logged: a word of Consul.
    pub log_level: Option<String>,
    /// `ui_config.enabled`.
    pub ui: Option<bool>,
    /// Log as JSON.
    pub log_json: bool,
    /// File that the process id is written to.
    pub pid_file: Option<PathBuf>,
    /// Coordinates of nodes are not kept.
    pub disable_coordinates: bool,
    /// Peerings of clusters.
    pub peering_enabled: Option<bool>,
    /// How long metrics are kept for Prometheus; `None` when it is not told.
    pub prometheus_retention: Option<Duration>,
    /// Settings of autopilot, in Consul's form.
    pub autopilot: Option<Value>,
    /// What is Leno's own.
    pub leno: LenoConfig,
}

/// Leno's own section, `leno`. Addresses: `Some(None)` when it is told that there is none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LenoConfig {
    /// Ingress listener.
    pub ingress: Option<Option<SocketAddr>>,
    /// Ingress listener for TLS.
    pub ingress_tls: Option<Option<SocketAddr>>,
    /// Mesh listener for outbound requests.
    pub outbound: Option<Option<SocketAddr>>,
    /// The proxy's admin pages.
    pub proxy_admin: Option<Option<SocketAddr>>,
    /// The UI, with the HTTP API that it uses; where nothing is said, it is served where the HTTP API is.
    pub ui: Option<Option<SocketAddr>>,
    /// Folder of documents to follow.
    pub manifests: Option<PathBuf>,
    /// How long changes of documents are guarded that do not say it, in Go's notation, or `off`.
    pub guard: Option<String>,
    /// The same for documents of these kinds.
    pub guard_kinds: Vec<(String, String)>,
}

/// An address that something listens on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// An IP address; the port stands in [`Ports`].
    Ip(IpAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Addresses by what listens there; empty: as [`AgentConfig::client_addrs`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)] // Consul's own names.
pub struct Addresses {
    pub dns: Vec<Listen>,
    pub http: Vec<Listen>,
    pub https: Vec<Listen>,
}

/// Ports; `Some(None)` when it is told that there is none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)] // Consul's own names.
pub struct Ports {
    pub dns: Option<Option<u16>>,
    pub http: Option<Option<u16>>,
    pub https: Option<Option<u16>>,
    pub serf_lan: Option<Option<u16>>,
    pub serf_wan: Option<Option<u16>>,
    pub server: Option<Option<u16>>,
    pub sidecar_min: Option<Option<u16>>,
    pub sidecar_max: Option<Option<u16>>,
}

/// Rules of DNS.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DnsConfig {
    /// Zone.
    pub domain: Option<String>,
    /// Second zone.
    pub alt_domain: Option<String>,
    /// Servers for other names, `IP` or `IP:PORT`.
    pub recursors: Vec<String>,
    /// How long each of them may take.
    pub recursor_timeout: Option<Duration>,
    /// Instances with warnings are left out.
    pub only_passing: bool,
    /// TTL of records of nodes.
    pub node_ttl: Option<Duration>,
    /// TTLs of records of services.
    pub service_ttl: Vec<(String, Duration)>,
    /// Most address records in an answer.
    pub a_record_limit: Option<u64>,
    /// Most records in a small answer over UDP.
    pub udp_answer_limit: Option<u64>,
    /// A cut answer says so.
    pub enable_truncate: Option<bool>,
    /// Names are written in full.
    pub disable_compression: bool,
    /// Metadata of nodes as TXT records.
    pub node_meta_txt: Option<bool>,
    /// refresh, retry, expire and minimal TTL of the SOA record, in seconds.
    pub soa: [Option<u32>; 4],
}

/// Rules of the HTTP API.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpConfig {
    /// Starts of paths that are not served.
    pub block_endpoints: Vec<String>,
    /// Headers that every response has.
    pub response_headers: Vec<(String, String)>,
    /// Networks (`IP/BITS`) from which writes are taken; empty: all.
    pub allow_write_from: Vec<(IpAddr, u8)>,
    /// Most bytes of a request's head.
    pub max_header_bytes: Option<u64>,
}

/// Limits.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Limits {
    /// Connections of one client address to the HTTP API; 0: no limit.
    pub http_max_conns_per_client: Option<u64>,
    /// How long a TLS handshake may take.
    pub https_handshake_timeout: Option<Duration>,
    /// Most bytes of a value of the key-value store.
    pub kv_max_value_size: Option<u64>,
    /// Most bytes of the body of a transaction.
    pub txn_max_req_len: Option<u64>,
    /// Rates of requests.
    pub rates: RateLimits,
}

/// Rates of requests to the registry.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RateLimits {
    /// What happens beyond a rate.
    pub mode: RateMode,
    /// Reads a second; `None`: no limit.
    pub read_rate: Option<f64>,
    /// Writes a second; `None`: no limit.
    pub write_rate: Option<f64>,
}

/// What happens to requests beyond a rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RateMode {
    /// Nothing.
    #[default]
    Disabled,
    /// They are logged and counted.
    Permissive,
    /// They are refused.
    Enforcing,
}

/// TLS of the HTTP API.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsConfig {
    /// File of the authorities by whom clients' certificates are signed.
    pub ca_file: Option<PathBuf>,
    /// Folder of such files.
    pub ca_path: Option<PathBuf>,
    /// File of our certificate, with its chain.
    pub cert_file: Option<PathBuf>,
    /// File of its key.
    pub key_file: Option<PathBuf>,
    /// Clients must have a certificate.
    pub verify_incoming: bool,
    /// Oldest version that is spoken: `TLSv1_2` or `TLSv1_3`.
    pub min_version: Option<String>,
}

/// Owner and mode of sockets in the file system.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UnixSockets {
    /// User, name or number.
    pub user: Option<String>,
    /// Group, name or number.
    pub group: Option<String>,
    /// Permissions.
    pub mode: Option<u32>,
}

/// Access control.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AclConfig {
    /// It is on.
    pub enabled: bool,
    /// What is allowed where no rule speaks.
    pub default_policy: DefaultPolicy,
    /// Tokens that are set at run time are kept.
    pub enable_token_persistence: bool,
    /// Listing keys needs `list`.
    pub enable_key_list_policy: bool,
    /// Tokens.
    pub tokens: AclTokens,
}

/// What is allowed where no rule speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DefaultPolicy {
    /// All.
    #[default]
    Allow,
    /// Nothing.
    Deny,
}

/// Tokens of the agent. `Debug` shows which there are, not what they are.
#[derive(Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // Consul's own names.
pub struct AclTokens {
    pub initial_management: Option<String>,
    pub agent: Option<String>,
    pub agent_recovery: Option<String>,
    pub default: Option<String>,
    pub replication: Option<String>,
    pub dns: Option<String>,
    pub config_file_service_registration: Option<String>,
}

impl std::fmt::Debug for AclTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let given = [
            ("initial_management", &self.initial_management),
            ("agent", &self.agent),
            ("agent_recovery", &self.agent_recovery),
            ("default", &self.default),
            ("replication", &self.replication),
            ("dns", &self.dns),
            ("config_file_service_registration", &self.config_file_service_registration),
        ];
        f.debug_set().entries(given.iter().filter(|it| it.1.is_some()).map(|it| it.0)).finish()
    }
}

/// Service mesh.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConnectConfig {
    /// It is on; `None` when it is not told.
    pub enabled: Option<bool>,
    /// UUID of the trust domain.
    pub cluster_id: Option<String>,
}
