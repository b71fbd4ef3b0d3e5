//! How a rollout goes on: bad evidence first, then the next step.

use model::Timestamp;

use super::observed::{Action, Note, Observed, ReleaseId};
use super::record::{Grounds, Outcome, Reason, Record};
use super::spec::{Deadlines, LittleTraffic, Strategy};
use super::stage::{Rolling, RollingBack, Rollout, Shifting, Stage};
use super::view::{View, count};
use super::{HISTORY_MAX, Workload};
use crate::evidence::{Counts, Report, Verdict};

/// Whether the evidence lets a rollout go on.
enum Judgement {
    Wait,
    Go,
    /// Go, with too few requests for a verdict.
    GoWithLittle(u64),
    Back(Reason),
}

impl Workload {
    pub(super) fn advance(&mut self, view: &View<'_>, now: Timestamp, actions: &mut Vec<Action>) {
        if self.rollout.is_none() {
            self.recover(view, actions);
            return;
        }
        self.feed(view.observed);
        if let Some(reason) = self.what_is_wrong(view) {
            actions.push(Action::Note(Note::RollingBack(reason.clone())));
            self.roll_back(reason);
        }
        let Some(rollout) = &self.rollout else { return };
        match rollout.stage.clone() {
            Stage::Shifting(shifting) => self.shift(shifting, view, now, actions),
            Stage::Rolling(rolling) => self.roll(rolling, view, now, actions),
            Stage::RollingBack(back) => self.go_back(&back, view, now, actions),
        }
    }

    /// What was held and is well again is no longer held.
    fn recover(&mut self, view: &View<'_>, actions: &mut Vec<Action>) {
        let Some(stable) = &self.stable else { return };
        // How many there are of what others run is theirs to say.
        let needed = if stable.spec.supervised { stable.spec.replicas } else { 1 };
        let is_well = view.available_of(stable.id) >= needed
            && view.is_in_effect(&super::Split::all(stable.id));
        if self.held.is_some() && is_well {
            actions.push(Action::Note(Note::Recovered(stable.id)));
            self.held = None;
            self.touch();
        }
    }

    /// Gives the reports to the evidence.
    fn feed(&mut self, observed: &Observed) {
        let old = self.stable.as_ref().map(|it| it.id);
        let Some(rollout) = self.rollout.as_mut().filter(|it| !it.direct && !it.is_back()) else {
            return;
        };
        let to = rollout.to.id;
        let reports: Vec<Report> = observed
            .reports
            .iter()
            .map(|report| {
                let of = |id: Option<ReleaseId>| -> Counts {
                    id.and_then(|it| report.counts.get(&it)).copied().unwrap_or_default()
                };
                Report { proxy: report.proxy.clone(), old: of(old), new: of(Some(to)) }
            })
            .collect();
        rollout.evidence.observe(&reports);
    }

    /// Why the rollout cannot go on, if it cannot.
    fn what_is_wrong(&mut self, view: &View<'_>) -> Option<Reason> {
        let now_ms = self.clock.elapsed_ms();
        let rollout = self.rollout.as_mut().filter(|it| !it.is_back())?;
        let spec = &rollout.to.spec;
        let mine = || view.copies().filter(|it| it.id.release == rollout.to.id);
        let crashes = mine().fold(0u32, |sum, it| sum.saturating_add(it.crashes));
        let before = *rollout.crashes_before.get_or_insert(crashes);
        // A copy that was replaced takes its crashes with it.
        rollout.crashes_before = Some(before.min(crashes));
        let crashes = crashes.saturating_sub(before);
        let failed = mine().find(|it| it.phase == super::Phase::Failed);
        if let Some(copy) = failed.or_else(|| {
            let worst = mine().max_by_key(|it| it.crashes);
            worst.filter(|_| crashes >= spec.crashes_max)
        }) {
            let output = copy.output.clone();
            return Some(Reason::Crashed { copy: copy.id, crashes, output });
        }
        for (id, wait) in self.waits.iter().filter(|(id, _)| id.release == rollout.to.id) {
            let waited_ms = wait.unready_since_ms.map_or(0, |since_ms| now_ms - since_ms);
            if waited_ms >= spec.deadlines.ready_ms && spec.supervised {
                let seen = mine().find(|it| it.id == *id);
                let output = seen.map_or("it was not started".to_owned(), |it| it.output.clone());
                return Some(Reason::NeverReady { copy: *id, waited_ms, output });
            }
        }
        if let Verdict::Worse { by, figures } = rollout.evidence.verdict()
            && !rollout.forced
        {
            return Some(Reason::Worse { by, figures });
        }
        let is_late = rollout.paused_ms.is_none() && now_ms >= rollout.deadline_ms;
        is_late.then_some(Reason::NoProgress)
    }

    pub(super) fn roll_back(&mut self, reason: Reason) {
        let since_ms = self.clock.elapsed_ms();
        if let Some(rollout) = &mut self.rollout {
            rollout.stage = Stage::RollingBack(RollingBack { since_ms, reason });
            rollout.paused_ms = None;
        }
        self.touch();
    }

    fn shift(
        &mut self,
        mut shifting: Shifting,
        view: &View<'_>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let now_ms = self.clock.elapsed_ms();
        let Some(rollout) = &self.rollout else { return };
        let steps = rollout.steps();
        let step = steps[shifting.step.min(steps.len() - 1)];
        let has_copies = view.available_of(rollout.to.id) >= step.copies;
        let target = self.shift_split(rollout, step.weight_percent);
        let is_settled = target.is_none_or(|it| view.is_in_effect(&it));
        if rollout.paused_ms.is_some() || !has_copies || !is_settled {
            return;
        }
        let Some(settled_ms) = shifting.settled_ms else {
            shifting.settled_ms = Some(now_ms);
            let (step, weight_percent) = (shifting.step, step.weight_percent);
            actions.push(Action::Note(Note::StepReached { step, weight_percent }));
            self.set_stage(Stage::Shifting(shifting));
            return;
        };
        let judgement = if step.judged {
            judge(rollout, settled_ms.saturating_add(step.duration_ms), now_ms)
        } else if now_ms >= settled_ms.saturating_add(step.duration_ms) {
            Judgement::Go
        } else {
            Judgement::Wait
        };
        let is_last = shifting.step + 1 >= steps.len();
        if self.may_go(judgement, actions) {
            if is_last {
                actions.push(self.promote(now));
            } else {
                let step = shifting.step + 1;
                self.set_stage(Stage::Shifting(Shifting { step, settled_ms: None }));
            }
        }
    }

    fn roll(
        &mut self,
        mut rolling: Rolling,
        view: &View<'_>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let now_ms = self.clock.elapsed_ms();
        let Some(rollout) = self.rollout.as_ref().filter(|it| it.paused_ms.is_none()) else {
            return;
        };
        let bake_ms = match rollout.to.spec.strategy {
            Strategy::Rolling { bake_ms, .. } if !rollout.forced => bake_ms,
            Strategy::Rolling { .. } | Strategy::Canary { .. } | Strategy::BlueGreen { .. } => 0,
        };
        let available = view.available_of(rollout.to.id);
        if !rolling.judged {
            if available < rollout.first_copies() {
                return;
            }
            let Some(first_ms) = rolling.first_ms else {
                rolling.first_ms = Some(now_ms);
                self.set_stage(Stage::Rolling(rolling));
                return;
            };
            let judgement = judge(rollout, first_ms.saturating_add(bake_ms), now_ms);
            if self.may_go(judgement, actions) {
                rolling.judged = true;
                self.set_stage(Stage::Rolling(rolling));
            }
            return;
        }
        let to = rollout.to.id;
        let on_its_way_out = |it: &super::Copy| self.drains.contains_key(&it.id);
        let old = count(view.copies().filter(|it| it.id.release != to && !on_its_way_out(it)));
        if available < rollout.to.spec.replicas || old > 0 {
            if rolling.complete_ms.take().is_some() {
                self.set_stage(Stage::Rolling(rolling));
            }
        } else if let Some(complete_ms) = rolling.complete_ms {
            if now_ms >= complete_ms.saturating_add(bake_ms) {
                actions.push(self.promote(now));
            }
        } else {
            rolling.complete_ms = Some(now_ms);
            self.set_stage(Stage::Rolling(rolling));
        }
    }

    fn may_go(&mut self, judgement: Judgement, actions: &mut Vec<Action>) -> bool {
        match judgement {
            Judgement::Wait => false,
            Judgement::Go => true,
            Judgement::GoWithLittle(requests) => {
                actions.push(Action::Note(Note::LittleTraffic { requests }));
                true
            }
            Judgement::Back(reason) => {
                actions.push(Action::Note(Note::RollingBack(reason.clone())));
                self.roll_back(reason);
                false
            }
        }
    }

    fn go_back(
        &mut self,
        back: &RollingBack,
        view: &View<'_>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(rollout) = &self.rollout else { return };
        let Some(stable) = self.stable.as_ref().filter(|_| self.proven) else {
            // There is nothing to go back to: what was asked for last is kept running as well as it can.
            self.stable = Some(rollout.to.clone());
            actions.push(self.finish(Outcome::Held(back.reason.clone()), now));
            return;
        };
        let needed = if stable.spec.supervised { self.promise().max(1) } else { 0 };
        let is_restored = view.available_of(stable.id) >= needed
            && view.is_in_effect(&super::Split::all(stable.id));
        let patience_ms = rollout.to.spec.deadlines.progress_ms;
        if is_restored {
            actions.push(self.finish(Outcome::RolledBack(back.reason.clone()), now));
        } else if self.clock.elapsed_ms() - back.since_ms >= patience_ms {
            actions.push(self.finish(Outcome::Held(back.reason.clone()), now));
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(rollout) = &mut self.rollout {
            rollout.stage = stage;
        }
        self.touch();
    }

    /// The new release becomes the good one.
    fn promote(&mut self, now: Timestamp) -> Action {
        let finished = self.finish(Outcome::Promoted, now);
        let release = self.history.back().map(|it| it.release.clone());
        let old = std::mem::replace(&mut self.stable, release);
        if self.proven {
            self.previous = old;
        }
        self.proven = true;
        let keep_ms = self.stable.as_ref().map_or(0, |it| it.spec.keep_old_ms());
        let until_ms = self.clock.elapsed_ms().saturating_add(keep_ms);
        self.kept_until_ms = Some(until_ms);
        finished
    }

    /// Ends the rollout and writes it down.
    pub(super) fn finish(&mut self, outcome: Outcome, now: Timestamp) -> Action {
        self.touch();
        let rollout = self.rollout.take().expect("only a rollout under way is finished");
        if let Outcome::Held(reason) = &outcome {
            self.held = Some(reason.clone());
        }
        let record = Record {
            grounds: if outcome == Outcome::Promoted {
                grounds(&rollout)
            } else {
                Grounds::Unknown
            },
            figures: rollout.evidence.figures(),
            release: rollout.to,
            began: rollout.began,
            ended: now,
            outcome,
        };
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(record.clone());
        Action::Finish(Box::new(record))
    }

    pub(super) fn deadlines(&self) -> Deadlines {
        let release = self.rollout.as_ref().map(|it| &it.to).or(self.stable.as_ref());
        release.map_or_else(Deadlines::default, |it| it.spec.deadlines)
    }
}

fn grounds(rollout: &Rollout) -> Grounds {
    match rollout.evidence.verdict() {
        _ if rollout.forced => Grounds::Order,
        // What is known to be good, or is the first, is not compared.
        _ if rollout.direct => Grounds::Unknown,
        Verdict::AsGood { .. } => Grounds::Requests,
        Verdict::Undecided { .. } | Verdict::Worse { .. } => Grounds::Checks,
    }
}

/// Whether what is due at `due_ms` may be done by then.
fn judge(rollout: &Rollout, due_ms: u64, now_ms: u64) -> Judgement {
    if now_ms < due_ms && !rollout.forced {
        return Judgement::Wait;
    }
    match rollout.evidence.verdict() {
        _ if rollout.forced || rollout.direct => Judgement::Go,
        Verdict::AsGood { .. } => Judgement::Go,
        Verdict::Worse { by, figures } => Judgement::Back(Reason::Worse { by, figures }),
        Verdict::Undecided { requests } => {
            let spec = &rollout.to.spec;
            if now_ms < due_ms.saturating_add(spec.deadlines.evidence_ms) {
                return Judgement::Wait;
            }
            match spec.little_traffic {
                LittleTraffic::Proceed => Judgement::GoWithLittle(requests),
                LittleTraffic::RollBack => Judgement::Back(Reason::LittleTraffic { requests }),
            }
        }
    }
}
