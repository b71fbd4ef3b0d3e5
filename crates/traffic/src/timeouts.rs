//! How long a request may take: what the route says, and what a client's headers make of it.

use std::time::Duration;

use proxy_config::Forward;

use crate::HeaderLookup;
use crate::header_lookup::number;

/// Time limits of one request. `None` means no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestTimeouts {
    /// From the end of the request to the head of the response, over all tries.
    pub all_tries: Option<Duration>,
    /// From the sending of a try to the head of its response.
    pub per_try: Option<Duration>,
    /// How long a try may see no byte move.
    pub per_try_idle: Option<Duration>,
    /// When the limit of a try is over, another is made beside it.
    pub hedges: bool,
}

impl RequestTimeouts {
    /// What the route says, of a request without `x-envoy-` headers (or of a client that is not
    /// trusted with them) that is not gRPC.
    #[must_use]
    pub fn of_route(route: &Forward) -> Self {
        Self {
            all_tries: limit(route.timeout),
            per_try: limit(route.retry.per_try_timeout),
            per_try_idle: limit(route.retry.per_try_idle_timeout),
            hedges: route.hedging.on_per_try_timeout,
        }
        .consistent()
    }

    /// What the route and the headers say together, as Envoy does it. Of a gRPC request on a route
    /// that looks at it, `grpc-timeout` takes the place of the route's limit, up to the route's
    /// bound (no header: the bound). `x-envoy-upstream-rq-timeout-ms` comes before both,
    /// `x-envoy-upstream-rq-per-try-timeout-ms` takes the place of the limit of a try; 0 means no
    /// limit. A limit of a try that is not below the one of all is none.
    /// `x-envoy-hedge-on-per-try-timeout` turns hedging on or off.
    ///
    /// `trusted` says whether `x-envoy-` headers count; `grpc-timeout` may only shorten the bound
    /// and always counts.
    #[must_use]
    pub fn new(route: &Forward, headers: &impl HeaderLookup, is_grpc: bool, trusted: bool) -> Self {
        let mut limits = Self::of_route(route);
        limits.per_try = limit(route.retry.per_try_timeout);
        if let (true, Some(bound)) = (is_grpc, route.grpc_timeout_max) {
            let wanted = headers.header("grpc-timeout").and_then(grpc_timeout).and_then(limit);
            limits.all_tries = match (wanted, limit(bound)) {
                (Some(wanted), Some(bound)) => Some(wanted.min(bound)),
                (wanted, bound) => wanted.or(bound),
            };
        }
        if trusted {
            if let Some(ms) = number(headers, "x-envoy-upstream-rq-timeout-ms") {
                limits.all_tries = limit(Duration::from_millis(ms));
            }
            if let Some(ms) = number(headers, "x-envoy-upstream-rq-per-try-timeout-ms") {
                limits.per_try = limit(Duration::from_millis(ms));
            }
            if let Some(hedges) = number(headers, "x-envoy-hedge-on-per-try-timeout") {
                limits.hedges = hedges;
            }
        }
        limits.consistent()
    }

    /// What is left for all tries `elapsed` after the request ended; `None` means no limit.
    #[must_use]
    pub fn left(&self, elapsed: Duration) -> Option<Duration> {
        self.all_tries.map(|it| it.saturating_sub(elapsed))
    }

    /// What an endpoint is told in `x-envoy-expected-rq-timeout-ms` for a try that begins `elapsed`
    /// after the request ended: how long anybody will wait for it.
    #[must_use]
    pub fn expected(&self, elapsed: Duration) -> Option<Duration> {
        match (self.per_try.filter(|_| !self.hedges), self.left(elapsed)) {
            (Some(per_try), Some(left)) => Some(per_try.min(left)),
            (per_try, left) => per_try.or(left),
        }
    }

    fn consistent(mut self) -> Self {
        if self.all_tries.is_some_and(|all| self.per_try.is_some_and(|it| it >= all)) {
            self.per_try = None;
        }
        self
    }
}

/// Zero means no limit.
fn limit(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

/// Reads `grpc-timeout`: one to eight digits and a unit, `H`, `M`, `S`, `m`, `u` or `n` (gRPC over
/// HTTP/2, `Timeout`). `None` for anything else.
#[must_use]
pub fn grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
