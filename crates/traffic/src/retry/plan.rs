use proxy_config::{RetryOn, RetryPolicy};

use super::ResponseHead;
use crate::HeaderLookup;
use crate::header_lookup::number;

/// Most status codes, and most header names, that one request may add: what a header block holds
/// would be more than anybody needs.
const FROM_HEADERS_MAX: usize = 32;

/// Conditions on a gRPC status in the head of a response.
const GRPC: [(u8, RetryOn); 5] = [
    (1, RetryOn::GRPC_CANCELLED),
    (4, RetryOn::GRPC_DEADLINE_EXCEEDED),
    (8, RetryOn::GRPC_RESOURCE_EXHAUSTED),
    (13, RetryOn::GRPC_INTERNAL),
    (14, RetryOn::GRPC_UNAVAILABLE),
];

/// What is retried of one request: the route's policy with what the request's headers add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetryPlan {
    on: RetryOn,
    retries_max: u32,
    from_headers: Option<Box<FromHeaders>>,
}

/// Rare, hence behind a pointer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct FromHeaders {
    status_codes: Vec<u16>,
    header_names: Vec<String>,
}

impl RetryPlan {
    /// What the policy says, of a request without `x-envoy-` headers or of a client that is not
    /// trusted with them. `meets_policy` tells whether one of [`RetryPolicy::request_headers`]
    /// holds; it is asked only if there are any.
    #[must_use]
    pub fn of_policy(policy: &RetryPolicy, meets_policy: impl FnOnce() -> bool) -> Self {
        Self::merged(policy, policy.on, meets_policy)
    }

    /// What the policy and the headers of a trusted client say together, merged as Envoy does it:
    /// `x-envoy-retry-on` and `x-envoy-retry-grpc-on` add conditions,
    /// `x-envoy-retriable-status-codes` and `x-envoy-retriable-header-names` add to the lists,
    /// `x-envoy-max-retries` takes the place of the policy's number. A request that the policy
    /// leaves out gets no retries, whatever its headers say. Unknown names and bad numbers are
    /// passed over.
    #[must_use]
    pub fn new(
        policy: &RetryPolicy,
        headers: &impl HeaderLookup,
        meets_policy: impl FnOnce() -> bool,
    ) -> Self {
        let mut on = policy.on;
        for name in ["x-envoy-retry-on", "x-envoy-retry-grpc-on"] {
            if let Some(list) = headers.header(name) {
                on = on.and(RetryOn::parse(list).0);
            }
        }
        let mut plan = Self::merged(policy, on, meets_policy);
        if plan.on == RetryOn::NONE {
            return plan;
        }
        if let Some(retries_max) = number(headers, "x-envoy-max-retries") {
            plan.retries_max = retries_max;
        } else if policy.on == RetryOn::NONE && policy.retries_max == 0 {
            // The route says nothing of retries, and then one is what a condition in a header
            // means.
            plan.retries_max = 1;
        }
        let status_codes: Vec<u16> = list(headers, "x-envoy-retriable-status-codes")
            .filter_map(|it| it.parse().ok())
            .collect();
        let header_names: Vec<String> =
            list(headers, "x-envoy-retriable-header-names").map(str::to_ascii_lowercase).collect();
        if !status_codes.is_empty() || !header_names.is_empty() {
            plan.from_headers = Some(Box::new(FromHeaders { status_codes, header_names }));
        }
        plan
    }

    fn merged(policy: &RetryPolicy, on: RetryOn, meets_policy: impl FnOnce() -> bool) -> Self {
        let is_left_out = !policy.request_headers.is_empty() && !meets_policy();
        Self {
            on: if is_left_out { RetryOn::NONE } else { on },
            retries_max: policy.retries_max,
            from_headers: None,
        }
    }

    /// Whether there may be a retry at all; if not, no body need be kept.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.on != RetryOn::NONE && self.retries_max > 0
    }

    /// Whether a request may be tried again after its body was sent, so that the body must be kept.
    /// Not for what fails before anything is sent, for `idempotent-reset` where the request is not
    /// idempotent, nor for `refused-stream` where no endpoint can say so (HTTP/1).
    #[must_use]
    pub fn needs_body(&self, idempotent: bool, may_be_refused: bool) -> bool {
        let mut without = RetryOn::CONNECT_FAILURE.and(RetryOn::RESET_BEFORE_REQUEST);
        if !idempotent {
            without = without.and(RetryOn::IDEMPOTENT_RESET);
        }
        if !may_be_refused {
            without = without.and(RetryOn::REFUSED_STREAM);
        }
        self.is_enabled() && self.on.0 & !without.0 != 0
    }

    /// Whether this may be retried: responses with a status below 400 are not, unless one of their
    /// headers says so. Costs less than a decision.
    #[must_use]
    pub fn looks_at(&self, status: u16) -> bool {
        let by_other = RetryOn::RETRIABLE_HEADERS
            .and(RetryOn::RETRIABLE_STATUS_CODES)
            .and(RetryOn::ENVOY_RATELIMITED);
        self.is_enabled() && (status >= 400 || self.retries_any(by_other))
    }

    /// Most further tries after the first.
    #[must_use]
    pub fn retries_max(&self) -> u32 {
        self.retries_max
    }

    /// Whether one of these is retried.
    pub(super) fn retries_any(&self, conditions: RetryOn) -> bool {
        self.on.0 & conditions.0 != 0
    }

    /// Whether a response is one that is retried, were it not for its `x-envoy-` headers.
    pub(super) fn names_response(&self, policy: &RetryPolicy, head: &ResponseHead<'_>) -> bool {
        let status = head.status;
        (status >= 500 && self.retries_any(RetryOn::STATUS_5XX))
            || (matches!(status, 502..=504) && self.retries_any(RetryOn::GATEWAY_ERROR))
            || (status == 409 && self.retries_any(RetryOn::RETRIABLE_4XX))
            || (self.retries_any(RetryOn::RETRIABLE_STATUS_CODES)
                && self.names_status(policy, status))
            || (self.retries_any(RetryOn::RETRIABLE_HEADERS) && self.names_header(head))
            || head.grpc_status.is_some_and(|status| {
                GRPC.iter().any(|(of, on)| *of == status && self.retries_any(*on))
            })
    }

    fn names_status(&self, policy: &RetryPolicy, status: u16) -> bool {
        policy.status_codes.contains(&status)
            || self.from_headers.as_ref().is_some_and(|it| it.status_codes.contains(&status))
    }

    fn names_header(&self, head: &ResponseHead<'_>) -> bool {
        let names = self.from_headers.iter().flat_map(|it| &it.header_names);
        (head.meets_policy)() || names.into_iter().any(|it| head.headers.header(it).is_some())
    }
}

fn list<'a>(headers: &'a impl HeaderLookup, name: &str) -> impl Iterator<Item = &'a str> {
    let items = headers.header(name).unwrap_or_default().split(',').map(str::trim);
    items.filter(|it| !it.is_empty()).take(FROM_HEADERS_MAX)
}
