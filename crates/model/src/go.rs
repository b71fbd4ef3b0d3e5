//! Go's notations, in which Consul's clients and files write: durations (`1m30s`) and strings in quotes; and its hashes.

mod duration;
mod literal;
pub mod structure_hash;

pub use duration::{DurationError, format_duration, parse_duration};
pub use literal::{quote, unquote};
