//! Bytes in both directions until both have ended.
//!
//! Small exchanges go through a buffer of the worker's, which is held only while its bytes cannot be written. Once a
//! read fills the buffer and both sides are plain TCP, a direction goes through a pipe, until little comes again.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep};

use super::pools::Pools;
use super::splice::Pipe;
use crate::incoming::Upgraded;
use crate::plain;
use crate::stream::Transport;
use crate::upstream::UpstreamStream;

/// What one direction moves before the other connections of the worker have their turn: some 0.2 ms of copying.
const BYTES_PER_TURN_MAX: u64 = 1024 * 1024;
/// A direction that moves less at a time goes through a buffer again: a pipe costs one more system call.
const BULK_BYTES_MIN: usize = 16 * 1024;

/// One side of a relay.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// The socket, when bytes go through it as they are.
    fn socket(&self) -> Option<&TcpStream>;
}

impl ByteStream for TcpStream {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl ByteStream for Transport {
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Transport::Tcp(stream) => Some(stream),
            Transport::Tls(_) => None,
        }
    }
}

impl ByteStream for UpstreamStream {
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            UpstreamStream::Tcp(stream) => Some(stream),
            UpstreamStream::Tls(_) => None,
        }
    }
}

impl ByteStream for Upgraded {
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

impl<S: ByteStream> ByteStream for &mut S {
    fn socket(&self) -> Option<&TcpStream> {
        (**self).socket()
    }
}

/// Where bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    ToEndpoint,
    ToClient,
}

/// How a relay has ended.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// Bytes of the client's that the endpoint was sent.
    pub(crate) to_endpoint: u64,
    /// Bytes of the endpoint's that the client was sent.
    pub(crate) to_client: u64,
    pub(crate) ended: Ended,
}

/// Why a relay has ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Both sides have said all.
    Whole,
    /// No byte moved for too long.
    Idle,
    /// A side broke off.
    Broken(io::Error),
}

/// Passes bytes on in both directions; the end of one is passed on as such. `Bytes` are what was read of a side already.
/// Ends when nothing has moved for `idle_timeout`, which does not hold when it is zero. `moved` is told of all bytes
/// when they have been written.
pub(crate) async fn relay<A: ByteStream, B: ByteStream>(
    pools: &Pools,
    (mut client, of_client): (A, Bytes),
    (mut endpoint, of_endpoint): (B, Bytes),
    idle_timeout: Duration,
    moved: impl Fn(Way, u64),
) -> Relayed {
    let mut up = Direction::new(of_client);
    let mut down = Direction::new(of_endpoint);
    let mut idle = Idle::new(idle_timeout);
    let ended = poll_fn(|cx| {
        let before = (up.bytes, down.bytes);
        let up_ended = up.poll(cx, pools, &mut client, &mut endpoint);
        let down_ended = down.poll(cx, pools, &mut endpoint, &mut client);
        let now = (up.bytes, down.bytes);
        if now.0 > before.0 {
            moved(Way::ToEndpoint, now.0 - before.0);
        }
        if now.1 > before.1 {
            moved(Way::ToClient, now.1 - before.1);
        }
        match (up_ended, down_ended) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => {
                Poll::Ready(Ended::Broken(error))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ended::Whole),
            _ => idle.poll(cx, now != before).map(|()| Ended::Idle),
        }
    })
    .await;
    Relayed { to_endpoint: up.bytes, to_client: down.bytes, ended }
}

/// How often in a limit it is looked whether bytes have moved: so much later than its limit an idle relay may end.
const LOOKS_PER_LIMIT: u32 = 4;

/// The time since a byte moved last, as far as is known without looking at the clock each time.
struct Idle {
    limit: Duration,
    /// When it was seen last that bytes had moved.
    since: Instant,
    /// Bytes have moved since the last look.
    has_moved: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// The timer wakes the task when it fires.
    is_armed: bool,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        let timer = (!limit.is_zero()).then(|| Box::pin(sleep(limit / LOOKS_PER_LIMIT)));
        let since = runtime::monotonic();
        Self { limit, since, has_moved: false, timer, is_armed: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>, has_moved: bool) -> Poll<()> {
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        self.has_moved |= has_moved;
        if self.is_armed && !timer.is_elapsed() {
            return Poll::Pending;
        }
        self.is_armed = true;
        loop {
            // However much the relay has done in its turn: a timer that is not asked wakes nobody.
            ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
            let now = runtime::monotonic();
            if std::mem::take(&mut self.has_moved) {
                self.since = now;
            }
            let ends = self.since + self.limit;
            if ends <= now {
                return Poll::Ready(());
            }
            timer.as_mut().reset(ends.min(now + self.limit / LOOKS_PER_LIMIT).into());
        }
    }
}

/// What a direction holds of bytes that were read and not written.
enum Held {
    Nothing,
    /// Read before the relay began.
    ReadAhead(Bytes),
    Buffer {
        buffer: Box<[u8]>,
        from: usize,
        to: usize,
    },
    Pipe {
        pipe: Pipe,
        bytes: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The sender has ended; the receiver is to be told.
    Ending,
    Ended,
}

struct Direction {
    held: Held,
    state: State,
    is_bulk: bool,
    /// Written bytes may still be in a buffer of the receiving side's.
    is_unflushed: bool,
    bytes: u64,
}

impl Direction {
    fn new(read_ahead: Bytes) -> Self {
        let held = if read_ahead.is_empty() { Held::Nothing } else { Held::ReadAhead(read_ahead) };
        Self { held, state: State::Open, is_bulk: false, is_unflushed: false, bytes: 0 }
    }

    /// Moves what can be moved. Ready when all has been passed on, with its end.
    fn poll<S: ByteStream, D: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        pools: &Pools,
        source: &mut S,
        sink: &mut D,
    ) -> Poll<io::Result<()>> {
        let turn_ends = self.bytes + BYTES_PER_TURN_MAX;
        loop {
            ready!(self.poll_write(cx, pools, sink))?;
            match self.state {
                State::Open => {}
                State::Ending => {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
                    self.state = State::Ended;
                    return Poll::Ready(Ok(()));
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
            if self.bytes >= turn_ends {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_read(cx, pools, source, sink) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.is_unflushed {
                        ready!(Pin::new(&mut *sink).poll_flush(cx))?;
                        self.is_unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Ready when nothing is held any more.
    fn poll_write<D: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        pools: &Pools,
        sink: &mut D,
    ) -> Poll<io::Result<()>> {
        loop {
            let written = match &mut self.held {
                Held::Nothing => return Poll::Ready(Ok(())),
                Held::ReadAhead(bytes) => ready!(Pin::new(&mut *sink).poll_write(cx, bytes))?,
                Held::Buffer { buffer, from, to } => {
                    ready!(Pin::new(&mut *sink).poll_write(cx, &buffer[*from..*to]))?
                }
                Held::Pipe { pipe, bytes } => {
                    let socket = sink.socket().expect("a pipe is filled for a socket only");
                    ready!(pipe.poll_drain(cx, socket, *bytes))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes += written as u64;
            self.is_unflushed = sink.socket().is_none();
            self.release(written, pools);
        }
    }

    /// `written` bytes of what is held are done with.
    fn release(&mut self, written: usize, pools: &Pools) {
        self.held = match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::ReadAhead(mut bytes) if written < bytes.len() => {
                bytes.advance(written);
                Held::ReadAhead(bytes)
            }
            Held::Buffer { buffer, from, to } if from + written < to => {
                Held::Buffer { buffer, from: from + written, to }
            }
            Held::Pipe { pipe, bytes } if written < bytes => {
                Held::Pipe { pipe, bytes: bytes - written }
            }
            Held::Buffer { buffer, .. } => {
                pools.give_buffer(buffer);
                Held::Nothing
            }
            Held::Pipe { pipe, .. } => {
                pools.give_pipe(pipe);
                Held::Nothing
            }
            Held::ReadAhead(_) | Held::Nothing => Held::Nothing,
        };
    }

    /// Ready when something is held, or the sender has ended.
    fn poll_read<S: ByteStream, D: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        pools: &Pools,
        source: &mut S,
        sink: &D,
    ) -> Poll<io::Result<()>> {
        if self.is_bulk
            && let (Some(from), Some(_)) = (source.socket(), sink.socket())
            && let Some(pipe) = pools.pipe()
        {
            return self.poll_fill(cx, pools, from, pipe);
        }
        let (buffer, read) = match source.socket() {
            Some(socket) => loop {
                // A buffer is fetched when there is something to put into it.
                ready!(socket.poll_read_ready(cx))?;
                let mut buffer = pools.buffer();
                match plain::try_read(socket, &mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        pools.give_buffer(buffer);
                    }
                    read => break (buffer, Poll::Ready(read)),
                }
            },
            None => {
                let mut buffer = pools.buffer();
                let mut into = ReadBuf::new(&mut buffer);
                let outcome = Pin::new(source).poll_read(cx, &mut into);
                let to = into.filled().len();
                (buffer, outcome.map_ok(|()| to))
            }
        };
        if let Poll::Ready(Ok(to @ 1..)) = read {
            self.is_bulk = to == buffer.len();
            self.held = Held::Buffer { buffer, from: 0, to };
            return Poll::Ready(Ok(()));
        }
        pools.give_buffer(buffer);
        if let Poll::Ready(Ok(0)) = read {
            self.state = State::Ending;
        }
        read.map_ok(|_| ())
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        pools: &Pools,
        from: &TcpStream,
        pipe: Pipe,
    ) -> Poll<io::Result<()>> {
        match pipe.poll_fill(cx, from) {
            Poll::Ready(Ok(0)) => {
                pools.give_pipe(pipe);
                self.state = State::Ending;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(bytes)) => {
                self.is_bulk = bytes >= BULK_BYTES_MIN;
                self.held = Held::Pipe { pipe, bytes };
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                pools.give_pipe(pipe);
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
