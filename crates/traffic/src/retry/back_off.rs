use std::time::Duration;

use proxy_config::{BackOff, RateLimitedBackOff, RetryPolicy};
use rand::{Rng, RngExt};

use super::{Stage, TryEnd, TryFacts};
use crate::HeaderLookup;
use crate::header_lookup::number;
use crate::nanos;

/// How long is waited before the next try.
///
/// The first further try after a try whose connection failed or broke, or which was refused unread,
/// is made at once: the next endpoint has nothing to recover from. A response that says when to
/// come back is believed if the policy says so; otherwise the back-off holds.
pub(super) fn wait<R: Rng + ?Sized>(
    policy: &RetryPolicy,
    facts: TryFacts,
    end: &TryEnd<'_>,
    rng: &mut R,
) -> Duration {
    match end {
        TryEnd::Failed(failure) => match failure.stage {
            Stage::BeforeSend | Stage::ClosedUnsent | Stage::RefusedUnread | Stage::AfterSend
                if facts.retries == 0 =>
            {
                Duration::ZERO
            }
            Stage::BeforeSend
            | Stage::ClosedUnsent
            | Stage::RefusedUnread
            | Stage::AfterSend
            | Stage::ResponseTimedOut
            | Stage::ResponseStarted => full_jitter(policy.back_off, facts.retries, rng),
        },
        TryEnd::Response(head) => {
            let asked = policy.rate_limited_back_off.as_ref();
            match asked.and_then(|it| reset_interval(it, head.headers, facts.unix_seconds)) {
                Some(interval) => at_least(interval, rng),
                None => full_jitter(policy.back_off, facts.retries, rng),
            }
        }
    }
}

/// Evenly from 0 to below `min(base × 2^retries, max)`.
pub(super) fn full_jitter<R: Rng + ?Sized>(
    back_off: BackOff,
    retries: u32,
    rng: &mut R,
) -> Duration {
    let base_ns = nanos(back_off.base);
    let most_ns =
        base_ns.saturating_mul(1 << retries.min(31)).min(nanos(back_off.max).max(base_ns));
    match most_ns {
        0 => Duration::ZERO,
        _ => Duration::from_nanos(rng.random_range(0..most_ns)),
    }
}

/// Evenly from the interval to one and a half of it.
fn at_least<R: Rng + ?Sized>(interval: Duration, rng: &mut R) -> Duration {
    let interval_ns = nanos(interval);
    let jitter_ns = rng.random_range(0..=interval_ns / 2);
    Duration::from_nanos(interval_ns.saturating_add(jitter_ns))
}

/// What the first header says that says something believable: not in the past, not longer than the
/// longest.
fn reset_interval(
    back_off: &RateLimitedBackOff,
    headers: &dyn HeaderLookup,
    unix_seconds: u64,
) -> Option<Duration> {
    back_off.headers.iter().find_map(|header| {
        let value: u64 = number(headers, &header.name)?;
        let seconds = if header.is_unix_time { value.checked_sub(unix_seconds)? } else { value };
        let interval = Duration::from_secs(seconds);
        (interval <= back_off.max).then_some(interval)
    })
}
