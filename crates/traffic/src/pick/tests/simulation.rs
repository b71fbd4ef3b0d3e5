//! A seeded simulation of a cluster with one slow endpoint.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proxy_config::{Balancing, PeakEwma};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::LEAST_REQUEST;
use crate::pick::{PickRequest, Picked};
use crate::testing::state;

const ENDPOINTS: usize = 10;
const REQUESTS: usize = 30_000;
const MS: f64 = 1e6;

/// The 99th percentile of the latency in milliseconds. Endpoints work off their requests one after
/// the other, in 1 ms on average, the last one in 10 ms; 0.8 requests come each millisecond, so
/// that even the slow one could just bear its part of turns.
fn p99_ms(balancing: Balancing, seed: u64) -> f64 {
    let state = state(balancing, &[1; ENDPOINTS]);
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut free_at = [0u64; ENDPOINTS];
    let mut under_way: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut picks: Vec<Option<(Picked, u64)>> = Vec::new();
    let mut latencies = Vec::new();
    let mut now_ns = 1_000_000_000;
    let exponential = |rng: &mut SmallRng, mean_ns: f64| -> u64 {
        (-(1.0 - rng.random::<f64>()).ln() * mean_ns) as u64
    };
    for nth in 0..REQUESTS {
        now_ns += exponential(&mut rng, MS / 0.8);
        while let Some(Reverse((ended_ns, nth))) = under_way.peek().copied()
            && ended_ns <= now_ns
        {
            under_way.pop();
            let (picked, latency_ns) = picks[nth].take().unwrap();
            state.observe_rtt(picked.endpoint(), latency_ns, ended_ns);
        }
        let picked = state.pick(&PickRequest::at(now_ns), &mut rng).unwrap();
        let idx = usize::from(picked.endpoint().port() - 8000);
        let mean_ns = if idx == ENDPOINTS - 1 { 10.0 * MS } else { MS };
        free_at[idx] = free_at[idx].max(now_ns) + exponential(&mut rng, mean_ns);
        let latency_ns = free_at[idx] - now_ns;
        latencies.push(latency_ns);
        under_way.push(Reverse((free_at[idx], nth)));
        picks.push(Some((picked, latency_ns)));
    }
    latencies.sort_unstable();
    latencies[REQUESTS * 99 / 100] as f64 / MS
}

#[test]
fn least_request_and_peak_ewma_beat_turns_with_one_slow_endpoint() {
    for seed in 0..5 {
        let turns = p99_ms(Balancing::RoundRobin, seed);
        let least = p99_ms(LEAST_REQUEST, seed);
        let ewma = p99_ms(Balancing::PeakEwma(PeakEwma::default()), seed);
        assert!(least * 2.0 < turns, "p99: least request {least:.1} ms, turns {turns:.1} ms");
        assert!(ewma * 5.0 < turns, "p99: peak EWMA {ewma:.1} ms, turns {turns:.1} ms");
    }
}
