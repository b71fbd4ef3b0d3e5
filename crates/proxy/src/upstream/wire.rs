use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{UpstreamStream, UpstreamVersion};
use crate::stats::{ClusterCounters, Shard};

/// A connection to an endpoint that counts its bytes.
pub(crate) struct Wire {
    stream: UpstreamStream,
    counters: Shard<ClusterCounters>,
    greeting: Greeting,
}

/// What an endpoint that should speak HTTP/2 says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Greeted {
    /// Nothing yet.
    Silent,
    /// Something else than HTTP/2.
    Otherwise,
    /// `SETTINGS`, which is how every HTTP/2 server begins (RFC 9113, section 3.4).
    Http2,
}

/// The first bytes that a connection brought.
#[derive(Clone, Default)]
pub(super) struct Greeting(Rc<Cell<usize>>);

impl Greeting {
    /// The position of the type in a frame's head, and the type of `SETTINGS` (RFC 9113, sections 4.1 and 6.5).
    const TYPE_AT: usize = 3;
    const SETTINGS: u8 = 4;
    /// Stands for "the type was seen and is `SETTINGS`"; smaller numbers count the bytes before it.
    const IS_HTTP2: usize = usize::MAX;

    pub(super) fn greeted(&self) -> Greeted {
        match self.0.get() {
            0 => Greeted::Silent,
            Self::IS_HTTP2 => Greeted::Http2,
            _ => Greeted::Otherwise,
        }
    }

    fn note(&self, bytes: &[u8]) {
        let before = self.0.get();
        if before > Self::TYPE_AT {
            return;
        }
        let is_http2 = bytes.get(Self::TYPE_AT - before) == Some(&Self::SETTINGS);
        let now = if is_http2 { Self::IS_HTTP2 } else { before + bytes.len() };
        self.0.set(now);
    }
}

impl Wire {
    pub(crate) fn new(stream: UpstreamStream, counters: Shard<ClusterCounters>) -> Self {
        Self { stream, counters, greeting: Greeting::default() }
    }

    /// What was agreed on through ALPN; `None` without TLS.
    pub(super) fn agreed(&self) -> Option<UpstreamVersion> {
        self.stream.agreed()
    }

    /// Ready when a read may bring something: what TLS has decrypted already, or what has arrived.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            UpstreamStream::Tcp(stream) => stream.poll_read_ready(cx),
            UpstreamStream::Tls(stream) => {
                let (socket, connection) = stream.get_ref();
                if !connection.wants_read() {
                    return Poll::Ready(Ok(()));
                }
                socket.poll_read_ready(cx)
            }
        }
    }

    pub(super) fn greeting(&self) -> Greeting {
        self.greeting.clone()
    }

    fn count_written(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = &outcome {
            self.counters.upstream_cx_tx_bytes_total.add(*written as u64);
        }
        outcome
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.counters.upstream_cx_rx_bytes_total.add(read as u64);
            self.greeting.note(&buf.filled()[before..]);
        }
        outcome
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count_written(outcome)
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
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count_written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
