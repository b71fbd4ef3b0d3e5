use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use proxy_config::{
    Cluster, EndpointHealth, HealthCheck, HealthProbe, OutlierDetection, ValueMatch,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{CheckedHealth, HttpAnswer, ProbeHistory, ProbeResult, ProbeVerdict};
use crate::testing::{after, endpoint, endpoints, seeded};
use crate::{ClusterState, EndpointState, Outcome, PickRequest, Surroundings};

const PASSED: ProbeResult = ProbeResult::Passed { degraded: false };
const DEGRADED: ProbeResult = ProbeResult::Passed { degraded: true };

fn http(expected: &[(u16, u16)], retriable: &[(u16, u16)]) -> HealthProbe {
    HealthProbe::Http {
        host: String::new(),
        path: "/healthz".to_owned(),
        method: String::new(),
        expected: expected.to_vec(),
        retriable: retriable.to_vec(),
        http2: false,
        headers: Vec::new(),
        service: Some(ValueMatch::exact("web")),
    }
}

fn check() -> HealthCheck {
    HealthCheck {
        probe: http(&[], &[]),
        timeout: Duration::from_secs(1),
        interval: Duration::from_secs(5),
        interval_jitter: Duration::ZERO,
        no_traffic_interval: Duration::from_mins(1),
        unhealthy_interval: None,
        unhealthy_edge_interval: None,
        healthy_edge_interval: None,
        unhealthy_threshold: 3,
        healthy_threshold: 2,
        new_connection_each: false,
    }
}

/// One endpoint under these checks, with one history for each.
struct Scene {
    state: ClusterState,
    endpoint: Arc<EndpointState>,
    histories: Vec<ProbeHistory>,
    rng: StdRng,
}

impl Scene {
    fn new(health_checks: Vec<HealthCheck>) -> Self {
        let histories = vec![ProbeHistory::default(); health_checks.len()];
        let state = state(health_checks, None);
        let endpoint = Arc::clone(state.endpoints().next().unwrap().1);
        endpoint.counters().rq_total.fetch_add(1, Relaxed);
        Self { state, endpoint, histories, rng: StdRng::seed_from_u64(1) }
    }

    fn probe(&mut self, idx: usize, result: ProbeResult) -> ProbeVerdict {
        let history = &mut self.histories[idx];
        self.state.judge_probe(&self.endpoint, idx, history, result, 0, &mut self.rng).unwrap()
    }

    /// What the first check says after each of these.
    fn after(&mut self, results: &[ProbeResult]) -> Vec<CheckedHealth> {
        results.iter().map(|it| self.probe(0, *it).health).collect()
    }

    fn flags(&self) -> String {
        self.endpoint.health_flags(EndpointHealth::Healthy, 0).to_string()
    }

    fn epoch(&self) -> u64 {
        self.state.membership_epoch().load(Acquire)
    }
}

fn state(health_checks: Vec<HealthCheck>, previous: Option<&ClusterState>) -> ClusterState {
    let cluster = Cluster { health_checks, ..Cluster::named("web") };
    let list = endpoints(vec![endpoint(0, 1, EndpointHealth::Healthy)]);
    ClusterState::new(Arc::new(cluster), list, Surroundings { previous, ..Surroundings::default() })
}

#[test]
fn the_very_first_pass_counts_at_once_and_later_ones_by_the_threshold() {
    use CheckedHealth::{Healthy, Unhealthy};
    let mut scene = Scene::new(vec![check()]);
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Pending);
    assert_eq!(scene.flags(), "/failed_active_hc/pending_active_hc");
    assert_eq!(scene.after(&[PASSED]), [Healthy]);
    assert_eq!(scene.flags(), "healthy");
    let down = [ProbeResult::NoAnswer; 3];
    assert_eq!(scene.after(&down), [Healthy, Healthy, Unhealthy]);
    assert_eq!(scene.flags(), "/failed_active_hc");
    assert_eq!(scene.after(&[PASSED, PASSED]), [Unhealthy, Healthy]);
}

#[test]
fn a_first_failure_ends_the_waiting_and_the_first_pass_is_then_one_of_several() {
    use CheckedHealth::{Healthy, Unhealthy};
    let mut scene = Scene::new(vec![check()]);
    assert_eq!(
        scene.after(&[ProbeResult::NoAnswer, PASSED, PASSED]),
        [Unhealthy, Unhealthy, Healthy]
    );
}

#[test]
fn results_of_the_other_kind_interrupt_a_row() {
    use CheckedHealth::Healthy;
    let mut scene = Scene::new(vec![check()]);
    let results = [
        PASSED,
        ProbeResult::TimedOut,
        ProbeResult::NoAnswer,
        PASSED,
        ProbeResult::NoAnswer,
        ProbeResult::FailedRetriably,
    ];
    assert_eq!(scene.after(&results), [Healthy; 6]);
    assert_eq!(scene.after(&[ProbeResult::TimedOut]), [CheckedHealth::Unhealthy]);
    assert_eq!(scene.flags(), "/failed_active_hc/active_hc_timeout");
    scene.after(&[PASSED, ProbeResult::NoAnswer, PASSED]);
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Unhealthy);
}

#[test]
fn an_endpoint_that_says_itself_that_it_is_not_well_is_believed_at_once() {
    for result in [ProbeResult::Failed, ProbeResult::FailedImmediately] {
        let mut scene = Scene::new(vec![check()]);
        scene.after(&[PASSED]);
        let verdict = scene.probe(0, result);
        assert_eq!((verdict.health, verdict.changed), (CheckedHealth::Unhealthy, true));
    }
}

#[test]
fn an_http_answer_passes_by_its_status_its_service_and_its_headers() {
    let fine = HttpAnswer {
        status: 200,
        service_matches: true,
        degraded: false,
        fails_immediately: false,
    };
    let probe = http(&[(200, 299)], &[(500, 503)]);
    for (answer, expected) in [
        (fine, PASSED),
        (HttpAnswer { status: 204, ..fine }, PASSED),
        (HttpAnswer { status: 302, ..fine }, ProbeResult::Failed),
        (HttpAnswer { status: 503, ..fine }, ProbeResult::FailedRetriably),
        (HttpAnswer { status: 504, ..fine }, ProbeResult::Failed),
        (HttpAnswer { service_matches: false, ..fine }, ProbeResult::Failed),
        (HttpAnswer { degraded: true, ..fine }, DEGRADED),
        (HttpAnswer { fails_immediately: true, ..fine }, ProbeResult::FailedImmediately),
        (
            HttpAnswer { status: 503, fails_immediately: true, ..fine },
            ProbeResult::FailedImmediately,
        ),
    ] {
        assert_eq!(ProbeResult::of_http(&probe, answer), expected, "{answer:?}");
    }
    let by_default = http(&[], &[]);
    assert_eq!(ProbeResult::of_http(&by_default, fine), PASSED);
    let created = HttpAnswer { status: 201, ..fine };
    assert_eq!(ProbeResult::of_http(&by_default, created), ProbeResult::Failed);
}

#[test]
fn a_grpc_answer_passes_when_it_serves() {
    for (status, serving, expected) in [
        (0, Some(1), PASSED),
        (0, Some(2), ProbeResult::Failed),
        (0, Some(0), ProbeResult::Failed),
        (0, None, ProbeResult::Failed),
        (5, None, ProbeResult::Failed),
        (12, None, ProbeResult::Failed),
        (14, None, ProbeResult::NoAnswer),
    ] {
        assert_eq!(ProbeResult::of_grpc(status, serving), expected, "{status} {serving:?}");
    }
}

#[test]
fn intervals_follow_result_and_edge() {
    let seconds = Duration::from_secs;
    let edges = HealthCheck {
        unhealthy_interval: Some(seconds(20)),
        unhealthy_edge_interval: Some(seconds(2)),
        healthy_edge_interval: Some(seconds(1)),
        ..check()
    };
    let mut scene = Scene::new(vec![edges]);
    let fail = ProbeResult::NoAnswer;
    for (step, (result, expected)) in [
        (PASSED, 5), // healthy at once
        (fail, 2),   // on its way to unhealthy
        (fail, 2),   //
        (fail, 20),  // unhealthy
        (fail, 20),  //
        (PASSED, 1), // on its way to healthy
        (PASSED, 5), // healthy
        (PASSED, 5), //
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(scene.probe(0, result).next_in, seconds(expected), "step {step}");
    }
    let mut plain = Scene::new(vec![check()]);
    for result in [PASSED, fail, fail, fail, PASSED] {
        assert_eq!(plain.probe(0, result).next_in, seconds(5));
    }
}

#[test]
fn without_traffic_probes_are_rare_and_jitter_spreads_them() {
    let mut scene =
        Scene::new(vec![HealthCheck { interval_jitter: Duration::from_secs(1), ..check() }]);
    scene.endpoint.counters().rq_total.store(0, Relaxed);
    let range = Duration::from_secs(60)..=Duration::from_secs(61);
    assert!(range.contains(&scene.probe(0, PASSED).next_in));
    scene.endpoint.counters().rq_total.store(1, Relaxed);
    let waits: Vec<_> = (0..20).map(|_| scene.probe(0, PASSED).next_in).collect();
    let range = Duration::from_secs(5)..=Duration::from_secs(6);
    assert!(waits.iter().all(|it| range.contains(it)), "{waits:?}");
    assert!(waits.iter().any(|it| *it != waits[0]));
    assert!(scene.state.first_probe_in(0, &mut scene.rng) <= Duration::from_secs(1));
    assert_eq!(scene.state.first_probe_in(9, &mut scene.rng), Duration::ZERO);
}

#[test]
fn an_endpoint_can_ask_to_be_used_last() {
    let mut scene = Scene::new(vec![check()]);
    assert_eq!(scene.after(&[DEGRADED]), [CheckedHealth::Degraded]);
    assert_eq!(scene.flags(), "/degraded_active_hc");
    assert_eq!(scene.after(&[PASSED]), [CheckedHealth::Healthy]);
}

#[test]
fn an_answer_to_a_client_can_take_an_endpoint_out_until_its_checks_pass() {
    let mut scene = Scene::new(vec![check()]);
    scene.after(&[PASSED]);
    let epoch = scene.epoch();
    scene.state.fail_checks_at_once(&scene.endpoint);
    assert_eq!(scene.flags(), "/failed_active_hc/excluded_via_immediate_hc_fail");
    assert_eq!(scene.epoch(), epoch + 1);
    assert_eq!(scene.state.check_counters().passive_failure.load(Relaxed), 1);
    assert_eq!(scene.after(&[PASSED, PASSED]), [CheckedHealth::Unhealthy, CheckedHealth::Healthy]);
    assert_eq!(scene.flags(), "healthy");

    let unchecked = Scene::new(Vec::new());
    unchecked.state.fail_checks_at_once(&unchecked.endpoint);
    assert_eq!(unchecked.flags(), "healthy");
}

#[test]
fn all_checks_must_pass() {
    let mut scene = Scene::new(vec![check(), check()]);
    scene.probe(0, PASSED);
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Pending);
    scene.probe(1, PASSED);
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Healthy);
    scene.probe(1, ProbeResult::Failed);
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Unhealthy);
    scene.probe(0, DEGRADED);
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Unhealthy);
}

#[test]
fn the_worse_of_configuration_and_checks_holds() {
    use CheckedHealth::{Degraded, Healthy, Pending, Unhealthy};
    for (result, expected) in [
        (None, [Pending, Pending, Unhealthy, Unhealthy]),
        (Some(PASSED), [Healthy, Degraded, Unhealthy, Unhealthy]),
        (Some(DEGRADED), [Degraded, Degraded, Unhealthy, Unhealthy]),
        (Some(ProbeResult::Failed), [Unhealthy; 4]),
    ] {
        let mut scene = Scene::new(vec![check()]);
        result.map(|it| scene.probe(0, it));
        let configured = [
            EndpointHealth::Healthy,
            EndpointHealth::Degraded,
            EndpointHealth::Draining,
            EndpointHealth::Unhealthy,
        ];
        assert_eq!(configured.map(|it| scene.endpoint.health(it)), expected, "{result:?}");
    }
}

#[test]
fn only_a_change_moves_the_membership_epoch() {
    let mut scene = Scene::new(vec![check()]);
    let mut epochs = Vec::new();
    for result in [PASSED, PASSED, ProbeResult::NoAnswer, ProbeResult::Failed, PASSED] {
        scene.probe(0, result);
        epochs.push(scene.epoch());
    }
    assert_eq!(epochs, [1, 1, 1, 2, 2]);
}

#[test]
fn a_passed_check_ends_an_ejection_if_the_settings_say_so() {
    for health_check_unejects in [true, false] {
        let outliers = OutlierDetection { health_check_unejects, ..OutlierDetection::default() };
        let cluster = Cluster { health_checks: vec![check()], outliers, ..Cluster::named("web") };
        let list = endpoints(vec![endpoint(0, 1, EndpointHealth::Healthy)]);
        let mut scene = Scene::new(vec![check()]);
        scene.state = ClusterState::new(Arc::new(cluster), list, after(&scene.state));
        let outcome = Outcome::ConnectFailed;
        scene.state.report(&scene.endpoint, outcome, 0, &mut scene.rng).unwrap();
        scene.probe(0, ProbeResult::NoAnswer);
        assert!(scene.endpoint.is_ejected(0));
        scene.probe(0, PASSED);
        assert!(scene.endpoint.is_ejected(0), "a pass that leaves it unhealthy ends nothing");
        scene.probe(0, PASSED);
        assert_eq!(scene.endpoint.is_ejected(0), !health_check_unejects);
    }
}

#[test]
fn a_configuration_that_calls_an_endpoint_healthy_again_ends_its_ejection_if_the_settings_say_so() {
    for health_check_unejects in [true, false] {
        let outliers = OutlierDetection { health_check_unejects, ..OutlierDetection::default() };
        let cluster = Arc::new(Cluster { outliers, ..Cluster::named("web") });
        let list = |health| endpoints(vec![endpoint(0, 1, health)]);
        let mut scene = Scene::new(Vec::new());
        let mut take = |health| {
            scene.state =
                ClusterState::new(Arc::clone(&cluster), list(health), after(&scene.state));
            let outcome = Outcome::ConnectFailed;
            let _ = scene.state.report(&scene.endpoint, outcome, 0, &mut scene.rng);
            scene.endpoint.is_ejected(0)
        };
        assert!(take(EndpointHealth::Healthy));
        assert!(take(EndpointHealth::Unhealthy), "it is no better");
        scene.state = ClusterState::new(
            Arc::clone(&cluster),
            list(EndpointHealth::Healthy),
            after(&scene.state),
        );
        assert_eq!(scene.endpoint.is_ejected(0), !health_check_unejects);
    }
}

#[test]
fn verdicts_outlive_a_change_of_configuration_and_end_with_their_check() {
    let mut scene = Scene::new(vec![check(), check()]);
    scene.probe(0, PASSED);
    scene.probe(1, ProbeResult::Failed);
    scene.state = state(vec![check(), check()], Some(&scene.state));
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Unhealthy);
    scene.state = state(vec![check()], Some(&scene.state));
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Healthy);
    scene.state = state(Vec::new(), Some(&scene.state));
    assert_eq!(scene.flags(), "healthy");
    // An endpoint in use goes on until a check that is new to it fails.
    scene.state = state(vec![check()], Some(&scene.state));
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Healthy);
    scene.histories = vec![ProbeHistory::default()];
    scene.probe(0, ProbeResult::Failed);
    assert_eq!(scene.endpoint.check().health(), CheckedHealth::Unhealthy);
}

#[test]
fn probes_are_counted_as_envoy_does() {
    let mut scene = Scene::new(vec![check()]);
    for result in [PASSED, ProbeResult::Failed, ProbeResult::TimedOut, ProbeResult::NoAnswer] {
        scene.probe(0, result);
    }
    let it = scene.state.check_counters();
    let counts = [&it.attempt, &it.success, &it.failure, &it.network_failure];
    assert_eq!(counts.map(|it| it.load(Relaxed)), [4, 1, 3, 2]);
}

#[test]
fn flags_are_printed_as_envoy_does() {
    let scene = Scene::new(Vec::new());
    let print = |it| scene.endpoint.health_flags(it, 0).to_string();
    assert_eq!(print(EndpointHealth::Healthy), "healthy");
    assert_eq!(print(EndpointHealth::Unhealthy), "/failed_eds_health");
    assert_eq!(print(EndpointHealth::Degraded), "/degraded_eds_health");
    assert_eq!(print(EndpointHealth::Draining), "/eds_status_draining");
    scene.state.report(&scene.endpoint, Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    assert_eq!(print(EndpointHealth::Unhealthy), "/failed_outlier_check/failed_eds_health");
}

#[test]
fn verdicts_and_ejections_count_from_the_next_pick_on() {
    let cluster = Cluster { health_checks: vec![check()], ..Cluster::named("web") };
    let list = (0..2).map(|it| endpoint(it, 1, EndpointHealth::Healthy)).collect();
    let state = ClusterState::new(Arc::new(cluster), endpoints(list), Surroundings::default());
    let both: Vec<_> = state.endpoints().map(|it| Arc::clone(it.1)).collect();
    let mut histories = [ProbeHistory::default(); 2];
    let mut rng = seeded();
    let mut probe = |idx: usize, result| {
        let history = &mut histories[idx];
        state.judge_probe(&both[idx], 0, history, result, 0, &mut seeded()).unwrap();
    };
    let mut picked = || {
        let picks = (0..50).filter_map(|_| state.pick(&PickRequest::at(0), &mut rng).ok());
        let mut ids: Vec<_> = picks.map(|it| it.endpoint().id().to_owned()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    assert!(picked().is_empty());
    probe(0, PASSED);
    assert_eq!(picked(), ["n/web-0"]);
    probe(1, PASSED);
    assert_eq!(picked(), ["n/web-0", "n/web-1"]);
    state.report(&both[0], Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    assert_eq!(picked(), ["n/web-1"]);
    probe(0, PASSED);
    assert_eq!(picked(), ["n/web-0", "n/web-1"]);
    state.fail_checks_at_once(&both[1]);
    assert_eq!(picked(), ["n/web-0"]);
}
