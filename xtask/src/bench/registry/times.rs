//! How long something took, each time.

use std::time::Duration;

/// From the shortest to the longest.
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time, in milliseconds, within which this share of them (0 to 1) was done; 0 if there were none.
    pub(super) fn within(&self, share: f64) -> f64 {
        let place = (self.0.len().saturating_sub(1) as f64 * share) as usize;
        self.0.get(place).copied().unwrap_or_default().as_secs_f64() * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_told_by_the_longest_of_it() {
        let times = Times::of((1..=101).rev().map(Duration::from_millis).collect());
        assert_eq!([times.within(0.0), times.within(0.5), times.within(1.0)], [1.0, 51.0, 101.0]);
        assert_eq!(Times::of(Vec::new()).within(0.99), 0.0);
    }
}
