//! What comes before the policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use proxy_config::{
    Balancing, Cluster, Endpoint, EndpointHealth, Endpoints, Locality, Narrowing, Place,
    SubsetFallback, SubsetSelector, Subsets, ZoneAware,
};

use super::{POLICIES, RING, by_id, counts, rng};
use crate::pick::{Affinity, PickError, PickRequest};
use crate::testing::{cluster, endpoint, endpoints, note_check, seeded, state};
use crate::{CheckedHealth, ClusterState, Outcome, Surroundings};

use EndpointHealth::{Degraded, Draining, Healthy, Unhealthy};

fn locality(zone: &str, priority: u32, weight: u32) -> Locality {
    let place = Place { zone: zone.to_owned(), ..Place::default() };
    Locality { place, priority, weight: Some(weight), source: None }
}

/// Endpoints `n/web-0`, … with a locality and a health each.
fn made(
    balancing: Balancing,
    narrowing: Narrowing,
    localities: Vec<Locality>,
    list: &[(u16, EndpointHealth)],
) -> ClusterState {
    let made = |(idx, (locality, health)): (usize, &(u16, EndpointHealth))| Endpoint {
        locality: *locality,
        ..endpoint(idx, 1, *health)
    };
    let endpoints = Endpoints {
        cluster: "web".to_owned(),
        endpoints: list.iter().enumerate().map(made).collect(),
        localities,
        ..Endpoints::default()
    };
    let cluster = Cluster { balancing, narrowing, ..Cluster::named("web") };
    ClusterState::new(Arc::new(cluster), Arc::new(endpoints), Surroundings::default())
}

fn repeat(groups: &[(usize, u16, EndpointHealth)]) -> Vec<(u16, EndpointHealth)> {
    groups.iter().flat_map(|(count, locality, health)| vec![(*locality, *health); *count]).collect()
}

/// The share of the picks that go to each locality.
fn shares(state: &ClusterState, picks: usize) -> BTreeMap<u16, f64> {
    let mut shares = BTreeMap::new();
    for (id, count) in counts(state, 0, picks) {
        let locality = state.endpoints().find(|it| it.0.id == id).unwrap().0.locality;
        *shares.entry(locality).or_default() += count as f64 / picks as f64;
    }
    shares
}

fn priorities() -> Vec<Locality> {
    vec![locality("a", 0, 1), locality("b", 1, 1)]
}

#[test]
fn the_next_priority_gets_what_the_first_cannot_take() {
    for (healthy, first) in [(72, 1.0), (71, 0.99), (50, 0.7), (25, 0.35), (0, 0.0)] {
        for balancing in [Balancing::RoundRobin, RING] {
            let list =
                repeat(&[(healthy, 0, Healthy), (100 - healthy, 0, Unhealthy), (10, 1, Healthy)]);
            let state = made(balancing, Narrowing::default(), priorities(), &list);
            let got = shares(&state, 20_000).get(&0).copied().unwrap_or(0.0);
            assert!((got - first).abs() < 0.02, "{healthy} % healthy: {got}");
        }
    }
}

#[test]
fn an_ejection_moves_its_share_to_the_next_priority() {
    let state = made(
        Balancing::RoundRobin,
        Narrowing::default(),
        priorities(),
        &repeat(&[(2, 0, Healthy), (2, 1, Healthy)]),
    );
    assert_eq!(shares(&state, 100).get(&0), Some(&1.0));
    state.report(by_id(&state, "n/web-0"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    let got = shares(&state, 20_000)[&0];
    assert!((got - 0.7).abs() < 0.02, "{got}");
}

#[test]
fn degraded_endpoints_are_used_when_the_healthy_do_not_suffice() {
    let of = |list: &[(usize, u16, EndpointHealth)]| {
        made(Balancing::RoundRobin, Narrowing::default(), Vec::new(), &repeat(list))
    };
    let enough = of(&[(8, 0, Healthy), (2, 0, Degraded)]);
    assert_eq!(counts(&enough, 0, 800).len(), 8);
    let few = of(&[(5, 0, Healthy), (5, 0, Degraded)]);
    let degraded: usize = (5..10).map(|it| counts(&few, 0, 20_000)[&format!("n/web-{it}")]).sum();
    assert!((degraded as f64 / 20_000.0 - 0.3).abs() < 0.02, "{degraded}");
    let none = of(&[(2, 0, Degraded), (1, 0, Unhealthy)]);
    assert_eq!(counts(&none, 0, 100).len(), 2);
}

#[test]
fn in_panic_all_but_the_draining_are_used_unless_it_is_to_fail() {
    let list = repeat(&[(1, 0, Healthy), (8, 0, Unhealthy), (1, 0, Draining)]);
    for balancing in POLICIES {
        let of = |narrowing| made(balancing, narrowing, Vec::new(), &list);
        let panic = Narrowing { panic_threshold_percent: 50, ..Narrowing::default() };
        let state = of(panic.clone());
        assert_eq!(counts(&state, 0, 2_000).len(), 9, "{balancing:?}");
        assert!(state.pick(&PickRequest::at(0), &mut rng()).unwrap().is_panic());
        let failing = of(Narrowing { fail_in_panic: true, ..panic });
        let error = failing.pick(&PickRequest::at(0), &mut rng()).unwrap_err();
        assert_eq!(error, PickError::Panic);
        assert_eq!(counts(&of(Narrowing::default()), 0, 100).len(), 1);
    }
}

#[test]
fn localities_share_by_weight_and_by_what_of_them_is_well() {
    let narrowing = Narrowing { locality_weighted: true, ..Narrowing::default() };
    let localities = || vec![locality("a", 0, 3), locality("b", 0, 1), locality("c", 0, 0)];
    let list = repeat(&[(2, 0, Healthy), (6, 1, Healthy), (4, 2, Healthy)]);
    let state = made(Balancing::RoundRobin, narrowing.clone(), localities(), &list);
    assert_eq!(shares(&state, 4_000), BTreeMap::from([(0, 0.75), (1, 0.25)]));
    // Of the first half is left: 3 × 0.7 to 1.
    state.report(by_id(&state, "n/web-0"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    let got = shares(&state, 20_000)[&0];
    assert!((got - 2.1 / 3.1).abs() < 0.01, "{got}");
    let ring = shares(&made(RING, narrowing, localities(), &list), 20_000);
    assert!((ring[&0] - 0.75).abs() < 0.1 && !ring.contains_key(&2), "{ring:?}");
}

#[test]
fn requests_stay_in_the_zone_of_the_proxy_as_far_as_it_can_bear_them() {
    let zone = ZoneAware {
        enabled_percent: 100,
        endpoints_min: 6,
        fail_on_panic: false,
        force_local_min: None,
    };
    let narrowing = Narrowing { zone_aware: Some(zone), ..Narrowing::default() };
    let localities = vec![locality("a", 0, 1), locality("b", 0, 1), locality("c", 0, 1)];
    let of = |counts: [usize; 3]| Endpoints {
        endpoints: (0u16..)
            .zip(counts)
            .flat_map(|(locality, count)| (0..count).map(move |it| (locality, it)))
            .map(|(locality, it)| Endpoint {
                locality,
                ..endpoint(usize::from(locality) * 100 + it, 1, Healthy)
            })
            .collect(),
        localities: localities.clone(),
        ..Endpoints::default()
    };
    let local = of([4, 4, 2]);
    let home = Some((&localities[0].place, &local));
    for (upstream, expected) in [
        ([10, 8, 2], [1.0, 0.0, 0.0]),
        ([5, 10, 5], [0.625, 0.25, 0.125]),
        ([2, 2, 1], [0.4, 0.4, 0.2]),
    ] {
        let declared = Cluster {
            balancing: Balancing::RoundRobin,
            narrowing: narrowing.clone(),
            ..Cluster::named("web")
        };
        let surroundings = Surroundings { home, ..Surroundings::default() };
        let endpoints = Arc::new(of(upstream));
        let state = ClusterState::new(Arc::new(declared), endpoints, surroundings);
        let got = shares(&state, 20_000);
        for (locality, share) in (0u16..).zip(expected) {
            let got = got.get(&locality).copied().unwrap_or(0.0);
            assert!((got - share).abs() < 0.02, "{upstream:?}: locality {locality} has {got}");
        }
    }
}

fn with_versions(subsets: Subsets) -> ClusterState {
    let version = |idx: usize, version: &str, health| Endpoint {
        metadata: BTreeMap::from([("version".to_owned(), version.to_owned())]),
        ..endpoint(idx, 1, health)
    };
    let list = vec![
        version(0, "1", Healthy),
        version(1, "1", Healthy),
        version(2, "2", Healthy),
        version(3, "3", Unhealthy),
    ];
    let narrowing = Narrowing { subsets: Some(subsets), ..Narrowing::default() };
    let cluster = Cluster { narrowing, ..Cluster::named("web") };
    ClusterState::new(Arc::new(cluster), endpoints(list), Surroundings::default())
}

fn by_version(fallback: SubsetFallback, panic_any: bool) -> Subsets {
    Subsets {
        selectors: vec![SubsetSelector { keys: vec!["version".to_owned()], fallback: None }],
        fallback,
        default: BTreeMap::from([("version".to_owned(), "3".to_owned())]),
        panic_any,
    }
}

#[test]
fn a_request_stays_in_its_subset_and_falls_back_when_there_is_none() {
    let pick = |state: &ClusterState, version: &str| {
        let subset = BTreeMap::from([("version".to_owned(), version.to_owned())]);
        let request = PickRequest { subset: Some(&subset), ..PickRequest::at(0) };
        let mut ids: Vec<String> = Vec::new();
        for _ in 0..12 {
            ids.push(state.pick(&request, &mut rng())?.endpoint().id().to_owned());
        }
        ids.sort();
        ids.dedup();
        Ok::<_, PickError>(ids.join(" "))
    };
    let none = with_versions(by_version(SubsetFallback::None, false));
    assert_eq!(pick(&none, "1").unwrap(), "n/web-0 n/web-1");
    assert_eq!(pick(&none, "2").unwrap(), "n/web-2");
    assert_eq!(pick(&none, "3"), Err(PickError::NoHealthyEndpoints));
    assert_eq!(pick(&none, "4"), Err(PickError::NoSubset));
    let any = with_versions(by_version(SubsetFallback::Any, false));
    assert_eq!(pick(&any, "4").unwrap(), "n/web-0 n/web-1 n/web-2");
    let default = with_versions(by_version(SubsetFallback::Default, false));
    assert_eq!(pick(&default, "4"), Err(PickError::NoHealthyEndpoints));
    let panic = with_versions(by_version(SubsetFallback::Default, true));
    assert_eq!(pick(&panic, "4").unwrap(), "n/web-0 n/web-1 n/web-2");
}

#[test]
fn a_client_keeps_its_endpoint_while_it_can_be_used() {
    let list = vec![endpoint(0, 1, Healthy), endpoint(1, 1, Healthy), endpoint(2, 1, Draining)];
    let state =
        ClusterState::new(cluster(Balancing::RoundRobin), endpoints(list), Surroundings::default());
    let pick = |address: &str, strict, now_ns| {
        let affinity = Some(Affinity { address, strict });
        let picked =
            state.pick(&PickRequest { affinity, ..PickRequest::at(now_ns) }, &mut rng())?;
        Ok::<_, PickError>(picked.endpoint().id().to_owned())
    };
    for strict in [false, true] {
        assert!((0..4).all(|_| pick("10.0.0.1:8001", strict, 0).unwrap() == "n/web-1"));
    }
    assert_eq!(pick("10.0.0.1:8002", true, 0), Err(PickError::AffinityLost));
    assert_eq!(pick("10.0.0.9:8002", true, 0), Err(PickError::AffinityLost));
    assert!(pick("10.0.0.1:8002", false, 0).is_ok());
    state.report(by_id(&state, "n/web-1"), Outcome::ConnectFailed, 0, &mut seeded()).unwrap();
    assert_eq!(pick("10.0.0.1:8001", true, 1), Err(PickError::AffinityLost));
    assert_eq!(pick("10.0.0.1:8001", false, 1).unwrap(), "n/web-0");
    let exclude = [Arc::clone(by_id(&state, "n/web-0"))];
    let affinity = Some(Affinity { address: "10.0.0.1:8000", strict: false });
    let now_ns = 2_000_000_000;
    let request = PickRequest { affinity, exclude: &exclude, ..PickRequest::at(now_ns) };
    let picked = state.pick(&request, &mut rng()).unwrap();
    assert_eq!(picked.endpoint().id(), "n/web-1");
}

#[test]
fn what_the_checks_say_counts_from_the_next_pick_on() {
    for balancing in POLICIES {
        let state = state(balancing, &[1; 3]);
        let first = by_id(&state, "n/web-0");
        note_check(&state, first, CheckedHealth::Unhealthy);
        assert!(!counts(&state, 0, 300).contains_key("n/web-0"), "{balancing:?}");
        note_check(&state, first, CheckedHealth::Healthy);
        assert!(counts(&state, 0, 300).contains_key("n/web-0"), "{balancing:?}");
    }
}

#[test]
fn unchecked_endpoints_count_or_are_left_out_of_the_count() {
    let list = repeat(&[(4, 0, Healthy), (1, 1, Healthy)]);
    for (ignore_unchecked, share) in [(false, 0.35), (true, 1.0)] {
        let narrowing = Narrowing { ignore_unchecked, ..Narrowing::default() };
        let state = made(Balancing::RoundRobin, narrowing, priorities(), &list);
        for idx in 1..4 {
            note_check(&state, by_id(&state, &format!("n/web-{idx}")), CheckedHealth::Pending);
        }
        let got = shares(&state, 20_000)[&0];
        assert!((got - share).abs() < 0.02, "{got}");
    }
}

#[test]
fn an_explained_pick_names_priority_locality_and_subset() {
    let narrowing = Narrowing { locality_weighted: true, ..Narrowing::default() };
    let list = repeat(&[(1, 0, Healthy), (9, 0, Unhealthy), (1, 1, Healthy)]);
    let state = made(Balancing::RoundRobin, narrowing, priorities(), &list);
    let text = state.explain_pick(&PickRequest::at(0), &mut rng()).to_string();
    assert!(text.contains("n/web-0 10.0.0.1:8000 in a priority 0 weight 1"), "{text}");
    assert!(text.contains("(shares: 14 %, 86 %)"), "{text}");
    assert!(text.contains("locality by weight: "), "{text}");
    let subset = BTreeMap::from([("version".to_owned(), "2".to_owned())]);
    let request = PickRequest { subset: Some(&subset), ..PickRequest::at(0) };
    let text = with_versions(by_version(SubsetFallback::Any, false))
        .explain_pick(&request, &mut rng())
        .to_string();
    assert!(text.contains("n/web-0 10.0.0.1:8000 weight 1 active 0: not in the subset"), "{text}");
}

#[test]
fn a_configuration_with_a_locality_that_does_not_exist_is_used_all_the_same() {
    let state = made(Balancing::RoundRobin, Narrowing::default(), Vec::new(), &[(7, Healthy)]);
    assert_eq!(counts(&state, 0, 10)["n/web-0"], 10);
    let mut far = priorities();
    far[1].priority = u32::MAX;
    let state =
        made(Balancing::RoundRobin, Narrowing::default(), far, &[(0, Unhealthy), (1, Healthy)]);
    assert_eq!(counts(&state, 0, 10)["n/web-1"], 10);
}
