//! Whether a request may wait for a connection, and whether one may be opened for it.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use proxy_config::{Cluster, RoutingPriority};
use traffic::{ClusterState, Permit};

use super::{EndpointPool, NoConnection};

/// The cluster that a connection is asked for, and for which kind of request.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    state: &'a Arc<ClusterState>,
    priority: RoutingPriority,
}

impl Deref for Terms<'_> {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.state.cluster()
    }
}

impl<'a> Terms<'a> {
    pub(crate) fn new(state: &'a Arc<ClusterState>, priority: RoutingPriority) -> Self {
        Self { state, priority }
    }

    /// A request begins to wait for a connection, be it one that is opened for it.
    pub(super) fn wait(&self, pool: &EndpointPool) -> Result<Waiting<'a>, NoConnection> {
        let permit = Permit::try_pending(self.state, self.priority);
        let permit = permit.map_err(|_| NoConnection::Overflow)?;
        pool.counters.upstream_rq_pending_total.inc();
        Ok(Waiting { _permit: permit })
    }

    /// A connection of the pool is opened, if there may be one more. As in Envoy a pool without a connection may always
    /// open one, for its requests would wait for ever.
    pub(super) fn open(&self, pool: &EndpointPool) -> Option<OpeningPermit> {
        let is_only_one = pool.open.get() == 0;
        if !is_only_one && pool.open.get() >= self.connections_max {
            return None;
        }
        let open = pool.endpoint.counters().cx_active.load(Relaxed);
        if !is_only_one && !self.state.allows_endpoint_connection(self.priority, open) {
            return None;
        }
        Permit::try_connection(self.state.clone(), self.priority, is_only_one).ok()
    }
}

/// One of the requests that wait for a connection of a cluster.
pub(super) struct Waiting<'a> {
    _permit: Permit<&'a Arc<ClusterState>>,
}

/// One of a cluster's connections.
pub(super) type OpeningPermit = Permit<Arc<ClusterState>>;

/// How much a connection has been used, and how much it may be.
pub(super) struct Wear {
    requests_left: Cell<Option<u32>>,
    duration_max: Option<Duration>,
    ends_at: Cell<Option<Instant>>,
}

impl Wear {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let requests = cluster.requests_per_connection_max;
        let duration = cluster.connection_duration_max;
        Self {
            requests_left: Cell::new((requests > 0).then_some(requests)),
            duration_max: (!duration.is_zero()).then_some(duration),
            ends_at: Cell::new(None),
        }
    }

    /// It is established. Where its duration is bounded the clock is read.
    pub(super) fn begin(&self) {
        self.ends_at.set(self.duration_max.map(|it| runtime::monotonic() + it));
    }

    /// It takes one more request.
    pub(super) fn note_request(&self) {
        self.requests_left.set(self.requests_left.get().map(|it| it.saturating_sub(1)));
    }

    /// It may take no more requests.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.takes_no_more() || self.ends_at.get().is_some_and(|at| at <= now)
    }

    /// The same, now. The clock is read only where a connection's duration is bounded.
    pub(super) fn is_over_now(&self) -> bool {
        self.takes_no_more() || self.ends_at.get().is_some_and(|at| at <= runtime::monotonic())
    }

    /// It has carried as many requests as it may.
    pub(super) fn takes_no_more(&self) -> bool {
        self.requests_left.get() == Some(0)
    }
}

/// A response that was thrown away is read on for no longer than this, so that its connection can be used again.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// And for no more bytes than this: opening another connection costs less.
pub(super) const DRAIN_BYTES_MAX: usize = 64 * 1024;
