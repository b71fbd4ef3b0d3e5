//! From what ought to be to acts, within the promise.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::observed::{Action, Copy, CopyId, Note, Phase, ReleaseId, Split};
use super::plan::Plan;
use super::view::{View, count};
use super::{Drain, Workload};

impl Workload {
    pub(super) fn place(&mut self, view: &View<'_>, actions: &mut Vec<Action>) {
        let plan = self.plan(view);
        let is_supervised = self.is_supervised();
        if is_supervised {
            let before = self.drains.clone();
            self.bring_back(&plan, view);
            self.start_missing(&plan, view, actions);
            self.reconsider(view);
            self.drain_surplus(&plan, view);
            self.tell_draining(view, &before, actions);
        }
        // Whoever runs copies registers them again; nobody here waits for one to come back.
        let wanted = |id: &CopyId| is_supervised && plan.wants.contains_key(&id.release);
        let exists = |id: &CopyId| view.copies().any(|it| it.id == *id);
        self.waits.retain(|id, _| wanted(id) || exists(id));
        self.set_split(&plan, view, actions);
    }

    pub(super) fn is_supervised(&self) -> bool {
        let release = self.rollout.as_ref().map(|it| &it.to).or(self.stable.as_ref());
        release.is_some_and(|it| it.spec.supervised)
    }

    /// Copies on their way out that are needed again come back, as long as their process was not told to end.
    fn bring_back(&mut self, plan: &Plan, view: &View<'_>) {
        for (release, want) in &plan.wants {
            let missing = want.saturating_sub(self.staying(view, *release));
            let ids: Vec<CopyId> = view
                .copies()
                .filter(|it| it.id.release == *release && it.phase != Phase::Stopping)
                .map(|it| it.id)
                .filter(|id| self.drains.get(id).is_some_and(|it| !it.stopping))
                .take(missing as usize)
                .collect();
            for id in ids {
                self.drains.remove(&id);
                self.touch();
            }
        }
    }

    fn start_missing(&mut self, plan: &Plan, view: &View<'_>, actions: &mut Vec<Action>) {
        let mut room = plan.copies_max.saturating_sub(count(view.copies()));
        for release in &plan.starts {
            let want = plan.wants.get(release).copied().unwrap_or(0);
            let missing = want.saturating_sub(self.staying(view, *release)).min(room);
            room -= missing;
            for slot in free_slots(*release, view).take(missing as usize) {
                let id = CopyId { release: *release, slot };
                self.wait_for(id);
                actions.push(Action::StartCopy(id));
            }
        }
    }

    /// A copy that was to be marked and is not yet may have become one of those that are needed, when others crashed or it
    /// was not available then.
    fn reconsider(&mut self, view: &View<'_>) {
        let mut lacking = self.promise().saturating_sub(view.serving(view.observed.split.as_ref()));
        for copy in view.copies().filter(|it| it.phase == Phase::Ready) {
            let is_unmarked = self.drains.get(&copy.id).is_some_and(|it| it.marked_ms.is_none());
            if lacking > 0 && is_unmarked && !view.is_unused(copy.id.release) {
                lacking -= 1;
                self.drains.remove(&copy.id);
                self.touch();
            }
        }
    }

    /// Marks what is too much: first what does not serve anyway, then as many as the promise allows.
    fn drain_surplus(&mut self, plan: &Plan, view: &View<'_>) {
        let mut spare = view.serving(view.observed.split.as_ref()).saturating_sub(self.promise());
        let releases: BTreeSet<ReleaseId> = view.copies().map(|it| it.id.release).collect();
        for release in releases {
            let want = plan.wants.get(&release).copied().unwrap_or(0);
            let surplus = self.staying(view, release).saturating_sub(want);
            let mut ids: Vec<CopyId> = view
                .copies()
                .filter(|it| it.id.release == release && it.phase != Phase::Stopping)
                .map(|it| it.id)
                .filter(|id| !self.drains.contains_key(id))
                .collect();
            ids.sort_by_key(|id| (view.is_available(*id), Reverse(id.slot)));
            for id in ids.into_iter().take(surplus as usize) {
                if !view.is_unused(release) && !self.removed && self.is_missed(id, view) {
                    if spare == 0 {
                        break;
                    }
                    spare -= 1;
                }
                self.drains.insert(id, Drain::default());
                self.touch();
            }
        }
    }

    /// Whether a copy that may get requests counts, or will soon: it is ready, or one of the good release that has not been
    /// unready for long. One that stays broken must not keep its replacement from coming.
    fn is_missed(&self, id: CopyId, view: &View<'_>) -> bool {
        let Some(copy) = view.copies().find(|it| it.id == id) else { return false };
        match copy.phase {
            Phase::Ready => true,
            Phase::Starting | Phase::Checking => {
                let is_good = self.stable.as_ref().is_some_and(|it| it.id == id.release);
                let since_ms = self.waits.get(&id).and_then(|it| it.unready_since_ms);
                let patience_ms = self.deadlines().acknowledge_ms;
                let now_ms = self.clock.elapsed_ms();
                is_good && since_ms.is_none_or(|since_ms| now_ms - since_ms < patience_ms)
            }
            Phase::Draining | Phase::Stopping | Phase::Failed | Phase::Stopped => false,
        }
    }

    /// The sequence of a copy's end: marked, acknowledged by all proxies, no requests under way or the deadline, signalled.
    fn tell_draining(
        &mut self,
        view: &View<'_>,
        before: &BTreeMap<CopyId, Drain>,
        actions: &mut Vec<Action>,
    ) {
        let (now_ms, deadlines) = (self.clock.elapsed_ms(), self.deadlines());
        let (drain_ms, acknowledge_ms) = (deadlines.drain_ms, deadlines.acknowledge_ms);
        let mut changed = false;
        for copy in view.copies() {
            let Some(drain) = self.drains.get_mut(&copy.id) else {
                let is_marked = copy.phase == Phase::Draining || before.contains_key(&copy.id);
                if is_marked && copy.phase != Phase::Stopping {
                    actions.push(Action::Undrain(copy.id));
                }
                continue;
            };
            match copy.phase {
                Phase::Ready | Phase::Starting | Phase::Checking if !drain.stopping => {
                    actions.push(Action::Drain(copy.id));
                }
                // No process, no requests.
                Phase::Failed => stop(copy, drain, &mut changed, actions),
                Phase::Draining => {
                    let Some(acknowledged_ms) = drain.acknowledged_ms else { continue };
                    // A proxy that came back meanwhile may send requests to it until it acknowledges, or is passed.
                    let since_ms = drain.unacknowledged_since_ms;
                    let has_time = since_ms.is_some_and(|it| now_ms - it < acknowledge_ms);
                    if has_time && !drain.stopping {
                        continue;
                    }
                    let is_over = now_ms - acknowledged_ms >= drain_ms;
                    if copy.in_flight > 0 && !is_over && !drain.stopping {
                        continue;
                    }
                    if copy.in_flight > 0 && !drain.stopping {
                        let (copy, in_flight) = (copy.id, copy.in_flight);
                        actions.push(Action::Note(Note::CutShort { copy, in_flight }));
                    }
                    stop(copy, drain, &mut changed, actions);
                }
                Phase::Ready | Phase::Starting | Phase::Checking => {
                    stop(copy, drain, &mut changed, actions);
                }
                Phase::Stopping | Phase::Stopped => {}
            }
        }
        if changed {
            self.touch();
        }
    }

    /// Sets the split unless that leaves fewer available copies serving than now and than promised.
    fn set_split(&self, plan: &Plan, view: &View<'_>, actions: &mut Vec<Action>) {
        let Some(split) = plan.split.as_ref() else { return };
        let now = view.observed.split.as_ref();
        if now == Some(split) {
            return;
        }
        let not_missed = plan.bad.filter(|it| now.is_some_and(|now| now.serves(*it)));
        // What was told to drain just now serves no more.
        let serving_with = |split: &Split| {
            let stays = |it: &&CopyId| split.serves(it.release) && !self.drains.contains_key(it);
            count(view.available().filter(stays))
        };
        let lost = not_missed.map_or(0, |it| view.available_of(it));
        let serving = now.map_or(0, serving_with).saturating_sub(lost);
        // Of a workload that others run, the number of copies is not ours to promise, but one there must be.
        let promise = if self.is_supervised() { self.promise() } else { 1 };
        if serving_with(split) >= serving.min(promise).max(u32::from(now.is_some())) {
            actions.push(Action::SetSplit(split.clone()));
        }
    }
}

fn stop(copy: &Copy, drain: &mut Drain, changed: &mut bool, actions: &mut Vec<Action>) {
    *changed |= !drain.stopping;
    drain.stopping = true;
    actions.push(Action::Stop(copy.id));
}

/// Places of a release without a copy, the lowest first.
fn free_slots(release: ReleaseId, view: &View<'_>) -> impl Iterator<Item = u32> {
    let taken: BTreeSet<u32> =
        view.copies().filter(|it| it.id.release == release).map(|it| it.id.slot).collect();
    (0..).filter(move |slot| !taken.contains(slot))
}
