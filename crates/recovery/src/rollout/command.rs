use model::Timestamp;

use super::Workload;
use super::observed::{Action, Note, ReleaseId};
use super::record::{Outcome, Reason, Release};
use super::spec::{Amount, Spec, Strategy};
use super::stage::{Rolling, Rollout, Shifting, Stage};
use crate::evidence::{Counts, Evidence};

/// What an operator, or a changed document, asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// Roll this out. With the fingerprint of what runs or comes already, only its numbers change.
    Start {
        /// What operators call it.
        version: String,
        /// See [`Release::fingerprint`].
        fingerprint: String,
        /// How it is run.
        spec: Box<Spec>,
    },
    /// More or fewer copies, of the release that comes, too.
    Scale {
        /// How many.
        replicas: u32,
    },
    /// Stay at this step. Bad evidence still takes it back.
    Pause,
    /// Go on.
    Resume,
    /// Go to the end, whatever the evidence says; copies must still become ready.
    Promote,
    /// Take back the rollout under way, or else go back to the good release before.
    Undo,
    /// Drain and stop everything.
    Remove,
}

/// Why a command is not followed; nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The spec makes no sense.
    #[error("the spec cannot be used: {}", .0.join("; "))]
    BadSpec(Vec<String>),
    /// There is no rollout.
    #[error("there is no rollout under way")]
    NoRollout,
    /// It is being taken back already.
    #[error("the rollout is being rolled back")]
    RollingBack,
    /// There is no good release to go back to.
    #[error("there is no earlier good release")]
    NothingBefore,
    /// Nobody is there to go back to.
    #[error("no instance of version {0:?} is there to go back to")]
    NoInstance(String),
    /// The workload is being removed.
    #[error("the workload is being removed")]
    Removed,
}

impl Workload {
    /// Follows a command; what follows from it is done by the next [`Workload::reconcile`].
    ///
    /// # Errors
    /// If it cannot be followed; then nothing has changed.
    pub fn handle_command(&mut self, command: Command, now: Timestamp) -> Result<(), Refusal> {
        self.clock.advance(now);
        if self.removed {
            return Err(Refusal::Removed);
        }
        match command {
            Command::Start { version, fingerprint, spec } => {
                self.start(version, fingerprint, *spec, now)?;
            }
            Command::Scale { replicas } => self.scale(replicas)?,
            Command::Pause => {
                let now_ms = self.clock.elapsed_ms();
                self.forward_rollout()?.paused_ms.get_or_insert(now_ms);
            }
            Command::Resume => self.resume()?,
            Command::Promote => {
                self.resume()?;
                let rollout = self.forward_rollout()?;
                rollout.forced = true;
                match &mut rollout.stage {
                    Stage::Shifting(shifting) => *shifting = Shifting::default(),
                    Stage::Rolling(rolling) => rolling.judged = true,
                    Stage::RollingBack(_) => {}
                }
            }
            Command::Undo => self.undo(now)?,
            Command::Remove => {
                self.end_rollout(Reason::Removed, now);
                self.removed = true;
            }
        }
        self.touch();
        Ok(())
    }

    fn start(
        &mut self,
        version: String,
        fingerprint: String,
        spec: Spec,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let problems = spec.problems();
        if !problems.is_empty() {
            return Err(Refusal::BadSpec(problems));
        }
        let is_same = |it: &Release| it.fingerprint == fingerprint;
        if let Some(rollout) = self.rollout.as_mut().filter(|it| is_same(&it.to) && !it.is_back()) {
            // The plan that a rollout follows stays; how many copies there are does not belong to it.
            rollout.to.spec.replicas = spec.replicas;
            return Ok(());
        }
        if self.stable.as_ref().is_some_and(is_same) {
            if let Some(stable) = &mut self.stable {
                stable.spec = spec;
            }
            return if self.rollout.is_some() { self.undo(now) } else { Ok(()) };
        }
        let id = ReleaseId(self.next_release);
        self.next_release += 1;
        self.end_rollout(Reason::Superseded(id), now);
        let direct = !self.proven;
        self.begin(Release { id, version, fingerprint, spec }, direct, now);
        Ok(())
    }

    fn scale(&mut self, replicas: u32) -> Result<(), Refusal> {
        let releases = self.rollout.as_mut().map(|it| &mut it.to).into_iter();
        let mut releases: Vec<_> = releases.chain(self.stable.as_mut()).collect();
        for release in &releases {
            let problems = Spec { replicas, ..release.spec.clone() }.problems();
            if !problems.is_empty() {
                return Err(Refusal::BadSpec(problems));
            }
        }
        releases.iter_mut().for_each(|it| it.spec.replicas = replicas);
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Refusal> {
        let now_ms = self.clock.elapsed_ms();
        let rollout = self.forward_rollout()?;
        let Some(paused_ms) = rollout.paused_ms.take() else { return Ok(()) };
        let rested_ms = now_ms - paused_ms;
        rollout.deadline_ms = rollout.deadline_ms.saturating_add(rested_ms);
        let shift = |it: &mut Option<u64>| *it = it.map(|at| (at + rested_ms).min(now_ms));
        match &mut rollout.stage {
            Stage::Shifting(shifting) => shift(&mut shifting.settled_ms),
            Stage::Rolling(rolling) => {
                shift(&mut rolling.first_ms);
                shift(&mut rolling.complete_ms);
            }
            Stage::RollingBack(_) => {}
        }
        Ok(())
    }

    fn undo(&mut self, now: Timestamp) -> Result<(), Refusal> {
        if let Some(rollout) = &self.rollout {
            if rollout.is_back() {
                return Ok(());
            }
            if self.stable.is_none() {
                return Err(Refusal::NothingBefore);
            }
            self.roll_back(Reason::Undone);
            return Ok(());
        }
        let mut previous = self.previous.clone().ok_or(Refusal::NothingBefore)?;
        if let Some(stable) = &self.stable {
            // How many there are was said since.
            previous.spec.replicas = stable.spec.replicas;
        }
        self.begin(previous, true, now);
        Ok(())
    }

    fn forward_rollout(&mut self) -> Result<&mut Rollout, Refusal> {
        let rollout = self.rollout.as_mut().ok_or(Refusal::NoRollout)?;
        if rollout.is_back() { Err(Refusal::RollingBack) } else { Ok(rollout) }
    }

    /// Ends the rollout under way, if there is one, because of something else than itself; one that was being taken back
    /// keeps its own reason.
    fn end_rollout(&mut self, reason: Reason, now: Timestamp) {
        let Some(rollout) = &self.rollout else { return };
        let reason = match &rollout.stage {
            Stage::RollingBack(back) => back.reason.clone(),
            Stage::Shifting(_) | Stage::Rolling(_) => reason,
        };
        let finished = self.finish(Outcome::RolledBack(reason), now);
        self.pending.push(finished);
    }

    fn begin(&mut self, to: Release, direct: bool, now: Timestamp) {
        let now_ms = self.clock.elapsed_ms();
        // Where there is no room for both beside each other, even a way back goes copy by copy.
        let is_exclusive =
            matches!(to.spec.strategy, Strategy::Rolling { max_surge: Amount::Count(0), .. });
        let rolls = matches!(to.spec.strategy, Strategy::Rolling { .. })
            && (!direct || (is_exclusive && self.stable.is_some()));
        if self.previous.as_ref().is_none_or(|it| it.id != to.id) {
            self.kept_until_ms = None;
        }
        self.pending.push(Action::Note(Note::Began(to.id)));
        let evidence = Evidence::new(to.spec.evidence.clone(), Counts::default());
        let stage = if rolls {
            Stage::Rolling(Rolling { judged: direct, ..Rolling::default() })
        } else {
            Stage::Shifting(Shifting::default())
        };
        let mut rollout = Rollout {
            to,
            began: now,
            deadline_ms: 0,
            stage,
            paused_ms: None,
            forced: false,
            direct,
            evidence,
            crashes_before: None,
        };
        rollout.deadline_ms = now_ms.saturating_add(rollout.budget_ms());
        // How long copies of an earlier time were not ready is no concern of this rollout.
        self.waits.values_mut().for_each(|it| it.unready_since_ms = None);
        self.held = None;
        self.rollout = Some(rollout);
    }
}
