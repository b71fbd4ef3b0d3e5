//! Durations by bucket, of one endpoint over all workers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proxy_config::{DURATION_BUCKETS, duration_bucket};

/// Durations by bucket ([`proxy_config::duration_bound_us`]). The first bucket holds those below 200 µs, each further one
/// those below √2 times the bound before, the last one what is 6.6 s and more. Recording is two additions.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [AtomicU64; DURATION_BUCKETS],
    sum_us: AtomicU64,
}

impl Durations {
    pub(crate) fn record(&self, duration_us: u64) {
        self.counts[duration_bucket(duration_us)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(duration_us, Relaxed);
    }

    /// How many there were, by bucket.
    #[must_use]
    pub fn counts(&self) -> [u64; DURATION_BUCKETS] {
        std::array::from_fn(|idx| self.counts[idx].load(Relaxed))
    }

    /// Their sum in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_their_buckets() {
        let durations = Durations::default();
        for us in [199, 200, 282, 283, 399, 400, 6_600_000] {
            durations.record(us);
        }
        let counts = durations.counts();
        assert_eq!(counts[..4], [1, 2, 2, 1]);
        assert_eq!(counts[DURATION_BUCKETS - 1], 1);
        assert_eq!((counts.iter().sum::<u64>(), durations.sum_us()), (7, 6_601_763));
    }
}
