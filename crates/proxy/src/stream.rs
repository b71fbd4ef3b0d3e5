//! The downstream byte stream: TCP or TLS, with bytes that were read ahead to tell the protocol.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::io::poll_read_buf;

use crate::buffers;
use crate::plain;
use crate::stats::{HttpCounters, Shard};
use crate::tls::TlsSocket;

/// What an HTTP/2 client says first when it knows beforehand that HTTP/2 is spoken (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// TCP, or TLS over it.
pub(crate) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TlsSocket>>),
}

impl Transport {
    /// Ready when a read may bring something: what TLS has decrypted already, or what has arrived.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Tcp(stream) => stream.poll_read_ready(cx),
            Transport::Tls(stream) => {
                let (socket, connection) = stream.get_ref();
                if socket.waits_for_a_read() || !connection.wants_read() {
                    return Poll::Ready(Ok(()));
                }
                socket.stream().poll_read_ready(cx)
            }
        }
    }

    /// What is written from here on goes out with the end of TLS, which [`Transport::end`] adds.
    pub(crate) fn gather_end(&mut self) {
        match self {
            Transport::Tcp(_) => {}
            Transport::Tls(stream) => stream.get_mut().0.gather(),
        }
    }

    /// Says that nothing more comes, where TLS has words for it. It is sent when this is flushed.
    pub(crate) fn end(&mut self) {
        match self {
            Transport::Tcp(_) => {}
            Transport::Tls(stream) => {
                let (socket, connection) = stream.get_mut();
                connection.send_close_notify();
                socket.stop_gathering();
            }
        }
    }

    /// Closing it will reset the connection, with all that the client has not read.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        let stream = match self {
            Transport::Tcp(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0.stream(),
        };
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
    }
}

/// Tells the connection's driver what has moved.
#[derive(Clone, Default)]
pub(crate) struct Activity(Rc<Moves>);

#[derive(Default)]
struct Moves {
    moved: Cell<bool>,
    write_blocked: Cell<bool>,
}

impl Activity {
    /// True when bytes moved in either direction since the last call.
    pub(crate) fn take_moved(&self) -> bool {
        self.0.moved.take()
    }

    /// True when the client does not take what is sent to it.
    pub(crate) fn is_write_blocked(&self) -> bool {
        self.0.write_blocked.get()
    }

    fn note_read(&self) {
        self.0.moved.set(true);
    }

    fn note_written(&self, outcome: &Poll<io::Result<usize>>) {
        self.0.write_blocked.set(outcome.is_pending());
        if outcome.is_ready() {
            self.0.moved.set(true);
        }
    }
}

/// A downstream connection as whoever speaks HTTP on it reads and writes it.
pub(crate) struct DownstreamStream {
    read_ahead: BytesMut,
    transport: Transport,
    activity: Activity,
    counters: Shard<HttpCounters>,
}

impl DownstreamStream {
    /// `read_ahead` was read already; the first reader reads it again.
    pub(crate) fn new(
        transport: Transport,
        read_ahead: &[u8],
        counters: Shard<HttpCounters>,
    ) -> Self {
        counters.downstream_cx_rx_bytes_total.add(read_ahead.len() as u64);
        Self::with_read_ahead(transport, BytesMut::from(read_ahead), counters)
    }

    /// One of which some was read already, and counted.
    pub(crate) fn with_read_ahead(
        transport: Transport,
        read_ahead: BytesMut,
        counters: Shard<HttpCounters>,
    ) -> Self {
        Self { read_ahead, transport, activity: Activity::default(), counters }
    }

    /// The counters, what was read ahead, and the transport.
    pub(crate) fn into_parts(self) -> (Shard<HttpCounters>, BytesMut, Transport) {
        (self.counters, self.read_ahead, self.transport)
    }

    pub(crate) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Reads until it is certain whether the client speaks HTTP/2. What was read is read again by the next reader.
    pub(crate) async fn detect_http2(&mut self) -> io::Result<bool> {
        let mut known = is_http2(&self.read_ahead);
        while known.is_none() {
            let read = poll_fn(|cx| self.poll_read_ahead(cx)).await?;
            known = if read == 0 { Some(false) } else { is_http2(&self.read_ahead) };
        }
        Ok(known == Some(true))
    }

    /// Who has sent nothing yet costs no buffer.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read_ahead.capacity() == 0 {
            self.read_ahead = buffers::take();
        }
        let read = poll_read_buf(Pin::new(&mut self.transport), cx, &mut self.read_ahead);
        match &read {
            Poll::Ready(Ok(count)) => {
                self.counters.downstream_cx_rx_bytes_total.add(*count as u64);
            }
            Poll::Pending if self.read_ahead.is_empty() => buffers::put(&mut self.read_ahead),
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        read
    }

    fn count_written(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.note_written(&outcome);
        if let Poll::Ready(Ok(written)) = &outcome {
            self.counters.downstream_cx_tx_bytes_total.add(*written as u64);
        }
        outcome
    }
}

/// `None` while the bytes may be the beginning of both.
fn is_http2(seen: &[u8]) -> Option<bool> {
    match HTTP2_PREFACE.strip_prefix(seen) {
        Some([]) => Some(true),
        Some(_) => None,
        None => Some(seen.starts_with(HTTP2_PREFACE)),
    }
}

impl AsyncRead for DownstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read_ahead.is_empty() {
            let taken = self.read_ahead.len().min(buf.remaining());
            buf.put_slice(&self.read_ahead[..taken]);
            self.read_ahead.advance(taken);
            if self.read_ahead.is_empty() {
                buffers::put(&mut self.read_ahead);
            }
            self.activity.note_read();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.transport).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.counters.downstream_cx_rx_bytes_total.add(read as u64);
            self.activity.note_read();
        }
        outcome
    }
}

impl AsyncWrite for DownstreamStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.count_written(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.count_written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => plain::poll_read(stream, cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => plain::poll_write(stream, cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => plain::poll_write_vectored(stream, cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Tcp(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// A byte stream of which some was read already.
pub(crate) struct ReadAhead<S> {
    read: Bytes,
    stream: S,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(read: Bytes, stream: S) -> Self {
        Self { read, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let taken = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..taken]);
        self.read.advance(taken);
        if self.read.is_empty() {
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
