//! # traffic: every decision of the data plane
//!
//! Choose a filter chain ([`chain::ChainMatcher`]), match a route ([`Router`]), pick an endpoint ([`ClusterState::pick`]), eject it
//! ([`ClusterState::report`]), try again ([`retry`]), and say why ([`RouteExplanation`],
//! [`PickExplanation`]).
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
//! * An endpoint that is not healthy by its configuration is never picked.

pub mod chain;
mod cluster;
mod endpoint;
mod flags;
mod health;
mod pick;
mod retry;
mod router;
mod schedule;
#[cfg(test)]
mod testing;

pub use cluster::ClusterState;
pub use endpoint::{ActiveConnection, EndpointCounters, EndpointState};
pub use flags::{ResponseFlag, ResponseFlags};
pub use health::{Evidence, EvidenceKind, Outcome};
pub use pick::{CandidateExplanation, PickError, PickExplanation, Picked, Verdict};
pub use retry::{Failure, Origin, RefusedRetry, RequestTraits, Retry, Stage, is_idempotent, retry};
pub use router::{RouteExplanation, RouteTrial, Router, normalized_host};
