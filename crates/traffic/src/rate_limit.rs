//! A limit on the rate of requests of this proxy: a token bucket that all workers share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use proxy_config::LocalRateLimit;
use rand::{Rng, RngExt};

use crate::nanos;

/// Shortest interval between two fills, as in Envoy. With it the 32 bits that count intervals last
/// 6.8 years.
const FILL_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// A bucket that holds up to `tokens_max` tokens, full at first, to which `tokens_per_fill` are
/// added at the end of each interval. Without a lock, and exact over workers: in one word stand the
/// interval of the last fill and the tokens, so that each taking sees both as they were together.
/// In any time `t` at most `tokens_max + tokens_per_fill × (t / interval + 1)` tokens are taken.
#[derive(Debug)]
pub struct TokenBucket {
    tokens_max: u32,
    tokens_per_fill: u32,
    interval_ns: u64,
    began_ns: u64,
    /// Number of the interval modulo 2^32 above, tokens below.
    word: AtomicU64,
}

/// What a bucket says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenState {
    /// There was a token.
    pub taken: bool,
    /// Tokens that are left.
    pub remaining: u32,
    /// Time to the next fill.
    pub next_fill_in: Duration,
}

impl TokenBucket {
    /// A full bucket. An interval below 50 ms counts as 50 ms.
    #[must_use]
    pub fn new(
        tokens_max: u32,
        tokens_per_fill: u32,
        fill_interval: Duration,
        now_ns: u64,
    ) -> Self {
        Self {
            tokens_max,
            tokens_per_fill,
            interval_ns: nanos(fill_interval.max(FILL_INTERVAL_MIN)),
            began_ns: now_ns,
            word: AtomicU64::new(pack(0, tokens_max)),
        }
    }

    /// Takes a token if there is one. A `now_ns` before the last fill (workers read the clock at
    /// different moments) counts as in the interval of that fill.
    pub fn take(&self, now_ns: u64) -> TokenState {
        let elapsed_ns = now_ns.saturating_sub(self.began_ns);
        let interval = (elapsed_ns / self.interval_ns) as u32;
        let next_fill_in = Duration::from_nanos(self.interval_ns - elapsed_ns % self.interval_ns);
        let mut word = self.word.load(Relaxed);
        loop {
            let (filled, tokens) = self.filled(word, interval);
            let Some(remaining) = tokens.checked_sub(1) else {
                // The fill that was due is made by whoever comes after it.
                return TokenState { taken: false, remaining: 0, next_fill_in };
            };
            let after = pack(filled, remaining);
            match self.word.compare_exchange_weak(word, after, Relaxed, Relaxed) {
                Ok(_) => return TokenState { taken: true, remaining, next_fill_in },
                Err(other) => word = other,
            }
        }
    }

    /// Interval and tokens after the fills that are due in `interval`.
    fn filled(&self, word: u64, interval: u32) -> (u32, u32) {
        let (last, tokens) = ((word >> 32) as u32, word as u32);
        let due = interval.wrapping_sub(last);
        if due > u32::MAX / 2 {
            return (last, tokens);
        }
        let added = due.saturating_mul(self.tokens_per_fill);
        (interval, tokens.saturating_add(added).min(self.tokens_max))
    }
}

fn pack(interval: u32, tokens: u32) -> u64 {
    u64::from(interval) << 32 | u64::from(tokens)
}

/// A limit on a listener or a route with its bucket and its counters; one for all workers.
#[derive(Debug)]
pub struct RateLimiter {
    settings: LocalRateLimit,
    bucket: TokenBucket,
    counters: RateLimitCounters,
}

/// Counters, under Envoy's names (`http_local_rate_limit.…`).
#[derive(Debug, Default)]
pub struct RateLimitCounters {
    /// Requests that were asked for a token.
    pub enabled: AtomicU64,
    /// Those that had one.
    pub ok: AtomicU64,
    /// Those that had none.
    pub rate_limited: AtomicU64,
    /// Those that had none and were refused.
    pub enforced: AtomicU64,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RateVerdict {
    /// It is not asked for a token.
    NotAsked,
    /// It goes on: it has a token, or the lack of one is only counted.
    Pass(TokenState),
    /// It is refused with [`LocalRateLimit::status`] and the flag `RL`.
    Refuse(TokenState),
}

impl RateLimiter {
    /// A limit with a full bucket.
    #[must_use]
    pub fn new(settings: LocalRateLimit, now_ns: u64) -> Self {
        let bucket = TokenBucket::new(
            settings.tokens_max,
            settings.tokens_per_fill,
            settings.fill_interval,
            now_ns,
        );
        Self { settings, bucket, counters: RateLimitCounters::default() }
    }

    /// What the limit is; a new configuration with an equal one keeps the limiter.
    #[must_use]
    pub fn settings(&self) -> &LocalRateLimit {
        &self.settings
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> &RateLimitCounters {
        &self.counters
    }

    /// Decides on one request. Draws from `rng` only for shares other than none and all.
    pub fn check<R: Rng + ?Sized>(&self, now_ns: u64, rng: &mut R) -> RateVerdict {
        if !is_drawn(self.settings.enabled_per_million, rng) {
            return RateVerdict::NotAsked;
        }
        self.counters.enabled.fetch_add(1, Relaxed);
        let state = self.bucket.take(now_ns);
        if state.taken {
            self.counters.ok.fetch_add(1, Relaxed);
            return RateVerdict::Pass(state);
        }
        self.counters.rate_limited.fetch_add(1, Relaxed);
        if !is_drawn(self.settings.enforced_per_million, rng) {
            return RateVerdict::Pass(state);
        }
        self.counters.enforced.fetch_add(1, Relaxed);
        RateVerdict::Refuse(state)
    }
}

/// True for so many of a million.
pub(crate) fn is_drawn<R: Rng + ?Sized>(per_million: u32, rng: &mut R) -> bool {
    match per_million {
        0 => false,
        1_000_000.. => true,
        _ => rng.random_range(0..1_000_000) < per_million,
    }
}

#[cfg(test)]
mod tests;
