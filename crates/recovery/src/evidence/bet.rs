//! Tests that hold at any time: betting against "the new one is no worse".
//!
//! A bet turns the outcomes of one tick into a factor whose mean is at most 1 as long as the claim is true, whatever came
//! before. The product of such factors is a nonnegative supermartingale under the claim, so that the chance that it ever
//! reaches 1/α is at most α (Ville's inequality): one may look at every tick and stop whenever one likes. (Shafer 2021,
//! "Testing by betting"; Ramdas, Grünwald, Vovk, Shafer 2023, "Game-theoretic statistics and safe anytime-valid
//! inference".)

use serde::{Deserialize, Serialize};

/// Rates of 0 and 1 would stake everything on one outcome.
const RATE_MIN: f64 = 1e-5;
/// Part of the capital that is staked from the start; what is left is staked later, piece by piece, for a change for the
/// worse that comes late, when the first part has been lost.
const STAKED_AT_START: f64 = 0.8;
/// Ticks with news between two later stakes.
const STAKE_PERIOD: u64 = 16;
/// Where the capital is capped: far beyond any threshold, and a number that JSON can hold.
const CAPITAL_MAX: f64 = 1e15;

/// Trials of one side in a tick and how many of them hit (failed, were slow).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Tally {
    pub(super) trials: u64,
    pub(super) hits: u64,
}

impl Tally {
    /// ln of the likelihood under `bet` over that under `claim`.
    fn log_ratio(self, bet: f64, claim: f64) -> f64 {
        let hits = self.hits.min(self.trials) as f64;
        hits * (bet / claim).ln() + (self.trials as f64 - hits) * ((1.0 - bet) / (1.0 - claim)).ln()
    }
}

/// What is known of the old side in a tick.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Old {
    /// Its own outcomes of the same tick.
    Live(Tally),
    /// It has no requests now; this is its rate from before.
    Remembered,
}

/// The line between better and worse: `new = ratio · old + slack`, as rates.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Line {
    pub(super) ratio: f64,
    pub(super) slack: f64,
}

impl Line {
    pub(super) fn at(self, old: f64) -> f64 {
        self.ratio * old + self.slack
    }
}

/// ln of the factor by which a bet on the rates (`old_rate`, `new_rate`) against "on the other side of `line`" multiplies.
///
/// With both sides live this is the e-variable of Turner, Ly and Grünwald (2021, "Generic E-variables for exact sequential
/// k-sample tests", and for convex claims Turner and Grünwald 2023, "Exact anytime-valid confidence intervals for
/// contingency tables and beyond"): the likelihood under the bet over that under the point (a°, b°) of the claim that is
/// nearest in Kullback-Leibler divergence, Nᵃ·KL(a*‖a) + Nᵇ·KL(b*‖b). Its mean under a point (a, b) of the claim is
/// (1 + (a−a°)·cᵃ)^Nᵃ · (1 + (b−b°)·cᵇ)^Nᵇ with c = (p*−p°)/(p°(1−p°)), which is at most 1 by the inequality of the means,
/// because Nᵃ·cᵃ·(a−a°) + Nᵇ·cᵇ·(b−b°) ≤ 0 is what makes (a°, b°) the nearest point of a convex set. Nothing is assumed
/// about the rates from tick to tick: an outage that hits both sides says nothing against the new one.
///
/// With the old side remembered it is the plain ratio against `line.at(old_rate)`.
///
/// A bet that lies within the claim is none. The sizes of the tallies must not depend on their outcomes, nor the rates of
/// the bet on this tick.
pub(super) fn log_factor(line: Line, old: Old, new: Tally, old_rate: f64, new_rate: f64) -> f64 {
    if new.trials == 0 {
        return 0.0;
    }
    let (old_rate, new_rate) = (clamp(old_rate), clamp(new_rate));
    match old {
        Old::Remembered => new.log_ratio(new_rate, clamp(line.at(old_rate))),
        Old::Live(old) => {
            let nearest = nearest_on_line(line, old.trials, new.trials, old_rate, new_rate);
            old.log_ratio(old_rate, nearest)
                + new.log_ratio(new_rate, line.at(nearest).clamp(1e-12, 1.0 - 1e-12))
        }
    }
}

pub(super) fn clamp(rate: f64) -> f64 {
    rate.clamp(RATE_MIN, 1.0 - RATE_MIN)
}

/// The old side's rate of the point on the line that is nearest to the bet, by bisection of the derivative, which grows.
fn nearest_on_line(line: Line, old_n: u64, new_n: u64, old_rate: f64, new_rate: f64) -> f64 {
    let (old_n, new_n) = (old_n as f64, new_n as f64);
    let for_new = ((new_rate - line.slack) / line.ratio).clamp(1e-12, 1.0 - 1e-12);
    let (mut low, mut high) = (old_rate.min(for_new), old_rate.max(for_new));
    let pull = |rate: f64, to: f64| (rate - to) / (rate * (1.0 - rate));
    for _ in 0..32 {
        let middle = f64::midpoint(low, high);
        let new_middle = line.at(middle);
        let slope = if new_middle >= 1.0 {
            f64::INFINITY
        } else {
            old_n * pull(middle, old_rate) + line.ratio * new_n * pull(new_middle, new_rate)
        };
        if slope > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Capital that plays several bets at once, each with its own share.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Capital {
    /// By bet: its share, and what of it is in play by now.
    bets: Vec<(f64, f64)>,
    /// Part of each share that has not been staked yet.
    reserve: f64,
    /// Ticks with news.
    ticks: u64,
}

impl Capital {
    /// Capital of 1, divided into `shares`, which sum up to 1.
    pub(super) fn new(shares: &[f64]) -> Self {
        Self { bets: shares.iter().map(|it| (*it, 0.0)).collect(), reserve: 1.0, ticks: 0 }
    }

    /// Plays a tick: `log_factor` of each bet, by its index.
    pub(super) fn play(&mut self, log_factor: impl Fn(usize) -> f64) {
        let stake = self.next_stake();
        self.ticks += 1;
        self.reserve -= stake;
        for (idx, (share, in_play)) in self.bets.iter_mut().enumerate() {
            let factor = log_factor(idx).clamp(-60.0, 60.0).exp();
            *in_play = ((*in_play + stake * *share) * factor).min(CAPITAL_MAX);
        }
    }

    /// All stakes sum up to 1: the first one, and of what is left 1/(k·(k+1)) at the k-th later one.
    fn next_stake(&self) -> f64 {
        match (self.ticks / STAKE_PERIOD, self.ticks % STAKE_PERIOD) {
            (0, 0) => STAKED_AT_START,
            (nth, 0) => (1.0 - STAKED_AT_START) / (nth as f64 * (nth as f64 + 1.0)),
            _ => 0.0,
        }
    }

    /// What it has become: the odds against the claim.
    pub(super) fn odds(&self) -> f64 {
        self.reserve + self.bets.iter().map(|(_, in_play)| in_play).sum::<f64>()
    }
}
