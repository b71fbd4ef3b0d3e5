//! The proxy between real sockets: endpoints and clients are in the test.

mod affinity;
mod blame;
mod breakers;
mod chains;
mod change;
mod client_certificates;
mod conformance;
mod drain;
mod hashing;
mod hedging;
mod http1;
mod http1_wire;
mod http2;
mod http2_peers;
mod limits;
mod mirror;
mod proxy_protocol;
mod retry;
mod streams;
mod support;
mod tcp;
mod timeouts;
mod tls;
mod tunnel;
mod upstream_tls;
mod weighted;
