//! # traffic: every decision of the data plane
//!
//! Match a route ([`Router`]), pick an endpoint ([`ClusterState::pick`]), eject it
//! ([`ClusterState::report`]), try again ([`retry`]), and say why ([`RouteExplanation`],
//! [`PickExplanation`]).
//!
//! *May touch:* `now` (nanoseconds since an epoch that the caller chose) and `rng`, as arguments.
//! *Does not know:* sockets, clocks, files, async, the registry, Kubernetes.
//!
//! Invariants:
//! * Nothing here reads the clock, draws a random number of its own, locks or waits.
//! * What must be right across workers (turns, active requests, latencies, ejections) is shared
//!   atomics in one [`ClusterState`] behind an `Arc`; workers keep no copies.
//! * A pick looks at no more endpoints than its policy compares: whom it may choose from is made
//!   anew when an endpoint becomes usable or ceases to be, and loaded as one pointer.
//! * An ejection never empties a cluster or a subset: when every endpoint that is otherwise well is
//!   ejected, all of them are used.
//! * An endpoint that is not healthy is never picked but in panic, one that drains not even then.
//! * Explain runs the code that picks.

mod cluster;
mod endpoint;
mod ewma;
mod flags;
mod hash;
mod health;
mod locality;
mod maglev;
mod pick;
mod priority;
mod retry;
mod ring;
mod router;
mod schedule;
mod slow_start;
mod subset;
#[cfg(test)]
mod testing;

pub use cluster::{ClusterState, Surroundings};
pub use endpoint::{ActiveConnection, Checked, EndpointCounters, EndpointState};
pub use flags::{ResponseFlag, ResponseFlags};
pub use hash::{HashFacts, Hashed, NewCookie, RequestHash};
pub use health::{Evidence, EvidenceKind, Outcome};
pub use pick::{
    Affinity, CandidateExplanation, PickError, PickExplanation, PickRequest, Picked, Picker,
    Verdict, affinity_cookie, read_affinity_cookie,
};
pub use retry::{Failure, Origin, RefusedRetry, RequestTraits, Retry, Stage, is_idempotent, retry};
pub use router::{RouteExplanation, RouteTrial, Router, normalized_host};
