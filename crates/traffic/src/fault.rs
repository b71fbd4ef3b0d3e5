//! Faults on purpose: delays and refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use proxy_config::{AbortWith, Fault, FaultAbort, FaultDelay};
use rand::Rng;

use crate::HeaderLookup;
use crate::header_lookup::number;
use crate::rate_limit::is_drawn;

/// Longest delay that a header can ask for: a connection is not kept idle for longer either.
const DELAY_MAX: Duration = Duration::from_hours(1);

/// What is known of the faults of a filter; one for all workers.
#[derive(Debug, Default)]
pub struct FaultState {
    active: AtomicU32,
    counters: FaultCounters,
}

/// Counters, under Envoy's names (`fault.…`).
#[derive(Debug, Default)]
pub struct FaultCounters {
    /// Delays.
    pub delays_injected: AtomicU64,
    /// Refusals.
    pub aborts_injected: AtomicU64,
    /// Faults that were left out because too many were under way.
    pub faults_overflow: AtomicU64,
}

/// What a request is refused with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AbortStatus {
    /// An HTTP status, 200 to 599.
    Http(u16),
    /// A gRPC status, 0 to 16.
    Grpc(u8),
}

/// A fault to be carried out; counts as under way until it is dropped. The delay comes first.
#[derive(Debug)]
pub struct Injection {
    /// Wait so long before the request is sent on (flag `DI`).
    pub delay: Option<Duration>,
    /// Answer so (flag `FI`).
    pub abort: Option<AbortStatus>,
    state: Arc<FaultState>,
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.state.active.fetch_sub(1, Relaxed);
    }
}

impl FaultState {
    /// Decides on one request; `None` in the common case. `meets_headers` tells whether all of
    /// [`Fault::headers`] hold, and is asked only when there are any.
    ///
    /// Where the settings leave it to headers, `x-envoy-fault-delay-request` says a time in
    /// milliseconds (an hour at most), `x-envoy-fault-abort-request` a status from 200 to 599 and
    /// `x-envoy-fault-abort-grpc-request` one from 0 to 16; `…-request-percentage` can lower the
    /// configured share, never raise it.
    pub fn decide<R: Rng + ?Sized>(
        self: &Arc<Self>,
        fault: &Fault,
        headers: &impl HeaderLookup,
        meets_headers: impl FnOnce() -> bool,
        rng: &mut R,
    ) -> Option<Injection> {
        if !fault.headers.is_empty() && !meets_headers() {
            return None;
        }
        let delay = fault.delay.and_then(|it| delay(it, headers, rng));
        let abort = fault.abort.and_then(|it| abort(it, headers, rng));
        if delay.is_none() && abort.is_none() {
            return None;
        }
        if !self.enter(fault.active_max.unwrap_or(u32::MAX)) {
            self.counters.faults_overflow.fetch_add(1, Relaxed);
            return None;
        }
        if delay.is_some() {
            self.counters.delays_injected.fetch_add(1, Relaxed);
        }
        if abort.is_some() {
            self.counters.aborts_injected.fetch_add(1, Relaxed);
        }
        Some(Injection { delay, abort, state: Arc::clone(self) })
    }

    /// Faults under way (`active_faults`).
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> &FaultCounters {
        &self.counters
    }

    /// As with breakers: each that is let in saw fewer than the limit.
    fn enter(&self, active_max: u32) -> bool {
        if self.active.fetch_add(1, Relaxed) < active_max {
            return true;
        }
        self.active.fetch_sub(1, Relaxed);
        false
    }
}

fn delay<R: Rng + ?Sized>(
    delay: FaultDelay,
    headers: &impl HeaderLookup,
    rng: &mut R,
) -> Option<Duration> {
    let (length, per_million) = match delay.fixed {
        Some(length) => (length, delay.per_million),
        None => {
            let ms = number(headers, "x-envoy-fault-delay-request")?;
            let share = "x-envoy-fault-delay-request-percentage";
            let length = Duration::from_millis(ms).min(DELAY_MAX);
            (length, lowered(delay.per_million, headers, share))
        }
    };
    (!length.is_zero() && is_drawn(per_million, rng)).then_some(length)
}

fn abort<R: Rng + ?Sized>(
    abort: FaultAbort,
    headers: &impl HeaderLookup,
    rng: &mut R,
) -> Option<AbortStatus> {
    let (status, per_million) = match abort.with {
        AbortWith::Status(status) => (AbortStatus::Http(status), abort.per_million),
        AbortWith::Grpc(status) => (AbortStatus::Grpc(status), abort.per_million),
        AbortWith::Header => {
            let http = number(headers, "x-envoy-fault-abort-request")
                .filter(|it| (200..=599).contains(it))
                .map(AbortStatus::Http);
            let grpc = || {
                number(headers, "x-envoy-fault-abort-grpc-request")
                    .filter(|it| *it <= 16)
                    .map(AbortStatus::Grpc)
            };
            let share = "x-envoy-fault-abort-request-percentage";
            (http.or_else(grpc)?, lowered(abort.per_million, headers, share))
        }
    };
    is_drawn(per_million, rng).then_some(status)
}

/// A share that a header may lower, in percent.
fn lowered(per_million: u32, headers: &impl HeaderLookup, name: &str) -> u32 {
    let wanted = number::<u32>(headers, name).map(|percent| percent.saturating_mul(10_000));
    wanted.map_or(per_million, |it| it.min(per_million))
}

#[cfg(test)]
mod tests;
