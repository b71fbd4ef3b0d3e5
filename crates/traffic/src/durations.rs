//! Durations by bucket, of one endpoint over all workers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proxy_config::{DURATION_BUCKETS, DURATION_FIRST_US};

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

/// The bucket of a duration ([`proxy_config::duration_bound_us`]).
///
/// It is `1 + floor(2 * log2(duration / 200 µs))`, or 0 below 200 µs, without a logarithm: the even powers of √2 are powers
/// of two, and the odd ones are told from the squares.
#[must_use]
pub fn duration_bucket(duration_us: u64) -> usize {
    // What is beyond the last bound needs no more than 31 bits, so that twice its square fits.
    let duration_us = duration_us.min(1 << 31);
    let times = duration_us / DURATION_FIRST_US;
    if times == 0 {
        return 0;
    }
    let octave = times.ilog2();
    let is_upper_half = duration_us.pow(2) >= 2 * (DURATION_FIRST_US << octave).pow(2);
    let idx = 1 + 2 * octave as usize + usize::from(is_upper_half);
    idx.min(DURATION_BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use proxy_config::duration_bound_us;

    use super::*;

    #[test]
    fn each_duration_is_between_the_bounds_of_its_bucket() {
        let near = |us: u64| [us.saturating_sub(1), us, us.saturating_add(1)];
        let bounds = (0..DURATION_BUCKETS).map(|idx| duration_bound_us(idx) as u64);
        for us in bounds.flat_map(near).chain([0, 1 << 40]) {
            let idx = duration_bucket(us);
            assert!((us as f64) < duration_bound_us(idx), "{us} in {idx}");
            assert!(idx == 0 || us as f64 >= duration_bound_us(idx - 1), "{us} in {idx}");
        }
    }

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
