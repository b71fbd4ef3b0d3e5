//! False alarms, misses and times to a verdict, measured over seeded runs. A failure names its seed.

use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::bet::{Line, Old, Tally, log_factor};
use super::*;

const TICK_MS: u64 = 250;

/// A service as its requests see it: share of failures, median latency in milliseconds (log-normal, sigma 0.5).
#[derive(Clone, Copy)]
pub(crate) struct Service {
    pub(crate) failing: f64,
    pub(crate) median_ms: f64,
}

pub(crate) const SOUND: Service = Service { failing: 0.001, median_ms: 20.0 };

/// Adds about `mean` requests (Poisson) to `counts`.
pub(crate) fn serve(counts: &mut Counts, mean: f64, service: Service, rng: &mut SmallRng) {
    let mut at = 0.0;
    loop {
        at -= (1.0 - rng.random::<f64>()).ln();
        if at >= mean {
            return;
        }
        // Sum of twelve uniforms: close to normal, and exact enough for latencies.
        let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let ms = service.median_ms * (0.5 * normal).exp();
        counts.record(rng.random_bool(service.failing), Duration::from_secs_f64(ms / 1000.0));
    }
}

/// 200 requests/s of which `weight` go to `new`: seconds to the verdict, if there was one within `seconds`.
fn run(new: Service, old: Service, weight: f64, seconds: u64, seed: u64) -> (Verdict, f64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut evidence = Evidence::new(Settings::default(), Counts::default());
    let mut report = Report { proxy: "one".into(), ..Report::default() };
    serve(&mut report.old, 2000.0, old, &mut rng);
    evidence.observe(std::slice::from_ref(&report));
    let per_tick = 200.0 * TICK_MS as f64 / 1000.0;
    for tick in 1..=seconds * 1000 / TICK_MS {
        serve(&mut report.old, per_tick * (1.0 - weight), old, &mut rng);
        serve(&mut report.new, per_tick * weight, new, &mut rng);
        evidence.observe(std::slice::from_ref(&report));
        let verdict = evidence.verdict();
        if matches!(verdict, Verdict::Worse { .. }) {
            return (verdict, (tick * TICK_MS) as f64 / 1000.0);
        }
    }
    (evidence.verdict(), f64::INFINITY)
}

fn is_worse(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Worse { .. })
}

#[test]
fn one_that_is_the_same_is_called_as_good_and_rarely_worse() {
    let mut worse = Vec::new();
    for seed in 0..200 {
        let (verdict, _) = run(SOUND, SOUND, 0.1, 60, seed);
        match verdict {
            Verdict::Worse { by, figures } => worse.push((seed, by, figures.to_string())),
            Verdict::AsGood { .. } => {}
            Verdict::Undecided { .. } => panic!("seed {seed}: a minute, and no verdict"),
        }
    }
    println!("A/A: {} of 200 called worse: {worse:?}", worse.len());
    assert!(worse.len() <= 2, "{worse:?}");
}

#[test]
fn two_percent_of_failures_are_not_missed() {
    let failing = Service { failing: 0.021, ..SOUND };
    let times: Vec<f64> = (0..200).map(|seed| run(failing, SOUND, 0.1, 90, seed).1).collect();
    let missed = times.iter().filter(|it| it.is_infinite()).count();
    println!("2 %: {missed} of 200 missed in 90 s, median {:.1} s", quantile(times, 0.5));
    assert!(missed <= 4, "{missed}");
}

#[test]
fn five_percent_of_failures_are_found_within_ten_seconds() {
    let failing = Service { failing: 0.05, ..SOUND };
    let flawless = Service { failing: 0.0, ..SOUND };
    for (old, weight, late_max) in [(flawless, 0.1, 8), (SOUND, 0.1, 14), (SOUND, 0.2, 2)] {
        let times: Vec<f64> = (0..400).map(|seed| run(failing, old, weight, 30, seed).1).collect();
        let late = times.iter().filter(|it| **it > 10.0).count();
        println!(
            "5 % against {} at weight {weight}: median {:.1} s, p99 {:.1} s, {late} of 400 after 10 s",
            old.failing,
            quantile(times.clone(), 0.5),
            quantile(times, 0.99)
        );
        assert!(late <= late_max, "{late}");
    }
}

#[test]
fn one_that_is_three_times_slower_is_found_within_ten_seconds() {
    for median_ms in [1.2, 4.0, 8.0, 20.0, 26.0, 300.0] {
        let old = Service { median_ms, ..SOUND };
        let slow = Service { median_ms: 3.0 * median_ms, ..SOUND };
        let times: Vec<f64> = (0..50).map(|seed| run(slow, old, 0.1, 30, seed).1).collect();
        let worst = quantile(times.clone(), 1.0);
        println!("3x of {median_ms} ms: median {:.1} s, worst {worst} s", quantile(times, 0.5));
        assert!(worst <= 10.0, "{median_ms} ms: {worst} s");
    }
}

#[test]
fn one_that_is_half_as_slow_again_is_found_within_half_a_minute() {
    for median_ms in [4.0, 7.0, 13.0, 20.0, 60.0, 130.0] {
        let old = Service { median_ms, ..SOUND };
        let slow = Service { median_ms: 1.5 * median_ms, ..SOUND };
        let times: Vec<f64> = (0..50).map(|seed| run(slow, old, 0.1, 60, seed).1).collect();
        let late = times.iter().filter(|it| **it > 30.0).count();
        let median = quantile(times, 0.5);
        println!("1.5x of {median_ms} ms: median {median:.1} s, {late} of 50 after 30 s");
        assert!(late <= 3, "{median_ms} ms: {late} of 50");
    }
}

#[test]
fn a_shift_within_the_tolerated_ratio_is_none() {
    // The old median lies just below a bound, the new one just above.
    for (old_ms, new_ms) in [(4.9, 5.3), (20.0, 22.0), (24.0, 27.0)] {
        let old = Service { median_ms: old_ms, ..SOUND };
        let new = Service { median_ms: new_ms, ..SOUND };
        let worse = (0..50).filter(|seed| is_worse(&run(new, old, 0.25, 40, *seed).0)).count();
        assert!(worse <= 1, "{old_ms} -> {new_ms} ms: {worse} of 50");
    }
}

#[test]
fn an_outage_of_both_sides_speaks_against_neither_and_hides_nothing() {
    let mut missed = 0;
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut evidence = Evidence::new(Settings::default(), Counts::default());
        let mut tick = |failing: f64, new_failing: f64| {
            let (mut old, mut new) = (Counts::default(), Counts::default());
            serve(&mut old, 45.0, Service { failing, ..SOUND }, &mut rng);
            serve(&mut new, 5.0, Service { failing: new_failing, ..SOUND }, &mut rng);
            evidence.observe_tick(&old, &new);
            is_worse(&evidence.verdict())
        };
        let outage = (0..120).map(|it| if (20..60).contains(&it) { 0.6 } else { 0.002 });
        assert!(!outage.into_iter().any(|failing| tick(failing, failing)), "seed {seed}");
        missed += u32::from(!(0..240).any(|_| tick(0.002, 0.08)));
    }
    assert!(missed <= 1, "{missed} of 40");
}

#[test]
fn an_old_side_without_requests_is_remembered() {
    let later = |history: Option<Service>, new: Service, seed| {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut before = Counts::default();
        if let Some(service) = history {
            serve(&mut before, 3000.0, service, &mut rng);
        }
        let mut evidence = Evidence::new(Settings::default(), before);
        for _ in 0..120 {
            let mut news = Counts::default();
            serve(&mut news, 10.0, new, &mut rng);
            evidence.observe_tick(&Counts::default(), &news);
        }
        evidence.verdict()
    };
    let flaky = Service { failing: 0.05, ..SOUND };
    for seed in 0..20 {
        assert!(matches!(later(Some(SOUND), SOUND, seed), Verdict::AsGood { .. }), "{seed}");
        assert!(is_worse(&later(Some(SOUND), flaky, seed)), "{seed}");
        assert!(!is_worse(&later(Some(flaky), flaky, seed)), "{seed}");
        assert!(is_worse(&later(None, flaky, seed)), "{seed}");
        assert!(!is_worse(&later(None, SOUND, seed)), "{seed}");
        let slow = Service { median_ms: 60.0, ..SOUND };
        assert!(is_worse(&later(Some(SOUND), slow, seed)), "{seed}");
    }
}

#[test]
fn lost_reports_and_counters_that_start_anew_do_no_harm() {
    for seed in 0..50 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut evidence = Evidence::new(Settings::default(), Counts::default());
        let mut reports = ["one", "two"].map(|it| Report { proxy: it.into(), ..Report::default() });
        let mut served = 0;
        for tick in 0..200 {
            for report in &mut reports {
                let before = report.new.requests;
                serve(&mut report.old, 22.5, SOUND, &mut rng);
                serve(&mut report.new, 2.5, SOUND, &mut rng);
                served += report.new.requests - before;
                if rng.random_bool(0.3) || tick == 199 {
                    evidence.observe(std::slice::from_ref(report));
                }
                if rng.random_bool(0.02) {
                    *report = Report { proxy: report.proxy.clone(), ..Report::default() };
                }
            }
        }
        assert!(!is_worse(&evidence.verdict()), "seed {seed}");
        let counted = evidence.figures().new.requests;
        assert!(counted <= served && counted * 10 > served * 7, "{counted} of {served}, {seed}");
    }
}

#[test]
fn it_goes_on_as_before_after_it_was_written_and_read() {
    for failing in [0.001, 0.02, 0.5] {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut kept = Evidence::new(Settings::default(), Counts::default());
        let mut reloaded = kept.clone();
        for _ in 0..200 {
            let (mut old, mut new) = (Counts::default(), Counts::default());
            serve(&mut old, 20.0, SOUND, &mut rng);
            serve(&mut new, 20.0, Service { failing, median_ms: 30.0 }, &mut rng);
            kept.observe_tick(&old, &new);
            let text = serde_json::to_string(&reloaded).unwrap();
            reloaded = serde_json::from_str(&text).unwrap();
            reloaded.observe_tick(&old, &new);
            assert_eq!(reloaded.figures().to_string(), kept.figures().to_string());
            let kind = |it: &Evidence| std::mem::discriminant(&it.verdict());
            assert_eq!(kind(&reloaded), kind(&kept));
            // Numbers in JSON may lose their last digit.
            let (kept, reloaded) = (kept.failures.odds(), reloaded.failures.odds());
            assert!((kept - reloaded).abs() <= kept * 1e-9);
        }
    }
}

fn quantile(mut times: Vec<f64>, quantile: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * quantile) as usize]
}

/// Chance of `hits` of `trials` at `rate`.
fn binomial(trials: u64, hits: u64, rate: f64) -> f64 {
    let ways: f64 = (0..hits).map(|it| (trials - it) as f64 / (it + 1) as f64).product();
    ways * rate.powi(hits as i32) * (1.0 - rate).powi((trials - hits) as i32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The mean of a bet's factor over all outcomes, at any point of the claim, is at most 1: the whole guarantee.
    #[test]
    fn no_bet_gains_on_the_mean_while_the_claim_is_true(
        old_n in 1..25u64, new_n in 1..25u64, ratio in 1.0..1.5f64, slack in 0.001..0.2f64,
        old_rate in 0.001..0.5f64, lift in 0.01..0.9f64, true_old in 0.0..0.6f64, below in 0.0..1.0f64,
        upward: bool,
    ) {
        let line = Line { ratio, slack };
        let limit = line.at(old_rate).min(0.98);
        // Against "not worse" one bets above the line, against "worse" below it.
        let new_rate = if upward { limit + (1.0 - limit) * lift } else { limit * (1.0 - lift) };
        let border = line.at(true_old).min(1.0);
        let true_new = if upward { border * below } else { border + (1.0 - border) * below };
        let mut mean = 0.0;
        for old_hits in 0..=old_n {
            for new_hits in 0..=new_n {
                let old = Tally { trials: old_n, hits: old_hits };
                let new = Tally { trials: new_n, hits: new_hits };
                let factor = log_factor(line, Old::Live(old), new, old_rate, new_rate).exp();
                mean += factor * binomial(old_n, old_hits, true_old) * binomial(new_n, new_hits, true_new);
            }
        }
        prop_assert!(mean <= 1.0 + 1e-6, "{mean}");
    }
}
