use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Parts of each power of two: a value is known to within 1/64 of itself.
const PARTS: u64 = 32;

/// Powers of two: up to 2^36 µs, 19 hours. With them 1,024 buckets, 4 KiB.
const BUCKETS: usize = 1024;

/// Latencies in microseconds that all workers count into.
#[derive(Debug)]
pub(super) struct LatencyHistogram {
    buckets: Box<[AtomicU32]>,
    count: AtomicU32,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            count: AtomicU32::new(0),
        }
    }
}

impl LatencyHistogram {
    pub(super) fn record(&self, latency_us: u64) {
        // In this order, so that what is taken has been counted.
        self.count.fetch_add(1, Relaxed);
        self.buckets[bucket_of(latency_us)].fetch_add(1, Release);
    }

    pub(super) fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// The latency at a percentile (nearest rank), and a new beginning. What is recorded meanwhile
    /// counts to one or the other side. `None` when nothing was recorded.
    pub(super) fn take(&self, percentile: u8) -> Option<u64> {
        let mut counts = [0u32; BUCKETS];
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            if bucket.load(Relaxed) != 0 {
                *count = bucket.swap(0, Acquire);
            }
        }
        let total: u64 = counts.iter().map(|it| u64::from(*it)).sum();
        self.count.fetch_sub(total as u32, Relaxed);
        let rank = (total * u64::from(percentile.min(100))).div_ceil(100).max(1);
        let mut below = 0;
        counts
            .iter()
            .position(|count| {
                below += u64::from(*count);
                below >= rank
            })
            .map(middle_of)
    }

    pub(super) fn clear(&self) {
        self.take(0);
    }
}

fn bucket_of(latency_us: u64) -> usize {
    if latency_us < PARTS {
        return latency_us as usize;
    }
    let power = latency_us.ilog2();
    let shift = power - PARTS.ilog2();
    let idx = u64::from(shift + 1) * PARTS + (latency_us >> shift) - PARTS;
    (idx as usize).min(BUCKETS - 1)
}

fn middle_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let shift = bucket / PARTS - 1;
    ((bucket % PARTS + PARTS) << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LatencyHistogram, bucket_of, middle_of};

    proptest! {
        #[test]
        fn a_latency_is_known_to_within_a_sixtyfourth(latency_us in 0u64..1 << 36) {
            let known = middle_of(bucket_of(latency_us));
            prop_assert!(known.abs_diff(latency_us) <= latency_us / 64 + 1);
        }

        #[test]
        fn longer_latencies_are_in_later_buckets(a in any::<u64>(), b in any::<u64>()) {
            prop_assert_eq!(bucket_of(a).cmp(&bucket_of(b)), match bucket_of(a) == bucket_of(b) {
                true => std::cmp::Ordering::Equal,
                false => a.cmp(&b),
            });
        }
    }

    #[test]
    fn percentiles_are_by_nearest_rank_and_taking_begins_anew() {
        let histogram = LatencyHistogram::default();
        let fill = || (1..=20).for_each(|it| histogram.record(it));
        for (percentile, expected) in [(0, 1), (50, 10), (51, 11), (95, 19), (100, 20)] {
            fill();
            assert_eq!(histogram.take(percentile), Some(expected), "p{percentile}");
        }
        assert_eq!((histogram.take(50), histogram.count()), (None, 0));
    }
}
