use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Adds to a number that one thread alone writes (see [`Sharded`]): without the bus lock of an addition that others
/// could come in between.
fn add(number: &AtomicU64, by: u64) {
    number.store(number.load(Relaxed).wrapping_add(by), Relaxed);
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        add(&self.0, 1);
    }

    /// Adds `by`.
    pub fn add(&self, by: u64) {
        add(&self.0, by);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down. One shard may be below zero when another took the increment;
/// only the sum over the shards means something, and it wraps to the right value.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds one.
    pub fn inc(&self) {
        add(&self.0, 1);
    }

    /// Takes one away.
    pub fn dec(&self) {
        add(&self.0, 1_u64.wrapping_neg());
    }

    /// The value of this shard, in two's complement.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of Envoy's default buckets, in microseconds (0.5 ms to 1 h).
pub const BUCKETS_US: [u64; 19] = [
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

/// Durations by bucket. Recording is two additions.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last one is for what is above all bounds.
    counts: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        self.record_us(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a number that is no duration (of bytes, say) by the same bounds: those in milliseconds are taken as plain
    /// numbers, as Envoy does it.
    pub fn record_number(&self, number: u64) {
        self.record_us(number.saturating_mul(1000));
    }

    fn record_us(&self, us: u64) {
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        add(&self.counts[bucket], 1);
        add(&self.sum_us, us);
    }

    /// Adds what it holds to `to`.
    pub fn add_to(&self, to: &mut Distribution) {
        for (total, count) in to.counts.iter_mut().zip(&self.counts) {
            *total += count.load(Relaxed);
        }
        to.sum_us = to.sum_us.wrapping_add(self.sum_us.load(Relaxed));
    }
}

/// What a [`Histogram`] held when it was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Distribution {
    /// Count per bucket of [`BUCKETS_US`], not cumulative; the last one is for what is above all
    /// bounds.
    pub counts: [u64; BUCKETS_US.len() + 1],
    /// Sum of all values.
    pub sum_us: u64,
}

impl Distribution {
    /// How many values it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value in milliseconds below which `quantile` (0 to 1) of all values are, interpolated
    /// within its bucket; `None` when there are no values. Above all bounds it is the last bound.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = quantile * count as f64;
        let mut below = 0.0;
        let mut lower = 0.0;
        for (in_bucket, upper_us) in self.counts.iter().zip(BUCKETS_US) {
            let (in_bucket, upper) = (*in_bucket as f64, upper_us as f64 / 1000.0);
            if in_bucket > 0.0 && below + in_bucket >= rank {
                return Some(lower + (upper - lower) * ((rank - below) / in_bucket).max(0.0));
            }
            below += in_bucket;
            lower = upper;
        }
        Some(lower)
    }
}

/// One `T` per worker, each on cache lines of its own: a worker writes to its own only, a scrape
/// reads all.
#[derive(Debug)]
pub struct Sharded<T>(Box<[Padded<T>]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> Sharded<T> {
    /// `count` shards, at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self((0..count.max(1)).map(|_| Padded::default()).collect())
    }

    /// All shards.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }

    /// A worker's own.
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker % self.0.len()].0
    }

    /// Sum of a value over all shards, wrapping (see [`Gauge`]).
    pub fn sum(&self, value: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(value).fold(0, u64::wrapping_add)
    }

    /// A histogram over all shards.
    pub fn distribution(&self, histogram: impl Fn(&T) -> &Histogram) -> Distribution {
        let mut all = Distribution::default();
        self.iter().for_each(|shard| histogram(shard).add_to(&mut all));
        all
    }
}

/// A worker's part of a [`Sharded`]. A cheap clone; dereferences to the counters.
#[derive(Debug)]
pub struct Shard<T> {
    all: Arc<Sharded<T>>,
    worker: usize,
}

impl<T> Shard<T> {
    pub(super) fn new(all: Arc<Sharded<T>>, worker: usize) -> Self {
        let worker = worker % all.0.len();
        Self { all, worker }
    }
}

impl<T> Clone for Shard<T> {
    fn clone(&self) -> Self {
        Self { all: Arc::clone(&self.all), worker: self.worker }
    }
}

impl<T> Deref for Shard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.all.0[self.worker].0
    }
}

/// Slots of a [`SeriesTable`]: more distinct combinations than a service answers with.
const SERIES_MAX: usize = 32;

/// Values by a key that is not known before the traffic comes (a status code, say). Bounded: when
/// all slots are taken, further keys share one value under [`SeriesTable::OVERFLOW`]. A slot costs
/// 16 bytes until it is used.
#[derive(Debug, Default)]
pub struct SeriesTable<V> {
    slots: [OnceLock<Box<(u64, V)>>; SERIES_MAX],
    overflow: V,
}

impl<V: Default> SeriesTable<V> {
    /// Key of what found no slot.
    pub const OVERFLOW: u64 = u64::MAX;

    /// The value for a key.
    #[must_use]
    pub fn at(&self, key: u64) -> &V {
        // Fibonacci hashing: the upper bits of the product depend on all bits of the key.
        let first = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 59) as usize;
        for step in 0..SERIES_MAX {
            let slot = &self.slots[(first + step) % SERIES_MAX];
            let (taken_by, value) = &**slot.get_or_init(|| Box::new((key, V::default())));
            if *taken_by == key {
                return value;
            }
        }
        &self.overflow
    }

    /// All keys with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        let slots = self.slots.iter().filter_map(OnceLock::get);
        slots
            .map(|entry| (entry.0, &entry.1))
            .chain(std::iter::once((Self::OVERFLOW, &self.overflow)))
    }
}
