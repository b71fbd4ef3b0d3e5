//! A configuration made ready for use, shared by all workers.
//!
//! Built once per update on the control thread. What did not change is taken from the snapshot before, so that
//! counters, ejections and TLS tickets live on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use proxy_config::{
    ChainMatch, Endpoints, FilterChain, HttpCodec, Listener, ListenerProtocol, ProxyConfig,
    RouteTable, TlsClient, TlsServer,
};
use tokio::sync::Semaphore;
use traffic::chain::ChainMatcher;
use traffic::{ClusterState, Router, Surroundings};

use crate::access_log::{ChainLogs, Sinks};
use crate::dns::Lookup;
use crate::error::ProxyError;
use crate::hosts::HostTable;
use crate::rules::{HttpRules, SharedRules, table_rules};
use crate::tls::{self, Secrets, ServerTls};
use crate::upstream::UpstreamTransport;

/// One listening address of this proxy, over renames and changes of the listener on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct SocketId(pub(crate) u64);

/// A listener with what it needs.
pub(crate) struct SharedListener {
    pub(crate) config: Arc<Listener>,
    pub(crate) socket: SocketId,
    /// Where it listens: `config.address` with the port that the system chose.
    pub(crate) local_address: SocketAddr,
    /// One permit per open connection, over all workers.
    pub(crate) connections: Arc<Semaphore>,
    /// One for each chain of the configuration, the default one last.
    pub(crate) chains: Vec<SharedChain>,
    pub(crate) matcher: ChainMatcher,
    /// Index of the chain for connections that no other is for.
    pub(crate) default_chain: Option<usize>,
    /// Index of the one chain, where connections need not be looked at to know that it is theirs.
    pub(crate) only_chain: Option<usize>,
}

/// A filter chain with what it needs.
pub(crate) struct SharedChain {
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) logs: ChainLogs,
    /// `None` when bytes are spoken.
    pub(crate) rules: Option<Arc<HttpRules>>,
}

impl SharedListener {
    /// The chains of a listener in the order of [`SharedListener::chains`].
    pub(crate) fn chain_configs(listener: &Listener) -> impl Iterator<Item = &FilterChain> {
        listener.chains.iter().chain(&listener.default_chain)
    }

    fn new(
        (socket, local_address): (SocketId, SocketAddr),
        listener: &Arc<Listener>,
        config: &ProxyConfig,
        (previous, making): (&Snapshot, &Making<'_>),
        errors: &mut Vec<ProxyError>,
    ) -> Self {
        let before = previous.listeners.get(&listener.name);
        let connections = match before {
            Some(before) if before.config.connections_max == listener.connections_max => {
                before.connections.clone()
            }
            _ => Arc::new(Semaphore::new(listener.connections_max as usize)),
        };
        let chains = Self::chain_configs(listener).map(|chain| {
            let tls = server_tls_of(listener, chain, config, previous, errors);
            let logs = ChainLogs::new(chain, making.sinks, errors);
            let rules = http_rules(listener, chain, (previous, making), errors);
            SharedChain { tls, logs, rules }
        });
        let chains = chains.collect();
        let (matcher, problems) = ChainMatcher::new(listener.chains.iter().map(|it| &it.matches));
        errors.extend(problems.into_iter().map(|problem| {
            let listener = listener.name.clone();
            ProxyError::Chain { listener, problem }
        }));
        let default_chain = listener.default_chain.as_ref().map(|_| listener.chains.len());
        let only_chain = match listener.chains.as_slice() {
            [only] if only.matches == ChainMatch::default() => Some(0),
            [] => default_chain,
            _ => None,
        };
        Self {
            config: listener.clone(),
            socket,
            local_address,
            connections,
            chains,
            matcher,
            default_chain,
            only_chain: only_chain.filter(|_| listener.proxy_protocol.is_none()),
        }
    }
}

/// What a snapshot is made with besides its configuration.
pub(crate) struct Making<'a> {
    /// Where access logs are written.
    pub(crate) sinks: &'a Sinks,
    /// Where turns begin.
    pub(crate) seed: u64,
    /// Now, in nanoseconds of the epoch of the cluster states.
    pub(crate) now_ns: u64,
    /// How names are looked up.
    pub(crate) lookup: Lookup,
}

/// A configuration made ready for use.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) config: Arc<ProxyConfig>,
    pub(crate) listeners: BTreeMap<String, Arc<SharedListener>>,
    pub(crate) routers: BTreeMap<String, Arc<Router>>,
    /// Counters of the virtual hosts of each table.
    pub(crate) hosts: BTreeMap<String, Arc<HostTable>>,
    /// What the routes of each table ask for.
    pub(crate) rules: BTreeMap<String, SharedRules>,
    pub(crate) clusters: BTreeMap<String, Arc<ClusterState>>,
    /// How the endpoints of each cluster are connected to.
    pub(crate) transports: BTreeMap<String, UpstreamTransport>,
}

impl Snapshot {
    /// Makes `config` ready. `sockets` says where each listener listens; those that are not in it are left out.
    pub(crate) fn build(
        config: Arc<ProxyConfig>,
        sockets: &BTreeMap<String, (SocketId, SocketAddr)>,
        previous: &Snapshot,
        making: &Making<'_>,
    ) -> (Snapshot, Vec<ProxyError>) {
        let mut errors = Vec::new();
        let routers = routers(&config, previous, &mut errors);
        let hosts = hosts(&config, &routers, previous);
        let rules = rules(&routers, previous, making.now_ns, &mut errors);
        let clusters = clusters(&config, previous, making);
        let transports = transports(&config, previous, &making.lookup, &mut errors);
        let mut listeners = BTreeMap::new();
        for (name, listener) in &config.listeners {
            let Some((socket, local_address)) = sockets.get(name) else { continue };
            let shared = SharedListener::new(
                (*socket, *local_address),
                listener,
                &config,
                (previous, making),
                &mut errors,
            );
            listeners.insert(name.clone(), Arc::new(shared));
        }
        (Snapshot { config, listeners, routers, hosts, rules, clusters, transports }, errors)
    }
}

fn routers(
    config: &ProxyConfig,
    previous: &Snapshot,
    errors: &mut Vec<ProxyError>,
) -> BTreeMap<String, Arc<Router>> {
    let mut made = |name: &String, table: &Arc<RouteTable>| {
        if let Some(router) = previous.routers.get(name)
            && previous.config.route_tables.get(name) == Some(table)
        {
            return router.clone();
        }
        let router = Router::new(table);
        errors.extend(router.problems().iter().map(|problem| ProxyError::Route {
            table: name.clone(),
            problem: problem.to_string(),
        }));
        Arc::new(router)
    };
    config.route_tables.iter().map(|(name, table)| (name.clone(), made(name, table))).collect()
}

fn hosts(
    config: &ProxyConfig,
    routers: &BTreeMap<String, Arc<Router>>,
    previous: &Snapshot,
) -> BTreeMap<String, Arc<HostTable>> {
    let made = |(name, table): (&String, &Arc<RouteTable>)| {
        let before = previous.hosts.get(name);
        let same = previous.routers.get(name).zip(routers.get(name));
        let hosts = match before {
            Some(before) if same.is_some_and(|(then, now)| Arc::ptr_eq(then, now)) => {
                before.clone()
            }
            _ => Arc::new(HostTable::new(table, before.map(Arc::as_ref))),
        };
        (name.clone(), hosts)
    };
    config.route_tables.iter().map(made).collect()
}

fn rules(
    routers: &BTreeMap<String, Arc<Router>>,
    previous: &Snapshot,
    now_ns: u64,
    errors: &mut Vec<ProxyError>,
) -> BTreeMap<String, SharedRules> {
    let mut made = |name: &String, router: &Arc<Router>| {
        let before = previous.routers.get(name).zip(previous.rules.get(name));
        if let Some((same, rules)) = before
            && Arc::ptr_eq(same, router)
        {
            return rules.clone();
        }
        let before = before.map(|(router, rules)| (router.as_ref(), rules.as_ref()));
        let mut problems = Vec::new();
        let rules = table_rules(router, before, now_ns, &mut problems);
        // What is wrong with rules for other origins has been said of the route.
        let of_filters = problems.into_iter().filter(|it| !it.contains(": cors: "));
        errors.extend(of_filters.map(|problem| ProxyError::Route { table: name.clone(), problem }));
        Arc::new(rules)
    };
    routers.iter().map(|(name, router)| (name.clone(), made(name, router))).collect()
}

fn http_rules(
    listener: &Listener,
    chain: &FilterChain,
    (previous, making): (&Snapshot, &Making<'_>),
    errors: &mut Vec<ProxyError>,
) -> Option<Arc<HttpRules>> {
    let ListenerProtocol::Http(http) = &chain.protocol else { return None };
    let before = previous.listeners.get(&listener.name).and_then(|before| {
        let mut chains = SharedListener::chain_configs(&before.config).zip(&before.chains);
        chains.find(|(it, _)| it.name == chain.name)?.1.rules.as_deref()
    });
    let mut problems = Vec::new();
    let rules = HttpRules::new(http, before, making.now_ns, &mut problems);
    errors.extend(problems.into_iter().map(|problem| {
        let listener = listener.name.clone();
        ProxyError::Listener { listener, problem }
    }));
    Some(Arc::new(rules))
}

fn clusters(
    config: &ProxyConfig,
    previous: &Snapshot,
    making: &Making,
) -> BTreeMap<String, Arc<ClusterState>> {
    let mut clusters = BTreeMap::new();
    for (name, cluster) in &config.clusters {
        let endpoints = config.endpoints.get(name);
        let before = previous.clusters.get(name);
        let state = match before {
            Some(before)
                if previous.config.clusters.get(name) == Some(cluster)
                    && previous.config.endpoints.get(name) == endpoints =>
            {
                before.clone()
            }
            _ => {
                let endpoints = endpoints.cloned().unwrap_or_else(|| {
                    Arc::new(Endpoints { cluster: name.clone(), ..Endpoints::default() })
                });
                let previous = before.map(Arc::as_ref);
                let (seed, now_ns) = (making.seed, making.now_ns);
                let surroundings =
                    Surroundings { previous, seed, now_ns, ..Surroundings::default() };
                Arc::new(ClusterState::new(cluster.clone(), endpoints, surroundings))
            }
        };
        clusters.insert(name.clone(), state);
    }
    clusters
}

fn transports(
    config: &ProxyConfig,
    previous: &Snapshot,
    lookup: &Lookup,
    errors: &mut Vec<ProxyError>,
) -> BTreeMap<String, UpstreamTransport> {
    let mut transports = BTreeMap::new();
    for (name, cluster) in &config.clusters {
        let tls = cluster.tls.as_ref().map(|asked| {
            let before = previous.config.clusters.get(name).and_then(|it| it.tls.as_ref());
            if before == Some(asked)
                && let Some(tls) = previous.transports.get(name).and_then(|it| it.tls.as_ref())
                && same(secrets_of_client(asked), &config.secrets, &previous.config.secrets)
            {
                return tls.clone();
            }
            let (tls, bad) = tls::client_tls(asked, &config.secrets);
            let cluster = || name.clone();
            errors
                .extend(bad.map(|source| ProxyError::ClusterSecret { cluster: cluster(), source }));
            tls
        });
        let proxy_protocol = cluster.proxy_protocol;
        let lookup = lookup.clone();
        transports.insert(name.clone(), UpstreamTransport { tls, proxy_protocol, lookup });
    }
    transports
}

fn secrets_of_client(tls: &TlsClient) -> impl Iterator<Item = &String> {
    tls.trust.iter().chain(&tls.certificate)
}

fn secrets_of_server(tls: &TlsServer) -> impl Iterator<Item = &String> {
    tls.by_server_name.values().chain(&tls.default).chain(&tls.client_trust)
}

/// True when none of the secrets has changed.
fn same<'a>(mut names: impl Iterator<Item = &'a String>, now: &Secrets, before: &Secrets) -> bool {
    names.all(|name| now.get(name) == before.get(name))
}

fn server_tls_of(
    listener: &Listener,
    chain: &FilterChain,
    config: &ProxyConfig,
    previous: &Snapshot,
    errors: &mut Vec<ProxyError>,
) -> Option<Arc<ServerTls>> {
    let tls = chain.tls.as_ref()?;
    let codec = codec_of(chain);
    if let Some(before) = previous.listeners.get(&listener.name) {
        let alike = |(it, _): &(&FilterChain, &SharedChain)| {
            it.name == chain.name && it.tls.as_ref() == Some(tls) && codec_of(it) == codec
        };
        let chains = SharedListener::chain_configs(&before.config).zip(&before.chains);
        if let Some((_, kept)) = chains.into_iter().find(alike)
            && same(secrets_of_server(tls), &config.secrets, &previous.config.secrets)
        {
            return kept.tls.clone();
        }
    }
    let (server, bad) = tls::server_tls(tls, codec, &config.secrets);
    errors.extend(
        bad.into_iter()
            .map(|source| ProxyError::Secret { listener: listener.name.clone(), source }),
    );
    Some(server)
}

fn codec_of(chain: &FilterChain) -> Option<HttpCodec> {
    match &chain.protocol {
        ListenerProtocol::Http(http) => Some(http.codec),
        ListenerProtocol::Tcp(_) => None,
    }
}
