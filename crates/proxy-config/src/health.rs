//! How the proxy finds out which endpoints are well.

use std::time::Duration;

use model::duration_ns;
use serde::{Deserialize, Serialize};

use crate::matching::ValueMatch;

/// A check that the proxy itself makes of each endpoint (reference/load-balancing.md 2.20).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: HealthProbe,
    /// How long an answer may take.
    #[serde(with = "duration_ns")]
    pub timeout: Duration,
    /// From the end of one to the beginning of the next.
    #[serde(with = "duration_ns")]
    pub interval: Duration,
    /// Random addition to the interval, up to this.
    #[serde(with = "duration_ns")]
    pub interval_jitter: Duration,
    /// Takes the place of `interval` while the cluster has had no request.
    #[serde(with = "duration_ns")]
    pub no_traffic_interval: Duration,
    /// Takes the place of `interval` while the endpoint is unhealthy.
    pub unhealthy_interval: Option<Duration>,
    /// Takes the place of `interval` after the first failure of a healthy endpoint.
    pub unhealthy_edge_interval: Option<Duration>,
    /// Takes the place of `interval` after the first success of an unhealthy endpoint.
    pub healthy_edge_interval: Option<Duration>,
    /// Failures in a row before it is unhealthy.
    pub unhealthy_threshold: u32,
    /// Successes in a row before it is healthy; the very first one counts at once.
    pub healthy_threshold: u32,
    /// Each probe uses a connection of its own.
    pub new_connection_each: bool,
}

/// What a health check asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HealthProbe {
    /// An HTTP request.
    Http {
        /// `Host`; the endpoint's host name, or the cluster's name, when empty.
        host: String,
        /// Path with query.
        path: String,
        /// Method; `GET` when empty.
        method: String,
        /// Statuses, `(first, last)` each, that mean healthy; 200 when empty.
        expected: Vec<(u16, u16)>,
        /// Statuses that count as one failure of several, where any other unexpected one means unhealthy at once.
        retriable: Vec<(u16, u16)>,
        /// Over HTTP/2.
        http2: bool,
        /// Headers that are added.
        headers: Vec<(String, String)>,
        /// `x-envoy-upstream-healthchecked-cluster` of the answer must match.
        service: Option<ValueMatch>,
    },
    /// A connection, and bytes if there are any.
    Tcp {
        /// Bytes that are sent.
        send: Vec<u8>,
        /// Blocks that must come in this order, with anything in between.
        receive: Vec<Vec<u8>>,
    },
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// Service that is asked about.
        service: String,
        /// `:authority`; the endpoint's host name, or the cluster's name, when empty.
        authority: String,
    },
}

/// Ejection of endpoints that fail (reference/load-balancing.md 2.15). A threshold of 0 turns a detector off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct OutlierDetection {
    /// 5xx responses, and tries without one, in a row.
    pub consecutive_5xx: Detector,
    /// 502, 503, 504 and tries without a response, in a row.
    pub consecutive_gateway_failure: Detector,
    /// Failed connections in a row (with `split_local_origin`).
    pub consecutive_local_origin_failure: Detector,
    /// Connections that fail count apart from responses.
    pub split_local_origin: bool,
    /// How often rates are looked at and ejections end.
    #[serde(with = "duration_ns")]
    pub interval: Duration,
    /// The n-th ejection lasts `min(base × n, max)` (Envoy), or `min(base × 2^(n − 1), max)` when `doubling`.
    #[serde(with = "duration_ns")]
    pub ejection_base: Duration,
    /// Longest ejection.
    #[serde(with = "duration_ns")]
    pub ejection_max: Duration,
    /// Random addition to an ejection, up to this.
    #[serde(with = "duration_ns")]
    pub ejection_jitter: Duration,
    /// See `ejection_base`.
    pub doubling: bool,
    /// Most of the endpoints that may be ejected at once, in percent of all.
    pub ejection_max_percent: u8,
    /// One endpoint may be ejected whatever the percentage says.
    pub always_eject_one: bool,
    /// Success rates far below the mean.
    pub success_rate: Option<SuccessRate>,
    /// Shares of failures over a threshold.
    pub failure_percentage: Option<FailurePercentage>,
    /// A passed active health check ends an ejection.
    pub health_check_unejects: bool,
}

/// A number of failures in a row that ejects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Detector {
    /// How many; 0: never.
    pub threshold: u32,
    /// Share of the detections that eject, in percent; the rest is only counted.
    pub enforcing_percent: u8,
}

/// Eject when a success rate is below `mean − factor × standard deviation` of those with enough requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SuccessRate {
    /// Endpoints with enough requests that there must be.
    pub endpoints_min: u32,
    /// Requests in one interval that are enough.
    pub requests_min: u32,
    /// Factor × 1000.
    pub stdev_factor_thousandths: u32,
    /// Share of the detections that eject, in percent.
    pub enforcing_percent: u8,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self {
            endpoints_min: 5,
            requests_min: 100,
            stdev_factor_thousandths: 1900,
            enforcing_percent: 100,
        }
    }
}

/// Eject when the share of failures is at least `threshold_percent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailurePercentage {
    /// Share of failures, in percent.
    pub threshold_percent: u8,
    /// Endpoints with enough requests that there must be.
    pub endpoints_min: u32,
    /// Requests in one interval that are enough.
    pub requests_min: u32,
    /// Share of the detections that eject, in percent.
    pub enforcing_percent: u8,
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self { threshold_percent: 85, endpoints_min: 5, requests_min: 50, enforcing_percent: 0 }
    }
}

impl Default for OutlierDetection {
    /// Leno's own. It differs from Envoy's ([`OutlierDetection::envoy`]) because failed connections are tried again on
    /// another endpoint, so that one failure may be believed; because the ejection is short until the registry's verdict
    /// follows; and because a cluster of a few endpoints, which with Envoy's 10 % never ejects any, must be able to.
    /// When all are ejected, ejections are ignored.
    fn default() -> Self {
        Self {
            consecutive_5xx: Detector { threshold: 5, enforcing_percent: 100 },
            consecutive_gateway_failure: Detector { threshold: 5, enforcing_percent: 0 },
            consecutive_local_origin_failure: Detector { threshold: 1, enforcing_percent: 100 },
            split_local_origin: true,
            interval: Duration::from_secs(10),
            ejection_base: Duration::from_secs(1),
            ejection_max: Duration::from_secs(30),
            ejection_jitter: Duration::ZERO,
            doubling: true,
            ejection_max_percent: 100,
            always_eject_one: true,
            success_rate: Some(SuccessRate::default()),
            failure_percentage: Some(FailurePercentage::default()),
            health_check_unejects: true,
        }
    }
}

impl OutlierDetection {
    /// Nothing is ever ejected.
    #[must_use]
    pub fn off() -> Self {
        let never = Detector { threshold: 0, enforcing_percent: 0 };
        Self {
            consecutive_5xx: never,
            consecutive_gateway_failure: never,
            consecutive_local_origin_failure: never,
            success_rate: None,
            failure_percentage: None,
            ..Self::default()
        }
    }

    /// Envoy's values for an `outlier_detection` that says nothing.
    #[must_use]
    pub fn envoy() -> Self {
        Self {
            consecutive_local_origin_failure: Detector { threshold: 5, enforcing_percent: 100 },
            split_local_origin: false,
            ejection_base: Duration::from_secs(30),
            ejection_max: Duration::from_secs(300),
            doubling: false,
            ejection_max_percent: 10,
            always_eject_one: false,
            ..Self::default()
        }
    }
}
