//! The binary as its users meet it: real processes, real sockets on ports that the system chose, real clients.
#![allow(clippy::print_stdout)] // What a peer printed belongs to a failure.

mod abuse;
mod access;
mod bad_input;
mod clients;
mod commands;
mod config_entries;
mod configuration;
mod configuration_reload;
mod connections;
mod consul;
mod consul_requests;
mod consul_waits;
mod crash;
mod demo;
mod discovery;
mod import;
mod linearizability;
mod locks;
mod manifests;
mod program;
mod proxy;
mod sightings;
mod support;
mod tls;
