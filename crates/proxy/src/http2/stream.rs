use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use codec::http2::{Code, Inbox, StreamKey};
use codec::message::{HeaderMap, Response};

/// Heads before the last one that are kept. An endpoint sends one or two.
const INTERIM_HEADS_MAX: usize = 16;

/// What one stream has got and nobody has taken yet. What it holds is bounded by the stream's window, and by the limits
/// of heads.
pub(crate) struct Stream {
    key: StreamKey,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    interim: VecDeque<Response<()>>,
    head: Option<Response<()>>,
    inbox: Inbox,
    /// Content that has not been taken, if that is known.
    content_left: Option<u64>,
    trailers: Option<HeaderMap>,
    is_ended: bool,
    failure: Option<StreamFailure>,
    /// A response has been begun, or never will be.
    is_answered: bool,
    /// All of the response is with the codec.
    is_handed_over: bool,
    /// Who waits for the head, for room, or for the end of the stream.
    task: Option<Waker>,
    /// Who waits for content.
    reader: Option<Waker>,
}

/// Why a stream is over before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamFailure {
    Reset {
        code: Code,
        /// False when the peer broke the protocol on it.
        by_peer: bool,
        /// The peer did not look at the request.
        is_unread: bool,
    },
    /// The client gave no window for too long.
    Stalled,
    ConnectionEnded {
        /// Nothing of the request had been written.
        is_unsent: bool,
    },
}

/// What comes on a stream.
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Stream {
    pub(super) fn new(key: StreamKey) -> Self {
        Self { key, state: RefCell::default() }
    }

    pub(crate) fn key(&self) -> StreamKey {
        self.key
    }

    pub(crate) fn failure(&self) -> Option<StreamFailure> {
        self.state.borrow().failure
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    /// True when all content has come and was taken.
    pub(super) fn is_drained(&self) -> bool {
        let state = self.state.borrow();
        state.is_ended && state.inbox.is_empty() && state.trailers.is_none()
    }

    /// True when all content has come.
    pub(crate) fn is_received(&self) -> bool {
        self.state.borrow().is_ended
    }

    pub(super) fn content_left(&self) -> Option<u64> {
        self.state.borrow().content_left
    }

    pub(crate) fn set_answered(&self) {
        let mut state = self.state.borrow_mut();
        state.is_answered = true;
        wake(&state.reader);
    }

    pub(crate) fn set_handed_over(&self) {
        self.state.borrow_mut().is_handed_over = true;
    }

    /// True when nobody has anything to send on it any more.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.state.borrow().is_handed_over
    }

    /// Ready when the response has been begun.
    pub(super) fn poll_answered(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.is_answered || state.failure.is_some() {
            return Poll::Ready(());
        }
        register(&mut state.reader, cx);
        Poll::Pending
    }

    /// Ready when the stream is over before its end; else the task is woken when that happens, or when there is room.
    pub(crate) fn poll_failure(&self, cx: &Context<'_>) -> Poll<StreamFailure> {
        let mut state = self.state.borrow_mut();
        match state.failure {
            Some(failure) => Poll::Ready(failure),
            None => {
                register(&mut state.task, cx);
                Poll::Pending
            }
        }
    }

    /// The next head that is not the final one.
    pub(crate) fn take_interim(&self) -> Option<Response<()>> {
        self.state.borrow_mut().interim.pop_front()
    }

    /// The head of the response.
    pub(crate) fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<Response<()>, StreamFailure>> {
        let mut state = self.state.borrow_mut();
        if let Some(head) = state.head.take() {
            return Poll::Ready(Ok(head));
        }
        if let Some(failure) = state.failure {
            return Poll::Ready(Err(failure));
        }
        register(&mut state.task, cx);
        Poll::Pending
    }

    /// The next piece of content; `None` at its end.
    pub(super) fn poll_piece(
        &self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Piece, StreamFailure>>> {
        let mut state = self.state.borrow_mut();
        if let Some(data) = state.inbox.pop() {
            if let Some(left) = &mut state.content_left {
                *left = left.saturating_sub(data.len() as u64);
            }
            return Poll::Ready(Some(Ok(Piece::Data(data))));
        }
        if let Some(trailers) = state.trailers.take() {
            return Poll::Ready(Some(Ok(Piece::Trailers(trailers))));
        }
        if state.is_ended {
            return Poll::Ready(None);
        }
        if let Some(failure) = state.failure {
            return Poll::Ready(Some(Err(failure)));
        }
        register(&mut state.reader, cx);
        Poll::Pending
    }

    pub(super) fn begin_content(&self, content_length: Option<u64>, is_ended: bool) {
        let mut state = self.state.borrow_mut();
        state.content_left = if is_ended { Some(0) } else { content_length };
        state.is_ended = is_ended;
    }

    pub(super) fn put_interim(&self, response: Response<()>) {
        let mut state = self.state.borrow_mut();
        if state.interim.len() < INTERIM_HEADS_MAX {
            state.interim.push_back(response);
        }
        wake(&state.task);
    }

    pub(super) fn put_head(&self, response: Response<()>) {
        let mut state = self.state.borrow_mut();
        state.head = Some(response);
        wake(&state.task);
    }

    pub(super) fn put_data(&self, data: Bytes, is_ended: bool) {
        let mut state = self.state.borrow_mut();
        state.inbox.push(data);
        state.is_ended |= is_ended;
        wake(&state.reader);
    }

    pub(super) fn put_trailers(&self, trailers: HeaderMap) {
        let mut state = self.state.borrow_mut();
        state.trailers = Some(trailers);
        state.is_ended = true;
        wake(&state.reader);
    }

    pub(super) fn fail(&self, failure: StreamFailure) {
        let mut state = self.state.borrow_mut();
        state.failure.get_or_insert(failure);
        wake(&state.task);
        wake(&state.reader);
    }

    pub(super) fn wake_task(&self) {
        wake(&self.state.borrow().task);
    }
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

fn wake(waker: &Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake_by_ref();
    }
}
