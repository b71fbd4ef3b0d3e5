//! # recovery: restart, order of starts and evidence, as state machines
//!
//! What to do when a supervised process ends: start it again, when, and when to stop trying ([`Restart`]). In which order
//! workloads that depend on each other start and stop ([`Order`]). Whether a new release is worse than the old one, from
//! the counters of the proxies ([`Evidence`]), or a changed configuration worse than the one before ([`Guard`]). (state, evidence, now) -> action, and nothing else.
//!
//! *May touch:* nothing. `now` and `rng` are arguments. *Does not know:* processes, the registry, time's source.
//!
//! Invariants:
//! * A release that is as good as the old one is called worse with at most the chance that its settings allow, however
//!   often it is looked at.

mod clock;
mod evidence;
mod guard;
mod order;
mod restart;

pub use evidence::{
    Counts, Evidence, Figures, LATENCY_BOUNDS_US, Regression, Report, Settings, Verdict,
};
pub use guard::{Guard, GuardVerdict};
pub use order::{Order, OrderError, Standing};
pub use restart::{CheckAction, Ended, Next, Policy, Restart, RestartLimits};
