use super::*;

/// Rates only, everything enforced.
fn by_rates() -> OutlierDetection {
    let off = Detector { threshold: 0, enforcing_percent: 0 };
    OutlierDetection {
        consecutive_5xx: off,
        consecutive_gateway_failure: off,
        consecutive_local_origin_failure: off,
        ..OutlierDetection::default()
    }
}

fn ids(evidence: &[Evidence]) -> Vec<(&str, EvidenceKind)> {
    evidence.iter().map(|it| (it.endpoint.as_str(), it.kind)).collect()
}

#[test]
fn the_success_rate_finds_the_one_bad_endpoint_of_ten() {
    for seed in 0..20 {
        let mut scene = Scene::new(by_rates(), 10);
        scene.state.next_interval_at(0);
        let mut chance = StdRng::seed_from_u64(seed);
        for _ in 0..5000 {
            let idx = chance.random_range(0..10usize);
            let failures = if idx == 7 { 0.3 } else { 0.01 };
            scene.report(idx, if chance.random_bool(failures) { ERROR } else { FINE }, 0);
        }
        let evidence = scene.on_interval(10 * SECOND_NS);
        assert_eq!(ids(&evidence), [("n/web-7", EvidenceKind::SuccessRate)], "seed {seed}");
        assert_eq!(scene.count(OutlierDetector::SuccessRate), (1, 1));
        let summary = scene.state.success_rates(RateKind::External).unwrap();
        let rate = scene.endpoints[7].outlier().success_rate(RateKind::External).unwrap();
        assert!(rate < summary.threshold && summary.threshold < summary.mean);
    }
}

#[test]
fn the_threshold_is_the_mean_less_the_factor_times_the_deviation_of_the_population() {
    let mut scene = Scene::new(by_rates(), 5);
    scene.state.next_interval_at(0);
    for (idx, successes) in [100, 90, 80, 70, 60].into_iter().enumerate() {
        scene.report_all(idx, FINE, successes);
        scene.report_all(idx, ERROR, 100 - successes);
    }
    scene.on_interval(10 * SECOND_NS);
    let summary = scene.state.success_rates(RateKind::External).unwrap();
    assert!((summary.mean - 80.0).abs() < 1e-9);
    // Population deviation of 60, 70, 80, 90, 100: √200.
    assert!((summary.threshold - (80.0 - 1.9 * 200f64.sqrt())).abs() < 1e-9);
}

#[test]
fn too_few_endpoints_or_requests_say_nothing() {
    for (count, requests) in [(4, 100), (5, 99)] {
        let mut scene = Scene::new(by_rates(), count);
        scene.state.next_interval_at(0);
        for idx in 1..count {
            scene.report_all(idx, FINE, requests);
        }
        scene.report_all(0, ERROR, requests);
        assert_eq!(scene.on_interval(10 * SECOND_NS), []);
        assert_eq!(scene.state.success_rates(RateKind::External), None);
    }
}

#[test]
fn a_share_of_failures_at_the_threshold_ejects_where_it_is_enforced() {
    for (enforcing_percent, failures, expected) in [(100, 85, 1), (100, 84, 0), (0, 100, 0)] {
        let rule = FailurePercentage { enforcing_percent, ..FailurePercentage::default() };
        let settings =
            OutlierDetection { success_rate: None, failure_percentage: Some(rule), ..by_rates() };
        let mut scene = Scene::new(settings, 5);
        scene.state.next_interval_at(0);
        for idx in 1..5 {
            scene.report_all(idx, FINE, 100);
        }
        scene.report_all(0, ERROR, failures);
        scene.report_all(0, FINE, 100 - failures);
        let evidence = scene.on_interval(10 * SECOND_NS);
        assert_eq!(evidence.len(), expected, "{failures} %");
        assert!(evidence.iter().all(|it| it.kind == EvidenceKind::FailurePercentage));
        let detected = u64::from(failures >= 85);
        assert_eq!(scene.count(OutlierDetector::FailurePercentage), (detected, expected as u64));
    }
}

#[test]
fn split_failed_connections_lower_the_rate_of_local_origin_only() {
    for (split, detector) in
        [(true, OutlierDetector::LocalOriginSuccessRate), (false, OutlierDetector::SuccessRate)]
    {
        let mut scene = Scene::new(OutlierDetection { split_local_origin: split, ..by_rates() }, 6);
        scene.state.next_interval_at(0);
        for idx in 0..6 {
            scene.report_all(idx, FINE, 200);
        }
        scene.report_all(3, Outcome::ConnectFailed, 100);
        let evidence = scene.on_interval(10 * SECOND_NS);
        assert_eq!(ids(&evidence), [("n/web-3", EvidenceKind::SuccessRate)]);
        assert_eq!(scene.count(detector), (1, 1));
    }
}

#[test]
fn an_interval_is_judged_by_itself_and_missed_ones_are_not_made_up_for() {
    let mut scene = Scene::new(by_rates(), 5);
    scene.state.next_interval_at(0);
    for idx in 0..5 {
        scene.report_all(idx, if idx == 0 { ERROR } else { FINE }, 200);
    }
    assert_eq!(scene.on_interval(10 * SECOND_NS - 1), []);
    // Before the first interval ends nothing is known, and a rate of before does not count later.
    assert_eq!(scene.endpoints[1].outlier().success_rate(RateKind::External), None);
    scene.on_interval(34 * SECOND_NS);
    assert_eq!(scene.endpoints[1].outlier().success_rate(RateKind::External), Some(100.0));
    assert_eq!(scene.state.next_interval_at(34 * SECOND_NS), 40 * SECOND_NS);
    assert_eq!(scene.on_interval(40 * SECOND_NS), []);
    assert_eq!(scene.endpoints[1].outlier().success_rate(RateKind::External), None);
    assert_eq!(scene.state.success_rates(RateKind::External), None);
}

#[test]
fn an_ejected_endpoint_is_not_compared() {
    let settings = OutlierDetection {
        success_rate: Some(SuccessRate { endpoints_min: 5, ..SuccessRate::default() }),
        ejection_base: std::time::Duration::from_secs(30),
        ..by_rates()
    };
    let mut scene = Scene::new(settings, 5);
    scene.state.next_interval_at(0);
    let traffic = |scene: &mut Scene| {
        for idx in 0..5 {
            scene.report_all(idx, if idx == 0 { ERROR } else { FINE }, 200);
        }
    };
    traffic(&mut scene);
    assert_eq!(scene.on_interval(10 * SECOND_NS).len(), 1);
    traffic(&mut scene);
    assert_eq!(scene.on_interval(20 * SECOND_NS), []);
    assert_eq!(scene.state.success_rates(RateKind::External), None);
}
