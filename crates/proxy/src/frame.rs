//! Bodies as a stream of parts.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use codec::message::HeaderMap;
use http_body::SizeHint;

/// A part of a body.
#[derive(Debug)]
pub(crate) enum Frame {
    Data(Bytes),
    /// What comes after all data.
    Trailers(HeaderMap),
}

impl Frame {
    pub(crate) fn data_ref(&self) -> Option<&Bytes> {
        match self {
            Frame::Data(data) => Some(data),
            Frame::Trailers(_) => None,
        }
    }
}

/// What gives a body, part by part.
pub(crate) trait Body {
    type Error;

    /// The next part; `None` after the last one.
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Self::Error>>>;

    /// True when it is known that nothing more comes.
    fn is_end_stream(&self) -> bool;

    /// Bytes that are still to come, as far as is known.
    fn size_hint(&self) -> SizeHint;
}
