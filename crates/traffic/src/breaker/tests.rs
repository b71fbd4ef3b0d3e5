use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use proxy_config::{
    CircuitBreakers, Cluster, EndpointHealth, RetryBudget, RoutingPriority as Priority,
};

use super::{Breaker, Overflow, Permit};
use crate::testing::{after, endpoint, endpoints, race};
use crate::{ClusterState, Surroundings};

fn state(breakers: CircuitBreakers, retry_budget: Option<RetryBudget>) -> Arc<ClusterState> {
    let cluster = Cluster { breakers, retry_budget, ..Cluster::named("web") };
    let list = endpoints(vec![endpoint(0, 1, EndpointHealth::Healthy)]);
    Arc::new(ClusterState::new(Arc::new(cluster), list, Surroundings::default()))
}

fn requests_max(requests_max: u32) -> CircuitBreakers {
    CircuitBreakers { requests_max, ..CircuitBreakers::default() }
}

#[test]
fn a_request_over_the_limit_is_refused_and_counted_until_one_ends() {
    let state = state(requests_max(2), None);
    let first = Permit::try_request(&state, Priority::Default).unwrap();
    let _second = Permit::try_request(&state, Priority::Default).unwrap();
    let refused = Permit::try_request(&state, Priority::Default).unwrap_err();
    assert_eq!(refused, Overflow(Breaker::Requests));
    assert_eq!(state.breaker_overflows(Breaker::Requests), 1);
    let level = state.breaker(Priority::Default, Breaker::Requests);
    assert!(level.is_open());
    assert_eq!((level.current, level.remaining()), (2, 0));
    drop(first);
    assert!(Permit::try_request(&state, Priority::Default).is_ok());
    assert_eq!(state.breaker(Priority::Default, Breaker::Requests).remaining(), 1);
}

#[test]
fn priorities_and_kinds_are_counted_apart() {
    let state = state(CircuitBreakers { pending_max: 1, ..requests_max(1) }, None);
    let _request = Permit::try_request(&state, Priority::Default).unwrap();
    let _pending = Permit::try_pending(&state, Priority::Default).unwrap();
    assert!(Permit::try_request(&state, Priority::Default).is_err());
    let _high = Permit::try_request(&state, Priority::High).unwrap();
    assert_eq!(state.breaker(Priority::High, Breaker::Requests).max, 1024);
}

#[test]
fn an_only_connection_is_opened_over_the_limit_and_counted() {
    let state = state(CircuitBreakers { connections_max: 1, ..CircuitBreakers::default() }, None);
    let _first = Permit::try_connection(&state, Priority::Default, true).unwrap();
    assert!(Permit::try_connection(&state, Priority::Default, false).is_err());
    let _only = Permit::try_connection(&state, Priority::Default, true).unwrap();
    assert_eq!(state.breaker_overflows(Breaker::Connections), 2);
    assert_eq!(state.breaker(Priority::Default, Breaker::Connections).current, 2);
}

#[test]
fn a_budget_lets_a_fifth_of_the_requests_be_retries_and_always_three() {
    let state = state(requests_max(1000), Some(RetryBudget::default()));
    let max = |state: &ClusterState| state.breaker(Priority::Default, Breaker::Retries).max;
    assert_eq!(max(&state), 3);
    let mut held = Vec::new();
    for (requests, expected) in [(15, 3), (19, 3), (20, 4), (100, 20), (104, 20), (105, 21)] {
        while held.len() < requests {
            held.push(Permit::try_request(&state, Priority::Default).unwrap());
        }
        assert_eq!(max(&state), expected, "with {requests} requests");
    }
    let _waiting: Vec<_> =
        (0..95).map(|_| Permit::try_pending(&state, Priority::Default).unwrap()).collect();
    assert_eq!(max(&state), 40);
    let _retries: Vec<_> =
        (0..40).map(|_| Permit::try_retry(&state, Priority::Default).unwrap()).collect();
    assert!(Permit::try_retry(&state, Priority::Default).is_err());
    assert_eq!(state.breaker_overflows(Breaker::Retries), 1);
}

#[test]
fn without_a_budget_the_number_of_retries_holds() {
    let state = state(CircuitBreakers::default(), None);
    let retries: Vec<_> =
        (0..3).map(|_| Permit::try_retry(&state, Priority::Default).unwrap()).collect();
    assert!(Permit::try_retry(&state, Priority::Default).is_err());
    drop(retries);
    assert!(Permit::try_retry(&state, Priority::Default).is_ok());
}

#[test]
fn counts_outlive_a_change_of_configuration() {
    let before = state(requests_max(2), None);
    let held = Permit::try_request(Arc::clone(&before), Priority::Default).unwrap();
    let cluster = Cluster { breakers: requests_max(1), ..Cluster::named("web") };
    let list = endpoints(vec![endpoint(0, 1, EndpointHealth::Healthy)]);
    let renewed = ClusterState::new(Arc::new(cluster), list, after(&before));
    assert!(Permit::try_request(&renewed, Priority::Default).is_err());
    drop(held);
    assert!(Permit::try_request(&renewed, Priority::Default).is_ok());
}

#[test]
fn workers_together_never_pass_the_limit() {
    let state = state(requests_max(1), None);
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    race(50_000, |_, _| {
        if let Ok(permit) = Permit::try_request(&state, Priority::Default) {
            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
            inside.fetch_sub(1, SeqCst);
            drop(permit);
        }
    });
    assert_eq!(most.load(SeqCst), 1);
    assert_eq!(state.breaker(Priority::Default, Breaker::Requests).current, 0);
}
