use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use proptest::prelude::*;
use proxy_config::LocalRateLimit;
use rand::{RngExt, SeedableRng};

use super::{RateLimiter, RateVerdict, TokenBucket};
use crate::testing::seeded;

const MS_NS: u64 = 1_000_000;

fn settings() -> LocalRateLimit {
    LocalRateLimit {
        tokens_max: 2,
        tokens_per_fill: 1,
        fill_interval: Duration::from_millis(100),
        status: 429,
        enabled_per_million: 1_000_000,
        enforced_per_million: 1_000_000,
        response_headers: Vec::new(),
        rate_limit_headers: false,
    }
}

#[test]
fn a_bucket_is_full_at_first_and_fills_at_the_end_of_each_interval() {
    let bucket = TokenBucket::new(3, 2, Duration::from_millis(100), 7);
    let take = |at_ms: u64| bucket.take(7 + at_ms * MS_NS);
    let taken: Vec<_> = (0..4).map(|_| take(30).taken).collect();
    assert_eq!(taken, [true, true, true, false]);
    assert_eq!(take(30).next_fill_in, Duration::from_millis(70));
    assert!(!take(99).taken);
    assert_eq!((take(100).remaining, take(199).remaining), (1, 0));
    assert!(!take(199).taken);
    assert_eq!(take(10_000).remaining, 2);
    // A worker with an older reading of the clock takes what there is and fills nothing.
    assert_eq!((take(9_999).remaining, take(50).remaining), (1, 0));
    assert!(!take(9_999).taken);
}

#[test]
fn an_interval_too_short_is_fifty_milliseconds() {
    let bucket = TokenBucket::new(1, 1, Duration::ZERO, 0);
    assert!(bucket.take(0).taken);
    assert!(!bucket.take(49 * MS_NS).taken);
    assert!(bucket.take(50 * MS_NS).taken);
}

#[test]
fn a_bucket_outlives_the_wrapping_of_its_intervals() {
    let interval = Duration::from_millis(50);
    let bucket = TokenBucket::new(1, 1, interval, 0);
    let wrap_ns = (1u64 << 32) * 50 * MS_NS;
    // Used once in each third of the span, as any bucket is that anybody needs.
    for third in 0..=6 {
        assert!(bucket.take(third * (wrap_ns / 3)).taken, "third {third}");
        assert!(!bucket.take(third * (wrap_ns / 3)).taken, "third {third}");
    }
}

#[test]
fn a_request_without_a_token_is_refused_or_only_counted() {
    let verdicts = |enforced_per_million| {
        let limiter = RateLimiter::new(LocalRateLimit { enforced_per_million, ..settings() }, 0);
        let refused = (0..5)
            .filter(|_| matches!(limiter.check(0, &mut seeded()), RateVerdict::Refuse(_)))
            .count();
        let counters = limiter.counters();
        let counts = [&counters.enabled, &counters.ok, &counters.rate_limited, &counters.enforced];
        (refused, counts.map(|it| it.load(Relaxed)))
    };
    assert_eq!(verdicts(1_000_000), (3, [5, 2, 3, 3]));
    assert_eq!(verdicts(0), (0, [5, 2, 3, 0]));
}

#[test]
fn a_limit_that_holds_for_a_share_asks_so_many() {
    let limiter = RateLimiter::new(
        LocalRateLimit { enabled_per_million: 250_000, tokens_max: 0, ..settings() },
        0,
    );
    let mut rng = seeded();
    let refused = (0..10_000)
        .filter(|_| matches!(limiter.check(0, &mut rng), RateVerdict::Refuse(_)))
        .count();
    // 2,500 expected, standard deviation 43: five of them.
    assert!((2285..=2715).contains(&refused), "{refused}");
}

#[test]
fn workers_together_take_each_token_once() {
    let bucket = TokenBucket::new(1000, 10, Duration::from_millis(50), 0);
    let taken = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for turn in 0..2000 {
                    if bucket.take(turn * MS_NS / 4).taken {
                        taken.fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    // Nine fills within the 500 ms that each worker goes through.
    assert_eq!(taken.load(Relaxed), 1000 + 9 * 10);
}

proptest! {
    #[test]
    fn in_no_interval_more_is_taken_than_the_rate_and_the_burst(
        tokens_max in 1u32..20,
        tokens_per_fill in 1u32..20,
        interval_ms in 50u64..500,
        seed: u64,
    ) {
        let interval_ns = interval_ms * MS_NS;
        let bucket =
            TokenBucket::new(tokens_max, tokens_per_fill, Duration::from_nanos(interval_ns), 0);
        let mut chance = rand::rngs::StdRng::seed_from_u64(seed);
        let (mut now_ns, mut taken_at) = (0, Vec::new());
        for _ in 0..300 {
            now_ns += chance.random_range(0..interval_ns / 4);
            if bucket.take(now_ns).taken {
                taken_at.push(now_ns);
            }
        }
        for (first, from_ns) in taken_at.iter().enumerate() {
            for (last, until_ns) in taken_at.iter().enumerate().skip(first) {
                let fills = (until_ns - from_ns) / interval_ns + 1;
                let most = u64::from(tokens_max) + fills * u64::from(tokens_per_fill);
                prop_assert!((last - first + 1) as u64 <= most);
            }
        }
    }

    #[test]
    fn who_asks_all_the_time_gets_the_whole_rate(tokens in 1u32..50, interval_ms in 50u64..200) {
        let bucket =
            TokenBucket::new(tokens, tokens, Duration::from_millis(interval_ms), 0);
        let mut taken = 0;
        for ms in 0..interval_ms * 10 {
            while bucket.take(ms * MS_NS).taken {
                taken += 1;
            }
        }
        prop_assert_eq!(taken, tokens * 10);
    }
}
