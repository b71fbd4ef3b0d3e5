//! Clusters for the tests of this room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use proxy_config::{Balancing, Cluster, Endpoint, EndpointHealth, Endpoints};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::{CheckedHealth, ClusterState, EndpointState, Surroundings};

pub(crate) fn cluster(balancing: Balancing) -> Arc<Cluster> {
    Arc::new(Cluster { balancing, ..Cluster::named("web") })
}

pub(crate) fn endpoint(idx: usize, weight: u16, health: EndpointHealth) -> Endpoint {
    Endpoint {
        id: format!("n/web-{idx}"),
        host: "10.0.0.1".to_owned(),
        port: 8000 + idx as u16,
        weight,
        health,
        ..Endpoint::default()
    }
}

pub(crate) fn endpoints(endpoints: Vec<Endpoint>) -> Arc<Endpoints> {
    Arc::new(Endpoints { cluster: "web".to_owned(), endpoints, ..Endpoints::default() })
}

/// Healthy endpoints `n/web-0`, `n/web-1`, … with these weights.
pub(crate) fn state(balancing: Balancing, weights: &[u16]) -> ClusterState {
    let list = weights
        .iter()
        .enumerate()
        .map(|(idx, weight)| endpoint(idx, *weight, EndpointHealth::Healthy))
        .collect();
    ClusterState::new(cluster(balancing), endpoints(list), Surroundings::default())
}

/// Chance that is the same each time.
pub(crate) fn seeded() -> StdRng {
    StdRng::seed_from_u64(1)
}

/// Runs `act(worker, round)` on two threads, which begin each round in the same moment as nearly as
/// can be: what a race needs to show.
pub(crate) fn race(rounds: usize, act: impl Fn(usize, usize) + Sync) {
    const WORKERS: usize = 2;
    let arrived = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (arrived, act) = (&arrived, &act);
            scope.spawn(move || {
                for round in 0..rounds {
                    arrived.fetch_add(1, SeqCst);
                    let mut turns = 0u32;
                    while arrived.load(SeqCst) < WORKERS * (round + 1) {
                        turns += 1;
                        if turns.is_multiple_of(1000) {
                            std::thread::yield_now();
                        }
                        std::hint::spin_loop();
                    }
                    act(worker, round);
                }
            });
        }
    });
}

/// What a state is made from that follows another.
pub(crate) fn after(previous: &ClusterState) -> Surroundings<'_> {
    Surroundings { previous: Some(previous), ..Surroundings::default() }
}

/// Lets a check of an endpoint say this.
pub(crate) fn note_check(state: &ClusterState, endpoint: &EndpointState, health: CheckedHealth) {
    endpoint.check().set(health);
    state.note_membership_change();
}
