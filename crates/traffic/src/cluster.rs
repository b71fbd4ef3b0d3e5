use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proxy_config::{Balancing, Cluster, Endpoint, EndpointHealth, Endpoints};

use crate::endpoint::EndpointState;
use crate::resilience::Resilience;
use crate::schedule::Schedule;

/// A cluster with its endpoints and what is known about them: one per configuration, shared by all
/// workers.
///
/// What is counted (active requests, ejections, turns) lives on in the next state made with this
/// one as `previous`.
#[derive(Debug)]
pub struct ClusterState {
    cluster: Arc<Cluster>,
    endpoints: Arc<Endpoints>,
    /// In the order of `endpoints`.
    states: Vec<Arc<EndpointState>>,
    /// Indices of the endpoints that the configuration calls healthy.
    pub(crate) healthy: Vec<u32>,
    /// Turns over positions in `healthy`.
    pub(crate) schedule: Schedule,
    shared: Arc<Shared>,
}

/// What outlives a change of configuration.
#[derive(Debug)]
struct Shared {
    /// Next turn of the schedule.
    turn: AtomicU64,
    /// No ejection of this cluster lasts longer: lets a pick skip the look at each endpoint.
    ejections_end_ns: AtomicU64,
    ejections_total: AtomicU64,
    resilience: Resilience,
}

impl ClusterState {
    /// State for a configuration. Endpoints that were in `previous` with the same id and address
    /// keep their state. `seed` is where the turns begin when there is no `previous`, so that
    /// proxies do not march in step.
    #[must_use]
    pub fn new(
        cluster: Arc<Cluster>,
        endpoints: Arc<Endpoints>,
        previous: Option<&ClusterState>,
        seed: u64,
    ) -> ClusterState {
        let known: foldhash::HashMap<&str, &Arc<EndpointState>> = previous
            .iter()
            .flat_map(|previous| &previous.states)
            .map(|state| (state.id(), state))
            .collect();
        let states: Vec<_> = endpoints
            .endpoints
            .iter()
            .map(|endpoint| match known.get(endpoint.id.as_str()) {
                Some(state) if state.is_same_place(endpoint) => Arc::clone(state),
                _ => Arc::new(EndpointState::new(endpoint)),
            })
            .collect();
        let healthy: Vec<u32> = (0u32..)
            .zip(&endpoints.endpoints)
            .filter(|(_, endpoint)| {
                matches!(endpoint.health, EndpointHealth::Healthy | EndpointHealth::Degraded)
            })
            .map(|(idx, _)| idx)
            .collect();
        let weights = healthy.iter().map(|idx| endpoints.endpoints[*idx as usize].weight);
        let schedule = match cluster.balancing {
            Balancing::Weighted => Schedule::weighted(&weights.collect::<Vec<_>>()),
            Balancing::Random
            | Balancing::RoundRobin
            | Balancing::LeastRequest(_)
            | Balancing::PeakEwma(_)
            | Balancing::RingHash(_)
            | Balancing::Maglev(_) => Schedule::equal(healthy.len()),
        };
        let shared = match previous {
            Some(previous) => Arc::clone(&previous.shared),
            None => Arc::new(Shared {
                // Far from the end, so that adding turns for years does not wrap.
                turn: AtomicU64::new(seed >> 16),
                ejections_end_ns: AtomicU64::new(0),
                ejections_total: AtomicU64::new(0),
                resilience: Resilience::default(),
            }),
        };
        let state = ClusterState { cluster, endpoints, states, healthy, schedule, shared };
        state.settle_endpoints(previous);
        state
    }

    /// Name of the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.cluster.name
    }

    /// The cluster's configuration.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// All endpoints, each with its configuration and its state, in the order of the configuration.
    pub fn endpoints(
        &self,
    ) -> impl ExactSizeIterator<Item = (&Endpoint, &Arc<EndpointState>)> + use<'_> {
        self.endpoints.endpoints.iter().zip(&self.states)
    }

    /// Endpoints that the configuration calls healthy, ejected or not.
    #[must_use]
    pub fn healthy_count(&self) -> usize {
        self.healthy.len()
    }

    /// Endpoints that are ejected at `now_ns`.
    #[must_use]
    pub fn ejected_count(&self, now_ns: u64) -> usize {
        if !self.may_have_ejections(now_ns) {
            return 0;
        }
        self.states.iter().filter(|state| state.is_ejected(now_ns)).count()
    }

    /// Endpoints that are healthy by the configuration and not ejected at `now_ns`.
    #[must_use]
    pub fn healthy_not_ejected_count(&self, now_ns: u64) -> usize {
        let healthy = self.healthy.iter().map(|idx| &self.states[*idx as usize]);
        healthy.filter(|state| !state.is_ejected(now_ns)).count()
    }

    /// Ejections since the cluster came to be.
    #[must_use]
    pub fn ejections_total(&self) -> u64 {
        self.shared.ejections_total.load(Relaxed)
    }

    pub(crate) fn resilience(&self) -> &Resilience {
        &self.shared.resilience
    }

    /// Configuration and state of a healthy endpoint by its position among the healthy ones.
    pub(crate) fn healthy_at(&self, position: usize) -> (&Endpoint, &Arc<EndpointState>) {
        let idx = self.healthy[position] as usize;
        (&self.endpoints.endpoints[idx], &self.states[idx])
    }

    /// False only if no endpoint is ejected at `now_ns`.
    pub(crate) fn may_have_ejections(&self, now_ns: u64) -> bool {
        self.shared.ejections_end_ns.load(Relaxed) > now_ns
    }

    pub(crate) fn note_ejection(&self, until_ns: u64) {
        self.shared.ejections_end_ns.fetch_max(until_ns, Relaxed);
        self.shared.ejections_total.fetch_add(1, Relaxed);
    }

    pub(crate) fn turn(&self) -> &AtomicU64 {
        &self.shared.turn
    }
}
