use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

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
    /// With another code, by a signal, or it could not be started.
    Badly,
}

/// Numbers of the restart rule.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RestartLimits {
    /// Wait before the first restart.
    pub first_delay: Duration,
    /// Longest wait; each restart doubles the wait up to it.
    pub delay_max: Duration,
    /// A process that ran for so long counts as sound: the next wait is the first again.
    pub sound_after: Duration,
    /// Restarts in a row without a sound run before it is held.
    pub restarts_max: u32,
}

impl Default for RestartLimits {
    /// 100 ms doubling to 30 s, sound after 10 s (systemd's start-limit interval), held after 16 in a row: that is
    /// five minutes of trying.
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(100),
            delay_max: Duration::from_secs(30),
            sound_after: Duration::from_secs(10),
            restarts_max: 16,
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
    /// It ends again and again: hold it until an operator says otherwise.
    Hold {
        /// Restarts in a row that did not help.
        restarts: u32,
    },
}

/// The restart rule of one process.
#[derive(Clone, Debug)]
pub struct Restart {
    policy: Policy,
    limits: RestartLimits,
    started: Option<Instant>,
    restarts: u32,
}

impl Restart {
    /// A process that has not run yet.
    #[must_use]
    pub fn new(policy: Policy, limits: RestartLimits) -> Self {
        Self { policy, limits, started: None, restarts: 0 }
    }

    /// It was started.
    pub fn handle_started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// It ended. The wait is `first_delay` · 2ⁿ up to `delay_max`, plus up to a tenth at random, so that processes
    /// that died together do not come back together.
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
        if self.restarts >= self.limits.restarts_max {
            return Next::Hold { restarts: self.restarts };
        }
        let factor = 2u32.saturating_pow(self.restarts);
        let delay = self.limits.first_delay.saturating_mul(factor).min(self.limits.delay_max);
        self.restarts += 1;
        Next::StartAt(now + delay.mul_f64(1.0 + 0.1 * rng.random::<f64>()))
    }

    /// Restarts in a row without a sound run in between.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Some instant is needed to count from.
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    #[test]
    fn the_wait_doubles_until_a_sound_run() {
        let mut now = Instant::now();
        let mut restart = Restart::new(Policy::Always, RestartLimits::default());
        let mut waits = Vec::new();
        for run in [0, 0, 0, 20, 0] {
            restart.handle_started(now);
            now += Duration::from_secs(run);
            let Next::StartAt(at) = restart.handle_ended(Ended::Badly, now, &mut rng()) else {
                panic!("it is restarted")
            };
            waits.push((at - now).as_millis() / 100);
            now = at;
        }
        assert_eq!(waits, [1, 2, 4, 1, 2]);
    }

    #[test]
    fn it_is_held_when_restarts_do_not_help() {
        let now = Instant::now();
        let limits = RestartLimits { restarts_max: 2, ..RestartLimits::default() };
        let mut restart = Restart::new(Policy::OnFailure, limits);
        let mut next = || restart.handle_ended(Ended::Badly, now, &mut rng());
        assert!(matches!(next(), Next::StartAt(_)));
        assert!(matches!(next(), Next::StartAt(_)));
        assert_eq!(next(), Next::Hold { restarts: 2 });
    }

    #[test]
    fn the_policy_decides_whether_it_comes_back() {
        let now = Instant::now();
        let next = |policy, ended| {
            Restart::new(policy, RestartLimits::default()).handle_ended(ended, now, &mut rng())
        };
        assert_eq!(next(Policy::OnFailure, Ended::Well), Next::Leave);
        assert_eq!(next(Policy::Never, Ended::Badly), Next::Leave);
        assert!(matches!(next(Policy::Always, Ended::Well), Next::StartAt(_)));
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_longest_and_a_tenth(
            runs_ms in proptest::collection::vec(0..20_000u64, 1..40), seed: u64
        ) {
            let limits = RestartLimits { restarts_max: u32::MAX, ..RestartLimits::default() };
            let mut rng = StdRng::seed_from_u64(seed);
            let mut restart = Restart::new(Policy::Always, limits);
            let mut now = Instant::now();
            for run_ms in runs_ms {
                restart.handle_started(now);
                now += Duration::from_millis(run_ms);
                let next = restart.handle_ended(Ended::Badly, now, &mut rng);
                let Next::StartAt(at) = next else { panic!("it is never held") };
                prop_assert!(at >= now + limits.first_delay);
                prop_assert!(at <= now + limits.delay_max.mul_f64(1.1));
                now = at;
            }
        }
    }
}
