//! # codec: bytes to messages and back
//!
//! The wire forms that the data plane speaks, without a socket: HTTP/1 heads and bodies, HTTP/2 frames, header
//! compression, streams and windows, the PROXY protocol, the first message of TLS, and the names in certificates. A shell
//! moves bytes in and out.
//!
//! *May touch:* nothing; time is an argument where it matters. *Does not know:* sockets, async, routes, clusters.
//!
//! Invariants:
//! * Whatever bytes come, nothing panics, and what is kept of them is bounded.
//! * A message that two readers could understand in two ways is an error here (RFC 9112, section 11.2).

pub mod certificate;
pub mod client_hello;
pub mod http1;
pub mod http2;
pub mod message;
pub mod proxy_protocol;
