//! One request and its response over a connection to an endpoint.
//!
//! While the body of the request is on its way, the response is read too: an endpoint may answer early, and go on
//! taking the body while it sends its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use codec::http1::{
    self, BodyDecoder, BodyLength, BodyPart, Framing, HeadDecoder, Limits, ResponseHead,
};
use codec::message::{Request, Response, ResponseParts};
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use http_body::SizeHint;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::super::admission::Wear;
use super::super::{EndpointPool, OpenConnection, Wire};
use super::Failed;
use crate::body::RequestBody;
use crate::buffers;
use crate::connection::Client;
use crate::frame::{Body, Frame};
use crate::incoming::{Incoming, IncomingError};
use crate::output::Output;

/// Largest response head that is accepted, and most headers: twice what Envoy accepts.
const LIMITS: Limits = Limits { bytes_max: 128 * 1024, headers_max: 200 };
/// Heads before the last one. An endpoint sends one or two; one that sends nothing else would never be done.
const INTERIM_HEADS_MAX: u32 = 16;
/// Room for one read, and for one of a body that goes on for longer. What is read and not yet written to the client is
/// at most one such read per response: 64 KiB, or the head.
const SHORT_READ_BYTES: usize = 8 * 1024;
const LONG_READ_BYTES: usize = 64 * 1024;

/// A connection to an endpoint.
pub(crate) struct Connection {
    open: OpenConnection,
    state: RefCell<State>,
}

struct State {
    wire: Wire,
    /// Holds no buffer while nothing is to be read out of it.
    input: BytesMut,
    output: Output,
    /// The body of the request until it is sent.
    request: Option<RequestBody>,
    /// All of `request` is in `output`.
    is_request_ended: bool,
    is_request_chunked: bool,
    /// Bytes of the request were written.
    is_begun: bool,
    head: HeadDecoder,
    body: BodyDecoder,
    /// Another request may follow.
    keep_alive: bool,
    /// The last read filled its buffer: there is more.
    is_flowing: bool,
    is_write_broken: bool,
    interim_heads: u32,
}

impl Connection {
    pub(super) fn new(wire: Wire, open: OpenConnection) -> Self {
        Self {
            open,
            state: RefCell::new(State {
                wire,
                input: BytesMut::new(),
                output: Output::default(),
                request: None,
                is_request_ended: true,
                is_request_chunked: false,
                is_begun: false,
                head: HeadDecoder::default(),
                body: BodyDecoder::new(BodyLength::None, LIMITS),
                keep_alive: true,
                is_flowing: false,
                is_write_broken: false,
                interim_heads: 0,
            }),
        }
    }

    pub(super) fn pool(&self) -> &Rc<EndpointPool> {
        self.open.pool()
    }

    pub(super) fn wear(&self) -> &Wear {
        &self.open.wear
    }

    /// True while nothing comes on an idle connection, not even its end. The runtime is asked, the kernel only when it
    /// has said that there is something.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        let mut state = self.state.borrow_mut();
        Pin::new(&mut state.wire).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// True when the request and the response have come to their ends and another request may follow.
    pub(super) fn is_done(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let is_done = state.keep_alive
            && state.request.is_none()
            && state.output.is_empty()
            && state.body.is_ended()
            && state.input.is_empty();
        buffers::put(&mut state.input);
        is_done
    }

    /// What was read and belongs to no message, the connection, and its place in the counters.
    pub(super) fn into_parts(self) -> (Bytes, Wire, OpenConnection) {
        let state = self.state.into_inner();
        (state.input.freeze(), state.wire, self.open)
    }

    pub(super) async fn send(
        self: &Rc<Self>,
        request: &mut Request<RequestBody>,
        client: Option<&Client>,
    ) -> Result<Response<Incoming>, Failed> {
        let mut first = None;
        let head = poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if first.is_none() {
                first = Some(state.begin(cx, request));
            }
            state.poll_response_head(cx, request.method(), client)
        })
        .await;
        let mut state = self.state.borrow_mut();
        let head = match head {
            Ok(head) => head,
            Err(failure) => {
                state.output.clear();
                let body = state.request.take();
                if let Some(mut body) = body.filter(|_| !state.is_begun) {
                    if let Some(first) = first.flatten() {
                        body.put_back(first);
                    }
                    *request.body_mut() = body;
                }
                return Err(Failed {
                    is_unsent: !state.is_begun,
                    is_protocol_error: matches!(failure, HeadFailure::NotHttp),
                });
            }
        };
        state.keep_alive = head.keep_alive && head.status != StatusCode::SWITCHING_PROTOCOLS;
        state.body = BodyDecoder::new(head.body, LIMITS);
        let body = match head.body {
            BodyLength::None => Incoming::Empty,
            BodyLength::Exact(_) | BodyLength::Chunked | BodyLength::UntilClose => {
                Incoming::Http1Response(self.clone())
            }
        };
        let ResponseHead { status, version, headers, .. } = head;
        Ok(Response::from_parts(ResponseParts { status, version, headers }, body))
    }

    pub(crate) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, IncomingError>>> {
        self.state.borrow_mut().poll_frame(cx)
    }

    /// Sends what there is of the request while nobody takes the response.
    pub(crate) fn poll_upload(&self, cx: &mut Context<'_>) {
        // How it fails is seen when the response is read on.
        let _ = self.state.borrow_mut().poll_send(cx);
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.state.borrow().body.is_ended()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.state.borrow().body.bytes_left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Why there is no head.
enum HeadFailure {
    /// The connection broke, or the body of the request did.
    Broken,
    NotHttp,
}

impl State {
    /// Makes the head ready, and the first part of the body when it is at hand, so that one write takes both. Gives that
    /// part.
    fn begin(&mut self, cx: &mut Context<'_>, request: &mut Request<RequestBody>) -> Option<Bytes> {
        self.is_begun = false;
        self.is_request_ended = false;
        self.interim_heads = 0;
        let framing = framing(request);
        let (method, uri) = (request.method(), request.uri());
        http1::request_head(self.output.head(), method, uri, request.headers(), framing);
        self.is_request_chunked = framing == Framing::Chunked;
        if request.body().is_end_stream() {
            self.is_request_ended = true;
            return None;
        }
        let body = self.request.insert(std::mem::replace(request.body_mut(), RequestBody::Empty));
        // Trailers without a body, its end and its failure are seen again when the rest is sent.
        let first = body.poll_data(cx)?;
        let is_last = body.is_end_stream();
        self.output.push(first.clone(), self.is_request_chunked);
        if is_last {
            self.end_request();
        }
        Some(first)
    }

    /// Sends what can be sent. Ready when all is, or with an error that ends the exchange.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IncomingError>> {
        // What comes after the first write cannot be taken back: the request could not be sent to another endpoint.
        if !self.is_begun {
            ready!(self.poll_flush(cx));
        }
        while !self.is_request_ended {
            if self.output.is_full() {
                ready!(self.poll_flush(cx));
            }
            let Some(request) = &mut self.request else { break };
            match Pin::new(&mut *request).poll_frame(cx) {
                Poll::Pending => {
                    let _ = self.poll_flush(cx);
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                    let is_last = request.is_end_stream();
                    self.output.push(data, self.is_request_chunked);
                    if is_last {
                        self.end_request();
                    }
                }
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                    if self.is_request_chunked {
                        self.output.push_trailers(&trailers);
                        self.is_request_chunked = false;
                    }
                    self.end_request();
                }
                Poll::Ready(Some(Err(_))) => {
                    self.keep_alive = false;
                    self.request = None;
                    return Poll::Ready(Err(IncomingError::RequestBroken));
                }
                Poll::Ready(None) => self.end_request(),
            }
        }
        self.poll_flush(cx).map(Ok)
    }

    fn end_request(&mut self) {
        if self.is_request_chunked {
            self.output.push_last_chunk();
        }
        self.is_request_ended = true;
    }

    /// Writes what is ready. What cannot be written is forgotten, with the rest of the request: the endpoint may have
    /// said why, which is read.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.output.is_empty() {
            if self.is_request_ended {
                self.request = None;
            }
            return Poll::Ready(());
        }
        let is_begun = &mut self.is_begun;
        let mut written = ready!(self.output.poll_write(cx, &mut self.wire, |_| *is_begun = true));
        if written.is_ok() {
            written = ready!(Pin::new(&mut self.wire).poll_flush(cx));
        }
        if written.is_err() {
            self.keep_alive = false;
            self.is_write_broken = true;
            self.output.clear();
            if self.is_begun {
                self.is_request_ended = true;
                self.request = None;
            }
        } else if self.is_request_ended {
            self.request = None;
        }
        Poll::Ready(())
    }

    fn poll_response_head(
        &mut self,
        cx: &mut Context<'_>,
        to: &Method,
        client: Option<&Client>,
    ) -> Poll<Result<ResponseHead, HeadFailure>> {
        if let Poll::Ready(Err(_)) = self.poll_send(cx) {
            return Poll::Ready(Err(HeadFailure::Broken));
        }
        if self.is_write_broken && !self.is_begun {
            return Poll::Ready(Err(HeadFailure::Broken));
        }
        loop {
            let (head, input) = (&mut self.head, &mut self.input);
            match head.response(input, LIMITS, to, buffers::take_map) {
                Err(error) => {
                    tracing::debug!(%error, "an endpoint does not speak HTTP/1");
                    return Poll::Ready(Err(HeadFailure::NotHttp));
                }
                Ok(Some(head)) if is_interim(head.status) => {
                    self.interim_heads += 1;
                    if self.interim_heads > INTERIM_HEADS_MAX {
                        return Poll::Ready(Err(HeadFailure::NotHttp));
                    }
                    if let Some(client) = client {
                        client.pass_on(head.status, &head.headers);
                    }
                    continue;
                }
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(HeadFailure::Broken)),
                Ok(_) => {}
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, IncomingError>>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            match self.body.decode(&mut self.input) {
                Ok(Some(BodyPart::Data(data))) => {
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Ok(Some(BodyPart::Trailers(trailers))) => {
                    return Poll::Ready(Some(Ok(Frame::Trailers(trailers))));
                }
                Ok(None) if self.body.is_ended() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => {
                    let ended = self.body.end_of_stream();
                    return Poll::Ready(ended.err().map(|error| Err(error.into())));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Reads what there is, much at once when much is to come.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() == 0 {
            // A buffer is fetched when there is something to put into it.
            ready!(self.wire.poll_read_ready(cx))?;
            self.input = buffers::take();
        }
        let is_long = self.is_flowing
            || self.body.bytes_left().is_some_and(|left| left > buffers::BUFFER_BYTES as u64);
        let room = if is_long { LONG_READ_BYTES } else { SHORT_READ_BYTES };
        self.input.reserve(room);
        let spare = self.input.capacity() - self.input.len();
        let read = poll_read_buf(Pin::new(&mut self.wire), cx, &mut self.input);
        match read {
            Poll::Ready(Ok(count)) => {
                self.is_flowing = count == spare;
                self.keep_alive &= count > 0;
            }
            Poll::Ready(Err(_)) => self.keep_alive = false,
            Poll::Pending if self.input.is_empty() => buffers::put(&mut self.input),
            Poll::Pending => {}
        }
        read
    }
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// How the end of the request's body is told. Without a length, and without a body, a server that reads a method which
/// usually has one would wait for it (RFC 9110, section 8.6).
fn framing(request: &Request<RequestBody>) -> Framing {
    if !request.body().is_end_stream() {
        return request.body().size_hint().exact().map_or(Framing::Chunked, Framing::Length);
    }
    let usually_has = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if usually_has || request.headers().contains_key(CONTENT_LENGTH) {
        Framing::Length(0)
    } else {
        Framing::Silent
    }
}
