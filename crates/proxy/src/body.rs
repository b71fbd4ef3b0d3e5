//! Bodies on their way through: frames are passed on one by one, nothing is collected.

mod kept;

use std::cell::{Cell, OnceCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use codec::message::HeaderMap;
use http_body::SizeHint;

pub(crate) use self::kept::{BodyCopy, KeptBody, KeptReader};
use crate::connection::{AwaitedBody, OpenBody};
use crate::exchange::Exchange;
use crate::filters::Encoder;
use crate::frame::{Body, Frame};
use crate::headers::{self, SERVICE_TIME};
use crate::incoming::{Incoming, IncomingError};
use crate::request::{Deadline, Overdue};
use crate::time_limit::Expired;

/// A body could not be passed on to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The side that sends it broke off.
    #[error("the sender of the body broke off")]
    Broken(#[source] IncomingError),
    /// No byte moved for as long as a stream may stand still.
    #[error("no byte moved for too long")]
    Idle,
    /// The stream took as long as it may.
    #[error("the stream took too long")]
    TookTooLong,
    /// It is longer than the route allows.
    #[error("the body is too large")]
    TooLarge,
    /// The request as a whole has taken longer than it may.
    #[error("the request has taken too long")]
    Overdue(Overdue),
}

/// How far a request body has come.
#[derive(Default)]
pub(crate) struct RequestProgress {
    pub(crate) bytes: Cell<u64>,
    /// When the last frame came.
    pub(crate) moved_at: Cell<Option<Instant>>,
    pub(crate) ended_at: Cell<Option<Instant>>,
    /// The client broke off: what the endpoint makes of half a request is not its fault.
    pub(crate) is_broken: Cell<bool>,
    /// Most bytes that the route allows; 0 means any number.
    pub(crate) bytes_max: Cell<u64>,
    /// There were more.
    pub(crate) is_too_large: Cell<bool>,
    /// For mirrors.
    pub(crate) copies: OnceCell<Vec<Rc<BodyCopy>>>,
}

impl RequestProgress {
    /// Tells the copies of what the body gave.
    fn copy(&self, frame: Option<&Frame>, is_end: bool) {
        for copy in self.copies.get().into_iter().flatten() {
            if let Some(frame) = frame {
                copy.note(frame);
            }
            if is_end {
                copy.end(true);
            }
        }
    }
}

impl Drop for RequestProgress {
    fn drop(&mut self) {
        for copy in self.copies.get().into_iter().flatten() {
            copy.end(false);
        }
    }
}

/// The body of a request, from the client to an endpoint.
pub(crate) enum RequestBody {
    Empty,
    Streaming {
        incoming: Incoming,
        progress: Rc<RequestProgress>,
        /// `None` once it has come to its end.
        awaited: Option<AwaitedBody>,
        /// What the body gave and nobody has taken; it comes first.
        given: Option<Given>,
    },
    /// One that can be read again.
    Kept(KeptReader),
    /// What a mirror gets.
    Copy(Rc<BodyCopy>),
}

/// What asking a body gave.
type Given = Option<Result<Frame, BodyError>>;

impl RequestBody {
    pub(crate) fn streaming(
        incoming: Incoming,
        progress: Rc<RequestProgress>,
        awaited: AwaitedBody,
    ) -> Self {
        Self::Streaming { incoming, progress, awaited: Some(awaited), given: None }
    }

    /// The next bytes, when they are at hand.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Option<Bytes> {
        let next = match Pin::new(&mut *self).poll_frame(cx) {
            Poll::Pending => return None,
            Poll::Ready(Some(Ok(Frame::Data(data)))) => return Some(data),
            Poll::Ready(next) => next,
        };
        self.give_back(next);
        None
    }

    /// Bytes that were taken and could not be sent; they come again.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        self.give_back(Some(Ok(Frame::Data(bytes))));
    }

    fn give_back(&mut self, taken: Given) {
        match self {
            RequestBody::Streaming { given, .. } => *given = Some(taken),
            RequestBody::Kept(reader) => reader.put_back(taken),
            RequestBody::Copy(copy) => copy.put_back(&taken),
            RequestBody::Empty => {}
        }
    }
}

impl Body for RequestBody {
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let (incoming, progress, awaited, given) = match self.get_mut() {
            RequestBody::Empty => return Poll::Ready(None),
            RequestBody::Kept(reader) => return reader.poll_frame(cx),
            RequestBody::Copy(copy) => return copy.poll_frame(cx),
            RequestBody::Streaming { incoming, progress, awaited, given } => {
                (incoming, progress, awaited, given)
            }
        };
        if let Some(given) = given.take() {
            return Poll::Ready(given);
        }
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
            return Poll::Pending;
        };
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let bytes = progress.bytes.get() + data.len() as u64;
            progress.bytes.set(bytes);
            if progress.bytes_max.get() > 0 && bytes > progress.bytes_max.get() {
                progress.is_too_large.set(true);
                progress.is_broken.set(true);
                *awaited = None;
                return Poll::Ready(Some(Err(BodyError::TooLarge)));
            }
        }
        if let Some(awaited) = awaited {
            awaited.note_moved();
        }
        let now = Some(runtime::monotonic());
        progress.moved_at.set(now);
        let is_end = frame.is_none() || incoming.is_end_stream();
        if is_end {
            progress.ended_at.set(now);
            *awaited = None;
        }
        if progress.copies.get().is_some() {
            progress.copy(frame.as_ref().and_then(|it| it.as_ref().ok()), is_end);
        }
        if let Some(Err(_)) = &frame {
            progress.is_broken.set(true);
            *awaited = None;
        }
        Poll::Ready(frame.map(|it| it.map_err(BodyError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Streaming { incoming, given, .. } => {
                given.is_none() && incoming.is_end_stream()
            }
            RequestBody::Kept(reader) => reader.is_end_stream(),
            RequestBody::Copy(copy) => copy.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Streaming { incoming, given, .. } => match given {
                Some(Some(Ok(frame))) => {
                    let given = frame.data_ref().map_or(0, |it| it.len() as u64);
                    let rest = incoming.size_hint().exact();
                    rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + given))
                }
                Some(Some(Err(_)) | None) | None => incoming.size_hint(),
            },
            RequestBody::Kept(reader) => reader.size_hint(),
            // Its length is not told, so that what breaks off is seen to.
            RequestBody::Copy(_) => SizeHint::default(),
        }
    }
}

/// The body of a response, from an endpoint or from this proxy to the client. Its end is the end of the exchange.
pub(crate) struct ResponseBody {
    content: Content,
    /// `None` once it is finished.
    exchange: Option<Box<Exchange>>,
    /// Announced and to be sent after the content.
    timing_trailer: bool,
    /// `None` when the content is sent as it is, or has gone in.
    encoder: Option<Box<Encoder>>,
    /// `None` when it may take as long as it will.
    deadline: Option<Box<Deadline>>,
}

enum Content {
    Done,
    Full(Bytes),
    Upstream(Incoming, OpenBody),
    /// What comes after compressed content.
    Trailers(HeaderMap),
}

impl ResponseBody {
    /// A body that is at hand. `exchange` is finished with it.
    pub(crate) fn full(
        content: Bytes,
        exchange: Box<Exchange>,
        encoder: Option<Box<Encoder>>,
    ) -> Self {
        if content.is_empty() {
            exchange.finish();
            return Self::of(Content::Done, None);
        }
        let mut body = Self::of(Content::Full(content), Some(exchange));
        body.encoder = encoder;
        body
    }

    /// A body that is at hand, of an exchange that has ended.
    pub(crate) fn last_words(content: Bytes) -> Self {
        Self::of(Content::Full(content), None)
    }

    /// The body that an endpoint sends, and then the timing trailer if it was announced.
    pub(crate) fn upstream(
        incoming: Incoming,
        exchange: Box<Exchange>,
        timing_trailer: bool,
        encoder: Option<Box<Encoder>>,
    ) -> Self {
        if incoming.is_end_stream() && !timing_trailer {
            exchange.finish();
            return Self::of(Content::Done, None);
        }
        let open = OpenBody::new(exchange.client.clone());
        let mut body = Self::of(Content::Upstream(incoming, open), Some(exchange));
        (body.timing_trailer, body.encoder) = (timing_trailer, encoder);
        body
    }

    fn of(content: Content, exchange: Option<Box<Exchange>>) -> Self {
        Self { content, exchange, timing_trailer: false, encoder: None, deadline: None }
    }

    /// It is broken off at the deadline.
    pub(crate) fn end_by(&mut self, deadline: Box<Deadline>) {
        if self.exchange.is_some() {
            self.deadline = Some(deadline);
        }
    }

    /// While the client takes nothing: sends what there is of the request that is answered.
    pub(crate) fn poll_upload(&self, cx: &mut Context<'_>) {
        if let Content::Upstream(incoming, _) = &self.content {
            incoming.poll_upload(cx);
        }
    }

    fn finish(&mut self) {
        self.content = Content::Done;
        if let Some(exchange) = self.exchange.take() {
            exchange.finish();
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        self.content = Content::Done;
        if let Some(exchange) = self.exchange.take() {
            exchange.fail_response(&error);
        }
        Poll::Ready(Some(Err(error)))
    }

    /// The next frame of the endpoint's.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, BodyError>> {
        let Content::Upstream(incoming, open) = &mut self.content else {
            return Poll::Ready(Ok(None));
        };
        let exchange = self.exchange.as_mut().expect("an unfinished body has its exchange");
        let frame = match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let limit = exchange.time_limit.as_mut();
                return match limit.map_or(Poll::Pending, |it| it.poll_idle(cx)) {
                    Poll::Ready(Expired::TookTooLong) => Poll::Ready(Err(BodyError::TookTooLong)),
                    Poll::Ready(Expired::Head | Expired::Idle) => Poll::Ready(Err(BodyError::Idle)),
                    Poll::Pending => Poll::Pending,
                };
            }
        };
        open.note_moved();
        if let Some(limit) = &mut exchange.time_limit {
            limit.note_moved();
        }
        Poll::Ready(frame.transpose().map_err(BodyError::Broken))
    }

    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut frame = match ready!(self.poll_incoming(cx)) {
            Ok(Some(frame)) => frame,
            Err(error) => return self.fail(error),
            Ok(None) if self.timing_trailer => Frame::Trailers(HeaderMap::new()),
            Ok(None) => {
                self.finish();
                return Poll::Ready(None);
            }
        };
        let Content::Upstream(incoming, _) = &self.content else { return Poll::Ready(None) };
        let exchange = self.exchange.as_mut().expect("an unfinished body has its exchange");
        match &mut frame {
            Frame::Data(data) => {
                exchange.bytes_sent += data.len() as u64;
                // Finished before the last frame is written, so that the connection is free for the next request.
                if incoming.is_end_stream() && !self.timing_trailer {
                    self.finish();
                }
            }
            Frame::Trailers(trailers) => {
                note_trailers(trailers, exchange, self.timing_trailer);
                self.finish();
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// Compressed. What has gone in comes out at the latest when there is nothing more at hand, so that events are not
    /// held back.
    fn poll_encoded(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            let next = match &mut self.content {
                Content::Done | Content::Trailers(_) => return Poll::Ready(None),
                Content::Full(content) => {
                    let content = std::mem::take(content);
                    Poll::Ready(Ok((!content.is_empty()).then(|| Frame::Data(content))))
                }
                Content::Upstream(..) => self.poll_incoming(cx),
            };
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
            let frame = match next {
                Poll::Ready(Ok(frame)) => frame,
                Poll::Ready(Err(error)) => return self.fail(error),
                Poll::Pending => {
                    return match encoder.flush() {
                        Some(data) => self.give(data),
                        None => Poll::Pending,
                    };
                }
            };
            match frame {
                Some(Frame::Data(data)) => {
                    if let Some(data) = encoder.write(&data) {
                        return self.give(data);
                    }
                }
                Some(Frame::Trailers(trailers)) => return self.end_encoded(Some(trailers)),
                None => return self.end_encoded(None),
            }
        }
    }

    fn give(&mut self, data: Bytes) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(exchange) = &mut self.exchange {
            exchange.bytes_sent += data.len() as u64;
        }
        Poll::Ready(Some(Ok(Frame::Data(data))))
    }

    /// The last that the encoder gives, and what comes after it.
    fn end_encoded(
        &mut self,
        trailers: Option<HeaderMap>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let rest = self.encoder.take().and_then(|mut it| it.finish());
        let trailers = trailers.or_else(|| self.timing_trailer.then(HeaderMap::new));
        let trailers = trailers.zip(self.exchange.as_mut()).map(|(mut trailers, exchange)| {
            note_trailers(&mut trailers, exchange, self.timing_trailer);
            trailers
        });
        let given = rest.map(|rest| self.give(rest));
        match (given, trailers) {
            (Some(given), Some(trailers)) => {
                self.content = Content::Trailers(trailers);
                given
            }
            (Some(given), None) => {
                self.finish();
                given
            }
            (None, Some(trailers)) => {
                self.finish();
                Poll::Ready(Some(Ok(Frame::Trailers(trailers))))
            }
            (None, None) => {
                self.finish();
                Poll::Ready(None)
            }
        }
    }
}

fn note_trailers(trailers: &mut HeaderMap, exchange: &mut Exchange, timing_trailer: bool) {
    exchange.note_trailers(trailers);
    if timing_trailer {
        trailers.insert(SERVICE_TIME, headers::number(exchange.upstream_elapsed_ms()));
    }
}

impl Body for ResponseBody {
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let body = self.get_mut();
        if let Some(deadline) = &mut body.deadline
            && body.exchange.is_some()
            && let Poll::Ready(overdue) = deadline.poll(cx)
        {
            return body.fail(BodyError::Overdue(overdue));
        }
        if body.encoder.is_some() {
            return body.poll_encoded(cx);
        }
        match &mut body.content {
            Content::Done => Poll::Ready(None),
            Content::Trailers(trailers) => {
                let trailers = std::mem::take(trailers);
                body.finish();
                Poll::Ready(Some(Ok(Frame::Trailers(trailers))))
            }
            Content::Full(content) => {
                let content = std::mem::take(content);
                if let Some(exchange) = &mut body.exchange {
                    exchange.bytes_sent = content.len() as u64;
                }
                body.finish();
                Poll::Ready(Some(Ok(Frame::Data(content))))
            }
            Content::Upstream(..) => body.poll_upstream(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Done => true,
            Content::Full(content) => content.is_empty() && self.encoder.is_none(),
            Content::Upstream(incoming, _) => {
                incoming.is_end_stream() && !self.timing_trailer && self.encoder.is_none()
            }
            Content::Trailers(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.encoder.is_some() {
            return SizeHint::default();
        }
        match &self.content {
            Content::Done => SizeHint::with_exact(0),
            Content::Trailers(_) => SizeHint::default(),
            Content::Full(content) => SizeHint::with_exact(content.len() as u64),
            // A length would mean `Content-Length`, which leaves no room for trailers in HTTP/1.1.
            Content::Upstream(..) if self.timing_trailer => SizeHint::default(),
            Content::Upstream(incoming, _) => incoming.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            // The answer to a `HEAD` request is not read at all.
            let is_complete = matches!(self.content, Content::Full(_)) || self.is_end_stream();
            if is_complete { exchange.finish() } else { exchange.abandon() }
        }
    }
}
