use super::*;
use crate::bench::data_plane::load::Load;
use crate::bench::data_plane::measure::Round;

fn series(kind: Kind, workers: u16, cpu_us: &[f64], loaded_kib: u64) -> Series {
    let round = |cpu_us: &f64| Round {
        load: Load {
            requests: 1000,
            seconds: *cpu_us / 100.0,
            p50_us: 10.0 * cpu_us,
            p99_us: 20.0 * cpu_us,
            failures: 0,
        },
        cpu_us_per_request: *cpu_us,
        busy: 1.0,
        loaded_kib,
    };
    let rounds = cpu_us.iter().map(round).collect();
    Series { name: kind.name().to_owned(), kind, workers, idle_kib: 4000, rounds }
}

fn verdicts(outcome: Outcome) -> Vec<(String, Verdict)> {
    judge(&[outcome]).into_iter().map(|line| (line.figure, line.verdict)).collect()
}

#[test]
fn a_ratio_is_the_median_over_rounds_and_not_of_single_figures() {
    let leno = series(Kind::Leno, 1, &[20.0, 40.0, 22.0], 9 * 1024);
    let envoy = series(Kind::Envoy, 1, &[100.0, 200.0, 100.0], 66 * 1024);
    let judged = verdicts(Outcome::Rounds(Scenario::H1Get, vec![leno, envoy]));
    let expected = [("0.20 (0.20–0.22)", Verdict::Met), ("9.0 MiB", Verdict::Met)];
    assert_eq!(judged, expected.map(|(figure, verdict)| (figure.to_owned(), verdict)));
}

#[test]
fn a_bar_that_is_missed_says_so() {
    let leno = series(Kind::Leno, 1, &[31.0], 15 * 1024);
    let envoy = series(Kind::Envoy, 1, &[100.0], 66 * 1024);
    let judged = verdicts(Outcome::Rounds(Scenario::H1Post16k, vec![leno, envoy]));
    assert!(judged.iter().all(|(_, verdict)| *verdict == Verdict::Missed), "{judged:?}");
}

#[test]
fn without_leno_nothing_is_judged() {
    let envoy = series(Kind::Envoy, 1, &[100.0], 66 * 1024);
    assert_eq!(verdicts(Outcome::Rounds(Scenario::H1Get, vec![envoy])), []);
}

#[test]
fn p99_at_a_fixed_rate_is_held_against_haproxy() {
    let leno = series(Kind::Leno, 1, &[21.0], 1024);
    let haproxy = series(Kind::Haproxy, 1, &[20.0], 1024);
    let judged = verdicts(Outcome::Rounds(Scenario::FixedRate, vec![leno, haproxy]));
    assert_eq!(judged[0], ("1.05 (1.05–1.05)".to_owned(), Verdict::Missed));
}

#[test]
fn fewer_idle_connections_than_wanted_are_no_proof() {
    let idle = |connections| Idle {
        name: "leno".to_owned(),
        kind: Kind::Leno,
        connections,
        wanted: 100_000,
        before_kib: 4000,
        after_kib: 4000 + 10 * connections,
    };
    let judged = verdicts(Outcome::Idle(vec![idle(100_000)]));
    assert_eq!(judged, [("1.028 GB".to_owned(), Verdict::Met)]);
    let judged = verdicts(Outcome::Idle(vec![idle(9_750)]));
    let why = "the limit of open files allows 9750 connections; 10.0 KiB each would make 1.03 GB";
    assert_eq!(judged[0].1, Verdict::NotJudged(why.to_owned()));
}

#[test]
fn a_failed_request_or_growing_memory_misses_the_bar_of_reloads() {
    let reloads = |failures, after_kib| {
        let load = Load { requests: 50_000, seconds: 5.0, p50_us: 300.0, p99_us: 900.0, failures };
        let figure = Reloads {
            name: "leno".to_owned(),
            kind: Kind::Leno,
            reloads: 1000,
            load,
            before_kib: 8000,
            early_kib: 9000,
            after_kib,
        };
        verdicts(Outcome::Reloads(vec![figure])).remove(0).1
    };
    assert_eq!(reloads(0, 10_000), Verdict::Met);
    assert_eq!(reloads(1, 9_000), Verdict::Missed);
    assert_eq!(reloads(0, 20_000), Verdict::Missed);
}
