use http::Method;
use proxy_config::RetryPolicy;

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
    /// No byte of it was sent: the connection was refused, unreachable or not established in time.
    BeforeSend,
    /// The endpoint said that it has not looked at it (HTTP/2 `REFUSED_STREAM`, or a stream above
    /// the last one of a `GOAWAY`).
    RefusedUnread,
    /// Some of it was sent; the connection broke and no byte of a response had come.
    AfterSend,
    /// No response came within the time limit. The endpoint may still be working on it.
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

/// Whether to try again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Retry {
    /// At once, on another endpoint where there is one (pick with the failed one excluded). There
    /// is no back-off: it would only add latency, as the next endpoint has nothing to recover from.
    Yes,
    /// No.
    No(RefusedRetry),
}

/// Why a request is not tried again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RefusedRetry {
    /// The policy allows none.
    Disabled,
    /// The policy's tries are used up (response flag `URX`).
    LimitReached,
    /// The client or this proxy broke it: another endpoint would not help.
    NotUpstream,
    /// The endpoint may have acted on it, and acting twice is not the same as acting once.
    NotIdempotent,
    /// The body was sent in part and is not kept.
    BodySent,
    /// The time is used up.
    TimedOut,
    /// The client has part of a response.
    ResponseStarted,
}

impl RefusedRetry {
    /// The reason in words, for explain and the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RefusedRetry::Disabled => "the route allows no retries",
            RefusedRetry::LimitReached => "all tries that the route allows are used up",
            RefusedRetry::NotUpstream => "the failure is not the endpoint's",
            RefusedRetry::NotIdempotent => "the endpoint may have acted on it",
            RefusedRetry::BodySent => "part of the body was sent and is not kept",
            RefusedRetry::TimedOut => "the time limit is reached",
            RefusedRetry::ResponseStarted => "the client has part of a response",
        }
    }
}

/// Decides whether a failed request is tried again. `retries` is how often it was already tried
/// again, 0 after the first try.
///
/// Nothing sent, or refused unread: any method. Broken before a response: idempotent methods (RFC
/// 9110, 9.2.2). In both cases only with a body that can be sent from its start.
#[must_use]
pub fn retry(
    policy: &RetryPolicy,
    retries: u32,
    failure: Failure,
    request: RequestTraits,
) -> Retry {
    match failure.origin {
        Origin::Upstream => {}
        Origin::Downstream | Origin::Local => return Retry::No(RefusedRetry::NotUpstream),
    }
    match failure.stage {
        Stage::BeforeSend | Stage::RefusedUnread => {}
        Stage::AfterSend if request.idempotent => {}
        Stage::AfterSend => return Retry::No(RefusedRetry::NotIdempotent),
        Stage::ResponseTimedOut => return Retry::No(RefusedRetry::TimedOut),
        Stage::ResponseStarted => return Retry::No(RefusedRetry::ResponseStarted),
    }
    if !request.body_replayable {
        return Retry::No(RefusedRetry::BodySent);
    }
    if policy.retries_max == 0 {
        return Retry::No(RefusedRetry::Disabled);
    }
    if retries >= policy.retries_max {
        return Retry::No(RefusedRetry::LimitReached);
    }
    Retry::Yes
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
mod tests {
    use http::Method;
    use proxy_config::RetryPolicy;

    use super::{Failure, Origin, RefusedRetry, RequestTraits, Retry, Stage, is_idempotent, retry};

    fn decide(stage: Stage, retries: u32, method: &Method, body_replayable: bool) -> Retry {
        let request = RequestTraits { idempotent: is_idempotent(method), body_replayable };
        let failure = Failure { origin: Origin::Upstream, stage };
        retry(&RetryPolicy::default(), retries, failure, request)
    }

    #[test]
    fn nothing_sent_is_tried_again_for_any_method() {
        assert_eq!(decide(Stage::BeforeSend, 0, &Method::POST, true), Retry::Yes);
        assert_eq!(decide(Stage::RefusedUnread, 0, &Method::PATCH, true), Retry::Yes);
    }

    #[test]
    fn broken_before_a_response_is_tried_again_for_idempotent_methods() {
        assert_eq!(decide(Stage::AfterSend, 0, &Method::GET, true), Retry::Yes);
        assert_eq!(
            decide(Stage::AfterSend, 0, &Method::POST, true),
            Retry::No(RefusedRetry::NotIdempotent)
        );
        assert_eq!(
            decide(Stage::AfterSend, 0, &Method::PUT, false),
            Retry::No(RefusedRetry::BodySent)
        );
    }

    #[test]
    fn tries_are_bounded_by_the_policy() {
        assert_eq!(
            decide(Stage::BeforeSend, 1, &Method::GET, true),
            Retry::No(RefusedRetry::LimitReached)
        );
        let failure = Failure { origin: Origin::Upstream, stage: Stage::BeforeSend };
        let request = RequestTraits { idempotent: true, body_replayable: true };
        let none = RetryPolicy::none();
        assert_eq!(retry(&none, 0, failure, request), Retry::No(RefusedRetry::Disabled));
    }

    #[test]
    fn failures_that_another_endpoint_cannot_help_are_final() {
        assert_eq!(
            decide(Stage::ResponseTimedOut, 0, &Method::GET, true),
            Retry::No(RefusedRetry::TimedOut)
        );
        assert_eq!(
            decide(Stage::ResponseStarted, 0, &Method::GET, true),
            Retry::No(RefusedRetry::ResponseStarted)
        );
        for origin in [Origin::Downstream, Origin::Local] {
            let failure = Failure { origin, stage: Stage::BeforeSend };
            let request = RequestTraits { idempotent: true, body_replayable: true };
            assert_eq!(
                retry(&RetryPolicy::default(), 0, failure, request),
                Retry::No(RefusedRetry::NotUpstream)
            );
        }
    }
}
