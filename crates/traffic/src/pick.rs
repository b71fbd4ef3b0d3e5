use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use proxy_config::{Balancing, Endpoint, EndpointHealth};
use rand::{Rng, RngExt};
use serde::Serialize;

pub use self::explanation::{CandidateExplanation, PickExplanation, Verdict};
use crate::{ClusterState, EndpointState};

mod explanation;

/// A picked endpoint; counts as one active request of it until it is dropped.
#[derive(Debug)]
pub struct Picked {
    endpoint: Arc<EndpointState>,
    panic: bool,
}

impl Picked {
    fn new(endpoint: &Arc<EndpointState>, panic: bool) -> Self {
        endpoint.active.fetch_add(1, Relaxed);
        endpoint.counters().rq_total.fetch_add(1, Relaxed);
        Self { endpoint: Arc::clone(endpoint), panic }
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }

    /// It is ejected, and was picked because no endpoint is left that is not.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.endpoint.active.fetch_sub(1, Relaxed);
    }
}

/// Why no endpoint could be picked. In either case the answer is 503 with the response flag `UH`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PickError {
    /// The cluster has no endpoints.
    NoEndpoints,
    /// It has, but none is healthy.
    NoHealthyEndpoints,
}

impl fmt::Display for PickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PickError::NoEndpoints => "the cluster has no endpoints",
            PickError::NoHealthyEndpoints => "no endpoint of the cluster is healthy",
        })
    }
}

impl std::error::Error for PickError {}

impl ClusterState {
    /// Picks an endpoint for one try. `exclude` holds the ids of those that this request was
    /// already sent to.
    ///
    /// Of the healthy endpoints, those are candidates that are neither ejected nor excluded. When
    /// there are none: excluded ones that are not ejected (one that stays in after a failure only
    /// lost a stale connection, while an ejected one refused), then ejected ones, first without the
    /// excluded. Among the candidates the policy decides (reference/load-balancing.md): random 2.4;
    /// round robin 2.1 without weights; weighted: a smooth cycle; least request 2.2 as tower does
    /// it, with two distinct endpoints, the first at a tie, and active requests compared per weight
    /// as nginx does it.
    ///
    /// O(1) without ejections and exclusions; else up to O(endpoints). Does not allocate.
    ///
    /// # Errors
    /// When no endpoint is healthy.
    pub fn pick<R: Rng + ?Sized>(
        &self,
        now_ns: u64,
        rng: &mut R,
        exclude: &[&str],
    ) -> Result<Picked, PickError> {
        let choice =
            self.choose(now_ns, rng, exclude, &mut || self.turn().fetch_add(1, Relaxed))?;
        Ok(Picked::new(self.healthy_at(choice.position).1, choice.tier.ejected))
    }

    /// [`ClusterState::pick`] with a record of every stage.
    pub fn pick_explained<R: Rng + ?Sized>(
        &self,
        now_ns: u64,
        rng: &mut R,
        exclude: &[&str],
    ) -> (Result<Picked, PickError>, PickExplanation) {
        let choice = self.choose(now_ns, rng, exclude, &mut || self.turn().fetch_add(1, Relaxed));
        let explanation = self.describe(now_ns, exclude, choice);
        let picked = choice
            .map(|choice| Picked::new(self.healthy_at(choice.position).1, choice.tier.ejected));
        (picked, explanation)
    }

    /// What [`ClusterState::pick`] would do now: takes no turn and counts nothing.
    pub fn explain_pick<R: Rng + ?Sized>(
        &self,
        now_ns: u64,
        rng: &mut R,
        exclude: &[&str],
    ) -> PickExplanation {
        let mut turn = self.turn().load(Relaxed);
        let mut next_turn = || {
            turn += 1;
            turn - 1
        };
        let choice = self.choose(now_ns, rng, exclude, &mut next_turn);
        self.describe(now_ns, exclude, choice)
    }

    fn choose<R: Rng + ?Sized>(
        &self,
        now_ns: u64,
        rng: &mut R,
        exclude: &[&str],
        next_turn: &mut impl FnMut() -> u64,
    ) -> Result<Choice, PickError> {
        if self.healthy.is_empty() {
            return Err(if self.endpoints().len() == 0 {
                PickError::NoEndpoints
            } else {
                PickError::NoHealthyEndpoints
            });
        }
        let ejections = self.may_have_ejections(now_ns);
        for tier in TIERS {
            let candidates = Candidates { cluster: self, now_ns, exclude, tier, ejections };
            if candidates.are_all() || (0..self.healthy.len()).any(|it| candidates.has(it)) {
                return Ok(candidates.choose(rng, next_turn));
            }
        }
        unreachable!("the last tier has every healthy endpoint, and there is one")
    }

    fn describe(
        &self,
        now_ns: u64,
        exclude: &[&str],
        choice: Result<Choice, PickError>,
    ) -> PickExplanation {
        let candidates: Vec<_> = self
            .endpoints()
            .map(|(endpoint, state)| CandidateExplanation {
                id: endpoint.id.clone(),
                address: state.address(),
                weight: endpoint.weight,
                health: endpoint.health,
                active: state.active(),
                verdict: verdict(endpoint, state, now_ns, exclude),
            })
            .collect();
        let with = |wanted: fn(&Verdict) -> bool| {
            candidates.iter().filter(|it| wanted(&it.verdict)).count()
        };
        let mut stages = vec![format!(
            "{} endpoints: {} usable, {} unhealthy, {} draining, {} ejected, {} tried before",
            candidates.len(),
            with(|it| matches!(it, Verdict::Usable)),
            with(|it| matches!(it, Verdict::Unhealthy)),
            with(|it| matches!(it, Verdict::Draining)),
            with(|it| matches!(it, Verdict::Ejected { .. })),
            with(|it| matches!(it, Verdict::TriedBefore)),
        )];
        if let Ok(choice) = &choice {
            stages.extend(choice.tier.describe().map(str::to_owned));
            stages.push(self.describe_method(choice));
        }
        let picked = choice.map(|choice| self.healthy_at(choice.position).0.id.clone());
        PickExplanation {
            cluster: self.name().to_owned(),
            source: self.cluster().source.clone(),
            balancing: self.cluster().balancing,
            candidates,
            stages,
            error: picked.as_ref().err().copied(),
            picked: picked.ok(),
        }
    }

    fn describe_method(&self, choice: &Choice) -> String {
        let policy = self.cluster().balancing.as_str();
        match choice.method {
            Method::Turn(turn) => format!("{policy}: {}", self.schedule.describe(turn)),
            Method::Sampled => format!("{policy}: one of the candidates at random"),
            Method::Fewer { first, second } => {
                let load = |position: usize| {
                    let (endpoint, state) = self.healthy_at(position);
                    format!(
                        "{} ({} active, weight {})",
                        endpoint.id,
                        state.active(),
                        endpoint.weight
                    )
                };
                format!("{policy}: of {} and {} the one with less", load(first), load(second))
            }
        }
    }
}

fn verdict(endpoint: &Endpoint, state: &EndpointState, now_ns: u64, exclude: &[&str]) -> Verdict {
    match endpoint.health {
        EndpointHealth::Draining => return Verdict::Draining,
        EndpointHealth::Unhealthy => return Verdict::Unhealthy,
        EndpointHealth::Healthy | EndpointHealth::Degraded => {}
    }
    let ejected_ns = state.ejected_until_ns().saturating_sub(now_ns);
    if ejected_ns > 0 {
        Verdict::Ejected { for_ms: ejected_ns.div_ceil(1_000_000) }
    } else if exclude.contains(&endpoint.id.as_str()) {
        Verdict::TriedBefore
    } else {
        Verdict::Usable
    }
}

/// A healthy endpoint, by its position among them, and how it was come to.
#[derive(Clone, Copy, Debug)]
struct Choice {
    position: usize,
    tier: Tier,
    method: Method,
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Turn(u64),
    Sampled,
    Fewer { first: usize, second: usize },
}

/// Which healthy endpoints are let in that should rather not be used.
#[derive(Clone, Copy, Debug)]
struct Tier {
    ejected: bool,
    tried: bool,
}

/// In the order in which they are looked at; the last has all.
const TIERS: [Tier; 4] = [
    Tier { ejected: false, tried: false },
    Tier { ejected: false, tried: true },
    Tier { ejected: true, tried: false },
    Tier { ejected: true, tried: true },
];

impl Tier {
    fn describe(self) -> Option<&'static str> {
        match (self.ejected, self.tried) {
            (false, false) => None,
            (false, true) => Some("no other is left: those tried before are used again"),
            (true, false) => Some("panic: all are ejected, so ejections are ignored"),
            (true, true) => {
                Some("panic: all are ejected and tried before, so every healthy one is used")
            }
        }
    }
}

/// The healthy endpoints that a tier lets in.
struct Candidates<'a> {
    cluster: &'a ClusterState,
    now_ns: u64,
    exclude: &'a [&'a str],
    tier: Tier,
    /// False only if no endpoint is ejected.
    ejections: bool,
}

impl Candidates<'_> {
    /// True only if every healthy endpoint is let in.
    fn are_all(&self) -> bool {
        (self.tier.ejected || !self.ejections) && (self.tier.tried || self.exclude.is_empty())
    }

    fn has(&self, position: usize) -> bool {
        if self.are_all() {
            return true;
        }
        let (_, state) = self.cluster.healthy_at(position);
        (self.tier.ejected || !state.is_ejected(self.now_ns))
            && (self.tier.tried || !self.exclude.contains(&state.id()))
    }

    /// There must be a candidate; if another worker has just ejected the last one, any healthy
    /// endpoint is chosen.
    fn choose<R: Rng + ?Sized>(&self, rng: &mut R, next_turn: &mut impl FnMut() -> u64) -> Choice {
        let (position, method) = match self.cluster.cluster().balancing {
            Balancing::Random | Balancing::RingHash(_) | Balancing::Maglev(_) => {
                (self.sample(rng, None), Method::Sampled)
            }
            Balancing::LeastRequest(_) | Balancing::PeakEwma(_) => self.fewer_active(rng),
            Balancing::RoundRobin | Balancing::Weighted => self.by_turn(rng, next_turn),
        };
        Choice { position, tier: self.tier, method }
    }

    /// Turns of those that are no candidates are thrown away, so the others keep their shares among
    /// each other. After four rounds of bad luck (a candidate with a tiny weight) chance decides by
    /// weight.
    fn by_turn<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        next_turn: &mut impl FnMut() -> u64,
    ) -> (usize, Method) {
        for _ in 0..4 * self.cluster.healthy.len() + 64 {
            let turn = next_turn();
            if let Some(position) = self.cluster.schedule.at(turn)
                && self.has(position)
            {
                return (position, Method::Turn(turn));
            }
        }
        (self.sample_by_weight(rng), Method::Sampled)
    }

    fn fewer_active<R: Rng + ?Sized>(&self, rng: &mut R) -> (usize, Method) {
        let first = self.sample(rng, None);
        let second = self.sample(rng, Some(first));
        let load = |position| {
            let (endpoint, state) = self.cluster.healthy_at(position);
            (u64::from(state.active()), u64::from(endpoint.weight.max(1)))
        };
        let ((first_active, first_weight), (second_active, second_weight)) =
            (load(first), load(second));
        let position = if first_active * second_weight <= second_active * first_weight {
            first
        } else {
            second
        };
        (position, Method::Fewer { first, second })
    }

    /// A candidate other than `but`, each with the same chance; `but` when there is no other.
    fn sample<R: Rng + ?Sized>(&self, rng: &mut R, but: Option<usize>) -> usize {
        let count = self.cluster.healthy.len();
        if count == 1 {
            return 0;
        }
        let fits = |position: usize| Some(position) != but && self.has(position);
        // Hits with at least half of the endpoints as candidates in all but one of 256 cases.
        for _ in 0..8 {
            let position = rng.random_range(0..count);
            if fits(position) {
                return position;
            }
        }
        let fitting = (0..count).filter(|it| fits(*it)).count();
        let nth = if fitting == 0 { 0 } else { rng.random_range(0..fitting) };
        (0..count).filter(|it| fits(*it)).nth(nth).or(but).unwrap_or(0)
    }

    fn sample_by_weight<R: Rng + ?Sized>(&self, rng: &mut R) -> usize {
        let weight = |position: usize| u64::from(self.cluster.healthy_at(position).0.weight.max(1));
        let candidates = || (0..self.cluster.healthy.len()).filter(|it| self.has(*it));
        let sum: u64 = candidates().map(weight).sum();
        let mut left = if sum == 0 { 0 } else { rng.random_range(0..sum) };
        for position in candidates() {
            if left < weight(position) {
                return position;
            }
            left -= weight(position);
        }
        0
    }
}

#[cfg(test)]
mod tests;
