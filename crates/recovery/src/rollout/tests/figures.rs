//! The figures that were asked for, in virtual time at 200 requests/s.

use super::world::{GOOD, Quality, Served, World};
use crate::evidence::Regression;
use crate::evidence::tests::{SOUND, Service};
use crate::rollout::*;

fn spec() -> Spec {
    let step = |weight_percent, duration_ms| Step { weight_percent, duration_ms };
    let steps = vec![step(10, 20_000), step(50, 10_000)];
    let strategy = Strategy::Canary { steps, keep_old_ms: 10_000 };
    Spec { replicas: 3, strategy, ..Spec::default() }
}

/// A canary of something like `service` to its end: outcome, seconds from its first request, and what was served until
/// then and in the minute around it.
fn canary(service: Service, spec: Spec, seed: u64) -> (Outcome, f64, Served) {
    let mut world = World::with_good(seed, spec.clone());
    world.run(250, 30_000);
    let id = world.release("v2", spec, Quality { service, ..GOOD });
    let serves = |it: &World| it.split.as_ref().is_some_and(|split| split.serves(id));
    world.run_until(250, 10_000, serves);
    let took_ms = world.run_until(250, 400_000, |it| it.workload.target().is_none());
    world.run(250, 30_000);
    (world.last_outcome().unwrap().clone(), took_ms as f64 / 1000.0, world.served)
}

/// Runs of which each must be rolled back `by`; at most `late_max` of them after ten seconds.
fn check_bad(what: &str, service: Service, spec: &Spec, by: Regression, late_max: usize) {
    let mut seconds = Vec::new();
    let mut share_max = 0.0f64;
    for seed in 0..60 {
        let (outcome, took, served) = canary(service, spec.clone(), seed);
        let is_right =
            matches!(&outcome, Outcome::RolledBack(Reason::Worse { by: it, .. }) if *it == by);
        assert!(is_right, "{what}, seed {seed}: {outcome:?}");
        if seed == 0 {
            let Outcome::RolledBack(reason) = outcome else { unreachable!() };
            println!("{what}: {reason}");
        }
        seconds.push(took);
        share_max = share_max.max(served.affected / served.requests);
    }
    seconds.sort_by(f64::total_cmp);
    let late = seconds.iter().filter(|it| **it > 10.0).count();
    println!(
        "{what}: rolled back after {:.1} s (median), {:.1} s (worst of 60); at most {:.2} % of all affected",
        seconds[30],
        seconds[59],
        share_max * 100.0
    );
    assert!(share_max < 0.005, "{what}: {share_max}");
    assert!(late <= late_max, "{what}: {late} of 60");
}

#[test]
fn a_canary_that_fails_five_percent_is_rolled_back_in_ten_seconds() {
    let failing = Service { failing: 0.05, ..SOUND };
    let by = Regression::Failures;
    check_bad("5 % failures, a tenth", failing, &spec(), by, 4);
    check_bad("5 % failures, defaults", failing, &Spec::default(), by, 0);
}

#[test]
fn a_canary_that_is_three_times_slower_is_rolled_back_in_ten_seconds() {
    let slow = Service { median_ms: 60.0, ..SOUND };
    check_bad("3x slower, a tenth", slow, &spec(), Regression::Latency, 0);
}

#[test]
fn of_two_hundred_equal_releases_at_most_two_are_rolled_back() {
    let bad = (0..200).filter(|seed| canary(SOUND, spec(), *seed).0 != Outcome::Promoted).count();
    println!("A/A rollouts: {bad} of 200 rolled back");
    assert!(bad <= 2, "{bad}");
}

#[test]
fn of_two_hundred_releases_with_two_percent_of_failures_at_most_four_are_promoted() {
    let failing = Service { failing: 0.021, ..SOUND };
    let is_missed = |seed: &u64| canary(failing, spec(), *seed).0 == Outcome::Promoted;
    let missed = (0..200).filter(is_missed).count();
    println!("2 % failures: {missed} of 200 promoted");
    assert!(missed <= 4, "{missed}");
}
