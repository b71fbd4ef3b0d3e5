use std::collections::VecDeque;
use std::fmt;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::rollout::{CopyId, ReleaseId};

#[cfg(test)]
mod tests;

/// Ended runs that are remembered.
const HISTORY_MAX: usize = 10;
/// Format of the persisted state; a state of another one is not read.
pub const JOB_FORMAT: u32 = 1;

/// Numbers of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobSpec {
    /// Tries after the first one, each after one that failed.
    pub retries_max: u32,
    /// Wait before the first of them, in milliseconds; it doubles with each.
    pub delay_ms: u64,
    /// Longest wait, in milliseconds.
    pub delay_max_ms: u64,
    /// From the start of the first try to the end of the last, in milliseconds; `None`: it may take any time.
    pub deadline_ms: Option<u64>,
}

impl Default for JobSpec {
    fn default() -> Self {
        Self { retries_max: 16, delay_ms: 100, delay_max_ms: 30_000, deadline_ms: None }
    }
}

/// Something that is run to its end, once for each version of it.
///
/// A run is tried until a try ends with code 0, tries are used up, or its deadline passes. Each try has a name of its own: the
/// run's number and the number of the try, as a [`CopyId`]. The shell tells by that name whether the try was started and how it
/// ended, also when it was started by an earlier life of the agent; so nothing is started twice, and no end is missed.
///
/// Level-triggered as [`crate::Workload`] is, and persisted in the same way: before what [`Job::reconcile`] says is done.
///
/// * At most one try is to be running at any time, and none is started while another is seen.
/// * What ended with code 0 is not run again, unless an operator or a changed document asks for it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Job {
    format: u32,
    revision: u64,
    clock: Clock,
    next_run: u64,
    run: Option<Run>,
    /// Comes when `run` has ended.
    next: Option<Order>,
    stopped: bool,
    removed: bool,
    history: VecDeque<RunRecord>,
}

/// What is to be run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Order {
    id: ReleaseId,
    version: String,
    fingerprint: String,
    spec: JobSpec,
}

/// The run under way, or the last one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Run {
    order: Order,
    began: Timestamp,
    stage: RunStage,
    /// Which try it is, from 0 up.
    attempt: u32,
    failures: u32,
    /// When its first try was asked for, by the clock of the job.
    since_ms: Option<u64>,
    /// How its last try ended.
    last_end: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum RunStage {
    /// The try is started then, by the clock of the job.
    Waiting {
        at_ms: u64,
    },
    /// The try is to be running.
    Running,
    /// The try was told to end, and the run ends with it.
    Ending(RunOutcome),
    Ended(RunOutcome),
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RunOutcome {
    /// A try ended with code 0.
    Completed,
    /// The last try that was allowed failed.
    Failed {
        /// Tries that failed.
        failures: u32,
        /// How the last one ended, with what it said last.
        last_end: String,
    },
    /// It did not end within its deadline, and was told to.
    TooLong {
        /// The deadline, in milliseconds.
        deadline_ms: u64,
    },
    /// A newer run came.
    Superseded(ReleaseId),
    /// Nobody asks for it any more.
    Removed,
}

impl RunOutcome {
    /// Why, where it did not complete; empty otherwise.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Completed => String::new(),
            Self::Failed { failures: 1, last_end } => last_end.clone(),
            Self::Failed { failures, last_end } => {
                format!("{failures} tries failed, the last: {last_end}")
            }
            Self::TooLong { deadline_ms } => {
                let seconds = *deadline_ms as f64 / 1000.0;
                format!("it did not end within its deadline of {seconds} s")
            }
            Self::Superseded(by) => format!("run {by} came"),
            Self::Removed => "it is removed".into(),
        }
    }
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Failed { .. } | Self::TooLong { .. } => "failed",
            Self::Superseded(_) | Self::Removed => "canceled",
        })
    }
}

/// A run that has ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its number.
    pub id: ReleaseId,
    /// What operators call what it ran.
    pub version: String,
    /// Tries that were made.
    pub attempts: u32,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub outcome: RunOutcome,
}

/// A try as it is now. One that was never started, or that was forgotten, is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Which: the run and the number of the try.
    pub id: CopyId,
    /// How its process ended; `None` while there is one.
    pub end: Option<AttemptEnd>,
}

/// How a try ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptEnd {
    /// With code 0.
    pub is_well: bool,
    /// It was ended because its agent was: that is no failure of its own.
    pub is_interrupted: bool,
    /// How, with what it said last.
    pub text: String,
}

/// What to do for a job. Given again until it is seen to be done; doing one twice does no harm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobAction {
    /// Start this try unless it was started before.
    Start(CopyId),
    /// Signal its process, and kill it after its grace.
    Stop(CopyId),
    /// It has ended, and how is known: it need not be told again.
    Forget(CopyId),
    /// A run has ended; it is in the history, too (given once).
    Finish(Box<RunRecord>),
}

/// How far a job is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobStanding<'a> {
    /// Nothing was run yet.
    New,
    /// The next try waits for its time. How the last one ended; empty before the first.
    Waiting(&'a str),
    /// A try is running.
    Running,
    /// A try was told to end.
    Ending,
    /// An operator stopped it.
    Stopped,
    /// The last run has ended so.
    Ended(&'a RunOutcome),
}

impl Job {
    /// Nothing has been run yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            format: JOB_FORMAT,
            revision: 0,
            clock: Clock::new(now),
            next_run: 1,
            run: None,
            next: None,
            stopped: false,
            removed: false,
            history: VecDeque::new(),
        }
    }

    /// Runs from now on have higher numbers than this one, which something has that is not known here.
    pub fn number_after(&mut self, run: ReleaseId) {
        self.next_run = self.next_run.max(run.0.saturating_add(1));
    }

    /// Asks for a run. With the fingerprint of the run under way, or of the last one unless that was canceled, only its numbers
    /// change. Otherwise it begins when what runs has ended, which is told to. Returns the number of the run.
    pub fn ask(&mut self, version: &str, fingerprint: &str, spec: JobSpec) -> ReleaseId {
        self.touch();
        if let Some(next) = self.next.as_mut().filter(|it| it.fingerprint == fingerprint) {
            next.spec = spec;
            return next.id;
        }
        if let Some(run) = &mut self.run
            && run.order.fingerprint == fingerprint
            && !run.is_canceled()
        {
            run.order.spec = spec;
            self.next = None;
            return run.order.id;
        }
        let id = ReleaseId(self.next_run);
        self.next_run += 1;
        let (version, fingerprint) = (version.to_owned(), fingerprint.to_owned());
        self.next = Some(Order { id, version, fingerprint, spec });
        id
    }

    /// An operator has its try ended, and none is started until [`Job::go_on`].
    pub fn stop(&mut self) {
        self.stopped = true;
        self.touch();
    }

    /// It goes on after [`Job::stop`].
    pub fn go_on(&mut self) {
        self.stopped = false;
        self.touch();
    }

    /// Nobody asks for it any more: its try is ended, and nothing is run again, ever.
    pub fn remove(&mut self) {
        if !self.removed {
            self.removed = true;
            self.touch();
        }
    }

    /// Looks at what is, and says what to do.
    pub fn reconcile(&mut self, seen: &[Attempt], now: Timestamp) -> Vec<JobAction> {
        self.clock.advance(now);
        let mut actions = Vec::new();
        self.advance(seen, now, &mut actions);
        let current = self.current();
        for attempt in seen {
            let is_wanted = current == Some(attempt.id) && self.may_run();
            match attempt.end {
                None if !is_wanted => actions.push(JobAction::Stop(attempt.id)),
                None => {}
                Some(_) if current != Some(attempt.id) => {
                    actions.push(JobAction::Forget(attempt.id));
                }
                Some(_) => {}
            }
        }
        actions
    }

    fn advance(&mut self, seen: &[Attempt], now: Timestamp, actions: &mut Vec<JobAction>) {
        if let Some(id) = self.current() {
            let attempt = seen.iter().find(|it| it.id == id);
            match attempt.map(|it| &it.end) {
                Some(Some(end)) => self.take_end(end, now, actions),
                Some(None) => self.watch(),
                None => self.miss(now, actions),
            }
        }
        self.take_turn(seen, now, actions);
    }

    /// The try that ought to have a process, or whose end is awaited.
    fn current(&self) -> Option<CopyId> {
        let run = self.run.as_ref()?;
        match run.stage {
            RunStage::Running | RunStage::Ending(_) => {
                Some(CopyId { release: run.order.id, slot: run.attempt })
            }
            RunStage::Waiting { .. } | RunStage::Ended(_) => None,
        }
    }

    fn may_run(&self) -> bool {
        let is_running = self.run.as_ref().is_some_and(|it| it.stage == RunStage::Running);
        is_running && !self.stopped
    }

    /// Its process runs: whether it may go on.
    fn watch(&mut self) {
        let Some(outcome) = self.must_end() else { return };
        if let Some(run) = self.run.as_mut().filter(|it| it.stage == RunStage::Running) {
            run.stage = RunStage::Ending(outcome);
            self.touch();
        }
    }

    /// Why the run may not go on, if it may not.
    fn must_end(&self) -> Option<RunOutcome> {
        let run = self.run.as_ref()?;
        if self.removed {
            return Some(RunOutcome::Removed);
        }
        if let Some(next) = &self.next {
            return Some(RunOutcome::Superseded(next.id));
        }
        let deadline_ms = run.order.spec.deadline_ms?;
        let ran_ms = self.clock.elapsed_ms().saturating_sub(run.since_ms?);
        (ran_ms >= deadline_ms).then_some(RunOutcome::TooLong { deadline_ms })
    }

    /// It was to be running and was never started, or it was told to end before.
    fn miss(&mut self, now: Timestamp, actions: &mut Vec<JobAction>) {
        let Some(run) = &self.run else { return };
        match &run.stage {
            RunStage::Ending(outcome) => {
                let outcome = outcome.clone();
                self.finish(outcome, now, actions);
            }
            RunStage::Running => {
                if let Some(outcome) = self.must_end() {
                    self.finish(outcome, now, actions);
                } else if self.stopped {
                    self.wait_until(self.clock.elapsed_ms());
                }
            }
            RunStage::Waiting { .. } | RunStage::Ended(_) => {}
        }
    }

    fn take_end(&mut self, end: &AttemptEnd, now: Timestamp, actions: &mut Vec<JobAction>) {
        let (now_ms, was_stopped) = (self.clock.elapsed_ms(), self.stopped);
        let Some(run) = &mut self.run else { return };
        run.last_end.clone_from(&end.text);
        let ending = match &run.stage {
            RunStage::Ending(outcome) => Some(outcome.clone()),
            RunStage::Waiting { .. } | RunStage::Running | RunStage::Ended(_) => None,
        };
        match ending {
            // What was told to end because it took too long may end with code 0 and have done half.
            Some(outcome @ RunOutcome::TooLong { .. }) => self.finish(outcome, now, actions),
            _ if end.is_well => self.finish(RunOutcome::Completed, now, actions),
            Some(outcome) => self.finish(outcome, now, actions),
            None if end.is_interrupted || was_stopped => self.try_again(now_ms),
            None => {
                run.failures += 1;
                let (failures, spec) = (run.failures, run.order.spec);
                if failures > spec.retries_max {
                    let last_end = end.text.clone();
                    self.finish(RunOutcome::Failed { failures, last_end }, now, actions);
                } else {
                    let factor = 1u64.checked_shl(failures - 1).unwrap_or(u64::MAX);
                    let delay_ms = spec.delay_ms.saturating_mul(factor).min(spec.delay_max_ms);
                    self.try_again(now_ms.saturating_add(delay_ms));
                }
            }
        }
    }

    fn try_again(&mut self, at_ms: u64) {
        if let Some(run) = &mut self.run {
            run.attempt += 1;
        }
        self.wait_until(at_ms);
    }

    fn wait_until(&mut self, at_ms: u64) {
        if let Some(run) = &mut self.run {
            run.stage = RunStage::Waiting { at_ms };
        }
        self.touch();
    }

    /// Starts what is due, unless something of it still runs.
    fn take_turn(&mut self, seen: &[Attempt], now: Timestamp, actions: &mut Vec<JobAction>) {
        let now_ms = self.clock.elapsed_ms();
        if let Some(RunStage::Waiting { .. }) = self.run.as_ref().map(|it| &it.stage)
            && let Some(outcome) = self.must_end()
        {
            self.finish(outcome, now, actions);
        }
        let is_over = self.run.as_ref().is_none_or(Run::is_over);
        if is_over
            && !self.removed
            && !self.stopped
            && let Some(order) = self.next.take()
        {
            self.run = Some(Run {
                order,
                began: now,
                stage: RunStage::Waiting { at_ms: now_ms },
                attempt: 0,
                failures: 0,
                since_ms: None,
                last_end: String::new(),
            });
            self.touch();
        }
        if self.stopped || self.removed || seen.iter().any(|it| it.end.is_none()) {
            return;
        }
        let Some(run) = &mut self.run else { return };
        let id = CopyId { release: run.order.id, slot: run.attempt };
        match run.stage {
            RunStage::Waiting { at_ms } if now_ms >= at_ms => {
                run.stage = RunStage::Running;
                run.since_ms.get_or_insert(now_ms);
                self.touch();
                actions.push(JobAction::Start(id));
            }
            RunStage::Running => actions.push(JobAction::Start(id)),
            RunStage::Waiting { .. } | RunStage::Ending(_) | RunStage::Ended(_) => {}
        }
    }

    fn finish(&mut self, outcome: RunOutcome, now: Timestamp, actions: &mut Vec<JobAction>) {
        let Some(run) = &mut self.run else { return };
        // A try that was never started is none.
        let made = match run.stage {
            RunStage::Waiting { .. } => run.attempt,
            RunStage::Running | RunStage::Ending(_) | RunStage::Ended(_) => run.attempt + 1,
        };
        run.stage = RunStage::Ended(outcome.clone());
        let record = RunRecord {
            id: run.order.id,
            version: run.order.version.clone(),
            attempts: made,
            began: run.began,
            ended: now,
            outcome,
        };
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(record.clone());
        self.touch();
        actions.push(JobAction::Finish(Box::new(record)));
    }

    /// Grows with every change that must be persisted before the actions of the same call are done.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether this state can be used; a state of another [`JOB_FORMAT`] was written by another version.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.format == JOB_FORMAT
    }

    /// It is being removed, for good.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed
    }

    /// An operator stopped it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// How far it is.
    #[must_use]
    pub fn standing(&self) -> JobStanding<'_> {
        let Some(run) = self.run.as_ref().filter(|it| self.next.is_none() || !it.is_over()) else {
            return if self.stopped { JobStanding::Stopped } else { JobStanding::New };
        };
        match &run.stage {
            RunStage::Ended(outcome) => JobStanding::Ended(outcome),
            RunStage::Ending(_) => JobStanding::Ending,
            RunStage::Running if self.stopped => JobStanding::Ending,
            RunStage::Running => JobStanding::Running,
            RunStage::Waiting { .. } if self.stopped => JobStanding::Stopped,
            RunStage::Waiting { .. } => JobStanding::Waiting(&run.last_end),
        }
    }

    /// The last try that was made, or is being made, of the run under way or the last one.
    #[must_use]
    pub fn last_attempt(&self) -> Option<CopyId> {
        let run = self.run.as_ref()?;
        let slot = match run.stage {
            RunStage::Waiting { .. } => run.attempt.checked_sub(1)?,
            RunStage::Running | RunStage::Ending(_) | RunStage::Ended(_) => run.attempt,
        };
        Some(CopyId { release: run.order.id, slot })
    }

    /// The try that is to be running, or whose end is awaited.
    #[must_use]
    pub fn awaited(&self) -> Option<CopyId> {
        self.current()
    }

    /// Tries of the run under way, or of the last one, that failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.run.as_ref().map_or(0, |it| it.failures)
    }

    /// How the last try of the run under way, or of the last one, ended; empty before its first end.
    #[must_use]
    pub fn last_end(&self) -> &str {
        self.run.as_ref().map_or("", |it| it.last_end.as_str())
    }

    /// Version of the run under way, or of the last one.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.run.as_ref().map(|it| it.order.version.as_str())
    }

    /// Whether this is a run under way, the last one, or one to come.
    #[must_use]
    pub fn is_known(&self, id: ReleaseId) -> bool {
        let run = self.run.as_ref().map(|it| it.order.id);
        run == Some(id) || self.next.as_ref().is_some_and(|it| it.id == id)
    }

    /// Runs that have ended, the oldest first; at most ten.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &RunRecord> {
        self.history.iter()
    }

    fn touch(&mut self) {
        self.revision += 1;
    }
}

impl Run {
    fn is_over(&self) -> bool {
        matches!(self.stage, RunStage::Ended(_))
    }

    fn is_canceled(&self) -> bool {
        match &self.stage {
            RunStage::Ending(outcome) | RunStage::Ended(outcome) => match outcome {
                RunOutcome::Superseded(_) | RunOutcome::Removed => true,
                RunOutcome::Completed | RunOutcome::Failed { .. } | RunOutcome::TooLong { .. } => {
                    false
                }
            },
            RunStage::Waiting { .. } | RunStage::Running => false,
        }
    }
}
