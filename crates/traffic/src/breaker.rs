//! Circuit breakers (reference/load-balancing.md 2.17): how much of each may be under way at one
//! time, per cluster and priority, over all workers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use proxy_config::{CircuitBreakers, RoutingPriority};

use crate::cluster::ClusterState;
use crate::resilience::ClusterHandle;

/// What a breaker counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Breaker {
    /// Connections.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests under way.
    Requests,
    /// Retries under way.
    Retries,
}

impl Breaker {
    /// All of them.
    pub const ALL: [Breaker; 4] =
        [Breaker::Connections, Breaker::Pending, Breaker::Requests, Breaker::Retries];

    /// What comes before `_open` in Envoy's `circuit_breakers.<priority>.` gauges, and after
    /// `remaining_` (there in the plural: see [`Breaker::remaining_name`]).
    #[must_use]
    pub fn open_name(self) -> &'static str {
        match self {
            Breaker::Connections => "cx_open",
            Breaker::Pending => "rq_pending_open",
            Breaker::Requests => "rq_open",
            Breaker::Retries => "rq_retry_open",
        }
    }

    /// Envoy's gauge of what is left.
    #[must_use]
    pub fn remaining_name(self) -> &'static str {
        match self {
            Breaker::Connections => "remaining_cx",
            Breaker::Pending => "remaining_pending",
            Breaker::Requests => "remaining_rq",
            Breaker::Retries => "remaining_retries",
        }
    }
}

/// A breaker is open: no more of this may begin now. The answer is 503 with `x-envoy-overloaded:
/// true` and the response flag `UO`, and is never retried; for a retry, the answer is what there
/// was before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Overflow(pub Breaker);

/// What one breaker knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerLevel {
    /// So many are under way.
    pub current: u32,
    /// So many may be.
    pub max: u32,
}

impl BreakerLevel {
    /// No more may begin.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.current >= self.max
    }

    /// So many more may begin.
    #[must_use]
    pub fn remaining(self) -> u32 {
        self.max.saturating_sub(self.current)
    }
}

/// Counts of a cluster.
#[derive(Debug, Default)]
pub(crate) struct BreakerCounts {
    default: PriorityCounts,
    high: PriorityCounts,
    overflows: [AtomicU64; Breaker::ALL.len()],
}

/// One pair of cache lines per priority.
#[derive(Debug, Default)]
#[repr(align(128))]
struct PriorityCounts([AtomicU32; Breaker::ALL.len()]);

impl BreakerCounts {
    fn of(&self, priority: RoutingPriority, breaker: Breaker) -> &AtomicU32 {
        let counts = match priority {
            RoutingPriority::Default => &self.default,
            RoutingPriority::High => &self.high,
        };
        &counts.0[breaker as usize]
    }
}

/// One of what a breaker counts; it ends with the guard.
#[derive(Debug)]
#[must_use = "what is counted ends when the permit is dropped"]
pub struct Permit<H: ClusterHandle> {
    cluster: H,
    priority: RoutingPriority,
    breaker: Breaker,
}

impl<H: ClusterHandle> Permit<H> {
    /// A request begins.
    ///
    /// # Errors
    /// When so many are under way that no more may begin (counted as
    /// `upstream_rq_pending_overflow`).
    pub fn try_request(cluster: H, priority: RoutingPriority) -> Result<Self, Overflow> {
        Self::try_new(cluster, priority, Breaker::Requests)
    }

    /// A request begins to wait for a connection.
    ///
    /// # Errors
    /// When so many wait that no more may (`upstream_rq_pending_overflow`).
    pub fn try_pending(cluster: H, priority: RoutingPriority) -> Result<Self, Overflow> {
        Self::try_new(cluster, priority, Breaker::Pending)
    }

    /// A connection is opened. Over the limit it is only when `is_only_one`: the endpoint has no
    /// other connection (of this worker), so that a request would wait for ever, which is how Envoy
    /// does it; an overshoot of at most one per endpoint and worker.
    ///
    /// # Errors
    /// When there are so many that no more may be opened (`upstream_cx_overflow`, which counts the
    /// overshoot too).
    pub fn try_connection(
        cluster: H,
        priority: RoutingPriority,
        is_only_one: bool,
    ) -> Result<Self, Overflow> {
        let breaker = Breaker::Connections;
        let state = cluster.cluster_state();
        if !state.admit(priority, breaker) {
            if !is_only_one {
                return Err(Overflow(breaker));
            }
            state.resilience().breakers.of(priority, breaker).fetch_add(1, Relaxed);
        }
        Ok(Self { cluster, priority, breaker })
    }

    /// A retry begins; to be kept until the next one is decided on or the request ends. Where the
    /// cluster has a retry budget, `max(percent of the requests under way and waiting,
    /// retries_min)` may be under way, else the breaker's number.
    ///
    /// # Errors
    /// When no more may begin (`upstream_rq_retry_overflow`; see
    /// [`crate::RefusedRetry::BudgetExhausted`]).
    pub fn try_retry(cluster: H, priority: RoutingPriority) -> Result<Self, Overflow> {
        Self::try_new(cluster, priority, Breaker::Retries)
    }

    fn try_new(cluster: H, priority: RoutingPriority, breaker: Breaker) -> Result<Self, Overflow> {
        if !cluster.cluster_state().admit(priority, breaker) {
            return Err(Overflow(breaker));
        }
        Ok(Self { cluster, priority, breaker })
    }
}

impl<H: ClusterHandle> Drop for Permit<H> {
    fn drop(&mut self) {
        let counts = &self.cluster.cluster_state().resilience().breakers;
        counts.of(self.priority, self.breaker).fetch_sub(1, Relaxed);
    }
}

impl ClusterState {
    /// Level of a breaker, for gauges and explain.
    #[must_use]
    pub fn breaker(&self, priority: RoutingPriority, breaker: Breaker) -> BreakerLevel {
        BreakerLevel {
            current: self.resilience().breakers.of(priority, breaker).load(Relaxed),
            max: self.breaker_max(priority, breaker),
        }
    }

    /// How often a breaker refused, over both priorities. Envoy's `upstream_rq_pending_overflow` is
    /// the sum of those of pending and of all requests, `upstream_cx_overflow` and
    /// `upstream_rq_retry_overflow` the others.
    #[must_use]
    pub fn breaker_overflows(&self, breaker: Breaker) -> u64 {
        self.resilience().breakers.overflows[breaker as usize].load(Relaxed)
    }

    /// Whether one more connection may be opened to an endpoint that has `open` of them over all
    /// workers.
    #[must_use]
    pub fn allows_endpoint_connection(&self, priority: RoutingPriority, open: u64) -> bool {
        open < u64::from(self.breaker_settings(priority).endpoint_connections_max)
    }

    fn breaker_settings(&self, priority: RoutingPriority) -> &CircuitBreakers {
        match priority {
            RoutingPriority::Default => &self.cluster().breakers,
            RoutingPriority::High => &self.cluster().high_breakers,
        }
    }

    fn breaker_max(&self, priority: RoutingPriority, breaker: Breaker) -> u32 {
        let settings = self.breaker_settings(priority);
        match (breaker, self.cluster().retry_budget) {
            (Breaker::Connections, _) => settings.connections_max,
            (Breaker::Pending, _) => settings.pending_max,
            (Breaker::Requests, _) => settings.requests_max,
            (Breaker::Retries, None) => settings.retries_max,
            (Breaker::Retries, Some(budget)) => {
                let counts = &self.resilience().breakers;
                let under_way = [Breaker::Requests, Breaker::Pending]
                    .map(|it| u64::from(counts.of(priority, it).load(Relaxed)));
                let share = (under_way[0] + under_way[1]) * u64::from(budget.percent) / 100;
                u32::try_from(share).unwrap_or(u32::MAX).max(budget.retries_min)
            }
        }
    }

    /// Counts one more if it may begin. Adds first and takes back when it was too much: each that
    /// is let in saw fewer than the limit before itself, so the limit is never passed, and the
    /// common path is one atomic operation. While one takes back what it added, another may be
    /// refused that would just have fitted.
    fn admit(&self, priority: RoutingPriority, breaker: Breaker) -> bool {
        let counts = &self.resilience().breakers;
        let max = self.breaker_max(priority, breaker);
        let count = counts.of(priority, breaker);
        // Looks before it writes: when a breaker is open, refusals must not fight for the line.
        if count.load(Relaxed) < max {
            if count.fetch_add(1, Relaxed) < max {
                return true;
            }
            count.fetch_sub(1, Relaxed);
        }
        counts.overflows[breaker as usize].fetch_add(1, Relaxed);
        false
    }
}

#[cfg(test)]
mod tests;
