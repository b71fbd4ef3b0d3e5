//! A configuration made ready for use, shared by all workers.
//!
//! Built once per update on the control thread. What did not change is taken from the snapshot before, so that
//! counters, ejections and TLS tickets live on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use proxy_config::{
    Endpoints, HttpListener, Listener, ListenerProtocol, ProxyConfig, RouteTable, Secret, TlsServer,
};
use tokio::sync::Semaphore;
use traffic::{ClusterState, Router, Surroundings};

use crate::error::ProxyError;
use crate::tls::{self, ServerTls};

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
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl SharedListener {
    pub(crate) fn http(&self) -> Option<&HttpListener> {
        match &self.config.chains[0].protocol {
            ListenerProtocol::Http(http) => Some(http),
            ListenerProtocol::Tcp(_) => None,
        }
    }

    /// True when connections of `other` can go on under this listener.
    pub(crate) fn speaks_like(&self, other: &SharedListener) -> bool {
        match (self.http(), other.http()) {
            (Some(_), Some(_)) => {
                self.config.chains[0].tls.is_some() == other.config.chains[0].tls.is_some()
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// A configuration made ready for use.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) config: Arc<ProxyConfig>,
    pub(crate) listeners: BTreeMap<String, Arc<SharedListener>>,
    pub(crate) routers: BTreeMap<String, Arc<Router>>,
    pub(crate) clusters: BTreeMap<String, Arc<ClusterState>>,
}

impl Snapshot {
    /// Makes `config` ready. `sockets` says where each listener listens; those that are not in it are left out.
    pub(crate) fn build(
        config: Arc<ProxyConfig>,
        sockets: &BTreeMap<String, (SocketId, SocketAddr)>,
        previous: &Snapshot,
        seed: u64,
    ) -> (Snapshot, Vec<ProxyError>) {
        let mut errors = Vec::new();
        let routers = routers(&config, previous);
        let clusters = clusters(&config, previous, seed);
        let mut listeners = BTreeMap::new();
        for (name, listener) in &config.listeners {
            let Some((socket, local_address)) = sockets.get(name) else { continue };
            let before = previous.listeners.get(name);
            let connections = match before {
                Some(before) if before.config.connections_max == listener.connections_max => {
                    before.connections.clone()
                }
                _ => Arc::new(Semaphore::new(listener.connections_max as usize)),
            };
            let tls = tls_of(listener, &config, before, previous, &mut errors);
            let shared = SharedListener {
                config: listener.clone(),
                socket: *socket,
                local_address: *local_address,
                connections,
                tls,
            };
            listeners.insert(name.clone(), Arc::new(shared));
        }
        (Snapshot { config, listeners, routers, clusters }, errors)
    }
}

fn routers(config: &ProxyConfig, previous: &Snapshot) -> BTreeMap<String, Arc<Router>> {
    let made = |name: &String, table: &Arc<RouteTable>| {
        if let Some(router) = previous.routers.get(name)
            && previous.config.route_tables.get(name) == Some(table)
        {
            return router.clone();
        }
        Arc::new(Router::new(table))
    };
    config.route_tables.iter().map(|(name, table)| (name.clone(), made(name, table))).collect()
}

fn clusters(
    config: &ProxyConfig,
    previous: &Snapshot,
    seed: u64,
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
                let surroundings = Surroundings { previous, seed, ..Surroundings::default() };
                Arc::new(ClusterState::new(cluster.clone(), endpoints, surroundings))
            }
        };
        clusters.insert(name.clone(), state);
    }
    clusters
}

fn tls_of(
    listener: &Listener,
    config: &ProxyConfig,
    before: Option<&Arc<SharedListener>>,
    previous: &Snapshot,
    errors: &mut Vec<ProxyError>,
) -> Option<Arc<ServerTls>> {
    let tls = listener.chains[0].tls.as_ref()?;
    if let Some(before) = before
        && before.config.chains[0].tls.as_ref() == Some(tls)
        && same_secrets(tls, &config.secrets, &previous.config.secrets)
    {
        return before.tls.clone();
    }
    let (server, bad) = tls::server_config(tls, &config.secrets);
    errors.extend(
        bad.into_iter()
            .map(|source| ProxyError::Secret { listener: listener.name.clone(), source }),
    );
    Some(server)
}

fn same_secrets(
    tls: &TlsServer,
    now: &BTreeMap<String, Arc<Secret>>,
    before: &BTreeMap<String, Arc<Secret>>,
) -> bool {
    tls.by_server_name.values().chain(&tls.default).all(|name| now.get(name) == before.get(name))
}
