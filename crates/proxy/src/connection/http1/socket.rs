//! The bytes of a client connection that speaks HTTP/1, shared by the task that drives it and by whoever reads the body
//! of its request.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use codec::http1::{
    self, BodyDecoder, BodyError, BodyLength, BodyPart, Framing, HeadDecoder, HeadError, Limits,
    RequestHead,
};
use codec::message::HeaderMap;
use http::{StatusCode, Version};
use http_body::SizeHint;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use crate::buffers;
use crate::connection::Client;
use crate::frame::Frame;
use crate::incoming::{Incoming, IncomingError};
use crate::output::Output;
use crate::stats::{HttpCounters, Shard};
use crate::stream::{DownstreamStream, Transport};

/// Room for one read. What is read ahead of what is asked for is at most one such read.
const READ_BYTES: usize = 8 * 1024;
/// And for one of a body that goes on for longer.
const LONG_READ_BYTES: usize = 64 * 1024;

/// A client connection's bytes. Nothing is borrowed across a call of anybody else's.
pub(crate) struct Socket {
    counters: Shard<HttpCounters>,
    limits: Limits,
    inner: RefCell<Inner>,
}

struct Inner {
    /// `None` once it is closed or a tunnel.
    transport: Option<Transport>,
    /// Holds no buffer while nothing is to be read out of it.
    input: BytesMut,
    output: Output,
    head: HeadDecoder,
    /// Of the request that came last, the `requests`th.
    body: BodyDecoder,
    requests: u32,
    /// Somebody reads the body.
    is_body_read: bool,
    /// The client waits to be asked for the body.
    owes_continue: bool,
    /// The client understands heads before the last one, and that has not been sent.
    takes_interim: bool,
    /// The client sends nothing more.
    is_read_closed: bool,
    /// The last read filled its buffer: there is more.
    is_flowing: bool,
    has_moved: bool,
    is_write_blocked: bool,
    /// What is to be written is the last.
    is_ending: bool,
}

impl Socket {
    pub(crate) fn new(stream: DownstreamStream, limits: Limits) -> Self {
        let (counters, input, transport) = stream.into_parts();
        let inner = Inner {
            transport: Some(transport),
            input,
            output: Output::default(),
            head: HeadDecoder::default(),
            body: BodyDecoder::new(BodyLength::None, limits),
            requests: 0,
            is_body_read: false,
            owes_continue: false,
            takes_interim: false,
            is_read_closed: false,
            is_flowing: false,
            has_moved: true,
            is_write_blocked: false,
            is_ending: false,
        };
        Self { counters, limits, inner: RefCell::new(inner) }
    }

    /// The next request; `None` when the client has gone, or asks for nothing more.
    pub(super) fn poll_request(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<RequestHead>, HeadError>> {
        let inner = &mut *self.inner.borrow_mut();
        loop {
            if !inner.input.is_empty() {
                let (head, input) = (&mut inner.head, &mut inner.input);
                match head.request(input, self.limits, buffers::take_map) {
                    Ok(Some(head)) => {
                        inner.begin(&head, self.limits);
                        return Poll::Ready(Ok(Some(head)));
                    }
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            match ready!(self.poll_fill(inner, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Ok(None)),
                Ok(_) => {}
            }
        }
    }

    /// True when a part of a head has come.
    pub(super) fn has_input(&self) -> bool {
        !self.inner.borrow().input.is_empty()
    }

    /// Ready when the client has gone. One that only says that it sends nothing more is still there to be answered.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.inner.borrow_mut();
        // What it has sent already would have to be read first, by others.
        if !inner.body.is_ended() || !inner.input.is_empty() || inner.is_read_closed {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(inner, cx)) {
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        }
    }

    /// The body of the request that came last.
    pub(super) fn body(&self, client: &Rc<Client>) -> Incoming {
        let mut inner = self.inner.borrow_mut();
        if inner.body.is_ended() {
            return Incoming::Empty;
        }
        inner.is_body_read = true;
        Incoming::Http1Request(RequestReader { client: client.clone(), of: inner.requests })
    }

    /// Reads the body without keeping it, up to so many bytes. Ready with whether it has ended.
    pub(super) fn poll_skip_body(
        &self,
        cx: &mut Context<'_>,
        bytes_left: &mut usize,
    ) -> Poll<bool> {
        let inner = &mut *self.inner.borrow_mut();
        inner.is_body_read = false;
        loop {
            match inner.body.decode(&mut inner.input) {
                Ok(Some(BodyPart::Data(data))) => match bytes_left.checked_sub(data.len()) {
                    Some(rest) => *bytes_left = rest,
                    None => return Poll::Ready(false),
                },
                Ok(Some(BodyPart::Trailers(_))) => {}
                Ok(None) if inner.body.is_ended() => return Poll::Ready(true),
                Ok(None) => match ready!(self.poll_fill(inner, cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(false),
                    Ok(_) => {}
                },
                Err(_) => return Poll::Ready(false),
            }
        }
    }

    /// Reads whatever comes without keeping it, up to so many bytes. Ready when there is nothing more to read.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>, bytes_left: &mut usize) -> Poll<()> {
        let inner = &mut *self.inner.borrow_mut();
        loop {
            let count = inner.input.len();
            inner.input.clear();
            match bytes_left.checked_sub(count) {
                Some(rest) => *bytes_left = rest,
                None => return Poll::Ready(()),
            }
            match ready!(self.poll_fill(inner, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }

    /// True when another request can be read after this one: its body has ended, or will with some help.
    /// `bytes_max` is what may be read of a body that nobody wants.
    pub(super) fn can_go_on(&self, bytes_max: u64) -> bool {
        let inner = self.inner.borrow();
        if inner.is_read_closed && inner.input.is_empty() || inner.body.is_failed() {
            return false;
        }
        inner.body.is_ended()
            || inner.is_body_read
            // Nobody knows whether it comes when it is not asked for.
            || !inner.owes_continue && inner.body.bytes_left().is_none_or(|left| left <= bytes_max)
    }

    pub(super) fn is_body_ended(&self) -> bool {
        self.inner.borrow().body.is_ended()
    }

    /// True when the output is to be flushed before more is written to it.
    pub(super) fn is_full(&self) -> bool {
        self.inner.borrow().output.is_full()
    }

    /// Adds to what is sent to the client. Not while it [`Socket::is_full`].
    pub(super) fn write(&self, write: impl FnOnce(&mut Output)) {
        write(&mut self.inner.borrow_mut().output);
    }

    /// From here on the response is written: no head comes before it any more.
    pub(super) fn begin_response(&self) {
        self.inner.borrow_mut().takes_interim = false;
    }

    /// Writes what there is to write.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.output.is_empty() && !inner.is_ending {
            return Poll::Ready(Ok(()));
        }
        let Some(transport) = &mut inner.transport else { return Poll::Ready(Err(closed())) };
        let (has_moved, counters) = (&mut inner.has_moved, &self.counters);
        let mut flushed = inner.output.poll_write(cx, transport, |count| {
            *has_moved = true;
            counters.downstream_cx_tx_bytes_total.add(count as u64);
        });
        if matches!(flushed, Poll::Ready(Ok(()))) {
            if inner.is_ending {
                transport.end();
            }
            flushed = Pin::new(transport).poll_flush(cx);
        }
        inner.is_write_blocked = flushed.is_pending();
        flushed
    }

    /// Nothing will be written any more: with what there is to write goes that it is the last.
    pub(super) fn begin_end(&self) {
        let inner = &mut *self.inner.borrow_mut();
        if let Some(transport) = inner.transport.as_mut().filter(|_| !inner.is_ending) {
            transport.gather_end();
        }
        inner.is_ending = true;
    }

    /// Says that nothing more comes.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner.borrow_mut().transport {
            Some(transport) => Pin::new(transport).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Closes the connection, so that the client takes what it has got for incomplete whatever it has got.
    pub(super) fn reset(&self) {
        if let Some(transport) = &self.inner.borrow().transport {
            // Closed all the same when it cannot be set.
            let _ = transport.reset_on_close();
        }
        self.close();
    }

    /// Closes the connection. Who still reads a body of it sees it broken off.
    pub(super) fn close(&self) {
        drop(self.take());
    }

    /// The connection for other uses than HTTP.
    pub(super) fn take(&self) -> Option<DownstreamStream> {
        let inner = &mut *self.inner.borrow_mut();
        inner.output.clear();
        let transport = inner.transport.take();
        let input = std::mem::take(&mut inner.input);
        transport.map(|it| DownstreamStream::with_read_ahead(it, input, self.counters.clone()))
    }

    /// True when bytes moved in either direction since the last call.
    pub(super) fn take_moved(&self) -> bool {
        std::mem::take(&mut self.inner.borrow_mut().has_moved)
    }

    /// True when the client does not take what is sent to it.
    pub(super) fn is_write_blocked(&self) -> bool {
        self.inner.borrow().is_write_blocked
    }

    /// Adds a head that comes before the last one, if the client understands it. One that would wait for the client to
    /// take others is left out.
    pub(crate) fn pass_on(&self, status: StatusCode, headers: &HeaderMap) {
        let inner = &mut *self.inner.borrow_mut();
        if !inner.takes_interim || inner.output.is_full() || status == StatusCode::CONTINUE {
            return;
        }
        let (out, framing) = (inner.output.head(), Framing::Silent);
        http1::response_head(out, Version::HTTP_11, status, headers, framing, None);
    }

    fn poll_body(
        &self,
        of: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, IncomingError>>> {
        let inner = &mut *self.inner.borrow_mut();
        if of != inner.requests || !inner.is_body_read {
            return Poll::Ready(Some(Err(BodyError::Incomplete.into())));
        }
        loop {
            match inner.body.decode(&mut inner.input) {
                Ok(Some(BodyPart::Data(data))) => return Poll::Ready(Some(Ok(Frame::Data(data)))),
                Ok(Some(BodyPart::Trailers(them))) => {
                    return Poll::Ready(Some(Ok(Frame::Trailers(them))));
                }
                Ok(None) if inner.body.is_ended() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            if inner.takes_interim && std::mem::take(&mut inner.owes_continue) {
                // Written by who drives the connection, when this returns.
                inner.output.head().put_slice(http1::CONTINUE);
            }
            match ready!(self.poll_fill(inner, cx)) {
                Ok(0) => {
                    let ended = inner.body.end_of_stream();
                    return Poll::Ready(ended.err().map(|error| Err(error.into())));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn poll_fill(&self, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if inner.is_read_closed {
            return Poll::Ready(Ok(0));
        }
        let Some(transport) = &mut inner.transport else { return Poll::Ready(Err(closed())) };
        if inner.input.capacity() == 0 {
            // A buffer is fetched when there is something to put into it.
            ready!(transport.poll_read_ready(cx))?;
            inner.input = buffers::take();
        }
        let is_long = inner.is_flowing
            || inner.body.bytes_left().is_some_and(|left| left > buffers::BUFFER_BYTES as u64);
        inner.input.reserve(if is_long { LONG_READ_BYTES } else { READ_BYTES });
        let spare = inner.input.capacity() - inner.input.len();
        let read = poll_read_buf(Pin::new(transport), cx, &mut inner.input);
        match &read {
            Poll::Ready(Ok(count)) => {
                inner.is_read_closed = *count == 0;
                inner.is_flowing = *count == spare;
                inner.has_moved = true;
                self.counters.downstream_cx_rx_bytes_total.add(*count as u64);
            }
            Poll::Ready(Err(_)) => inner.is_read_closed = true,
            Poll::Pending if inner.input.is_empty() => buffers::put(&mut inner.input),
            Poll::Pending => {}
        }
        read
    }
}

impl Inner {
    fn begin(&mut self, head: &RequestHead, limits: Limits) {
        self.requests = self.requests.wrapping_add(1);
        self.body = BodyDecoder::new(head.body, limits);
        self.is_body_read = false;
        self.has_moved = true;
        self.owes_continue = head.expects_continue && !self.body.is_ended();
        self.takes_interim = head.version == Version::HTTP_11;
        if self.input.is_empty() {
            buffers::put(&mut self.input);
        }
    }
}

fn closed() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// The body of a request, read off the connection that it comes on.
pub(crate) struct RequestReader {
    client: Rc<Client>,
    /// Which request: there may be another one by now.
    of: u32,
}

impl RequestReader {
    pub(crate) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, IncomingError>>> {
        self.socket().poll_body(self.of, cx)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let inner = self.socket().inner.borrow();
        inner.requests == self.of && inner.body.is_ended()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let inner = self.socket().inner.borrow();
        let left = inner.body.bytes_left().filter(|_| inner.requests == self.of);
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn socket(&self) -> &Socket {
        self.client.http1.as_ref().expect("a body of HTTP/1 comes on a connection of HTTP/1")
    }
}

impl Drop for RequestReader {
    fn drop(&mut self) {
        let mut inner = self.socket().inner.borrow_mut();
        if inner.requests == self.of {
            inner.is_body_read = false;
        }
    }
}
