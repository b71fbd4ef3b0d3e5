use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use proxy_config::{Balancing, Cluster, Endpoint, EndpointHealth, Endpoints, Locality, Place};

use crate::endpoint::EndpointState;
use crate::ewma::Scale;
use crate::locality::Home;
use crate::pick::plan::{Heritage, Plan, Tables};
use crate::resilience::{self, Resilience};
use crate::subset::Parts;

/// A cluster with its endpoints and what is known about them: one per configuration, shared by all
/// workers.
///
/// What is counted (active requests, ejections, turns) lives on in the next state made with this
/// one as `previous`.
#[derive(Debug)]
pub struct ClusterState {
    roster: Roster,
    /// Whom picks choose from. Replaced when [`ClusterState::membership_epoch`] has moved on or an
    /// ejection has ended, by the first pick that sees it.
    plan: ArcSwap<Plan>,
    /// One worker makes the next plan; the others go on with the one that there is.
    planning: AtomicBool,
    /// [`Plan::number`] of the newest.
    newest: AtomicU64,
    by_address: OnceLock<foldhash::HashMap<String, u32>>,
    shared: Arc<Shared>,
}

/// Endpoints as they are configured, with their states: what stays the same over all plans.
#[derive(Debug)]
pub(crate) struct Roster {
    pub cluster: Arc<Cluster>,
    pub endpoints: Arc<Endpoints>,
    /// In the order of `endpoints`.
    states: Arc<[Arc<EndpointState>]>,
    spots: Vec<Spot>,
    pub parts: Parts,
    /// Number of priorities, at least 1.
    pub priorities: usize,
    /// Where the proxy is, for zone-aware balancing.
    pub home: Option<Home>,
    /// Where turns begin.
    pub first_turn: u64,
    /// The policy looks at the active requests of the whole cluster.
    pub bounds_load: bool,
}

/// Where an endpoint belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// Rank of its priority.
    pub priority: usize,
    /// Index of its locality.
    pub locality: u32,
}

/// What outlives a change of configuration.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// No ejection of this cluster lasts longer: lets a count skip the look at each endpoint.
    ejections_end_ns: AtomicU64,
    ejections_total: AtomicU64,
    /// Requests under way; counted only where loads are bounded.
    pub active: AtomicU64,
    resilience: Resilience,
}

/// What a state is made from besides its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The state before: endpoints that were in it with the same id and address keep theirs.
    pub previous: Option<&'a ClusterState>,
    /// Where the proxy is and the endpoints of the cluster that it is one of, for zone-aware
    /// balancing. When they change, the state must be made anew.
    pub home: Option<(&'a Place, &'a Endpoints)>,
    /// Where turns begin when there is no `previous`, so that proxies do not march in step.
    pub seed: u64,
    /// Now, in nanoseconds since the caller's epoch.
    pub now_ns: u64,
}

impl ClusterState {
    /// State for a configuration, with its hash tables: may take milliseconds, so not on a
    /// request's way.
    #[must_use]
    pub fn new(
        cluster: Arc<Cluster>,
        endpoints: Arc<Endpoints>,
        surroundings: Surroundings<'_>,
    ) -> ClusterState {
        let previous = surroundings.previous;
        let roster = Roster::new(cluster, endpoints, &surroundings);
        resilience::settle(&roster, previous.map(|it| &*it.roster.cluster));
        if let Some(previous) = previous {
            roster.end_ejections_of_recovered(&previous.roster, surroundings.now_ns);
        }
        let shared = previous.map_or_else(Arc::default, |it| Arc::clone(&it.shared));
        let epoch = shared.resilience.membership_epoch.load(Acquire);
        let before = previous.map(|it| it.plan.load_full());
        let numbers = previous.map(|it| roster.parts.numbers_in(&it.roster.parts));
        let heritage = before.as_deref().map(|plan| Heritage {
            plan,
            numbers: numbers.as_deref(),
            same_endpoints: false,
        });
        let plan = Plan::new(&roster, epoch, surroundings.now_ns, heritage, Tables::Exact);
        ClusterState {
            roster,
            newest: AtomicU64::new(plan.number),
            plan: ArcSwap::from_pointee(plan),
            planning: AtomicBool::new(false),
            by_address: OnceLock::new(),
            shared,
        }
    }

    /// Name of the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.roster.cluster.name
    }

    /// The cluster's configuration.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.roster.cluster
    }

    /// All endpoints, each with its configuration and its state, in the order of the configuration.
    pub fn endpoints(
        &self,
    ) -> impl ExactSizeIterator<Item = (&Endpoint, &Arc<EndpointState>)> + use<'_> {
        self.roster.endpoints.endpoints.iter().zip(self.roster.states.iter())
    }

    /// Endpoints that the configuration calls healthy or degraded, ejected or not.
    #[must_use]
    pub fn healthy_count(&self) -> usize {
        self.healthy().count()
    }

    /// Endpoints that are ejected at `now_ns`.
    #[must_use]
    pub fn ejected_count(&self, now_ns: u64) -> usize {
        if self.shared.ejections_end_ns.load(Relaxed) <= now_ns {
            return 0;
        }
        self.roster.states.iter().filter(|state| state.is_ejected(now_ns)).count()
    }

    /// Endpoints that are healthy by the configuration and not ejected at `now_ns`.
    #[must_use]
    pub fn healthy_not_ejected_count(&self, now_ns: u64) -> usize {
        self.healthy().filter(|state| !state.is_ejected(now_ns)).count()
    }

    /// Ejections since the cluster came to be.
    #[must_use]
    pub fn ejections_total(&self) -> u64 {
        self.shared.ejections_total.load(Relaxed)
    }

    /// Takes in the time from the sending of a request to the head of its response.
    pub fn observe_response(&self, endpoint: &EndpointState, rtt_ns: u64, now_ns: u64) {
        endpoint.counters().durations.record(rtt_ns / 1000);
        self.observe_rtt(endpoint, rtt_ns, now_ns);
    }

    /// Takes in what counts as such a time where the policy is peak EWMA: for a failure, a penalty (Linkerd: 5 s), so that it
    /// counts as slow.
    pub fn observe_rtt(&self, endpoint: &EndpointState, rtt_ns: u64, now_ns: u64) {
        if let Balancing::PeakEwma(ewma) = self.roster.cluster.balancing {
            endpoint.counters().latency.observe(rtt_ns, now_ns, Scale::from(ewma).decay_ns);
        }
    }

    pub(crate) fn note_ejection(&self, until_ns: u64) {
        self.shared.ejections_end_ns.fetch_max(until_ns, Relaxed);
        self.shared.ejections_total.fetch_add(1, Relaxed);
        self.note_membership_change();
    }

    /// True while a consistent policy uses tables in which endpoints have places that are not to be
    /// used (they are passed over) or lack one that they should have. Cheap; ask it now and then,
    /// and after ejections and checks, and call [`ClusterState::rebuild_tables`] where it is true.
    #[must_use]
    pub fn tables_are_stale(&self, now_ns: u64) -> bool {
        let plan = self.plan.load();
        plan.tables_stale
            || (self.roster.cluster.balancing.is_consistent() && self.is_outdated(&plan, now_ns))
    }

    /// Places hashes as if only the endpoints existed that can be used now, as Envoy does. Takes
    /// milliseconds, and with large rings seconds: not on a request's way, though requests go on
    /// meanwhile. When a pick takes in a change at the same moment nothing is done, and the tables
    /// stay stale.
    pub fn rebuild_tables(&self, now_ns: u64) {
        // Without the flag, so that an ejection meanwhile takes effect at once. If this plan is
        // outdated by then, the next pick sees it and goes on from its tables.
        let plan = self.next_plan(now_ns, Tables::Exact);
        if let Some(planning) = self.begin_planning() {
            self.publish(plan, &planning);
        }
    }

    pub(crate) fn resilience(&self) -> &Resilience {
        &self.shared.resilience
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whom a pick chooses from.
    #[inline]
    pub(crate) fn plan(&self, now_ns: u64) -> arc_swap::Guard<Arc<Plan>> {
        let plan = self.plan.load();
        if !self.is_outdated(&plan, now_ns) {
            return plan;
        }
        self.replan(now_ns);
        self.plan.load()
    }

    /// The plan as it is, outdated or not.
    pub(crate) fn newest_plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    /// No newer plan was made, and none must be.
    #[inline]
    pub(crate) fn is_newest(&self, plan: &Plan, now_ns: u64) -> bool {
        plan.number == self.newest.load(Acquire) && !self.is_outdated(plan, now_ns)
    }

    #[inline]
    fn is_outdated(&self, plan: &Plan, now_ns: u64) -> bool {
        plan.epoch != self.membership_epoch().load(Acquire) || plan.until_ns <= now_ns
    }

    /// Makes the next plan for the pick that is the first to need it.
    #[cold]
    fn replan(&self, now_ns: u64) {
        if let Some(planning) = self.begin_planning() {
            let plan = self.next_plan(now_ns, Tables::Kept);
            self.publish(plan, &planning);
        }
    }

    fn begin_planning(&self) -> Option<Planning<'_>> {
        (!self.planning.swap(true, Acquire)).then_some(Planning(&self.planning))
    }

    fn next_plan(&self, now_ns: u64, tables: Tables) -> Plan {
        // Before the states are read: what changes meanwhile makes the plan outdated at once.
        let epoch = self.membership_epoch().load(Acquire);
        let before = self.plan.load_full();
        let heritage = Heritage { plan: &before, numbers: None, same_endpoints: true };
        Plan::new(&self.roster, epoch, now_ns, Some(heritage), tables)
    }

    fn publish(&self, mut plan: Plan, _planning: &Planning<'_>) {
        plan.number = self.newest.load(Relaxed) + 1;
        let number = plan.number;
        self.plan.store(Arc::new(plan));
        self.newest.store(number, Release);
    }

    /// Index of the endpoint with this address (`ip:port`).
    pub(crate) fn index_of_address(&self, address: &str) -> Option<u32> {
        let by_address = self.by_address.get_or_init(|| {
            (0u32..).zip(self.roster.states.iter()).map(|(idx, it)| (it.address(), idx)).collect()
        });
        by_address.get(address).copied()
    }

    fn healthy(&self) -> impl Iterator<Item = &Arc<EndpointState>> {
        self.endpoints().filter(|it| is_healthy(it.0)).map(|it| it.1)
    }
}

/// The right to publish a plan, until it is dropped.
struct Planning<'a>(&'a AtomicBool);

impl Drop for Planning<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

impl Roster {
    fn new(
        cluster: Arc<Cluster>,
        endpoints: Arc<Endpoints>,
        surroundings: &Surroundings<'_>,
    ) -> Self {
        let previous = surroundings.previous;
        let known: foldhash::HashMap<&str, &Arc<EndpointState>> = previous
            .iter()
            .flat_map(|previous| previous.roster.states.iter())
            .map(|state| (state.id(), state))
            .collect();
        let is_late = previous.is_some_and(|it| !it.roster.states.is_empty());
        let states: Arc<[_]> = endpoints
            .endpoints
            .iter()
            .map(|endpoint| match known.get(endpoint.id.as_str()) {
                Some(state) if state.is_same_place(endpoint) => Arc::clone(state),
                _ => Arc::new(EndpointState::new(endpoint, surroundings.now_ns, is_late)),
            })
            .collect();
        let priority = |endpoint: &Endpoint| {
            endpoints.localities.get(usize::from(endpoint.locality)).map_or(0, |it| it.priority)
        };
        let mut ranks: Vec<u32> = endpoints.endpoints.iter().map(priority).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let spot = |endpoint: &Endpoint| Spot {
            priority: ranks.partition_point(|it| *it < priority(endpoint)),
            locality: u32::from(endpoint.locality),
        };
        let load_max_percent = match cluster.balancing {
            Balancing::RingHash(ring) => ring.load_max_percent,
            Balancing::Maglev(maglev) => maglev.load_max_percent,
            Balancing::Random
            | Balancing::RoundRobin
            | Balancing::Weighted
            | Balancing::LeastRequest(_)
            | Balancing::PeakEwma(_) => None,
        };
        let zone_aware = cluster.narrowing.zone_aware.is_some();
        Self {
            spots: endpoints.endpoints.iter().map(spot).collect(),
            priorities: ranks.len().max(1),
            parts: Parts::new(&endpoints.endpoints, cluster.narrowing.subsets.as_ref()),
            home: surroundings
                .home
                .filter(|_| zone_aware)
                .map(|(place, local)| Home::new(place, local)),
            first_turn: match previous {
                Some(previous) => previous.roster.first_turn,
                // Far from the end, so that adding turns for years does not wrap.
                None => surroundings.seed >> 16,
            },
            bounds_load: load_max_percent.is_some(),
            cluster,
            endpoints,
            states,
        }
    }

    /// Whoever made the configuration has looked at an endpoint that it calls healthy again: what was seen of it before counts
    /// no more, as after a passed health check.
    fn end_ejections_of_recovered(&self, before: &Self, now_ns: u64) {
        if !self.cluster.outliers.health_check_unejects {
            return;
        }
        for (endpoint, state) in self.each().filter(|it| it.1.is_ejected(now_ns)) {
            let was_bad =
                |it: &(&Endpoint, &EndpointState)| std::ptr::eq(it.1, state) && !is_healthy(it.0);
            if is_healthy(endpoint) && before.each().any(|it| was_bad(&it)) {
                state.outlier().end_ejection(now_ns);
            }
        }
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (&Endpoint, &EndpointState)> {
        self.endpoints.endpoints.iter().zip(self.states.iter().map(Arc::as_ref))
    }

    pub(crate) fn endpoint(&self, idx: u32) -> &Endpoint {
        &self.endpoints.endpoints[idx as usize]
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn states(&self) -> &Arc<[Arc<EndpointState>]> {
        &self.states
    }

    #[inline]
    pub(crate) fn state(&self, idx: u32) -> &Arc<EndpointState> {
        &self.states[idx as usize]
    }

    pub(crate) fn spot(&self, idx: u32) -> Spot {
        self.spots[idx as usize]
    }

    pub(crate) fn locality(&self, locality: u32) -> Option<&Locality> {
        self.endpoints.localities.get(locality as usize)
    }
}

fn is_healthy(endpoint: &Endpoint) -> bool {
    matches!(endpoint.health, EndpointHealth::Healthy | EndpointHealth::Degraded)
}
