use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::evidence::tests::{SOUND, Service, serve};

const SECOND: u64 = 1000;
const TICK_MS: u64 = 250;

/// Requests of a host as they come, path by path: requests/s, share that is refused, and how it serves.
#[derive(Clone, Copy)]
struct Path {
    rate: f64,
    refused: f64,
    service: Service,
}

const CALM: Path = Path { rate: 50.0, refused: 0.0, service: SOUND };

/// A host whose paths are each in a class of their own: the host, its classes, and requests for no known host.
fn scopes(paths: &[Path], ms: u64, unknown: f64, rng: &mut SmallRng) -> Vec<ScopeCounts> {
    let seconds = ms as f64 / 1000.0;
    let mut host = ScopeCounts::default();
    let mut classes = Vec::new();
    for path in paths {
        let mut class = ScopeCounts::default();
        serve(&mut class.answers, path.rate * seconds, path.service, rng);
        let mut refused = Counts::default();
        let sort = Service { failing: path.refused, median_ms: 1.0 };
        let good = class.answers.requests - class.answers.failures;
        while refused.requests < good {
            serve(&mut refused, 1.0, sort, rng);
        }
        class.refusals = refused.failures.min(good);
        host.add(&class);
        // As the proxies count: latency of the host only.
        class.answers.latency = Counts::default().latency;
        class.answers.latency_sum_us = 0;
        classes.push(class);
    }
    let mut none = Counts::default();
    serve(&mut none, unknown * seconds, SOUND, rng);
    let requests = host.answers.requests + none.requests;
    let answers = Counts { requests, failures: none.requests, ..Counts::default() };
    let mut all = vec![host];
    all.extend(classes);
    all.push(ScopeCounts { answers, refusals: 0 });
    all
}

/// A minute before and up to a minute after: the verdict, and the seconds after which it came.
fn run(
    before: impl Fn(u64) -> Vec<Path>,
    after: impl Fn(u64) -> Vec<Path>,
    (unknown, unknown_after): (f64, f64),
    seed: u64,
) -> (GuardVerdict, f64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let slices: Vec<_> =
        (0..12).map(|it| scopes(&before(5 * it), 5 * SECOND, unknown, &mut rng)).collect();
    let count = slices[0].len();
    let watched = (0..count).map(|nth| Watched {
        name: format!("scope {nth}"),
        is_whole: nth == 0,
        before: slices.iter().map(|it| it[nth]).collect(),
    });
    let mut now = Timestamp(1_000_000);
    let mut guard = Guard::new(watched.collect(), 60 * SECOND, 60 * SECOND, now);
    let mut counted = slices[0].clone();
    guard.observe(&[("one".to_owned(), counted.clone())], now);
    for tick in 0..60 * SECOND / TICK_MS {
        assert!(matches!(guard.verdict(), GuardVerdict::Watching { .. }), "seed {seed}");
        now = Timestamp(now.0 + TICK_MS);
        let came = scopes(&after(tick * TICK_MS / SECOND), TICK_MS, unknown_after, &mut rng);
        counted.iter_mut().zip(&came).for_each(|(all, more)| all.add(more));
        guard.observe(&[("one".to_owned(), counted.clone())], now);
        if tick % 40 == 7 {
            // It goes on where it was after it was written and read, but for where counting starts.
            let text = serde_json::to_string(&guard).unwrap();
            guard = serde_json::from_str(&text).unwrap();
            guard.observe(&[("one".to_owned(), counted.clone())], now);
        }
        if let verdict @ GuardVerdict::Regression(_) = guard.verdict() {
            return (verdict, (tick + 1) as f64 * TICK_MS as f64 / SECOND as f64);
        }
    }
    (guard.verdict(), f64::INFINITY)
}

fn regressions(runs: u64, run: impl Fn(u64) -> (GuardVerdict, f64)) -> Vec<(u64, String, f64)> {
    let found = (0..runs).filter_map(|seed| match run(seed) {
        (GuardVerdict::Regression(breach), after) => Some((seed, breach.to_string(), after)),
        _ => None,
    });
    found.collect()
}

/// 200 requests/s on five paths, one of which has a tenth of them.
fn shop(tenth: Path) -> Vec<Path> {
    let rest = Path { rate: 45.0, refused: 0.01, ..CALM };
    vec![rest, rest, rest, rest, Path { rate: 20.0, ..tenth }]
}

const HEALTHY: Path = Path { refused: 0.01, ..CALM };
const FAILING: Path = Path { service: Service { failing: 1.0, ..SOUND }, ..HEALTHY };
const REFUSING: Path = Path { refused: 1.0, ..HEALTHY };

#[test]
fn a_change_that_changes_nothing_is_fine() {
    let same = |seed| run(|_| shop(HEALTHY), |_| shop(HEALTHY), (1.0, 1.0), seed);
    let found = regressions(200, same);
    println!("A/A: {} of 200 taken back: {found:?}", found.len());
    assert!(found.len() <= 2, "{found:?}");
    assert!(matches!(same(1).0, GuardVerdict::Fine { .. }));
}

#[test]
fn a_path_with_a_tenth_of_the_requests_that_breaks_is_always_found() {
    for (what, broken) in [("fails", FAILING), ("refuses", REFUSING)] {
        let found =
            regressions(200, |seed| run(|_| shop(HEALTHY), |_| shop(broken), (1.0, 1.0), seed));
        let worst = found.iter().map(|it| it.2).fold(0.0, f64::max);
        println!("{what}: {} of 200, the last after {worst} s", found.len());
        assert_eq!(found.len(), 200, "{what}");
        assert!(worst <= 15.0, "{what}: {worst} s");
    }
}

#[test]
fn a_path_with_a_hundredth_of_the_requests_that_breaks_is_found_by_its_class() {
    // Of all requests of the host 1 % fail, which no test of the whole host would find in time.
    let rare = |path: Path| {
        let mut paths = shop(HEALTHY);
        paths.push(Path { rate: 2.0, ..path });
        paths
    };
    let found =
        regressions(200, |seed| run(|_| rare(HEALTHY), |_| rare(FAILING), (1.0, 1.0), seed));
    let late = found.iter().filter(|it| it.2 > 15.0).count();
    println!("a hundredth: {} of 200, {late} after 15 s", found.len());
    assert!(found.len() == 200 && late == 0, "{}, {late}", found.len());
    assert!(found.iter().all(|it| it.1.contains("scope 6: ")), "{found:?}");
}

#[test]
fn a_host_that_is_dropped_shows_among_the_requests_for_no_known_host() {
    let found = regressions(50, |seed| {
        run(
            |_| shop(HEALTHY),
            |_| {
                shop(HEALTHY)[..4]
                    .to_vec()
                    .into_iter()
                    .chain([Path { rate: 0.0, ..CALM }])
                    .collect()
            },
            (1.0, 21.0),
            seed,
        )
    });
    assert_eq!(found.len(), 50);
    assert!(found.iter().all(|it| it.1.contains("more requests fail at scope 6")), "{found:?}");
}

#[test]
fn one_that_is_four_times_slower_is_found() {
    let slow = Path { service: Service { median_ms: 80.0, ..SOUND }, ..CALM };
    let found = regressions(50, |seed| run(|_| vec![CALM], |_| vec![slow], (0.0, 0.0), seed));
    assert_eq!(found.len(), 50);
    assert!(found[0].1.starts_with("requests take longer at scope 0: p50 "), "{found:?}");
    let busier = Path { service: Service { median_ms: 26.0, ..SOUND }, ..CALM };
    let found = regressions(50, |seed| run(|_| vec![CALM], |_| vec![busier], (0.0, 0.0), seed));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_baseline_that_drifts_widens_what_is_tolerated() {
    // Every ten seconds another rate, before as after.
    let drifting = |second: u64| {
        let failing = [0.001, 0.03, 0.002][(second / 10 % 3) as usize];
        let median_ms = [20.0, 32.0, 24.0][(second / 10 % 3) as usize];
        vec![Path { service: Service { failing, median_ms }, ..CALM }]
    };
    let found = regressions(100, |seed| run(drifting, drifting, (0.0, 0.0), seed));
    assert!(found.len() <= 2, "{found:?}");
    let broken = Path { service: Service { failing: 0.5, ..SOUND }, ..CALM };
    let found = regressions(100, |seed| run(drifting, |_| vec![broken], (0.0, 0.0), seed));
    assert_eq!(found.len(), 100);
}

#[test]
fn requests_that_no_longer_come_are_a_regression_if_they_always_came() {
    let none = |_| vec![Path { rate: 0.0, ..CALM }];
    let (verdict, after) = run(|_| vec![CALM], none, (0.0, 0.0), 1);
    let GuardVerdict::Regression(breach) = verdict else { panic!("{verdict:?}") };
    assert_eq!((breach.by, after), (Regression::Vanished, 5.0));
    let (verdict, _) = run(|_| vec![Path { rate: 0.2, ..CALM }], none, (0.0, 0.0), 1);
    assert_eq!(verdict, GuardVerdict::Undecided { requests: 0 });
}

#[test]
fn a_scope_without_a_past_is_bad_when_nearly_all_fails_or_is_refused() {
    let fresh = |path: Path, seed| {
        let mut rng = SmallRng::seed_from_u64(seed);
        let now = Timestamp(1);
        let watched = Watched { name: "new".to_owned(), is_whole: true, before: Vec::new() };
        let mut guard = Guard::new(vec![watched], 0, 60 * SECOND, now);
        let mut counted = ScopeCounts::default();
        for tick in 0..61 {
            guard.observe(&[("one".to_owned(), vec![counted])], Timestamp(1 + tick * SECOND));
            counted.add(&scopes(&[path], SECOND, 0.0, &mut rng)[0]);
        }
        guard.verdict()
    };
    for seed in 0..20 {
        let bad = |path| matches!(fresh(path, seed), GuardVerdict::Regression(_));
        assert!(bad(FAILING) && bad(REFUSING), "{seed}");
        assert!(!bad(CALM) && !bad(Path { refused: 0.3, ..CALM }), "{seed}");
    }
}
