use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::evidence::{Counts, Evidence, Figures, Regression, Report, Settings, Verdict};

#[cfg(test)]
mod tests;

/// Slices with fewer requests say nothing about how latency drifts.
const SLICE_REQUESTS_MIN: u64 = 20;
/// Standard deviations by which the baseline may be off: 1 % one-sided.
const DEVIATIONS: f64 = 2.33;
/// Requests that should have come before their absence is a regression…
const MISSING_MIN: f64 = 30.0;
/// …and the least silence, in milliseconds: reports come about once a second.
const SILENCE_MIN_MS: u64 = 5_000;

/// Watches over a change of configuration: compares after with before, and says whether it has to be taken back.
///
/// There is no old side at the same time, so what was before is remembered: the last window, in slices. How much the share
/// of failures differed between the slices beyond chance, how well it is known at all, and how much the slices' mean
/// latencies differed widens what is tolerated: a baseline that drifts is no proof.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Guard {
    clock: Clock,
    window_ms: u64,
    /// Requests per millisecond before, if they came all the time.
    steady_rate: Option<f64>,
    /// Without a request although a proxy reported.
    silent_ms: u64,
    evidence: Evidence,
    vanished: bool,
}

/// What a guard says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum GuardVerdict {
    /// The window is not over, and nothing is wrong yet.
    Watching {
        /// Milliseconds until the window is over.
        left_ms: u64,
    },
    /// Take the change back.
    Regression {
        /// What became worse.
        by: Regression,
        /// Before (as remembered) and after.
        figures: Box<Figures>,
    },
    /// The window is over, and what came after is as good as before.
    Fine {
        /// Before (as remembered) and after.
        figures: Box<Figures>,
    },
    /// The window is over, nothing is wrong, but there was too little to say that it is as good.
    Undecided {
        /// Requests after the change.
        requests: u64,
    },
}

impl Guard {
    /// The change is made now. `before`: the last window in slices of the same length, the oldest first, `before_ms` in
    /// all; `window_ms`: how long to watch.
    #[must_use]
    pub fn new(
        settings: Settings,
        before: &[Counts],
        before_ms: u64,
        window_ms: u64,
        now: Timestamp,
    ) -> Self {
        let mut history = Counts::default();
        before.iter().for_each(|slice| history.add(slice));
        let settings = Settings {
            remembered_slack: settings.remembered_slack + failure_drift(before, &history),
            latency_ratio: settings.latency_ratio.max(latency_drift(before, &history)),
            ..settings
        };
        let came_always = !before.is_empty() && before.iter().all(|slice| slice.requests > 0);
        let rate = history.requests as f64 / before_ms.max(1) as f64;
        Self {
            clock: Clock::new(now),
            window_ms,
            steady_rate: came_always.then_some(rate),
            silent_ms: 0,
            evidence: Evidence::new(settings, history),
            vanished: false,
        }
    }

    /// Takes counters of proxies that run with the changed configuration, as `(proxy, counters)`. A proxy's first ones are
    /// where counting starts.
    pub fn observe(&mut self, reports: &[(String, Counts)], now: Timestamp) {
        let step_ms = self.clock.advance(now);
        let before = self.evidence.figures().new.requests;
        let of = |(proxy, new): &(String, Counts)| Report {
            proxy: proxy.clone(),
            old: Counts::default(),
            new: *new,
        };
        self.evidence.observe(&reports.iter().map(of).collect::<Vec<_>>());
        if self.evidence.figures().new.requests > before {
            self.silent_ms = 0;
        } else if !reports.is_empty() {
            self.silent_ms += step_ms;
        }
        let missing = self.steady_rate.map_or(0.0, |rate| rate * self.silent_ms as f64);
        self.vanished |= missing >= MISSING_MIN && self.silent_ms >= SILENCE_MIN_MS;
    }

    /// What it says by now.
    #[must_use]
    pub fn verdict(&self) -> GuardVerdict {
        let left_ms = self.window_ms.saturating_sub(self.clock.elapsed_ms());
        match self.evidence.verdict() {
            Verdict::Worse { by, figures } => GuardVerdict::Regression { by, figures },
            _ if self.vanished => GuardVerdict::Regression {
                by: Regression::Vanished,
                figures: Box::new(self.evidence.figures()),
            },
            _ if left_ms > 0 => GuardVerdict::Watching { left_ms },
            Verdict::AsGood { figures } => GuardVerdict::Fine { figures },
            Verdict::Undecided { requests } => GuardVerdict::Undecided { requests },
        }
    }
}

/// How much the share of failures may be off: [`DEVIATIONS`] of its standard error, and of the spread between the slices
/// that is more than chance makes (the method of moments for a random effect: DerSimonian and Laird 1986).
fn failure_drift(slices: &[Counts], all: &Counts) -> f64 {
    let requests = all.requests as f64;
    let rate = (all.failures as f64 + 0.5) / (requests + 1.0);
    if all.requests == 0 {
        return 0.0;
    }
    let chance = rate * (1.0 - rate);
    let used = slices.iter().filter(|slice| slice.requests > 0);
    let (mut between, mut squares, mut groups) = (0.0, 0.0, 0.0);
    for slice in used {
        let weight = slice.requests as f64;
        between += weight * (slice.failure_rate() - rate).powi(2);
        squares += weight * weight;
        groups += 1.0;
    }
    let scale = requests - squares / requests;
    let excess =
        if scale > 0.0 { ((between - (groups - 1.0) * chance) / scale).max(0.0) } else { 0.0 };
    DEVIATIONS * (excess.sqrt() + (chance / requests).sqrt())
}

/// The highest mean latency of a slice over that of all.
fn latency_drift(slices: &[Counts], all: &Counts) -> f64 {
    let Some(mean) = all.mean_us().filter(|it| *it > 0.0) else { return 1.0 };
    let known = slices.iter().filter(|slice| slice.timed() >= SLICE_REQUESTS_MIN);
    known.filter_map(Counts::mean_us).fold(1.0, |worst, it| worst.max(it / mean))
}
