//! Consul's HTTP API from outside: a request and a catalog in, a step out.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::disallowed_methods, reason = "golden files are files")]

mod access;
mod appendix;
mod authorities;
mod blocking;
mod catalog_txn;
mod config;
mod encoding;
mod events;
mod exchange;
mod fixture;
mod golden;
mod mesh;
mod operator;
mod queries;
mod robust;
mod robust_bodies;
mod round_trip;
mod rules;
mod tables;
