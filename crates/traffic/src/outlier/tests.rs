use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use proptest::prelude::*;
use proxy_config::{
    Cluster, Detector, EndpointHealth, FailurePercentage, OutlierDetection, SuccessRate,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Evidence, EvidenceKind, Outcome, OutlierDetector, RateKind};
use crate::testing::{after, endpoint, endpoints, race, seeded};
use crate::{ClusterState, EndpointState, Surroundings};

mod rates;

const SECOND_NS: u64 = 1_000_000_000;

const FINE: Outcome = Outcome::Response { status: 204 };
const ERROR: Outcome = Outcome::Response { status: 500 };
const UNAVAILABLE: Outcome = Outcome::Response { status: 503 };

/// `count` endpoints under these settings, with a seed for chance.
struct Scene {
    state: ClusterState,
    endpoints: Vec<Arc<EndpointState>>,
    rng: StdRng,
}

impl Scene {
    fn new(outliers: OutlierDetection, count: usize) -> Self {
        let cluster = Cluster { outliers, ..Cluster::named("web") };
        let list = (0..count).map(|it| endpoint(it, 1, EndpointHealth::Healthy)).collect();
        let state = ClusterState::new(Arc::new(cluster), endpoints(list), Surroundings::default());
        let endpoints = state.endpoints().map(|(_, it)| Arc::clone(it)).collect();
        Self { state, endpoints, rng: StdRng::seed_from_u64(1) }
    }

    fn report(&mut self, idx: usize, outcome: Outcome, now_ns: u64) -> Option<EvidenceKind> {
        let endpoint = &self.endpoints[idx];
        self.state.report(endpoint, outcome, now_ns, &mut self.rng).map(|it| it.kind)
    }

    fn report_all(&mut self, idx: usize, outcome: Outcome, count: usize) {
        for _ in 0..count {
            self.report(idx, outcome, 0);
        }
    }

    fn on_interval(&mut self, now_ns: u64) -> Vec<Evidence> {
        self.state.on_interval(now_ns, &mut self.rng)
    }

    fn count(&self, detector: OutlierDetector) -> (u64, u64) {
        let count = self.state.outlier_count(detector);
        (count.detected, count.enforced)
    }

    fn ejected_for_s(&self, idx: usize, now_ns: u64) -> u64 {
        (self.endpoints[idx].ejected_until_ns() - now_ns) / SECOND_NS
    }
}

fn two() -> Scene {
    Scene::new(OutlierDetection::default(), 2)
}

fn envoy() -> OutlierDetection {
    OutlierDetection { ejection_max_percent: 100, ..OutlierDetection::envoy() }
}

#[test]
fn the_first_failed_connection_ejects_and_is_evidence_once() {
    let mut scene = two();
    let endpoint = Arc::clone(&scene.endpoints[0]);
    let evidence =
        scene.state.report(&endpoint, Outcome::ConnectFailed, 5, &mut scene.rng).unwrap();
    assert_eq!(evidence.kind, EvidenceKind::ConnectFailed);
    assert_eq!((evidence.cluster.as_str(), evidence.endpoint.as_str()), ("web", "n/web-0"));
    assert_eq!(evidence.at_ns, 5);
    assert_eq!(evidence.ejected_ns, endpoint.ejected_until_ns() - 5);
    assert_eq!(scene.report(0, Outcome::ConnectFailed, 6), None);
    assert_eq!(scene.state.ejected_count(6), 1);
    assert_eq!(scene.state.ejections_total(), 1);
    assert_eq!(scene.count(OutlierDetector::ConsecutiveLocalOriginFailure), (1, 1));
}

#[test]
fn ejections_double_up_to_thirty_seconds() {
    let mut scene = two();
    let mut now_ns = 0;
    let mut seconds = Vec::new();
    for _ in 0..7 {
        scene.report(0, Outcome::ConnectTimedOut, now_ns).unwrap();
        seconds.push(scene.ejected_for_s(0, now_ns));
        now_ns = scene.endpoints[0].ejected_until_ns();
    }
    assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn a_success_after_the_ejection_is_a_recovery_and_one_during_it_is_not() {
    let mut scene = two();
    scene.report(0, Outcome::BrokenBeforeResponse { reused: false }, 0).unwrap();
    assert_eq!(scene.report(0, FINE, 1), None);
    assert!(scene.endpoints[0].is_ejected(1));
    assert_eq!(scene.report(0, FINE, 2 * SECOND_NS), Some(EvidenceKind::Recovered));
    assert_eq!(scene.report(0, FINE, 2 * SECOND_NS), None);
    scene.report(0, Outcome::ConnectFailed, 3 * SECOND_NS).unwrap();
    assert_eq!(scene.endpoints[0].ejected_until_ns(), 4 * SECOND_NS);
}

#[test]
fn five_errors_in_a_row_eject_and_a_success_between_them_resets() {
    let mut scene = two();
    for _ in 0..4 {
        assert_eq!(scene.report(0, UNAVAILABLE, 0), None);
    }
    scene.report(0, Outcome::Response { status: 404 }, 0);
    for outcome in [UNAVAILABLE, Outcome::ResponseTimedOut, UNAVAILABLE, UNAVAILABLE] {
        assert_eq!(scene.report(0, outcome, 0), None);
    }
    let evidence = scene.report(0, Outcome::BrokenBeforeResponse { reused: true }, 0);
    assert_eq!(evidence, Some(EvidenceKind::ConsecutiveErrors));
    assert_eq!(scene.count(OutlierDetector::Consecutive5xx), (1, 1));
    // The gateway detector is off by default: it is counted and does not eject.
    assert_eq!(scene.count(OutlierDetector::ConsecutiveGatewayFailure), (1, 0));
}

#[test]
fn a_request_that_the_client_left_says_nothing() {
    let mut scene = two();
    scene.report_all(0, Outcome::Abandoned, 9);
    assert_eq!(scene.state.ejected_count(0), 0);
}

#[test]
fn workers_that_see_one_failure_together_eject_once() {
    for _ in 0..50 {
        let scene = two();
        let evidence: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut rng = StdRng::seed_from_u64(1);
                        let endpoint = &scene.endpoints[0];
                        scene.state.report(endpoint, Outcome::ConnectFailed, 0, &mut rng)
                    })
                })
                .collect();
            workers.into_iter().filter_map(|worker| worker.join().unwrap()).count()
        });
        assert_eq!(evidence, 1);
    }
}

#[test]
fn local_events_count_as_statuses_where_they_are_not_split_off() {
    let broken = |reused| Outcome::BrokenBeforeResponse { reused };
    for (outcome, split, not_split) in [
        (Outcome::Response { status: 502 }, Some(502), Some(502)),
        (Outcome::ConnectFailed, None, Some(503)),
        (Outcome::ConnectTimedOut, None, Some(504)),
        (broken(false), None, Some(503)),
        (broken(true), Some(503), Some(503)),
        (Outcome::ResponseTimedOut, Some(504), Some(504)),
        (Outcome::Abandoned, None, None),
    ] {
        assert_eq!(outcome.code(true), split, "{outcome:?}");
        assert_eq!(outcome.code(false), not_split, "{outcome:?}");
    }
}

#[test]
fn not_split_failed_connections_are_errors_in_a_row_like_any() {
    let mut scene = Scene::new(envoy(), 2);
    for _ in 0..4 {
        assert_eq!(scene.report(0, Outcome::ConnectFailed, 0), None);
    }
    assert_eq!(scene.report(0, ERROR, 0), Some(EvidenceKind::ConsecutiveErrors));
    assert_eq!(scene.count(OutlierDetector::ConsecutiveLocalOriginFailure), (0, 0));
}

#[test]
fn gateway_failures_eject_where_they_are_enforced_and_other_errors_interrupt_them() {
    let enforced = Detector { threshold: 3, enforcing_percent: 100 };
    let settings = OutlierDetection { consecutive_gateway_failure: enforced, ..envoy() };
    let mut scene = Scene::new(settings, 2);
    for outcome in [UNAVAILABLE, UNAVAILABLE, ERROR, UNAVAILABLE] {
        assert_eq!(scene.report(0, outcome, 0), None);
    }
    assert_eq!(scene.report(0, ERROR, 0), Some(EvidenceKind::ConsecutiveErrors));
    for _ in 0..2 {
        assert_eq!(scene.report(1, UNAVAILABLE, 0), None);
    }
    assert_eq!(scene.report(1, UNAVAILABLE, 0), Some(EvidenceKind::GatewayFailures));
}

#[test]
fn a_detection_that_is_not_enforced_is_asked_for_again_after_as_many_failures() {
    let never = Detector { threshold: 5, enforcing_percent: 0 };
    let mut scene = Scene::new(OutlierDetection { consecutive_5xx: never, ..envoy() }, 2);
    scene.report_all(0, ERROR, 23);
    assert_eq!(scene.count(OutlierDetector::Consecutive5xx), (4, 0));
    assert_eq!(scene.state.ejected_count(0), 0);
}

#[test]
fn a_share_that_is_enforced_ejects_so_many() {
    let sometimes = Detector { threshold: 1, enforcing_percent: 30 };
    let settings = OutlierDetection { consecutive_5xx: sometimes, ..envoy() };
    let mut scene = Scene::new(settings, 2000);
    for idx in 0..2000 {
        scene.report(idx, ERROR, 0);
    }
    let (detected, enforced) = scene.count(OutlierDetector::Consecutive5xx);
    assert_eq!(detected, 2000);
    // 600 expected, standard deviation 20: five of them.
    assert!((500..=700).contains(&enforced), "{enforced}");
}

#[test]
fn with_envoys_ten_percent_a_small_cluster_never_ejects_and_always_eject_one_lets_it() {
    for (count, always_eject_one, expected) in
        [(9, false, 0), (10, false, 1), (19, false, 1), (20, false, 2), (9, true, 1), (1, true, 1)]
    {
        let settings = OutlierDetection { always_eject_one, ..OutlierDetection::envoy() };
        let mut scene = Scene::new(settings, count);
        for idx in 0..count {
            scene.report_all(idx, ERROR, 5);
        }
        assert_eq!(scene.state.ejected_count(0), expected, "of {count}");
        assert_eq!(scene.state.ejections_overflow() as usize, count - expected, "of {count}");
    }
}

#[test]
fn envoys_ejections_grow_by_the_base_and_end_on_a_tick() {
    let mut scene = Scene::new(envoy(), 2);
    assert_eq!(scene.state.next_interval_at(0), 10 * SECOND_NS);
    let mut now_ns = 3 * SECOND_NS;
    let mut ends = Vec::new();
    for _ in 0..12 {
        for _ in 0..5 {
            scene.report(0, ERROR, now_ns);
        }
        let end_ns = scene.endpoints[0].ejected_until_ns();
        ends.push((end_ns - now_ns) / SECOND_NS);
        now_ns = end_ns + 3 * SECOND_NS;
    }
    // 30 s × n from 3 s after a tick, to the next tick, up to 300 s.
    assert_eq!(ends, [37, 67, 97, 127, 157, 187, 217, 247, 277, 307, 307, 307]);
}

#[test]
fn healthy_intervals_take_the_length_of_ejections_down_again() {
    let mut scene = Scene::new(envoy(), 2);
    let mut now_ns = 0;
    scene.state.next_interval_at(0);
    for expected_s in [30, 60] {
        for _ in 0..5 {
            scene.report(0, ERROR, now_ns);
        }
        assert_eq!(scene.ejected_for_s(0, now_ns), expected_s);
        now_ns = scene.endpoints[0].ejected_until_ns();
        scene.on_interval(now_ns);
    }
    // Two ejections; the interval in which the second ended does not count, the next one does.
    now_ns += 10 * SECOND_NS;
    scene.on_interval(now_ns);
    for _ in 0..5 {
        scene.report(0, ERROR, now_ns);
    }
    assert_eq!(scene.ejected_for_s(0, now_ns), 60);
}

#[test]
fn jitter_is_added_to_an_ejection_and_differs() {
    let jitter = std::time::Duration::from_secs(10);
    let settings = OutlierDetection { ejection_jitter: jitter, ..OutlierDetection::default() };
    let mut scene = Scene::new(settings, 20);
    let mut ends: Vec<_> = (0..20)
        .map(|idx| {
            scene.report(idx, Outcome::ConnectFailed, 0).unwrap();
            scene.endpoints[idx].ejected_until_ns()
        })
        .collect();
    assert!(ends.iter().all(|it| (SECOND_NS..=11 * SECOND_NS).contains(it)), "{ends:?}");
    ends.sort_unstable();
    ends.dedup();
    assert!(ends.len() > 15, "{ends:?}");
}

#[test]
fn failures_of_before_and_during_an_ejection_are_forgotten_when_it_ends() {
    let mut scene = two();
    scene.report_all(0, ERROR, 3);
    scene.report(0, Outcome::ConnectFailed, 0).unwrap();
    scene.report_all(0, ERROR, 1);
    for _ in 0..4 {
        assert_eq!(scene.report(0, ERROR, 2 * SECOND_NS), None);
    }
    assert_eq!(scene.report(0, ERROR, 2 * SECOND_NS), Some(EvidenceKind::ConsecutiveErrors));
}

#[test]
fn every_ejection_moves_the_membership_epoch() {
    let mut scene = two();
    let epoch =
        |scene: &Scene| scene.state.membership_epoch().load(std::sync::atomic::Ordering::Acquire);
    let before = epoch(&scene);
    scene.report(0, ERROR, 0);
    assert_eq!(epoch(&scene), before);
    scene.report(0, Outcome::ConnectFailed, 0);
    assert_eq!(epoch(&scene), before + 1);
}

#[test]
fn new_detectors_begin_to_count_anew_and_ejections_stay() {
    let mut scene = two();
    scene.report_all(0, ERROR, 4);
    scene.report(1, Outcome::ConnectFailed, 0);
    let outliers = OutlierDetection {
        consecutive_5xx: Detector { threshold: 2, enforcing_percent: 100 },
        ..OutlierDetection::default()
    };
    let cluster = Cluster { outliers, ..Cluster::named("web") };
    let list = (0..2).map(|it| endpoint(it, 1, EndpointHealth::Healthy)).collect();
    let state = ClusterState::new(Arc::new(cluster), endpoints(list), after(&scene.state));
    scene.state = state;
    assert_eq!(scene.state.ejected_count(0), 1);
    assert_eq!(scene.report(0, ERROR, 0), None);
    assert_eq!(scene.report(0, ERROR, 0), Some(EvidenceKind::ConsecutiveErrors));
}

#[test]
fn a_grpc_status_counts_as_the_status_that_it_maps_to() {
    for (grpc, http) in [(0, 200), (1, 200), (2, 500), (4, 504), (8, 200), (13, 500), (14, 503)] {
        assert_eq!(Outcome::of_grpc(grpc), Outcome::Response { status: http }, "{grpc}");
    }
}

#[test]
fn workers_together_never_eject_more_than_is_allowed() {
    const ROUNDS: usize = 20_000;
    let first = Detector { threshold: 1, enforcing_percent: 100 };
    let settings = OutlierDetection {
        consecutive_5xx: first,
        ejection_max_percent: 1,
        ..OutlierDetection::envoy()
    };
    let scene = Scene::new(settings, 100);
    let ejections: Vec<_> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    race(ROUNDS, |worker, round| {
        // Long after the ejections of the round before.
        let now_ns = round as u64 * 1000 * SECOND_NS;
        let endpoint = &scene.endpoints[worker * 50];
        let evidence = scene.state.report(endpoint, ERROR, now_ns, &mut seeded());
        ejections[round].fetch_add(usize::from(evidence.is_some()), SeqCst);
    });
    assert_eq!(ejections.iter().map(|it| it.load(SeqCst)).max(), Some(1));
}

#[test]
fn the_length_of_ejections_stops_growing_at_the_longest_so_that_it_can_come_down() {
    let mut scene = Scene::new(envoy(), 2);
    scene.state.next_interval_at(0);
    let mut now_ns = 0;
    for _ in 0..40 {
        for _ in 0..5 {
            scene.report(0, ERROR, now_ns);
        }
        now_ns = scene.endpoints[0].ejected_until_ns();
    }
    // Forty ejections; of 300 s at most are as many as eleven of 30 s, and so eleven healthy
    // intervals undo them (and one goes by in which the last ejection ends).
    for _ in 0..12 {
        scene.on_interval(now_ns);
        now_ns += 10 * SECOND_NS;
    }
    for _ in 0..5 {
        scene.report(0, ERROR, now_ns);
    }
    assert_eq!(scene.ejected_for_s(0, now_ns), 30);
}

proptest! {
    #[test]
    fn the_highest_percentage_is_never_passed(
        count in 1usize..30,
        percent in 0u8..100,
        always_eject_one: bool,
        seed: u64,
    ) {
        let settings = OutlierDetection {
            ejection_max_percent: percent,
            always_eject_one,
            ..OutlierDetection::default()
        };
        let mut scene = Scene::new(settings, count);
        let mut chance = StdRng::seed_from_u64(seed);
        let mut now_ns = 0;
        for _ in 0..200 {
            now_ns += chance.random_range(0..SECOND_NS / 2);
            let idx = chance.random_range(0..count);
            let outcome = [FINE, ERROR, Outcome::ConnectFailed][chance.random_range(0..3usize)];
            scene.report(idx, outcome, now_ns);
            scene.on_interval(now_ns);
            let ejected = scene.state.ejected_count(now_ns);
            let allowed = usize::from(percent) * count / 100;
            prop_assert!(ejected <= allowed.max(usize::from(always_eject_one)));
        }
    }
}
