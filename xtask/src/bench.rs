//! Benchmarks: commands of their own, never tests.

pub(crate) mod data_plane;
pub(crate) mod registry;
mod spread;
