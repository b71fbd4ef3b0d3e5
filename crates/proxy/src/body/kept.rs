//! Bodies of requests that can be sent again, and copies of them for mirrors. Bytes are shared, never copied.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use codec::message::HeaderMap;
use http_body::SizeHint;

use super::{BodyError, Given, RequestBody};
use crate::frame::{Body, Frame};
use crate::incoming::IncomingError;

/// Part of a body.
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Piece {
    fn of(frame: &Frame) -> Self {
        match frame {
            Frame::Data(data) => Piece::Data(data.clone()),
            Frame::Trailers(trailers) => Piece::Trailers(trailers.clone()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Piece::Data(data) => data.len(),
            Piece::Trailers(_) => 0,
        }
    }

    fn frame(&self) -> Frame {
        match self {
            Piece::Data(data) => Frame::Data(data.clone()),
            Piece::Trailers(trailers) => Frame::Trailers(trailers.clone()),
        }
    }
}

/// A body that is kept as it is sent, up to a number of bytes.
pub(crate) struct KeptBody {
    bytes_max: usize,
    /// Of the whole body, when it is known.
    length: Option<u64>,
    state: RefCell<State>,
}

struct State {
    source: RequestBody,
    pieces: Vec<Piece>,
    bytes: usize,
    /// Pieces that the source gave.
    taken: usize,
    /// It was too long: `pieces` has none of it any more.
    is_lost: bool,
}

impl KeptBody {
    pub(crate) fn new(source: RequestBody, bytes_max: usize) -> Rc<Self> {
        let length = source.size_hint().exact();
        let state = State { source, pieces: Vec::new(), bytes: 0, taken: 0, is_lost: false };
        Rc::new(Self { bytes_max, length, state: RefCell::new(state) })
    }

    /// The body from its beginning. To be read by one reader at a time until it has ended.
    pub(crate) fn read(self: &Rc<Self>) -> RequestBody {
        RequestBody::Kept(KeptReader { kept: self.clone(), next: 0, bytes: 0, given: None })
    }

    /// Whether it can be read from its beginning.
    pub(crate) fn is_whole(&self) -> bool {
        !self.state.borrow().is_lost
    }
}

/// One reading of a body that is kept.
pub(crate) struct KeptReader {
    kept: Rc<KeptBody>,
    next: usize,
    /// Bytes that were read.
    bytes: u64,
    /// What was taken and could not be used; it comes first.
    given: Option<Given>,
}

impl KeptReader {
    pub(super) fn put_back(&mut self, given: Given) {
        self.bytes -= bytes_of(&given);
        self.given = Some(given);
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(given) = self.given.take() {
            self.bytes += bytes_of(&given);
            return Poll::Ready(given);
        }
        let mut state = self.kept.state.borrow_mut();
        if self.next < state.taken {
            let Some(piece) = state.pieces.get(self.next) else {
                return Poll::Ready(Some(Err(BodyError::Broken(IncomingError::RequestBroken))));
            };
            self.next += 1;
            self.bytes += piece.len() as u64;
            return Poll::Ready(Some(Ok(piece.frame())));
        }
        let frame = ready!(Pin::new(&mut state.source).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let piece = Piece::of(frame);
            self.next += 1;
            self.bytes += piece.len() as u64;
            state.keep(piece, self.kept.bytes_max);
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let state = self.kept.state.borrow();
        self.given.is_none() && self.next == state.taken && state.source.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let left = self.kept.length.and_then(|length| length.checked_sub(self.bytes));
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn bytes_of(given: &Given) -> u64 {
    match given {
        Some(Ok(frame)) => frame.data_ref().map_or(0, |it| it.len() as u64),
        Some(Err(_)) | None => 0,
    }
}

impl State {
    fn keep(&mut self, piece: Piece, bytes_max: usize) {
        self.taken += 1;
        self.bytes += piece.len();
        if self.is_lost || self.bytes > bytes_max {
            self.is_lost = true;
            self.pieces = Vec::new();
        } else {
            self.pieces.push(piece);
        }
    }
}

/// Most bytes of a body that wait for a mirror; one that is slower by more than this gets no more of it.
const COPY_BYTES_MAX: usize = 256 * 1024;

/// The copy of a body that a mirror gets, filled as the body itself goes by. Never makes that one wait.
#[derive(Default)]
pub(crate) struct BodyCopy {
    pieces: RefCell<VecDeque<Piece>>,
    bytes: Cell<usize>,
    end: Cell<CopyEnd>,
    reader: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum CopyEnd {
    #[default]
    NotYet,
    Whole,
    /// The client broke off, or the mirror was too slow.
    Broken,
}

impl BodyCopy {
    pub(super) fn note(&self, frame: &Frame) {
        if self.end.get() != CopyEnd::NotYet {
            return;
        }
        let piece = Piece::of(frame);
        let bytes = self.bytes.get() + piece.len();
        if bytes > COPY_BYTES_MAX {
            return self.end(false);
        }
        self.bytes.set(bytes);
        self.pieces.borrow_mut().push_back(piece);
        self.wake();
    }

    /// There is no more of it.
    pub(super) fn end(&self, is_whole: bool) {
        if self.end.get() == CopyEnd::NotYet {
            self.end.set(if is_whole { CopyEnd::Whole } else { CopyEnd::Broken });
            self.wake();
        }
    }

    /// A part that was taken comes first again. What is no part is found out again.
    pub(super) fn put_back(&self, given: &Given) {
        if let Some(Ok(frame)) = given {
            let piece = Piece::of(frame);
            self.bytes.set(self.bytes.get() + piece.len());
            self.pieces.borrow_mut().push_front(piece);
        }
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.end.get() == CopyEnd::Broken {
            return Poll::Ready(Some(Err(BodyError::Broken(IncomingError::RequestBroken))));
        }
        if let Some(piece) = self.pieces.borrow_mut().pop_front() {
            self.bytes.set(self.bytes.get() - piece.len());
            return Poll::Ready(Some(Ok(piece.frame())));
        }
        if self.end.get() == CopyEnd::Whole {
            return Poll::Ready(None);
        }
        self.reader.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.end.get() == CopyEnd::Whole && self.pieces.borrow().is_empty()
    }
}
