use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proxy_config::{Balancing, EndpointHealth, HashFunction, HashKey, Maglev, RingHash};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{PickError, PickRequest, Picked, Picker, Verdict};
use crate::testing::{cluster, endpoint, endpoints, seeded, state};
use crate::{ClusterState, EndpointState, Outcome, Surroundings};

mod narrowing;
mod policies;
mod simulation;

const LEAST_REQUEST: Balancing = Balancing::LeastRequest(proxy_config::LeastRequest {
    choices: 2,
    active_request_bias_percent: 100,
});
const POLICIES: [Balancing; 7] = [
    Balancing::Random,
    Balancing::RoundRobin,
    Balancing::Weighted,
    LEAST_REQUEST,
    Balancing::PeakEwma(proxy_config::PeakEwma {
        decay: Duration::from_secs(10),
        initial_rtt: Duration::from_millis(30),
    }),
    RING,
    MAGLEV,
];
const RING: Balancing = Balancing::RingHash(RingHash {
    size_min: 1024,
    size_max: 1 << 23,
    function: HashFunction::XxHash,
    key: HashKey::Address,
    load_max_percent: None,
});
const MAGLEV: Balancing =
    Balancing::Maglev(Maglev { table_size: 65_537, key: HashKey::Address, load_max_percent: None });

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(7)
}

fn after(previous: &ClusterState) -> Surroundings<'_> {
    Surroundings { previous: Some(previous), ..Surroundings::default() }
}

/// A pick for a request that was already sent to an endpoint.
fn without(state: &ClusterState, now_ns: u64, tried: &str) -> Result<Picked, PickError> {
    let exclude = [Arc::clone(by_id(state, tried))];
    state.pick(&PickRequest { exclude: &exclude, ..PickRequest::at(now_ns) }, &mut rng())
}

fn by_id<'a>(state: &'a ClusterState, id: &str) -> &'a Arc<EndpointState> {
    state.endpoints().find(|(endpoint, _)| endpoint.id == id).unwrap().1
}

/// How often each endpoint is picked by `picks` requests that end at once.
fn counts(state: &ClusterState, now_ns: u64, picks: usize) -> BTreeMap<String, usize> {
    let mut rng = rng();
    let mut counts = BTreeMap::new();
    for _ in 0..picks {
        let picked = state.pick(&PickRequest::at(now_ns), &mut rng).unwrap();
        *counts.entry(picked.endpoint().id().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn a_picked_endpoint_can_be_sent_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Picked>();
}

#[test]
fn random_is_uniform_within_five_sigma() {
    let counts = counts(&state(Balancing::Random, &[1, 9, 1, 1]), 0, 40_000);
    let sigma = (40_000.0 * 0.25 * 0.75_f64).sqrt();
    for count in counts.values() {
        assert!((*count as f64 - 10_000.0).abs() < 5.0 * sigma, "{counts:?}");
    }
    assert_eq!(counts.len(), 4);
}

#[test]
fn round_robin_starts_at_its_seed() {
    let list = (0..3).map(|idx| endpoint(idx, 1, EndpointHealth::Healthy)).collect();
    let seeded = |seed| {
        let state = ClusterState::new(
            cluster(Balancing::RoundRobin),
            endpoints(list),
            Surroundings { seed, ..Surroundings::default() },
        );
        state.pick(&PickRequest::at(0), &mut rng()).unwrap().endpoint().id().to_owned()
    };
    assert_eq!(seeded(2 << 16), "n/web-2");
}

#[test]
fn turns_are_exact_across_workers() {
    let state = state(Balancing::Weighted, &[5, 3, 1]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| counts(&state, 0, 900));
        }
    });
    let totals: Vec<u64> = state
        .endpoints()
        .map(|(_, it)| it.counters().rq_total.load(std::sync::atomic::Ordering::Relaxed))
        .collect();
    assert_eq!(totals, [2000, 1200, 400]);
}

#[test]
fn workers_that_pick_eject_and_make_tables_at_once_end_with_what_is_true() {
    for policy in POLICIES {
        let state = state(policy, &[1, 2, 3, 4]);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let state = &state;
                scope.spawn(move || {
                    let mut rng = SmallRng::seed_from_u64(worker);
                    for nth in 0..500 {
                        let picked = state.pick(&PickRequest::at(nth), &mut rng).unwrap();
                        if picked.endpoint().id() != "n/web-3" && nth % 50 == 49 {
                            state.report(
                                picked.endpoint(),
                                Outcome::ConnectFailed,
                                nth,
                                &mut seeded(),
                            );
                        }
                        if worker == 0 && nth % 100 == 0 && state.tables_are_stale(nth) {
                            state.rebuild_tables(nth);
                        }
                    }
                });
            }
        });
        let ejected: Vec<bool> = state.endpoints().map(|it| it.1.is_ejected(500)).collect();
        let counts = counts(&state, 500, 400);
        for (idx, ejected) in ejected.iter().enumerate() {
            assert_eq!(!counts.contains_key(&format!("n/web-{idx}")), *ejected, "{policy:?}");
        }
        assert!(state.endpoints().all(|it| it.1.active() == 0));
    }
}

#[test]
fn least_request_takes_the_one_with_fewer_active_requests_per_weight() {
    let state = state(LEAST_REQUEST, &[1, 4]);
    let mut rng = rng();
    let held: Vec<Picked> =
        (0..50).map(|_| state.pick(&PickRequest::at(0), &mut rng).unwrap()).collect();
    let heavy = by_id(&state, "n/web-1").active();
    assert!((39..=41).contains(&heavy), "{heavy}");
    drop(held);
    assert!(state.endpoints().all(|(_, it)| it.active() == 0));
}

#[test]
fn an_ejected_endpoint_is_not_picked_until_its_ejection_ends() {
    for policy in POLICIES {
        let state = state(policy, &[2, 1, 1]);
        state.report(by_id(&state, "n/web-0"), Outcome::ConnectFailed, 10, &mut seeded()).unwrap();
        assert!(!counts(&state, 11, 200).contains_key("n/web-0"), "{policy:?}");
        assert!(counts(&state, 1_000_000_010, 200).contains_key("n/web-0"), "{policy:?}");
    }
}

#[test]
fn a_picker_sees_at_once_what_others_see() {
    let state = Arc::new(state(Balancing::RoundRobin, &[1, 1]));
    let mut picker = Picker::new(state.clone());
    let mut pick = |now_ns| {
        let mut ids: Vec<String> = (0..4)
            .map(|_| picker.pick(&PickRequest::at(now_ns), &mut rng()).unwrap())
            .map(|it| it.endpoint().id().to_owned())
            .collect();
        ids.sort();
        ids.dedup();
        ids
    };
    assert_eq!(pick(0).len(), 2);
    state.report(by_id(&state, "n/web-0"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    assert_eq!(pick(1), ["n/web-1"]);
    // Another one makes the next plan when the ejection has ended.
    assert_eq!(counts(&state, 1_000_000_000, 10).len(), 2);
    assert_eq!(pick(1_000_000_000).len(), 2);
}

#[test]
fn what_is_kept_of_a_pick_is_its_endpoint_alone() {
    let state = Arc::new(state(Balancing::Random, &[1; 3]));
    let mut picker = Picker::new(state.clone());
    let mut picked = picker.pick(&PickRequest::at(0), &mut rng()).unwrap();
    let endpoint = picked.endpoint().clone();
    picked.keep();
    let others: Vec<Arc<EndpointState>> = state.endpoints().map(|it| it.1.clone()).collect();
    drop((picker, state));
    for other in others {
        let held = if Arc::ptr_eq(&other, &endpoint) { 3 } else { 1 };
        assert_eq!(Arc::strong_count(&other), held);
    }
    assert_eq!(endpoint.active(), 1);
    drop(picked);
    assert_eq!(endpoint.active(), 0);
}

#[test]
fn turns_stay_fair_while_one_is_ejected() {
    let state = state(Balancing::RoundRobin, &[1; 5]);
    state.report(by_id(&state, "n/web-2"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    assert!(counts(&state, 1, 400).values().all(|count| *count == 100));
}

#[test]
fn when_all_are_ejected_all_are_used() {
    for policy in POLICIES {
        let state = state(policy, &[1, 1]);
        for id in ["n/web-0", "n/web-1"] {
            state.report(by_id(&state, id), Outcome::ConnectTimedOut, 0, &mut seeded()).unwrap();
        }
        assert_eq!(counts(&state, 1, 100).len(), 2);
        assert!(state.pick(&PickRequest::at(1), &mut rng()).unwrap().is_panic());
    }
}

#[test]
fn a_retry_goes_elsewhere_and_to_the_same_only_if_it_is_alone() {
    for policy in POLICIES {
        let two = state(policy, &[1, 100]);
        for _ in 0..50 {
            let picked = without(&two, 0, "n/web-1").unwrap();
            assert_eq!(picked.endpoint().id(), "n/web-0");
        }
        let one = state(policy, &[1]);
        assert_eq!(without(&one, 0, "n/web-0").unwrap().endpoint().id(), "n/web-0");
    }
}

#[test]
fn a_tried_endpoint_comes_before_an_ejected_one_and_after_all_in_panic() {
    let state = state(Balancing::Random, &[1, 1]);
    state.report(by_id(&state, "n/web-1"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    let picked = without(&state, 1, "n/web-0").unwrap();
    assert_eq!(picked.endpoint().id(), "n/web-0");
    state.report(by_id(&state, "n/web-0"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    let picked = without(&state, 1, "n/web-0").unwrap();
    assert_eq!(picked.endpoint().id(), "n/web-1");
}

#[test]
fn a_cluster_without_healthy_endpoints_says_so() {
    let none = state(Balancing::RoundRobin, &[]);
    assert_eq!(none.pick(&PickRequest::at(0), &mut rng()).unwrap_err(), PickError::NoEndpoints);
    let list =
        vec![endpoint(0, 1, EndpointHealth::Draining), endpoint(1, 1, EndpointHealth::Unhealthy)];
    let sick =
        ClusterState::new(cluster(Balancing::Random), endpoints(list), Surroundings::default());
    assert_eq!(
        sick.pick(&PickRequest::at(0), &mut rng()).unwrap_err(),
        PickError::NoHealthyEndpoints
    );
}

#[test]
fn state_lives_on_by_id_and_address() {
    let old = state(Balancing::RoundRobin, &[1, 1]);
    let held = without(&old, 0, "n/web-1").unwrap();
    old.report(by_id(&old, "n/web-1"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    let mut moved = endpoint(0, 3, EndpointHealth::Draining);
    let mut list = vec![endpoint(2, 1, EndpointHealth::Healthy), moved.clone()];
    list.push(endpoint(1, 9, EndpointHealth::Healthy));
    let new = ClusterState::new(cluster(Balancing::Weighted), endpoints(list), after(&old));
    assert!(Arc::ptr_eq(by_id(&new, "n/web-0"), held.endpoint()));
    assert_eq!(by_id(&new, "n/web-0").active(), 1);
    assert_eq!(new.ejected_count(1), 1);
    assert!(counts(&new, 1, 50).keys().eq(["n/web-2"]));

    moved.port = 9999;
    let newer =
        ClusterState::new(cluster(Balancing::Weighted), endpoints(vec![moved]), after(&new));
    assert_eq!(by_id(&newer, "n/web-0").active(), 0);
}

#[test]
fn an_explained_pick_names_every_stage_and_takes_no_turn() {
    let state = state(Balancing::RoundRobin, &[1, 1, 1]);
    state.report(by_id(&state, "n/web-0"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    let exclude = [Arc::clone(by_id(&state, "n/web-2"))];
    let request = PickRequest { exclude: &exclude, ..PickRequest::at(500_000_000) };
    let dry = state.explain_pick(&request, &mut rng());
    assert_eq!(dry, state.explain_pick(&request, &mut rng()));
    assert_eq!(dry.picked.as_deref(), Some("n/web-1"));
    let verdicts: Vec<_> = dry.candidates.iter().map(|it| it.verdict).collect();
    assert_eq!(verdicts, [Verdict::Ejected { for_ms: 500 }, Verdict::Usable, Verdict::TriedBefore]);
    assert_eq!(
        dry.to_string(),
        "cluster web (round-robin) from (built in)\n  \
         n/web-0 10.0.0.1:8000 weight 1 active 0: ejected for another 500 ms\n  \
         n/web-1 10.0.0.1:8001 weight 1 active 0: usable\n  \
         n/web-2 10.0.0.1:8002 weight 1 active 0: tried before\n  \
         3 endpoints: 1 usable, 0 unhealthy, 0 draining, 1 ejected, 1 tried before\n  \
         round-robin: turn 1 of a cycle of 2\n  \
         => n/web-1\n"
    );
    let (picked, explanation) = state.pick_explained(&request, &mut rng());
    assert_eq!(picked.unwrap().endpoint().id(), "n/web-1");
    assert_eq!(explanation, dry);
}

#[test]
fn an_explained_pick_counts_turns_within_the_cycle() {
    let many_turns = 91_505_705_655_272 << 16;
    let list = (0..3).map(|it| endpoint(it, 1, EndpointHealth::Healthy)).collect();
    let state = ClusterState::new(
        cluster(Balancing::RoundRobin),
        endpoints(list),
        Surroundings { seed: many_turns, ..Surroundings::default() },
    );
    let stages = state.explain_pick(&PickRequest::at(0), &mut rng()).stages;
    assert_eq!(stages.last().unwrap(), "round-robin: turn 3 of a cycle of 3");
}

#[test]
fn an_explained_pick_says_why_there_is_no_endpoint() {
    let mut declared = (*cluster(Balancing::RoundRobin)).clone();
    declared.source.object = "Service/web".to_owned();
    let declared = Arc::new(declared);
    let text = |list| {
        let state = ClusterState::new(declared.clone(), endpoints(list), Surroundings::default());
        state.explain_pick(&PickRequest::at(0), &mut rng()).to_string()
    };
    assert_eq!(
        text(Vec::new()),
        "cluster web (round-robin) from Service/web\n  \
         0 endpoints: 0 usable, 0 unhealthy, 0 draining, 0 ejected, 0 tried before\n  \
         => none: the cluster has no endpoints; Service/web declared it\n"
    );
    let unwell = text(vec![
        endpoint(0, 1, EndpointHealth::Unhealthy),
        endpoint(1, 1, EndpointHealth::Draining),
    ]);
    assert!(unwell.contains("weight 1 active 0: unhealthy, gets no requests\n"), "{unwell}");
    assert!(unwell.contains("weight 1 active 0: draining, gets no new requests\n"), "{unwell}");
    assert!(unwell.ends_with("=> none: no endpoint of the cluster is healthy\n"), "{unwell}");
}

fn any_health() -> impl Strategy<Value = EndpointHealth> {
    prop_oneof![
        3 => Just(EndpointHealth::Healthy),
        1 => Just(EndpointHealth::Draining),
        1 => Just(EndpointHealth::Unhealthy),
    ]
}

fn any_place() -> impl Strategy<Value = Place> {
    (1u16..2000, any_health(), any::<bool>(), any::<bool>())
        .prop_map(|(weight, health, ejected, tried)| Place { weight, health, ejected, tried })
}

#[derive(Clone, Debug)]
struct Place {
    weight: u16,
    health: EndpointHealth,
    ejected: bool,
    tried: bool,
}

proptest! {
    #[test]
    fn weighted_is_exact_over_each_cycle(
        weights in proptest::collection::vec(1u16..30, 1..10), cycles in 1usize..4
    ) {
        let state = state(Balancing::Weighted, &weights);
        let cycle: usize = weights.iter().map(|it| usize::from(*it)).sum();
        for (id, count) in counts(&state, 0, cycle * cycles) {
            let idx: usize = id.trim_start_matches("n/web-").parse().unwrap();
            prop_assert_eq!(count, usize::from(weights[idx]) * cycles);
        }
    }

    #[test]
    fn round_robin_differs_by_at_most_one(count in 1usize..12, picks in 1usize..200) {
        let state = state(Balancing::RoundRobin, &vec![1; count]);
        let counts = counts(&state, 0, picks);
        let most = counts.values().max().copied().unwrap_or(0);
        let least = if counts.len() < count { 0 } else { *counts.values().min().unwrap() };
        prop_assert!(most - least <= 1);
    }

    #[test]
    fn only_healthy_endpoints_are_picked_whatever_is_ejected_or_tried(
        list in proptest::collection::vec(any_place(), 1..8),
        policy in proptest::sample::select(POLICIES.to_vec()),
        seed in any::<u64>(),
    ) {
        let places = list.iter().enumerate();
        let configured = places.map(|(idx, it)| endpoint(idx, it.weight, it.health)).collect();
        let state = ClusterState::new(cluster(policy), endpoints(configured), Surroundings { seed, ..Surroundings::default() });
        for ((_, endpoint), it) in state.endpoints().zip(&list) {
            if it.ejected {
                state.report(endpoint, Outcome::ConnectFailed, 0, &mut seeded());
            }
        }
        let exclude: Vec<_> = state.endpoints().zip(&list).filter(|(_, it)| it.tried)
            .map(|((_, endpoint), _)| Arc::clone(endpoint)).collect();
        let request = PickRequest { exclude: &exclude, hash: Some(seed), ..PickRequest::at(1) };
        let mut rng = SmallRng::seed_from_u64(seed);
        for _ in 0..20 {
            match state.pick(&request, &mut rng) {
                Err(_) => prop_assert_eq!(state.healthy_count(), 0),
                Ok(picked) => {
                    let idx = state.endpoints().position(|it| it.0.id == picked.endpoint().id());
                    let place = &list[idx.unwrap()];
                    prop_assert_eq!(place.health, EndpointHealth::Healthy);
                    let healthy = || list.iter().filter(|it| it.health == EndpointHealth::Healthy);
                    if healthy().any(|it| !it.ejected && !it.tried) {
                        prop_assert!(!place.ejected && !place.tried);
                    }
                    prop_assert_eq!(picked.is_panic(), healthy().all(|it| it.ejected));
                }
            }
        }
    }
}
