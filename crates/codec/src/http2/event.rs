//! What a connection tells its shell.

use bytes::Bytes;

use super::{Code, StreamKey};
use crate::message::{HeaderMap, Request, Response};

/// What has come from the peer, in the order in which it came.
#[derive(Debug)]
pub enum Event {
    /// A client asks. To a server only.
    Request {
        /// Its stream.
        stream: StreamKey,
        /// Its head.
        request: Request<()>,
        /// `Content-Length`, which the data will have in all.
        content_length: Option<u64>,
        /// It has no content.
        end: bool,
    },
    /// A client asks with a head that is larger than allowed, which is not kept. To be answered with status 431, and
    /// then to be forgotten with [`super::Connection::stop_receiving`].
    HeadTooLarge {
        /// Its stream.
        stream: StreamKey,
    },
    /// A request that is none; its stream has been reset.
    Malformed(Malformed),
    /// A head with status 1xx; another one follows. To a client only.
    Informational {
        /// Its stream.
        stream: StreamKey,
        /// The head.
        response: Response<()>,
    },
    /// The final head. To a client only.
    Response {
        /// Its stream.
        stream: StreamKey,
        /// The head.
        response: Response<()>,
        /// How much data will come in all, if it is known.
        content_length: Option<u64>,
        /// It has no content.
        end: bool,
    },
    /// Content. What has been dealt with is given back with [`super::Connection::release_capacity`].
    Data {
        /// Its stream.
        stream: StreamKey,
        /// The content; it may share memory with what came beside it.
        data: Bytes,
        /// Nothing follows.
        end: bool,
    },
    /// What comes after the content. Nothing follows.
    Trailers {
        /// Its stream.
        stream: StreamKey,
        /// The trailers.
        trailers: HeaderMap,
    },
    /// The stream is over, both ways.
    Reset {
        /// The stream.
        stream: StreamKey,
        /// Why.
        code: Code,
        /// False when it was we who ended it, because the peer broke a rule on it.
        by_peer: bool,
        /// The peer has not looked at the request: it may be sent again (sections 6.8 and 8.7).
        is_unread: bool,
    },
    /// There is room for data again, after [`super::Connection::send_data`] did not take all.
    Room {
        /// The stream.
        stream: StreamKey,
    },
    /// The peer opens no more streams, or wants no more.
    GoAway {
        /// The last stream that it deals with.
        last: u32,
        /// Why.
        code: Code,
    },
    /// The peer has taken our settings.
    SettingsAcked,
    /// The answer to [`super::Connection::ping`].
    PingAcked {
        /// What was sent.
        payload: [u8; 8],
    },
}

/// Why a request is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// For people.
    pub reason: &'static str,
}
