//! # dns: the DNS door
//!
//! A packet in, a packet out, over the [`Catalog`](model::Catalog): the names of Consul 1.21 (`web.service.consul`,
//! `_web._tcp.service.consul`, `n1.node.consul`, reverse names, …) under `consul.` and under `mesh.`, where also
//! `web.mesh` is a service. Field by field: reference/consul.md section 3.
//!
//! *May touch:* nothing. `now` and `rng` are arguments. *Does not know:* sockets, recursors (it only says
//! [`Answer::Recurse`]), who asks.
//!
//! Invariants:
//! * No bytes make it panic; what cannot be read gets FORMERR, or nothing when not even the header can be read.
//! * A reply on UDP from which answers were left out says so with the TC bit (unless configured otherwise).
//! * An instance with a critical check, its own or its node's, is in no answer.

mod answer;
mod config;
mod fit;
mod lookup;
mod name;
mod records;
mod recursion;
mod service;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Transport, Who, answer};
pub use config::{BadDomain, DnsConfig, Domain, ServiceTtls, SoaTimes};
pub use recursion::{RecursorReply, judge_recursor_reply, server_failure};
