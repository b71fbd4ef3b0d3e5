//! What is done with requests on their way, beyond routing: limits, faults, cross-origin rules, compression.

use std::time::Duration;

use model::duration_ns;
use serde::{Deserialize, Serialize};

use crate::{HeaderMatch, ValueMatch};

/// What is done with requests on their way. On a listener it holds for every request; on a route each filter that is
/// there takes the place of the listener's.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Requests over a rate are refused.
    pub local_rate_limit: FilterSetting<LocalRateLimit>,
    /// Requests are delayed or refused on purpose.
    pub fault: FilterSetting<Fault>,
    /// Pages of other origins may ask.
    pub cors: FilterSetting<Cors>,
    /// Responses are compressed.
    pub compression: FilterSetting<Compression>,
    /// Requests beyond what the endpoints can bear are refused.
    pub adaptive_concurrency: FilterSetting<AdaptiveConcurrency>,
}

/// One filter on one level.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum FilterSetting<T> {
    /// As the level above says; on a listener: off.
    #[default]
    Inherit,
    /// Off.
    Off,
    /// This.
    On(T),
}

impl<T> FilterSetting<T> {
    /// What holds for a route on a listener.
    #[must_use]
    pub fn or<'a>(&'a self, listener: &'a FilterSetting<T>) -> Option<&'a T> {
        match (self, listener) {
            (FilterSetting::On(it), _) | (FilterSetting::Inherit, FilterSetting::On(it)) => {
                Some(it)
            }
            (FilterSetting::Off, _) | (FilterSetting::Inherit, _) => None,
        }
    }
}

/// A token bucket of this proxy (over all workers); Envoy's `local_rate_limit`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocalRateLimit {
    /// Tokens that it holds at most, and at first.
    pub tokens_max: u32,
    /// Tokens added each time.
    pub tokens_per_fill: u32,
    /// How often; at least 50 ms.
    #[serde(with = "duration_ns")]
    pub fill_interval: Duration,
    /// Status of a refusal; 429 unless said otherwise.
    pub status: u16,
    /// Share of the requests that take a token, per million.
    pub enabled_per_million: u32,
    /// Share of those without a token that are refused, per million; the rest is only counted.
    pub enforced_per_million: u32,
    /// Headers added to a refusal.
    pub response_headers: Vec<(String, String)>,
    /// Add `x-ratelimit-limit`, `-remaining` and `-reset` to responses.
    pub rate_limit_headers: bool,
}

/// Faults on purpose; Envoy's `fault`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Fault {
    /// Wait before the request is sent on.
    pub delay: Option<FaultDelay>,
    /// Answer in the endpoint's place.
    pub abort: Option<FaultAbort>,
    /// Only for requests with all of these headers.
    pub headers: Vec<HeaderMatch>,
    /// Most faults under way at once; no limit when `None`.
    pub active_max: Option<u32>,
}

/// A delay on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaultDelay {
    /// How long; `None`: what `x-envoy-fault-delay-request` says, in milliseconds.
    pub fixed: Option<Duration>,
    /// Share of the requests, per million.
    pub per_million: u32,
}

/// A refusal on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaultAbort {
    /// With what.
    pub with: AbortWith,
    /// Share of the requests, per million.
    pub per_million: u32,
}

/// What a request is refused with on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AbortWith {
    /// A status, 200 to 599.
    Status(u16),
    /// A gRPC status, 0 to 16.
    Grpc(u8),
    /// What `x-envoy-fault-abort-request` or `x-envoy-fault-abort-grpc-request` says.
    Header,
}

/// Which pages of other origins may ask (the Fetch standard, section 3.2).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cors {
    /// Origins, one of which must match.
    pub allow_origins: Vec<ValueMatch>,
    /// `access-control-allow-methods`.
    pub allow_methods: String,
    /// `access-control-allow-headers`.
    pub allow_headers: String,
    /// `access-control-expose-headers`.
    pub expose_headers: String,
    /// `access-control-max-age`, in seconds.
    pub max_age: String,
    /// `access-control-allow-credentials`.
    pub allow_credentials: bool,
    /// Preflight requests of origins that do not match are sent on; otherwise answered without permission.
    pub forward_not_matching_preflights: bool,
}

/// Compression of responses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Compression {
    /// The preferred one first.
    pub algorithms: Vec<Compressor>,
    /// Shorter responses are left alone, in bytes; Envoy: 30.
    pub length_min: u32,
    /// Media types without parameters; Envoy's list when empty.
    pub content_types: Vec<String>,
    /// Responses with an `etag` are left alone; otherwise a strong one is taken away.
    pub keep_etag: bool,
    /// `accept-encoding` is taken from the request before it is sent on.
    pub remove_accept_encoding: bool,
}

/// A compression.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compressor {
    /// `gzip`, level 1 to 9.
    Gzip {
        /// Level.
        level: u8,
    },
    /// `br`, quality 0 to 11.
    Brotli {
        /// Quality.
        quality: u8,
    },
}

/// A limit on concurrency that follows the endpoints' latency; Envoy's gradient controller
/// (reference/load-balancing.md 2.17).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdaptiveConcurrency {
    /// Percentile of the sampled latencies that counts, 0 to 100.
    pub sample_percentile: u8,
    /// How often the limit is calculated anew.
    #[serde(with = "duration_ns")]
    pub update_interval: Duration,
    /// Highest limit.
    pub concurrency_max: u32,
    /// How often the least latency is measured anew.
    #[serde(with = "duration_ns")]
    pub min_rtt_interval: Duration,
    /// Requests that make up that measurement.
    pub min_rtt_requests: u32,
    /// Random addition to that interval, in percent of it.
    pub min_rtt_jitter_percent: u8,
    /// Limit while it is measured.
    pub concurrency_min: u32,
    /// Latency above the least that is let pass, in percent of the least.
    pub buffer_percent: u8,
    /// Status of a refusal; 503 unless said otherwise.
    pub status: u16,
}
