//! # model: the nouns of the mesh
//!
//! Nodes, instances of services, checks, documents, keys with values, sessions; the [`Catalog`] that holds all that is true at one
//! [`Revision`]; and the [`Txn`] / [`Change`] pair by which truth moves on.
//!
//! *May touch:* nothing. *Does not know:* sockets, files, clocks, random numbers, async, any foreign format.
//!
//! Invariants:
//! * Every object is one key of the store ([`ObjectKey`]) and one value (JSON of the struct here; bytes that are
//!   somebody's follow it).
//! * A [`Catalog`] is immutable for its readers: clones share structure, [`Catalog::apply`] makes the next one.
//! * Nothing here reads the clock; time arrives as [`Timestamp`].

mod acl;
mod catalog;
mod change;
mod check;
mod config_entry;
mod document;
mod event;
mod flat_map;
pub mod go;
mod id;
mod instance;
mod kv;
mod node;
mod query;
mod record;
mod rollout;
mod session;
mod spec;
mod time;
mod traffic_split;
mod virtual_address;
pub mod workload;

pub use acl::{
    AclAuthMethod, AclBindingRule, AclNode, AclPolicy, AclRole, AclService, AclTemplate, AclToken,
    Grants, Secret,
};
pub use catalog::{Catalog, Found, ServiceEntry, Stored, WatchKey};
pub use change::{
    Change, Compare, DecodeError, Entry, KeyChange, LeaseId, Object, ObjectKey, Operation,
    Revision, Txn,
};
pub use check::{Check, CheckDefinition, CheckStatus, CheckType};
pub use config_entry::{ConfigEntry, Setting};
pub use document::{Diagnostic, Document, DocumentChange, DocumentKey, Place, Severity};
pub use event::{Coordinate, Event};
pub use flat_map::FlatMap;
pub use id::{CheckId, Folded, KvKey, NodeName, ServiceId, ServiceName, SessionId};
pub use instance::{Instance, Locality, Origin, ServiceAddress, Weights};
pub use kv::KvEntry;
pub use node::Node;
pub use query::{
    PreparedQuery, QueryFailover, QueryFailoverTarget, QueryTemplate, QueryTtl, ServiceQuery,
};
pub use record::{Record, RecordKey, Table, Tabled};
pub use rollout::RolloutSpec;
pub use session::{ServiceCheckRef, Session, SessionBehavior};
pub use spec::{
    Backend, IngressPath, IngressRule, IngressSpec, IngressTls, PathKind, PortRef, PortSpec,
    SecretSpec, ServiceSpec, Spec,
};
pub use time::{Timestamp, duration_ns};
pub use traffic_split::TrafficSplit;
pub use virtual_address::VirtualAddress;
pub use workload::WorkloadSpec;
