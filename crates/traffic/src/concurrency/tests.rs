use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use proxy_config::AdaptiveConcurrency;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{ConcurrencyLimiter, ConcurrencyPermit, next_limit};
use crate::testing::{race, seeded};

const MS_NS: u64 = 1_000_000;

type Permit = ConcurrencyPermit<Arc<ConcurrencyLimiter>>;

fn settings() -> AdaptiveConcurrency {
    AdaptiveConcurrency {
        sample_percentile: 50,
        update_interval: Duration::from_millis(100),
        concurrency_max: 1000,
        min_rtt_interval: Duration::from_mins(1),
        min_rtt_requests: 50,
        min_rtt_jitter_percent: 0,
        concurrency_min: 3,
        buffer_percent: 25,
        status: 503,
    }
}

/// A limiter with its time and chance.
struct Scene {
    limiter: Arc<ConcurrencyLimiter>,
    now_ns: u64,
    rng: StdRng,
}

impl Scene {
    fn new(settings: AdaptiveConcurrency) -> Self {
        let limiter = Arc::new(ConcurrencyLimiter::new(settings, 0));
        Self { limiter, now_ns: 0, rng: StdRng::seed_from_u64(1) }
    }

    /// With 10 ms as the least latency.
    fn measured(settings: AdaptiveConcurrency) -> Self {
        let mut scene = Self::new(settings);
        scene.requests(50, 10);
        scene
    }

    fn begin(&mut self) -> Option<Permit> {
        Permit::try_new(Arc::clone(&self.limiter), self.now_ns).ok()
    }

    /// One after the other.
    fn requests(&mut self, count: usize, latency_ms: u64) {
        for _ in 0..count {
            let permit = self.begin().unwrap();
            self.now_ns += latency_ms * MS_NS;
            permit.finish(self.now_ns, &mut self.rng);
        }
    }

    /// As many as `count` at once, and then the next update.
    fn window(&mut self, count: usize, latency_ms: u64) -> u32 {
        let permits: Vec<_> = (0..count).filter_map(|_| self.begin()).collect();
        self.now_ns += latency_ms * MS_NS;
        for permit in permits {
            permit.finish(self.now_ns, &mut self.rng);
        }
        self.now_ns += 100 * MS_NS;
        drop(self.begin());
        self.limiter.level().limit
    }
}

#[test]
fn limits_follow_the_gradient() {
    for (limit, min_rtt_us, sample_rtt_us, expected) in [
        (100, 10_000, 12_500, 110), // gradient 1: the limit and its root
        (100, 10_000, 10_000, 136), // (10 + 25 %) / 10 = 1.25: 125 + √125
        (100, 10_000, 1_000, 214),  // at most 2: 200 + √200
        (100, 10_000, 100_000, 57), // at least 0.5: 50 + √50
        (900, 10_000, 1_000, 1000), // the highest
        (3, 10_000, 100_000, 3),    // the lowest
        (100, 10_000, 0, 214),
    ] {
        let got = next_limit(&settings(), limit, min_rtt_us, sample_rtt_us);
        assert_eq!(got, expected, "{limit} {min_rtt_us} {sample_rtt_us}");
    }
}

#[test]
fn it_begins_with_measuring_the_least_latency_at_the_lowest_limit() {
    let mut scene = Scene::new(settings());
    let held: Vec<_> = (0..3).map(|_| scene.begin().unwrap()).collect();
    assert!(scene.begin().is_none());
    assert_eq!(scene.limiter.level().blocked, 1);
    drop(held);
    scene.requests(49, 10);
    assert!(scene.limiter.level().measuring);
    scene.requests(1, 10);
    let level = scene.limiter.level();
    assert!(!level.measuring);
    assert!(level.min_rtt_us.abs_diff(10_000) < 160, "{level:?}");
    assert_eq!((level.limit, level.under_way), (3, 0));
}

#[test]
fn a_limit_grows_while_latency_is_low_and_shrinks_when_it_rises() {
    let mut scene = Scene::measured(settings());
    let mut limits = vec![3];
    for _ in 0..20 {
        limits.push(scene.window(20, 10));
    }
    assert!(limits.windows(2).all(|it| it[0] < it[1] || it[1] == 1000), "{limits:?}");
    assert_eq!(limits[20], 1000);
    let limit = scene.window(20, 50);
    // Half, and the root of it.
    assert_eq!(limit, 522);
}

#[test]
fn a_request_that_was_broken_off_says_nothing_and_a_window_without_samples_neither() {
    let mut scene = Scene::measured(settings());
    scene.window(3, 10);
    let before = scene.limiter.level();
    for _ in 0..5 {
        drop(scene.begin());
        scene.now_ns += 200 * MS_NS;
    }
    let after = scene.limiter.level();
    assert_eq!((after.limit, after.under_way), (before.limit, 0));
}

#[test]
fn the_least_latency_is_measured_again_and_the_limit_comes_back() {
    let mut scene = Scene::measured(settings());
    for _ in 0..5 {
        scene.window(20, 10);
    }
    let limit = scene.limiter.level().limit;
    let early = scene.begin().unwrap();
    scene.now_ns += 60_000 * MS_NS;
    drop(scene.begin());
    let level = scene.limiter.level();
    assert!(level.measuring);
    assert_eq!(level.limit, 3);
    // One that began before says nothing about the time with a low limit.
    early.finish(scene.now_ns, &mut scene.rng);
    scene.requests(49, 20);
    assert!(scene.limiter.level().measuring);
    scene.requests(1, 20);
    let level = scene.limiter.level();
    // The window that was open when it began counted once more.
    assert!(level.limit >= limit, "{level:?}");
    assert!(level.min_rtt_us.abs_diff(20_000) < 320, "{level:?}");
}

#[test]
fn five_updates_in_a_row_at_the_lowest_limit_doubt_the_least_latency() {
    let mut scene = Scene::measured(settings());
    for window in 1..=4 {
        assert_eq!(scene.window(3, 50), 3);
        assert!(!scene.limiter.level().measuring, "after {window}");
    }
    scene.window(3, 50);
    assert!(scene.limiter.level().measuring);
    scene.requests(50, 100);
    assert!(scene.limiter.level().min_rtt_us.abs_diff(100_000) < 1600);
}

#[test]
fn jitter_puts_the_measurements_of_proxies_apart() {
    let at = |seed| {
        let jittered = AdaptiveConcurrency { min_rtt_jitter_percent: 15, ..settings() };
        let mut scene = Scene::new(jittered);
        scene.rng = StdRng::seed_from_u64(seed);
        scene.requests(50, 10);
        scene.limiter.next_measuring_ns.load(SeqCst) - scene.now_ns
    };
    let waits: Vec<_> = (0..10).map(at).collect();
    let range = 60_000 * MS_NS..69_000 * MS_NS;
    assert!(waits.iter().all(|it| range.contains(it)), "{waits:?}");
    assert!(waits.iter().any(|it| it.abs_diff(waits[0]) > 1000 * MS_NS));
}

/// An endpoint that does ten requests at once in 10 ms each and queues the rest: the limit comes to
/// rest near what it can bear, not at the highest.
#[test]
fn a_limit_comes_to_rest_near_what_an_endpoint_can_bear() {
    const SERVERS: u64 = 10;
    let mut scene = Scene::measured(settings());
    let mut limits = Vec::new();
    for _ in 0..200 {
        let count = (0..500).map_while(|_| scene.begin()).collect::<Vec<_>>();
        let began_ns = scene.now_ns;
        for (position, permit) in count.into_iter().enumerate() {
            let rounds = position as u64 / SERVERS + 1;
            let noise_ns = scene.rng.random_range(0..MS_NS);
            permit.finish(began_ns + rounds * 10 * MS_NS + noise_ns, &mut scene.rng);
        }
        scene.now_ns = began_ns + 100 * MS_NS;
        drop(scene.begin());
        let level = scene.limiter.level();
        if !level.measuring {
            limits.push(level.limit);
        }
    }
    let settled = &limits[limits.len() / 2..];
    assert!(settled.iter().all(|it| (10..60).contains(it)), "{settled:?}");
}

#[test]
fn workers_together_never_pass_the_limit() {
    let one = AdaptiveConcurrency { min_rtt_requests: u32::MAX, concurrency_min: 1, ..settings() };
    let limiter = ConcurrencyLimiter::new(one, 0);
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    race(50_000, |_, round| {
        if let Ok(permit) = ConcurrencyPermit::try_new(&limiter, round as u64) {
            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
            inside.fetch_sub(1, SeqCst);
            permit.finish(round as u64 + 1000, &mut seeded());
        }
    });
    assert_eq!(most.load(SeqCst), 1);
    let level = limiter.level();
    assert_eq!((level.under_way, level.measuring), (0, true));
}

#[test]
fn workers_end_a_measurement_together_once() {
    for _ in 0..20 {
        let mut high = settings();
        high.concurrency_min = 100;
        let limiter = Arc::new(ConcurrencyLimiter::new(high, 0));
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let limiter = &limiter;
                scope.spawn(move || {
                    let mut rng = StdRng::seed_from_u64(worker);
                    for _ in 0..50 {
                        let permit = Permit::try_new(Arc::clone(limiter), 0).unwrap();
                        permit.finish(10 * MS_NS, &mut rng);
                    }
                });
            }
        });
        let level = limiter.level();
        assert!(!level.measuring);
        assert!(level.min_rtt_us.abs_diff(10_000) < 160, "{level:?}");
        assert_eq!(level.under_way, 0);
    }
}
