use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use codec::http2::{Accepted, Code, Role};
use http_body::SizeHint;

use super::session::Session;
use super::stream::{Piece, Stream, StreamFailure};
use crate::body::RequestBody;
use crate::frame::{Body as _, Frame};
use crate::incoming::IncomingError;

/// The content that comes on a stream. Whoever drops it before its end does not want the rest.
pub(crate) struct Body {
    session: Rc<Session>,
    stream: Rc<Stream>,
    role: Role,
    /// Of the request that this answers.
    upload: Option<Box<RefCell<Upload>>>,
}

impl Body {
    /// The body of a client's request.
    pub(crate) fn of_request(session: Rc<Session>, stream: Rc<Stream>) -> Self {
        Self { session, stream, role: Role::Server, upload: None }
    }

    /// The body of an endpoint's response, while the rest of the request is sent.
    pub(crate) fn of_response(
        session: Rc<Session>,
        stream: Rc<Stream>,
        upload: Option<Upload>,
    ) -> Self {
        let upload = upload.map(|it| Box::new(RefCell::new(it)));
        Self { session, stream, role: Role::Client, upload }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, IncomingError>>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(piece) = ready!(self.stream.poll_piece(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(match piece {
            Ok(Piece::Data(data)) => {
                self.session.release(&self.stream, data.len());
                Ok(Frame::Data(data))
            }
            Ok(Piece::Trailers(trailers)) => Ok(Frame::Trailers(trailers)),
            Err(failure) => Err(IncomingError::Http2(failure)),
        }))
    }

    fn poll_send(&self, cx: &mut Context<'_>) -> Poll<Result<(), IncomingError>> {
        match &self.upload {
            Some(upload) => upload.borrow_mut().poll_send(cx, &self.session, &self.stream),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Sends what there is of the request while nobody takes the response.
    pub(crate) fn poll_upload(&self, cx: &mut Context<'_>) {
        // How it fails is seen when the response is read on.
        let _ = self.poll_send(cx);
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.stream.is_drained()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.stream.content_left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let is_sent = self.upload.as_ref().is_none_or(|it| it.borrow().is_done());
        if self.stream.failure().is_some() || self.stream.is_received() && is_sent {
            return;
        }
        match self.role {
            Role::Server => self.session.tell(|codec| codec.stop_receiving(self.stream.key())),
            Role::Client => self.session.tell(|codec| codec.reset(self.stream.key(), Code::CANCEL)),
        }
    }
}

/// The body of a request on its way to an endpoint.
pub(crate) struct Upload {
    /// `None` when all of it has been given away.
    body: Option<RequestBody>,
    /// What there was no room for.
    rest: Bytes,
    /// Nothing follows `rest`.
    is_last: bool,
    is_done: bool,
    /// The only data so far; it is kept until it is clear that the request need not be sent elsewhere.
    first: Option<Bytes>,
    is_written: bool,
}

impl Upload {
    pub(crate) fn new(body: RequestBody) -> Self {
        Self {
            body: Some(body),
            rest: Bytes::new(),
            is_last: false,
            is_done: false,
            first: None,
            is_written: false,
        }
    }

    /// True when nothing is left to be sent.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// The body as it was, of a request that was not written.
    pub(crate) fn into_body(self) -> Option<RequestBody> {
        let mut body = self.body?;
        if let Some(first) = self.first {
            body.put_back(first);
        }
        Some(body)
    }

    /// Sends what can be sent. Ready when all is, or with an error that ends the exchange.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        session: &Session,
        stream: &Rc<Stream>,
    ) -> Poll<Result<(), IncomingError>> {
        loop {
            if self.is_done {
                return Poll::Ready(Ok(()));
            }
            if !self.rest.is_empty() || self.is_last {
                match session.send_data(stream, &mut self.rest, self.is_last) {
                    Accepted::All if !self.is_last => {}
                    // The peer wants no more of it, or has it.
                    Accepted::All | Accepted::Gone => {
                        self.is_done = true;
                        continue;
                    }
                    Accepted::Some => {
                        let _ = stream.poll_failure(cx);
                        return Poll::Pending;
                    }
                }
            }
            // What comes after the first data cannot be taken back: the request could not be sent to another endpoint.
            if self.first.is_some() && !self.is_written {
                if session.wake_when_written(stream) {
                    let _ = stream.poll_failure(cx);
                    return Poll::Pending;
                }
                self.is_written = true;
                self.first = None;
            }
            ready!(self.poll_next(cx, session, stream))?;
        }
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        session: &Session,
        stream: &Stream,
    ) -> Poll<Result<(), IncomingError>> {
        let Some(body) = &mut self.body else {
            self.is_last = true;
            return Poll::Ready(Ok(()));
        };
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(Frame::Data(data))) => {
                self.is_last = body.is_end_stream();
                if !self.is_written {
                    self.first = Some(data.clone());
                }
                self.rest = data;
            }
            Some(Ok(Frame::Trailers(trailers))) => {
                session.tell(|codec| codec.send_trailers(stream.key(), trailers));
                self.is_done = true;
            }
            None => self.is_last = true,
            Some(Err(_)) => {
                self.is_done = true;
                session.tell(|codec| codec.reset(stream.key(), Code::CANCEL));
                return Poll::Ready(Err(IncomingError::RequestBroken));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl StreamFailure {
    /// The endpoint says that it has not looked at the request (RFC 9113, sections 6.8 and 8.7).
    pub(crate) fn is_unread(self) -> bool {
        matches!(self, StreamFailure::Reset { is_unread: true, .. })
    }

    /// What came was not HTTP/2.
    pub(crate) fn is_protocol_error(self) -> bool {
        matches!(self, StreamFailure::Reset { by_peer: false, .. })
    }
}
