//! How long a proxy takes from the commit of a change to its acknowledgement.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

/// Upper bounds of the buckets, in milliseconds: around what a proxy in this process takes (a few) and what a rollout waits for
/// (10 s).
const BOUNDS_MS: [f64; 14] = [
    1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0,
    30_000.0,
];
/// Times that a percentile is taken of.
const RECENT_MAX: usize = 256;
const NAME: &str = "leno_proxy_acknowledge_seconds";

/// Times to acknowledgements.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// By bucket, not cumulative; the last is for what is longer.
    counts: [u64; BOUNDS_MS.len() + 1],
    sum: Duration,
    recent: VecDeque<Duration>,
}

impl Times {
    pub(super) fn add(&mut self, time: Duration) {
        let ms = time.as_secs_f64() * 1000.0;
        self.counts[BOUNDS_MS.partition_point(|bound| *bound < ms)] += 1;
        self.sum += time;
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(time);
    }

    pub(super) fn last(&self) -> Option<Duration> {
        self.recent.back().copied()
    }

    /// The least time that at least 99 % of the last 256 did not exceed.
    pub(super) fn p99(&self) -> Option<Duration> {
        let mut recent: Vec<Duration> = self.recent.iter().copied().collect();
        recent.sort_unstable();
        let rank = (recent.len() * 99).div_ceil(100);
        recent.get(rank.checked_sub(1)?).copied()
    }

    fn expose(&self, proxy: &str, text: &mut String) {
        let mut sum = 0;
        let bounds = BOUNDS_MS.iter().map(|it| (it / 1000.0).to_string());
        for (count, bound) in self.counts.iter().zip(bounds.chain(["+Inf".to_owned()])) {
            sum += count;
            let _ = writeln!(text, "{NAME}_bucket{{proxy=\"{proxy}\",le=\"{bound}\"}} {sum}");
        }
        let _ = writeln!(text, "{NAME}_sum{{proxy=\"{proxy}\"}} {}", self.sum.as_secs_f64());
        let _ = writeln!(text, "{NAME}_count{{proxy=\"{proxy}\"}} {sum}");
    }
}

/// The histograms of some proxies. Their names need no escaping: [`super::Fleet::follow`] lets no others in.
pub(super) fn exposition<'a>(of: impl Iterator<Item = (&'a str, &'a Times)>) -> String {
    let mut text = format!(
        "# HELP {NAME} From the commit of a change to its acknowledgement by the proxy.\n# TYPE {NAME} histogram\n"
    );
    of.for_each(|(proxy, times)| times.expose(proxy, &mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_a_time_that_was_seen() {
        let mut times = Times::default();
        assert_eq!((times.p99(), times.last()), (None, None));
        (1..=100).for_each(|ms| times.add(Duration::from_millis(ms)));
        assert_eq!(times.p99(), Some(Duration::from_millis(99)));
        assert_eq!(times.last(), Some(Duration::from_millis(100)));
        (0..RECENT_MAX).for_each(|_| times.add(Duration::from_millis(7)));
        assert_eq!(times.p99(), Some(Duration::from_millis(7)));
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_all() {
        let mut times = Times::default();
        [1, 2, 40_000].into_iter().for_each(|ms| times.add(Duration::from_millis(ms)));
        let text = exposition([("edge", &times)].into_iter());
        for line in [
            "leno_proxy_acknowledge_seconds_bucket{proxy=\"edge\",le=\"0.001\"} 1",
            "leno_proxy_acknowledge_seconds_bucket{proxy=\"edge\",le=\"0.0025\"} 2",
            "leno_proxy_acknowledge_seconds_bucket{proxy=\"edge\",le=\"30\"} 2",
            "leno_proxy_acknowledge_seconds_bucket{proxy=\"edge\",le=\"+Inf\"} 3",
            "leno_proxy_acknowledge_seconds_sum{proxy=\"edge\"} 40.003",
            "leno_proxy_acknowledge_seconds_count{proxy=\"edge\"} 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
