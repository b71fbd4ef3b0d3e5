//! A limit on concurrency that follows the latency of the endpoints: Envoy's gradient controller
//! (reference/load-balancing.md 2.17; E-src `gradient_controller.cc` for the order of its steps).

use std::ops::Deref;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use proxy_config::AdaptiveConcurrency;
use rand::{Rng, RngExt};

use self::histogram::LatencyHistogram;
use crate::nanos;

mod histogram;

/// So many updates in a row with the lowest limit mean that the least latency is probably out of
/// date.
const AT_LEAST_IN_A_ROW_MAX: u32 = 5;

/// The limit of one filter; one for all workers.
///
/// Each `update_interval` the limit becomes `gradient × limit + √(gradient × limit)`, within the
/// lowest and the highest, where `gradient = (least + buffer) / sampled latency`, from 0.5 to 2.
/// Each `min_rtt_interval` (plus jitter) the least latency is measured: the limit is the lowest one
/// until `min_rtt_requests` that began since have ended, and then what it was before. It begins
/// with such a measurement.
///
/// There is no timer: whoever comes first after the moment does what is due, and nobody waits for
/// it.
#[derive(Debug)]
pub struct ConcurrencyLimiter {
    settings: AdaptiveConcurrency,
    limit: AtomicU32,
    under_way: AtomicU32,
    blocked: AtomicU64,
    samples: LatencyHistogram,
    /// One worker is changing what follows.
    deciding: AtomicBool,
    /// The least latency is being measured.
    measuring: AtomicBool,
    /// What the limit was before.
    deferred_limit: AtomicU32,
    /// Requests that began before it say nothing.
    measuring_since_ns: AtomicU64,
    next_update_ns: AtomicU64,
    next_measuring_ns: AtomicU64,
    /// The earlier of both; the end of time while measuring.
    due_ns: AtomicU64,
    at_least_in_a_row: AtomicU32,
    min_rtt_us: AtomicU64,
    sample_rtt_us: AtomicU64,
}

/// Too many requests are under way: the answer is [`AdaptiveConcurrency::status`] (counted as
/// `rq_blocked`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Blocked;

/// What a limiter knows, for gauges and explain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConcurrencyLevel {
    /// The limit (`concurrency_limit`).
    pub limit: u32,
    /// Requests under way.
    pub under_way: u32,
    /// Requests refused so far (`rq_blocked`).
    pub blocked: u64,
    /// The least latency is being measured (`min_rtt_calculation_active`).
    pub measuring: bool,
    /// Least latency, in microseconds; 0 before the first measurement.
    pub min_rtt_us: u64,
    /// Latency of the last update, in microseconds; 0 before the first.
    pub sample_rtt_us: u64,
}

/// A request under way. Dropped without [`ConcurrencyPermit::finish`] it says nothing about
/// latency.
#[derive(Debug)]
#[must_use = "the request counts as ended when the permit is dropped"]
pub struct ConcurrencyPermit<H: Deref<Target = ConcurrencyLimiter>> {
    limiter: H,
    began_ns: u64,
}

impl<H: Deref<Target = ConcurrencyLimiter>> ConcurrencyPermit<H> {
    /// A request begins. `limiter` is whatever keeps it alive: a reference, an `Arc`, an `Rc`.
    ///
    /// # Errors
    /// When as many are under way as the limit allows.
    pub fn try_new(limiter: H, now_ns: u64) -> Result<Self, Blocked> {
        limiter.do_what_is_due(now_ns);
        let limit = limiter.limit.load(Relaxed);
        if limiter.under_way.load(Relaxed) < limit {
            if limiter.under_way.fetch_add(1, Relaxed) < limit {
                return Ok(Self { limiter, began_ns: now_ns });
            }
            limiter.under_way.fetch_sub(1, Relaxed);
        }
        limiter.blocked.fetch_add(1, Relaxed);
        Err(Blocked)
    }

    /// The response has ended, and its latency counts.
    pub fn finish<R: Rng + ?Sized>(self, now_ns: u64, rng: &mut R) {
        self.limiter.sample(self.began_ns, now_ns, rng);
    }
}

impl<H: Deref<Target = ConcurrencyLimiter>> Drop for ConcurrencyPermit<H> {
    fn drop(&mut self) {
        self.limiter.under_way.fetch_sub(1, Relaxed);
    }
}

impl ConcurrencyLimiter {
    /// A limiter that begins to measure the least latency.
    #[must_use]
    pub fn new(mut settings: AdaptiveConcurrency, now_ns: u64) -> Self {
        settings.concurrency_min = settings.concurrency_min.max(1);
        settings.concurrency_max = settings.concurrency_max.max(settings.concurrency_min);
        Self {
            settings,
            limit: AtomicU32::new(settings.concurrency_min),
            under_way: AtomicU32::new(0),
            blocked: AtomicU64::new(0),
            samples: LatencyHistogram::default(),
            deciding: AtomicBool::new(false),
            measuring: AtomicBool::new(true),
            deferred_limit: AtomicU32::new(settings.concurrency_min),
            measuring_since_ns: AtomicU64::new(now_ns),
            next_update_ns: AtomicU64::new(u64::MAX),
            next_measuring_ns: AtomicU64::new(u64::MAX),
            due_ns: AtomicU64::new(u64::MAX),
            at_least_in_a_row: AtomicU32::new(0),
            min_rtt_us: AtomicU64::new(0),
            sample_rtt_us: AtomicU64::new(0),
        }
    }

    /// What it was made of; a new configuration with an equal one keeps the limiter.
    #[must_use]
    pub fn settings(&self) -> &AdaptiveConcurrency {
        &self.settings
    }

    /// What it knows.
    #[must_use]
    pub fn level(&self) -> ConcurrencyLevel {
        ConcurrencyLevel {
            limit: self.limit.load(Relaxed),
            under_way: self.under_way.load(Relaxed),
            blocked: self.blocked.load(Relaxed),
            measuring: self.measuring.load(Relaxed),
            min_rtt_us: self.min_rtt_us.load(Relaxed),
            sample_rtt_us: self.sample_rtt_us.load(Relaxed),
        }
    }

    fn sample<R: Rng + ?Sized>(&self, began_ns: u64, now_ns: u64, rng: &mut R) {
        if began_ns < self.measuring_since_ns.load(Relaxed) {
            return;
        }
        self.samples.record(now_ns.saturating_sub(began_ns) / 1000);
        if self.measuring.load(Relaxed) && self.has_measured() {
            self.decide(|| self.end_measuring(now_ns, rng));
        } else {
            self.do_what_is_due(now_ns);
        }
    }

    fn do_what_is_due(&self, now_ns: u64) {
        if now_ns < self.due_ns.load(Relaxed) {
            return;
        }
        self.decide(|| {
            // May find that the least latency must be measured at once.
            if now_ns >= self.next_update_ns.load(Relaxed) {
                self.update(now_ns);
            }
            if now_ns >= self.next_measuring_ns.load(Relaxed) {
                self.begin_measuring(now_ns);
            }
        });
    }

    /// Does it unless another worker is deciding; that one's decision holds for this one too.
    fn decide(&self, act: impl FnOnce()) {
        if self.deciding.swap(true, Acquire) {
            return;
        }
        act();
        let due_ns = self.next_update_ns.load(Relaxed).min(self.next_measuring_ns.load(Relaxed));
        self.due_ns.store(due_ns, Relaxed);
        self.deciding.store(false, Release);
    }

    fn has_measured(&self) -> bool {
        self.samples.count() >= self.settings.min_rtt_requests.max(1)
    }

    fn begin_measuring(&self, now_ns: u64) {
        if self.measuring.load(Relaxed) {
            return;
        }
        self.deferred_limit.store(self.limit.load(Relaxed), Relaxed);
        self.limit.store(self.settings.concurrency_min, Relaxed);
        self.at_least_in_a_row.store(0, Relaxed);
        self.measuring_since_ns.store(now_ns, Relaxed);
        self.next_update_ns.store(u64::MAX, Relaxed);
        self.next_measuring_ns.store(u64::MAX, Relaxed);
        self.samples.clear();
        self.measuring.store(true, Relaxed);
    }

    fn end_measuring<R: Rng + ?Sized>(&self, now_ns: u64, rng: &mut R) {
        // Another worker may have ended it, and then these samples are none of it.
        if !self.measuring.load(Relaxed) || !self.has_measured() {
            return;
        }
        if let Some(latency_us) = self.samples.take(self.settings.sample_percentile) {
            self.min_rtt_us.store(latency_us.max(1), Relaxed);
        }
        self.limit.store(self.deferred_limit.load(Relaxed), Relaxed);
        self.measuring.store(false, Relaxed);
        let interval_ns = nanos(self.settings.min_rtt_interval);
        let jitter_max_ns =
            u128::from(interval_ns) * u128::from(self.settings.min_rtt_jitter_percent) / 100;
        let jitter_ns = match u64::try_from(jitter_max_ns).unwrap_or(u64::MAX) {
            0 => 0,
            most_ns => rng.random_range(0..most_ns),
        };
        let wait_ns = interval_ns.saturating_add(jitter_ns);
        self.next_measuring_ns.store(now_ns.saturating_add(wait_ns), Relaxed);
        self.next_update_ns.store(self.update_after(now_ns), Relaxed);
    }

    fn update(&self, now_ns: u64) {
        self.next_update_ns.store(self.update_after(now_ns), Relaxed);
        let Some(latency_us) = self.samples.take(self.settings.sample_percentile) else {
            return;
        };
        self.sample_rtt_us.store(latency_us, Relaxed);
        let before = self.limit.load(Relaxed);
        let after = next_limit(&self.settings, before, self.min_rtt_us.load(Relaxed), latency_us);
        self.limit.store(after, Relaxed);
        let least = self.settings.concurrency_min;
        let in_a_row = if before == least && after == least {
            self.at_least_in_a_row.fetch_add(1, Relaxed) + 1
        } else {
            self.at_least_in_a_row.store(0, Relaxed);
            0
        };
        if in_a_row >= AT_LEAST_IN_A_ROW_MAX {
            self.next_measuring_ns.store(now_ns, Relaxed);
        }
    }

    fn update_after(&self, now_ns: u64) -> u64 {
        now_ns.saturating_add(nanos(self.settings.update_interval).max(1))
    }
}

fn next_limit(
    settings: &AdaptiveConcurrency,
    limit: u32,
    min_rtt_us: u64,
    sample_rtt_us: u64,
) -> u32 {
    let buffered = min_rtt_us as f64 * (1.0 + f64::from(settings.buffer_percent) / 100.0);
    let gradient = (buffered / sample_rtt_us.max(1) as f64).clamp(0.5, 2.0);
    let scaled = f64::from(limit) * gradient;
    let headroom = scaled.sqrt();
    ((scaled + headroom) as u32).clamp(settings.concurrency_min, settings.concurrency_max)
}

#[cfg(test)]
mod tests;
