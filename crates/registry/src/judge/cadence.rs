use std::time::{Duration, Instant};

use model::CheckDefinition;

/// Used when no interval was given; also Consul's least.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Least interval. Consul raises everything under 1 s to 1 s; here a shorter one is honored when
/// it was asked for, because how fast a dead instance is removed depends on it. 10 runs a second is
/// still cheap for both ends.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Longer intervals mean "never" and would only overflow clocks.
const INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Most delay of the first run.
const FIRST_DELAY_MAX: Duration = Duration::from_millis(200);
/// Part of the interval by which runs are moved, either way.
const JITTER: f64 = 0.05;
/// Least time between the starts of two runs when somebody asks for one at once.
const HURRY_PERIOD: Duration = Duration::from_millis(100);

/// When a check runs. `random` arguments are uniform in [0, 1).
///
/// Two differences from Consul: the first run comes after at most 200 ms instead of up to one
/// interval, so that a new instance is used soon; and each wait has ±5 % of jitter, so that checks
/// that started together drift apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cadence {
    interval: Duration,
}

impl Cadence {
    /// The cadence that `definition` asks for: its interval, at least 100 ms; 1 s if it gives none.
    #[must_use]
    pub fn of(definition: &CheckDefinition) -> Self {
        let interval = match definition.interval {
            Duration::ZERO => INTERVAL_DEFAULT,
            asked => asked.clamp(INTERVAL_MIN, INTERVAL_MAX),
        };
        Self { interval }
    }

    /// Time until the first run: up to 200 ms, and never more than the interval.
    #[must_use]
    pub fn first_delay(self, random: f64) -> Duration {
        self.interval.min(FIRST_DELAY_MAX).mul_f64(random)
    }

    /// Time from the end of one run to the start of the next: the interval ±5 %.
    #[must_use]
    pub fn next_delay(self, random: f64) -> Duration {
        self.interval.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
    }

    /// The earliest start of a run that somebody asks for, after one that started at `last`.
    #[must_use]
    pub fn hurried_start(self, last: Instant) -> Instant {
        last + HURRY_PERIOD
    }
}
