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
mod process;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proxy_config::{FilterChain, Listener, ListenerProtocol, ProxyConfig};
use traffic::ClusterState;

pub use counters::{
    ClusterCounters, ClusterManagerCounters, HttpCounters, ListenerCounters,
    ListenerManagerCounters, TcpCounters, UpdateCounters,
};
pub use exposition::{Buckets, Metric, Value, html, prometheus, text, to_json};
pub use mesh::{MeshCounters, MeshLabels, MeshResponse, Workload};
pub use metric::{
    BUCKETS_US, Counter, Distribution, Gauge, Histogram, SeriesTable, Shard, Sharded,
};
pub use process::{Memory, memory};

/// All counters of one proxy.
#[derive(Debug)]
pub struct Stats {
    workers: usize,
    /// Held to resolve and to list, never to count.
    groups: Mutex<Groups>,
    clusters: Arc<Sharded<ClusterManagerCounters>>,
    listeners: Arc<Sharded<ListenerManagerCounters>>,
    /// Values of counters when they were put back to 0, by [`Metric::key`]: the counters themselves are their workers',
    /// who would not notice.
    zeros: Mutex<BTreeMap<String, u64>>,
}

#[derive(Clone, Debug, Default)]
struct Groups {
    clusters: BTreeMap<String, Arc<Sharded<ClusterCounters>>>,
    updates: BTreeMap<String, Arc<Sharded<UpdateCounters>>>,
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
    /// Listeners that take connections.
    pub listeners: usize,
    /// Clusters that wait for their first addresses or checks.
    pub warming: usize,
    /// Whole days until the first of the certificates expires; `None` without certificates.
    pub first_expiry_days: Option<u64>,
}

impl Stats {
    /// Counters for a number of workers. A scrape costs in proportion to it.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: workers.max(1),
            groups: Mutex::default(),
            clusters: Arc::new(Sharded::new(1)),
            listeners: Arc::new(Sharded::new(1)),
            zeros: Mutex::default(),
        }
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

    /// The control thread's counters of a cluster.
    #[must_use]
    pub fn updates(&self, name: &str) -> Shard<UpdateCounters> {
        let mut groups = self.groups.lock();
        let all = groups.updates.entry(name.to_owned());
        Shard::new(all.or_insert_with(|| Arc::new(Sharded::new(1))).clone(), 0)
    }

    /// The control thread's counters of clusters that come and go.
    #[must_use]
    pub fn cluster_manager(&self) -> Shard<ClusterManagerCounters> {
        Shard::new(self.clusters.clone(), 0)
    }

    /// The control thread's counters of listeners that come and go.
    #[must_use]
    pub fn listener_manager(&self) -> Shard<ListenerManagerCounters> {
        Shard::new(self.listeners.clone(), 0)
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
        groups.updates.retain(|name, _| config.clusters.contains_key(name));
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
        let mut metrics = self.read_all(surroundings);
        let zeros = self.zeros.lock();
        if zeros.is_empty() {
            return metrics;
        }
        for metric in &mut metrics {
            if let Value::Counter(value) = metric.value
                && let Some(zero) = zeros.get(&metric.key())
            {
                // A cluster that went and came back begins at 0 by itself.
                metric.value = Value::Counter(value.checked_sub(*zero).unwrap_or(value));
            }
        }
        metrics
    }

    /// Lets all counters begin at 0 again. Gauges and histograms go on, as in Envoy.
    pub fn reset_counters(&self, surroundings: Surroundings<'_>) {
        let metrics = self.read_all(surroundings);
        let counters = metrics.iter().filter_map(|metric| match metric.value {
            Value::Counter(value) if value > 0 => Some((metric.key(), value)),
            Value::Counter(_) | Value::Gauge(_) | Value::Histogram(_) => None,
        });
        *self.zeros.lock() = counters.collect();
    }

    fn read_all(&self, surroundings: Surroundings<'_>) -> Vec<Metric> {
        let groups = self.groups.lock().clone();
        let mut metrics = Vec::new();
        read::server(self.workers, surroundings, &mut metrics);
        read::connections(groups.listeners.values().map(Arc::as_ref), &mut metrics);
        read::managers(self, surroundings, &mut metrics);
        for (name, cluster) in &groups.clusters {
            read::cluster(name, cluster, &mut metrics);
        }
        for (name, updates) in &groups.updates {
            read::updates(name, updates, &mut metrics);
        }
        for state in surroundings.clusters.values() {
            read::members(state, surroundings.now_ns, &mut metrics);
        }
        for (prefix, http) in &groups.http {
            read::http(prefix, http, &mut metrics);
        }
        for (prefix, tcp) in &groups.tcp {
            read::tcp(prefix, tcp, &mut metrics);
        }
        for (address, listener) in &groups.listeners {
            read::listener(*address, listener, &mut metrics);
        }
        for ((_, labels), mesh) in &groups.mesh {
            read::mesh(labels, mesh, &mut metrics);
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

#[cfg(test)]
mod tests;
