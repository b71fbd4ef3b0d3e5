use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::interval::RateKind;

/// A detector of outliers, under Envoy's names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum OutlierDetector {
    /// 5xx in a row.
    Consecutive5xx,
    /// 502, 503, 504 in a row.
    ConsecutiveGatewayFailure,
    /// Failed connections in a row.
    ConsecutiveLocalOriginFailure,
    /// Success rate of responses.
    SuccessRate,
    /// Success rate of connections.
    LocalOriginSuccessRate,
    /// Share of failures among responses.
    FailurePercentage,
    /// Share of failures among connections.
    LocalOriginFailurePercentage,
}

impl OutlierDetector {
    /// All of them.
    pub const ALL: [OutlierDetector; 7] = [
        OutlierDetector::Consecutive5xx,
        OutlierDetector::ConsecutiveGatewayFailure,
        OutlierDetector::ConsecutiveLocalOriginFailure,
        OutlierDetector::SuccessRate,
        OutlierDetector::LocalOriginSuccessRate,
        OutlierDetector::FailurePercentage,
        OutlierDetector::LocalOriginFailurePercentage,
    ];

    /// What follows `outlier_detection.ejections_detected_` and `…_enforced_` in Envoy's
    /// statistics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OutlierDetector::Consecutive5xx => "consecutive_5xx",
            OutlierDetector::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            OutlierDetector::ConsecutiveLocalOriginFailure => "consecutive_local_origin_failure",
            OutlierDetector::SuccessRate => "success_rate",
            OutlierDetector::LocalOriginSuccessRate => "local_origin_success_rate",
            OutlierDetector::FailurePercentage => "failure_percentage",
            OutlierDetector::LocalOriginFailurePercentage => "local_origin_failure_percentage",
        }
    }
}

/// How often a detector tripped, since the cluster came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutlierCount {
    /// Detections (`ejections_detected_…`).
    pub detected: u64,
    /// Those that ejected (`ejections_enforced_…`).
    pub enforced: u64,
}

/// Success rates of the endpoints of a cluster in the last whole interval, in percent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RateSummary {
    /// Mean (`success_rate_average`).
    pub mean: f64,
    /// Below it an endpoint is an outlier (`success_rate_ejection_threshold`).
    pub threshold: f64,
}

/// What outlier detection knows of a cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterOutliers {
    detected: [AtomicU64; OutlierDetector::ALL.len()],
    enforced: [AtomicU64; OutlierDetector::ALL.len()],
    overflow: AtomicU64,
    /// When rates are looked at next; 0: never yet.
    pub(super) next_interval_ns: AtomicU64,
    summaries: [[RateCell; 2]; RateKind::ALL.len()],
}

impl ClusterOutliers {
    pub(crate) fn count(&self, detector: OutlierDetector) -> OutlierCount {
        OutlierCount {
            detected: self.detected[detector as usize].load(Relaxed),
            enforced: self.enforced[detector as usize].load(Relaxed),
        }
    }

    pub(crate) fn overflow(&self) -> u64 {
        self.overflow.load(Relaxed)
    }

    pub(crate) fn summary(&self, kind: RateKind) -> Option<RateSummary> {
        let [mean, threshold] = &self.summaries[kind as usize];
        Some(RateSummary { mean: mean.get()?, threshold: threshold.get()? })
    }

    pub(super) fn note_detected(&self, detector: OutlierDetector) {
        self.detected[detector as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn note_enforced(&self, detector: OutlierDetector) {
        self.enforced[detector as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn note_overflow(&self) {
        self.overflow.fetch_add(1, Relaxed);
    }

    pub(super) fn set_summary(&self, kind: RateKind, summary: Option<RateSummary>) {
        let [mean, threshold] = &self.summaries[kind as usize];
        mean.set(summary.map(|it| it.mean));
        threshold.set(summary.map(|it| it.threshold));
    }
}

/// A rate that may be unknown.
#[derive(Debug)]
pub(super) struct RateCell(AtomicU64);

impl Default for RateCell {
    fn default() -> Self {
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }
}

impl RateCell {
    pub(super) fn get(&self) -> Option<f64> {
        let rate = f64::from_bits(self.0.load(Relaxed));
        (!rate.is_nan()).then_some(rate)
    }

    pub(super) fn set(&self, rate: Option<f64>) {
        self.0.store(rate.unwrap_or(f64::NAN).to_bits(), Relaxed);
    }
}
