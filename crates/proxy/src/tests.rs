//! The proxy between real sockets: endpoints and clients are in the test.

mod blame;
mod change;
mod drain;
mod http1;
mod http1_wire;
mod http2;
mod limits;
mod retry;
mod streams;
mod support;
mod tls;
mod tunnel;
