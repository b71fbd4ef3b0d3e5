use std::time::Duration;

use codec::message::HeaderMap;
use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proxy_config::{
    BackOff, HeaderMatch, RateLimitedBackOff, ResetHeader, RetryOn, RetryPolicy, ValueMatch,
};

use super::{
    Failure, Origin, RefusedRetry, RequestTraits, ResponseHead, Retry, RetryPlan, Stage, TryEnd,
    TryFacts, is_idempotent,
};
use crate::ResponseFlag;
use crate::testing::seeded;

const AT_ONCE: Retry = Retry::After(Duration::ZERO);
const NOW_S: u64 = 1_800_000_000;

fn facts(method: &Method) -> TryFacts {
    TryFacts {
        retries: 0,
        request: RequestTraits { idempotent: is_idempotent(method), body_replayable: true },
        time_left: None,
        unix_seconds: NOW_S,
    }
}

fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |it: &(&'static str, &'static str)| {
        (HeaderName::from_static(it.0), HeaderValue::from_static(it.1))
    };
    list.iter().map(pair).collect()
}

fn on(list: &str) -> RetryPolicy {
    let (on, unknown) = RetryOn::parse(list);
    assert!(unknown.is_empty(), "{unknown:?}");
    RetryPolicy { on, retries_max: 5, ..RetryPolicy::default() }
}

fn after_failure(policy: &RetryPolicy, stage: Stage, facts: TryFacts) -> Retry {
    let failure = Failure { origin: Origin::Upstream, stage };
    let plan = RetryPlan::of_policy(policy, || false);
    plan.decide(policy, facts, TryEnd::Failed(failure), &mut seeded())
}

/// Of a plan with these headers of the request, after a response.
fn after_response(
    policy: &RetryPolicy,
    request: &[(&'static str, &'static str)],
    status: u16,
    response: &[(&'static str, &'static str)],
) -> Retry {
    let response = headers(response);
    let grpc_status = response.get("grpc-status").map(|it| it.to_str().unwrap().parse().unwrap());
    let head = ResponseHead {
        status,
        grpc_status,
        headers: &response,
        meets_policy: &|| response.contains_key("x-again"),
    };
    let plan = RetryPlan::new(policy, &headers(request), || false);
    plan.decide(policy, facts(&Method::GET), TryEnd::Response(head), &mut seeded())
}

fn is_tried_again(retry: Retry) -> bool {
    matches!(retry, Retry::After(_))
}

#[test]
fn nothing_sent_is_tried_again_for_any_method() {
    let policy = RetryPolicy::default();
    for stage in [Stage::BeforeSend, Stage::ClosedUnsent, Stage::RefusedUnread] {
        assert_eq!(after_failure(&policy, stage, facts(&Method::POST)), AT_ONCE, "{stage:?}");
    }
}

#[test]
fn broken_before_a_response_is_tried_again_for_idempotent_methods() {
    let policy = RetryPolicy::default();
    assert_eq!(after_failure(&policy, Stage::AfterSend, facts(&Method::GET)), AT_ONCE);
    assert_eq!(
        after_failure(&policy, Stage::AfterSend, facts(&Method::POST)),
        Retry::No(RefusedRetry::NotIdempotent)
    );
    let mut put = facts(&Method::PUT);
    put.request.body_replayable = false;
    assert_eq!(after_failure(&policy, Stage::AfterSend, put), Retry::No(RefusedRetry::BodySent));
}

#[test]
fn tries_are_bounded_by_the_policy() {
    let once = TryFacts { retries: 1, ..facts(&Method::GET) };
    assert_eq!(
        after_failure(&RetryPolicy::default(), Stage::BeforeSend, once),
        Retry::No(RefusedRetry::LimitReached)
    );
    let none = RetryPolicy::none();
    assert_eq!(
        after_failure(&none, Stage::BeforeSend, facts(&Method::GET)),
        Retry::No(RefusedRetry::Disabled)
    );
    assert!(!RetryPlan::of_policy(&none, || false).is_enabled());
}

#[test]
fn failures_that_another_endpoint_cannot_help_are_final() {
    let policy = on("5xx,reset,connect-failure");
    let plan = RetryPlan::of_policy(&policy, || false);
    let started = after_failure(&policy, Stage::ResponseStarted, facts(&Method::GET));
    assert_eq!(started, Retry::No(RefusedRetry::ResponseStarted));
    for origin in [Origin::Downstream, Origin::Local] {
        let end = TryEnd::Failed(Failure { origin, stage: Stage::BeforeSend });
        assert_eq!(
            plan.decide(&policy, facts(&Method::GET), end, &mut seeded()),
            Retry::No(RefusedRetry::NotUpstream)
        );
    }
}

#[test]
fn each_condition_names_its_stages_of_failure() {
    use Stage::{AfterSend, BeforeSend, ClosedUnsent, RefusedUnread, ResponseTimedOut};
    let all = [BeforeSend, ClosedUnsent, RefusedUnread, AfterSend, ResponseTimedOut];
    for (name, named) in [
        ("5xx", &all[..]),
        ("gateway-error", &all),
        ("reset", &all),
        ("reset-before-request", &[BeforeSend, ClosedUnsent]),
        ("connect-failure", &[BeforeSend]),
        ("refused-stream", &[RefusedUnread]),
        ("idempotent-reset", &[BeforeSend, ClosedUnsent, RefusedUnread, AfterSend]),
        ("retriable-4xx", &[]),
        ("retriable-status-codes", &[]),
        ("unavailable", &[]),
    ] {
        for stage in all {
            let decision = after_failure(&on(name), stage, facts(&Method::GET));
            assert_eq!(is_tried_again(decision), named.contains(&stage), "{name} {stage:?}");
        }
    }
}

#[test]
fn each_condition_names_its_responses() {
    let codes = RetryPolicy { status_codes: vec![418], ..on("retriable-status-codes") };
    for (policy, statuses) in [
        (on("5xx"), &[500, 502, 503, 504, 599][..]),
        (on("gateway-error"), &[502, 503, 504]),
        (on("retriable-4xx"), &[409]),
        (codes, &[418]),
        (on("reset,connect-failure,refused-stream"), &[]),
    ] {
        for status in [200, 404, 409, 418, 429, 500, 502, 503, 504, 599] {
            let decision = after_response(&policy, &[], status, &[]);
            assert_eq!(is_tried_again(decision), statuses.contains(&status), "{status}");
            if !statuses.contains(&status) {
                assert_eq!(decision, Retry::No(RefusedRetry::NotRetriable));
            }
        }
    }
}

#[test]
fn grpc_conditions_look_at_the_status_in_the_head() {
    for (name, status) in [
        ("cancelled", "1"),
        ("deadline-exceeded", "4"),
        ("resource-exhausted", "8"),
        ("internal", "13"),
        ("unavailable", "14"),
    ] {
        for other in ["0", "1", "2", "4", "8", "13", "14"] {
            let decision = after_response(&on(name), &[], 200, &[("grpc-status", other)]);
            assert_eq!(is_tried_again(decision), other == status, "{name} {other}");
        }
    }
}

#[test]
fn headers_of_a_response_can_make_it_retriable() {
    let policy = on("retriable-headers");
    assert!(is_tried_again(after_response(&policy, &[], 200, &[("x-again", "1")])));
    assert!(!is_tried_again(after_response(&policy, &[], 200, &[("x-other", "1")])));
    let named = [("x-envoy-retriable-header-names", "X-First, x-other")];
    assert!(is_tried_again(after_response(&policy, &named, 200, &[("x-other", "1")])));
    assert!(!is_tried_again(after_response(&on("5xx"), &named, 200, &[("x-other", "1")])));
}

#[test]
fn an_overloaded_or_rate_limiting_endpoint_is_left_alone() {
    let policy = on("5xx,retriable-4xx");
    assert_eq!(
        after_response(&policy, &[], 503, &[("x-envoy-overloaded", "true")]),
        Retry::No(RefusedRetry::Overloaded)
    );
    let limited = [("x-envoy-ratelimited", "true")];
    assert_eq!(after_response(&policy, &[], 503, &limited), Retry::No(RefusedRetry::RateLimited));
    let named = on("envoy-ratelimited");
    assert!(is_tried_again(after_response(&named, &[], 429, &limited)));
    assert!(!is_tried_again(after_response(&named, &[], 429, &[])));
    let both = [("x-envoy-ratelimited", "true"), ("x-envoy-overloaded", "true")];
    assert_eq!(after_response(&named, &[], 429, &both), Retry::No(RefusedRetry::Overloaded));
}

#[test]
fn headers_of_a_request_add_to_the_policy() {
    let none = RetryPolicy::none();
    let wants =
        |list: &[(&'static str, &'static str)]| RetryPlan::new(&none, &headers(list), || false);
    assert!(!wants(&[("x-envoy-max-retries", "3")]).is_enabled());
    assert_eq!(wants(&[("x-envoy-retry-on", "5xx")]).retries_max(), 1);
    let three = [("x-envoy-retry-on", "5xx, nonsense"), ("x-envoy-max-retries", "3")];
    assert_eq!(wants(&three).retries_max(), 3);
    let zero = [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "0")];
    assert!(!wants(&zero).is_enabled());
    let bad = [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "-1")];
    assert_eq!(wants(&bad).retries_max(), 1);

    let policy = RetryPolicy { status_codes: vec![418], ..on("reset") };
    let request = [
        ("x-envoy-retry-on", "retriable-status-codes"),
        ("x-envoy-retriable-status-codes", "404, x, 410"),
    ];
    for (status, expected) in [(404, true), (410, true), (418, true), (500, false)] {
        let decision = after_response(&policy, &request, status, &[]);
        assert_eq!(is_tried_again(decision), expected, "{status}");
    }
    let grpc = [("x-envoy-retry-grpc-on", "unavailable")];
    assert!(is_tried_again(after_response(&policy, &grpc, 200, &[("grpc-status", "14")])));
}

#[test]
fn a_request_that_the_policy_leaves_out_is_never_tried_again() {
    let present = HeaderMatch {
        name: "x-retry-me".to_owned(),
        value: ValueMatch::exact("yes"),
        invert: false,
        missing_as_empty: false,
    };
    let policy = RetryPolicy { request_headers: vec![present], ..on("5xx") };
    let request = headers(&[("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "9")]);
    assert!(!RetryPlan::new(&policy, &request, || false).is_enabled());
    assert!(RetryPlan::new(&policy, &request, || true).is_enabled());
    assert!(RetryPlan::of_policy(&on("5xx"), || panic!("there is no condition")).is_enabled());
}

#[test]
fn no_try_begins_after_the_time_is_up() {
    let policy = on("5xx");
    for (left_ms, expected) in [(0, Retry::No(RefusedRetry::TimedOut)), (1, AT_ONCE)] {
        let time_left = Some(Duration::from_millis(left_ms));
        let facts = TryFacts { time_left, ..facts(&Method::GET) };
        assert_eq!(after_failure(&policy, Stage::BeforeSend, facts), expected);
    }
}

#[test]
fn only_the_first_retry_after_a_broken_connection_is_made_at_once() {
    let policy = on("5xx");
    for stage in [Stage::BeforeSend, Stage::RefusedUnread, Stage::AfterSend] {
        assert_eq!(after_failure(&policy, stage, facts(&Method::GET)), AT_ONCE);
        let second = TryFacts { retries: 1, ..facts(&Method::GET) };
        assert_ne!(after_failure(&policy, stage, second), AT_ONCE);
    }
    assert_ne!(after_failure(&policy, Stage::ResponseTimedOut, facts(&Method::GET)), AT_ONCE);
    assert_ne!(after_response(&policy, &[], 503, &[]), AT_ONCE);
}

#[test]
fn a_body_is_kept_only_for_what_is_tried_again_after_it_was_sent() {
    let needs = |list: &str, idempotent, may_be_refused| {
        RetryPlan::of_policy(&on(list), || true).needs_body(idempotent, may_be_refused)
    };
    assert!(!needs("connect-failure,reset-before-request", true, true));
    assert!(needs("5xx", false, false));
    assert!(needs("idempotent-reset", true, false));
    assert!(!needs("idempotent-reset", false, false));
    assert!(needs("refused-stream", false, true));
    assert!(!needs("refused-stream", false, false));
    assert!(!RetryPlan::of_policy(&RetryPolicy::none(), || true).needs_body(true, true));
}

#[test]
fn good_responses_are_looked_at_only_where_a_header_may_say_otherwise() {
    let looks = |list: &str, status| RetryPlan::of_policy(&on(list), || true).looks_at(status);
    assert!(!looks("5xx,gateway-error,reset", 200));
    assert!(looks("5xx", 503));
    assert!(looks("retriable-headers", 200));
    assert!(looks("retriable-status-codes", 302));
    assert!(!RetryPlan::of_policy(&RetryPolicy::none(), || true).looks_at(503));
}

#[test]
fn a_response_says_when_to_come_back() {
    let header = |name: &str, is_unix_time| ResetHeader { name: name.to_owned(), is_unix_time };
    let back_off = RateLimitedBackOff {
        headers: vec![header("retry-after", false), header("x-ratelimit-reset", true)],
        max: Duration::from_secs(300),
    };
    let policy = RetryPolicy { rate_limited_back_off: Some(back_off), ..on("5xx") };
    let wait = |response: &[(&'static str, &'static str)]| match after_response(
        &policy,
        &[],
        503,
        response,
    ) {
        Retry::After(wait) => wait.as_secs_f64(),
        Retry::No(refused) => panic!("{refused:?}"),
    };
    assert!((10.0..=15.0).contains(&wait(&[("retry-after", "10")])));
    assert!((20.0..=30.0).contains(&wait(&[("x-ratelimit-reset", "1800000020")])));
    assert!(
        (4.0..=6.0).contains(&wait(&[("retry-after", "301"), ("x-ratelimit-reset", "1800000004")]))
    );
    for unbelievable in [
        ("retry-after", "301"),
        ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),
        ("retry-after", "-5"),
        ("x-ratelimit-reset", "1799999999"),
    ] {
        assert!(wait(&[unbelievable]) < 0.025, "{unbelievable:?}");
    }
}

#[test]
fn a_hedge_needs_no_condition_but_retries_that_are_left() {
    let policy = on("connect-failure");
    let plan = RetryPlan::of_policy(&policy, || false);
    let decide = |facts| plan.decide_hedge(&policy, facts, &mut seeded());
    assert!(is_tried_again(decide(facts(&Method::POST))));
    let used_up = TryFacts { retries: 5, ..facts(&Method::GET) };
    assert_eq!(decide(used_up), Retry::No(RefusedRetry::LimitReached));
    let none = RetryPolicy::none();
    let plan = RetryPlan::of_policy(&none, || false);
    assert_eq!(
        plan.decide_hedge(&none, facts(&Method::GET), &mut seeded()),
        Retry::No(RefusedRetry::Disabled)
    );
}

#[test]
fn refusals_for_want_of_tries_have_envoys_flags() {
    let flag = RefusedRetry::flag;
    assert_eq!(flag(RefusedRetry::LimitReached), Some(ResponseFlag::UpstreamRetryLimitExceeded));
    assert_eq!(flag(RefusedRetry::BudgetExhausted), Some(ResponseFlag::UpstreamOverflow));
    assert_eq!(flag(RefusedRetry::NotRetriable), None);
}

proptest! {
    #[test]
    fn a_back_off_is_below_the_doubled_base_and_the_longest(
        base_ms in 1u64..100,
        factor in 1u64..20,
        retries in 0u32..40,
        seed: u64,
    ) {
        use rand::SeedableRng;
        let base = Duration::from_millis(base_ms);
        let back_off = BackOff { base, max: base * factor as u32 };
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let wait = super::back_off::full_jitter(back_off, retries, &mut rng);
        let doubled = base.saturating_mul(1 << retries.min(30));
        prop_assert!(wait < doubled.min(back_off.max));
    }
}

#[test]
fn a_back_off_is_spread_over_its_whole_range() {
    let mut rng = seeded();
    let mut draw = || super::back_off::full_jitter(BackOff::default(), 2, &mut rng).as_secs_f64();
    let waits: Vec<f64> = (0..10_000).map(|_| draw()).collect();
    let mean = waits.iter().sum::<f64>() / waits.len() as f64;
    // Evenly below 100 ms: mean 50 ms, its deviation 0.29 ms.
    assert!((mean - 0.05).abs() < 0.0015, "{mean}");
    assert!(waits.iter().any(|it| *it > 0.099) && waits.iter().any(|it| *it < 0.001));
}
