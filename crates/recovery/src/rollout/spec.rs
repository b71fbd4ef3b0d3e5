use serde::{Deserialize, Serialize};

use crate::evidence::Settings;

/// Most copies of one workload.
const REPLICAS_MAX: u32 = 10_000;
/// Most steps of a canary.
const STEPS_MAX: usize = 100;

/// How a workload's copies are run and replaced. A release carries its own, so that going back is going back in this, too.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// Copies.
    pub replicas: u32,
    /// We start and stop the copies. If not, they are instances that somebody else runs and registers, and a rollout only
    /// moves traffic.
    pub supervised: bool,
    /// How a new release takes over.
    pub strategy: Strategy,
    /// What waits how long.
    pub deadlines: Deadlines,
    /// What counts as worse and as good.
    pub evidence: Settings,
    /// What to do when there is too little traffic for a verdict.
    pub little_traffic: LittleTraffic,
    /// Ends of processes of the new release after which it is taken back: 2.
    pub crashes_max: u32,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            replicas: 1,
            supervised: true,
            strategy: Strategy::default(),
            deadlines: Deadlines::default(),
            evidence: Settings::default(),
            little_traffic: LittleTraffic::default(),
            crashes_max: 2,
        }
    }
}

/// How a new release takes over from the last good one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Strategy {
    /// Copy by copy; requests are spread over all copies alike. The first `max_surge` + `max_unavailable` are judged before
    /// the others follow.
    Rolling {
        /// Copies beyond `replicas`, rounded up.
        max_surge: Amount,
        /// Copies that may be missing, rounded down. If both come to 0, one may be missing (as in Kubernetes).
        max_unavailable: Amount,
        /// How long the first ones, and in the end all, run before they count.
        bake_ms: u64,
    },
    /// Beside the old release, which keeps all its copies, with a growing share of the requests.
    Canary {
        /// Shares in ascending order; 100 % follows by itself.
        steps: Vec<Step>,
        /// How long the old copies are kept after the promotion, so that it can be undone at once.
        keep_old_ms: u64,
    },
    /// All copies of the new release are made ready, and all requests are moved at once.
    BlueGreen {
        /// How long they run before the switch.
        warm_ms: u64,
        /// How long after the switch the evidence is watched before the promotion.
        watch_ms: u64,
        /// How long the old copies are kept after the promotion.
        keep_old_ms: u64,
    },
}

impl Default for Strategy {
    /// A canary with a fifth of the requests and then half of them, 20 s each, and the old copies kept for a minute. A fifth:
    /// how many requests fail before a verdict does not depend on the share, but the time does.
    fn default() -> Self {
        let step = |weight_percent| Step { weight_percent, duration_ms: 20_000 };
        Self::Canary { steps: vec![step(20), step(50)], keep_old_ms: 60_000 }
    }
}

/// A share of the requests for a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Percent of the requests, 1 to 100.
    pub weight_percent: u32,
    /// Least time after the proxies have it, in milliseconds.
    pub duration_ms: u64,
}

/// A number of copies, or a part of all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// Percent of all.
    Percent(u32),
}

impl Amount {
    fn of(self, replicas: u32, round_up: bool) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) if round_up => percent_of(replicas, percent),
            Self::Percent(percent) => {
                let floor = u64::from(replicas) * u64::from(percent) / 100;
                u32::try_from(floor).unwrap_or(u32::MAX)
            }
        }
    }
}

/// `percent` of `replicas`, rounded up.
pub(super) fn percent_of(replicas: u32, percent: u32) -> u32 {
    let ceil = (u64::from(replicas) * u64::from(percent)).div_ceil(100);
    u32::try_from(ceil).unwrap_or(u32::MAX)
}

/// What waits how long, in milliseconds. The sum bounds every rollout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Deadlines {
    /// From the start of a copy of the new release to its first passed check, or from a check that fails to one that passes:
    /// 60 s.
    pub ready_ms: u64,
    /// For a proxy to acknowledge a configuration; then it is named and passed: 10 s.
    pub acknowledge_ms: u64,
    /// For the requests under way at a copy that drains: 30 s.
    pub drain_ms: u64,
    /// Beyond the time of a step, for a verdict while traffic is little: 60 s.
    pub evidence_ms: u64,
    /// Beyond all planned times, for a whole rollout; and for going back: 10 min.
    pub progress_ms: u64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            ready_ms: 60_000,
            acknowledge_ms: 10_000,
            drain_ms: 30_000,
            evidence_ms: 60_000,
            progress_ms: 600_000,
        }
    }
}

/// What to do when there is too little traffic for a verdict within the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum LittleTraffic {
    /// Checks and time decide: go on, and say so.
    #[default]
    Proceed,
    /// Take the new release back.
    RollBack,
}

impl Spec {
    /// What of it makes no sense, in words, each with its field; empty if it can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.evidence.problems();
        let mut demand = |holds: bool, what: &str| {
            if !holds {
                problems.push(what.to_owned());
            }
        };
        demand(self.replicas > 0, "replicas must be at least 1");
        demand(self.replicas <= REPLICAS_MAX, "replicas must be at most 10000");
        demand(self.crashes_max > 0, "crashes_max must be at least 1");
        let deadlines = &self.deadlines;
        demand(deadlines.ready_ms > 0, "deadlines.ready_ms must be above 0");
        demand(deadlines.acknowledge_ms > 0, "deadlines.acknowledge_ms must be above 0");
        demand(deadlines.progress_ms > 0, "deadlines.progress_ms must be above 0");
        match &self.strategy {
            Strategy::Rolling { max_surge, max_unavailable, .. } => {
                demand(self.supervised, "strategy: rolling needs copies that are supervised");
                for amount in [max_surge, max_unavailable] {
                    let fits = !matches!(amount, Amount::Percent(101..));
                    demand(fits, "strategy: a part of the copies must be at most 100 %");
                }
            }
            Strategy::Canary { steps, .. } => {
                demand(steps.len() <= STEPS_MAX, "strategy.steps: there may be at most 100");
                let in_range = steps.iter().all(|it| (1..=100).contains(&it.weight_percent));
                demand(in_range, "strategy.steps: weights must be 1 to 100 %");
                let ascend = steps.windows(2).all(|it| it[0].weight_percent < it[1].weight_percent);
                demand(ascend, "strategy.steps: each weight must be above the one before");
            }
            Strategy::BlueGreen { .. } => {}
        }
        problems
    }

    /// Copies that may be there beyond `replicas`, and that may be missing, while one release replaces another. Only a
    /// rolling replacement ever lacks some; the others are beside each other.
    pub(super) fn surge_and_unavailable(&self) -> (u32, u32) {
        match self.strategy {
            Strategy::Rolling { max_surge, max_unavailable, .. } => {
                let surge = max_surge.of(self.replicas, true);
                let unavailable = max_unavailable.of(self.replicas, false).min(self.replicas);
                if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
            }
            Strategy::Canary { .. } | Strategy::BlueGreen { .. } => (u32::MAX, 0),
        }
    }

    pub(super) fn keep_old_ms(&self) -> u64 {
        match self.strategy {
            Strategy::Rolling { .. } => 0,
            Strategy::Canary { keep_old_ms, .. } | Strategy::BlueGreen { keep_old_ms, .. } => {
                keep_old_ms
            }
        }
    }
}
