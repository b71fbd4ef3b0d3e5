//! Each policy on its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proxy_config::{
    Balancing, Cluster, EndpointHealth, LeastRequest, Maglev, Narrowing, RingHash, SlowStart,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{LEAST_REQUEST, MAGLEV, RING, after, by_id, counts, rng};
use crate::pick::{PickRequest, Picked};
use crate::testing::{cluster, endpoint, endpoints, seeded, state};
use crate::{ClusterState, Outcome, Surroundings};

const SECOND_NS: u64 = 1_000_000_000;
const KEYS: u64 = 20_000;

fn of_hash(state: &ClusterState, hash: u64) -> String {
    let request = PickRequest { hash: Some(hash), ..PickRequest::at(1) };
    state.pick(&request, &mut rng()).unwrap().endpoint().id().to_owned()
}

/// The endpoint of each of many keys.
fn placement(state: &ClusterState) -> Vec<String> {
    let mut keys = SmallRng::seed_from_u64(3);
    (0..KEYS).map(|_| of_hash(state, keys.random())).collect()
}

fn without_first(balancing: Balancing, all: usize, gone: usize) -> ClusterState {
    let list = (gone..all).map(|idx| endpoint(idx, 1, EndpointHealth::Healthy)).collect();
    ClusterState::new(cluster(balancing), endpoints(list), Surroundings::default())
}

fn near(count: usize, picks: usize, share: f64) -> bool {
    let sigma = (picks as f64 * share * (1.0 - share)).sqrt();
    (count as f64 - picks as f64 * share).abs() < 5.0 * sigma
}

proptest! {
    /// Of distinct endpoints one that is less busy is always among them.
    #[test]
    fn least_request_compares_distinct_endpoints(
        count in 2usize..9, choices in 2u32..7, weighted in any::<bool>(), seed in any::<u64>()
    ) {
        let mut weights = vec![1; count];
        weights[count - 1] = if weighted { 2 } else { 1 };
        let balancing = Balancing::LeastRequest(LeastRequest { choices, ..LeastRequest::default() });
        let state = state(balancing, &weights);
        let busy = by_id(&state, "n/web-0");
        busy.counters().rq_total.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut rng = SmallRng::seed_from_u64(seed);
        for _ in 0..50 {
            let picked = state.pick(&PickRequest::at(0), &mut rng).unwrap();
            prop_assert_ne!(picked.endpoint().id(), "n/web-0");
        }
    }
}

#[test]
fn a_full_scan_takes_the_least_busy_and_breaks_ties_evenly() {
    let all = LeastRequest { choices: LeastRequest::ALL, ..LeastRequest::default() };
    let state = state(Balancing::LeastRequest(all), &[1; 6]);
    let held: Vec<Picked> = ["n/web-0", "n/web-1"]
        .iter()
        .map(|id| {
            let others: Vec<_> =
                state.endpoints().filter(|it| it.0.id != *id).map(|it| it.1.clone()).collect();
            let request = PickRequest { exclude: &others, ..PickRequest::at(0) };
            state.pick(&request, &mut rng()).unwrap()
        })
        .collect();
    assert_eq!(held.len(), 2);
    let counts = counts(&state, 0, 8_000);
    assert_eq!(counts.len(), 4, "{counts:?}");
    assert!(counts.values().all(|count| near(*count, 8_000, 0.25)), "{counts:?}");
}

#[test]
fn idle_endpoints_get_requests_in_proportion_to_their_weights() {
    for choices in [2, 3, LeastRequest::ALL] {
        let balancing = LeastRequest { choices, ..LeastRequest::default() };
        let counts = counts(&state(Balancing::LeastRequest(balancing), &[1, 3, 6]), 0, 20_000);
        for (id, share) in [("n/web-0", 0.1), ("n/web-1", 0.3), ("n/web-2", 0.6)] {
            assert!(near(counts[id], 20_000, share), "{choices} choices: {counts:?}");
        }
    }
}

#[test]
fn with_a_bias_of_zero_only_weights_count() {
    let balancing = LeastRequest { choices: 2, active_request_bias_percent: 0 };
    let state = state(Balancing::LeastRequest(balancing), &[1, 3]);
    let mut rng = rng();
    let held: Vec<Picked> =
        (0..4_000).map(|_| state.pick(&PickRequest::at(0), &mut rng).unwrap()).collect();
    let light = held.iter().filter(|it| it.endpoint().id() == "n/web-0").count();
    assert!(near(light, 4_000, 0.25), "{light}");
}

#[test]
fn peak_ewma_avoids_the_slow_one_and_comes_back_when_it_is_forgotten() {
    let state = state(Balancing::PeakEwma(proxy_config::PeakEwma::default()), &[1, 1]);
    for (id, rtt_ms) in [("n/web-0", 900), ("n/web-1", 2)] {
        state.observe_rtt(by_id(&state, id), rtt_ms * 1_000_000, SECOND_NS);
    }
    assert_eq!(counts(&state, SECOND_NS, 200).len(), 1);
    assert!(counts(&state, SECOND_NS, 200).contains_key("n/web-1"));
    // Six time constants of the decay later the fast one has gone on, the slow one was forgotten.
    let later = 75 * SECOND_NS;
    state.observe_rtt(by_id(&state, "n/web-1"), 2_000_000, later);
    assert!(counts(&state, later, 200).contains_key("n/web-0"));
}

#[test]
fn a_key_keeps_its_endpoint_over_restarts_and_workers() {
    for balancing in [RING, MAGLEV] {
        let first = placement(&state(balancing, &[1, 2, 3, 1, 1]));
        assert_eq!(first, placement(&state(balancing, &[1, 2, 3, 1, 1])));
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 5);
    }
}

#[test]
fn keys_are_shared_in_proportion_to_weights() {
    let large = RingHash { size_min: 65_536, ..RingHash::default() };
    for (balancing, tolerance) in [(Balancing::RingHash(large), 0.03), (MAGLEV, 0.015)] {
        let placed = placement(&state(balancing, &[1, 2, 1]));
        for (id, share) in [("n/web-0", 0.25), ("n/web-1", 0.5), ("n/web-2", 0.25)] {
            let count = placed.iter().filter(|it| *it == id).count();
            let got = count as f64 / KEYS as f64;
            assert!((got - share).abs() < tolerance, "{balancing:?} {id}: {got}");
        }
    }
}

/// A ring of 100 gives each 11 points, one of 90 gives each 12: keys of those that left move, and
/// so do those of the twelfth points. In theory 10 % + 90 % / 12 = 17.5 %.
#[test]
fn after_a_tenth_left_a_ring_moves_what_the_theory_says() {
    let before = placement(&state(RING, &[1; 100]));
    let now = placement(&without_first(RING, 100, 10));
    let moved = before.iter().zip(&now).filter(|(before, now)| before != now).count();
    let share = moved as f64 / KEYS as f64;
    assert!((share - 0.175).abs() < 0.03, "{share}");
}

/// With the number of points for each kept the same, only keys of those that left move.
#[test]
fn a_ring_whose_points_stay_moves_only_the_keys_of_those_that_left() {
    let fixed = |size_min| Balancing::RingHash(RingHash { size_min, ..RingHash::default() });
    let before = placement(&state(fixed(4000), &[1; 100]));
    let now = placement(&without_first(fixed(3600), 100, 10));
    let mut moved = 0;
    for (before, now) in before.iter().zip(&now) {
        let left = before.trim_start_matches("n/web-").parse::<usize>().unwrap() < 10;
        assert_eq!(left, before != now);
        moved += usize::from(left);
    }
    let share = moved as f64 / KEYS as f64;
    assert!((share - 0.1).abs() < 0.03, "{share}");
}

/// Envoy's documentation: about twice as many as with a ring.
#[test]
fn after_a_tenth_left_maglev_moves_about_double() {
    let before = placement(&state(MAGLEV, &[1; 100]));
    let now = placement(&without_first(MAGLEV, 100, 10));
    let moved = before.iter().zip(&now).filter(|(before, now)| before != now).count();
    let share = moved as f64 / KEYS as f64;
    assert!((0.1..0.25).contains(&share), "{share}");
}

#[test]
fn an_ejected_endpoint_loses_its_keys_at_once_and_the_others_keep_theirs() {
    for balancing in [RING, MAGLEV] {
        let all = state(balancing, &[1; 20]);
        let before = placement(&all);
        all.report(by_id(&all, "n/web-0"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
        assert!(all.tables_are_stale(1));
        for (before, now) in before.iter().zip(placement(&all)) {
            assert!(now != "n/web-0" && (*before == now || before == "n/web-0"));
        }
        all.rebuild_tables(1);
        assert!(!all.tables_are_stale(1));
        assert_eq!(placement(&all), placement(&without_first(balancing, 20, 1)));
        // Its ejection ends: it has its keys back, from the table of all.
        let back = of_hash_at(&all, 2 * SECOND_NS, before.len());
        assert_eq!(back, before);
    }
}

fn of_hash_at(state: &ClusterState, now_ns: u64, count: usize) -> Vec<String> {
    let mut keys = SmallRng::seed_from_u64(3);
    let of = |hash| {
        let request = PickRequest { hash: Some(hash), ..PickRequest::at(now_ns) };
        state.pick(&request, &mut rng()).unwrap().endpoint().id().to_owned()
    };
    (0..count).map(|_| of(keys.random())).collect()
}

#[test]
fn a_request_without_a_hash_goes_anywhere() {
    for balancing in [RING, MAGLEV] {
        assert_eq!(counts(&state(balancing, &[1; 4]), 0, 400).len(), 4);
    }
}

#[test]
fn bounded_loads_send_the_overflow_of_a_hot_key_to_the_same_others() {
    let ring = RingHash { load_max_percent: Some(150), ..RingHash::default() };
    let maglev = Maglev { load_max_percent: Some(150), ..Maglev::default() };
    for balancing in [Balancing::RingHash(ring), Balancing::Maglev(maglev)] {
        let order = |requests: usize| {
            let state = state(balancing, &[1; 10]);
            let request = PickRequest { hash: Some(42), ..PickRequest::at(0) };
            let mut rng = rng();
            let held: Vec<Picked> =
                (0..requests).map(|_| state.pick(&request, &mut rng).unwrap()).collect();
            for (_, endpoint) in state.endpoints() {
                // ceil(ceil((active + 1) * 1.5) / 10), and the one that made it so.
                let slots = ((requests + 1) * 15).div_ceil(100) + 1;
                assert!(endpoint.active() as usize <= slots, "{}", endpoint.active());
            }
            held.iter().map(|it| it.endpoint().id().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(order(100), order(100));
        assert_eq!(order(100).iter().collect::<BTreeSet<_>>().len(), 7, "{:?}", order(100));
    }
}

#[test]
fn a_new_endpoint_gets_its_share_little_by_little() {
    for balancing in [Balancing::RoundRobin, Balancing::Weighted, LEAST_REQUEST] {
        let declared = Arc::new(Cluster {
            balancing,
            narrowing: Narrowing {
                slow_start: Some(SlowStart {
                    window: Duration::from_secs(100),
                    aggression_percent: 100,
                    weight_min_percent: 10,
                }),
                ..Narrowing::default()
            },
            ..Cluster::named("web")
        });
        let list = |count| (0..count).map(|it| endpoint(it, 2, EndpointHealth::Healthy)).collect();
        let old = ClusterState::new(declared.clone(), endpoints(list(3)), Surroundings::default());
        let surroundings = Surroundings { now_ns: SECOND_NS, ..after(&old) };
        let new = ClusterState::new(declared, endpoints(list(4)), surroundings);
        for (seconds, part) in [(1, 0.1), (50, 0.5), (100, 1.0)] {
            let counts = counts(&new, (1 + seconds) * SECOND_NS, 20_000);
            let share = part / (3.0 + part);
            let got = counts["n/web-3"] as f64 / 20_000.0;
            assert!((got - share).abs() < 0.015, "{balancing:?} after {seconds} s: {got}, {share}");
        }
    }
}

#[test]
fn an_endpoint_that_comes_back_starts_slowly_again() {
    let mut declared = (*cluster(Balancing::RoundRobin)).clone();
    declared.narrowing.slow_start = Some(SlowStart {
        window: Duration::from_secs(100),
        aggression_percent: 100,
        weight_min_percent: 10,
    });
    let list = (0..2).map(|it| endpoint(it, 1, EndpointHealth::Healthy)).collect();
    let state = ClusterState::new(Arc::new(declared), endpoints(list), Surroundings::default());
    assert_eq!(counts(&state, 0, 100)["n/web-0"], 50);
    state
        .report(by_id(&state, "n/web-0"), Outcome::ConnectFailed, SECOND_NS, &mut seeded())
        .unwrap();
    assert!(!counts(&state, SECOND_NS, 100).contains_key("n/web-0"));
    let got = counts(&state, 2 * SECOND_NS, 20_000)["n/web-0"] as f64 / 20_000.0;
    assert!((got - 0.1 / 1.1).abs() < 0.015, "{got}");
}

#[test]
fn turns_go_on_over_a_change_of_weights_and_an_ejection() {
    let old = state(Balancing::Weighted, &[1, 1, 1]);
    let first = old.pick(&PickRequest::at(0), &mut rng()).unwrap();
    assert_eq!(first.endpoint().id(), "n/web-0");
    let list = (0..3).map(|it| endpoint(it, 5, EndpointHealth::Healthy)).collect();
    let new = ClusterState::new(cluster(Balancing::Weighted), endpoints(list), after(&old));
    let second = new.pick(&PickRequest::at(0), &mut rng()).unwrap();
    assert_eq!(second.endpoint().id(), "n/web-1");
    assert_eq!(by_id(&new, "n/web-0").active(), 1);
}
