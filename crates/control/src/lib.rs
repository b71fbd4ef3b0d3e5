//! # control: the control-plane shell
//!
//! Owns the tasks and servers of the agent: the writer, the HTTP and DNS servers, the probes, the compiler's loop,
//! supervised processes. Wires rooms; decides nothing.
//!
//! Invariants:
//! * A command is answered only when its change is in the catalog that readers get.
//! * Every task is spawned through `runtime::Tasks`, and ends when the drain begins.

pub mod agent;
/// Snapshots as files, for who looks into them without an agent.
pub mod archive {
    pub use store::{ArchiveError, Snapshot, read_archive};
}
mod authority;
pub mod compilation;
pub mod definitions;
pub mod dns_server;
pub mod documents;
pub mod door;
pub mod fleet;
pub mod guards;
mod host;
pub mod http_server;
pub mod listen;
pub mod manifest_folder;
pub mod mesh;
pub mod metrics;
pub mod monitor;
pub mod probes;
pub mod sessions;
pub mod sightings;
mod snapshots;
mod streams;
pub mod tokens;
pub mod workloads;
