//! How an endpoint is picked.

use std::time::Duration;

use model::duration_ns;
use serde::{Deserialize, Serialize};

/// The policy that picks one of the endpoints that are left. Formulas: reference/load-balancing.md, section 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balancing {
    /// Uniformly at random; weights are ignored.
    Random,
    /// In turn; weights are ignored.
    #[default]
    RoundRobin,
    /// In turn, in proportion to weight; smoothly interleaved for small sets.
    Weighted,
    /// The one with fewer active requests per weight.
    LeastRequest(LeastRequest),
    /// Of two distinct random endpoints the one with the lower product of latency and active requests.
    PeakEwma(PeakEwma),
    /// Consistent hashing on a ring (ketama), placed as Envoy does.
    RingHash(RingHash),
    /// Consistent hashing by Maglev's table, placed as Envoy does.
    Maglev(Maglev),
}

impl Balancing {
    /// The word for it in documents and output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Balancing::Random => "random",
            Balancing::RoundRobin => "round-robin",
            Balancing::Weighted => "weighted",
            Balancing::LeastRequest(_) => "least-request",
            Balancing::PeakEwma(_) => "peak-ewma",
            Balancing::RingHash(_) => "ring-hash",
            Balancing::Maglev(_) => "maglev",
        }
    }

    /// Reads the word, with the policy's defaults; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Random,
            Self::RoundRobin,
            Self::Weighted,
            Self::LeastRequest(LeastRequest::default()),
            Self::PeakEwma(PeakEwma::default()),
            Self::RingHash(RingHash::default()),
            Self::Maglev(Maglev::default()),
        ]
        .into_iter()
        .find(|it| it.as_str() == text)
    }

    /// True when requests with the same hash go to the same endpoint.
    #[must_use]
    pub fn is_consistent(self) -> bool {
        matches!(self, Balancing::RingHash(_) | Balancing::Maglev(_))
    }
}

/// Parameters of least request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeastRequest {
    /// Distinct random endpoints that are compared, at least 2; [`LeastRequest::ALL`]: every endpoint.
    pub choices: u32,
    /// With unequal weights the weight counts as `weight / (active + 1)^bias`; in percent, 100 is 1.0.
    pub active_request_bias_percent: u32,
}

impl LeastRequest {
    /// Compare every endpoint.
    pub const ALL: u32 = u32::MAX;
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self { choices: 2, active_request_bias_percent: 100 }
    }
}

/// Parameters of peak EWMA (Linkerd's values).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeakEwma {
    /// Time constant with which a latency is forgotten.
    #[serde(with = "duration_ns")]
    pub decay: Duration,
    /// Latency of an endpoint that was not used yet.
    #[serde(with = "duration_ns")]
    pub initial_rtt: Duration,
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self { decay: Duration::from_secs(10), initial_rtt: Duration::from_millis(30) }
    }
}

/// Parameters of the hash ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RingHash {
    /// Least number of entries.
    pub size_min: u32,
    /// Greatest number of entries, at most 8,388,608.
    pub size_max: u32,
    /// What entries are hashed with.
    pub function: HashFunction,
    /// Common to the consistent policies.
    pub key: HashKey,
    /// Bounded load: no endpoint gets more than this percentage of the mean (at least 100); off when `None`.
    pub load_max_percent: Option<u32>,
}

impl Default for RingHash {
    fn default() -> Self {
        Self {
            size_min: 1024,
            size_max: 8 * 1024 * 1024,
            function: HashFunction::XxHash,
            key: HashKey::Address,
            load_max_percent: None,
        }
    }
}

/// Parameters of Maglev's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Maglev {
    /// Entries: a prime, at most 5,000,011.
    pub table_size: u32,
    /// Common to the consistent policies.
    pub key: HashKey,
    /// Bounded load: no endpoint gets more than this percentage of the mean (at least 100); off when `None`.
    pub load_max_percent: Option<u32>,
}

impl Default for Maglev {
    fn default() -> Self {
        Self { table_size: 65_537, key: HashKey::Address, load_max_percent: None }
    }
}

/// What entries of a ring are hashed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashFunction {
    /// xxHash64 with seed 0.
    #[default]
    XxHash,
    /// MurmurHash2 of 64 bits, seed 0xc70f6907 (what libstdc++'s `std::hash` is).
    MurmurHash2,
}

/// What an endpoint is known by on a ring or in a table. The metadata key `hash_key` wins over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashKey {
    /// `address:port`.
    #[default]
    Address,
    /// Its host name.
    Hostname,
}

/// What narrows the endpoints down before the policy picks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Narrowing {
    /// Below this percentage of usable endpoints a priority is used as if all of it were usable. 0, the default, means
    /// never, unlike Envoy's 50: a request to an endpoint that is known to be bad is rarely what its sender wants.
    pub panic_threshold_percent: u8,
    /// In panic, fail rather than use endpoints that are known to be bad.
    pub fail_in_panic: bool,
    /// Localities by their weight.
    pub locality_weighted: bool,
    /// Localities by where the proxy is; not with `locality_weighted`.
    pub zone_aware: Option<ZoneAware>,
    /// Subsets by metadata.
    pub subsets: Option<Subsets>,
    /// Endpoints that are new, or back, get their share little by little.
    pub slow_start: Option<SlowStart>,
    /// Endpoints whose active health check has not been made yet get nothing.
    pub ignore_unchecked: bool,
}

/// Prefer the zone that the proxy is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZoneAware {
    /// Share of the requests for which it holds, in percent.
    pub enabled_percent: u8,
    /// Below this many usable endpoints it does not hold; Envoy: 6.
    pub endpoints_min: u32,
    /// Fail rather than use all endpoints when the cluster is in panic.
    pub fail_on_panic: bool,
    /// Always stay in the zone while it has at least this many usable endpoints.
    pub force_local_min: Option<u32>,
}

/// Subsets of the endpoints by their metadata.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Subsets {
    /// Each a sorted set of keys: endpoints that have all of them form subsets by their values.
    pub selectors: Vec<SubsetSelector>,
    /// When a request asks for a subset that does not exist.
    pub fallback: SubsetFallback,
    /// What [`SubsetFallback::Default`] means.
    pub default: std::collections::BTreeMap<String, String>,
    /// When the fallback's subset is empty too, use any endpoint.
    pub panic_any: bool,
}

/// Keys of a kind of subset.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SubsetSelector {
    /// Keys, sorted.
    pub keys: Vec<String>,
    /// Takes the place of the cluster's.
    pub fallback: Option<SubsetFallback>,
}

/// What a request gets whose subset does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubsetFallback {
    /// Nothing: 503.
    #[default]
    None,
    /// Any endpoint.
    Any,
    /// The default subset.
    Default,
}

/// Endpoints that are new, or back, get their share little by little:
/// `weight × max(min, (time / window)^(1 / aggression))`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SlowStart {
    /// How long it takes.
    #[serde(with = "duration_ns")]
    pub window: Duration,
    /// In percent; 100 is linear.
    pub aggression_percent: u32,
    /// Least share, in percent; Envoy: 10.
    pub weight_min_percent: u8,
}
