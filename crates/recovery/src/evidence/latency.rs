use serde::{Deserialize, Serialize};

use super::bet::{Capital, Line, Old, Tally, log_factor};
use super::{Counts, Settings, Tick};

/// Quantiles of the old side whose buckets are compared.
const QUANTILES: [f64; 2] = [0.5, 0.9];
/// How much of the rest of the requests a bet says is slow.
const LIFTS: [f64; 3] = [0.15, 0.5, 0.9];
const SHARES: [f64; 6] = [0.15, 0.2, 0.15, 0.15, 0.2, 0.15];
/// Share of requests above a bound that is tolerated beyond what the ratio allows for.
const SLACK: f64 = 0.02;
/// The same when the old side is remembered: hours of the day differ.
const SLACK_REMEMBERED: f64 = 0.1;
/// Requests of each side whose mean is one comparison of means.
const BATCH: u64 = 8;
/// Differences of means below this are no regression, whatever the ratio: scheduling noise, in microseconds.
const DIFFERENCE_MIN_US: f64 = 500.0;
/// What the bets on the comparisons of means stake.
const STAKES: [f64; 2] = [0.5, 0.9];

/// Whether the new side is slower.
///
/// Two tests. *Bounds*: requests above the upper bound of the bucket that holds the old side's median (and its 90th
/// percentile), against the old side's own share there plus what it has within the tolerated ratio below. It needs few
/// requests, but how many lie just below a bound is only estimated. So it counts only if most comparisons of means say the
/// same. *Means*: batches of requests whose mean is above the tolerated ratio of the
/// old side's mean at the same time, against a fair coin. It needs ten batches, sees shifts within one bucket, and single
/// outliers do not move it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Latency {
    bounds: Capital,
    means: Capital,
    old_batch: Counts,
    new_batch: Counts,
    slower_batches: u64,
    batches: u64,
}

impl Latency {
    pub(super) fn new() -> Self {
        Self {
            bounds: Capital::new(&SHARES),
            means: Capital::new(&[0.5, 0.5]),
            old_batch: Counts::default(),
            new_batch: Counts::default(),
            slower_batches: 0,
            batches: 0,
        }
    }

    pub(super) fn observe(&mut self, tick: &Tick<'_>, settings: &Settings) {
        if tick.new.timed() == 0 || tick.history.timed() == 0 {
            return;
        }
        self.compare_bounds(tick, settings.latency_ratio);
        self.compare_means(tick, settings.latency_ratio);
    }

    fn compare_bounds(&mut self, tick: &Tick<'_>, ratio: f64) {
        let history = tick.history;
        let timed = history.timed() as f64;
        let is_live = tick.is_live(tick.old.timed(), tick.new.timed());
        let lines = QUANTILES.map(|quantile| {
            let idx = history.quantile_bucket(quantile).unwrap_or(0);
            // As if one request in a thousand, without evidence, were above.
            let rate = (history.above(idx) as f64 + 0.5) / (timed + 500.0);
            let slack = history.just_below(idx, ratio) / timed.max(1.0)
                + if is_live { SLACK } else { SLACK_REMEMBERED };
            let tally = |side: &Counts| Tally { trials: side.timed(), hits: side.above(idx) };
            let old = if is_live { Old::Live(tally(tick.old)) } else { Old::Remembered };
            (Line { ratio: 1.0, slack }, rate, old, tally(tick.new))
        });
        self.bounds.play(|nth| {
            let (line, rate, old, new) = lines[nth / LIFTS.len()];
            let limit = line.at(rate);
            if limit >= 0.95 {
                return 0.0;
            }
            let bet = limit + (1.0 - limit) * LIFTS[nth % LIFTS.len()];
            log_factor(line, old, new, rate, bet)
        });
    }

    fn compare_means(&mut self, tick: &Tick<'_>, ratio: f64) {
        self.old_batch.add(tick.old);
        self.new_batch.add(tick.new);
        let is_live = tick.is_live(self.old_batch.timed(), self.new_batch.timed());
        let enough = self.new_batch.timed() >= BATCH;
        if !enough || (is_live && self.old_batch.timed() < BATCH) {
            return;
        }
        let old = if is_live { &self.old_batch } else { tick.history };
        if let (Some(old), Some(new)) = (old.mean_us(), self.new_batch.mean_us()) {
            let is_slower = new > ratio * old && new - old > DIFFERENCE_MIN_US;
            self.batches += 1;
            self.slower_batches += u64::from(is_slower);
            let sign = if is_slower { 1.0 } else { -1.0 };
            self.means.play(|nth| (1.0 + sign * STAKES[nth]).ln());
        }
        self.old_batch = Counts::default();
        self.new_batch = Counts::default();
    }

    /// Odds against "not slower": of the bounds if the means agree, and of the means.
    pub(super) fn odds(&self) -> (f64, f64) {
        let agree = self.batches >= 2 && self.slower_batches * 2 > self.batches;
        (if agree { self.bounds.odds() } else { 0.0 }, self.means.odds())
    }
}
