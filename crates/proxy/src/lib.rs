//! # proxy: the data-plane shell
//!
//! Sockets, TLS, HTTP, connection pools. It asks `traffic` and does as it is told: which route, which endpoint,
//! whether to try again. What it must do arrives as a [`proxy_config::ProxyConfig`], whole; what it sees of the
//! endpoints leaves as [`traffic::Evidence`].
//!
//! *May touch:* the network, the clock (through `runtime`), random numbers. *Does not know:* the registry, xDS,
//! where a configuration comes from.
//!
//! ```text
//! control thread                     worker threads, one per core, sharing nothing that can be waited for
//! update ─► Snapshot ─► Command ───► View ─► Acceptor ─► opening ─┬─► connection ─► request ─► forward ─► upstream pool
//!    ▲                     ack ────►                   (chain, TLS) │                (route)    (pick, retry)
//! admin server ◄── counters                                         └─► tcp (dial, relay)
//! names ─► update;  checks ─► verdicts in the cluster states;  upkeep (rates, hash tables)
//! ```
//!
//! Invariants:
//! * A request never waits for a lock, a scrape, a log or a change of configuration.
//! * A worker's connections stay on its thread (`spawn_local`; they end with it): what they share is `Rc`, what workers
//!   share is atomics in `traffic` and in [`stats`].
//! * A change of configuration is taken whole, and never ends a connection that can go on.
//! * Workers probe no endpoint, and look no name up but for a connection of their own: that is the control thread's.
//! * Bodies are streamed; what is held per connection is bounded by its windows and buffers (`connection`, `upstream`).
//! * Nothing from outside makes it panic; each wait for the outside has a deadline.

pub mod access_log;
pub mod admin;
pub mod stats;

mod accept;
mod admin_server;
mod body;
mod buffers;
mod connection;
mod control;
mod departed;
mod dns;
mod error;
mod exchange;
mod filters;
mod forward;
mod frame;
mod handle;
mod headers;
mod health;
mod hosts;
mod http2;
mod http_date;
mod incoming;
mod observe;
mod opening;
mod output;
mod plain;
mod reply;
mod request;
mod response;
mod rules;
mod snapshot;
mod socket;
mod stream;
mod tcp;
mod time_limit;
mod tls;
mod tunnel;
mod upstream;
mod view;
mod worker;

pub use admin::{LogLevels, Quit};
pub use dns::{Lookup, LookupFuture};
pub use error::{ProxyError, SecretError};
pub use handle::{Proxy, ProxyHandle, ProxyOptions};

#[cfg(test)]
mod tests;
