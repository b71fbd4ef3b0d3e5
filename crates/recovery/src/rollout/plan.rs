//! What ought to be, from the stage of the rollout.

use std::collections::{BTreeMap, BTreeSet};

use super::Workload;
use super::observed::{Phase, ReleaseId, Split};
use super::stage::{Rolling, RollingBack, Rollout, Shifting, Stage};
use super::view::{View, count};

/// What ought to be.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Copies by release; a release that is not named ought to have none.
    pub(super) wants: BTreeMap<ReleaseId, u32>,
    /// Releases whose missing copies are started.
    pub(super) starts: BTreeSet<ReleaseId>,
    /// Most copies at once, on their way out and all.
    pub(super) copies_max: u32,
    pub(super) split: Option<Split>,
    /// Copies of a release that the evidence is against are not missed when requests are moved away from it.
    pub(super) bad: Option<ReleaseId>,
}

impl Workload {
    /// Available copies that we never go below by an act of our own.
    pub(super) fn promise(&self) -> u32 {
        if self.removed {
            return 0;
        }
        let stable = self.stable.as_ref().map(|it| it.spec.replicas);
        let Some(rollout) = &self.rollout else { return stable.unwrap_or(0) };
        let replicas = rollout.to.spec.replicas.min(stable.unwrap_or(u32::MAX));
        let (_, unavailable) = rollout.to.spec.surge_and_unavailable();
        let shifts = rollout.direct && !matches!(rollout.stage, Stage::Rolling(_));
        replicas.saturating_sub(if shifts { 0 } else { unavailable })
    }

    pub(super) fn plan(&self, view: &View<'_>) -> Plan {
        match &self.rollout {
            _ if self.removed => Plan { copies_max: u32::MAX, ..Plan::default() },
            None => self.plan_steady(view),
            Some(rollout) => match &rollout.stage {
                Stage::Shifting(shifting) => self.plan_shift(rollout, *shifting, view),
                Stage::Rolling(rolling) => self.plan_roll(rollout, *rolling, view),
                Stage::RollingBack(back) => self.plan_back(rollout, back, view),
            },
        }
    }

    fn plan_steady(&self, view: &View<'_>) -> Plan {
        let mut plan = Plan { copies_max: u32::MAX, ..Plan::default() };
        if let (Some(previous), Some(until_ms)) = (&self.previous, self.kept_until_ms)
            && self.clock.elapsed_ms() < until_ms
        {
            plan.wants.insert(previous.id, self.staying(view, previous.id));
        }
        if let Some(stable) = &self.stable {
            plan.wants.insert(stable.id, stable.spec.replicas);
            plan.starts.insert(stable.id);
            plan.split = Some(Split::all(stable.id));
        }
        plan
    }

    fn plan_shift(&self, rollout: &Rollout, shifting: Shifting, view: &View<'_>) -> Plan {
        let steps = rollout.steps();
        let at = shifting.step.min(steps.len() - 1);
        let to = &rollout.to;
        let mut plan = Plan { copies_max: u32::MAX, ..Plan::default() };
        if let Some(stable) = &self.stable {
            plan.wants.insert(stable.id, stable.spec.replicas);
            plan.starts.insert(stable.id);
        }
        // Copies that are kept from before stay until their weight is there.
        let copies = steps[at].copies.max(self.staying(view, to.id).min(to.spec.replicas));
        plan.wants.insert(to.id, copies);
        plan.starts.insert(to.id);
        let target = self.shift_split(rollout, steps[at].weight_percent);
        let is_there = target.is_some() && view.observed.split == target;
        plan.split = if is_there || view.available_of(to.id) >= steps[at].copies {
            target
        } else if at == 0 {
            self.stable.as_ref().filter(|_| self.proven).map(|it| Split::all(it.id))
        } else {
            self.shift_split(rollout, steps[at - 1].weight_percent)
        };
        plan
    }

    /// The split of a shift. `None` if nothing can be said yet: weight 0 of the first release.
    pub(super) fn shift_split(&self, rollout: &Rollout, weight_percent: u32) -> Option<Split> {
        let to = rollout.to.id;
        match &self.stable {
            _ if weight_percent >= 100 => Some(Split::all(to)),
            Some(stable) if weight_percent == 0 => Some(Split::all(stable.id)),
            Some(stable) => {
                let weights = [(stable.id, 100 - weight_percent), (to, weight_percent)];
                Some(Split::Weights(BTreeMap::from(weights)))
            }
            None => None,
        }
    }

    fn plan_roll(&self, rollout: &Rollout, rolling: Rolling, view: &View<'_>) -> Plan {
        let to = &rollout.to;
        let first = rollout.first_copies();
        let old = self.stable.as_ref().map_or(0, |it| it.spec.replicas);
        let mut plan = self.plan_all_by_copies(rollout, view);
        plan.starts.insert(to.id);
        if let Some(stable) = self.stable.as_ref().filter(|_| !rolling.judged) {
            // They stay until the first ones are judged, and come back if all processes were lost with an agent.
            plan.wants.insert(stable.id, old.saturating_sub(first));
            plan.starts.insert(stable.id);
            plan.wants.insert(to.id, first);
            return plan;
        }
        plan.wants.insert(to.id, to.spec.replicas);
        if rollout.paused_ms.is_some() {
            let releases = plan_releases(view).into_iter().filter(|it| *it != to.id);
            let olds: BTreeMap<_, _> = releases.map(|it| (it, self.staying(view, it))).collect();
            let lacking = to.spec.replicas.saturating_sub(olds.values().sum());
            plan.wants.extend(olds);
            plan.wants.insert(to.id, self.staying(view, to.id).max(lacking));
        }
        plan
    }

    fn plan_back(&self, rollout: &Rollout, back: &RollingBack, view: &View<'_>) -> Plan {
        let Some(stable) = &self.stable else {
            return Plan { copies_max: u32::MAX, ..Plan::default() };
        };
        let rolls = matches!(view.observed.split, Some(Split::ByCopies(_)));
        let mut plan = self.plan_all_by_copies(rollout, view);
        plan.wants.insert(stable.id, stable.spec.replicas);
        plan.starts.insert(stable.id);
        let is_enough = view.available_of(stable.id) >= self.promise().max(1);
        if !rolls || is_enough {
            plan.split = Some(Split::all(stable.id));
        }
        plan.bad = match back.reason {
            super::Reason::Worse { .. } if !rolls => Some(rollout.to.id),
            _ => None,
        };
        plan
    }

    /// All copies that are there serve alike, and there are no more at once than the surge allows.
    fn plan_all_by_copies(&self, rollout: &Rollout, view: &View<'_>) -> Plan {
        let (surge, _) = rollout.to.spec.surge_and_unavailable();
        let old = self.stable.as_ref().map_or(0, |it| it.spec.replicas);
        let mut releases = plan_releases(view);
        releases.insert(rollout.to.id);
        releases.extend(self.stable.as_ref().map(|it| it.id));
        Plan {
            copies_max: rollout.to.spec.replicas.max(old).saturating_add(surge),
            split: Some(Split::ByCopies(releases)),
            ..Plan::default()
        }
    }

    /// Copies of a release that exist and are on no way out.
    pub(super) fn staying(&self, view: &View<'_>, release: ReleaseId) -> u32 {
        count(view.copies().filter(|it| {
            it.id.release == release
                && it.phase != Phase::Stopping
                && !self.drains.contains_key(&it.id)
        }))
    }
}

/// Releases that serve and have copies.
fn plan_releases(view: &View<'_>) -> BTreeSet<ReleaseId> {
    let split = view.observed.split.as_ref();
    let serves = |release| split.is_none_or(|it| it.serves(release));
    view.copies().map(|it| it.id.release).filter(|it| serves(*it)).collect()
}
