//! Whether, and when, a request is tried again (reference/load-balancing.md 2.18).

use std::time::Duration;

use http::Method;
use proxy_config::{RetryOn, RetryPolicy};
use rand::Rng;

pub use self::plan::RetryPlan;
use crate::{HeaderLookup, ResponseFlag};

mod back_off;
mod plan;

/// Who broke a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// The client.
    Downstream,
    /// The endpoint, or the way to it.
    Upstream,
    /// This proxy: a limit, no endpoint, a bad configuration.
    Local,
}

/// How far a request had come when it broke.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// There was no connection: it was refused, unreachable or not established in time.
    BeforeSend,
    /// There was one, and it broke before a byte of the request was sent.
    ClosedUnsent,
    /// The endpoint said that it has not looked at it (HTTP/2 `REFUSED_STREAM`, or a stream above
    /// the last one of a `GOAWAY`).
    RefusedUnread,
    /// Some of it was sent; the connection broke or the stream was reset, and no byte of a response
    /// had come.
    AfterSend,
    /// No response came within the time limit of the try. The endpoint may still be working on it.
    ResponseTimedOut,
    /// Part of the response has been passed on.
    ResponseStarted,
}

/// A failure on the traffic path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Failure {
    /// Who broke it.
    pub origin: Origin,
    /// How far it had come.
    pub stage: Stage,
}

/// What a retry needs to know about a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestTraits {
    /// See [`is_idempotent`].
    pub idempotent: bool,
    /// The request can be sent again from its start: it has no body, or none of it was consumed, or
    /// it is kept.
    pub body_replayable: bool,
}

/// Where a request is when one of its tries has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TryFacts {
    /// How often it was tried again so far; 0 after the first try.
    pub retries: u32,
    /// The request.
    pub request: RequestTraits,
    /// What is left of the route's time limit; `None` when there is none.
    pub time_left: Option<Duration>,
    /// The wall clock, in seconds since 1970; looked at only for reset times in responses.
    pub unix_seconds: u64,
}

/// The head of a response, as far as a retry may depend on it.
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    /// Status.
    pub status: u16,
    /// `grpc-status`, if it is in the head.
    pub grpc_status: Option<u8>,
    /// Headers.
    pub headers: &'a dyn HeaderLookup,
    /// Whether one of [`RetryPolicy::response_headers`] holds; asked only when it matters.
    pub meets_policy: &'a dyn Fn() -> bool,
}

/// How a try ended.
#[derive(Clone, Copy)]
pub enum TryEnd<'a> {
    /// With a response, of which nothing has been passed on.
    Response(ResponseHead<'a>),
    /// Without one.
    Failed(Failure),
}

/// Whether to try again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Retry {
    /// After this time (zero: at once), if [`crate::Permit::try_retry`] lets it; on another
    /// endpoint where there is one and the policy says so.
    After(Duration),
    /// No.
    No(RefusedRetry),
}

/// Why a request is not tried again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RefusedRetry {
    /// The policy allows none.
    Disabled,
    /// It is not one of the failures that the policy names; most of the time it is none at all.
    NotRetriable,
    /// The policy's tries are used up.
    LimitReached,
    /// So many retries are under way in the cluster that no more may begin.
    BudgetExhausted,
    /// The client or this proxy broke it: another endpoint would not help.
    NotUpstream,
    /// The endpoint may have acted on it, and acting twice is not the same as acting once.
    NotIdempotent,
    /// The body was sent in part and is not kept.
    BodySent,
    /// The time is used up, or would be before the next try could begin.
    TimedOut,
    /// The client has part of a response.
    ResponseStarted,
    /// The endpoint's own proxy said `x-envoy-overloaded`: a retry would make it worse.
    Overloaded,
    /// The response has `x-envoy-ratelimited`, and the policy does not name it.
    RateLimited,
}

impl RefusedRetry {
    /// The reason in words, for explain and the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RefusedRetry::Disabled => "the route allows no retries",
            RefusedRetry::NotRetriable => "the route does not retry this",
            RefusedRetry::LimitReached => "all tries that the route allows are used up",
            RefusedRetry::BudgetExhausted => "too many retries are under way in the cluster",
            RefusedRetry::NotUpstream => "the failure is not the endpoint's",
            RefusedRetry::NotIdempotent => "the endpoint may have acted on it",
            RefusedRetry::BodySent => "part of the body was sent and is not kept",
            RefusedRetry::TimedOut => "the time limit is reached",
            RefusedRetry::ResponseStarted => "the client has part of a response",
            RefusedRetry::Overloaded => "the endpoint is overloaded",
            RefusedRetry::RateLimited => "the endpoint limits the rate",
        }
    }

    /// The response flag that it adds; Envoy's.
    #[must_use]
    pub fn flag(self) -> Option<ResponseFlag> {
        match self {
            RefusedRetry::LimitReached => Some(ResponseFlag::UpstreamRetryLimitExceeded),
            RefusedRetry::BudgetExhausted => Some(ResponseFlag::UpstreamOverflow),
            RefusedRetry::Disabled
            | RefusedRetry::NotRetriable
            | RefusedRetry::NotUpstream
            | RefusedRetry::NotIdempotent
            | RefusedRetry::BodySent
            | RefusedRetry::TimedOut
            | RefusedRetry::ResponseStarted
            | RefusedRetry::Overloaded
            | RefusedRetry::RateLimited => None,
        }
    }
}

impl RetryPlan {
    /// Decides whether a request is tried again after a try that ended so. The policy is the one
    /// that the plan was made of. Draws from `rng` only when it is.
    ///
    /// Whatever the policy says: never a body that cannot be sent from its start, never when the
    /// time is up (or would be after the back-off), never after `x-envoy-overloaded`, never once
    /// the client has part of a response.
    pub fn decide<R: Rng + ?Sized>(
        &self,
        policy: &RetryPolicy,
        facts: TryFacts,
        end: TryEnd<'_>,
        rng: &mut R,
    ) -> Retry {
        let refusal = match end {
            TryEnd::Failed(failure) => self.refuses_failure(failure, facts.request),
            TryEnd::Response(head) => self.refuses_response(policy, &head),
        };
        match refusal {
            Some(refusal) => Retry::No(refusal),
            None => self.limits(facts, back_off::wait(policy, facts, &end, rng)),
        }
    }

    /// Decides whether another try is made beside one whose time limit is over
    /// ([`proxy_config::Hedging`]); that one goes on. It needs no condition of the policy, as
    /// nothing was reset, but retries that are left.
    pub fn decide_hedge<R: Rng + ?Sized>(
        &self,
        policy: &RetryPolicy,
        facts: TryFacts,
        rng: &mut R,
    ) -> Retry {
        if !self.is_enabled() {
            return Retry::No(RefusedRetry::Disabled);
        }
        self.limits(facts, back_off::full_jitter(policy.back_off, facts.retries, rng))
    }

    fn limits(&self, facts: TryFacts, wait: Duration) -> Retry {
        if !facts.request.body_replayable {
            Retry::No(RefusedRetry::BodySent)
        } else if facts.retries >= self.retries_max() {
            Retry::No(RefusedRetry::LimitReached)
        } else if facts.time_left.is_some_and(|left| left <= wait) {
            Retry::No(RefusedRetry::TimedOut)
        } else {
            Retry::After(wait)
        }
    }

    fn refuses_failure(&self, failure: Failure, request: RequestTraits) -> Option<RefusedRetry> {
        match failure.origin {
            Origin::Upstream => {}
            Origin::Downstream | Origin::Local => return Some(RefusedRetry::NotUpstream),
        }
        if !self.is_enabled() {
            return Some(RefusedRetry::Disabled);
        }
        // Envoy counts what has no response as a 5xx and as a gateway error.
        let reset = RetryOn::RESET.and(RetryOn::STATUS_5XX).and(RetryOn::GATEWAY_ERROR);
        let (named, otherwise) = match failure.stage {
            Stage::BeforeSend => (
                reset.and(RetryOn::CONNECT_FAILURE).and(RetryOn::RESET_BEFORE_REQUEST),
                RefusedRetry::NotRetriable,
            ),
            Stage::ClosedUnsent => {
                (reset.and(RetryOn::RESET_BEFORE_REQUEST), RefusedRetry::NotRetriable)
            }
            Stage::RefusedUnread => {
                (reset.and(RetryOn::REFUSED_STREAM), RefusedRetry::NotRetriable)
            }
            Stage::AfterSend => (reset, RefusedRetry::NotRetriable),
            Stage::ResponseTimedOut => (reset, RefusedRetry::TimedOut),
            Stage::ResponseStarted => return Some(RefusedRetry::ResponseStarted),
        };
        if self.retries_any(named) {
            return None;
        }
        if failure.stage == Stage::ResponseTimedOut || !self.retries_any(RetryOn::IDEMPOTENT_RESET)
        {
            return Some(otherwise);
        }
        (!request.idempotent).then_some(RefusedRetry::NotIdempotent)
    }

    fn refuses_response(
        &self,
        policy: &RetryPolicy,
        head: &ResponseHead<'_>,
    ) -> Option<RefusedRetry> {
        if !self.is_enabled() {
            return Some(RefusedRetry::Disabled);
        }
        let retries_rate_limited = self.retries_any(RetryOn::ENVOY_RATELIMITED);
        let is_named = self.names_response(policy, head);
        if !is_named && !retries_rate_limited {
            return Some(RefusedRetry::NotRetriable);
        }
        if head.headers.header("x-envoy-overloaded").is_some() {
            return Some(RefusedRetry::Overloaded);
        }
        let is_rate_limited = head.headers.header("x-envoy-ratelimited").is_some();
        match (is_rate_limited, retries_rate_limited, is_named) {
            (true, true, _) | (false, _, true) => None,
            (true, false, _) => Some(RefusedRetry::RateLimited),
            (false, _, false) => Some(RefusedRetry::NotRetriable),
        }
    }
}

/// True for the methods that mean the same sent once or twice: GET, HEAD, OPTIONS, TRACE, PUT,
/// DELETE (RFC 9110, 9.2.2).
#[must_use]
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests;
