//! What is the same for all requests of a route, looked up and compiled when the configuration comes.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use codec::message::HeaderMap;
use http::HeaderValue;
use proxy_config::{Forward, HeaderMatch};
use traffic::{
    ChosenCluster, Fields, HeaderCondition, RequestHash, RequestTimeouts, RetryPlan, RoutePlan,
};

use crate::exchange::millis;
use crate::view::{Clusters, WorkerCluster};
use crate::worker::Worker;

/// A route that forwards, as one worker sees it.
pub(crate) struct WorkerRoute {
    /// In the order of the plan's entries; `None` where there is no cluster of that name.
    clusters: Vec<Option<Rc<WorkerCluster>>>,
    /// The only cluster that can be chosen.
    is_one: bool,
    /// What endpoints must have, for each cluster; empty when nothing is asked for.
    subsets: Vec<BTreeMap<String, String>>,
    /// In the order of the route's mirrors.
    pub(super) mirrors: Vec<Option<Rc<WorkerCluster>>>,
    pub(super) hash: RequestHash,
    /// Of a request that says nothing of it.
    pub(super) timeouts: RequestTimeouts,
    /// What an endpoint is told of them.
    pub(super) expected: Option<HeaderValue>,
    /// Of a request that says nothing of it.
    pub(super) retry: RetryPlan,
    pub(super) retry_requests: Vec<HeaderCondition>,
    pub(super) retry_responses: Vec<HeaderCondition>,
    /// Path and host stay, and so do the headers, whichever cluster is chosen.
    pub(super) is_head_kept: bool,
}

/// The cluster that a request goes to.
pub(crate) struct Chosen {
    pub(crate) cluster: Rc<WorkerCluster>,
    /// Its position in the route's list.
    pub(super) entry: Option<usize>,
}

impl WorkerRoute {
    pub(crate) fn new(route: &Forward, plan: &RoutePlan, clusters: &Clusters) -> Self {
        let entries = plan.clusters.entries();
        let subset = |own: &BTreeMap<String, String>| {
            let mut subset = route.subset.clone();
            subset.extend(own.clone());
            subset
        };
        let timeouts = RequestTimeouts::of_route(route);
        let hash = RequestHash::new(&route.hash).unwrap_or_else(|error| {
            // The router has reported it, and such a route matches nothing.
            tracing::debug!(%error, "a hash policy is not valid");
            RequestHash::default()
        });
        Self {
            clusters: entries.iter().map(|it| clusters.get(&it.cluster).cloned()).collect(),
            is_one: matches!(route.cluster, proxy_config::ClusterChoice::One(_)),
            subsets: entries.iter().map(|it| subset(&it.subset)).collect(),
            mirrors: route.mirrors.iter().map(|it| clusters.get(&it.cluster).cloned()).collect(),
            hash,
            expected: timeouts.expected(Duration::ZERO).map(|it| millis(it).into()),
            timeouts,
            retry: RetryPlan::of_policy(&route.retry, || true),
            retry_requests: conditions(&route.retry.request_headers),
            retry_responses: conditions(&route.retry.response_headers),
            is_head_kept: plan.path.is_keep()
                && route.host == proxy_config::HostRewrite::Keep
                && entries.iter().all(|it| it.request_headers.is_empty()),
        }
    }

    /// The cluster that a request with these headers goes to; `None` when there is none.
    pub(crate) fn choose(
        &self,
        plan: &RoutePlan,
        headers: &HeaderMap,
        worker: &Worker,
    ) -> Option<Chosen> {
        if self.is_one {
            let cluster = self.clusters.first()?.clone()?;
            return Some(Chosen { cluster, entry: Some(0) });
        }
        match plan.clusters.choose(worker.random(), headers) {
            ChosenCluster::Listed(entry) => {
                let cluster = self.clusters.get(entry)?.clone()?;
                Some(Chosen { cluster, entry: Some(entry) })
            }
            ChosenCluster::Named(name) => {
                Some(Chosen { cluster: worker.cluster(name)?, entry: None })
            }
            ChosenCluster::Nowhere => None,
        }
    }

    /// What the endpoint must have; `None` when nothing is asked for.
    pub(super) fn subset<'a>(
        &'a self,
        route: &'a Forward,
        entry: Option<usize>,
    ) -> Option<&'a BTreeMap<String, String>> {
        let subset = entry.map_or(&route.subset, |it| &self.subsets[it]);
        (!subset.is_empty()).then_some(subset)
    }
}

/// Those that can be made ready; the others never hold.
fn conditions(all: &[HeaderMatch]) -> Vec<HeaderCondition> {
    all.iter().filter_map(|it| HeaderCondition::new(it).ok()).collect()
}

/// Header fields of a message that has no pseudo-headers.
pub(super) struct HeadersOnly<'a>(pub(super) &'a HeaderMap);

impl traffic::RequestFields for HeadersOnly<'_> {
    fn pseudo(&self, _: traffic::Pseudo) -> Option<std::borrow::Cow<'_, str>> {
        None
    }

    fn all<'a>(&'a self, name: &http::HeaderName) -> impl Iterator<Item = &'a [u8]> {
        Fields::all(self.0, name)
    }
}
