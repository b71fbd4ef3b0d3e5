use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use proxy_config::OutlierDetection;
use rand::{Rng, RngExt};

use super::{Evidence, EvidenceKind, OutlierCount, OutlierDetector, RateKind, RateSummary};
use crate::EndpointState;
use crate::cluster::ClusterState;
use crate::nanos;

impl ClusterState {
    /// How often a detector tripped.
    #[must_use]
    pub fn outlier_count(&self, detector: OutlierDetector) -> OutlierCount {
        self.resilience().outliers.count(detector)
    }

    /// Ejections that the highest allowed percentage did not let happen (`ejections_overflow`).
    #[must_use]
    pub fn ejections_overflow(&self) -> u64 {
        self.resilience().outliers.overflow()
    }

    /// Success rates in the last whole interval; `None` when too few endpoints had enough requests.
    #[must_use]
    pub fn success_rates(&self, kind: RateKind) -> Option<RateSummary> {
        self.resilience().outliers.summary(kind)
    }

    /// Ends an ejection because an active health check has passed, if the settings say so.
    pub(crate) fn end_ejection_after_check(&self, endpoint: &EndpointState, now_ns: u64) {
        let outlier = endpoint.outlier();
        if !self.outlier_settings().health_check_unejects || !outlier.is_ejected(now_ns) {
            return;
        }
        outlier.end_ejection(now_ns);
        self.note_membership_change();
    }

    /// A detector has tripped: counts it, and ejects if the highest percentage and the enforced
    /// share allow it.
    pub(super) fn detected<R: Rng + ?Sized>(
        &self,
        endpoint: &EndpointState,
        detector: OutlierDetector,
        kind: EvidenceKind,
        now_ns: u64,
        rng: &mut R,
    ) -> Option<Evidence> {
        if endpoint.outlier().is_ejected(now_ns) {
            return None;
        }
        let outliers = &self.resilience().outliers;
        outliers.note_detected(detector);
        if !self.may_eject(now_ns, 0) {
            outliers.note_overflow();
            return None;
        }
        let percent = u32::from(self.enforcing_percent(detector));
        if percent < 100 && rng.random_range(0..100) >= percent {
            return None;
        }
        let until_ns = self.eject(endpoint, now_ns, rng)?;
        outliers.note_enforced(detector);
        endpoint.counters().ejections.fetch_add(1, Relaxed);
        self.note_ejection(until_ns);
        Some(self.evidence(endpoint, kind, now_ns, until_ns.saturating_sub(now_ns)))
    }

    /// End of the ejection; `None` when another worker was first or has used up what is allowed.
    fn eject<R: Rng + ?Sized>(
        &self,
        endpoint: &EndpointState,
        now_ns: u64,
        rng: &mut R,
    ) -> Option<u64> {
        let outlier = endpoint.outlier();
        let before = outlier.ejected_until_ns.load(SeqCst);
        if before > now_ns {
            return None;
        }
        let settings = self.outlier_settings();
        let in_a_row = outlier.ejections_in_a_row.load(Relaxed);
        let jitter_ns = match nanos(settings.ejection_jitter) {
            0 => 0,
            jitter_ns => rng.random_range(0..=jitter_ns),
        };
        let length_ns = ejection_ns(settings, in_a_row).saturating_add(jitter_ns);
        let until_ns = self.ejection_end(now_ns.saturating_add(length_ns));
        // Of several workers that see the same failure one ejects.
        outlier.ejected_until_ns.compare_exchange(before, until_ns, SeqCst, SeqCst).ok()?;
        // Two workers may have been allowed two endpoints where one was left. Each counts again
        // after it has written, so in the one order that all of them agree on the last sees both,
        // and takes its own back.
        if !self.may_eject(now_ns, 1) {
            let _ = outlier.ejected_until_ns.compare_exchange(until_ns, before, SeqCst, SeqCst);
            self.resilience().outliers.note_overflow();
            return None;
        }
        outlier.unrecovered.store(true, Relaxed);
        outlier.counts_are_old.store(true, Relaxed);
        if settings.doubling || grows(settings, in_a_row) {
            outlier.ejections_in_a_row.store(in_a_row.saturating_add(1), Relaxed);
        }
        Some(until_ns)
    }

    /// `100 × (ejected + 1) / endpoints <= ejection_max_percent`, or none is ejected and one always
    /// may be. `counted` of those that are ejected are the one that is asked for.
    fn may_eject(&self, now_ns: u64, counted: usize) -> bool {
        let settings = self.outlier_settings();
        if settings.ejection_max_percent >= 100 {
            return true;
        }
        let mut count = 0;
        let mut ejected = 0;
        for (_, endpoint) in self.endpoints() {
            count += 1;
            ejected += usize::from(endpoint.outlier().ejected_until_ns.load(SeqCst) > now_ns);
        }
        let others = ejected.saturating_sub(counted);
        100 * (others + 1) <= usize::from(settings.ejection_max_percent) * count
            || (settings.always_eject_one && others == 0)
    }

    fn enforcing_percent(&self, detector: OutlierDetector) -> u8 {
        let settings = self.outlier_settings();
        match detector {
            OutlierDetector::Consecutive5xx => settings.consecutive_5xx.enforcing_percent,
            OutlierDetector::ConsecutiveGatewayFailure => {
                settings.consecutive_gateway_failure.enforcing_percent
            }
            OutlierDetector::ConsecutiveLocalOriginFailure => {
                settings.consecutive_local_origin_failure.enforcing_percent
            }
            OutlierDetector::SuccessRate | OutlierDetector::LocalOriginSuccessRate => {
                settings.success_rate.map_or(0, |it| it.enforcing_percent)
            }
            OutlierDetector::FailurePercentage | OutlierDetector::LocalOriginFailurePercentage => {
                settings.failure_percentage.map_or(0, |it| it.enforcing_percent)
            }
        }
    }

    /// Envoy ends ejections when it looks at the rates; with `doubling`, where they may be shorter
    /// than an interval, they end by themselves.
    fn ejection_end(&self, wanted_ns: u64) -> u64 {
        let settings = self.outlier_settings();
        let next_ns = self.resilience().outliers.next_interval_ns.load(Relaxed);
        let interval_ns = nanos(settings.interval).max(1);
        if settings.doubling || next_ns == 0 {
            return wanted_ns;
        }
        let intervals = wanted_ns.saturating_sub(next_ns).div_ceil(interval_ns);
        next_ns.saturating_add(intervals.saturating_mul(interval_ns))
    }
}

/// Without jitter, after `in_a_row` earlier ones: `min(base × 2^n, max)` when doubling, else
/// `min(base × (n + 1), max(max, base))`.
fn ejection_ns(settings: &OutlierDetection, in_a_row: u32) -> u64 {
    let base_ns = nanos(settings.ejection_base);
    let factor = if settings.doubling {
        1u64 << in_a_row.min(31)
    } else {
        u64::from(in_a_row).saturating_add(1)
    };
    base_ns.saturating_mul(factor).min(nanos(settings.ejection_max).max(base_ns))
}

/// Envoy lets the multiplier grow no further once the longest ejection is reached, so that healthy
/// intervals take it down again in a time that is in proportion.
fn grows(settings: &OutlierDetection, in_a_row: u32) -> bool {
    let base_ns = nanos(settings.ejection_base);
    let max_ns = nanos(settings.ejection_max).max(base_ns);
    base_ns.saturating_mul(u64::from(in_a_row)) < max_ns.saturating_add(base_ns)
}
