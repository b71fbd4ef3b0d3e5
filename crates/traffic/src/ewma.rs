//! Latency of an endpoint as peak EWMA has it (reference/load-balancing.md 2.3).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proxy_config::PeakEwma;

/// Times are kept in units of 2^20 ns, about a millisecond: 32 bits of them wrap after 52 days.
const TICK_BITS: u32 = 20;

/// A moving average of latencies that jumps up at once and forgets slowly. Average (32-bit float,
/// nanoseconds, upper half) and time of the latest change (lower half) lie in one word, so that
/// workers share it without a lock. A negative average: nothing was observed yet.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU64);

impl Latency {
    /// Nothing observed; the initial latency counts from now on.
    pub(crate) fn new(now_ns: u64) -> Self {
        Self(AtomicU64::new(pack(NONE, now_ns)))
    }

    /// Takes in one latency. Above the average it becomes the average; below, the average moves
    /// toward it by `1 - e^(-time since the last / decay)`.
    pub(crate) fn observe(&self, rtt_ns: u64, now_ns: u64, decay_ns: f32) {
        let rtt = rtt_ns as f32;
        let update = |word: u64| {
            let average = average(word);
            let next = if rtt > average {
                rtt
            } else {
                let left = left(word, now_ns, decay_ns);
                average * left + rtt * (1.0 - left)
            };
            Some(pack(next, now_ns))
        };
        let _always_updates = self.0.fetch_update(Relaxed, Relaxed, update);
    }

    /// The average at `now_ns`: it goes to 0 while nothing is observed, so that an idle endpoint is
    /// tried again. Before the first observation it is the initial one, going to 0 too.
    #[inline]
    pub(crate) fn at(&self, now_ns: u64, ewma: &Scale) -> f32 {
        let word = self.0.load(Relaxed);
        let average = average(word);
        let average = if average < 0.0 { ewma.initial_ns } else { average };
        average * left(word, now_ns, ewma.decay_ns)
    }
}

/// The average of nothing.
const NONE: f32 = -1.0;

/// Parameters of peak EWMA in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub decay_ns: f32,
    pub initial_ns: f32,
}

impl From<PeakEwma> for Scale {
    fn from(ewma: PeakEwma) -> Self {
        Self {
            // A decay of 0 would divide by 0; with a nanosecond everything is forgotten at once.
            decay_ns: (ewma.decay.as_nanos() as f32).max(1.0),
            initial_ns: ewma.initial_rtt.as_nanos() as f32,
        }
    }
}

fn pack(average: f32, now_ns: u64) -> u64 {
    u64::from(average.to_bits()) << 32 | u64::from((now_ns >> TICK_BITS) as u32)
}

fn average(word: u64) -> f32 {
    f32::from_bits((word >> 32) as u32)
}

/// Which part of the average is left. A time that lies ahead (another worker read its clock later)
/// counts as now.
fn left(word: u64, now_ns: u64, decay_ns: f32) -> f32 {
    let ticks = ((now_ns >> TICK_BITS) as u32).wrapping_sub(word as u32);
    if ticks == 0 || ticks > u32::MAX / 2 {
        return 1.0;
    }
    let passed_ns = (u64::from(ticks) << TICK_BITS) as f32;
    (-passed_ns / decay_ns).exp()
}

#[cfg(test)]
mod tests {
    use proxy_config::PeakEwma;

    use super::{Latency, Scale};

    const MS: u64 = 1 << 20;

    fn scale() -> Scale {
        PeakEwma::default().into()
    }

    fn observe(latency: &Latency, rtt_ms: u64, now_ms: u64) -> f32 {
        latency.observe(rtt_ms * MS, now_ms * MS, scale().decay_ns);
        latency.at(now_ms * MS, &scale()) / MS as f32
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let latency = Latency::default();
        assert!((observe(&latency, 10, 1_000) - 10.0).abs() < 1e-3);
        assert!((observe(&latency, 500, 1_001) - 500.0).abs() < 1e-2);
        let after_decay = observe(&latency, 10, 1_001 + 9_537);
        let expected = 500.0 / std::f32::consts::E + 10.0 * (1.0 - 1.0 / std::f32::consts::E);
        assert!((after_decay - expected).abs() < 0.5, "{after_decay} is not about {expected}");
    }

    #[test]
    fn an_idle_endpoint_decays_towards_zero() {
        let latency = Latency::default();
        observe(&latency, 100, 1);
        let later = latency.at(60_000 * MS, &scale()) / MS as f32;
        assert!(later < 1.0, "{later}");
    }

    #[test]
    fn an_unused_endpoint_begins_with_the_initial_latency() {
        let latency = Latency::new(50_000 * MS);
        let at = |now_ms: u64| latency.at(now_ms * MS, &scale());
        assert!((at(50_000) - 30e6).abs() < 1.0);
        assert!(at(60_000) < 12e6);
    }

    #[test]
    fn an_observation_from_a_clock_that_is_ahead_counts_as_now() {
        let latency = Latency::default();
        observe(&latency, 100, 5_000);
        assert!((latency.at(4_000 * MS, &scale()) / MS as f32 - 100.0).abs() < 1e-3);
    }
}
