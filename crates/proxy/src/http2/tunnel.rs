use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use codec::http2::{Accepted, Code};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::Session;
use super::stream::{Piece, Stream};

/// A stream that carries bytes: what `CONNECT` makes of it (RFC 9113, section 8.5).
pub(crate) struct Tunnel {
    session: Rc<Session>,
    stream: Rc<Stream>,
    /// Received and not yet read.
    unread: Bytes,
    /// The client knows that it is a tunnel.
    is_open: bool,
    is_shut: bool,
}

impl Tunnel {
    pub(crate) fn new(session: Rc<Session>, stream: Rc<Stream>) -> Self {
        Self { session, stream, unread: Bytes::new(), is_open: false, is_shut: false }
    }

    /// Waits until the client has been told that the tunnel is there.
    pub(crate) async fn opened(mut self) -> io::Result<Self> {
        poll_fn(|cx| self.stream.poll_answered(cx)).await;
        match self.stream.failure() {
            None => {
                self.is_open = true;
                Ok(self)
            }
            Some(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.stream.poll_piece(cx)) {
                Some(Ok(Piece::Data(data))) => self.unread = data,
                Some(Ok(Piece::Trailers(_))) => {}
                None => return Poll::Ready(Ok(())),
                Some(Err(_)) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        self.session.release(&self.stream, count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = match self.stream.failure() {
            None => self.session.tell(|codec| codec.room(self.stream.key())),
            Some(_) => None,
        };
        let count = match room {
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(0) => {
                let _ = self.stream.poll_failure(cx);
                return Poll::Pending;
            }
            Some(room) => buf.len().min(room),
        };
        let mut data = Bytes::copy_from_slice(&buf[..count]);
        match self.session.send_data(&self.stream, &mut data, false) {
            Accepted::All => Poll::Ready(Ok(count)),
            Accepted::Some | Accepted::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            self.is_shut = true;
            self.session.send_data(&self.stream, &mut Bytes::new(), true);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if self.stream.failure().is_some() || self.is_shut && self.stream.is_received() {
            return;
        }
        let key = self.stream.key();
        if self.is_open {
            self.session.tell(|codec| codec.reset(key, Code::CONNECT_ERROR));
        } else {
            // The client is told why there is none.
            self.session.tell(|codec| codec.stop_receiving(key));
        }
    }
}
