//! What comes in from another side, whichever protocol brings it: bodies, and the bytes after an upgrade.
//!
//! The logic of an exchange sees these types alone; the protocols are behind them.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use codec::http1::BodyError;
use http_body::SizeHint;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::connection::RequestReader;
use crate::frame::{Body, Frame};
use crate::http2::{self, StreamFailure, Tunnel};
use crate::stream::DownstreamStream;
use crate::upstream::Http1Connection;

/// The body of a message that is being received.
pub(crate) enum Incoming {
    Empty,
    /// Of a client's request.
    Http1Request(RequestReader),
    /// Of an endpoint's response.
    Http1Response(Rc<Http1Connection>),
    /// Of a request or of a response.
    Http2(http2::Body),
}

impl Incoming {
    /// While nobody takes this body: sends what there is of the request that it answers, if both share a connection.
    pub(crate) fn poll_upload(&self, cx: &mut Context<'_>) {
        match self {
            Incoming::Empty | Incoming::Http1Request(_) => {}
            Incoming::Http1Response(connection) => connection.poll_upload(cx),
            Incoming::Http2(body) => body.poll_upload(cx),
        }
    }
}

impl From<http2::Body> for Incoming {
    fn from(body: http2::Body) -> Self {
        if body.is_end_stream() { Incoming::Empty } else { Incoming::Http2(body) }
    }
}

/// The sender of a body broke off, or what it sent is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncomingError {
    #[error(transparent)]
    Http1(#[from] BodyError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the HTTP/2 stream broke off: {0:?}")]
    Http2(StreamFailure),
    /// The body of the request that is answered.
    #[error("the request broke off")]
    RequestBroken,
}

impl Body for Incoming {
    type Error = IncomingError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, IncomingError>>> {
        match self.get_mut() {
            Incoming::Empty => Poll::Ready(None),
            Incoming::Http1Request(reader) => reader.poll_frame(cx),
            Incoming::Http1Response(connection) => connection.poll_frame(cx),
            Incoming::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Incoming::Empty => true,
            Incoming::Http1Request(reader) => reader.is_end_stream(),
            Incoming::Http1Response(connection) => connection.is_end_stream(),
            Incoming::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Incoming::Empty => SizeHint::with_exact(0),
            Incoming::Http1Request(reader) => reader.size_hint(),
            Incoming::Http1Response(connection) => connection.size_hint(),
            Incoming::Http2(body) => body.size_hint(),
        }
    }
}

/// A connection that a client is about to leave to a tunnel: it is there when the response that says so was sent.
pub(crate) enum Upgrade {
    /// A stream of an HTTP/2 connection.
    Http2(Tunnel),
    Http1(oneshot::Receiver<Upgraded>),
}

impl Upgrade {
    /// Waits until the connection speaks no HTTP any more.
    pub(crate) async fn upgraded(self) -> io::Result<Upgraded> {
        match self {
            Upgrade::Http2(tunnel) => tunnel.opened().await.map(Upgraded::Http2),
            Upgrade::Http1(upgrade) => upgrade.await.map_err(io::Error::other),
        }
    }
}

/// The bytes of a connection that spoke HTTP before.
pub(crate) enum Upgraded {
    Http2(Tunnel),
    Http1(DownstreamStream),
}

impl AsyncRead for Upgraded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Upgraded::Http2(tunnel) => Pin::new(tunnel).poll_read(cx, buf),
            Upgraded::Http1(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Upgraded::Http2(tunnel) => Pin::new(tunnel).poll_write(cx, buf),
            Upgraded::Http1(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Upgraded::Http2(tunnel) => Pin::new(tunnel).poll_flush(cx),
            Upgraded::Http1(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Upgraded::Http2(tunnel) => Pin::new(tunnel).poll_shutdown(cx),
            Upgraded::Http1(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
