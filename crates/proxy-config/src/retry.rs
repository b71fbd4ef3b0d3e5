//! When a request is tried again.

use std::time::Duration;

use model::duration_ns;
use serde::{Deserialize, Serialize};

use crate::HeaderMatch;

/// When a request is tried again (reference/load-balancing.md 2.18).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// On what.
    pub on: RetryOn,
    /// With [`RetryOn::RETRIABLE_STATUS_CODES`]: these.
    pub status_codes: Vec<u16>,
    /// With [`RetryOn::RETRIABLE_HEADERS`]: responses with one of these.
    pub response_headers: Vec<HeaderMatch>,
    /// Only requests with one of these; all when empty.
    pub request_headers: Vec<HeaderMatch>,
    /// Most further tries after the first.
    pub retries_max: u32,
    /// From the sending of a try to the head of its response; zero: no limit but the route's.
    #[serde(with = "duration_ns")]
    pub per_try_timeout: Duration,
    /// How long a try may see no byte move; zero: no limit but the stream's.
    #[serde(with = "duration_ns")]
    pub per_try_idle_timeout: Duration,
    /// How long is waited before a further try.
    pub back_off: BackOff,
    /// After a response that says when to come back.
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
    /// Further tries avoid endpoints that were tried, as long as there are others.
    pub avoid_previous: bool,
    /// Most bytes of a request's body that are kept so that it can be sent again; a longer one is not tried again once
    /// it has begun to be sent. Linkerd's 64 KiB.
    pub body_bytes_max: u32,
}

impl Default for RetryPolicy {
    /// One further try where nothing can have been done twice.
    fn default() -> Self {
        Self {
            on: RetryOn::SAFE,
            status_codes: Vec::new(),
            response_headers: Vec::new(),
            request_headers: Vec::new(),
            retries_max: 1,
            per_try_timeout: Duration::ZERO,
            per_try_idle_timeout: Duration::ZERO,
            back_off: BackOff::default(),
            rate_limited_back_off: None,
            avoid_previous: true,
            body_bytes_max: 64 * 1024,
        }
    }
}

impl RetryPolicy {
    /// No further try.
    #[must_use]
    pub fn none() -> Self {
        Self { on: RetryOn::NONE, retries_max: 0, ..Self::default() }
    }
}

/// A set of failures, under Envoy's names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RetryOn(pub u32);

impl RetryOn {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// `5xx`: any 5xx response, or none (disconnect, reset, timeout of a try).
    pub const STATUS_5XX: Self = Self(1);
    /// `gateway-error`: 502, 503, 504.
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// `reset`: no response (disconnect, reset, timeout of a try).
    pub const RESET: Self = Self(1 << 2);
    /// `reset-before-request`: no response, and nothing of the request was sent.
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 3);
    /// `connect-failure`: the connection was refused, unreachable or not established in time.
    pub const CONNECT_FAILURE: Self = Self(1 << 4);
    /// `retriable-4xx`: 409.
    pub const RETRIABLE_4XX: Self = Self(1 << 5);
    /// `refused-stream`: HTTP/2 said that the request was not looked at.
    pub const REFUSED_STREAM: Self = Self(1 << 6);
    /// `retriable-status-codes`.
    pub const RETRIABLE_STATUS_CODES: Self = Self(1 << 7);
    /// `retriable-headers`.
    pub const RETRIABLE_HEADERS: Self = Self(1 << 8);
    /// `envoy-ratelimited`: also responses with `x-envoy-ratelimited`.
    pub const ENVOY_RATELIMITED: Self = Self(1 << 9);
    /// gRPC `cancelled` (1) in the head of a response.
    pub const GRPC_CANCELLED: Self = Self(1 << 10);
    /// gRPC `deadline-exceeded` (4).
    pub const GRPC_DEADLINE_EXCEEDED: Self = Self(1 << 11);
    /// gRPC `internal` (13).
    pub const GRPC_INTERNAL: Self = Self(1 << 12);
    /// gRPC `resource-exhausted` (8).
    pub const GRPC_RESOURCE_EXHAUSTED: Self = Self(1 << 13);
    /// gRPC `unavailable` (14).
    pub const GRPC_UNAVAILABLE: Self = Self(1 << 14);
    /// `idempotent-reset` (Leno's own): `reset`, but only for methods that mean the same sent once or twice (RFC 9110,
    /// section 9.2.2), and not the timeout of a try.
    pub const IDEMPOTENT_RESET: Self = Self(1 << 15);

    /// Failures after which nothing can have been done twice.
    pub const SAFE: Self = Self(
        Self::CONNECT_FAILURE.0
            | Self::REFUSED_STREAM.0
            | Self::RESET_BEFORE_REQUEST.0
            | Self::IDEMPOTENT_RESET.0,
    );

    /// The names with their failures.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("5xx", Self::STATUS_5XX),
        ("gateway-error", Self::GATEWAY_ERROR),
        ("reset", Self::RESET),
        ("reset-before-request", Self::RESET_BEFORE_REQUEST),
        ("connect-failure", Self::CONNECT_FAILURE),
        ("retriable-4xx", Self::RETRIABLE_4XX),
        ("refused-stream", Self::REFUSED_STREAM),
        ("retriable-status-codes", Self::RETRIABLE_STATUS_CODES),
        ("retriable-headers", Self::RETRIABLE_HEADERS),
        ("envoy-ratelimited", Self::ENVOY_RATELIMITED),
        ("cancelled", Self::GRPC_CANCELLED),
        ("deadline-exceeded", Self::GRPC_DEADLINE_EXCEEDED),
        ("internal", Self::GRPC_INTERNAL),
        ("resource-exhausted", Self::GRPC_RESOURCE_EXHAUSTED),
        ("unavailable", Self::GRPC_UNAVAILABLE),
        ("idempotent-reset", Self::IDEMPOTENT_RESET),
    ];

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Reads a comma-separated list of names, and gives the names that are none.
    #[must_use]
    pub fn parse(list: &str) -> (Self, Vec<String>) {
        let (mut on, mut unknown) = (Self::NONE, Vec::new());
        for name in list.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            match Self::NAMES.iter().find(|it| it.0 == name) {
                Some((_, it)) => on = on.and(*it),
                None => unknown.push(name.to_owned()),
            }
        }
        (on, unknown)
    }
}

/// Before the `n`-th further try (from 1) a time is waited that is drawn evenly from 0 to
/// `min(base × 2^(n − 1), max)` ("full jitter"). The first further try after a failed connection is made at once: the
/// next endpoint has nothing to recover from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackOff {
    /// Base; Envoy: 25 ms.
    #[serde(with = "duration_ns")]
    pub base: Duration,
    /// Longest; Envoy: ten times the base.
    #[serde(with = "duration_ns")]
    pub max: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

/// What a response says about when to come back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RateLimitedBackOff {
    /// Headers that are looked at, in this order.
    pub headers: Vec<ResetHeader>,
    /// A longer wait is not believed; Envoy: 300 s.
    #[serde(with = "duration_ns")]
    pub max: Duration,
}

/// A header that says when to come back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResetHeader {
    /// Name in lower case.
    pub name: String,
    /// The value is a Unix time in seconds; otherwise a number of seconds from now.
    pub is_unix_time: bool,
}

/// Further tries beside the one under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hedging {
    /// When the time limit of a try is over, it goes on while another is made; the first good response wins.
    pub on_per_try_timeout: bool,
}
