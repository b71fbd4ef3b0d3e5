//! # registry: how truth changes
//!
//! [`transact`] reads a [`Catalog`](model::Catalog) and turns a [`Command`] into a [`Txn`](model::Txn) with compares on
//! what it read; [`verdict`] merges the checks of an instance into one state with its reasons; [`CheckJudge`] turns
//! results of probes into verdicts.
//!
//! *May touch:* nothing. `now` is an argument. *Does not know:* who asks, where truth is stored, who waits.
//!
//! Invariants:
//! * A command that would change nothing makes an empty transaction: no index moves, nobody wakes.
//! * A transaction compares every key that the decision depended on, so it can be run against any later state.

mod command;
mod rejection;

pub use command::{CatalogRegistration, CatalogTarget, Command, ServiceRegistration};
pub use rejection::Rejection;
