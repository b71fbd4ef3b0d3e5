//! Bytes from socket to socket through a pipe, without a copy (`splice(2)`).

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Room of a pipe, and what the kernel gives without being asked. `fs.pipe-max-size` is 1 MiB by default, and
/// `fs.pipe-user-pages-soft` 64 MiB for all pipes of a user who is not root.
const PIPE_BYTES: usize = 512 * 1024;
const PIPE_BYTES_FALLBACKS: [usize; 2] = [PIPE_BYTES, 256 * 1024];
const PIPE_BYTES_DEFAULT: usize = 64 * 1024;

/// A pipe that bytes go through on their way.
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    bytes_max: usize,
    /// How many there are.
    made: Rc<Cell<usize>>,
}

impl Pipe {
    pub(super) fn new(made: &Rc<Cell<usize>>) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let granted =
            PIPE_BYTES_FALLBACKS.iter().find_map(|it| fcntl_setpipe_size(&write, *it).ok());
        made.set(made.get() + 1);
        let bytes_max = granted.unwrap_or(PIPE_BYTES_DEFAULT);
        Ok(Self { read, write, bytes_max, made: made.clone() })
    }

    /// Fills the pipe, which must be empty, with what has arrived; 0 when the sender has ended.
    pub(super) fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        from: &TcpStream,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(from.poll_read_ready(cx))?;
            // The pipe is empty: that it would block says that nothing has arrived.
            let moved = from.try_io(Interest::READABLE, || {
                Ok(splice(from, None, &self.write, None, self.bytes_max, FLAGS)?)
            });
            if !would_block(&moved) {
                return Poll::Ready(moved);
            }
        }
    }

    /// Passes on up to `bytes` of what the pipe holds.
    pub(super) fn poll_drain(
        &self,
        cx: &mut Context<'_>,
        to: &TcpStream,
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(cx))?;
            let moved = to.try_io(Interest::WRITABLE, || {
                Ok(splice(&self.read, None, to, None, bytes, FLAGS)?)
            });
            if !would_block(&moved) {
                return Poll::Ready(moved);
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.made.set(self.made.get() - 1);
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

fn would_block(moved: &io::Result<usize>) -> bool {
    matches!(moved, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
