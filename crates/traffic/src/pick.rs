use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use proxy_config::SlowStart;
use rand::{Rng, RngExt};
use serde::Serialize;

pub use self::affinity::{affinity_cookie, read_affinity_cookie};
pub use self::explanation::{CandidateExplanation, PickExplanation, Verdict};
pub use self::picker::{LentEndpoint, Picker};
use self::plan::{Group, Part, Plan, Spread};
use self::set::{Draw, Set};
use self::trace::{Dry, Recorded, Silent, Trace};
use crate::cluster::Shared;
use crate::subset::Values;
use crate::{ClusterState, EndpointState};

mod affinity;
mod bounded_load;
mod explanation;
mod picker;
pub(crate) mod plan;
mod set;
mod standing;
mod table;
mod trace;

/// Picks that may fall on endpoints that were tried before, until any other one is taken.
const ATTEMPTS: u32 = 4;

/// What an endpoint is picked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickRequest<'a> {
    /// Now, in nanoseconds since the caller's epoch.
    pub now_ns: u64,
    /// What consistent policies place it by ([`crate::RequestHash`]); a random one when `None`.
    pub hash: Option<u64>,
    /// Endpoints that it was already sent to: used again only when there is no other.
    pub exclude: &'a [Arc<EndpointState>],
    /// Metadata that the endpoint must have; `None` is the same as an empty map. It counts only
    /// where the cluster has subsets, and then an empty one gets the fallback, as in Envoy.
    pub subset: Option<&'a Values>,
    /// The endpoint that its client keeps, whatever subset it is in.
    pub affinity: Option<Affinity<'a>>,
}

impl PickRequest<'_> {
    /// A request of which nothing is known.
    #[must_use]
    pub fn at(now_ns: u64) -> Self {
        Self { now_ns, ..Self::default() }
    }
}

/// An endpoint that a client keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Affinity<'a> {
    /// Its address as in [`EndpointState::address`], from [`read_affinity_cookie`].
    pub address: &'a str,
    /// If it cannot be used, none is picked.
    pub strict: bool,
}

/// A picked endpoint; counts as one active request of it until it is dropped.
///
/// `H` holds the endpoint: an `Arc` of its own, or what a [`Picker`] lends.
#[derive(Debug)]
pub struct Picked<H: Borrow<Arc<EndpointState>> = Arc<EndpointState>> {
    endpoint: H,
    panic: bool,
    /// Where the cluster's requests are counted too.
    shared: Option<Arc<Shared>>,
}

impl<H: Borrow<Arc<EndpointState>>> Picked<H> {
    /// `endpoint` is the one that was chosen.
    #[inline]
    fn new(cluster: &ClusterState, choice: Choice, endpoint: H) -> Self {
        cluster.roster().state(choice.idx).counters().rq_total.fetch_add(1, Relaxed);
        let shared = choice.counted.then(|| Arc::clone(cluster.shared()));
        if let Some(shared) = &shared {
            shared.active.fetch_add(1, Relaxed);
        }
        Self { endpoint, panic: choice.panic, shared }
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        self.endpoint.borrow()
    }

    /// It was picked although it may be known to be bad: all are ejected, or too few are well.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic
    }
}

impl<H: Borrow<Arc<EndpointState>>> Drop for Picked<H> {
    fn drop(&mut self) {
        // A reader that sees this sees the beginning, too.
        self.endpoint.borrow().counters().rq_ended.fetch_add(1, Release);
        if let Some(shared) = &self.shared {
            shared.active.fetch_sub(1, Relaxed);
        }
    }
}

/// Why no endpoint could be picked. In any case the answer is 503 with the response flag `UH`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PickError {
    /// The cluster has no endpoints.
    NoEndpoints,
    /// It has, but none is healthy.
    NoHealthyEndpoints,
    /// It has no endpoints with the metadata that the request asks for, and no fallback.
    NoSubset,
    /// Too few are healthy, and the cluster is to fail then.
    Panic,
    /// The endpoint that the client must keep is gone or not healthy.
    AffinityLost,
}

impl fmt::Display for PickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PickError::NoEndpoints => "the cluster has no endpoints",
            PickError::NoHealthyEndpoints => "no endpoint of the cluster is healthy",
            PickError::NoSubset => "no endpoint of the cluster has the metadata that is asked for",
            PickError::Panic => "too few endpoints of the cluster are healthy",
            PickError::AffinityLost => "the endpoint that the client must keep cannot be used",
        })
    }
}

impl std::error::Error for PickError {}

/// An endpoint that was chosen.
#[derive(Clone, Copy, Debug)]
struct Choice {
    idx: u32,
    panic: bool,
    /// The cluster's active requests are counted.
    counted: bool,
}

impl ClusterState {
    /// Picks an endpoint for one try (reference/load-balancing.md 2.0).
    ///
    /// The stages: the endpoint that the client keeps, if it does; the subset; the priority by the
    /// share of each (2.9), all of whose endpoints are used in panic (2.10); the locality by weight
    /// (2.11) or by place (2.12); the policy (2.1 to 2.7). What was tried before is turned down a
    /// few times; then any other of the priority is taken, and only when there is none one that was
    /// tried.
    ///
    /// When all endpoints that are otherwise well are ejected, ejections are ignored. What is
    /// draining is never picked, what is unhealthy only in panic.
    ///
    /// Where no endpoint was ejected or came back since the pick before: does not allocate (bounded
    /// loads aside, when an endpoint is overloaded), lock, or look at more endpoints than the policy
    /// compares.
    ///
    /// # Errors
    /// When there is no endpoint for it.
    #[inline]
    pub fn pick<R: Rng + ?Sized>(
        &self,
        request: &PickRequest<'_>,
        rng: &mut R,
    ) -> Result<Picked, PickError> {
        let plan = self.plan(request.now_ns);
        let choice = self.choose(&plan, request, rng, &mut Silent)?;
        Ok(self.picked(choice))
    }

    /// [`ClusterState::pick`] with a record of every stage.
    pub fn pick_explained<R: Rng + ?Sized>(
        &self,
        request: &PickRequest<'_>,
        rng: &mut R,
    ) -> (Result<Picked, PickError>, PickExplanation) {
        let plan = self.plan(request.now_ns);
        let mut trace = Recorded::default();
        let choice = self.choose(&plan, request, rng, &mut trace);
        let explanation = self.explain(&plan, request, choice.map(|it| it.idx), trace.0);
        (choice.map(|choice| self.picked(choice)), explanation)
    }

    /// What [`ClusterState::pick`] would do now: takes no turn and counts nothing.
    pub fn explain_pick<R: Rng + ?Sized>(
        &self,
        request: &PickRequest<'_>,
        rng: &mut R,
    ) -> PickExplanation {
        let plan = self.plan(request.now_ns);
        let mut trace = Dry::default();
        let choice = self.choose(&plan, request, rng, &mut trace);
        self.explain(&plan, request, choice.map(|it| it.idx), trace.stages)
    }

    #[inline]
    fn choose<R: Rng + ?Sized, T: Trace>(
        &self,
        plan: &Plan,
        request: &PickRequest<'_>,
        rng: &mut R,
        trace: &mut T,
    ) -> Result<Choice, PickError> {
        let narrowing = &self.roster().cluster.narrowing;
        let mut pick = Pick {
            cluster: self,
            request,
            rng,
            trace,
            ramp: narrowing.slow_start.as_ref().filter(|_| request.now_ns < plan.ramp_until_ns),
        };
        if let Some(kept) = request.affinity {
            match pick.kept(plan, kept) {
                Some(choice) => return Ok(choice),
                None if kept.strict => return Err(PickError::AffinityLost),
                None => {}
            }
        }
        let found = self.roster().parts.find(request.subset);
        let Some(number) = found.part else {
            pick.trace.note(|| "subset: there is none, and no fallback".to_owned());
            let choice = if found.panic_any { pick.from(&plan.parts[0]) } else { Err(None) };
            return choice.map_err(|it| it.unwrap_or(PickError::NoSubset));
        };
        if found.fallback {
            pick.trace.note(|| "subset: there is none, the fallback is used".to_owned());
        }
        match pick.from(&plan.parts[number]) {
            Err(None) if found.panic_any && number != 0 => pick.from(&plan.parts[0]),
            choice => choice,
        }
        .map_err(|error| error.unwrap_or_else(|| self.why_none()))
    }

    fn picked(&self, choice: Choice) -> Picked {
        Picked::new(self, choice, Arc::clone(self.roster().state(choice.idx)))
    }

    fn why_none(&self) -> PickError {
        if self.endpoints().len() == 0 {
            PickError::NoEndpoints
        } else {
            PickError::NoHealthyEndpoints
        }
    }
}

/// One pick on its way through the stages.
struct Pick<'a, R: ?Sized, T> {
    cluster: &'a ClusterState,
    request: &'a PickRequest<'a>,
    rng: &'a mut R,
    trace: &'a mut T,
    ramp: Option<&'a SlowStart>,
}

impl<R: Rng + ?Sized, T: Trace> Pick<'_, R, T> {
    /// The endpoint that the client keeps, if it can be used.
    fn kept(&mut self, plan: &Plan, kept: Affinity<'_>) -> Option<Choice> {
        let idx = self.cluster.index_of_address(kept.address).filter(|idx| {
            let standing = plan.standings[*idx as usize];
            let ignored = plan.parts[0].ejections_ignored && standing.is_well();
            (standing.is_usable() || ignored) && (kept.strict || !self.was_tried(*idx))
        });
        self.trace.note(|| match idx {
            Some(_) => format!("affinity: the client keeps {}", kept.address),
            None => format!("affinity: the client's {} cannot be used", kept.address),
        });
        let panic = idx.is_some_and(|idx| plan.standings[idx as usize].ejected);
        idx.map(|idx| self.choice(idx, panic))
    }

    /// An endpoint of a part. The error is `None` when it has none that can be used.
    #[inline]
    fn from(&mut self, part: &Part) -> Result<Choice, Option<PickError>> {
        let is_consistent = self.cluster.cluster().balancing.is_consistent();
        let hash = match self.request.hash {
            Some(hash) if is_consistent => hash,
            _ if is_consistent || part.loads.only.is_none() => self.rng.next_u64(),
            _ => 0,
        };
        let share = part.loads.at(hash).ok_or(None)?;
        let tier = &part.tiers[share.priority];
        let panic = part.loads.panic[share.priority];
        if part.tiers.len() > 1 || share.degraded {
            self.trace.note(|| describe_priority(part, share));
        }
        let group = if panic {
            self.fail_in_panic()?;
            self.trace.note(|| "panic: too few endpoints are well, so all are used".to_owned());
            tier.everyone.as_ref().ok_or(None)?
        } else if share.degraded {
            &tier.degraded
        } else {
            &tier.healthy
        };
        if group.all.is_empty() {
            return Err(None);
        }
        if part.ejections_ignored {
            self.trace.note(|| "panic: all are ejected, so ejections are ignored".to_owned());
        }
        let idx = self.untried(group, hash);
        Ok(self.choice(idx, panic || part.ejections_ignored))
    }

    fn fail_in_panic(&self) -> Result<(), PickError> {
        let narrowing = &self.cluster.cluster().narrowing;
        if narrowing.fail_in_panic || narrowing.zone_aware.is_some_and(|it| it.fail_on_panic) {
            return Err(PickError::Panic);
        }
        Ok(())
    }

    /// Lets the policy decide until it decides for one that was not tried before.
    #[inline]
    fn untried(&mut self, group: &Group, hash: u64) -> u32 {
        let first = self.by_policy(group, hash, 0);
        if self.request.exclude.is_empty() || !self.was_tried(first) {
            return first;
        }
        self.another(group, hash, first)
    }

    #[cold]
    fn another(&mut self, group: &Group, hash: u64, first: u32) -> u32 {
        for attempt in 1..ATTEMPTS {
            let idx = self.by_policy(group, hash, attempt);
            if !self.was_tried(idx) {
                return idx;
            }
        }
        let members = group.all.members();
        let start = self.rng.random_range(0..members.len());
        let (before, after) = members.split_at(start);
        let other = after.iter().chain(before).find(|idx| !self.was_tried(**idx));
        self.trace.note(|| match other {
            Some(_) => "retry: any that was not tried before".to_owned(),
            None => "no other is left: those tried before are used again".to_owned(),
        });
        other.copied().unwrap_or(first)
    }

    #[inline]
    fn by_policy(&mut self, group: &Group, hash: u64, attempt: u32) -> u32 {
        let set = self.locality(group);
        let mut draw = Draw {
            roster: self.cluster.roster(),
            rng: &mut *self.rng,
            trace: &mut *self.trace,
            now_ns: self.request.now_ns,
            hash,
            attempt,
            ramp: self.ramp,
            cluster_active: &self.cluster.shared().active,
        };
        set.pick(&mut draw)
    }

    #[inline]
    fn locality<'b>(&mut self, group: &'b Group) -> &'b Set {
        match &group.spread {
            Spread::None => &group.all,
            Spread::ByWeight { schedule, turn, sets } => {
                let (locality, set) = &sets[schedule.at(self.trace.turn(&turn.0))];
                self.note_locality("weight", *locality);
                set
            }
            Spread::ByZone { routing, enabled_percent, sets } => {
                if self.rng.random_range(0..100) >= u32::from(*enabled_percent) {
                    return &group.all;
                }
                let at = routing.at(self.rng.next_u64(), self.rng.next_u64());
                match sets.get(at) {
                    Some((locality, set)) if !set.is_empty() => {
                        self.note_locality("zone", *locality);
                        set
                    }
                    // Rounding can lead to a locality in which nobody is well.
                    _ => &group.all,
                }
            }
        }
    }

    fn note_locality(&mut self, by: &str, locality: u32) {
        let cluster = self.cluster;
        self.trace.note(|| {
            let locality = cluster.roster().locality(locality);
            format!("locality by {by}: {}", explanation::place(locality))
        });
    }

    fn was_tried(&self, idx: u32) -> bool {
        let state = self.cluster.roster().state(idx);
        self.request.exclude.iter().any(|it| Arc::ptr_eq(it, state))
    }

    #[inline]
    fn choice(&self, idx: u32, panic: bool) -> Choice {
        Choice { idx, panic, counted: self.cluster.roster().bounds_load }
    }
}

fn describe_priority(part: &Part, share: crate::priority::Share) -> String {
    let percents: Vec<String> = part
        .loads
        .healthy
        .iter()
        .zip(&part.loads.degraded)
        .map(|(healthy, degraded)| match degraded {
            0 => format!("{healthy} %"),
            _ => format!("{healthy} % and {degraded} % to degraded ones"),
        })
        .collect();
    let which = if share.degraded { ", its degraded endpoints" } else { "" };
    format!("priority {}{which} (shares: {})", share.priority, percents.join(", "))
}

#[cfg(test)]
mod tests;
