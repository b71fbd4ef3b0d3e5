//! Consul's HTTP API from outside: a request and a catalog in, a step out.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::disallowed_methods, reason = "golden files are files")]

mod access;
mod appendix;
mod blocking;
mod config;
mod encoding;
mod fixture;
mod golden;
mod mesh;
mod robust;
mod round_trip;
