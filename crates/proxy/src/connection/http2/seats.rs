//! Tasks that wait for another request after they have answered one.
//!
//! A task is some 4 KiB that are allocated, moved and given back; a connection on which one request follows the other
//! keeps them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::http2::Asked;

/// Tasks that one connection keeps: 32 x 4 KiB = 128 KiB, until it is idle.
const WAITING_MAX: usize = 32;

/// The waiting tasks of one connection.
#[derive(Default)]
pub(super) struct Seats {
    waiting: RefCell<Vec<Rc<Seat>>>,
    is_closed: Cell<bool>,
}

/// Where a task waits.
#[derive(Default)]
struct Seat {
    asked: Cell<Option<Asked>>,
    is_released: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Seat {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Seats {
    /// Gives a request to a task that waits; gives it back when there is none.
    pub(super) fn give(&self, asked: Asked) -> Option<Asked> {
        // The one that came last: what it needs is still in the caches.
        let Some(seat) = self.waiting.borrow_mut().pop() else { return Some(asked) };
        seat.asked.set(Some(asked));
        seat.wake();
        None
    }

    /// Waits for another request; `None` when there is no use in waiting.
    pub(super) async fn next(&self) -> Option<Asked> {
        if self.is_closed.get() || self.waiting.borrow().len() >= WAITING_MAX {
            return None;
        }
        let seat = Rc::new(Seat::default());
        self.waiting.borrow_mut().push(seat.clone());
        poll_fn(|cx| {
            if let Some(asked) = seat.asked.take() {
                return Poll::Ready(Some(asked));
            }
            if seat.is_released.get() {
                return Poll::Ready(None);
            }
            *seat.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Lets the waiting tasks end.
    pub(super) fn release(&self) {
        for seat in self.waiting.take() {
            seat.is_released.set(true);
            seat.wake();
        }
    }

    /// Lets all tasks end: those that wait now, the others when they would.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.release();
    }
}
