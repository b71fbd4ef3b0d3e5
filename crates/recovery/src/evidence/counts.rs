use std::time::Duration;

use proxy_config::{DURATION_BUCKETS, duration_bound_us, duration_bucket};
use serde::{Deserialize, Serialize};

/// What a proxy has counted of one side (one release, one configuration) since it started, or a difference of two such.
///
/// It is read from what other versions have stored, too: what has other buckets comes without its latencies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Counts {
    /// Requests that ended.
    pub requests: u64,
    /// Those of them that failed by whatever the shell calls a failure; at most `requests`.
    pub failures: u64,
    /// Requests by latency, in the proxies' own buckets ([`duration_bound_us`]), not cumulative. Their sum may differ from
    /// `requests`: not every request has a latency.
    pub latency: [u64; DURATION_BUCKETS],
    /// Sum of the latencies of `latency`, in microseconds.
    pub latency_sum_us: u64,
}

/// Counts as they lie in a store.
#[derive(Deserialize)]
struct Stored {
    requests: u64,
    failures: u64,
    latency: Vec<u64>,
    latency_sum_us: u64,
}

impl From<Stored> for Counts {
    fn from(it: Stored) -> Self {
        let Stored { requests, failures, latency, latency_sum_us } = it;
        match latency.try_into() {
            Ok(latency) => Self { requests, failures, latency, latency_sum_us },
            // Counts of one histogram say nothing in another: wrong quantiles would be worse than none.
            Err(_) => Self { requests, failures, ..Self::default() },
        }
    }
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
        self.latency[duration_bucket(us)] += 1;
        self.latency_sum_us = self.latency_sum_us.saturating_add(us);
    }

    /// Requests that have a latency.
    #[must_use]
    pub fn timed(&self) -> u64 {
        total(&self.latency)
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
            below = u64::saturating_add(below, *count);
            below > 0 && below as f64 >= rank
        });
        at.filter(|_| self.timed() > 0)
    }

    /// The `quantile` in microseconds, by interpolation on a logarithmic scale within its bucket.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let at = self.quantile_bucket(quantile)?;
        let below: u64 = total(&self.latency[..at]);
        let within = (quantile * self.timed() as f64 - below as f64) / self.latency[at] as f64;
        let (low, high) = bucket_limits(at);
        Some(low * (high / low).powf(within.clamp(0.0, 1.0)))
    }

    /// Requests in buckets above the one at `idx`.
    #[must_use]
    pub fn above(&self, idx: usize) -> u64 {
        total(self.latency.get(idx + 1..).unwrap_or_default())
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

/// What others count may be anything.
fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, it| sum.saturating_add(*it))
}

/// Limits of a bucket in microseconds. The first begins at a tenth of its end, the last ends at ten times its beginning.
fn bucket_limits(idx: usize) -> (f64, f64) {
    let high = duration_bound_us(idx);
    let low = if idx == 0 { high / 10.0 } else { duration_bound_us(idx - 1) };
    (low, if high.is_finite() { high } else { low * 10.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_lies_within_the_limits_of_its_bucket() {
        for us in [0, 199, 200, 282, 283, 1_000, 6_553_600, u64::MAX] {
            let (low, high) = bucket_limits(duration_bucket(us));
            let us = us as f64;
            assert!(low <= us || us < 20.0, "{us}");
            assert!(us < high || duration_bucket(us as u64) == DURATION_BUCKETS - 1, "{us}");
        }
    }

    #[test]
    fn what_was_stored_with_other_buckets_is_read_without_its_latencies() {
        let buckets = |count: usize| {
            serde_json::json!({
                "requests": 7, "failures": 2, "latency": vec![1; count], "latency_sum_us": 900,
            })
        };
        let older: Counts = serde_json::from_value(buckets(20)).unwrap();
        assert_eq!(older, Counts { requests: 7, failures: 2, ..Counts::default() });
        let own: Counts = serde_json::from_value(buckets(DURATION_BUCKETS)).unwrap();
        assert_eq!((own.timed(), own.latency_sum_us), (32, 900));
        assert_eq!(serde_json::to_value(own).unwrap(), buckets(DURATION_BUCKETS));
    }
}
