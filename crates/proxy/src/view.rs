//! A snapshot as one worker sees it: shared parts with the worker's own connection pools beside them.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use foldhash::{HashMap, HashMapExt};
use http::HeaderValue;
use proxy_config::{
    EndpointHealth, FilterChain, HttpListener, ListenerProtocol, RouteAction, TcpListener,
    WeightedCluster,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use traffic::{ClusterHandle, ClusterState, EndpointState, Picker, Router};

use crate::access_log::ChainLogs;
use crate::forward::WorkerRoute;
use crate::hosts::HostTable;
use crate::rules::{HttpRules, SharedRules};
use crate::snapshot::{SharedListener, Snapshot};
use crate::stats::{
    ClusterCounters, HttpCounters, ListenerCounters, MeshCounters, MeshLabels, Shard, Stats,
    TcpCounters, stat_prefix,
};
use crate::tls::ServerTls;
use crate::upstream::{EndpointPool, UpstreamTransport};
use crate::worker::Worker;

/// A cluster with this worker's connections to its endpoints.
pub(crate) struct WorkerCluster {
    pub(crate) state: Arc<ClusterState>,
    pub(crate) counters: Shard<ClusterCounters>,
    pub(crate) mesh: Shard<MeshCounters>,
    /// How its endpoints are connected to.
    pub(crate) transport: UpstreamTransport,
    /// This worker's way to `state`.
    pub(crate) picker: RefCell<Picker>,
    /// Host names of the endpoints for requests that are to have them, made at the first of those.
    hostnames: OnceCell<HashMap<*const EndpointState, HeaderValue>>,
    /// Hash tables are being made, on a thread of their own.
    rebuilding: RefCell<Option<JoinHandle<()>>>,
    /// By the address of the endpoint's state, which lives as long as the pool that holds it.
    pools: HashMap<*const EndpointState, Rc<EndpointPool>>,
}

impl WorkerCluster {
    fn new(
        state: Arc<ClusterState>,
        transport: UpstreamTransport,
        previous: Option<&WorkerCluster>,
        stats: &Stats,
        worker: usize,
    ) -> Self {
        let counters = stats.cluster(state.name(), worker);
        let labels = MeshLabels {
            destination_service: state.name().to_owned(),
            destination_service_name: state.name().to_owned(),
            connection_security_policy: "none",
            ..MeshLabels::default()
        };
        let mesh = stats.mesh(state.name(), &labels, worker);
        let mut pools = HashMap::with_capacity(state.endpoints().len());
        let alike = previous.filter(|it| it.transport.is_same(&transport));
        for (endpoint, endpoint_state) in state.endpoints() {
            let key = Arc::as_ptr(endpoint_state);
            let pool = alike.and_then(|it| it.pools.get(&key)).cloned().unwrap_or_else(|| {
                let (endpoint, counters) = (endpoint_state.clone(), counters.clone());
                Rc::new(EndpointPool::new(endpoint, transport.clone(), counters))
            });
            match endpoint.health {
                EndpointHealth::Healthy | EndpointHealth::Degraded => pool.set_retired(false),
                EndpointHealth::Draining | EndpointHealth::Unhealthy => pool.set_retired(true),
            }
            pools.insert(key, pool);
        }
        let picker = RefCell::new(Picker::new(state.clone()));
        let hostnames = OnceCell::new();
        let rebuilding = RefCell::default();
        Self { state, counters, mesh, transport, picker, hostnames, rebuilding, pools }
    }

    /// The name of an endpoint of this cluster, as a host; `None` when it is none.
    pub(crate) fn hostname(&self, endpoint: &Arc<EndpointState>) -> Option<&HeaderValue> {
        let hostnames = self.hostnames.get_or_init(|| {
            let named = self.state.endpoints().filter_map(|(endpoint, state)| {
                let own = &endpoint.hostname;
                let name = if own.is_empty() { &endpoint.host } else { own };
                Some((Arc::as_ptr(state), HeaderValue::from_str(name).ok()?))
            });
            named.collect()
        });
        hostnames.get(&Arc::as_ptr(endpoint))
    }

    /// The connections to an endpoint of this cluster.
    pub(crate) fn pool(&self, endpoint: &Arc<EndpointState>) -> &Rc<EndpointPool> {
        self.pools.get(&Arc::as_ptr(endpoint)).expect("every endpoint of the state has a pool")
    }

    /// Makes the hash tables anew when they have endpoints that cannot be used, or lack some. That takes milliseconds
    /// at least, which no request is to wait for.
    pub(crate) fn rebuild_tables(&self, now_ns: u64) {
        let mut rebuilding = self.rebuilding.borrow_mut();
        let is_busy = rebuilding.as_ref().is_some_and(|it| !it.is_finished());
        if !is_busy && self.state.tables_are_stale(now_ns) {
            let state = self.state.clone();
            *rebuilding = Some(tokio::task::spawn_blocking(move || state.rebuild_tables(now_ns)));
        }
    }

    fn retire_those_not_in(&self, next: Option<&WorkerCluster>) {
        for (key, pool) in &self.pools {
            let after = next.and_then(|it| it.pools.get(key));
            if !after.is_some_and(|it| Rc::ptr_eq(it, pool)) {
                pool.set_retired(true);
            }
        }
    }

    /// Closes connections that were idle for too long, and all idle ones to an ejected endpoint.
    pub(crate) fn sweep(&self, now: Instant, now_ns: u64) {
        let idle_timeout = self.state.cluster().idle_timeout;
        for pool in self.pools.values() {
            if pool.endpoint().is_ejected(now_ns) {
                pool.close_idle();
            } else {
                pool.sweep(now, idle_timeout);
            }
        }
    }
}

impl ClusterHandle for WorkerCluster {
    fn cluster_state(&self) -> &ClusterState {
        &self.state
    }
}

/// A route table with what this worker knows of its routes.
pub(crate) struct WorkerTable {
    pub(crate) router: Arc<Router>,
    /// Counters of its virtual hosts.
    pub(crate) hosts: Arc<HostTable>,
    /// In the order of the router's routes; `None` where the route does not forward.
    pub(crate) routes: Vec<Option<WorkerRoute>>,
}

/// The clusters of a worker by name.
pub(crate) type Clusters = BTreeMap<String, Rc<WorkerCluster>>;

/// Everything that a worker does by at one time.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) shared: Arc<Snapshot>,
    pub(crate) clusters: Rc<Clusters>,
    tables: BTreeMap<String, Rc<WorkerTable>>,
}

impl View {
    pub(crate) fn new(
        shared: Arc<Snapshot>,
        previous: &View,
        stats: &Stats,
        worker: usize,
    ) -> Self {
        let mut clusters = BTreeMap::new();
        for (name, state) in &shared.clusters {
            let before = previous.clusters.get(name);
            let transport = shared.transports.get(name).cloned().unwrap_or_default();
            let cluster = match before {
                Some(before)
                    if Arc::ptr_eq(&before.state, state)
                        && before.transport.is_same(&transport) =>
                {
                    before.clone()
                }
                _ => {
                    let before = before.map(Rc::as_ref);
                    Rc::new(WorkerCluster::new(state.clone(), transport, before, stats, worker))
                }
            };
            clusters.insert(name.clone(), cluster);
        }
        for (name, before) in previous.clusters.iter() {
            before.retire_those_not_in(clusters.get(name).map(Rc::as_ref));
        }
        let tables = shared
            .routers
            .iter()
            .map(|(name, router)| {
                let hosts = shared.hosts.get(name).cloned().unwrap_or_default();
                (name.clone(), Rc::new(table(router, hosts, &clusters)))
            })
            .collect();
        Self { shared, clusters: Rc::new(clusters), tables }
    }

    /// What the chains of a listener do by, in the order of its chains.
    pub(crate) fn chains(
        &self,
        shared: &Arc<SharedListener>,
        stats: &Stats,
        worker: usize,
    ) -> Vec<ListenerView> {
        let chains = SharedListener::chain_configs(&shared.config).enumerate();
        chains.map(|(index, chain)| self.chain(shared, index, chain, stats, worker)).collect()
    }

    fn chain(
        &self,
        shared: &Arc<SharedListener>,
        index: usize,
        chain: &FilterChain,
        stats: &Stats,
        worker: usize,
    ) -> ListenerView {
        let prefix = stat_prefix(&shared.config, chain);
        let kind = match &chain.protocol {
            ListenerProtocol::Http(http) => ListenerKind::Http(Box::new(HttpView {
                table: self.tables.get(&http.route_table).cloned().unwrap_or_else(no_table),
                table_rules: self.shared.rules.get(&http.route_table).cloned().unwrap_or_default(),
                rules: shared.chains[index].rules.clone().expect("a chain of HTTP has its rules"),
            })),
            ListenerProtocol::Tcp(tcp) => ListenerKind::Tcp(Box::new(TcpView {
                clusters: self.weighted(&tcp.clusters),
                counters: stats.tcp(prefix, worker),
            })),
        };
        ListenerView {
            shared: shared.clone(),
            chain: index,
            kind,
            http_counters: stats.http(prefix, worker),
            counters: stats.listener(shared.local_address, worker),
        }
    }

    fn weighted(&self, clusters: &[WeightedCluster]) -> Vec<(u64, Option<Rc<WorkerCluster>>)> {
        let mut sum = 0;
        let mut weighted = Vec::with_capacity(clusters.len());
        for it in clusters {
            sum += u64::from(it.weight);
            weighted.push((sum, self.clusters.get(&it.cluster).cloned()));
        }
        weighted
    }
}

fn table(router: &Arc<Router>, hosts: Arc<HostTable>, clusters: &Clusters) -> WorkerTable {
    let routes = router.routes().iter().zip(router.plans());
    let routes = routes.map(|(route, plan)| match &route.action {
        RouteAction::Forward(forward) => Some(WorkerRoute::new(forward, plan, clusters)),
        RouteAction::Respond { .. } | RouteAction::Redirect(_) => None,
    });
    WorkerTable { router: router.clone(), hosts, routes: routes.collect() }
}

fn no_table() -> Rc<WorkerTable> {
    let router = Arc::new(Router::new(&proxy_config::RouteTable::default()));
    Rc::new(WorkerTable { router, hosts: Arc::default(), routes: Vec::new() })
}

/// What one filter chain of a listener does by at one time.
pub(crate) struct ListenerView {
    pub(crate) shared: Arc<SharedListener>,
    /// Index into the listener's chains.
    chain: usize,
    pub(crate) kind: ListenerKind,
    pub(crate) http_counters: Shard<HttpCounters>,
    pub(crate) counters: Shard<ListenerCounters>,
}

impl ListenerView {
    /// The chain.
    pub(crate) fn chain(&self) -> &FilterChain {
        SharedListener::chain_configs(&self.shared.config)
            .nth(self.chain)
            .expect("a view is made for a chain of its listener")
    }

    /// Its index into the listener's chains.
    pub(crate) fn chain_index(&self) -> usize {
        self.chain
    }

    /// Its access logs.
    pub(crate) fn logs(&self) -> &ChainLogs {
        &self.shared.chains[self.chain].logs
    }

    /// `None` when bytes are spoken.
    pub(crate) fn http(&self) -> Option<&HttpListener> {
        match &self.chain().protocol {
            ListenerProtocol::Http(http) => Some(http),
            ListenerProtocol::Tcp(_) => None,
        }
    }

    /// `None` when HTTP is spoken.
    pub(crate) fn tcp(&self) -> Option<&TcpListener> {
        match &self.chain().protocol {
            ListenerProtocol::Tcp(tcp) => Some(tcp),
            ListenerProtocol::Http(_) => None,
        }
    }

    pub(crate) fn tls(&self) -> Option<&ServerTls> {
        self.shared.chains[self.chain].tls.as_deref()
    }

    /// True when connections of `other` can go on under this.
    pub(crate) fn speaks_like(&self, other: &ListenerView) -> bool {
        match (self.http(), other.http()) {
            (Some(_), Some(_)) => self.tls().is_some() == other.tls().is_some(),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

pub(crate) enum ListenerKind {
    Http(Box<HttpView>),
    Tcp(Box<TcpView>),
}

pub(crate) struct HttpView {
    pub(crate) table: Rc<WorkerTable>,
    pub(crate) table_rules: SharedRules,
    pub(crate) rules: Arc<HttpRules>,
}

pub(crate) struct TcpView {
    /// Sum of the weights up to each cluster, and the cluster where there is one of that name.
    clusters: Vec<(u64, Option<Rc<WorkerCluster>>)>,
    pub(crate) counters: Shard<TcpCounters>,
}

impl TcpView {
    /// One of the clusters by weight; `None` when there is none.
    pub(crate) fn choose(&self, worker: &Worker) -> Option<Rc<WorkerCluster>> {
        let all = self.clusters.last()?.0;
        let drawn = match self.clusters.len() {
            _ if all == 0 => return None,
            1 => 0,
            _ => worker.random_below(all),
        };
        let at = self.clusters.partition_point(|(sum, _)| *sum <= drawn);
        self.clusters[at].1.clone()
    }
}

/// A listener's chain over its changes: its connections look here for what holds now.
pub(crate) struct ListenerSlot {
    view: RefCell<Rc<ListenerView>>,
    /// Its connections shall end as soon as they can.
    pub(crate) closing: CancellationToken,
    is_closing: Cell<bool>,
}

impl ListenerSlot {
    pub(crate) fn new(view: ListenerView) -> Self {
        Self {
            view: RefCell::new(Rc::new(view)),
            closing: CancellationToken::new(),
            is_closing: Cell::new(false),
        }
    }

    /// Tells its connections to end.
    pub(crate) fn close(&self) {
        self.is_closing.set(true);
        self.closing.cancel();
    }

    /// True when its connections have been told to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    pub(crate) fn view(&self) -> Rc<ListenerView> {
        self.view.borrow().clone()
    }

    pub(crate) fn replace(&self, view: ListenerView) {
        *self.view.borrow_mut() = Rc::new(view);
    }
}
