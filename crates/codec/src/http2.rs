//! HTTP/2 (RFC 9113) without a socket: bytes in, [`Event`]s out; commands in, bytes out.
//!
//! One [`Connection`] serves either role. Its shell reads bytes into a buffer, hands it to [`Connection::receive`],
//! takes events until there are none, gives commands ([`Connection::send_response`], [`Connection::send_data`] …), and
//! then, once for all that came together in this turn, [`Connection::fill_output`] and writes what there is.
//!
//! What a connection holds at most, with the defaults of [`Config`]:
//! * received data that nobody has taken: `streams_max` x `stream_window` = 100 x 256 KiB = 25.6 MB. The connection's
//!   own window is given back as soon as data is read off the connection: a stream that nobody reads takes nothing
//!   from the others;
//! * data to be sent: `streams_max` x `send_buffer_bytes` = 100 x 64 KiB = 6.4 MB, and 128 KiB of frames;
//! * heads: one header block of up to `header_list_bytes_max` and a frame, and the tables of header compression, 2 x 4
//!   KiB; a head that has been handed out is its reader's;
//! * memory of streams that are closed: 256 ids.
//!
//! What a peer may do that costs more than it is worth has an allowance (`connection::Allowances`); who uses it up is
//! sent away with `ENHANCE_YOUR_CALM`.

mod allowance;
mod connection;
mod error;
mod event;
mod frame;
mod hpack;
mod inbox;
mod message;
mod output;
mod stream;
#[cfg(test)]
mod tests;

pub use connection::{Accepted, Config, Connection, Role, Target};
pub use error::{Code, ConnectionError};
pub use event::{Event, Malformed};
pub use inbox::Inbox;
pub use stream::StreamKey;
