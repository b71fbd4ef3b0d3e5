//! What comes in from another side, whichever protocol brings it: bodies, and the bytes after an upgrade.
//!
//! The logic of an exchange sees these types alone; the protocols are behind them.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use codec::http1::BodyError;
use http::Extensions;
use http_body::{Body, Frame, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::connection::RequestReader;
use crate::stream::DownstreamStream;
use crate::upstream::Http1Connection;

/// The body of a message that is being received.
pub(crate) enum Incoming {
    Empty,
    Hyper(hyper::body::Incoming),
    /// Of a client's request.
    Http1Request(RequestReader),
    /// Of an endpoint's response.
    Http1Response(Rc<Http1Connection>),
}

impl Incoming {
    /// While nobody takes this body: sends what there is of the request that it answers, if both share a connection.
    pub(crate) fn poll_upload(&self, cx: &mut Context<'_>) {
        match self {
            Incoming::Empty | Incoming::Hyper(_) | Incoming::Http1Request(_) => {}
            Incoming::Http1Response(connection) => connection.poll_upload(cx),
        }
    }
}

impl From<hyper::body::Incoming> for Incoming {
    fn from(body: hyper::body::Incoming) -> Self {
        if body.is_end_stream() { Incoming::Empty } else { Incoming::Hyper(body) }
    }
}

/// The sender of a body broke off, or what it sent is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncomingError {
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    #[error(transparent)]
    Http1(#[from] BodyError),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The body of the request that is answered.
    #[error("the request broke off")]
    RequestBroken,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = IncomingError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        match self.get_mut() {
            Incoming::Empty => Poll::Ready(None),
            Incoming::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(IncomingError::Hyper),
            Incoming::Http1Request(reader) => reader.poll_frame(cx),
            Incoming::Http1Response(connection) => connection.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Incoming::Empty => true,
            Incoming::Hyper(body) => body.is_end_stream(),
            Incoming::Http1Request(reader) => reader.is_end_stream(),
            Incoming::Http1Response(connection) => connection.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Incoming::Empty => SizeHint::with_exact(0),
            Incoming::Hyper(body) => body.size_hint(),
            Incoming::Http1Request(reader) => reader.size_hint(),
            Incoming::Http1Response(connection) => connection.size_hint(),
        }
    }
}

/// A connection that a client is about to leave to a tunnel: it is there when the response that says so was sent.
pub(crate) enum Upgrade {
    Hyper(OnUpgrade),
    Http1(oneshot::Receiver<Upgraded>),
}

impl Upgrade {
    /// What hyper keeps with a message that may end HTTP on its connection.
    pub(crate) fn of_hyper(extensions: &mut Extensions) -> Option<Self> {
        extensions.remove().map(Upgrade::Hyper)
    }

    /// Waits until the connection speaks no HTTP any more.
    pub(crate) async fn upgraded(self) -> io::Result<Upgraded> {
        match self {
            Upgrade::Hyper(upgrade) => match upgrade.await {
                Ok(stream) => Ok(Upgraded::Hyper(TokioIo::new(stream))),
                Err(error) => Err(io::Error::other(error)),
            },
            Upgrade::Http1(upgrade) => upgrade.await.map_err(io::Error::other),
        }
    }
}

/// The bytes of a connection that spoke HTTP before.
pub(crate) enum Upgraded {
    Hyper(TokioIo<hyper::upgrade::Upgraded>),
    Http1(DownstreamStream),
}

impl AsyncRead for Upgraded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Upgraded::Hyper(stream) => Pin::new(stream).poll_read(cx, buf),
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
            Upgraded::Hyper(stream) => Pin::new(stream).poll_write(cx, buf),
            Upgraded::Http1(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Upgraded::Hyper(stream) => Pin::new(stream).poll_flush(cx),
            Upgraded::Http1(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Upgraded::Hyper(stream) => Pin::new(stream).poll_shutdown(cx),
            Upgraded::Http1(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
