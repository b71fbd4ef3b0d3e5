//! What the decisions about failures cost on the path of a request that succeeds.
//!
//! `cargo bench -p traffic --bench decisions`, pinned to one core.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use codec::message::HeaderMap;
use divan::{Bencher, black_box};
use proxy_config::{
    AdaptiveConcurrency, Cluster, Endpoint, Endpoints, Forward, RetryPolicy, RoutingPriority,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use traffic::{
    ClusterState, ConcurrencyLimiter, ConcurrencyPermit, Outcome, Permit, RequestTimeouts,
    RequestTraits, ResponseHead, RetryPlan, Surroundings, TokenBucket, TryEnd, TryFacts,
};

fn main() {
    divan::main();
}

fn state() -> ClusterState {
    let list = (0..10).map(|it| Endpoint::new(&format!("n/web-{it}"), "10.0.0.1", 8000 + it));
    let endpoints =
        Endpoints { cluster: "web".to_owned(), endpoints: list.collect(), ..Endpoints::default() };
    let cluster = Arc::new(Cluster::named("web"));
    ClusterState::new(cluster, Arc::new(endpoints), Surroundings::default())
}

/// A shell's own `Rc` costs less to hold than an `Arc`.
#[divan::bench]
fn request_permit_and_its_end_held_by_rc(bencher: Bencher) {
    let state = Rc::new(state());
    bencher.bench_local(|| Permit::try_request(Rc::clone(&state), RoutingPriority::Default));
}

#[divan::bench]
fn request_permit_and_its_end_held_by_arc(bencher: Bencher) {
    let state = Arc::new(state());
    bencher.bench_local(|| Permit::try_request(Arc::clone(&state), RoutingPriority::Default));
}

#[divan::bench]
fn report_of_a_success(bencher: Bencher) {
    let state = state();
    let endpoint = Arc::clone(state.endpoints().next().expect("there are ten").1);
    let mut rng = SmallRng::seed_from_u64(1);
    let outcome = Outcome::Response { status: 200 };
    bencher.bench_local(|| state.report(&endpoint, black_box(outcome), 1, &mut rng));
}

#[divan::bench]
fn plan_limits_and_no_retry_of_a_success(bencher: Bencher) {
    let route = Forward::default();
    let policy = RetryPolicy::default();
    let headers = HeaderMap::new();
    let mut rng = SmallRng::seed_from_u64(1);
    let request = RequestTraits { idempotent: true, body_replayable: true };
    let facts = TryFacts { retries: 0, request, time_left: None, unix_seconds: 0 };
    bencher.bench_local(|| {
        let limits = RequestTimeouts::of_route(black_box(&route));
        let plan = RetryPlan::of_policy(black_box(&policy), || false);
        let head = ResponseHead {
            status: 200,
            grpc_status: None,
            headers: &headers,
            meets_policy: &|| false,
        };
        (limits, plan.decide(&policy, facts, TryEnd::Response(head), &mut rng))
    });
}

#[divan::bench]
fn token(bencher: Bencher) {
    let bucket = TokenBucket::new(u32::MAX, u32::MAX, Duration::from_millis(50), 0);
    bencher.bench_local(|| bucket.take(black_box(1)));
}

#[divan::bench]
fn adaptive_concurrency(bencher: Bencher) {
    let settings = AdaptiveConcurrency {
        sample_percentile: 50,
        update_interval: Duration::from_millis(100),
        concurrency_max: 1000,
        min_rtt_interval: Duration::from_mins(1),
        min_rtt_requests: 50,
        min_rtt_jitter_percent: 15,
        concurrency_min: 3,
        buffer_percent: 25,
        status: 503,
    };
    let limiter = ConcurrencyLimiter::new(settings, 0);
    let mut rng = SmallRng::seed_from_u64(1);
    let mut now_ns = 0;
    bencher.bench_local(|| {
        let permit = ConcurrencyPermit::try_new(&limiter, now_ns);
        now_ns += 100_000;
        if let Ok(permit) = permit {
            permit.finish(now_ns, &mut rng);
        }
    });
}
