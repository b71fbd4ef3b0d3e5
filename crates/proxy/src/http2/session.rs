use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use codec::http2::{
    Accepted, Code, Config, Connection, ConnectionError, Event, Role, StreamKey, Target,
};
use codec::message::{HeaderMap, Request};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use super::stream::{Stream, StreamFailure};
use crate::buffers;

/// While more than this waits to be written, nothing is read: who does not take answers gets no more requests in.
/// Beside the data that the codec frames at once (128 KiB) there is room for the heads of many answers.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Room for one read, and for one when the last one was full.
const SHORT_READ_BYTES: usize = 8 * 1024;
const LONG_READ_BYTES: usize = 64 * 1024;
/// Slices of one write.
const SLICES: usize = 16;

/// An HTTP/2 connection as its streams and the task that drives its socket share it.
pub(crate) struct Session {
    state: RefCell<State>,
    /// Where the nanoseconds of the codec begin.
    started: Instant,
}

struct State {
    codec: Connection,
    /// Holds no buffer while nothing is to be read out of it.
    input: BytesMut,
    /// The last read filled its buffer: there is more.
    is_flowing: bool,
    /// By the place of their keys; a stream that is over stays until its place is taken again.
    streams: Vec<Option<Rc<Stream>>>,
    asked: VecDeque<Asked>,
    rejected: Vec<Rejected>,
    /// Streams whose head waits to be written, and who wants to know when it was.
    unwritten: Vec<Rc<Stream>>,
    driver: Option<Waker>,
    /// The driver runs, or will run soon.
    is_driver_awake: bool,
    received_at: Instant,
    /// When the peer was asked for a sign of life that has not come.
    pinged_at: Option<Instant>,
    is_given_up: bool,
    is_abandoned: bool,
    is_ended: bool,
}

/// A request that came and nobody has taken yet.
pub(crate) struct Asked {
    pub(crate) stream: Rc<Stream>,
    pub(crate) request: Request<()>,
}

/// A request that is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rejected {
    Malformed(&'static str),
    TooLarge,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Protocol(#[from] ConnectionError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How far reading came.
enum Received {
    /// All that there was; the driver is woken when there is more.
    All,
    /// Too much waits to be written.
    NotRead,
    /// The peer says no more.
    End,
}

impl Session {
    pub(crate) fn new(role: Role, config: Config) -> Rc<Self> {
        let now = runtime::monotonic();
        Rc::new(Self {
            state: RefCell::new(State {
                codec: Connection::new(role, config),
                input: BytesMut::new(),
                is_flowing: false,
                streams: Vec::new(),
                asked: VecDeque::new(),
                rejected: Vec::new(),
                unwritten: Vec::new(),
                driver: None,
                is_driver_awake: false,
                received_at: now,
                pinged_at: None,
                is_given_up: false,
                is_abandoned: false,
                is_ended: false,
            }),
            started: now,
        })
    }

    fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Reads what there is, hands it out, and writes what there is to say. For the driver alone. Ready when the
    /// connection is over.
    pub(crate) fn poll_drive<S>(
        &self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<(), SessionError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.is_driver_awake = true;
        if !state.driver.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.driver = Some(cx.waker().clone());
        }
        if state.is_given_up {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        }
        let now = runtime::monotonic();
        let now_ns = self.nanos(now);
        let result = loop {
            let received = state.receive(cx, stream, now, now_ns);
            let written = state.write(cx, stream, now_ns);
            break match (received, written) {
                (Err(error), _) => Poll::Ready(Err(error)),
                // Whatever could not be written: the peer has left.
                (Ok(Received::End), _) => Poll::Ready(Ok(())),
                (Ok(_), Err(error)) => Poll::Ready(Err(error.into())),
                // Nobody would wake the driver for what there is to read.
                (Ok(Received::NotRead), Ok(())) if !state.is_full() => continue,
                (Ok(Received::All | Received::NotRead), Ok(())) => Poll::Pending,
            };
        };
        state.is_driver_awake = false;
        result
    }

    /// Writes what there is to say. For the driver alone. Ready when all is written.
    pub(crate) fn poll_flush<S>(&self, cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        let now_ns = self.nanos(runtime::monotonic());
        let mut state = self.state.borrow_mut();
        match state.write(cx, stream, now_ns) {
            Ok(()) if state.codec.output_len() == 0 => Poll::Ready(Ok(())),
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// A request that has come.
    pub(crate) fn next_asked(&self) -> Option<Asked> {
        self.state.borrow_mut().asked.pop_front()
    }

    /// Requests that are none and have come since the last call.
    pub(crate) fn take_rejected(&self) -> Vec<Rejected> {
        std::mem::take(&mut self.state.borrow_mut().rejected)
    }

    /// The connection is over: everybody who waits for something of it is told.
    pub(crate) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.is_ended = true;
        buffers::put(&mut state.input);
        for stream in std::mem::take(&mut state.streams).into_iter().flatten() {
            let is_unsent = state.codec.is_unsent(stream.key());
            stream.fail(StreamFailure::ConnectionEnded { is_unsent });
        }
        state.unwritten.clear();
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state.borrow().is_ended
    }

    /// The codec, for questions.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&Connection) -> R) -> R {
        question(&self.state.borrow().codec)
    }

    /// The codec, for commands; what they have to say is written soon.
    pub(crate) fn tell<R>(&self, command: impl FnOnce(&mut Connection) -> R) -> R {
        let mut state = self.state.borrow_mut();
        let result = command(&mut state.codec);
        state.wake_driver();
        result
    }

    /// Opens a stream with a request; `None` when no more are allowed.
    pub(crate) fn open(
        &self,
        target: Target<'_>,
        headers: &HeaderMap,
        end: bool,
    ) -> Option<Rc<Stream>> {
        let mut state = self.state.borrow_mut();
        if state.is_ended {
            return None;
        }
        let key = state.codec.send_request(target, headers, end)?;
        state.wake_driver();
        Some(state.add(key))
    }

    /// Sends data, and wakes the task of the stream when there is room for more.
    pub(crate) fn send_data(&self, stream: &Stream, data: &mut Bytes, end: bool) -> Accepted {
        if stream.has_failed() {
            return Accepted::Gone;
        }
        self.tell(|codec| codec.send_data(stream.key(), data, end))
    }

    /// Received data has been passed on.
    pub(super) fn release(&self, stream: &Stream, count: usize) {
        let mut state = self.state.borrow_mut();
        let before = state.codec.output_len();
        state.codec.release_capacity(stream.key(), count);
        if state.codec.output_len() > before {
            state.wake_driver();
        }
    }

    /// Wakes the stream's task when its head has been written. False when it has been.
    pub(super) fn wake_when_written(&self, stream: &Rc<Stream>) -> bool {
        let mut state = self.state.borrow_mut();
        let is_unsent = !state.is_ended && state.codec.is_unsent(stream.key());
        if is_unsent {
            state.unwritten.push(stream.clone());
        }
        is_unsent
    }

    /// The streams whose data has waited for a window since before `limit` are reset, and their tasks told.
    pub(crate) fn cut_stalled(&self, before: Instant) -> Vec<Rc<Stream>> {
        let before_ns = self.nanos(before);
        let mut cut = Vec::new();
        let mut state = self.state.borrow_mut();
        while let Some((key, since)) = state.codec.blocked_longest()
            && since <= before_ns
        {
            state.codec.reset(key, Code::CANCEL);
            if let Some(stream) = state.find(key) {
                stream.fail(StreamFailure::Stalled);
                cut.push(stream);
            }
        }
        if !cut.is_empty() {
            state.wake_driver();
        }
        cut
    }

    /// When bytes came last, and whether an answer to a ping is due since when.
    pub(crate) fn heard_at(&self) -> (Instant, Option<Instant>) {
        let state = self.state.borrow();
        (state.received_at, state.pinged_at)
    }

    /// Asks the peer for a sign of life.
    pub(crate) fn ping(&self, now: Instant) {
        self.state.borrow_mut().pinged_at = Some(now);
        self.tell(|codec| codec.ping(*b"alive?\0\0"));
    }

    /// The peer does not live: nothing that is under way will end.
    pub(crate) fn give_up(&self) {
        let mut state = self.state.borrow_mut();
        state.is_given_up = true;
        state.wake_driver();
    }

    /// Nobody will ask for anything any more: the driver shall end the connection when nothing is under way.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.borrow_mut();
        state.is_abandoned = true;
        state.wake_driver();
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.borrow().is_abandoned
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn rest(&self) {
        let mut state = self.state.borrow_mut();
        if state.codec.streams_open() == 0 {
            state.codec.rest();
            state.streams = Vec::new();
            state.asked = VecDeque::new();
        }
    }
}

impl State {
    fn wake_driver(&mut self) {
        if !self.is_driver_awake {
            self.is_driver_awake = true;
            if let Some(driver) = &self.driver {
                driver.wake_by_ref();
            }
        }
    }

    /// What is to be written must be written before more is read.
    fn is_full(&self) -> bool {
        self.codec.output_len() > OUTPUT_BYTES_MAX
    }

    fn receive<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        now: Instant,
        now_ns: u64,
    ) -> Result<Received, SessionError> {
        while !self.is_full() {
            if self.input.capacity() == 0 {
                self.input = buffers::take();
            }
            self.input.reserve(if self.is_flowing { LONG_READ_BYTES } else { SHORT_READ_BYTES });
            let spare = self.input.capacity() - self.input.len();
            match poll_read_buf(Pin::new(&mut *stream), cx, &mut self.input) {
                Poll::Pending => {
                    if self.input.is_empty() {
                        buffers::put(&mut self.input);
                    }
                    return Ok(Received::All);
                }
                Poll::Ready(Ok(0)) => return Ok(Received::End),
                Poll::Ready(Ok(count)) => {
                    self.is_flowing = count == spare;
                    self.received_at = now;
                    self.pinged_at = None;
                    let received = self.codec.receive(&mut self.input, now_ns);
                    self.dispatch();
                    received?;
                }
                Poll::Ready(Err(error)) => return Err(error.into()),
            }
        }
        Ok(Received::NotRead)
    }

    fn write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        now_ns: u64,
    ) -> io::Result<()> {
        let mut has_written = false;
        loop {
            self.codec.fill_output(now_ns);
            self.dispatch();
            if self.codec.output_len() == 0 {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.codec.output(&mut slices);
            let written = match &slices[..count] {
                [one] => Pin::new(&mut *stream).poll_write(cx, one),
                many => Pin::new(&mut *stream).poll_write_vectored(cx, many),
            };
            match written {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => self.codec.advance_output(count),
                Poll::Ready(Err(error)) => return Err(error),
            }
            has_written = true;
        }
        if has_written {
            for stream in self.unwritten.drain(..) {
                stream.wake_task();
            }
            if let Poll::Ready(Err(error)) = Pin::new(stream).poll_flush(cx) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Hands out what has come.
    fn dispatch(&mut self) {
        while let Some(event) = self.codec.next_event() {
            match event {
                Event::Request { stream, request, content_length, end } => {
                    let stream = self.add(stream);
                    stream.begin_content(content_length, end);
                    self.asked.push_back(Asked { stream, request });
                }
                Event::HeadTooLarge { stream } => {
                    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                    self.codec.send_response(stream, status, &HeaderMap::new(), true);
                    self.codec.stop_receiving(stream);
                    self.rejected.push(Rejected::TooLarge);
                }
                Event::Malformed(malformed) => {
                    self.rejected.push(Rejected::Malformed(malformed.reason));
                }
                Event::Informational { stream, response } => {
                    if let Some(stream) = self.find(stream) {
                        stream.put_interim(response);
                    }
                }
                Event::Response { stream, response, content_length, end } => {
                    if let Some(stream) = self.find(stream) {
                        stream.begin_content(content_length, end);
                        stream.put_head(response);
                    }
                }
                Event::Data { stream, data, end } => {
                    if let Some(stream) = self.find(stream) {
                        stream.put_data(data, end);
                    }
                }
                Event::Trailers { stream, trailers } => {
                    if let Some(stream) = self.find(stream) {
                        stream.put_trailers(trailers);
                    }
                }
                Event::Reset { stream, code, by_peer, is_unread } => {
                    if let Some(stream) = self.find(stream) {
                        stream.fail(StreamFailure::Reset { code, by_peer, is_unread });
                    }
                }
                Event::Room { stream } => {
                    if let Some(stream) = self.find(stream) {
                        stream.wake_task();
                    }
                }
                // Whoever looks for a connection asks the codec whether it takes streams.
                Event::GoAway { .. } | Event::SettingsAcked | Event::PingAcked { .. } => {}
            }
        }
    }

    fn add(&mut self, key: StreamKey) -> Rc<Stream> {
        let stream = Rc::new(Stream::new(key));
        if self.streams.len() <= key.slot() {
            self.streams.resize_with(key.slot() + 1, || None);
        }
        self.streams[key.slot()] = Some(stream.clone());
        stream
    }

    fn find(&self, key: StreamKey) -> Option<Rc<Stream>> {
        self.streams.get(key.slot())?.as_ref().filter(|it| it.key() == key).cloned()
    }
}
