use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use codec::message::HeaderMap;
use http::{HeaderName, HeaderValue};
use proxy_config::{AbortWith, Fault, FaultAbort, FaultDelay, HeaderMatch, ValueMatch};

use super::{AbortStatus, FaultState, Injection};
use crate::testing::seeded;

const ALL: u32 = 1_000_000;

fn delay(fixed_ms: Option<u64>, per_million: u32) -> Fault {
    let fixed = fixed_ms.map(Duration::from_millis);
    Fault { delay: Some(FaultDelay { fixed, per_million }), ..Fault::default() }
}

fn abort(with: AbortWith, per_million: u32) -> Fault {
    Fault { abort: Some(FaultAbort { with, per_million }), ..Fault::default() }
}

fn decide(fault: &Fault, list: &[(&'static str, &'static str)]) -> Option<Injection> {
    let headers: HeaderMap = list
        .iter()
        .map(|it| (HeaderName::from_static(it.0), HeaderValue::from_static(it.1)))
        .collect();
    Arc::new(FaultState::default()).decide(fault, &headers, || true, &mut seeded())
}

#[test]
fn faults_hit_their_share_and_are_counted() {
    let state = Arc::new(FaultState::default());
    let fault = Fault {
        delay: Some(FaultDelay { fixed: Some(Duration::from_millis(5)), per_million: 200_000 }),
        abort: Some(FaultAbort { with: AbortWith::Status(503), per_million: 500_000 }),
        ..Fault::default()
    };
    let mut rng = seeded();
    let (mut delays, mut aborts) = (0, 0);
    for _ in 0..10_000 {
        if let Some(it) = state.decide(&fault, &(), || true, &mut rng) {
            delays += u64::from(it.delay == Some(Duration::from_millis(5)));
            aborts += u64::from(it.abort == Some(AbortStatus::Http(503)));
        }
    }
    // 2,000 and 5,000 expected, standard deviations 40 and 50: five of them.
    assert!((1800..=2200).contains(&delays), "{delays}");
    assert!((4750..=5250).contains(&aborts), "{aborts}");
    let counters = state.counters();
    assert_eq!(counters.delays_injected.load(Relaxed), delays);
    assert_eq!(counters.aborts_injected.load(Relaxed), aborts);
    assert_eq!(state.active(), 0);
}

#[test]
fn headers_say_what_the_settings_leave_to_them_within_bounds() {
    for (value, expected) in [
        ("250", Some(Duration::from_millis(250))),
        ("0", None),
        ("-1", None),
        ("soon", None),
        ("99999999999", Some(Duration::from_hours(1))),
    ] {
        let injected = decide(&delay(None, ALL), &[("x-envoy-fault-delay-request", value)]);
        assert_eq!(injected.and_then(|it| it.delay), expected, "{value}");
    }
    for (name, value, expected) in [
        ("x-envoy-fault-abort-request", "418", Some(AbortStatus::Http(418))),
        ("x-envoy-fault-abort-request", "199", None),
        ("x-envoy-fault-abort-request", "600", None),
        ("x-envoy-fault-abort-grpc-request", "14", Some(AbortStatus::Grpc(14))),
        ("x-envoy-fault-abort-grpc-request", "17", None),
    ] {
        let injected = decide(&abort(AbortWith::Header, ALL), &[(name, value)]);
        assert_eq!(injected.and_then(|it| it.abort), expected, "{name}: {value}");
    }
}

#[test]
fn headers_mean_nothing_where_the_settings_say_all() {
    let wanted = [("x-envoy-fault-delay-request", "9"), ("x-envoy-fault-abort-request", "418")];
    assert!(decide(&Fault::default(), &wanted).is_none());
    assert_eq!(
        decide(&delay(Some(1), ALL), &wanted).and_then(|it| it.delay),
        Some(Duration::from_millis(1))
    );
    assert_eq!(
        decide(&abort(AbortWith::Grpc(5), ALL), &wanted).and_then(|it| it.abort),
        Some(AbortStatus::Grpc(5))
    );
}

#[test]
fn a_header_can_lower_the_share_and_not_raise_it() {
    let hits = |per_million, percent: &'static str| {
        let state = Arc::new(FaultState::default());
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("x-envoy-fault-delay-request"), HeaderValue::from_static("1")),
            (
                HeaderName::from_static("x-envoy-fault-delay-request-percentage"),
                HeaderValue::from_static(percent),
            ),
        ]);
        let mut rng = seeded();
        let fault = delay(None, per_million);
        (0..1000).filter(|_| state.decide(&fault, &headers, || true, &mut rng).is_some()).count()
    };
    assert_eq!(hits(ALL, "0"), 0);
    assert_eq!(hits(ALL, "100"), 1000);
    assert_eq!(hits(0, "100"), 0);
    assert!((400..=600).contains(&hits(ALL, "50")));
    assert!((50..=150).contains(&hits(100_000, "50")));
}

#[test]
fn faults_under_way_are_bounded_and_end_with_the_guard() {
    let state = Arc::new(FaultState::default());
    let fault = Fault { active_max: Some(2), ..delay(Some(5), ALL) };
    let held: Vec<_> =
        (0..3).filter_map(|_| state.decide(&fault, &(), || true, &mut seeded())).collect();
    assert_eq!((held.len(), state.active()), (2, 2));
    assert_eq!(state.counters().faults_overflow.load(Relaxed), 1);
    drop(held);
    assert!(state.decide(&fault, &(), || true, &mut seeded()).is_some());
}

#[test]
fn only_requests_with_all_headers_are_hit() {
    let condition = HeaderMatch {
        name: "x-test".to_owned(),
        value: ValueMatch::exact("1"),
        invert: false,
        missing_as_empty: false,
    };
    let fault = Fault { headers: vec![condition], ..delay(Some(5), ALL) };
    let state = Arc::new(FaultState::default());
    assert!(state.decide(&fault, &(), || false, &mut seeded()).is_none());
    assert!(state.decide(&fault, &(), || true, &mut seeded()).is_some());
}
