//! What a proxy says back: what became of the requests to its endpoints.

use serde::{Deserialize, Serialize};

/// Buckets of [`EndpointUse::durations`].
pub const DURATION_BUCKETS: usize = 32;

/// Upper bound of the first bucket of durations, in microseconds.
pub const DURATION_FIRST_US: u64 = 200;

/// Upper bound of a bucket of durations in microseconds: `200 * 2^(idx / 2)`; infinity for the last one.
#[must_use]
pub fn duration_bound_us(idx: usize) -> f64 {
    if idx + 1 < DURATION_BUCKETS {
        DURATION_FIRST_US as f64 * (idx as f64 / 2.0).exp2()
    } else {
        f64::INFINITY
    }
}

/// What became of the requests to one endpoint, over all clusters of a proxy that it is in. All but what is under way only
/// grows, until the endpoint is gone from the configuration or the proxy begins anew.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointUse {
    /// Requests and connections passed through that are under way.
    pub active: u64,
    /// Connections open now.
    pub connections: u64,
    /// Responses with a status below 500.
    pub successes: u64,
    /// Responses with a status of 500 and above, and tries without a response.
    pub failures: u64,
    /// Requests by the time to the head of their response: a count for each bucket ([`duration_bound_us`]), not
    /// cumulative.
    pub durations: Vec<u64>,
    /// The sum of these times, in microseconds.
    pub duration_sum_us: u64,
}
