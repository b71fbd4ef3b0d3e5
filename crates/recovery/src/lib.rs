//! # recovery: restart as a state machine
//!
//! What to do when a supervised process ends: start it again, when, and when to stop trying. (state, evidence,
//! now) -> action, and nothing else.
//!
//! *May touch:* nothing. `now` and `rng` are arguments. *Does not know:* processes, the registry, time's source.

mod restart;

pub use restart::{Ended, Next, Policy, Restart, RestartLimits};
