//! The agent as a library, over real sockets on ports that the system chose.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod client;
mod leaves;
mod monitor;
mod reload;
mod rules;
mod snapshots;
mod sockets;
