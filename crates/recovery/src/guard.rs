use std::collections::BTreeMap;
use std::fmt;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::evidence::{Counts, Evidence, Regression, Settings, Verdict};

#[cfg(test)]
mod tests;

/// Chance that a change that changes nothing is taken back, over the whole window and all scopes.
const FALSE_ALARM: f64 = 0.01;
/// Tests of each scope: of failures and latency, and of refusals.
const TESTS_PER_SCOPE: f64 = 2.0;
/// Tolerated ratio of latencies. What was before is another time, with other requests: less would call a busier hour worse.
const LATENCY_RATIO: f64 = 2.0;
/// Refusals (4xx) beyond those before that are tolerated, as a share of requests and as a ratio: clients make them, too, and
/// a single one that does so again and again is no regression.
const REFUSALS_SLACK: f64 = 0.02;
const REFUSALS_RATIO: f64 = 1.5;
/// The share of refusals that is taken for the one before where there were no requests: then only a scope that refuses
/// nearly all is bad.
const REFUSALS_ASSUMED: f64 = 0.5;
/// Slices with fewer requests say nothing about how latency drifts.
const SLICE_REQUESTS_MIN: u64 = 20;
/// Requests that should have come before their absence is a regression…
const MISSING_MIN: f64 = 30.0;
/// …the least silence, in milliseconds: reports come about once a second…
const SILENCE_MIN_MS: u64 = 5_000;
/// …and how long they must have come all the time before: a client that comes for a moment goes again, too.
const STEADY_MIN_MS: u64 = 20_000;
/// Most proxies that are told apart; reports of further ones are not taken.
const PROXIES_MAX: usize = 4096;

/// What was counted of the requests of one scope: since a proxy started, or a difference of two such.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ScopeCounts {
    /// All requests, those that failed, and how long they took.
    pub answers: Counts,
    /// Those that were refused (4xx); they are no failures.
    pub refusals: u64,
}

impl ScopeCounts {
    /// Adds `more`, saturating.
    pub fn add(&mut self, more: &Self) {
        self.answers.add(&more.answers);
        self.refusals = self.refusals.saturating_add(more.refusals);
    }

    fn since(&self, earlier: &Self) -> Self {
        if self.refusals < earlier.refusals {
            return *self;
        }
        let answers = self.answers.since(&earlier.answers);
        Self { answers, refusals: self.refusals - earlier.refusals }
    }

    /// Refusals in the place of failures.
    fn as_refusals(&self) -> Counts {
        let requests = self.answers.requests;
        Counts { requests, failures: self.refusals.min(requests), ..Counts::default() }
    }
}

/// A part of the requests that a change touches, and what was before the change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Watched {
    /// In words, for who reads why a change was taken back.
    pub name: String,
    /// It is no part of another scope: if nothing comes to any of these any more, that is a regression.
    pub is_whole: bool,
    /// The time before the change in slices, the oldest first.
    pub before: Vec<ScopeCounts>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Scope {
    name: String,
    is_whole: bool,
    before: ScopeCounts,
    after: ScopeCounts,
    answers: Evidence,
    refusals: Evidence,
}

/// Watches over a change of configuration: compares after with before, scope by scope, and says whether it has to be taken
/// back.
///
/// There is no old side at the same time, so what was before is remembered: the last window, in slices. How much the share
/// of failures differed between the slices beyond chance, how well it is known at all, and how much the slices' mean
/// latencies differed widens what is tolerated: a baseline that drifts is no proof. The chance of a false alarm is divided
/// among the scopes and their tests, so that it holds for all together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Guard {
    clock: Clock,
    window_ms: u64,
    scopes: Vec<Scope>,
    /// By proxy: its last counters. Not kept: a proxy's first ones are where counting starts, also after the agent was away.
    #[serde(skip)]
    last: BTreeMap<String, Vec<ScopeCounts>>,
    /// Requests per millisecond before, if they came all the time.
    steady_rate: Option<f64>,
    /// Without a request although a proxy reported.
    silent_ms: u64,
    breach: Option<Breach>,
}

/// What became worse, and where.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Breach {
    /// By what.
    pub by: Regression,
    /// The scope; empty for all together.
    pub scope: String,
    /// What was before the change.
    pub before: ScopeCounts,
    /// What came after it, until this was found.
    pub after: ScopeCounts,
}

impl Breach {
    /// The share of its requests that failed after the change, or were refused.
    fn share(&self) -> f64 {
        match self.by {
            Regression::Refusals => self.after.as_refusals().failure_rate(),
            Regression::Failures | Regression::Latency | Regression::Vanished => {
                self.after.answers.failure_rate()
            }
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |failed: u64, of: u64| 100.0 * failed as f64 / of.max(1) as f64;
        let (before, after) = (&self.before.answers, &self.after.answers);
        write!(f, "{}", self.by)?;
        if !self.scope.is_empty() {
            write!(f, " at {}", self.scope)?;
        }
        let counted = |f: &mut fmt::Formatter<'_>, failed: u64, was: u64, what: &str| {
            let percent = share(failed, after.requests);
            write!(f, ": {failed} of {} requests {what} ({percent:.2} %), ", after.requests)?;
            match before.requests {
                0 => f.write_str("and before there were none"),
                of => write!(f, "before {was} of {of} ({:.2} %)", share(was, of)),
            }
        };
        match self.by {
            Regression::Failures => counted(f, after.failures, before.failures, "failed"),
            Regression::Refusals => {
                counted(f, self.after.refusals, self.before.refusals, "were answered with 4xx")
            }
            Regression::Latency => {
                let ms = |of: &Counts, quantile| of.quantile_us(quantile).unwrap_or(0.0) / 1000.0;
                let side =
                    |of: &Counts| format!("p50 {:.1} ms, p90 {:.1} ms", ms(of, 0.5), ms(of, 0.9));
                write!(f, ": {}; before {}", side(after), side(before))
            }
            Regression::Vanished => {
                write!(f, ": {} came after the change, ", after.requests)?;
                write!(f, "before it {} came in the time that is remembered", before.requests)
            }
        }
    }
}

/// What a guard says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum GuardVerdict {
    /// The window is not over, and nothing is wrong yet.
    Watching {
        /// Milliseconds until the window is over.
        left_ms: u64,
    },
    /// Take the change back. It stays so, whatever comes later.
    Regression(Box<Breach>),
    /// The window is over, and what came after is as good as before.
    Fine {
        /// All scopes together, before the change.
        before: Box<Counts>,
        /// And after.
        after: Box<Counts>,
    },
    /// The window is over, nothing is wrong, but there was too little to say that it is as good.
    Undecided {
        /// Requests after the change.
        requests: u64,
    },
}

impl Guard {
    /// The change is made now. `before_ms`: how long the slices of `watched` are in all; `window_ms`: how long to watch.
    #[must_use]
    pub fn new(watched: Vec<Watched>, before_ms: u64, window_ms: u64, now: Timestamp) -> Self {
        let false_alarm = FALSE_ALARM / (TESTS_PER_SCOPE * watched.len().max(1) as f64);
        Self {
            clock: Clock::new(now),
            window_ms,
            steady_rate: steady_rate(&watched, before_ms),
            scopes: watched.into_iter().map(|it| Scope::new(it, false_alarm)).collect(),
            last: BTreeMap::new(),
            silent_ms: 0,
            breach: None,
        }
    }

    /// Takes counters of proxies that run with the changed configuration, as `(proxy, counters of each scope)`, the scopes
    /// in the order in which they were given. A proxy's first ones are where counting starts.
    pub fn observe(&mut self, reports: &[(String, Vec<ScopeCounts>)], now: Timestamp) {
        let step_ms = self.clock.advance(now);
        let mut ticks = vec![ScopeCounts::default(); self.scopes.len()];
        for (proxy, counts) in reports.iter().filter(|it| it.1.len() == self.scopes.len()) {
            if let Some(last) = self.last.get_mut(proxy) {
                for ((tick, now), last) in ticks.iter_mut().zip(counts).zip(last.iter()) {
                    tick.add(&now.since(last));
                }
                last.clone_from(counts);
            } else if self.last.len() < PROXIES_MAX {
                self.last.insert(proxy.clone(), counts.clone());
            }
        }
        let mut came = 0;
        for (scope, tick) in self.scopes.iter_mut().zip(&ticks) {
            scope.observe(tick);
            came += if scope.is_whole { tick.answers.requests } else { 0 };
        }
        if came > 0 {
            self.silent_ms = 0;
        } else if !reports.is_empty() {
            self.silent_ms += step_ms;
        }
        if self.breach.is_none() {
            self.breach = self.find_breach();
        }
    }

    /// The worst is said first: failures before what else the same cause brings about, and where their share is highest.
    fn find_breach(&self) -> Option<Breach> {
        let found = self.scopes.iter().filter_map(Scope::breach);
        let rank = |it: &Breach| match it.by {
            Regression::Failures => 0,
            Regression::Refusals => 1,
            Regression::Latency => 2,
            Regression::Vanished => 3,
        };
        let worst =
            found.min_by(|a, b| rank(a).cmp(&rank(b)).then(b.share().total_cmp(&a.share())));
        let missing = self.steady_rate.map_or(0.0, |rate| rate * self.silent_ms as f64);
        let has_vanished = missing >= MISSING_MIN && self.silent_ms >= SILENCE_MIN_MS;
        worst.or_else(|| {
            let (before, after) = self.sums();
            let scope = String::new();
            has_vanished.then_some(Breach { by: Regression::Vanished, scope, before, after })
        })
    }

    fn sums(&self) -> (ScopeCounts, ScopeCounts) {
        let (mut before, mut after) = (ScopeCounts::default(), ScopeCounts::default());
        for scope in self.scopes.iter().filter(|it| it.is_whole) {
            before.add(&scope.before);
            after.add(&scope.after);
        }
        (before, after)
    }

    /// What it says by now.
    #[must_use]
    pub fn verdict(&self) -> GuardVerdict {
        let left_ms = self.window_ms.saturating_sub(self.clock.elapsed_ms());
        if let Some(breach) = &self.breach {
            return GuardVerdict::Regression(Box::new(breach.clone()));
        }
        if left_ms > 0 {
            return GuardVerdict::Watching { left_ms };
        }
        let (before, after) = self.sums();
        let said: Vec<Verdict> =
            self.scopes.iter().filter(|it| it.is_whole).map(|it| it.answers.verdict()).collect();
        let enough = Settings::default().requests_min;
        let in_doubt =
            |it: &Verdict| matches!(it, Verdict::Undecided { requests } if *requests >= enough);
        let is_good = |it: &Verdict| matches!(it, Verdict::AsGood { .. });
        if said.iter().any(is_good) && !said.iter().any(in_doubt) {
            GuardVerdict::Fine { before: Box::new(before.answers), after: Box::new(after.answers) }
        } else {
            GuardVerdict::Undecided { requests: after.answers.requests }
        }
    }

    /// How long it has watched, in milliseconds; time in which the agent was away does not count.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.clock.elapsed_ms()
    }
}

impl Scope {
    fn new(watched: Watched, false_alarm: f64) -> Self {
        let mut before = ScopeCounts::default();
        watched.before.iter().for_each(|slice| before.add(slice));
        let deviations = normal_quantile(false_alarm);
        let answers: Vec<Counts> = watched.before.iter().map(|it| it.answers).collect();
        let refusals: Vec<Counts> = watched.before.iter().map(ScopeCounts::as_refusals).collect();
        let general = Settings { false_alarm, ..Settings::default() };
        let drift = failure_drift(&answers, &before.answers, deviations);
        let of_answers = Settings {
            remembered_slack: general.remembered_slack + drift,
            latency_ratio: LATENCY_RATIO.max(latency_drift(&answers, &before.answers)),
            ..general.clone()
        };
        let of_refusals = Settings {
            remembered_slack: failure_drift(&refusals, &before.as_refusals(), deviations),
            failures_slack: REFUSALS_SLACK,
            failures_ratio: REFUSALS_RATIO,
            assumed_failures: REFUSALS_ASSUMED,
            ..general
        };
        Self {
            name: watched.name,
            is_whole: watched.is_whole,
            answers: Evidence::new(of_answers, before.answers),
            refusals: Evidence::new(of_refusals, before.as_refusals()),
            before,
            after: ScopeCounts::default(),
        }
    }

    fn observe(&mut self, tick: &ScopeCounts) {
        self.after.add(tick);
        self.answers.observe_tick(&Counts::default(), &tick.answers);
        self.refusals.observe_tick(&Counts::default(), &tick.as_refusals());
    }

    fn breach(&self) -> Option<Breach> {
        let by = match (self.answers.verdict(), self.refusals.verdict()) {
            (Verdict::Worse { by, .. }, _) => by,
            (_, Verdict::Worse { .. }) => Regression::Refusals,
            _ => return None,
        };
        Some(Breach { by, scope: self.name.clone(), before: self.before, after: self.after })
    }
}

/// Requests per millisecond of all whole scopes together, if they came in every slice of a time that is long enough.
fn steady_rate(watched: &[Watched], before_ms: u64) -> Option<f64> {
    let whole: Vec<&Watched> = watched.iter().filter(|it| it.is_whole).collect();
    let slices = whole.iter().map(|it| it.before.len()).max().unwrap_or(0);
    let sum = |nth: usize| {
        let slice = |it: &&Watched| it.before.get(nth).map_or(0, |it| it.answers.requests);
        whole.iter().map(slice).sum::<u64>()
    };
    let came_always = slices > 0 && before_ms >= STEADY_MIN_MS && (0..slices).all(|it| sum(it) > 0);
    came_always.then(|| (0..slices).map(sum).sum::<u64>() as f64 / before_ms as f64)
}

/// The point that a standard normal variable is above with chance `p` (below 0.5), to 0.0005 (Abramowitz and Stegun 26.2.23).
fn normal_quantile(p: f64) -> f64 {
    let t = (-2.0 * p.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}

/// How much the share of failures may be off: `deviations` of its standard error, and of the spread between the slices
/// that is more than chance makes (the method of moments for a random effect: DerSimonian and Laird 1986).
fn failure_drift(slices: &[Counts], all: &Counts, deviations: f64) -> f64 {
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
    deviations * (excess.sqrt() + (chance / requests).sqrt())
}

/// The highest mean latency of a slice over that of all.
fn latency_drift(slices: &[Counts], all: &Counts) -> f64 {
    let Some(mean) = all.mean_us().filter(|it| *it > 0.0) else { return 1.0 };
    let known = slices.iter().filter(|slice| slice.timed() >= SLICE_REQUESTS_MIN);
    known.filter_map(Counts::mean_us).fold(1.0, |worst, it| worst.max(it / mean))
}
