//! What the data plane must show, line by line: met, missed, or not to be judged here.

use super::super::spread::Spread;
use super::machine;
use super::measure::{Idle, Outcome, Reloads, Series};
use super::proxies::Kind;
use super::report::{cpu, mib, ratio};
use super::scenario::Scenario;

/// CPU per request, as a ratio to Envoy in the same run: the highest that is allowed, and what is aimed at.
const RATIOS: [(Scenario, f64, Option<f64>); 8] = [
    (Scenario::H1Get, 0.26, Some(0.18)),
    (Scenario::H1Post16k, 0.29, Some(0.23)),
    (Scenario::TlsGet, 0.28, Some(0.20)),
    (Scenario::TlsHandshake, 0.65, Some(0.55)),
    (Scenario::H2Get, 0.35, Some(0.22)),
    (Scenario::Grpc, 0.35, Some(0.22)),
    (Scenario::TcpSmall, 0.70, None),
    (Scenario::Tcp10m, 0.65, None),
];
/// Resident memory under load, in MiB: the highest that is allowed, and what is aimed at.
const LOADED_MIB: (f64, f64) = (14.0, 8.0);
/// Resident memory with 100,000 idle connections, in bytes.
const IDLE_BYTES: f64 = 1.2e9;
/// Throughput of two workers over that of one.
const TWO_WORKERS: f64 = 1.7;
/// Memory that reloads may add between the first tenth of them and the last: what an allocator keeps back, no more.
const RELOAD_GROWTH: f64 = 0.05;
const RELOAD_GROWTH_KIB: f64 = 1024.0;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Met,
    Missed,
    /// And why.
    NotJudged(String),
}

impl Verdict {
    fn of(met: bool) -> Self {
        if met { Self::Met } else { Self::Missed }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Met => "met".to_owned(),
            Self::Missed => "MISSED".to_owned(),
            Self::NotJudged(why) => format!("not judged: {why}"),
        }
    }
}

/// One line of the bar.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) figure: String,
    pub(super) bar: String,
    pub(super) aim: String,
    pub(super) verdict: Verdict,
}

/// Judges what was measured of Leno; scenarios that did not run have no line.
pub(super) fn judge(outcomes: &[Outcome]) -> Vec<Line> {
    let mut lines = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Rounds(scenario, series) => lines.extend(judge_rounds(*scenario, series)),
            Outcome::Idle(idle) => lines.extend(ours(idle, |it| it.kind).map(judge_idle)),
            Outcome::Reloads(them) => lines.extend(ours(them, |it| it.kind).map(judge_reloads)),
        }
    }
    lines.extend(judge_memory(outcomes));
    lines
}

fn ours<T>(all: &[T], kind: impl Fn(&T) -> Kind) -> Option<&T> {
    all.iter().find(|it| kind(it) == Kind::Leno)
}

fn find(series: &[Series], kind: Kind, workers: u16) -> Option<&Series> {
    series.iter().find(|it| it.kind == kind && it.workers == workers)
}

fn judge_rounds(scenario: Scenario, series: &[Series]) -> Option<Line> {
    let leno = find(series, Kind::Leno, 1)?;
    match scenario {
        Scenario::FixedRate => Some(judge_p99(leno, find(series, Kind::Haproxy, 1)?)),
        Scenario::Workers2 => Some(judge_workers(leno, find(series, Kind::Leno, 2)?)),
        _ => {
            let (_, bar, aim) = RATIOS.iter().find(|(it, ..)| *it == scenario)?;
            let figure = ratio(leno, find(series, Kind::Envoy, 1)?, cpu);
            Some(Line {
                what: format!("{}: CPU per request, ratio to Envoy", scenario.name()),
                figure: figure.shown(2),
                bar: format!("<= {bar:.2}"),
                aim: aim.map_or_else(String::new, |aim| format!("{aim:.2}")),
                verdict: Verdict::of(figure.median <= *bar),
            })
        }
    }
}

fn judge_p99(leno: &Series, haproxy: &Series) -> Line {
    let figure = ratio(leno, haproxy, |round| round.load.p99_us);
    Line {
        what: "fixed-rate: p99, ratio to HAProxy".to_owned(),
        figure: figure.shown(2),
        bar: "<= 1.00".to_owned(),
        aim: String::new(),
        verdict: Verdict::of(figure.median <= 1.0),
    }
}

fn judge_workers(one: &Series, two: &Series) -> Line {
    let figure = ratio(two, one, |round| round.load.requests as f64 / round.load.seconds);
    let cores = machine::cores();
    let verdict = if machine::fits_two_workers(cores) {
        Verdict::of(figure.median >= TWO_WORKERS)
    } else {
        Verdict::NotJudged(format!("{cores} cores leave the load none of its own"))
    };
    Line {
        what: "workers-2: throughput of 2 workers, ratio to 1".to_owned(),
        figure: figure.shown(2),
        bar: format!(">= {TWO_WORKERS:.2}"),
        aim: String::new(),
        verdict,
    }
}

fn judge_idle(idle: &Idle) -> Line {
    let bytes = idle.after_kib as f64 * 1024.0;
    let verdict = if idle.connections < idle.wanted {
        let each =
            (idle.after_kib.saturating_sub(idle.before_kib)) as f64 / idle.connections as f64;
        let all = (idle.before_kib as f64 + each * idle.wanted as f64) * 1024.0 / 1e9;
        Verdict::NotJudged(format!(
            "the limit of open files allows {} connections; {each:.1} KiB each would make {all:.2} GB",
            idle.connections
        ))
    } else {
        Verdict::of(bytes < IDLE_BYTES)
    };
    Line {
        what: format!("idle-100k: memory with {} idle connections", idle.connections),
        figure: format!("{:.3} GB", bytes / 1e9),
        bar: format!("< {:.1} GB", IDLE_BYTES / 1e9),
        aim: String::new(),
        verdict,
    }
}

fn judge_reloads(reloads: &Reloads) -> Line {
    let allowed = reloads.early_kib as f64 * (1.0 + RELOAD_GROWTH) + RELOAD_GROWTH_KIB;
    let met = reloads.load.failures == 0 && reloads.after_kib as f64 <= allowed;
    Line {
        what: format!("reloads: {} under load", reloads.reloads),
        figure: format!(
            "{} failed, {} -> {} MiB",
            reloads.load.failures,
            mib(reloads.early_kib),
            mib(reloads.after_kib)
        ),
        bar: "0 failed, no growth".to_owned(),
        aim: String::new(),
        verdict: Verdict::of(met),
    }
}

/// The most that any scenario with rounds and one worker left Leno with.
fn judge_memory(outcomes: &[Outcome]) -> Option<Line> {
    let mut most: Option<(u64, Scenario)> = None;
    for outcome in outcomes {
        let Outcome::Rounds(scenario, series) = outcome else { continue };
        let Some(leno) = find(series, Kind::Leno, 1) else { continue };
        let loaded = leno.rounds.iter().map(|it| it.loaded_kib).max().unwrap_or(0);
        if most.is_none_or(|(most, _)| loaded > most) {
            most = Some((loaded, *scenario));
        }
    }
    let (loaded_kib, scenario) = most?;
    let (bar, aim) = LOADED_MIB;
    Some(Line {
        what: format!("resident memory, loaded (most: {})", scenario.name()),
        figure: format!("{} MiB", mib(loaded_kib)),
        bar: format!("<= {bar:.0} MiB"),
        aim: format!("{aim:.0} MiB"),
        verdict: Verdict::of(loaded_kib as f64 / 1024.0 <= bar),
    })
}

/// The ratio of Leno to each peer in a scenario with rounds.
pub(super) fn against(series: &[Series]) -> Vec<(Kind, Spread)> {
    let Some(leno) = find(series, Kind::Leno, 1) else { return Vec::new() };
    let peers = [Kind::Envoy, Kind::Haproxy, Kind::Nginx];
    let peers = peers.into_iter().filter_map(|kind| Some((kind, find(series, kind, 1)?)));
    peers.map(|(kind, peer)| (kind, ratio(leno, peer, cpu))).collect()
}

#[cfg(test)]
mod tests;
