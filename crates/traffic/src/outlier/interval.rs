use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rand::Rng;

use super::counters::RateCell;
use super::{Evidence, EvidenceKind, OutlierDetector, RateSummary};
use crate::EndpointState;
use crate::cluster::ClusterState;
use crate::nanos;

/// Whose successes a rate counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum RateKind {
    /// Of responses; where local origin is not split off, of connections too (`success_rate`).
    External,
    /// Of connections (`local_origin_success_rate`).
    LocalOrigin,
}

impl RateKind {
    /// Both.
    pub const ALL: [RateKind; 2] = [RateKind::External, RateKind::LocalOrigin];
}

/// Rates of one endpoint. They are differences of counters that exist anyway, so requests pay
/// nothing for them.
#[derive(Debug, Default)]
pub(super) struct EndpointRates {
    success_seen: AtomicU64,
    errors_seen: AtomicU64,
    local_failures_seen: AtomicU64,
    /// By [`RateKind`].
    success_rates: [RateCell; RateKind::ALL.len()],
}

impl EndpointRates {
    pub(super) fn success_rate(&self, kind: RateKind) -> Option<f64> {
        self.success_rates[kind as usize].get()
    }
}

/// What one endpoint did in one interval.
struct Sample<'a> {
    endpoint: &'a Arc<EndpointState>,
    success: u64,
    total: u64,
}

impl Sample<'_> {
    /// In percent.
    fn success_rate(&self) -> f64 {
        100.0 * self.success as f64 / self.total as f64
    }
}

impl ClusterState {
    /// When [`ClusterState::on_interval`] is due, in nanoseconds of the caller's epoch. The first
    /// interval begins with the first call.
    pub fn next_interval_at(&self, now_ns: u64) -> u64 {
        let next = &self.resilience().outliers.next_interval_ns;
        let first_ns = now_ns.saturating_add(nanos(self.outlier_settings().interval)).max(1);
        match next.compare_exchange(0, first_ns, Relaxed, Relaxed) {
            Ok(_) => first_ns,
            Err(next_ns) => next_ns,
        }
    }

    /// Looks at the rates of the interval that ends, ejects outliers, and lets the lengths of
    /// ejections shrink; does nothing before it is due. Intervals that were missed are not made up
    /// for, and the beat is kept. To be called from one place per cluster; several are harmless.
    /// Gives one evidence for each endpoint that is ejected.
    ///
    /// An endpoint with enough requests is an outlier when its success rate is below `mean − factor
    /// × standard deviation` (of the population) or when its share of failures is at least the
    /// threshold, in each case only if there are enough such endpoints (reference/load-balancing.md
    /// 2.15).
    pub fn on_interval<R: Rng + ?Sized>(&self, now_ns: u64, rng: &mut R) -> Vec<Evidence> {
        if !self.begin_interval(now_ns) {
            return Vec::new();
        }
        let mut external = Vec::with_capacity(self.endpoints().len());
        let mut local = Vec::with_capacity(self.endpoints().len());
        for (_, endpoint) in self.endpoints() {
            self.shorten_next_ejection(endpoint, now_ns);
            let (of_responses, of_connections) = self.take_samples(endpoint);
            if !endpoint.outlier().is_ejected(now_ns) {
                external.push(of_responses);
                local.push(of_connections);
            }
        }
        let mut evidence = Vec::new();
        self.eject_by_rate(RateKind::External, &external, now_ns, rng, &mut evidence);
        if !self.outlier_settings().split_local_origin {
            local.clear();
        }
        self.eject_by_rate(RateKind::LocalOrigin, &local, now_ns, rng, &mut evidence);
        evidence
    }

    fn begin_interval(&self, now_ns: u64) -> bool {
        let due_ns = self.next_interval_at(now_ns);
        if now_ns < due_ns {
            return false;
        }
        let interval_ns = nanos(self.outlier_settings().interval).max(1);
        let missed = (now_ns - due_ns) / interval_ns;
        let next_ns = due_ns.saturating_add((missed + 1).saturating_mul(interval_ns));
        let next = &self.resilience().outliers.next_interval_ns;
        next.compare_exchange(due_ns, next_ns, Relaxed, Relaxed).is_ok()
    }

    fn shorten_next_ejection(&self, endpoint: &EndpointState, now_ns: u64) {
        let outlier = endpoint.outlier();
        if outlier.is_ejected(now_ns) {
            return;
        }
        if outlier.take_end_of_ejection(now_ns) {
            outlier.forget_failures();
            self.note_membership_change();
        } else if !self.outlier_settings().doubling {
            let in_a_row = outlier.ejections_in_a_row.load(Relaxed);
            outlier.ejections_in_a_row.store(in_a_row.saturating_sub(1), Relaxed);
        }
    }

    /// Of responses and of connections, since the last call.
    fn take_samples<'a>(&self, endpoint: &'a Arc<EndpointState>) -> (Sample<'a>, Sample<'a>) {
        let (counters, outlier) = (endpoint.counters(), endpoint.outlier());
        let since = |counter: &AtomicU64, seen: &AtomicU64| {
            let value = counter.load(Relaxed);
            // Counters can be put back to 0 by hand.
            value.saturating_sub(seen.swap(value, Relaxed))
        };
        // Local failures first: each is counted as an error before.
        let local_failures = since(&outlier.local_failures, &outlier.rates.local_failures_seen);
        let success = since(&counters.rq_success, &outlier.rates.success_seen);
        let errors = since(&counters.rq_error, &outlier.rates.errors_seen);
        for cell in &outlier.rates.success_rates {
            cell.set(None);
        }
        let all = success + errors;
        let total = if self.outlier_settings().split_local_origin {
            all.saturating_sub(local_failures)
        } else {
            all
        };
        (
            Sample { endpoint, success, total },
            Sample { endpoint, success: all.saturating_sub(local_failures), total: all },
        )
    }

    fn eject_by_rate<R: Rng + ?Sized>(
        &self,
        kind: RateKind,
        samples: &[Sample<'_>],
        now_ns: u64,
        rng: &mut R,
        evidence: &mut Vec<Evidence>,
    ) {
        let settings = self.outlier_settings();
        let (by_deviation, by_share) = match kind {
            RateKind::External => {
                (OutlierDetector::SuccessRate, OutlierDetector::FailurePercentage)
            }
            RateKind::LocalOrigin => (
                OutlierDetector::LocalOriginSuccessRate,
                OutlierDetector::LocalOriginFailurePercentage,
            ),
        };
        let requests_min = settings.success_rate.map_or(u32::MAX, |it| it.requests_min);
        let requests_min =
            requests_min.min(settings.failure_percentage.map_or(u32::MAX, |it| it.requests_min));
        for sample in with_requests(samples, requests_min) {
            let rate = Some(sample.success_rate());
            sample.endpoint.outlier().rates.success_rates[kind as usize].set(rate);
        }
        self.resilience().outliers.set_summary(kind, None);
        if let Some(rule) = settings.success_rate {
            let compared: Vec<_> = with_requests(samples, rule.requests_min).collect();
            let factor = f64::from(rule.stdev_factor_thousandths) / 1000.0;
            if let Some(summary) = summarize(&compared, factor)
                && compared.len() >= rule.endpoints_min as usize
            {
                self.resilience().outliers.set_summary(kind, Some(summary));
                let outliers = compared.iter().filter(|it| it.success_rate() < summary.threshold);
                evidence.extend(outliers.filter_map(|it| {
                    let kind = EvidenceKind::SuccessRate;
                    self.detected(it.endpoint, by_deviation, kind, now_ns, rng)
                }));
            }
        }
        if let Some(rule) = settings.failure_percentage {
            let compared: Vec<_> = with_requests(samples, rule.requests_min).collect();
            if compared.len() >= rule.endpoints_min as usize {
                let threshold = f64::from(rule.threshold_percent);
                let outliers = compared.iter().filter(|it| 100.0 - it.success_rate() >= threshold);
                evidence.extend(outliers.filter_map(|it| {
                    let kind = EvidenceKind::FailurePercentage;
                    self.detected(it.endpoint, by_share, kind, now_ns, rng)
                }));
            }
        }
    }
}

fn with_requests<'a>(
    samples: &'a [Sample<'a>],
    requests_min: u32,
) -> impl Iterator<Item = &'a Sample<'a>> {
    samples.iter().filter(move |it| it.total >= u64::from(requests_min.max(1)))
}

/// `None` when there is nothing to compare.
fn summarize(samples: &[&Sample<'_>], factor: f64) -> Option<RateSummary> {
    let count = samples.len() as f64;
    let mean = samples.iter().map(|it| it.success_rate()).sum::<f64>() / count;
    let variance = samples.iter().map(|it| (it.success_rate() - mean).powi(2)).sum::<f64>() / count;
    (!samples.is_empty()).then(|| RateSummary { mean, threshold: mean - factor * variance.sqrt() })
}
