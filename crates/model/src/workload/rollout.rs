use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration_ns;

/// How a new release takes the place of the running one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    /// In which manner.
    pub strategy: Strategy,
    /// Copies that may run beyond `replicas`; rounded up. With [`Strategy::Rolling`] only.
    pub surge_max: CountOrPercent,
    /// Copies that may be missing from `replicas`; rounded down. With [`Strategy::Rolling`] only; it and `surge_max` do not
    /// both come to 0.
    pub unavailable_max: CountOrPercent,
    /// It is undone when it is not over by then. 1 s to 7 days, longer than the canary steps together.
    #[serde(with = "duration_ns")]
    pub deadline: Duration,
    /// What undoes it.
    pub evidence: Evidence,
}

impl Default for Rollout {
    /// One copy at a time, a new one first: no capacity is missing at any moment.
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            surge_max: CountOrPercent::Count(1),
            unavailable_max: CountOrPercent::Count(0),
            deadline: Duration::from_secs(600),
            evidence: Evidence::default(),
        }
    }
}

/// The manner of a rollout.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Copy by copy.
    #[default]
    Rolling,
    /// A growing share of the requests goes to the new release, then all.
    Canary {
        /// 1 to 20, their weights ascending.
        steps: Vec<CanaryStep>,
    },
    /// All copies of the new release are started beside the old, then all requests are switched at once.
    BlueGreen {
        /// How long the old release runs on after the switch, for a way back; 0 s to 24 h.
        #[serde(with = "duration_ns")]
        keep_old: Duration,
    },
}

/// A share of the requests for a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CanaryStep {
    /// Percent of the requests that the new release gets, 1 to 100.
    pub weight_percent: u8,
    /// For how long, 1 s to 24 h.
    #[serde(with = "duration_ns")]
    pub duration: Duration,
}

impl CanaryStep {
    /// Steps of a canary that names none.
    pub const DEFAULT: [CanaryStep; 2] = [
        CanaryStep { weight_percent: 20, duration: Duration::from_secs(20) },
        CanaryStep { weight_percent: 50, duration: Duration::from_secs(20) },
    ];
}

/// A number of copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountOrPercent {
    /// So many, up to 1000.
    Count(u32),
    /// So many of each hundred, up to 100.
    Percent(u8),
}

impl CountOrPercent {
    /// Of `replicas`, rounded up.
    #[must_use]
    pub fn round_up(self, replicas: u32) -> u32 {
        match self {
            CountOrPercent::Count(count) => count,
            CountOrPercent::Percent(percent) => {
                percent_of(percent, replicas).div_ceil(100).try_into().unwrap_or(u32::MAX)
            }
        }
    }

    /// Of `replicas`, rounded down.
    #[must_use]
    pub fn round_down(self, replicas: u32) -> u32 {
        match self {
            CountOrPercent::Count(count) => count,
            CountOrPercent::Percent(percent) => {
                (percent_of(percent, replicas) / 100).try_into().unwrap_or(u32::MAX)
            }
        }
    }
}

/// Hundredths of a copy.
fn percent_of(percent: u8, replicas: u32) -> u64 {
    u64::from(percent) * u64::from(replicas)
}

/// From when on the proxies' counters of the new release, compared with those of the old, undo a rollout.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Requests to the new release before it is judged; 1 to 1,000,000.
    pub requests_min: u32,
    /// How much more of the requests may fail than with the old release, in hundredths of a percent of all requests: 50 is
    /// half a percentage point. Up to 10,000.
    pub error_increase_max_basis_points: u32,
    /// How much longer they may take, in hundredths of a percent of what they take with the old release: 2500 is a quarter
    /// longer. Up to 1,000,000.
    pub latency_increase_max_basis_points: u32,
}

impl Default for Evidence {
    /// After 100 requests, a tenth of a percentage point of errors and a quarter of latency: against more, a few failures of
    /// a small share of the requests would convince too late.
    fn default() -> Self {
        Self {
            requests_min: 100,
            error_increase_max_basis_points: 10,
            latency_increase_max_basis_points: 2500,
        }
    }
}
