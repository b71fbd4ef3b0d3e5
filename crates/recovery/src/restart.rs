use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::Timestamp;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Some instant is needed to count from.
mod tests;

/// Restarts within [`RestartLimits::budget_window`] that do not lengthen the wait of a process that runs soundly in
/// between: a deploy and a bad minute are no flapping.
const FREE_RESTARTS: u32 = 3;

/// When a process that ended is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Always.
    #[default]
    Always,
    /// When it ended with a code other than 0 or by a signal.
    OnFailure,
    /// Never.
    Never,
}

/// How a process ended, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// With code 0.
    Well,
    /// With another code, by a signal, because its checks failed, or it could not be started.
    Badly,
}

/// Numbers of the restart rule.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RestartLimits {
    /// Wait before the first restart.
    pub first_delay: Duration,
    /// Longest wait; each restart doubles the wait up to it.
    pub delay_max: Duration,
    /// Up to this share of the wait is added at random, so that processes that died together do not come back together.
    pub jitter: f64,
    /// A process that ran for so long counts as sound: the next wait is the first again, unless it flaps.
    pub sound_after: Duration,
    /// Restarts in a row without a sound run before it is held.
    pub restarts_max: u32,
    /// Restarts within `budget_window`, sound runs or not, before it is held. It is also the bound of what is remembered.
    pub budget: u32,
    /// The window of `budget`.
    pub budget_window: Duration,
    /// Failed checks in a row after which a process that has been ready is restarted; 0: never.
    pub failed_checks_max: u32,
    /// A process whose check has not passed for so long since its start is restarted; zero: it may take any time.
    pub ready_within: Duration,
}

impl Default for RestartLimits {
    /// 100 ms doubling to 30 s plus a tenth, sound after 10 s (systemd's start-limit interval), held after 16 in a row
    /// (five minutes of trying) or 60 in an hour; checks restart nothing.
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(100),
            delay_max: Duration::from_secs(30),
            jitter: 0.1,
            sound_after: Duration::from_secs(10),
            restarts_max: 16,
            budget: 60,
            budget_window: Duration::from_secs(3600),
            failed_checks_max: 0,
            ready_within: Duration::ZERO,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Start it at this time.
    StartAt(Instant),
    /// It is finished; leave it.
    Leave,
    /// It ends again and again: hold it until an operator says otherwise ([`Restart::release`]).
    Hold {
        /// Restarts that did not help: in a row, or within the budget's window if it was that that was used up.
        restarts: u32,
    },
}

/// What the checks of a running process ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckAction {
    /// Nothing.
    Leave,
    /// End it (and then say [`Restart::handle_ended`] with [`Ended::Badly`]): it was ready and is no more.
    RestartUnhealthy {
        /// Failed checks in a row.
        failed: u32,
    },
    /// End it likewise: its check has not passed since it was started.
    RestartNeverReady {
        /// How long ago it was started.
        after: Duration,
    },
}

/// What of a [`Restart`] is written down, so that the next life of the agent knows it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartMemory {
    /// Restarts in a row without a sound run.
    pub restarts: u32,
    /// When restarts within the budget's window were, the oldest first.
    pub recent: Vec<Timestamp>,
    /// It waits for an operator.
    pub held: bool,
}

/// The restart rule of one process.
#[derive(Clone, Debug)]
pub struct Restart {
    policy: Policy,
    limits: RestartLimits,
    started: Option<Instant>,
    /// Its check has passed since the last start.
    was_ready: bool,
    failed_checks: u32,
    /// In a row without a sound run.
    restarts: u32,
    /// Restarts within the budget's window, the oldest first; at most `budget` of them.
    recent: VecDeque<Instant>,
    held: bool,
}

impl Restart {
    /// A process that has not run yet.
    #[must_use]
    pub fn new(policy: Policy, limits: RestartLimits) -> Self {
        Self {
            policy,
            limits,
            started: None,
            was_ready: false,
            failed_checks: 0,
            restarts: 0,
            recent: VecDeque::new(),
            held: false,
        }
    }

    /// What is to be written down of it; `now` and `at` are the same time.
    #[must_use]
    pub fn memory(&self, now: Instant, at: Timestamp) -> RestartMemory {
        let ms = |it: &Instant| now.saturating_duration_since(*it).as_millis();
        let stamp = |it| Timestamp(at.0.saturating_sub(u64::try_from(ms(it)).unwrap_or(u64::MAX)));
        let recent = self.recent.iter().map(stamp).collect();
        RestartMemory { restarts: self.restarts, recent, held: self.held }
    }

    /// Takes in what was written down; `now` and `at` are the same time.
    pub fn remember(&mut self, memory: &RestartMemory, now: Instant, at: Timestamp) {
        (self.restarts, self.held) = (memory.restarts, memory.held);
        let ago = |it: &Timestamp| Duration::from_millis(at.0.saturating_sub(it.0));
        // What is older than the clock that counts here was before the machine was started.
        self.recent = memory.recent.iter().filter_map(|it| now.checked_sub(ago(it))).collect();
    }

    /// It was started.
    pub fn handle_started(&mut self, now: Instant) {
        self.started = Some(now);
        self.was_ready = false;
        self.failed_checks = 0;
    }

    /// A check of the running process has passed or failed. With [`Policy::Never`] nothing is restarted.
    pub fn handle_check(&mut self, passed: bool, now: Instant) -> CheckAction {
        let failed = if passed { 0 } else { self.failed_checks.saturating_add(1) };
        self.handle_checks(passed, failed, now)
    }

    /// Whether the checks of the running process pass, and how often one of them has failed in a row by now. May be said as often
    /// as one likes.
    pub fn handle_checks(&mut self, passing: bool, failed: u32, now: Instant) -> CheckAction {
        self.was_ready |= passing;
        self.failed_checks = failed;
        if failed == 0 {
            return CheckAction::Leave;
        }
        let limits = &self.limits;
        if self.policy == Policy::Never {
            CheckAction::Leave
        } else if self.was_ready {
            let too_many = limits.failed_checks_max > 0 && failed >= limits.failed_checks_max;
            if too_many { CheckAction::RestartUnhealthy { failed } } else { CheckAction::Leave }
        } else {
            self.check_ready_in_time(now)
        }
    }

    /// When it is restarted if its check has not passed by then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = !self.was_ready && self.policy != Policy::Never;
        let bounded = waits && !self.limits.ready_within.is_zero();
        self.started.filter(|_| bounded)?.checked_add(self.limits.ready_within)
    }

    /// The time of [`Restart::poll_timeout`] has come, also when no check has said anything.
    #[must_use]
    pub fn handle_timeout(&self, now: Instant) -> CheckAction {
        self.check_ready_in_time(now)
    }

    fn check_ready_in_time(&self, now: Instant) -> CheckAction {
        match (self.poll_timeout(), self.started) {
            (Some(at), Some(started)) if at <= now => {
                CheckAction::RestartNeverReady { after: now.saturating_duration_since(started) }
            }
            _ => CheckAction::Leave,
        }
    }

    /// It ended. The wait is `first_delay` · 2ⁿ up to `delay_max`, plus jitter, where n counts the restarts in a row, or
    /// for a process that flaps (sound runs, but ends too often) those within the window beyond three.
    pub fn handle_ended(&mut self, ended: Ended, now: Instant, rng: &mut impl Rng) -> Next {
        let ran = self.started.take().map(|at| now.saturating_duration_since(at));
        if ran.is_some_and(|ran| ran >= self.limits.sound_after) {
            self.restarts = 0;
        }
        let again = match (self.policy, ended) {
            (Policy::Always, Ended::Well | Ended::Badly) | (Policy::OnFailure, Ended::Badly) => {
                true
            }
            (Policy::OnFailure, Ended::Well) | (Policy::Never, Ended::Well | Ended::Badly) => false,
        };
        if !again {
            return Next::Leave;
        }
        let window = self.limits.budget_window;
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) > window) {
            self.recent.pop_front();
        }
        let recent = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        if self.restarts >= self.limits.restarts_max {
            self.held = true;
            return Next::Hold { restarts: self.restarts };
        }
        if recent >= self.limits.budget {
            self.held = true;
            return Next::Hold { restarts: recent };
        }
        let doublings = self.restarts.max(recent.saturating_sub(FREE_RESTARTS));
        let factor = 2u32.saturating_pow(doublings);
        let delay = self.limits.first_delay.saturating_mul(factor).min(self.limits.delay_max);
        self.restarts += 1;
        self.recent.push_back(now);
        let jitter = self.limits.jitter.clamp(0.0, 1.0) * rng.random::<f64>();
        Next::StartAt(now + delay.mul_f64(1.0 + jitter))
    }

    /// An operator lets a held process go on: everything is forgotten, and it may start at once. `None` if it is not held.
    pub fn release(&mut self, now: Instant) -> Option<Next> {
        if !self.held {
            return None;
        }
        self.held = false;
        self.restarts = 0;
        self.recent.clear();
        Some(Next::StartAt(now))
    }

    /// It ended too often and waits for an operator.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Its checks have passed since its last start.
    #[must_use]
    pub fn was_ready(&self) -> bool {
        self.was_ready
    }

    /// Restarts in a row without a sound run in between.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }
}
