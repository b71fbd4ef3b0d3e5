//! HTTP/2 over a socket, for both sides of the proxy: [`codec::http2`] knows the protocol, this moves the bytes.
//!
//! One task drives the socket of a connection. The tasks of requests give their commands to the [`Session`] and wake
//! the driver; it runs after all of them that were ready in the same turn, so that one write takes what all of them
//! had to say.

mod body;
mod session;
mod stream;
mod tunnel;

pub(crate) use body::{Body, Upload};
pub(crate) use session::{Asked, Rejected, Session, SessionError};
pub(crate) use stream::{Stream, StreamFailure};
pub(crate) use tunnel::Tunnel;
