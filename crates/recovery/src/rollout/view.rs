use super::observed::{Action, Copy, CopyId, Note, Observed, Phase, ReleaseId, Split};
use super::{SplitWait, Wait, Workload};

/// What is, in the light of what is remembered.
pub(super) struct View<'a> {
    pub(super) observed: &'a Observed,
    /// Copies that may be used: ready, on no way out, and known to all proxies (or those that do not know it were passed).
    available: Vec<CopyId>,
    /// All proxies have the split, or were passed.
    split_in_effect: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(workload: &Workload, observed: &'a Observed) -> Self {
        let is_available = |it: &&Copy| {
            it.phase == Phase::Ready
                && !workload.drains.contains_key(&it.id)
                && (it.unacknowledged.is_empty()
                    || workload.waits.get(&it.id).is_some_and(|wait| wait.passed))
        };
        let available = observed.copies.iter().filter(is_available).map(|it| it.id).collect();
        let was_passed = workload.split_wait.as_ref().is_some_and(|it| it.passed);
        let split_in_effect =
            observed.split.is_some() && (observed.split_unacknowledged.is_empty() || was_passed);
        Self { observed, available, split_in_effect }
    }

    pub(super) fn is_available(&self, id: CopyId) -> bool {
        self.available.contains(&id)
    }

    pub(super) fn available(&self) -> impl Iterator<Item = &CopyId> {
        self.available.iter()
    }

    /// Available copies of a release.
    pub(super) fn available_of(&self, release: ReleaseId) -> u32 {
        count(self.available.iter().filter(|it| it.release == release))
    }

    /// Available copies that get requests with `split`. Before the first split, all might.
    pub(super) fn serving(&self, split: Option<&Split>) -> u32 {
        let serves = |it: &&CopyId| split.is_none_or(|split| split.serves(it.release));
        count(self.available.iter().filter(serves))
    }

    /// The proxies divide requests so.
    pub(super) fn is_in_effect(&self, split: &Split) -> bool {
        self.split_in_effect && self.observed.split.as_ref() == Some(split)
    }

    /// No proxy sends anything to the release any more.
    pub(super) fn is_unused(&self, release: ReleaseId) -> bool {
        self.split_in_effect
            && self.observed.split.as_ref().is_some_and(|split| !split.serves(release))
    }

    /// Copies that exist.
    pub(super) fn copies(&self) -> impl Iterator<Item = &'a Copy> {
        self.observed.copies.iter().filter(|it| it.phase != Phase::Stopped)
    }
}

pub(super) fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

impl Workload {
    /// Keeps the times since when something is waited for, and passes who does not acknowledge.
    pub(super) fn take_note_of(&mut self, observed: &Observed, actions: &mut Vec<Action>) {
        let acknowledge_ms = self.deadlines().acknowledge_ms;
        let now_ms = self.clock.elapsed_ms();
        let is_over = |since_ms: u64| now_ms - since_ms >= acknowledge_ms;
        let (mut changed, supervised) = (false, self.is_supervised());
        let stopped = |id: &CopyId| {
            !observed.copies.iter().any(|it| it.id == *id && it.phase != Phase::Stopped)
        };
        let before = self.drains.len();
        self.drains.retain(|id, _| !stopped(id));
        // A copy that was gone comes back as another: what was passed was the one before.
        for (_, wait) in self.waits.iter_mut().filter(|it| stopped(it.0)) {
            (wait.unacknowledged_since_ms, wait.passed) = (None, false);
        }
        changed |= self.drains.len() != before;
        for copy in &observed.copies {
            let name = || Note::NotAcknowledged {
                copy: Some(copy.id),
                proxies: copy.unacknowledged.clone(),
            };
            if let Some(wait) = self.waits.get_mut(&copy.id).filter(|it| it.crashes != copy.crashes)
            {
                wait.crashes = copy.crashes;
                (wait.unacknowledged_since_ms, wait.passed) = (None, false);
            }
            let fresh = || Wait { crashes: copy.crashes, ..Wait::default() };
            match copy.phase {
                Phase::Starting | Phase::Checking | Phase::Failed => {
                    let wait = self.waits.entry(copy.id).or_insert_with(fresh);
                    wait.unready_since_ms.get_or_insert(now_ms);
                    (wait.unacknowledged_since_ms, wait.passed) = (None, false);
                }
                Phase::Ready => {
                    let wait = self.waits.entry(copy.id).or_insert_with(fresh);
                    wait.unready_since_ms = None;
                    if copy.unacknowledged.is_empty() {
                        (wait.unacknowledged_since_ms, wait.passed) = (None, false);
                    } else if is_over(*wait.unacknowledged_since_ms.get_or_insert(now_ms))
                        && !wait.passed
                    {
                        wait.passed = true;
                        actions.push(Action::Note(name()));
                    }
                }
                Phase::Draining if supervised => {
                    self.waits.remove(&copy.id);
                    let drain = self.drains.entry(copy.id).or_default();
                    changed |= drain.marked_ms.is_none();
                    let marked_ms = *drain.marked_ms.get_or_insert(now_ms);
                    let all = copy.unacknowledged.is_empty();
                    let since_ms = drain.unacknowledged_since_ms.unwrap_or(now_ms);
                    let since_ms = (!all).then_some(since_ms);
                    changed |= drain.unacknowledged_since_ms != since_ms;
                    drain.unacknowledged_since_ms = since_ms;
                    if drain.acknowledged_ms.is_none() && (all || is_over(marked_ms)) {
                        drain.acknowledged_ms = Some(now_ms);
                        changed = true;
                        actions.extend((!all).then(|| Action::Note(name())));
                    }
                }
                Phase::Draining | Phase::Stopping | Phase::Stopped => {
                    self.waits.remove(&copy.id);
                }
            }
        }
        self.note_split(observed, acknowledge_ms, actions);
        if changed {
            self.touch();
        }
    }

    fn note_split(&mut self, observed: &Observed, acknowledge_ms: u64, actions: &mut Vec<Action>) {
        let now_ms = self.clock.elapsed_ms();
        let Some(split) =
            observed.split.as_ref().filter(|_| !observed.split_unacknowledged.is_empty())
        else {
            self.split_wait = None;
            return;
        };
        if self.split_wait.as_ref().is_none_or(|it| it.split != *split) {
            self.split_wait =
                Some(SplitWait { split: split.clone(), since_ms: now_ms, passed: false });
        }
        if let Some(wait) = self.split_wait.as_mut().filter(|it| !it.passed)
            && now_ms - wait.since_ms >= acknowledge_ms
        {
            wait.passed = true;
            let proxies = observed.split_unacknowledged.clone();
            actions.push(Action::Note(Note::NotAcknowledged { copy: None, proxies }));
        }
    }

    /// A copy was asked for; it counts as not ready from now on.
    pub(super) fn wait_for(&mut self, id: CopyId) {
        let now_ms = self.clock.elapsed_ms();
        let wait: &mut Wait = self.waits.entry(id).or_default();
        wait.unready_since_ms.get_or_insert(now_ms);
    }
}
