use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::evidence::tests::{SOUND, Service, serve};

const SECOND: u64 = 1000;

/// A minute before and up to a minute after, at `rate` requests/s: the verdict, and the second in which it came.
fn run(
    rate: f64,
    before: impl Fn(u64) -> Service,
    after: impl Fn(u64) -> Option<Service>,
    seed: u64,
) -> (GuardVerdict, u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let slices: Vec<Counts> = (0..60)
        .map(|second| {
            let mut slice = Counts::default();
            serve(&mut slice, rate, before(second), &mut rng);
            slice
        })
        .collect();
    let mut now = Timestamp(1_000_000);
    let mut guard = Guard::new(Settings::default(), &slices, 60 * SECOND, 60 * SECOND, now);
    let mut reports = [("one".to_owned(), slices[0])];
    guard.observe(&reports, now);
    for second in 0..60 {
        assert!(matches!(guard.verdict(), GuardVerdict::Watching { .. }), "seed {seed}");
        now = Timestamp(now.0 + SECOND);
        if let Some(service) = after(second) {
            serve(&mut reports[0].1, rate, service, &mut rng);
        }
        guard.observe(&reports, now);
        if let verdict @ GuardVerdict::Regression { .. } = guard.verdict() {
            return (verdict, second + 1);
        }
    }
    (guard.verdict(), 60)
}

fn regressions(run: impl Fn(u64) -> (GuardVerdict, u64)) -> usize {
    let is_regression = |it: &(GuardVerdict, u64)| matches!(it.0, GuardVerdict::Regression { .. });
    (0..100).map(run).filter(is_regression).count()
}

#[test]
fn a_change_that_changes_nothing_is_fine() {
    let same = |seed| run(50.0, |_| SOUND, |_| Some(SOUND), seed);
    assert!(regressions(same) <= 1);
    assert!(matches!(same(1).0, GuardVerdict::Fine { .. }));
}

#[test]
fn a_regression_is_found_within_the_window() {
    let failing = Service { failing: 0.05, ..SOUND };
    assert!(regressions(|seed| run(50.0, |_| SOUND, |_| Some(failing), seed)) >= 99);
    let slow = Service { median_ms: 60.0, ..SOUND };
    assert!(regressions(|seed| run(50.0, |_| SOUND, |_| Some(slow), seed)) >= 99);
    let broken = Service { failing: 1.0, ..SOUND };
    let (verdict, second) = run(50.0, |_| SOUND, |_| Some(broken), 1);
    assert!(matches!(verdict, GuardVerdict::Regression { by: Regression::Failures, .. }));
    assert_eq!(second, 1);
}

#[test]
fn a_baseline_that_drifts_widens_what_is_tolerated() {
    // Every ten seconds another rate, before as after.
    let drifting = |second: u64| Service {
        failing: [0.001, 0.03, 0.002][(second / 10 % 3) as usize],
        median_ms: [20.0, 32.0, 24.0][(second / 10 % 3) as usize],
    };
    let found = regressions(|seed| run(50.0, drifting, |it| Some(drifting(it)), seed));
    assert!(found <= 2, "{found}");
    let broken = Service { failing: 0.3, ..SOUND };
    assert!(regressions(|seed| run(50.0, drifting, |_| Some(broken), seed)) >= 99);
}

#[test]
fn requests_that_no_longer_come_are_a_regression_if_they_always_came() {
    let (verdict, second) = run(50.0, |_| SOUND, |_| None, 1);
    assert!(matches!(verdict, GuardVerdict::Regression { by: Regression::Vanished, .. }));
    assert_eq!(second, 5);
    let (verdict, _) = run(0.2, |_| SOUND, |_| None, 1);
    assert_eq!(verdict, GuardVerdict::Undecided { requests: 0 });
}
