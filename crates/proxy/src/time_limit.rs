//! The time limits of a stream, kept with one timer.
//!
//! The timer is set anew only when it fires or must fire earlier, so that most requests of a connection find it
//! running and leave it alone.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

use crate::body::RequestProgress;

/// A timer that requests hand on to each other.
pub(crate) type Timer = Pin<Box<Sleep>>;

/// Which limit was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expired {
    /// No head of a response came in time after the end of the request.
    Head,
    /// No byte moved for too long.
    Idle,
    /// The stream has lasted as long as it may.
    TookTooLong,
}

/// How long each of it may be; zero means no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Durations {
    /// From the end of the request to the head of the response.
    pub(crate) head: Duration,
    /// Without a byte in either direction.
    pub(crate) idle: Duration,
    /// From the beginning of the request to the end of the response.
    pub(crate) stream: Duration,
}

/// The limits of one request and its response.
pub(crate) struct TimeLimit {
    /// From the end of the request to the head of the response; zero means no limit.
    head: Duration,
    /// Without a byte in either direction; zero means no limit.
    idle: Duration,
    /// When the response must have ended.
    ends_at: Option<Instant>,
    timer: Timer,
    /// `None` when the request has no body; then it ended when it came.
    request: Option<Rc<RequestProgress>>,
    /// When it came, and later when a byte of the response was seen last.
    moved_at: Instant,
    /// Nothing of the response came since `moved_at`.
    is_quiet: bool,
}

impl TimeLimit {
    /// `timer` is one that another request has done with. `None` when there is no limit.
    pub(crate) fn new(
        limits: Durations,
        request: Option<Rc<RequestProgress>>,
        started: Instant,
        timer: Option<Timer>,
    ) -> Option<Self> {
        let Durations { head, idle, stream } = limits;
        let first = [head, idle, stream].into_iter().filter(|it| !it.is_zero()).min()?;
        let timer = timer.unwrap_or_else(|| Box::pin(sleep(first)));
        let ends_at = (!stream.is_zero()).then(|| started + stream);
        let moved_at = started;
        let mut limit = Self { head, idle, ends_at, timer, request, moved_at, is_quiet: false };
        limit.fire_by(started + first);
        Some(limit)
    }

    /// For the next request.
    pub(crate) fn into_timer(self) -> Timer {
        self.timer
    }

    /// Ready when the head of the response took too long, or the request stands still.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = runtime::monotonic();
            if self.ends_at.is_some_and(|at| at <= now) {
                return Poll::Ready(Expired::TookTooLong);
            }
            match self.before_head(now).map(|next| earlier(next, self.ends_at)) {
                Ok(Some(next)) => self.timer.as_mut().reset(next.into()),
                Ok(None) => return Poll::Pending,
                Err(expired) => return Poll::Ready(expired),
            }
        }
    }

    /// When to look again, if ever, or what has expired.
    fn before_head(&self, now: Instant) -> Result<Option<Instant>, Expired> {
        let waits_since = match &self.request {
            None => Some(self.moved_at),
            Some(request) => request.ended_at.get(),
        };
        match waits_since {
            Some(_) if self.head.is_zero() => Ok(None),
            Some(since) if since + self.head <= now => Err(Expired::Head),
            Some(since) => Ok(Some(since + self.head)),
            // Nobody tells when the request ends, so it is looked at as often as the limit is long.
            None if self.idle.is_zero() => Ok(Some(now + self.head)),
            None if self.last_moved() + self.idle <= now => Err(Expired::Idle),
            None if self.head.is_zero() => Ok(Some(self.last_moved() + self.idle)),
            None => Ok(Some((self.last_moved() + self.idle).min(now + self.head))),
        }
    }

    /// A byte of the response came.
    pub(crate) fn note_moved(&mut self) {
        self.is_quiet = false;
    }

    /// To be polled while no byte of the response is there. Ready when none has moved for too long, neither of the
    /// request.
    pub(crate) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        if self.idle.is_zero() && self.ends_at.is_none() {
            return Poll::Pending;
        }
        if !self.is_quiet {
            self.is_quiet = true;
            self.moved_at = runtime::monotonic();
            if let Some(at) = earlier(self.idle_at(), self.ends_at) {
                self.fire_by(at);
            }
        }
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = runtime::monotonic();
            let idle_at = self.idle_at();
            if self.ends_at.is_some_and(|at| at <= now) {
                return Poll::Ready(Expired::TookTooLong);
            }
            if idle_at.is_some_and(|at| at <= now) {
                return Poll::Ready(Expired::Idle);
            }
            let Some(next) = earlier(idle_at, self.ends_at) else { return Poll::Pending };
            self.timer.as_mut().reset(next.into());
        }
    }

    /// The head of the response is there: from now on it may stand still no longer than this.
    pub(crate) fn shorten_idle(&mut self, idle: Duration) {
        if self.idle.is_zero() || idle < self.idle {
            self.idle = idle;
        }
    }

    fn idle_at(&self) -> Option<Instant> {
        (!self.idle.is_zero()).then(|| self.last_moved() + self.idle)
    }

    fn last_moved(&self) -> Instant {
        let of_request = self.request.as_ref().and_then(|it| it.moved_at.get());
        of_request.map_or(self.moved_at, |it| it.max(self.moved_at))
    }

    fn fire_by(&mut self, at: Instant) {
        let at = at.into();
        if self.timer.is_elapsed() || self.timer.deadline() > at {
            self.timer.as_mut().reset(at);
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
