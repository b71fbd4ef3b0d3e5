//! The proxy between real sockets: endpoints and clients are in the test.

mod admin;
mod blame;
mod chains;
mod change;
mod client_certificates;
mod conformance;
mod dns;
mod drain;
mod health;
mod http1;
mod http1_wire;
mod http2;
mod http2_peers;
mod limits;
mod proxy_protocol;
mod retry;
mod streams;
mod support;
mod tcp;
mod tls;
mod tunnel;
mod upstream_tls;
