//! # config-entries: what Consul's configuration entries say
//!
//! The kinds of entries with their fields ([`KINDS`]), how they are read and completed ([`read`]), the rules that each
//! obeys alone ([`validate`]) and among others ([`check_graph`]), and what follows from them: the way of a request through
//! routers, splitters and resolvers ([`Chain`]), who may call whom ([`intentions`]), and which services stand behind a
//! gateway ([`gateways`]).
//!
//! *May touch:* nothing. *Does not know:* who writes entries, HTTP, instances, what a proxy makes of it.
//!
//! Invariants:
//! * An entry that [`read`] returns has its fields in the letter case and the order of Consul's API, and only those that
//!   its kind has.
//! * Everything is looked up through [`Lookup`], so that whoever decides on it can note what he read.
//! * Chains are bounded: [`Chain::compile`] gives up on more than 64 splitters in a row and 4096 nodes.

mod central;
mod chain;
mod entry;
pub mod gateways;
mod graph;
mod hash;
pub mod intentions;
mod kinds;
mod lookup;
mod normalize;
mod protocol;
mod schema;
#[cfg(test)]
mod tests;
mod validate;
pub mod view;

pub use self::central::merged_proxy;
pub use self::chain::{
    Chain, ChainError, ChainFailover, ChainNode, ChainResolver, ChainRoute, ChainSplit,
    ChainTarget, NodeKind, Overrides, Scope,
};
pub use self::entry::{ReadError, read, shown_body};
pub use self::graph::check_graph;
pub use self::hash::proxy_hash;
pub use self::kinds::{AGENT_PROXY, INTENTION, KINDS, Kind, PROXY, find};
pub use self::lookup::{Lookup, Overlay};
pub use self::protocol::{is_http_like, protocol_of};
pub use self::schema::{Schema, Unreadable, read as read_fields, show as show_fields};
pub use self::validate::validate;
