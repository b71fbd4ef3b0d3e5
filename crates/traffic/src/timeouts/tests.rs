use std::time::Duration;

use codec::message::HeaderMap;
use http::{HeaderName, HeaderValue};
use proxy_config::{Forward, Hedging, RetryPolicy};

use super::{RequestTimeouts, grpc_timeout};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn route(timeout_ms: u64, per_try_ms: u64, grpc_max_ms: Option<u64>) -> Forward {
    Forward {
        timeout: MS(timeout_ms),
        grpc_timeout_max: grpc_max_ms.map(MS),
        retry: RetryPolicy { per_try_timeout: MS(per_try_ms), ..RetryPolicy::default() },
        ..Forward::default()
    }
}

fn limits(
    route: &Forward,
    list: &[(&'static str, &'static str)],
    is_grpc: bool,
) -> RequestTimeouts {
    let headers: HeaderMap = list
        .iter()
        .map(|it| (HeaderName::from_static(it.0), HeaderValue::from_static(it.1)))
        .collect();
    RequestTimeouts::new(route, &headers, is_grpc, true)
}

#[test]
fn a_grpc_timeout_is_up_to_eight_digits_and_a_unit() {
    for (value, expected) in [
        ("1H", Some(Duration::from_secs(3600))),
        ("2M", Some(Duration::from_secs(120))),
        ("3S", Some(Duration::from_secs(3))),
        ("4m", Some(MS(4))),
        ("5u", Some(Duration::from_micros(5))),
        ("6n", Some(Duration::from_nanos(6))),
        ("99999999H", Some(Duration::from_secs(359_999_996_400))),
        ("00000001S", Some(Duration::from_secs(1))),
        ("100000000S", None),
        ("S", None),
        ("", None),
        ("5", None),
        ("5s", None),
        ("5 S", None),
        ("+5S", None),
        ("-5S", None),
        ("5é", None),
        ("1.5S", None),
    ] {
        assert_eq!(grpc_timeout(value), expected, "{value:?}");
    }
}

#[test]
fn a_grpc_request_gets_the_time_that_it_asks_for_up_to_the_bound() {
    let asked = [("grpc-timeout", "2S")];
    for (grpc_max_ms, headers, is_grpc, expected_ms) in [
        (None, &asked[..], true, Some(15_000)),
        (Some(1000), &asked, true, Some(1000)),
        (Some(5000), &asked, true, Some(2000)),
        (Some(0), &asked, true, Some(2000)),
        (Some(5000), &asked, false, Some(15_000)),
        (Some(5000), &[], true, Some(5000)),
        (Some(0), &[], true, None),
        (Some(5000), &[("grpc-timeout", "soon")], true, Some(5000)),
    ] {
        let got = limits(&route(15_000, 0, grpc_max_ms), headers, is_grpc).all_tries;
        assert_eq!(got, expected_ms.map(MS), "{grpc_max_ms:?} {headers:?} {is_grpc}");
    }
}

#[test]
fn headers_of_a_trusted_client_take_the_place_of_the_routes_limits() {
    let route = route(15_000, 0, None);
    let headers = [
        ("x-envoy-upstream-rq-timeout-ms", "300"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "100"),
        ("x-envoy-hedge-on-per-try-timeout", "true"),
    ];
    let got = limits(&route, &headers, false);
    assert_eq!((got.all_tries, got.per_try, got.hedges), (Some(MS(300)), Some(MS(100)), true));
    assert_eq!(limits(&route, &[("x-envoy-upstream-rq-timeout-ms", "0")], false).all_tries, None);
    let bad = [("x-envoy-upstream-rq-timeout-ms", "soon")];
    assert_eq!(limits(&route, &bad, false).all_tries, Some(MS(15_000)));
    let untrusted = HeaderMap::from_iter([(
        HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
        HeaderValue::from_static("1"),
    )]);
    let got = RequestTimeouts::new(&route, &untrusted, false, false);
    assert_eq!(got, RequestTimeouts::of_route(&route));
}

#[test]
fn a_limit_of_a_try_that_is_not_below_the_one_of_all_is_none() {
    for (all_ms, per_try_ms, expected_ms) in
        [(100, 99, Some(99)), (100, 100, None), (100, 200, None), (0, 200, Some(200))]
    {
        let got = RequestTimeouts::of_route(&route(all_ms, per_try_ms, None));
        assert_eq!(got.per_try, expected_ms.map(MS), "{all_ms} {per_try_ms}");
    }
    // A header that gives more time brings the route's own limit of a try back.
    let got = limits(&route(100, 200, None), &[("x-envoy-upstream-rq-timeout-ms", "500")], false);
    assert_eq!(got.per_try, Some(MS(200)));
}

#[test]
fn an_endpoint_is_told_how_long_anybody_will_wait() {
    let plain = RequestTimeouts::of_route(&route(1000, 300, None));
    assert_eq!(plain.expected(MS(0)), Some(MS(300)));
    assert_eq!(plain.expected(MS(900)), Some(MS(100)));
    assert_eq!(plain.left(MS(2000)), Some(MS(0)));
    let hedging = Hedging { on_per_try_timeout: true };
    let hedged = RequestTimeouts::of_route(&Forward { hedging, ..route(1000, 300, None) });
    assert_eq!(hedged.expected(MS(100)), Some(MS(900)));
    assert_eq!(RequestTimeouts::of_route(&route(0, 0, None)).expected(MS(5)), None);
}
