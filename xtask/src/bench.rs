//! Benchmarks: commands of their own, never tests.

pub(crate) mod registry;
