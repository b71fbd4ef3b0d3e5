//! Bytes on their way out of an HTTP/1 connection: small ones gathered, large ones as they are.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use codec::http1;
use codec::message::HeaderMap;
use tokio::io::AsyncWrite;

use crate::buffers;

/// Parts of a body up to this size are copied behind what is to be written already; for larger ones a vectored write is
/// cheaper than the copy.
const COPIED_BYTES_MAX: usize = 8 * 1024;
/// What is gathered before it is written, at most; one part or head may come on top.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
/// The end of a chunk and of the body.
const ENDS: &[u8] = b"\r\n0\r\n\r\n";

/// Bytes to be written. Holds no buffer while there are none.
#[derive(Default)]
pub(crate) struct Output {
    gathered: BytesMut,
    /// Comes after `gathered`.
    large: Bytes,
    /// Comes after `large`.
    tail: &'static [u8],
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.large.is_empty() && self.tail.is_empty()
    }

    /// True when it is to be written before more is added.
    pub(crate) fn is_full(&self) -> bool {
        !self.large.is_empty() || self.gathered.len() >= GATHERED_BYTES_MAX
    }

    /// Where heads are written to. Not while it [`Output::is_full`].
    pub(crate) fn head(&mut self) -> &mut BytesMut {
        debug_assert!(self.large.is_empty(), "what is large comes last");
        if self.gathered.capacity() == 0 {
            self.gathered = buffers::take();
        }
        self.gathered.put_slice(std::mem::take(&mut self.tail));
        &mut self.gathered
    }

    /// Adds a part of a body. Not while it [`Output::is_full`].
    pub(crate) fn push(&mut self, part: Bytes, is_chunked: bool) {
        // An empty chunk would be the last one.
        if part.is_empty() {
            return;
        }
        let gathered = self.head();
        if is_chunked {
            http1::chunk_size(gathered, part.len());
        }
        let tail = if is_chunked { http1::CHUNK_END } else { b"" };
        if part.len() > COPIED_BYTES_MAX {
            self.large = part;
            self.tail = tail;
        } else {
            gathered.put_slice(&part);
            gathered.put_slice(tail);
        }
    }

    /// Adds the end of a chunked body.
    pub(crate) fn push_last_chunk(&mut self) {
        if self.large.is_empty() {
            self.head().put_slice(http1::LAST_CHUNK);
        } else {
            self.tail = ENDS;
        }
    }

    /// Adds the end of a chunked body with trailers. Not while it [`Output::is_full`].
    pub(crate) fn push_trailers(&mut self, trailers: &HeaderMap) {
        http1::trailers(self.head(), trailers);
    }

    /// Writes all of it. `written` is told of each write.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        mut written: impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let stream = Pin::new(&mut *stream);
            let count = if self.large.is_empty() && self.tail.is_empty() {
                ready!(stream.poll_write(cx, &self.gathered))?
            } else {
                let parts = [&self.gathered[..], &self.large[..], self.tail].map(IoSlice::new);
                ready!(stream.poll_write_vectored(cx, &parts))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            written(count);
            self.advance(count);
        }
        buffers::put(&mut self.gathered);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, count: usize) {
        let of_gathered = count.min(self.gathered.len());
        self.gathered.advance(of_gathered);
        let of_large = (count - of_gathered).min(self.large.len());
        self.large.advance(of_large);
        if self.large.is_empty() {
            self.large = Bytes::new();
        }
        self.tail = &self.tail[count - of_gathered - of_large..];
    }

    /// Forgets what was not written.
    pub(crate) fn clear(&mut self) {
        buffers::put(&mut self.gathered);
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time.
    struct Narrow(Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = &bytes[..bytes.len().min(7)];
            self.0.extend_from_slice(taken);
            Poll::Ready(Ok(taken.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn bytes_come_out_in_order_however_they_are_taken() {
        let large = Bytes::from(vec![b'x'; COPIED_BYTES_MAX + 1]);
        let mut output = Output::default();
        let mut stream = Narrow(Vec::new());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut count = 0;
        output.head().put_slice(b"head ");
        output.push("small".into(), true);
        output.push(large.clone(), true);
        assert!(output.is_full());
        assert!(output.poll_write(&mut cx, &mut stream, |it| count += it).is_ready());
        output.push("more".into(), true);
        output.push(Bytes::new(), true);
        output.push(large.clone(), true);
        output.push_last_chunk();
        assert!(output.poll_write(&mut cx, &mut stream, |it| count += it).is_ready());
        let large = String::from_utf8(large.to_vec()).unwrap();
        let expected = format!(
            "head 5\r\nsmall\r\n2001\r\n{large}\r\n4\r\nmore\r\n2001\r\n{large}\r\n0\r\n\r\n"
        );
        assert_eq!(String::from_utf8(stream.0).unwrap(), expected);
        assert_eq!(count, expected.len());
        assert!(output.is_empty());
    }
}
