use std::sync::Arc;

use traffic::{ActiveConnection, EndpointState, LentEndpoint, Outcome, Picked};

use crate::reply::Refusal;
use crate::stats::{ClusterCounters, Shard};
use crate::tls::Offer;
use crate::upstream::{self, ForWhom, NoConnection, UpstreamStream};
use crate::view::WorkerCluster;
use crate::worker::Worker;

/// A connection to an endpoint, counted as long as it lives.
pub(crate) struct Dialed {
    pub(crate) stream: UpstreamStream,
    pub(crate) picked: Picked<LentEndpoint>,
    _counted: ActiveConnection,
    _active: Active,
}

struct Active(Shard<ClusterCounters>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.upstream_cx_active.dec();
        self.0.upstream_cx_destroy.inc();
    }
}

/// Connects to an endpoint of the cluster, to another one when that fails, and to no more than `tries_max`.
pub(crate) async fn dial(
    worker: &Worker,
    cluster: &WorkerCluster,
    tries_max: u32,
    for_whom: &ForWhom,
) -> Result<Dialed, Refusal> {
    let mut tried: Vec<Arc<EndpointState>> = Vec::new();
    let limit = cluster.state.cluster().connect_timeout;
    let counters = &cluster.counters;
    loop {
        let mut picked = worker.pick(cluster, &tried, worker.now()).map_err(|_| {
            counters.upstream_cx_none_healthy.inc();
            Refusal::NoHealthyUpstream
        })?;
        // A relay may outlive many configurations.
        picked.keep();
        let endpoint = picked.endpoint();
        let transport = &cluster.transport;
        let connected =
            upstream::connect(endpoint, transport, for_whom, Offer::Nothing, limit).await;
        upstream::count_connect(counters, &connected);
        let failure = match connected {
            Ok(stream) => {
                let counted = ActiveConnection::new(endpoint.clone());
                let active = Active(counters.clone());
                return Ok(Dialed { stream, picked, _counted: counted, _active: active });
            }
            Err(failure) => failure,
        };
        let outcome = match failure.why {
            NoConnection::TimedOut => Outcome::ConnectTimedOut,
            NoConnection::Failed => Outcome::ConnectFailed,
            NoConnection::Local | NoConnection::Overflow | NoConnection::Retired => {
                Outcome::Abandoned
            }
        };
        worker.report(cluster, endpoint, outcome, worker.now());
        tried.push(endpoint.clone());
        if tried.len() >= tries_max.max(1) as usize {
            counters.upstream_cx_connect_attempts_exceeded.inc();
            return Err(Refusal::ConnectFailed);
        }
    }
}
