//! The binary as its users meet it: real processes, real sockets on ports that the system chose, real clients.

mod bad_input;
mod clients;
mod crash;
mod demo;
mod manifests;
mod support;
