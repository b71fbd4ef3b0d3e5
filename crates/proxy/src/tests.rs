//! The proxy between real sockets: endpoints and clients are in the test.

mod change;
mod http1;
mod http2;
mod limits;
mod retry;
mod support;
mod tls;
mod tunnel;
