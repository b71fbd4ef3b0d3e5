use std::sync::Arc;

use proxy_config::Balancing;

use super::{EvidenceKind, Outcome};
use crate::testing::state;
use crate::{ClusterState, EndpointState};

const SECOND_NS: u64 = 1_000_000_000;

fn first(state: &ClusterState) -> Arc<EndpointState> {
    Arc::clone(state.endpoints().next().unwrap().1)
}

#[test]
fn the_first_failed_connection_ejects_and_is_evidence_once() {
    let state = state(Balancing::Random, &[1, 1]);
    let endpoint = first(&state);
    let evidence = state.report(&endpoint, Outcome::ConnectFailed, 5).unwrap();
    assert_eq!(evidence.kind, EvidenceKind::ConnectFailed);
    assert_eq!((evidence.cluster.as_str(), evidence.endpoint.as_str()), ("web", "n/web-0"));
    assert_eq!(evidence.at_ns, 5);
    assert_eq!(state.report(&endpoint, Outcome::ConnectFailed, 6), None);
    assert_eq!(state.ejected_count(6), 1);
    assert_eq!(state.ejections_total(), 1);
}

#[test]
fn ejections_double_up_to_thirty_seconds() {
    let state = state(Balancing::Random, &[1, 1]);
    let endpoint = first(&state);
    let mut now_ns = 0;
    let mut seconds = Vec::new();
    for _ in 0..7 {
        state.report(&endpoint, Outcome::ConnectTimedOut, now_ns).unwrap();
        seconds.push((endpoint.ejected_until_ns() - now_ns) / SECOND_NS);
        now_ns = endpoint.ejected_until_ns();
    }
    assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn a_success_after_the_ejection_is_a_recovery_and_one_during_it_is_not() {
    let state = state(Balancing::Random, &[1, 1]);
    let endpoint = first(&state);
    let fine = Outcome::Response { status: 204 };
    state.report(&endpoint, Outcome::BrokenBeforeResponse { reused: false }, 0).unwrap();
    assert_eq!(state.report(&endpoint, fine, 1), None);
    assert!(endpoint.is_ejected(1));
    let evidence = state.report(&endpoint, fine, 2 * SECOND_NS).unwrap();
    assert_eq!(evidence.kind, EvidenceKind::Recovered);
    assert_eq!(state.report(&endpoint, fine, 2 * SECOND_NS), None);
    state.report(&endpoint, Outcome::ConnectFailed, 3 * SECOND_NS).unwrap();
    assert_eq!(endpoint.ejected_until_ns(), 4 * SECOND_NS);
}

#[test]
fn five_errors_in_a_row_eject_and_a_success_between_them_resets() {
    let state = state(Balancing::Random, &[1, 1]);
    let endpoint = first(&state);
    let error = Outcome::Response { status: 503 };
    for _ in 0..4 {
        assert_eq!(state.report(&endpoint, error, 0), None);
    }
    state.report(&endpoint, Outcome::Response { status: 404 }, 0);
    for outcome in [error, Outcome::ResponseTimedOut, error, error] {
        assert_eq!(state.report(&endpoint, outcome, 0), None);
    }
    let evidence = state.report(&endpoint, Outcome::BrokenBeforeResponse { reused: true }, 0);
    assert_eq!(evidence.unwrap().kind, EvidenceKind::ConsecutiveErrors);
}

#[test]
fn a_request_that_the_client_left_says_nothing() {
    let state = state(Balancing::Random, &[1, 1]);
    let endpoint = first(&state);
    for _ in 0..9 {
        assert_eq!(state.report(&endpoint, Outcome::Abandoned, 0), None);
    }
    assert_eq!(state.ejected_count(0), 0);
}

#[test]
fn workers_that_see_one_failure_together_eject_once() {
    for _ in 0..50 {
        let state = state(Balancing::Random, &[1, 1]);
        let endpoint = first(&state);
        let evidence: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| state.report(&endpoint, Outcome::ConnectFailed, 0)))
                .collect();
            workers.into_iter().filter_map(|worker| worker.join().unwrap()).count()
        });
        assert_eq!(evidence, 1);
    }
}
