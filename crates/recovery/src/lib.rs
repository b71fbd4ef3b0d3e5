//! # recovery: restart, and the order of starts, as state machines
//!
//! What to do when a supervised process ends: start it again, when, and when to stop trying ([`Restart`]). In which order
//! workloads that depend on each other start and stop ([`Order`]). (state, evidence, now) -> action, and nothing else.
//!
//! *May touch:* nothing. `now` and `rng` are arguments. *Does not know:* processes, the registry, time's source.

mod order;
mod restart;

pub use order::{Order, OrderError, Standing};
pub use restart::{CheckAction, Ended, Next, Policy, Restart, RestartLimits};
