use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Release};

use proxy_config::Cluster;

use crate::breaker::BreakerCounts;
use crate::cluster::{ClusterState, Roster};
use crate::health_check::CheckCounters;
use crate::outlier::ClusterOutliers;

/// What the decisions about failures know of a cluster; outlives a change of configuration.
#[derive(Debug, Default)]
pub(crate) struct Resilience {
    pub(crate) outliers: ClusterOutliers,
    pub(crate) breakers: BreakerCounts,
    pub(crate) checks: CheckCounters,
    pub(crate) membership_epoch: AtomicU64,
}

impl ClusterState {
    /// Grows whenever an endpoint is ejected, an ejection ends before its time, or a health check
    /// changes what an endpoint may be used for: sets of candidates made at an earlier value are
    /// out of date. An ejection that ends by its own time does not count;
    /// [`crate::EndpointState::ejected_until_ns`] says when.
    #[must_use]
    pub fn membership_epoch(&self) -> &AtomicU64 {
        &self.resilience().membership_epoch
    }

    pub(crate) fn note_membership_change(&self) {
        self.membership_epoch().fetch_add(1, Release);
    }
}

/// Brings the states of endpoints in line with a new configuration: failures in a row are counted
/// anew when the detectors have changed, results of checks that are gone are forgotten, and
/// endpoints that are new wait for their first check.
pub(crate) fn settle(roster: &Roster, previous: Option<&Cluster>) {
    let checks = roster.cluster.health_checks.len();
    let detectors_changed = previous.is_some_and(|it| it.outliers != roster.cluster.outliers);
    for (_, endpoint) in roster.each() {
        if detectors_changed {
            endpoint.outlier().forget_failures();
        }
        endpoint.check().begin(checks);
    }
}

/// Something that keeps a cluster's state alive, so that a guard can hold it: an `Arc`, a
/// reference, or a shell's own `Rc` whose copies cost no atomic operation.
pub trait ClusterHandle {
    /// The state.
    fn cluster_state(&self) -> &ClusterState;
}

impl ClusterHandle for ClusterState {
    fn cluster_state(&self) -> &ClusterState {
        self
    }
}

impl<T: ClusterHandle + ?Sized> ClusterHandle for &T {
    fn cluster_state(&self) -> &ClusterState {
        (**self).cluster_state()
    }
}

impl<T: ClusterHandle + ?Sized> ClusterHandle for Arc<T> {
    fn cluster_state(&self) -> &ClusterState {
        (**self).cluster_state()
    }
}

impl<T: ClusterHandle + ?Sized> ClusterHandle for Rc<T> {
    fn cluster_state(&self) -> &ClusterState {
        (**self).cluster_state()
    }
}
