use std::collections::{BTreeMap, VecDeque};

use model::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::approach::Approach;
pub use self::command::{Command, Refusal};
pub use self::observed::{
    Action, Copy, CopyId, Note, Observed, Phase, ReleaseId, ReleaseReport, Split,
};
pub use self::record::{Grounds, Outcome, Reason, Record, Release};
pub use self::spec::{Amount, Deadlines, LittleTraffic, Spec, Step, Strategy};
use self::stage::{Rollout, Stage};
use self::view::View;
use crate::clock::Clock;
use crate::evidence::Verdict;

mod advance;
mod approach;
mod command;
mod observed;
mod place;
mod plan;
mod record;
mod spec;
mod stage;
#[cfg(test)]
mod tests;
mod view;

/// Ended rollouts that are remembered.
const HISTORY_MAX: usize = 10;
/// Format of the persisted state; a state of another one is not read.
pub const WORKLOAD_FORMAT: u32 = 1;

/// A workload and its releases: what is good, what is being rolled out, and what is to be done about it now.
///
/// Level-triggered: [`Workload::reconcile`] looks at what is and says what to do, again and again. It remembers decisions
/// and times, never what it has asked for, so a crash between its words and their deeds loses and doubles nothing. The shell
/// calls it once a second or more often, and persists the state *before* it acts whenever [`Workload::revision`] has changed
/// (and every few seconds, for the evidence). Time is felt by [`Clock`]: while the agent is not there, no deadline runs out.
///
/// * At most one rollout at a time, by construction.
/// * No copy that serves is drained, and no split set, if that leaves fewer available copies serving than are promised:
///   `replicas`, or with a rolling strategy `replicas` - `max_unavailable`. What crashes is not our act.
/// * Every rollout ends, unless an operator paused it: promoted, rolled back, or held with its reason.
/// * The last good release is known until another one is good.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Workload {
    format: u32,
    revision: u64,
    clock: Clock,
    next_release: u64,
    /// What serves when there is no rollout; the last good release if `proven`.
    stable: Option<Release>,
    /// `stable` was promoted once.
    proven: bool,
    /// The good release before `stable`.
    previous: Option<Release>,
    /// Copies of `previous` are kept until then.
    kept_until_ms: Option<u64>,
    rollout: Option<Rollout>,
    held: Option<Reason>,
    removed: bool,
    history: VecDeque<Record>,
    drains: BTreeMap<CopyId, Drain>,
    waits: BTreeMap<CopyId, Wait>,
    split_wait: Option<SplitWait>,
    /// Said at the next reconciliation.
    #[serde(skip)]
    pending: Vec<Action>,
}

/// A copy that is on its way out.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Drain {
    /// It is seen to be marked since.
    marked_ms: Option<u64>,
    /// All proxies acknowledged, or were passed.
    acknowledged_ms: Option<u64>,
    /// Not all proxies have acknowledged since: one that comes back begins with an older configuration.
    #[serde(default)]
    unacknowledged_since_ms: Option<u64>,
    /// Its process was told to end: it cannot come back.
    stopping: bool,
}

/// What a copy that is not on its way out is waited for.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Wait {
    /// The copy's crashes when it was seen last: what was known of another process says nothing about this one.
    crashes: u32,
    unready_since_ms: Option<u64>,
    unacknowledged_since_ms: Option<u64>,
    passed: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct SplitWait {
    split: Split,
    since_ms: u64,
    passed: bool,
}

impl Workload {
    /// Nothing has been released yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            format: WORKLOAD_FORMAT,
            revision: 0,
            clock: Clock::new(now),
            next_release: 1,
            stable: None,
            proven: false,
            previous: None,
            kept_until_ms: None,
            rollout: None,
            held: None,
            removed: false,
            history: VecDeque::new(),
            drains: BTreeMap::new(),
            waits: BTreeMap::new(),
            split_wait: None,
            pending: Vec::new(),
        }
    }

    /// Releases from now on have higher numbers than this one, which something has that is not known here.
    pub fn number_after(&mut self, release: ReleaseId) {
        self.next_release = self.next_release.max(release.0.saturating_add(1));
    }

    /// Looks at what is, and says what to do.
    pub fn reconcile(&mut self, observed: &Observed, now: Timestamp) -> Vec<Action> {
        self.clock.advance(now);
        let mut actions = std::mem::take(&mut self.pending);
        self.take_note_of(observed, &mut actions);
        let view = View::new(self, observed);
        self.advance(&view, now, &mut actions);
        self.place(&view, &mut actions);
        actions
    }

    /// Grows with every change that must be persisted before the actions of the same call are done.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether this state can be used; a state of another [`WORKLOAD_FORMAT`] was written by another version.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.format == WORKLOAD_FORMAT
    }

    /// It is being removed, for good.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed
    }

    /// What serves when there is no rollout.
    #[must_use]
    pub fn stable(&self) -> Option<&Release> {
        self.stable.as_ref()
    }

    /// The good release before it: where an undo leads.
    #[must_use]
    pub fn previous(&self) -> Option<&Release> {
        self.previous.as_ref()
    }

    /// What is being rolled out.
    #[must_use]
    pub fn target(&self) -> Option<&Release> {
        self.rollout.as_ref().map(|it| &it.to)
    }

    /// The release with this number, if its copies may be wanted now or an undo may lead to it.
    #[must_use]
    pub fn release(&self, id: ReleaseId) -> Option<&Release> {
        let known = [self.stable.as_ref(), self.target(), self.previous.as_ref()];
        known.into_iter().flatten().find(|it| it.id == id)
    }

    /// How far the rollout is, in words; for `prefix` see [`Reason::text`].
    #[must_use]
    pub fn progress(&self, prefix: &str) -> Option<String> {
        let rollout = self.rollout.as_ref()?;
        let paused = if rollout.paused_ms.is_some() { ", paused" } else { "" };
        Some(match &rollout.stage {
            Stage::Shifting(shifting) => {
                let steps = rollout.steps();
                let percent = steps.get(shifting.step).map_or(100, |it| it.weight_percent);
                let (nth, of) = (shifting.step + 1, steps.len());
                format!("step {nth} of {of} ({percent} % of requests){paused}")
            }
            Stage::Rolling(rolling) if rolling.judged => format!("replacing all copies{paused}"),
            Stage::Rolling(_) => format!("judging the first copies{paused}"),
            Stage::RollingBack(back) => format!("rolling back: {}", back.reason.text(prefix)),
        })
    }

    /// What the evidence of the rollout says.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.rollout.as_ref().map(|it| it.evidence.verdict())
    }

    /// An operator has paused the rollout.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.rollout.as_ref().is_some_and(|it| it.paused_ms.is_some())
    }

    /// Why it is held, if it is.
    #[must_use]
    pub fn held(&self) -> Option<&Reason> {
        self.held.as_ref()
    }

    /// Rollouts that have ended, the oldest first; at most ten.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.history.iter()
    }

    fn touch(&mut self) {
        self.revision += 1;
    }
}
