//! The socket under a client's TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::plain;

/// What is held back at most: a server's messages of a handshake with a usual chain of certificates. What does not fit is
/// written at once.
const HELD_BYTES_MAX: usize = 8 * 1024;

/// A socket that can hold back what is written, so that messages of TLS go out together with others: each write of its
/// own is a segment of its own, and costs both sides more than its encryption. Holds no buffer while nothing is held.
///
/// Who has written must flush: what was taken may still be here.
pub(crate) struct TlsSocket {
    stream: TcpStream,
    held: Vec<u8>,
    /// Written bytes wait, also when they are flushed, until the peer is waited for.
    is_gathering: bool,
}

impl TlsSocket {
    /// It gathers until [`TlsSocket::stop_gathering`].
    pub(crate) fn gathering(stream: TcpStream) -> Self {
        Self { stream, held: Vec::new(), is_gathering: true }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Written bytes are still here, and go out with the next read.
    pub(crate) fn waits_for_a_read(&self) -> bool {
        self.is_gathering && !self.held.is_empty()
    }

    /// From here on written bytes wait until the peer is waited for.
    pub(crate) fn gather(&mut self) {
        self.is_gathering = true;
    }

    /// From here on what is held goes out with the next bytes, or when it is flushed.
    pub(crate) fn stop_gathering(&mut self) {
        self.is_gathering = false;
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(plain::poll_write(&self.stream, cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..written);
        }
        self.held = Vec::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_gathering {
            // The peer may be waiting for it.
            ready!(self.poll_held(cx))?;
        }
        plain::poll_read(&self.stream, cx, buf)
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_gathering || !self.held.is_empty() {
            let count = bufs.iter().map(|it| it.len()).sum::<usize>();
            if self.held.len() + count <= HELD_BYTES_MAX {
                bufs.iter().for_each(|it| self.held.extend_from_slice(it));
                // What cannot be written yet is written when it is flushed.
                if !self.is_gathering
                    && let Poll::Ready(Err(error)) = self.poll_held(cx)
                {
                    return Poll::Ready(Err(error));
                }
                return Poll::Ready(Ok(count));
            }
            ready!(self.poll_held(cx))?;
        }
        plain::poll_write_vectored(&self.stream, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_gathering { Poll::Ready(Ok(())) } else { self.poll_held(cx) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TlsSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (TlsSocket::gathering(stream), client)
    }

    fn is_silent(client: &TcpStream) -> bool {
        let nothing = client.try_read(&mut [0; 1]);
        nothing.is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock)
    }

    #[tokio::test]
    async fn what_is_gathered_goes_out_with_the_bytes_after_it() {
        let (mut socket, mut client) = pair().await;
        socket.write_all(b"ticket ").await.unwrap();
        socket.flush().await.unwrap();
        assert!(is_silent(&client));
        socket.stop_gathering();
        socket.write_all(b"answer").await.unwrap();
        let mut read = [0; 64];
        let count = client.read(&mut read).await.unwrap();
        assert_eq!(&read[..count], b"ticket answer");
        assert_eq!(socket.held.capacity(), 0);
    }

    #[tokio::test]
    async fn what_is_gathered_goes_out_before_the_peer_is_waited_for() {
        let (mut socket, mut client) = pair().await;
        socket.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        let talk = async {
            client.read_exact(&mut read).await.unwrap();
            client.write_all(b"x").await.unwrap();
        };
        let (byte, ()) = tokio::join!(socket.read_u8(), talk);
        assert_eq!((byte.unwrap(), &read), (b'x', b"hello"));
    }

    #[tokio::test]
    async fn more_than_may_be_held_is_written_in_order() {
        let (mut socket, mut client) = pair().await;
        let large = vec![b'x'; HELD_BYTES_MAX];
        socket.write_all(b"first ").await.unwrap();
        socket.write_all(&large).await.unwrap();
        socket.write_all(b" last").await.unwrap();
        socket.shutdown().await.unwrap();
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [b"first ", large.as_slice(), b" last"].concat());
    }
}
