//! What a client connection waits for, and how long.

use std::time::{Duration, Instant};

/// An idle connection of a listener that closes is kept for this long: a request that is on its way already is
/// answered, with `Connection: close`.
pub(super) const LINGER: Duration = Duration::from_millis(500);
/// The same, for a connection that was busy when the listener began to close and whose response could not announce
/// it: the client had no time to be idle, so its next request comes at once or not at all.
const LINGER_AFTER_RESPONSE: Duration = Duration::from_millis(100);
/// After the last response a client has this long to take what is still in the buffers.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection waits for what.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    /// For any byte while a request is under way; zero for ever.
    pub(super) stream_idle: Duration,
    /// For a whole request, of which the head is a part; zero for ever.
    pub(super) request: Duration,
    /// Until the connection takes no more requests; zero for ever.
    pub(super) duration: Duration,
    /// After so many requests it takes no more; zero for any number.
    pub(super) requests_max: u32,
}

impl Limits {
    /// How often a busy connection is looked at: one that stalls is cut after once to twice this time.
    pub(super) fn look(self) -> Duration {
        if self.stream_idle.is_zero() { self.idle } else { self.stream_idle }
    }

    fn whole_head(self) -> Duration {
        if self.request.is_zero() { self.head } else { self.head.min(self.request) }
    }

    /// When a connection that began then takes no more requests.
    pub(super) fn ends_at(self, began: Instant) -> Option<Instant> {
        (!self.duration.is_zero()).then(|| began + self.duration)
    }

    /// Whether a connection has had enough requests.
    pub(super) fn are_enough(self, requests: u64) -> bool {
        self.requests_max != 0 && requests >= u64::from(self.requests_max)
    }
}

/// What a connection is waiting for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Phase {
    /// The first request of the connection. Who connects wants something: this is not given the time of an idle one.
    First { since: Instant },
    /// The first byte of another request.
    Idle { since: Instant },
    /// The rest of a request head.
    Head { since: Instant },
    /// The end of a request or a response.
    Busy,
    /// The client, to take what is left.
    Ending { since: Instant },
}

impl Phase {
    /// When it has lasted too long; `closing_since` is when the listener began to close.
    pub(super) fn deadline(
        self,
        limits: Limits,
        closing_since: Option<Instant>,
    ) -> Option<Instant> {
        match self {
            Phase::First { since } => {
                let deadline = since + limits.head;
                Some(closing_since.map_or(deadline, |closing| deadline.min(closing + LINGER)))
            }
            Phase::Idle { since } => Some(match closing_since {
                None => since + limits.idle,
                Some(closing) if since > closing => since + LINGER_AFTER_RESPONSE,
                Some(closing) => (since + limits.idle).min(closing + LINGER),
            }),
            Phase::Head { since } => Some(since + limits.whole_head()),
            Phase::Busy => None,
            Phase::Ending { since } => Some(since + FLUSH_TIMEOUT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_busy_when_the_listener_began_to_close_lingers_less() {
        let limits = Limits {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stream_idle: Duration::ZERO,
            request: Duration::ZERO,
            duration: Duration::ZERO,
            requests_max: 0,
        };
        let closing = Instant::now();
        let second = Duration::from_secs(1);
        let deadline = |since| Phase::Idle { since }.deadline(limits, Some(closing));
        // It answered after that.
        let since = closing + second;
        assert_eq!(deadline(since), Some(since + LINGER_AFTER_RESPONSE));
        // It was idle then, and would have been closed soon, or not.
        assert_eq!(deadline(closing - second), Some(closing + LINGER));
        let since = closing - limits.idle + LINGER / 2;
        assert_eq!(deadline(since), Some(closing + LINGER / 2));
        assert_eq!(Phase::Idle { since }.deadline(limits, None), Some(since + limits.idle));
        let first = Phase::First { since: closing - second };
        assert_eq!(first.deadline(limits, Some(closing)), Some(closing + LINGER));
        assert_eq!(Phase::Busy.deadline(limits, Some(closing)), None);
    }
}
