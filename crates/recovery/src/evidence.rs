use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use self::bet::{Capital, Line, Old, Tally, clamp, log_factor};
pub use self::counts::Counts;
use self::latency::Latency;

mod bet;
mod counts;
mod latency;
#[cfg(test)]
pub(crate) mod tests;

/// Most proxies that are told apart; reports of further ones are not taken. A counter's memory is 0.4 KiB.
const PROXIES_MAX: usize = 4096;
/// Requests of the old side that are remembered; older ones fade.
const HISTORY_REQUESTS_MAX: u64 = 20_000;
/// The old side is compared live while it has at least this part of the new side's requests; with less it says too little.
const LIVE_SHARE_MIN: f64 = 0.05;
/// How much of the requests that could fail beyond the tolerated a bet says fail, and its share of the capital.
const LIFTS: [(f64, f64); 4] = [(0.008, 0.2), (0.025, 0.45), (0.1, 0.25), (0.5, 0.1)];
/// Where between the old rate and the margin the bets for "as good" lie, with their shares.
const EVENS: [(f64, f64); 2] = [(0.0, 0.6), (0.3, 0.4)];
/// Of the chance of a false alarm: part of the failures, of the bounds of latency, of its means. They sum up to 1.
const ALPHA_SHARES: [f64; 3] = [0.6, 0.25, 0.15];

/// What is tolerated, and how sure a verdict has to be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Chance that a release that is as good as the old one is ever called worse, over all ticks and all tests: 0.01.
    pub false_alarm: f64,
    /// Chance that one that fails by `margin` more is ever called as good: 0.02.
    pub miss: f64,
    /// Failures beyond the old side's share that are tolerated, as a share of requests: 0.001.
    ///
    /// A larger one is slower: with 20 requests/s, 5 % of which fail, ten seconds bring ten failures; against 0.001 three or
    /// four of them convince, against 0.005 six would have to, and one canary in ten would take longer.
    pub failures_slack: f64,
    /// The old side's share of failures times this is tolerated: 1.1.
    pub failures_ratio: f64,
    /// Failures of the new side before it can be called worse by them: 3. A single burst is no trend.
    pub failures_min: u64,
    /// More failures than the old side's, as a share of requests, that "as good" must exclude: 0.02.
    pub margin: f64,
    /// Tolerated ratio of latencies: 1.25.
    pub latency_ratio: f64,
    /// Requests of the new side before it can be called as good: 50.
    pub requests_min: u64,
    /// The old side's share of failures if it has no requests, and never had: 0.01.
    pub assumed_failures: f64,
    /// Further share of failures that is tolerated while the old side is only remembered: 0.005.
    pub remembered_slack: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            false_alarm: 0.01,
            miss: 0.02,
            failures_slack: 0.001,
            failures_ratio: 1.1,
            failures_min: 3,
            margin: 0.02,
            latency_ratio: 1.25,
            requests_min: 50,
            assumed_failures: 0.01,
            remembered_slack: 0.005,
        }
    }
}

impl Settings {
    /// What of it makes no sense, in words; empty if it can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, what: &str| {
            if !holds {
                problems.push(what.to_owned());
            }
        };
        let is_share = |it: f64| it > 0.0 && it < 1.0;
        demand(is_share(self.false_alarm), "false_alarm must lie between 0 and 1");
        demand(is_share(self.miss), "miss must lie between 0 and 1");
        demand(is_share(self.failures_slack), "failures_slack must lie between 0 and 1");
        demand(is_share(self.margin), "margin must lie between 0 and 1");
        demand(self.margin > self.failures_slack, "margin must be above failures_slack");
        demand((1.0..=100.0).contains(&self.failures_ratio), "failures_ratio must be 1 to 100");
        demand((1.0..=100.0).contains(&self.latency_ratio), "latency_ratio must be 1 to 100");
        demand((0.0..1.0).contains(&self.assumed_failures), "assumed_failures must be 0 to 1");
        demand((0.0..1.0).contains(&self.remembered_slack), "remembered_slack must be 0 to 1");
        problems
    }
}

/// Counters of one proxy, as it has them since it started.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Which proxy.
    pub proxy: String,
    /// The old side.
    pub old: Counts,
    /// The new side.
    pub new: Counts,
}

/// What was counted of both sides while they were compared.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// The old side; empty if it had no requests.
    pub old: Counts,
    /// The new side.
    pub new: Counts,
    /// What the old side is taken for without requests of its own: its share of failures from before.
    pub old_failure_rate: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |f: &mut fmt::Formatter<'_>, name: &str, counts: &Counts| {
            let (failed, of) = (counts.failures, counts.requests);
            let percent = counts.failure_rate() * 100.0;
            write!(f, "{name}: {failed} of {of} requests failed ({percent:.2} %)")?;
            let ms = |quantile| counts.quantile_us(quantile).map(|us| us / 1000.0);
            match (ms(0.5), ms(0.9), ms(0.99)) {
                (Some(p50), Some(p90), Some(p99)) => {
                    write!(f, ", p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms")
                }
                _ => Ok(()),
            }
        };
        if self.old.requests == 0 && self.new.requests == 0 {
            return f.write_str("no requests to compare");
        }
        side(f, "new", &self.new)?;
        if self.old.requests == 0 {
            let percent = self.old_failure_rate * 100.0;
            return write!(f, "; old: no requests, {percent:.2} % failed before");
        }
        side(f, "; old", &self.old)
    }
}

/// By what the new side is worse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Regression {
    /// More of its requests fail.
    Failures,
    /// More of its requests are refused (said by [`Guard`](crate::Guard) only).
    Refusals,
    /// It is slower.
    Latency,
    /// Requests that used to come do not come any more (said by [`Guard`](crate::Guard) only).
    Vanished,
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failures => "more requests fail",
            Self::Refusals => "more requests are refused",
            Self::Latency => "requests take longer",
            Self::Vanished => "requests no longer come",
        })
    }
}

/// What the evidence says by now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// Nothing yet.
    Undecided {
        /// Requests of the new side so far.
        requests: u64,
    },
    /// The new side is worse. It stays so, whatever comes later.
    Worse {
        /// By what.
        by: Regression,
        /// What was counted when it was decided.
        figures: Box<Figures>,
    },
    /// The new side does not fail by [`Settings::margin`] more, has had the least number of requests, and nothing says that
    /// it is worse. It may still turn worse.
    AsGood {
        /// What was counted.
        figures: Box<Figures>,
    },
}

/// One tick, as the tests see it.
struct Tick<'a> {
    old: &'a Counts,
    new: &'a Counts,
    /// The old side before this tick.
    history: &'a Counts,
}

impl Tick<'_> {
    /// Decided by sizes alone, never by outcomes.
    fn is_live(&self, old: u64, new: u64) -> bool {
        old > 0 && old as f64 >= LIVE_SHARE_MIN * new as f64
    }
}

/// Compares two sides that run side by side, tick by tick, from the counters of the proxies.
///
/// It may be asked at every tick; the chances in [`Settings`] hold for the whole time. They are exact for requests that fail
/// independently of each other at rates that may change from tick to tick as long as the sides keep their relation: an
/// outage that both share speaks against neither. Without requests of the old side, its own rate from before is taken
/// (faded beyond 20,000 requests), plus [`Settings::remembered_slack`]; if it never had any, [`Settings::assumed_failures`].
///
/// A proxy's first report is where counting starts. Lost reports lose nothing, the next one holds it; a proxy that was
/// started anew loses what it counted since its last report.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    settings: Settings,
    /// By proxy: its last counters, old and new.
    last: BTreeMap<String, (Counts, Counts)>,
    history: Counts,
    old: Counts,
    new: Counts,
    failures: Capital,
    latency: Latency,
    as_good: Capital,
    /// The odds for "as good" were reached once.
    was_as_good: bool,
    worse: Option<(Regression, Box<Figures>)>,
}

impl Evidence {
    /// Nothing seen yet. `history`: what is known of the old side from before, if anything.
    #[must_use]
    pub fn new(settings: Settings, history: Counts) -> Self {
        let shares = |of: &[(f64, f64)]| of.iter().map(|(_, share)| *share).collect::<Vec<_>>();
        Self {
            settings,
            last: BTreeMap::new(),
            history,
            old: Counts::default(),
            new: Counts::default(),
            failures: Capital::new(&shares(&LIFTS)),
            latency: Latency::new(),
            as_good: Capital::new(&shares(&EVENS)),
            was_as_good: false,
            worse: None,
        }
    }

    /// Takes what the proxies report. Those that are missing report later, or not at all.
    pub fn observe(&mut self, reports: &[Report]) {
        let (mut old, mut new) = (Counts::default(), Counts::default());
        for report in reports {
            if let Some((last_old, last_new)) = self.last.get_mut(&report.proxy) {
                old.add(&report.old.since(last_old));
                new.add(&report.new.since(last_new));
                (*last_old, *last_new) = (report.old, report.new);
            } else if self.last.len() < PROXIES_MAX {
                self.history.add(&report.old);
                self.last.insert(report.proxy.clone(), (report.old, report.new));
            }
        }
        self.observe_tick(&old, &new);
    }

    /// Takes what came since the last tick, for who keeps the counters itself.
    pub fn observe_tick(&mut self, old: &Counts, new: &Counts) {
        self.history.forget_beyond(HISTORY_REQUESTS_MAX);
        self.old.add(old);
        self.new.add(new);
        let tick = Tick { old, new, history: &self.history };
        if new.requests > 0 {
            play_failures(&tick, &self.settings, &mut self.failures, &mut self.as_good);
        }
        self.latency.observe(&tick, &self.settings);
        self.history.add(old);
        self.judge();
    }

    fn judge(&mut self) {
        self.was_as_good |= self.as_good.odds() >= 1.0 / self.settings.miss;
        if self.worse.is_some() {
            return;
        }
        let needed = ALPHA_SHARES.map(|share| 1.0 / (self.settings.false_alarm * share));
        let (bounds, means) = self.latency.odds();
        let enough_failures = self.new.failures >= self.settings.failures_min;
        let by = if enough_failures && self.failures.odds() >= needed[0] {
            Regression::Failures
        } else if bounds >= needed[1] || means >= needed[2] {
            Regression::Latency
        } else {
            return;
        };
        self.worse = Some((by, Box::new(self.figures())));
    }

    /// What it says by now.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let requests = self.new.requests;
        match &self.worse {
            Some((by, figures)) => Verdict::Worse { by: *by, figures: figures.clone() },
            None if self.was_as_good && requests >= self.settings.requests_min => {
                Verdict::AsGood { figures: Box::new(self.figures()) }
            }
            None => Verdict::Undecided { requests },
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let old_failure_rate = old_failure_rate(&self.history, &self.settings);
        Figures { old: self.old, new: self.new, old_failure_rate }
    }
}

/// The old side's share of failures for a bet: as if one request in a thousand had failed without evidence.
fn old_failure_rate(history: &Counts, settings: &Settings) -> f64 {
    if history.requests == 0 {
        return settings.assumed_failures;
    }
    (history.failures as f64 + 0.5) / (history.requests as f64 + 500.0)
}

fn play_failures(tick: &Tick<'_>, settings: &Settings, worse: &mut Capital, as_good: &mut Capital) {
    let rate = clamp(old_failure_rate(tick.history, settings));
    let tally = |side: &Counts| Tally { trials: side.requests, hits: side.failures };
    let is_live = tick.is_live(tick.old.requests, tick.new.requests);
    let (old, extra) = if is_live {
        (Old::Live(tally(tick.old)), 0.0)
    } else {
        (Old::Remembered, settings.remembered_slack)
    };
    let new = tally(tick.new);

    let line = Line { ratio: settings.failures_ratio, slack: settings.failures_slack + extra };
    let limit = line.at(rate);
    worse.play(|nth| {
        let bet = limit + (1.0 - limit) * LIFTS[nth].0;
        if limit >= 0.99 { 0.0 } else { log_factor(line, old, new, rate, bet) }
    });

    let line = Line { ratio: 1.0, slack: settings.margin + extra };
    as_good.play(|nth| {
        let bet = rate + EVENS[nth].0 * line.slack;
        if line.at(rate) >= 0.99 { 0.0 } else { log_factor(line, old, new, rate, bet) }
    });
}
