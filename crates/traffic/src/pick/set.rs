use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proxy_config::{Balancing, LeastRequest, SlowStart};
use rand::{Rng, RngExt};

use super::bounded_load;
use super::table::Table;
use super::trace::Trace;
use crate::cluster::Roster;
use crate::ewma::Scale;
use crate::schedule::{Alias, Schedule};
use crate::slow_start;

/// Most endpoints that least request compares when it does not compare all; gRPC has 10.
const CHOICES_MAX: usize = 32;

/// Draws by weight that may hit an endpoint that was drawn before, until the next one is taken.
const REDRAWS: usize = 8;

/// Endpoints in slow start that may be passed over. With all at the least share of 10 %, 18 of 100
/// picks pass over so many, and then take any: what they take they share as before.
const RAMP_TRIES: usize = 16;

/// Points of a table that may belong to endpoints that are gone, until any other is taken.
const TABLE_TRIES: u32 = 64;

/// Number of turns taken. A cache line of its own: all workers count on it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Turn(pub AtomicU64);

/// Endpoints among which the policy decides.
#[derive(Debug)]
pub(crate) struct Set {
    /// Indices into the roster, at least one where the set is used.
    members: Box<[u32]>,
    policy: Policy,
}

#[derive(Debug)]
pub(crate) enum Policy {
    Random,
    Turns { schedule: Schedule, turn: Arc<Turn> },
    Least { choices: usize, bias: f32, weights: Option<Weights> },
    Ewma(Scale),
    Hash { table: Arc<Table>, gone: Option<Box<[bool]>>, load_max_percent: Option<u32> },
}

/// Unequal weights.
#[derive(Debug)]
pub(crate) struct Weights {
    alias: Alias,
    weights: Box<[f32]>,
}

/// What a policy decides by.
pub(crate) struct Draw<'a, R: ?Sized, T> {
    pub roster: &'a Roster,
    pub rng: &'a mut R,
    pub trace: &'a mut T,
    pub now_ns: u64,
    /// The request's, or a random one.
    pub hash: u64,
    /// So many picks of this request were turned down.
    pub attempt: u32,
    /// Some endpoints are in slow start.
    pub ramp: Option<&'a SlowStart>,
    /// Active requests of the cluster.
    pub cluster_active: &'a AtomicU64,
}

impl Set {
    /// A set for a policy that needs no table.
    pub(crate) fn new(
        members: Vec<u32>,
        roster: &Roster,
        turn: impl FnOnce() -> Arc<Turn>,
    ) -> Self {
        let weights = || members.iter().map(|it| u32::from(roster.endpoint(*it).weight.max(1)));
        let policy = match roster.cluster.balancing {
            Balancing::Random | Balancing::RingHash(_) | Balancing::Maglev(_) => Policy::Random,
            Balancing::RoundRobin => {
                Policy::Turns { schedule: Schedule::equal(members.len()), turn: turn() }
            }
            Balancing::Weighted => {
                Policy::Turns { schedule: Schedule::weighted(weights()), turn: turn() }
            }
            Balancing::LeastRequest(LeastRequest { choices, active_request_bias_percent }) => {
                let unequal = weights().min() != weights().max();
                Policy::Least {
                    choices: match choices {
                        LeastRequest::ALL => usize::MAX,
                        some => (some as usize).clamp(2, CHOICES_MAX),
                    },
                    bias: active_request_bias_percent as f32 / 100.0,
                    weights: unequal.then(|| Weights {
                        alias: Alias::new(&weights().map(u64::from).collect::<Vec<_>>()),
                        weights: weights().map(|it| it as f32).collect(),
                    }),
                }
            }
            Balancing::PeakEwma(ewma) => Policy::Ewma(ewma.into()),
        };
        Self { members: members.into(), policy }
    }

    /// A set with a table; `gone` marks members of the table that are not to be used.
    pub(crate) fn hashed(
        members: Vec<u32>,
        table: Arc<Table>,
        gone: Option<Box<[bool]>>,
        load_max_percent: Option<u32>,
    ) -> Self {
        Self { members: members.into(), policy: Policy::Hash { table, gone, load_max_percent } }
    }

    pub(crate) fn members(&self) -> &[u32] {
        &self.members
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn turn(&self) -> Option<&Arc<Turn>> {
        match &self.policy {
            Policy::Turns { turn, .. } => Some(turn),
            Policy::Random | Policy::Least { .. } | Policy::Ewma(_) | Policy::Hash { .. } => None,
        }
    }

    pub(crate) fn table(&self) -> Option<&Arc<Table>> {
        match &self.policy {
            Policy::Hash { table, .. } => Some(table),
            Policy::Random | Policy::Turns { .. } | Policy::Least { .. } | Policy::Ewma(_) => None,
        }
    }

    /// Lets the policy decide. The set must not be empty.
    #[inline]
    pub(crate) fn pick<R: Rng + ?Sized, T: Trace>(&self, draw: &mut Draw<'_, R, T>) -> u32 {
        match &self.policy {
            Policy::Random => {
                let position = self.any(draw);
                draw.note(|name| format!("{name}: one of {} at random", self.members.len()));
                self.members[position]
            }
            Policy::Turns { schedule, turn } => self.by_turn(draw, schedule, turn),
            Policy::Least { choices, bias, weights } => {
                self.least(draw, *choices, *bias, weights.as_ref())
            }
            Policy::Ewma(scale) => self.fastest(draw, scale),
            Policy::Hash { table, gone, load_max_percent } => {
                self.hash(draw, table, gone.as_deref(), *load_max_percent)
            }
        }
    }

    fn any<R: Rng + ?Sized, T>(&self, draw: &mut Draw<'_, R, T>) -> usize {
        // 32 bits: one multiplication instead of two.
        draw.rng.random_range(0..self.members.len() as u32) as usize
    }

    fn by_turn<R: Rng + ?Sized, T: Trace>(
        &self,
        draw: &mut Draw<'_, R, T>,
        schedule: &Schedule,
        turn: &Turn,
    ) -> u32 {
        let mut tries = 0;
        loop {
            let taken = draw.trace.turn(&turn.0);
            let member = self.members[schedule.at(taken)];
            tries += 1;
            if tries == RAMP_TRIES || draw.is_let_in(member) {
                draw.note(|name| format!("{name}: {}", schedule.describe(taken)));
                return member;
            }
        }
    }

    /// Reference/load-balancing.md 2.2. Of distinct random endpoints the one with the fewest active
    /// requests, the first at a tie.
    ///
    /// With unequal weights they are drawn by weight; the first is kept while it is idle, else the
    /// greatest `weight / (active + 1)^bias` wins. Idle endpoints so get requests in proportion to
    /// their weights, as from Envoy's earliest-deadline-first schedule, and busy ones come to have
    /// active requests in proportion to them. A bias of 0 leaves the draw by weight.
    fn least<R: Rng + ?Sized, T: Trace>(
        &self,
        draw: &mut Draw<'_, R, T>,
        choices: usize,
        bias: f32,
        weights: Option<&Weights>,
    ) -> u32 {
        if weights.is_none() && draw.ramp.is_none() && choices < self.members.len() {
            return self.least_of_equals(draw, choices);
        }
        let first = self.by_weight(draw, weights);
        let is_weighted = weights.is_some() || draw.ramp.is_some();
        let kept = draw.roster.state(self.members[first]).active() == 0
            || (is_weighted && bias == 0.0)
            || self.members.len() == 1;
        if kept {
            draw.note(|name| format!("{name}: the first, drawn by weight, is taken"));
            return self.members[first];
        }
        let cost = |draw: &Draw<'_, R, T>, position: usize| {
            let weight = weights.map_or(1.0, |it| it.weights[position]);
            let member = self.members[position];
            let active = draw.roster.state(member).active() as f32 + 1.0;
            let active = if bias == 1.0 || !is_weighted { active } else { active.powf(bias) };
            active / (weight * draw.share(member) as f32)
        };
        if choices >= self.members.len() {
            return self.least_of_all(draw, cost);
        }
        let mut drawn = [u32::MAX; CHOICES_MAX];
        drawn[0] = first as u32;
        let mut best = (first, cost(draw, first));
        for count in 1..choices {
            let mut next = self.by_weight(draw, weights);
            for _ in 0..REDRAWS {
                if !drawn[..count].contains(&(next as u32)) {
                    break;
                }
                next = self.by_weight(draw, weights);
            }
            while drawn[..count].contains(&(next as u32)) {
                next = (next + 1) % self.members.len();
            }
            drawn[count] = next as u32;
            let cost = cost(draw, next);
            if cost < best.1 {
                best = (next, cost);
            }
        }
        self.note_compared(draw, &drawn[..choices]);
        self.members[best.0]
    }

    /// Distinct with equal chances by R. W. Floyd's way ("A sample of brilliance", CACM 30, 1987).
    fn least_of_equals<R: Rng + ?Sized, T: Trace>(
        &self,
        draw: &mut Draw<'_, R, T>,
        choices: usize,
    ) -> u32 {
        if choices == 2 {
            return self.less_of_two(draw);
        }
        let active = |draw: &Draw<'_, R, T>, position: u32| {
            draw.roster.state(self.members[position as usize]).active()
        };
        let count = self.members.len() as u32;
        let mut drawn = [u32::MAX; CHOICES_MAX];
        for (nth, last) in (count - choices as u32..count).enumerate() {
            let position = draw.rng.random_range(0..=last);
            let is_new = !drawn[..nth].contains(&position);
            drawn[nth] = if is_new { position } else { last };
        }
        let mut best = (drawn[0], active(draw, drawn[0]));
        for position in &drawn[1..choices] {
            let active = active(draw, *position);
            if active < best.1 {
                best = (*position, active);
            }
        }
        self.note_compared(draw, &drawn[..choices]);
        self.members[best.0 as usize]
    }

    /// The one with fewer active requests of two distinct ones, which there must be.
    #[inline]
    fn less_of_two<R: Rng + ?Sized, T: Trace>(&self, draw: &mut Draw<'_, R, T>) -> u32 {
        let (first, second) = self.two(draw);
        let active = |position: u32| draw.roster.state(self.members[position as usize]).active();
        let best = if active(second) < active(first) { second } else { first };
        self.note_compared(draw, &[first, second]);
        self.members[best as usize]
    }

    /// Positions of two distinct members with equal chances; there must be two.
    #[inline]
    fn two<R: Rng + ?Sized, T>(&self, draw: &mut Draw<'_, R, T>) -> (u32, u32) {
        let count = self.members.len() as u32;
        let first = draw.rng.random_range(0..count);
        let other = draw.rng.random_range(0..count - 1);
        (first, other + u32::from(other >= first))
    }

    /// The cheapest of all; ties are broken with equal chances (reservoir sampling).
    fn least_of_all<R: Rng + ?Sized, T: Trace>(
        &self,
        draw: &mut Draw<'_, R, T>,
        cost: impl Fn(&Draw<'_, R, T>, usize) -> f32,
    ) -> u32 {
        let (mut best, mut ties) = ((0, f32::INFINITY), 0);
        for position in 0..self.members.len() {
            let cost = cost(draw, position);
            if cost < best.1 {
                best = (position, cost);
                ties = 1;
            } else if cost == best.1 {
                ties += 1;
                if draw.rng.random_range(0..ties) == 0 {
                    best.0 = position;
                }
            }
        }
        draw.note(|name| format!("{name}: of all {} the one with least", self.members.len()));
        self.members[best.0]
    }

    fn by_weight<R: Rng + ?Sized, T: Trace>(
        &self,
        draw: &mut Draw<'_, R, T>,
        weights: Option<&Weights>,
    ) -> usize {
        let mut tries = 0;
        loop {
            let column = self.any(draw);
            let position = match weights {
                Some(weights) => weights.alias.toss(column, draw.rng.next_u32()),
                None => column,
            };
            tries += 1;
            if tries == RAMP_TRIES || draw.is_let_in(self.members[position]) {
                return position;
            }
        }
    }

    /// Reference/load-balancing.md 2.3, as tower does it: of two distinct the one with the lower
    /// latency times active requests, the first at a tie.
    fn fastest<R: Rng + ?Sized, T: Trace>(&self, draw: &mut Draw<'_, R, T>, scale: &Scale) -> u32 {
        if self.members.len() == 1 {
            draw.note(|name| format!("{name}: there is one"));
            return self.members[0];
        }
        let (first, second) = self.two(draw);
        let cost = |position: u32| {
            let state = draw.roster.state(self.members[position as usize]);
            let latency = state.counters().latency.at(draw.now_ns, scale);
            latency * (state.active() as f32 + 1.0)
        };
        let best = if cost(first) <= cost(second) { first } else { second };
        self.note_compared(draw, &[first, second]);
        self.members[best as usize]
    }

    fn hash<R: Rng + ?Sized, T: Trace>(
        &self,
        draw: &mut Draw<'_, R, T>,
        table: &Table,
        gone: Option<&[bool]>,
        load_max_percent: Option<u32>,
    ) -> u32 {
        let owner = match gone {
            None => table.owner(draw.hash, draw.attempt),
            Some(gone) => (draw.attempt..draw.attempt.saturating_add(TABLE_TRIES))
                .map(|attempt| table.owner(draw.hash, attempt))
                .find(|owner| !gone[*owner as usize])
                .unwrap_or_else(|| {
                    let any = self.members[(draw.hash % self.members.len() as u64) as usize];
                    let position = table.members().iter().position(|it| *it == any);
                    position.expect("the table has all members of the set") as u32
                }),
        };
        let hash = draw.hash;
        draw.note(|name| format!("{name}: hash {hash:016x} on {}", table.describe()));
        let owner = match load_max_percent {
            None => owner,
            Some(percent) => {
                let bound = bounded_load::Bound {
                    table,
                    gone,
                    percent,
                    cluster_active: draw.cluster_active.load(Relaxed),
                };
                let active = |member: u32| draw.roster.state(member).active();
                let chosen = bound.choose(owner, draw.hash, active);
                if chosen != owner {
                    draw.note(|_| "bounded load: its endpoint has too many requests".to_owned());
                }
                chosen
            }
        };
        table.members()[owner as usize]
    }

    #[inline]
    fn note_compared<R: Rng + ?Sized, T: Trace>(&self, draw: &mut Draw<'_, R, T>, drawn: &[u32]) {
        let roster = draw.roster;
        draw.note(|name| {
            let load = |position: &u32| {
                let member = self.members[*position as usize];
                let endpoint = roster.endpoint(member);
                let active = roster.state(member).active();
                format!("{} ({active} active, weight {})", endpoint.id, endpoint.weight)
            };
            let compared: Vec<String> = drawn.iter().map(load).collect();
            format!("{name}: of {} the one with less", compared.join(" and "))
        });
    }
}

impl<R: Rng + ?Sized, T: Trace> Draw<'_, R, T> {
    /// Which part of its weight an endpoint has.
    fn share(&self, member: u32) -> f64 {
        self.ramp.map_or(1.0, |ramp| {
            let since_ns = self.roster.state(member).usable_since_ns.load(Relaxed);
            slow_start::factor(ramp, since_ns, self.now_ns)
        })
    }

    /// An endpoint in slow start is let in as often as its part of its weight says.
    #[inline]
    fn is_let_in(&mut self, member: u32) -> bool {
        if self.ramp.is_none() {
            return true;
        }
        let share = self.share(member);
        share >= 1.0 || self.rng.random::<f64>() < share
    }

    #[inline]
    fn note(&mut self, stage: impl FnOnce(&str) -> String) {
        let name = self.roster.cluster.balancing.as_str();
        self.trace.note(|| stage(name));
    }
}
