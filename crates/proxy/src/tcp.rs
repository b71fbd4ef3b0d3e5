//! Connections whose bytes are passed on as they are: TCP listeners, and what tunnels share with them.

mod dial;
mod pools;
mod relay;
mod splice;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use traffic::{Outcome, ResponseFlag, ResponseFlags};

use crate::access_log::Connection;
use crate::opening::{ClientFacts, Opened, Place};
use crate::reply::Refusal;
use crate::snapshot::SharedListener;
use crate::stats::{ClusterCounters, MeshCounters, Shard, TcpCounters};
use crate::upstream::ForWhom;
use crate::view::{ListenerKind, ListenerView, WorkerCluster};
use crate::worker::Worker;

pub(crate) use dial::dial;
pub(crate) use pools::Pools;
pub(crate) use relay::{Ended, Relayed, Way, relay};

/// Serves a connection of a TCP chain until it ends. Without an endpoint it is closed: there is no other way to say it.
pub(crate) async fn serve(worker: &Worker, view: Rc<ListenerView>, opened: Opened, place: Place) {
    let (ListenerKind::Tcp(tcp), Some(config)) = (&view.kind, view.tcp()) else { return };
    let counters = tcp.counters.clone();
    counters.downstream_cx_total.inc();
    let started = worker.now();
    let mut log = Log::new(&view, started);
    let Some(cluster) = tcp.choose(worker) else {
        counters.downstream_cx_no_route.inc();
        log.flags.insert(ResponseFlag::NoRouteFound);
        return log.write(worker, &opened.facts);
    };
    log.cluster = Some(cluster.clone());
    let (tries_max, idle_timeout) = (config.connect_tries_max, config.idle_timeout);
    // From here on nothing is asked of the listener: an old configuration is let go.
    drop(view);
    let Opened { mut transport, read_ahead, facts } = opened;
    let for_whom = |cluster: &WorkerCluster| ForWhom {
        host: facts.server_name.as_deref().filter(|_| cluster.transport.takes_host()).map(Rc::from),
        addresses: cluster.transport.proxy_protocol.map(|_| facts.addresses()),
    };
    let mut dialed = match dial(worker, &cluster, tries_max, &for_whom(&cluster)).await {
        Ok(dialed) => dialed,
        Err(refusal) => {
            log.flags.insert(match refusal {
                Refusal::NoHealthyUpstream => ResponseFlag::NoHealthyUpstream,
                _ => ResponseFlag::UpstreamConnectionFailure,
            });
            return log.write(worker, &facts);
        }
    };
    let (upstream, mesh) = (cluster.counters.clone(), cluster.mesh.clone());
    let meter = Meter { tcp: counters.clone(), cluster: upstream, mesh };
    cluster.mesh.tcp_opened.inc();
    let relayed = relay(
        &worker.pools,
        (&mut transport, read_ahead),
        (&mut dialed.stream, bytes::Bytes::new()),
        idle_timeout,
        |way, bytes| meter.count(way, bytes),
    )
    .await;
    cluster.mesh.tcp_closed.inc();
    if let Ended::Idle = relayed.ended {
        counters.idle_timeout.inc();
        log.flags.insert(ResponseFlag::StreamIdleTimeout);
    }
    // A connection that was established says that the endpoint lives, whatever was spoken on it.
    let outcome = Outcome::Response { status: http::StatusCode::OK.as_u16() };
    worker.report(&cluster, dialed.picked.endpoint(), outcome, worker.now());
    log.relayed = Some((relayed, dialed.picked.endpoint().socket_address()));
    log.write(worker, &facts);
    drop(place);
}

/// Counts bytes as they move.
struct Meter {
    tcp: Shard<TcpCounters>,
    cluster: Shard<ClusterCounters>,
    mesh: Shard<MeshCounters>,
}

impl Meter {
    fn count(&self, way: Way, bytes: u64) {
        match way {
            Way::ToEndpoint => {
                self.tcp.downstream_cx_rx_bytes_total.add(bytes);
                self.mesh.tcp_received_bytes.add(bytes);
                self.cluster.upstream_cx_tx_bytes_total.add(bytes);
            }
            Way::ToClient => {
                self.cluster.upstream_cx_rx_bytes_total.add(bytes);
                self.tcp.downstream_cx_tx_bytes_total.add(bytes);
                self.mesh.tcp_sent_bytes.add(bytes);
            }
        }
    }
}

/// What is written about a connection when it has ended.
struct Log {
    chain: Option<Arc<SharedListener>>,
    index: usize,
    started: Instant,
    start_unix_ms: u64,
    flags: ResponseFlags,
    cluster: Option<Rc<WorkerCluster>>,
    relayed: Option<(Relayed, Option<std::net::SocketAddr>)>,
}

impl Log {
    fn new(view: &ListenerView, started: Instant) -> Self {
        // An old configuration is kept for a log only.
        let chain = (!view.logs().is_empty()).then(|| view.shared.clone());
        let start_unix_ms = if chain.is_some() { runtime::unix_ms() } else { 0 };
        Self {
            chain,
            index: view.chain_index(),
            started,
            start_unix_ms,
            flags: ResponseFlags::NONE,
            cluster: None,
            relayed: None,
        }
    }

    fn write(self, worker: &Worker, facts: &ClientFacts) {
        let Some(listener) = &self.chain else { return };
        let (relayed, upstream_host) = self.relayed.map_or((None, None), |it| (Some(it.0), it.1));
        let connection = Connection {
            client: facts,
            chain: SharedListener::chain_configs(&listener.config)
                .nth(self.index)
                .map_or("", |it| &it.name),
            cluster: self.cluster.as_ref().map(|it| it.state.name()),
            start_unix_ms: self.start_unix_ms,
            duration: worker.now().saturating_duration_since(self.started),
            flags: self.flags,
            bytes_received: relayed.as_ref().map_or(0, |it| it.to_endpoint),
            bytes_sent: relayed.as_ref().map_or(0, |it| it.to_client),
            upstream_host,
        };
        listener.chains[self.index].logs.write(&connection, || worker.random_u32());
    }
}
