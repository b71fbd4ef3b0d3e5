//! Sockets read and written by the system calls themselves.
//!
//! In the C library `recv` and `send` are points where a thread may be cancelled: in a process of several threads each
//! call costs two atomic exchanges more, and a proxied request is four calls.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use rustix::buffer::Buffer;
use rustix::io::{Errno, writev};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;

/// Most parts that the kernel takes at once (`UIO_MAXIOV`).
const PARTS_MAX: usize = 1024;

/// `AsyncRead::poll_read`.
pub(crate) fn poll_read(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        #[allow(unsafe_code)]
        // SAFETY: the bytes are written by `recv`, which never makes an initialized one uninitialized.
        let room = unsafe { buf.unfilled_mut() };
        let room_bytes = room.len();
        let read = match try_recv(stream, room, room_bytes, |(filled, _)| filled.len()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            read => read?,
        };
        #[allow(unsafe_code)]
        // SAFETY: `recv` has written so many bytes at the beginning of the room.
        unsafe {
            buf.assume_init(read);
        }
        buf.advance(read);
        return Poll::Ready(Ok(()));
    }
}

/// Reads what has arrived, for a caller who has been told that something may have; 0 when the sender has ended.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when nothing has.
pub(crate) fn try_read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let room_bytes = buffer.len();
    try_recv(stream, buffer, room_bytes, |read| read)
}

fn try_recv<B: Buffer<u8>>(
    stream: &TcpStream,
    room: B,
    room_bytes: usize,
    count: impl FnOnce(B::Output) -> usize,
) -> io::Result<usize> {
    try_io(stream, Interest::READABLE, || {
        let (output, _) = recv(stream, room, RecvFlags::empty())?;
        let read = count(output);
        // Less than there is room for: nothing more has arrived, and to ask would be in vain.
        Ok((read, read > 0 && read < room_bytes))
    })
}

/// `AsyncWrite::poll_write`.
pub(crate) fn poll_write(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    poll_sent(stream, cx, bytes.len(), || send(stream, bytes, SendFlags::NOSIGNAL))
}

/// `AsyncWrite::poll_write_vectored`.
pub(crate) fn poll_write_vectored(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    // One part costs the kernel a little less by itself.
    if let [one] = parts {
        return poll_write(stream, cx, one);
    }
    let parts = &parts[..parts.len().min(PARTS_MAX)];
    let bytes = parts.iter().map(|it| it.len()).sum();
    // The runtime of the language ignores the signal that a closed peer raises.
    poll_sent(stream, cx, bytes, || writev(stream, parts))
}

fn poll_sent(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    bytes: usize,
    sent: impl Fn() -> Result<usize, Errno>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let written = try_io(stream, Interest::WRITABLE, || {
            let written = sent()?;
            // Less than there was: there is no more room.
            Ok((written, written < bytes))
        });
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

/// `act` gives its result, and whether the socket is not ready any more after it.
fn try_io(
    stream: &TcpStream,
    interest: Interest,
    act: impl FnOnce() -> Result<(usize, bool), Errno>,
) -> io::Result<usize> {
    let mut moved = None;
    let outcome = stream.try_io(interest, || {
        let (bytes, is_exhausted) = act()?;
        moved = Some(bytes);
        // This is how the runtime is told to wait for the next event.
        if is_exhausted { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match moved {
        Some(bytes) => Ok(bytes),
        None => outcome.map(|()| 0),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        (TcpStream::from_std(stream).unwrap(), listener.accept().unwrap().0)
    }

    async fn read(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(room);
        let reading = poll_fn(|cx| poll_read(stream, cx, &mut buf));
        timeout(Duration::from_secs(10), reading).await.expect("something to read")?;
        Ok(buf.filled().len())
    }

    #[tokio::test]
    async fn bytes_come_in_pieces_of_the_room_and_then_the_end() {
        let (stream, mut peer) = pair();
        peer.write_all(b"abcdefg").unwrap();
        let mut room = [0; 4];
        assert_eq!(read(&stream, &mut room).await.unwrap(), 4);
        assert_eq!(&room, b"abcd");
        assert_eq!(read(&stream, &mut room).await.unwrap(), 3);
        assert_eq!(&room[..3], b"efg");
        // Nothing more has arrived, and the runtime knows it.
        assert_eq!(try_read(&stream, &mut room).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        peer.write_all(b"h").unwrap();
        assert_eq!(read(&stream, &mut room).await.unwrap(), 1);
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&stream, &mut room).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_short_read_before_the_end_does_not_hide_it() {
        let (stream, mut peer) = pair();
        peer.write_all(b"last").unwrap();
        drop(peer);
        let mut room = [0; 64];
        assert_eq!(read(&stream, &mut room).await.unwrap(), 4);
        assert_eq!(read(&stream, &mut room).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn more_than_the_kernel_takes_waits_for_the_reader() {
        let (stream, mut peer) = pair();
        let all = vec![b'x'; 32 << 20];
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut from = 0;
        while from < all.len() {
            let (one, two) = all[from..].split_at((all.len() - from) / 2);
            let parts = [IoSlice::new(one), IoSlice::new(two)];
            let writing = poll_fn(|cx| poll_write_vectored(&stream, cx, &parts));
            from += timeout(Duration::from_secs(10), writing).await.expect("room").unwrap();
        }
        drop(stream);
        assert!(reader.join().unwrap() == all);
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_an_error_and_no_signal() {
        let (stream, peer) = pair();
        drop(peer);
        let write =
            || timeout(Duration::from_secs(10), poll_fn(|cx| poll_write(&stream, cx, b"x")));
        let mut written = write().await.expect("an outcome");
        while written.is_ok() {
            written = write().await.expect("an outcome");
        }
        let kind = written.unwrap_err().kind();
        assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
    }
}
