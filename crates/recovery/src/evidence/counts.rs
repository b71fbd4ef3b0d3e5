use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets of [`Counts::latency`], in microseconds. They are those of the proxy's histograms (its
/// `BUCKETS_US`, Envoy's default ones), so that its counts are evidence as they are.
pub const LATENCY_BOUNDS_US: [u64; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// What a proxy has counted of one side (one release, one configuration) since it started, or a difference of two such.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that ended.
    pub requests: u64,
    /// Those of them that failed by whatever the shell calls a failure; at most `requests`.
    pub failures: u64,
    /// Requests by latency: a count for each bucket of [`LATENCY_BOUNDS_US`], not cumulative; the last one is for what is
    /// above all bounds. Their sum may differ from `requests`: not every request has a latency.
    pub latency: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// Sum of the latencies of `latency`, in microseconds.
    pub latency_sum_us: u64,
}

impl Counts {
    /// What came since `earlier` was read. Counters that went back were reset (the proxy started anew), and all that they
    /// hold is new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let went_back = self.requests < earlier.requests
            || self.failures < earlier.failures
            || self.latency.iter().zip(&earlier.latency).any(|(now, then)| now < then);
        if went_back {
            return *self;
        }
        let mut since = *self;
        since.requests -= earlier.requests;
        since.failures -= earlier.failures;
        for (now, then) in since.latency.iter_mut().zip(&earlier.latency) {
            *now -= then;
        }
        since.latency_sum_us = since.latency_sum_us.saturating_sub(earlier.latency_sum_us);
        since
    }

    /// Adds `more`, saturating.
    pub fn add(&mut self, more: &Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.failures = self.failures.saturating_add(more.failures);
        for (all, more) in self.latency.iter_mut().zip(&more.latency) {
            *all = all.saturating_add(*more);
        }
        self.latency_sum_us = self.latency_sum_us.saturating_add(more.latency_sum_us);
    }

    /// Counts one request.
    pub fn record(&mut self, failed: bool, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.requests += 1;
        self.failures += u64::from(failed);
        self.latency[LATENCY_BOUNDS_US.partition_point(|bound| *bound < us)] += 1;
        self.latency_sum_us = self.latency_sum_us.saturating_add(us);
    }

    /// Requests that have a latency.
    #[must_use]
    pub fn timed(&self) -> u64 {
        self.latency.iter().fold(0, |sum, it| sum.saturating_add(*it))
    }

    /// Mean latency in microseconds, if any request has one.
    #[must_use]
    pub fn mean_us(&self) -> Option<f64> {
        let timed = self.timed();
        (timed > 0).then(|| self.latency_sum_us as f64 / timed as f64)
    }

    /// Share of requests that failed, from 0 to 1; 0 without requests.
    #[must_use]
    pub fn failure_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failures as f64 / self.requests as f64 }
    }

    /// Index of the bucket that holds the `quantile` (0 to 1), if any request has a latency.
    #[must_use]
    pub fn quantile_bucket(&self, quantile: f64) -> Option<usize> {
        let rank = quantile * self.timed() as f64;
        let mut below = 0;
        let at = self.latency.iter().position(|count| {
            below += count;
            below > 0 && below as f64 >= rank
        });
        at.filter(|_| self.timed() > 0)
    }

    /// The `quantile` in microseconds, by interpolation on a logarithmic scale within its bucket.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let at = self.quantile_bucket(quantile)?;
        let below: u64 = self.latency[..at].iter().sum();
        let within = (quantile * self.timed() as f64 - below as f64) / self.latency[at] as f64;
        let (low, high) = bucket_limits(at);
        Some(low * (high / low).powf(within.clamp(0.0, 1.0)))
    }

    /// Requests in buckets above the one at `idx`.
    #[must_use]
    pub fn above(&self, idx: usize) -> u64 {
        self.latency.iter().skip(idx + 1).sum()
    }

    /// Requests that are estimated to lie within a factor of `ratio` below the upper bound of bucket `idx`: its requests
    /// and those of the buckets below, each spread evenly on a logarithmic scale.
    #[must_use]
    pub fn just_below(&self, idx: usize, ratio: f64) -> f64 {
        let reach = bucket_limits(idx).1 / ratio;
        (0..=idx)
            .map(|at| {
                let (low, high) = bucket_limits(at);
                let part = (high / low.max(reach)).ln() / (high / low).ln();
                self.latency[at] as f64 * part.clamp(0.0, 1.0)
            })
            .sum()
    }

    /// Scales down so that no more than `requests_max` requests are left.
    pub(crate) fn forget_beyond(&mut self, requests_max: u64) {
        if self.requests.max(self.timed()) <= requests_max {
            return;
        }
        let scale = requests_max as f64 / self.requests.max(self.timed()) as f64;
        let scaled = |it: u64| (it as f64 * scale).round() as u64;
        self.requests = scaled(self.requests);
        self.failures = scaled(self.failures);
        self.latency = self.latency.map(scaled);
        self.latency_sum_us = scaled(self.latency_sum_us);
    }
}

/// Limits of a bucket in microseconds. The first begins at a tenth of its end, the last ends at ten times its beginning.
fn bucket_limits(idx: usize) -> (f64, f64) {
    let first = LATENCY_BOUNDS_US[0] as f64;
    let low = if idx == 0 { first / 10.0 } else { LATENCY_BOUNDS_US[idx - 1] as f64 };
    let high = LATENCY_BOUNDS_US.get(idx).map_or(low * 10.0, |it| *it as f64);
    (low, high)
}
