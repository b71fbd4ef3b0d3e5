use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{Reason, Release};
use super::spec::{Strategy, percent_of};
use crate::evidence::Evidence;

/// A rollout under way. Times are those of the workload's clock.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Rollout {
    pub(super) to: Release,
    pub(super) began: Timestamp,
    /// It ends by then, or is taken back.
    pub(super) deadline_ms: u64,
    pub(super) stage: Stage,
    pub(super) paused_ms: Option<u64>,
    /// An operator promotes it: no more waiting, no evidence.
    pub(super) forced: bool,
    /// At once: the first release, and one that was good before.
    pub(super) direct: bool,
    pub(super) evidence: Evidence,
    /// Ends of its copies' processes before it began.
    pub(super) crashes_before: Option<u32>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Both releases are beside each other, and requests move.
    Shifting(Shifting),
    /// Copies are replaced.
    Rolling(Rolling),
    /// The new release is taken back.
    RollingBack(RollingBack),
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Shifting {
    pub(super) step: usize,
    /// The proxies have the step's weight since.
    pub(super) settled_ms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Rolling {
    /// The first copies are available since.
    pub(super) first_ms: Option<u64>,
    /// They were found good.
    pub(super) judged: bool,
    /// Only the new release is there, and all of it available, since.
    pub(super) complete_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct RollingBack {
    pub(super) since_ms: u64,
    pub(super) reason: Reason,
}

/// A step of a shift, as all strategies that shift have it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct ShiftStep {
    pub(super) weight_percent: u32,
    /// Copies of the new release that must be available before.
    pub(super) copies: u32,
    pub(super) duration_ms: u64,
    /// It ends only with a verdict.
    pub(super) judged: bool,
}

impl Rollout {
    /// The steps of a shift; never empty.
    pub(super) fn steps(&self) -> Vec<ShiftStep> {
        let spec = &self.to.spec;
        let all = if spec.supervised { spec.replicas } else { 1 };
        let last = ShiftStep { weight_percent: 100, copies: all, duration_ms: 0, judged: false };
        if self.direct || self.forced {
            return vec![last];
        }
        match &spec.strategy {
            Strategy::Canary { steps, .. } => {
                let copies = |percent| if spec.supervised { percent_of(all, percent) } else { 1 };
                let mut steps: Vec<_> = steps
                    .iter()
                    .map(|step| ShiftStep {
                        weight_percent: step.weight_percent,
                        copies: copies(step.weight_percent).max(1),
                        duration_ms: step.duration_ms,
                        judged: true,
                    })
                    .collect();
                if steps.last().is_none_or(|it| it.weight_percent < 100) {
                    steps.push(last);
                }
                steps
            }
            Strategy::BlueGreen { warm_ms, watch_ms, .. } => vec![
                ShiftStep { weight_percent: 0, duration_ms: *warm_ms, ..last },
                ShiftStep { duration_ms: *watch_ms, judged: true, ..last },
            ],
            Strategy::Rolling { .. } => vec![last],
        }
    }

    /// Milliseconds that it may take in all.
    pub(super) fn budget_ms(&self) -> u64 {
        let deadlines = &self.to.spec.deadlines;
        let planned = match &self.to.spec.strategy {
            Strategy::Rolling { bake_ms, .. } => bake_ms.saturating_mul(2) + deadlines.evidence_ms,
            Strategy::Canary { .. } | Strategy::BlueGreen { .. } => {
                let of = |it: &ShiftStep| it.duration_ms.saturating_add(deadlines.evidence_ms);
                self.steps().iter().map(of).fold(0, u64::saturating_add)
            }
        };
        planned.saturating_add(deadlines.progress_ms)
    }

    /// Copies that a rolling replacement judges before the others follow.
    pub(super) fn first_copies(&self) -> u32 {
        let (surge, unavailable) = self.to.spec.surge_and_unavailable();
        surge.saturating_add(unavailable).clamp(1, self.to.spec.replicas.max(1))
    }

    pub(super) fn is_back(&self) -> bool {
        matches!(self.stage, Stage::RollingBack(_))
    }
}
