//! # traffic: every decision of the data plane
//!
//! Choose a filter chain ([`chain::ChainMatcher`]), match a route ([`Router`]), pick an endpoint ([`ClusterState::pick`]), eject it
//! ([`ClusterState::report`], [`ClusterState::on_interval`]), judge probes of it
//! ([`ClusterState::judge_probe`]), refuse what is too much ([`Permit`], [`RateLimiter`],
//! [`ConcurrencyLimiter`]), try again ([`RetryPlan`]) or beside each other ([`Hedge`]), break
//! things on purpose ([`FaultState`]), and say why ([`RouteExplanation`], [`PickExplanation`]).
//! What a route does to a request is made ready with it ([`RoutePlan`]): rewrites, redirects, header
//! changes, rules for other origins. What is said about a request is a [`Format`] over [`Facts`].
//!
//! *May touch:* `now` (nanoseconds since an epoch that the caller chose) and `rng`, as arguments.
//! *Does not know:* sockets, clocks, files, async, the registry, Kubernetes.
//!
//! Invariants:
//! * Nothing here reads the clock, draws a random number of its own, locks or waits.
//! * What must be right across workers (turns, active requests, latencies, ejections, breakers,
//!   tokens) is shared atomics; workers keep no copies. A limit is never passed, whatever workers do
//!   at the same time.
//! * A decision on a request that succeeds allocates nothing.
//! * A pick looks at no more endpoints than its policy compares: whom it may choose from is made
//!   anew when an endpoint becomes usable or ceases to be, and loaded as one pointer.
//! * An ejection never empties a cluster or a subset: when every endpoint that is otherwise well is
//!   ejected, all of them are used.
//! * An endpoint that is not healthy is never picked but in panic, one that drains not even then.
//! * Explain runs the code that picks.
//! * What a configuration says wrongly becomes a finding ([`Problem`]); nothing panics, and a route
//!   whose condition or action is broken matches nothing.
//! * Regular expressions take linear time. What a client chose is escaped where it is written.

mod breaker;
pub mod chain;
mod cluster;
mod concurrency;
mod cors;
mod durations;
mod endpoint;
mod ewma;
mod fault;
mod flags;
mod format;
mod hash;
mod header_change;
mod header_lookup;
mod health_check;
mod hedging;
mod host;
mod locality;
mod maglev;
mod matching;
mod mirror;
mod outlier;
mod path;
mod pick;
mod priority;
mod rate_limit;
mod redirect;
mod resilience;
mod retry;
mod rewrite;
mod ring;
mod router;
mod schedule;
mod slow_start;
mod subset;
mod template;
#[cfg(test)]
mod testing;
mod timeouts;

pub use breaker::{Breaker, BreakerLevel, Overflow, Permit};
pub use cluster::ClusterState;
pub use cluster::Surroundings;
pub use concurrency::{Blocked, ConcurrencyLevel, ConcurrencyLimiter, ConcurrencyPermit};
pub use cors::{CorsDecision, CorsGrant, CorsPolicy};
pub use durations::Durations;
pub use endpoint::{ActiveConnection, EndpointCounters, EndpointState};
pub use fault::{AbortStatus, FaultCounters, FaultState, Injection};
pub use flags::{ResponseFlag, ResponseFlags};
pub use format::{
    AddressFact, DEFAULT_FORMAT, Facts, Format, FormatError, ISTIO_FORMAT, LineFormat,
    LogCondition, NumberFact, TextFact, TimePoint, TlsFact,
};
pub use hash::{HashFacts, Hashed, NewCookie, RequestHash};
pub use header_change::{EditValues, HeaderEdits};
pub use header_lookup::HeaderLookup;
pub use health_check::{
    CHECKS_MAX, CheckCounters, CheckFlag, CheckFlags, CheckState, CheckedHealth, HealthFlags,
    HttpAnswer, ProbeHistory, ProbeResult, ProbeVerdict,
};
pub use hedging::{EndedTry, Hedge, HedgeVerdict};
pub use host::{normalized_host, port, via_entry, without_port};
pub use matching::{
    EXPRESSION_BYTES_MAX, Expression, FieldName, Fields, HeaderCondition, Pseudo, QueryCondition,
    Replacement, RequestFields, RequestView, TextMatch, is_grpc_content_type, query_value,
};
pub use mirror::{mirrors, shadow_host};
pub use outlier::{
    Evidence, EvidenceKind, Outcome, OutlierCount, OutlierDetector, OutlierState, RateKind,
    RateSummary,
};
pub use path::{NormalPath, has_dot_segment, normal_path};
pub use pick::{
    Affinity, CandidateExplanation, LentEndpoint, PickError, PickExplanation, PickRequest, Picked,
    Picker, Verdict, affinity_cookie, read_affinity_cookie,
};
pub use rate_limit::{RateLimitCounters, RateLimiter, RateVerdict, TokenBucket, TokenState};
pub use redirect::Redirector;
pub use resilience::ClusterHandle;
pub use retry::{
    Failure, Origin, RefusedRetry, RequestTraits, ResponseHead, Retry, RetryPlan, Stage, TryEnd,
    TryFacts, is_idempotent,
};
pub use rewrite::{HostRewriter, NewHost, PathRewriter};
pub use router::{
    ChosenCluster, ClusterSplit, Problem, RouteExplanation, RoutePlan, RouteTrial, Routed, Router,
    SplitEntry, stable_random,
};
pub use template::UriTemplate;
pub use timeouts::{RequestTimeouts, grpc_timeout};

/// Whole nanoseconds; the greatest number for what is longer than 584 years.
pub(crate) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
