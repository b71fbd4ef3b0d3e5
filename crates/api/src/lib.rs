//! # api: the doors that are asked
//!
//! HTTP in; a read of the [`Catalog`](model::Catalog), or a [`Command`](registry::Command), out. `consul` speaks
//! Consul's HTTP API, `admin` our own under `/leno/v1`.
//!
//! *May touch:* HTTP types. *Does not know:* sockets, tasks, clocks. A request is answered by calling
//! [`handle`] until it says [`Step::Reply`]; the shell waits, commits and calls again.

mod step;

pub use step::{AgentInfo, Context, LiveCheck, Step, WriteOutcome};
