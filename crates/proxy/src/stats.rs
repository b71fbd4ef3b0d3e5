//! Counters of the data plane, under Envoy's and Istio's names.
//!
//! A worker resolves its [`Shard`]s when configuration is built and keeps them beside what they
//! count; on the hot path it does relaxed additions on cache lines of its own. A scrape sums the
//! shards up: it reads atomics and holds no lock that a request could wait for.
//!
//! Labels are bounded: names of clusters and listeners and workloads come from configuration and go
//! with it ([`Stats::retain`]); status codes and flags have a bounded number of slots.

mod counters;
mod exposition;
mod mesh;
mod metric;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proxy_config::{FilterChain, Listener, ListenerProtocol, ProxyConfig, RoutingPriority};
use rustls::CipherSuite;
use traffic::{Breaker, ClusterState};

pub use counters::{ClusterCounters, HttpCounters, ListenerCounters, TcpCounters};
pub use exposition::{Metric, Value, prometheus, text, to_json};
pub use mesh::{MeshCounters, MeshLabels, MeshResponse, Workload};
pub use metric::{
    BUCKETS_US, Counter, Distribution, Gauge, Histogram, SeriesTable, Shard, Sharded,
};

use counters::{Field, Kind};

/// All counters of one proxy.
#[derive(Debug)]
pub struct Stats {
    workers: usize,
    /// Held to resolve and to list, never to count.
    groups: Mutex<Groups>,
}

#[derive(Clone, Debug, Default)]
struct Groups {
    clusters: BTreeMap<String, Arc<Sharded<ClusterCounters>>>,
    http: BTreeMap<String, Arc<Sharded<HttpCounters>>>,
    tcp: BTreeMap<String, Arc<Sharded<TcpCounters>>>,
    listeners: BTreeMap<SocketAddr, Arc<Sharded<ListenerCounters>>>,
    /// By name of the cluster that is called, then by labels.
    mesh: BTreeMap<(String, MeshLabels), Arc<Sharded<MeshCounters>>>,
}

/// State of the whole proxy, in the order of Envoy's numbers for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerState {
    /// Takes requests.
    Live,
    /// Takes no new connections and ends those it has.
    Draining,
    /// Waits for its first configuration.
    PreInitializing,
    /// Opens its listeners.
    Initializing,
}

impl ServerState {
    /// Envoy's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ServerState::Live => "LIVE",
            ServerState::Draining => "DRAINING",
            ServerState::PreInitializing => "PRE_INITIALIZING",
            ServerState::Initializing => "INITIALIZING",
        }
    }
}

/// What a scrape needs besides the counters.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Clusters as configured, for membership and ejections.
    pub clusters: &'a BTreeMap<String, Arc<ClusterState>>,
    /// Now, in nanoseconds since the epoch of the cluster states.
    pub now_ns: u64,
    /// Since the proxy was started.
    pub uptime: Duration,
    /// State of the proxy.
    pub state: ServerState,
}

impl Stats {
    /// Counters for a number of workers. A scrape costs in proportion to it.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { workers: workers.max(1), groups: Mutex::default() }
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// A worker's counters of a cluster.
    #[must_use]
    pub fn cluster(&self, name: &str, worker: usize) -> Shard<ClusterCounters> {
        self.shard(&mut self.groups.lock().clusters, name.to_owned(), worker)
    }

    /// A worker's counters of the HTTP side of a listener; `prefix` is the name of the listener.
    #[must_use]
    pub fn http(&self, prefix: &str, worker: usize) -> Shard<HttpCounters> {
        self.shard(&mut self.groups.lock().http, prefix.to_owned(), worker)
    }

    /// A worker's counters of the TCP side of a listener.
    #[must_use]
    pub fn tcp(&self, prefix: &str, worker: usize) -> Shard<TcpCounters> {
        self.shard(&mut self.groups.lock().tcp, prefix.to_owned(), worker)
    }

    /// A worker's counters of a listener; `address` is where it listens.
    #[must_use]
    pub fn listener(&self, address: SocketAddr, worker: usize) -> Shard<ListenerCounters> {
        self.shard(&mut self.groups.lock().listeners, address, worker)
    }

    /// A worker's counters under Istio's names, for requests to a cluster.
    #[must_use]
    pub fn mesh(&self, cluster: &str, labels: &MeshLabels, worker: usize) -> Shard<MeshCounters> {
        let key = (cluster.to_owned(), labels.clone());
        self.shard(&mut self.groups.lock().mesh, key, worker)
    }

    /// Forgets what a configuration has no more; `addresses` are those of its listeners, as given
    /// to [`Stats::listener`]. Shards that are still held go on counting, unseen.
    pub fn retain(&self, config: &ProxyConfig, addresses: &[SocketAddr]) {
        let mut groups = self.groups.lock();
        groups.clusters.retain(|name, _| config.clusters.contains_key(name));
        groups.mesh.retain(|(cluster, _), _| config.clusters.contains_key(cluster));
        let prefixes = prefixes(config);
        groups.http.retain(|name, _| prefixes.contains(name.as_str()));
        groups.tcp.retain(|name, _| prefixes.contains(name.as_str()));
        groups.listeners.retain(|address, _| addresses.contains(address));
    }

    /// All metrics with their values. Clusters and HTTP prefixes are there as soon as they are
    /// resolved.
    #[must_use]
    pub fn read(&self, surroundings: Surroundings<'_>) -> Vec<Metric> {
        let groups = self.groups.lock().clone();
        let mut metrics = Vec::new();
        self.read_server(surroundings, &mut metrics);
        for (name, cluster) in &groups.clusters {
            read_cluster(name, cluster, &mut metrics);
        }
        for state in surroundings.clusters.values() {
            read_members(state, surroundings.now_ns, &mut metrics);
        }
        for (prefix, http) in &groups.http {
            read_http(prefix, http, &mut metrics);
        }
        for (prefix, tcp) in &groups.tcp {
            let label = ("envoy_tcp_prefix", prefix.as_str());
            let mut group = Group { prefix: format!("tcp.{prefix}"), label, metrics: &mut metrics };
            group.fields(TcpCounters::FIELDS, tcp);
        }
        for (address, listener) in &groups.listeners {
            read_listener(*address, listener, &mut metrics);
        }
        for ((_, labels), mesh) in &groups.mesh {
            read_mesh(labels, mesh, &mut metrics);
        }
        metrics
    }

    fn shard<K: Ord, T: Default>(
        &self,
        groups: &mut BTreeMap<K, Arc<Sharded<T>>>,
        key: K,
        worker: usize,
    ) -> Shard<T> {
        let all = groups.entry(key).or_insert_with(|| Arc::new(Sharded::new(self.workers)));
        Shard::new(Arc::clone(all), worker)
    }

    fn read_server(&self, surroundings: Surroundings<'_>, metrics: &mut Vec<Metric>) {
        let mut gauge = |family, name: &str, value| {
            let name = format!("server.{name}");
            metrics.push(Metric { family, labels: Vec::new(), name, value: Value::Gauge(value) });
        };
        let is_live = surroundings.state == ServerState::Live;
        gauge("envoy_server_live", "live", u64::from(is_live));
        gauge("envoy_server_uptime", "uptime", surroundings.uptime.as_secs());
        gauge("envoy_server_concurrency", "concurrency", self.workers as u64);
        gauge("envoy_server_state", "state", surroundings.state as u64);
    }
}

/// What chains of listeners are counted under.
fn prefixes(config: &ProxyConfig) -> BTreeSet<&str> {
    let chains = config.listeners.values().flat_map(|listener| {
        listener.chains.iter().chain(&listener.default_chain).map(move |chain| (listener, chain))
    });
    chains.map(|(listener, chain)| stat_prefix(listener, chain)).collect()
}

/// What a chain of a listener is counted under.
pub(crate) fn stat_prefix<'a>(listener: &'a Listener, chain: &'a FilterChain) -> &'a str {
    let own = match &chain.protocol {
        ListenerProtocol::Http(http) => &http.stat_prefix,
        ListenerProtocol::Tcp(tcp) => &tcp.stat_prefix,
    };
    if own.is_empty() { &listener.name } else { own }
}

/// What is a scope of its own in the text form.
const SCOPES: &[(&str, &str)] = &[
    ("ssl_", "ssl"),
    ("local_rate_limit_", "http_local_rate_limiter"),
    ("fault_", "fault"),
    ("adaptive_concurrency_", "adaptive_concurrency"),
];

/// One group of counters with the names and labels that are common to it.
struct Group<'a> {
    prefix: String,
    label: (&'static str, &'a str),
    metrics: &'a mut Vec<Metric>,
}

impl Group<'_> {
    fn fields<T: Default>(&mut self, fields: &[Field<T>], shards: &Sharded<T>) {
        for field in fields {
            let value = shards.sum(field.read);
            let value = match field.kind {
                Kind::Counter => Value::Counter(value),
                Kind::Gauge => Value::Gauge(value),
            };
            let scope = SCOPES
                .iter()
                .find_map(|(prefix, scope)| Some((field.name.strip_prefix(prefix)?, *scope)));
            match scope {
                Some((name, scope)) => {
                    self.push(field.family, &format!("{scope}.{name}"), None, value);
                }
                None => self.push(field.family, field.name, None, value),
            }
        }
    }

    fn classes<T: Default>(
        &mut self,
        family: &'static str,
        stem: &str,
        shards: &Sharded<T>,
        classes: impl Fn(&T) -> &[Counter; 5],
    ) {
        for class in 1..=5 {
            let value = shards.sum(|shard| classes(shard)[class - 1].get());
            let label = ("envoy_response_code_class", class.to_string());
            self.push(family, &format!("{stem}_{class}xx"), Some(label), Value::Counter(value));
        }
    }

    fn push(
        &mut self,
        family: &'static str,
        name: &str,
        label: Option<(&'static str, String)>,
        value: Value,
    ) {
        let common = (self.label.0, self.label.1.to_owned());
        let labels = label.into_iter().chain([common]).collect();
        let name = format!("{}.{name}", self.prefix);
        self.metrics.push(Metric { family, labels, name, value });
    }
}

fn read_cluster(name: &str, shards: &Sharded<ClusterCounters>, metrics: &mut Vec<Metric>) {
    let label = ("envoy_cluster_name", name);
    let mut group = Group { prefix: format!("cluster.{name}"), label, metrics };
    group.fields(ClusterCounters::FIELDS, shards);
    let family = "envoy_cluster_upstream_rq_xx";
    group.classes(family, "upstream_rq", shards, |shard| &shard.upstream_rq_xx);
    let mut codes: BTreeMap<u64, u64> = BTreeMap::new();
    for (code, count) in shards.iter().flat_map(|shard| shard.upstream_rq.iter()) {
        *codes.entry(code).or_default() += count.get();
    }
    for (code, count) in codes.into_iter().filter(|(_, count)| *count > 0) {
        let code = match code {
            SeriesTable::<Counter>::OVERFLOW => "unknown".to_owned(),
            code => code.to_string(),
        };
        let name = format!("upstream_rq_{code}");
        let label = Some(("envoy_response_code", code));
        group.push("envoy_cluster_upstream_rq", &name, label, Value::Counter(count));
    }
    let time = shards.distribution(|shard| &shard.upstream_rq_time);
    let value = Value::Histogram(Box::new(time));
    group.push("envoy_cluster_upstream_rq_time", "upstream_rq_time", None, value);
}

fn read_members(state: &ClusterState, now_ns: u64, metrics: &mut Vec<Metric>) {
    let name = state.name();
    let label = ("envoy_cluster_name", name);
    let mut group = Group { prefix: format!("cluster.{name}"), label, metrics };
    let ejected = state.ejected_count(now_ns) as u64;
    let healthy = state.healthy_not_ejected_count(now_ns) as u64;
    let total = state.endpoints().len() as u64;
    let mut push = |family, name, value| group.push(family, name, None, value);
    push("envoy_cluster_membership_healthy", "membership_healthy", Value::Gauge(healthy));
    push("envoy_cluster_membership_total", "membership_total", Value::Gauge(total));
    push(
        "envoy_cluster_outlier_detection_ejections_active",
        "outlier_detection.ejections_active",
        Value::Gauge(ejected),
    );
    push(
        "envoy_cluster_outlier_detection_ejections_enforced_total",
        "outlier_detection.ejections_enforced_total",
        Value::Counter(state.ejections_total()),
    );
    push(
        "envoy_cluster_outlier_detection_ejections_total",
        "outlier_detection.ejections_total",
        Value::Counter(state.ejections_total()),
    );
    read_breakers(state, &mut group);
}

fn read_breakers(state: &ClusterState, group: &mut Group<'_>) {
    for (priority, name) in [(RoutingPriority::Default, "default"), (RoutingPriority::High, "high")]
    {
        for breaker in Breaker::ALL {
            let level = state.breaker(priority, breaker);
            let label = Some(("priority", name.to_owned()));
            let (open, remaining) = (breaker.open_name(), breaker.remaining_name());
            let [family, family_left] = breaker_families(breaker);
            let value = Value::Gauge(u64::from(level.is_open()));
            group.push(family, &format!("circuit_breakers.{name}.{open}"), label.clone(), value);
            let value = Value::Gauge(u64::from(level.remaining()));
            group.push(family_left, &format!("circuit_breakers.{name}.{remaining}"), label, value);
        }
    }
}

fn breaker_families(breaker: Breaker) -> [&'static str; 2] {
    match breaker {
        Breaker::Connections => [
            "envoy_cluster_circuit_breakers_cx_open",
            "envoy_cluster_circuit_breakers_remaining_cx",
        ],
        Breaker::Pending => [
            "envoy_cluster_circuit_breakers_rq_pending_open",
            "envoy_cluster_circuit_breakers_remaining_pending",
        ],
        Breaker::Requests => [
            "envoy_cluster_circuit_breakers_rq_open",
            "envoy_cluster_circuit_breakers_remaining_rq",
        ],
        Breaker::Retries => [
            "envoy_cluster_circuit_breakers_rq_retry_open",
            "envoy_cluster_circuit_breakers_remaining_retries",
        ],
    }
}

fn read_http(prefix: &str, shards: &Sharded<HttpCounters>, metrics: &mut Vec<Metric>) {
    let label = ("envoy_http_conn_manager_prefix", prefix);
    let mut group = Group { prefix: format!("http.{prefix}"), label, metrics };
    group.fields(HttpCounters::FIELDS, shards);
    let family = "envoy_http_downstream_rq_xx";
    group.classes(family, "downstream_rq", shards, |shard| &shard.downstream_rq_xx);
    let time = shards.distribution(|shard| &shard.downstream_rq_time);
    let value = Value::Histogram(Box::new(time));
    group.push("envoy_http_downstream_rq_time", "downstream_rq_time", None, value);
}

fn read_listener(
    address: SocketAddr,
    shards: &Sharded<ListenerCounters>,
    metrics: &mut Vec<Metric>,
) {
    // As Envoy does: a colon would end the name in the text form.
    let address = address.to_string().replace(':', "_");
    let label = ("envoy_listener_address", address.as_str());
    let mut group = Group { prefix: format!("listener.{address}"), label, metrics };
    group.fields(ListenerCounters::FIELDS, shards);
    for (at, version) in ["TLSv1.2", "TLSv1.3"].into_iter().enumerate() {
        let value = Value::Counter(shards.sum(|shard| shard.ssl_versions[at].get()));
        let label = Some(("envoy_ssl_version", version.to_owned()));
        group.push("envoy_listener_ssl_versions", &format!("ssl.versions.{version}"), label, value);
    }
    let mut ciphers: BTreeMap<u64, u64> = BTreeMap::new();
    for (cipher, count) in shards.iter().flat_map(|shard| shard.ssl_ciphers.iter()) {
        *ciphers.entry(cipher).or_default() += count.get();
    }
    for (cipher, count) in ciphers.into_iter().filter(|(_, count)| *count > 0) {
        let number = u16::try_from(cipher).unwrap_or_default();
        let cipher = CipherSuite::from(number).as_str().unwrap_or("unknown");
        let label = Some(("envoy_ssl_cipher", cipher.to_owned()));
        let name = format!("ssl.ciphers.{cipher}");
        group.push("envoy_listener_ssl_ciphers", &name, label, Value::Counter(count));
    }
    let length = shards.distribution(|shard| &shard.downstream_cx_length_ms);
    let value = Value::Histogram(Box::new(length));
    group.push("envoy_listener_downstream_cx_length_ms", "downstream_cx_length_ms", None, value);
}

fn read_mesh(known: &MeshLabels, shards: &Sharded<MeshCounters>, metrics: &mut Vec<Metric>) {
    let mut series: BTreeMap<u64, (u64, Distribution)> = BTreeMap::new();
    for (key, it) in shards.iter().flat_map(MeshCounters::series) {
        let (requests, duration) = series.entry(key).or_default();
        *requests += it.requests.get();
        it.duration.add_to(duration);
    }
    for (key, (requests, duration)) in series.into_iter().filter(|(_, it)| it.0 > 0) {
        let labels = mesh::labels(known, key);
        metrics.push(Metric {
            family: "istio_requests_total",
            labels: labels.clone(),
            name: String::new(),
            value: Value::Counter(requests),
        });
        metrics.push(Metric {
            family: "istio_request_duration_milliseconds",
            labels,
            name: String::new(),
            value: Value::Histogram(Box::new(duration)),
        });
    }
}

#[cfg(test)]
mod tests;
