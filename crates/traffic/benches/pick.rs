//! What a pick costs, and what it costs to make the tables of the consistent policies.

use std::sync::Arc;

use proxy_config::{
    Balancing, Cluster, Endpoint, Endpoints, LeastRequest, Maglev, PeakEwma, RingHash,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use traffic::{ClusterState, PickRequest, Picker, Surroundings};

/// Shows that a pick allocates nothing.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

/// After so many picks for each endpoint hardly any was not picked yet, by whichever policy.
const FIRST_PICKS: u32 = 20;

/// Picks of a sample: so many that reading the clock does not count.
const PICKS: u32 = 20_000;

const SIZES: [u32; 3] = [10, 1_000, 10_000];

fn main() {
    divan::main();
}

fn state(balancing: Balancing, size: u32, unequal: bool) -> ClusterState {
    let endpoint = |idx: u32| {
        let host = format!("10.{}.{}.{}", idx >> 16, idx >> 8 & 255, idx & 255);
        let weight = if unequal { 1 + (idx % 7) as u16 } else { 1 };
        Endpoint { weight, ..Endpoint::new(&format!("n/web-{idx}"), &host, 8000) }
    };
    let endpoints =
        Endpoints { endpoints: (0..size).map(endpoint).collect(), ..Endpoints::default() };
    let cluster = Cluster { balancing, ..Cluster::named("web") };
    ClusterState::new(Arc::new(cluster), Arc::new(endpoints), Surroundings::default())
}

fn pick(bencher: divan::Bencher<'_, '_>, balancing: Balancing, size: u32, unequal: bool) {
    let mut picker = Picker::new(Arc::new(state(balancing, size, unequal)));
    let mut rng = SmallRng::seed_from_u64(1);
    let mut pick = || {
        let hash = balancing.is_consistent().then(|| rng.random());
        let request = PickRequest { hash, ..PickRequest::at(1_000_000_000) };
        picker.pick(&request, &mut rng).is_ok()
    };
    // What the first pick of an endpoint allocates is not a pick's cost.
    for _ in 0..FIRST_PICKS * size {
        divan::black_box(pick());
    }
    bencher.bench_local(pick);
}

/// Without a picker.
#[divan::bench(args = SIZES, sample_size = PICKS)]
fn round_robin_shared(bencher: divan::Bencher<'_, '_>, size: u32) {
    let state = state(Balancing::RoundRobin, size, false);
    let mut rng = SmallRng::seed_from_u64(1);
    bencher.bench_local(|| state.pick(&PickRequest::at(1_000_000_000), &mut rng).is_ok());
}

#[divan::bench(args = SIZES, sample_size = PICKS)]
fn random(bencher: divan::Bencher<'_, '_>, size: u32) {
    pick(bencher, Balancing::Random, size, false);
}

#[divan::bench(args = SIZES, sample_size = PICKS)]
fn round_robin(bencher: divan::Bencher<'_, '_>, size: u32) {
    pick(bencher, Balancing::RoundRobin, size, false);
}

#[divan::bench(args = SIZES, sample_size = PICKS)]
fn weighted(bencher: divan::Bencher<'_, '_>, size: u32) {
    pick(bencher, Balancing::Weighted, size, true);
}

#[divan::bench(args = SIZES, sample_size = PICKS)]
fn least_request_of_two(bencher: divan::Bencher<'_, '_>, size: u32) {
    pick(bencher, Balancing::LeastRequest(LeastRequest::default()), size, false);
}

#[divan::bench(args = SIZES, sample_size = PICKS)]
fn least_request_with_weights(bencher: divan::Bencher<'_, '_>, size: u32) {
    pick(bencher, Balancing::LeastRequest(LeastRequest::default()), size, true);
}

#[divan::bench(args = SIZES, sample_size = PICKS)]
fn peak_ewma(bencher: divan::Bencher<'_, '_>, size: u32) {
    pick(bencher, Balancing::PeakEwma(PeakEwma::default()), size, false);
}

#[divan::bench(args = SIZES, sample_size = PICKS)]
fn ring_hash(bencher: divan::Bencher<'_, '_>, size: u32) {
    pick(bencher, Balancing::RingHash(RingHash::default()), size, false);
}

#[divan::bench(args = SIZES, sample_size = PICKS)]
fn maglev(bencher: divan::Bencher<'_, '_>, size: u32) {
    pick(bencher, Balancing::Maglev(Maglev::default()), size, false);
}

/// The whole of a new state, of which the table is most.
#[divan::bench(args = SIZES, sample_count = 10)]
fn make_ring_of_1024_or_more(size: u32) -> ClusterState {
    state(Balancing::RingHash(RingHash::default()), size, false)
}

#[divan::bench(args = SIZES, sample_count = 10)]
fn make_maglev_of_65537(size: u32) -> ClusterState {
    state(Balancing::Maglev(Maglev::default()), size, false)
}

#[divan::bench(args = SIZES, sample_count = 10)]
fn make_least_request(size: u32) -> ClusterState {
    state(Balancing::LeastRequest(LeastRequest::default()), size, false)
}
