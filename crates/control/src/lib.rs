//! # control: the control-plane shell
//!
//! Owns the tasks and servers of the agent: the writer, the HTTP and DNS servers, the probes. Wires rooms; decides
//! nothing.

pub mod dns_server;
pub mod mesh;
pub mod probes;
