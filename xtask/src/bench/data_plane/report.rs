//! What was measured, as tables and as JSON.

use serde_json::{Value, json};

use super::super::spread::Spread;
use super::bar::{self, Line};
use super::measure::{Idle, Outcome, Reloads, Round, Series};
use super::proxies::Kind;

/// CPU time per request, in microseconds.
pub(super) fn cpu(round: &Round) -> f64 {
    round.cpu_us_per_request
}

fn rate(round: &Round) -> f64 {
    round.load.requests as f64 / round.load.seconds
}

/// A figure over the same figure of another, round by round: what disturbs the machine disturbs both.
pub(super) fn ratio(one: &Series, other: &Series, figure: impl Fn(&Round) -> f64) -> Spread {
    let pairs = one.rounds.iter().zip(&other.rounds);
    Spread::of(pairs.map(|(one, other)| figure(one) / figure(other)).collect())
}

fn spread(series: &Series, figure: impl Fn(&Round) -> f64) -> Spread {
    Spread::of(series.rounds.iter().map(figure).collect())
}

/// KiB, shown as MiB.
pub(super) fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// Everything as text: a table for each scenario, Leno against each peer, and the bar.
pub(super) fn text(machine: &str, method: &str, outcomes: &[Outcome], bar: &[Line]) -> String {
    let mut text = format!("machine: {machine}\n{method}\n");
    for outcome in outcomes {
        text.push('\n');
        match outcome {
            Outcome::Rounds(scenario, series) => {
                text.push_str(&format!("{}: {}\n", scenario.name(), scenario.title()));
                text.push_str(&rounds_table(series));
            }
            Outcome::Idle(idle) => {
                text.push_str("idle-100k: idle keep-alive connections\n");
                text.push_str(&idle_table(idle));
            }
            Outcome::Reloads(reloads) => {
                text.push_str("reloads: by SIGHUP, under load\n");
                text.push_str(&reloads_table(reloads));
            }
        }
    }
    let against = against_table(outcomes);
    if !against.is_empty() {
        text.push_str(&format!("\nleno: CPU per request, ratio to each peer\n{against}"));
    }
    if !bar.is_empty() {
        text.push_str(&format!("\nbar\n{}", bar_table(bar)));
    }
    text
}

fn rounds_table(series: &[Series]) -> String {
    let mut rows = vec![
        [
            "",
            "CPU µs/request",
            "to envoy",
            "requests/s",
            "core",
            "p50 µs",
            "p99 µs",
            "MiB idle",
            "loaded",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for one in series {
        let envoy = series.iter().find(|it| it.kind == Kind::Envoy && it.workers == one.workers);
        let loaded = one.rounds.iter().map(|it| it.loaded_kib).max().unwrap_or(0);
        rows.push(vec![
            one.name.clone(),
            spread(one, cpu).shown(1),
            envoy.map_or_else(String::new, |envoy| ratio(one, envoy, cpu).shown(2)),
            spread(one, rate).shown(0),
            format!("{:.0} %", 100.0 * spread(one, |it| it.busy).median),
            spread(one, |it| it.load.p50_us).shown(0),
            spread(one, |it| it.load.p99_us).shown(0),
            mib(one.idle_kib),
            mib(loaded),
        ]);
    }
    table(&rows)
}

fn idle_table(idle: &[Idle]) -> String {
    let mut rows = vec![
        ["", "connections", "MiB before", "MiB after", "KiB each"].map(str::to_owned).to_vec(),
    ];
    for one in idle {
        let each = one.after_kib.saturating_sub(one.before_kib) as f64 / one.connections as f64;
        rows.push(vec![
            one.name.clone(),
            one.connections.to_string(),
            mib(one.before_kib),
            mib(one.after_kib),
            format!("{each:.2}"),
        ]);
    }
    table(&rows)
}

fn reloads_table(reloads: &[Reloads]) -> String {
    let head =
        ["", "reloads", "requests", "failed", "p99 µs", "MiB before", "after a tenth", "after all"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for one in reloads {
        rows.push(vec![
            one.name.clone(),
            one.reloads.to_string(),
            one.load.requests.to_string(),
            one.load.failures.to_string(),
            format!("{:.0}", one.load.p99_us),
            mib(one.before_kib),
            mib(one.early_kib),
            mib(one.after_kib),
        ]);
    }
    table(&rows)
}

/// Empty when Leno did not take part, or nobody else.
fn against_table(outcomes: &[Outcome]) -> String {
    let peers = [Kind::Envoy, Kind::Haproxy, Kind::Nginx];
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(peers.map(|it| it.name().to_owned()));
    for outcome in outcomes {
        let Outcome::Rounds(scenario, series) = outcome else { continue };
        let against = bar::against(series);
        if against.is_empty() {
            continue;
        }
        let mut row = vec![scenario.name().to_owned()];
        row.extend(peers.map(|peer| {
            let found = against.iter().find(|(kind, _)| *kind == peer);
            found.map_or_else(String::new, |(_, ratio)| ratio.shown(2))
        }));
        rows.push(row);
    }
    if rows.len() == 1 { String::new() } else { table(&rows) }
}

fn bar_table(bar: &[Line]) -> String {
    let mut rows = vec![["", "leno", "bar", "aim", ""].map(str::to_owned).to_vec()];
    for line in bar {
        rows.push(vec![
            line.what.clone(),
            line.figure.clone(),
            line.bar.clone(),
            line.aim.clone(),
            line.verdict.text(),
        ]);
    }
    table(&rows)
}

/// Rows with columns as wide as their widest cell: the first to the left, figures to the right. A later column without a head
/// holds words, and stands as it is.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|it| it.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => line.push_str(&format!(" {cell:<width$}")),
                _ if rows[0].get(column).is_some_and(String::is_empty) => {
                    line.push_str(&format!("  {cell}"));
                }
                _ => line.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Everything as JSON, with each round.
pub(super) fn json(machine: &str, method: &str, outcomes: &[Outcome], bar: &[Line]) -> Value {
    let bar: Vec<Value> = bar
        .iter()
        .map(|line| {
            json!({
                "what": line.what,
                "figure": line.figure,
                "bar": line.bar,
                "aim": line.aim,
                "verdict": line.verdict.text(),
            })
        })
        .collect();
    let scenarios: Vec<Value> = outcomes.iter().map(outcome_json).collect();
    json!({ "machine": machine, "method": method, "scenarios": scenarios, "bar": bar })
}

fn outcome_json(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Rounds(scenario, series) => {
            let proxies: Vec<Value> = series.iter().map(|it| series_json(it, series)).collect();
            json!({ "name": scenario.name(), "title": scenario.title(), "proxies": proxies })
        }
        Outcome::Idle(idle) => {
            let proxy = |it: &Idle| {
                json!({
                    "name": it.name,
                    "connections": it.connections,
                    "before_kib": it.before_kib,
                    "after_kib": it.after_kib,
                })
            };
            json!({ "name": "idle-100k", "proxies": idle.iter().map(proxy).collect::<Vec<_>>() })
        }
        Outcome::Reloads(reloads) => {
            let proxy = |it: &Reloads| {
                json!({
                    "name": it.name,
                    "reloads": it.reloads,
                    "requests": it.load.requests,
                    "failures": it.load.failures,
                    "p99_us": it.load.p99_us,
                    "before_kib": it.before_kib,
                    "early_kib": it.early_kib,
                    "after_kib": it.after_kib,
                })
            };
            json!({ "name": "reloads", "proxies": reloads.iter().map(proxy).collect::<Vec<_>>() })
        }
    }
}

fn series_json(series: &Series, all: &[Series]) -> Value {
    let envoy = all.iter().find(|it| it.kind == Kind::Envoy && it.workers == series.workers);
    let round = |it: &Round| {
        json!({
            "requests": it.load.requests,
            "seconds": it.load.seconds,
            "cpu_us_per_request": it.cpu_us_per_request,
            "busy": it.busy,
            "p50_us": it.load.p50_us,
            "p99_us": it.load.p99_us,
            "loaded_kib": it.loaded_kib,
        })
    };
    json!({
        "name": series.name,
        "workers": series.workers,
        "idle_kib": series.idle_kib,
        "cpu_us_per_request": spread(series, cpu).json(),
        "ratio_to_envoy": envoy.map(|envoy| ratio(series, envoy, cpu).json()),
        "requests_per_second": spread(series, rate).json(),
        "p50_us": spread(series, |it| it.load.p50_us).json(),
        "p99_us": spread(series, |it| it.load.p99_us).json(),
        "rounds": series.rounds.iter().map(round).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_median_and_both_ends() {
        let odd = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(Vec::new()).median, 0.0);
        assert_eq!(odd.shown(1), "2.0 (1.0–3.0)");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["", "µs"], vec!["envoy", "90.1"], vec!["leno", "9"]];
        let rows = rows.map(|row| row.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(table(&rows), "           µs\n  envoy  90.1\n  leno      9\n");
        let rows =
            [vec!["", "µs", ""], vec!["envoy", "9", "far too much"], vec!["leno", "1", "met"]];
        let rows = rows.map(|row| row.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(table(&rows), "         µs\n  envoy   9  far too much\n  leno    1  met\n");
    }
}
