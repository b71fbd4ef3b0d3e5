//! # traffic: every decision of the data plane
//!
//! Match a route ([`Router`]), pick an endpoint ([`ClusterState::pick`]), eject it
//! ([`ClusterState::report`]), try again ([`retry`]), and say why ([`RouteExplanation`],
//! [`PickExplanation`]). What a route does to a request is made ready with it ([`RoutePlan`]):
//! rewrites, redirects, header changes, rules for other origins. What is said about a request is a
//! [`Format`] over [`Facts`].
//!
//! *May touch:* `now` (nanoseconds since an epoch that the caller chose) and `rng`, as arguments.
//! *Does not know:* sockets, clocks, files, async, the registry, Kubernetes.
//!
//! Invariants:
//! * Nothing here reads the clock, draws a random number of its own, locks or waits.
//! * What must be right across workers (turns, active requests, ejections) is shared atomics in one
//!   [`ClusterState`] behind an `Arc`; workers keep no copies.
//! * An ejection never empties a cluster: when every healthy endpoint is ejected, all of them are
//!   used.
//! * What a configuration says wrongly becomes a finding ([`Problem`]); nothing panics, and a route
//!   whose condition or action is broken matches nothing.
//! * Regular expressions take linear time. What a client chose is escaped where it is written.
//! * An endpoint that is not healthy by its configuration is never picked.

mod cluster;
mod cors;
mod endpoint;
mod flags;
mod format;
mod header_change;
mod health;
mod host;
mod matching;
mod path;
mod pick;
mod redirect;
mod retry;
mod rewrite;
mod router;
mod schedule;
mod template;
#[cfg(test)]
mod testing;

pub use cluster::ClusterState;
pub use cors::{CorsDecision, CorsGrant, CorsPolicy};
pub use endpoint::{ActiveConnection, EndpointCounters, EndpointState};
pub use flags::{ResponseFlag, ResponseFlags};
pub use format::{
    AddressFact, DEFAULT_FORMAT, Facts, Format, FormatError, ISTIO_FORMAT, LineFormat,
    LogCondition, NumberFact, TextFact, TimePoint, TlsFact,
};
pub use header_change::{EditValues, HeaderEdits};
pub use health::{Evidence, EvidenceKind, Outcome};
pub use host::{normalized_host, port, via_entry, without_port};
pub use matching::{
    EXPRESSION_BYTES_MAX, Expression, FieldName, Fields, HeaderCondition, Pseudo, QueryCondition,
    Replacement, RequestFields, RequestView, TextMatch, is_grpc_content_type, query_value,
};
pub use path::{NormalPath, has_dot_segment, normal_path};
pub use pick::{CandidateExplanation, PickError, PickExplanation, Picked, Verdict};
pub use redirect::Redirector;
pub use retry::{Failure, Origin, RefusedRetry, RequestTraits, Retry, Stage, is_idempotent, retry};
pub use rewrite::{HostRewriter, NewHost, PathRewriter};
pub use router::{
    ChosenCluster, ClusterSplit, Problem, RouteExplanation, RoutePlan, RouteTrial, Routed, Router,
    SplitEntry, stable_random,
};
pub use template::UriTemplate;
