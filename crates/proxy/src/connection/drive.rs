//! Runs a client connection: hyper moves the bytes, this decides when it has waited long enough.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::sleep;

use super::{Client, LINGER};
use crate::stream::{Activity, DownstreamStream};

/// The same, for a connection that was busy when the listener began to close and whose response could not announce
/// it: the client had no time to be idle, so its next request comes at once or not at all.
const LINGER_AFTER_RESPONSE: Duration = Duration::from_millis(100);
/// After the last response a client has this long to take what is still in the buffers.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection of hyper's that can be told to end after what is under way.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    fn begin_end(self: Pin<&mut Self>);
}

impl<S, B> Graceful for http1::UpgradeableConnection<TokioIo<DownstreamStream>, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn begin_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// How long a connection waits for what.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    /// For any byte while a request is under way; zero for ever.
    pub(super) stream_idle: Duration,
}

impl Limits {
    /// How often a busy connection is looked at: one that stalls is cut after once to twice this time.
    fn look(self) -> Duration {
        if self.stream_idle.is_zero() { self.idle } else { self.stream_idle }
    }
}

/// What a connection is waiting for.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// The first request of the connection. Who connects wants something: this is not given the time of an idle one.
    First { since: Instant },
    /// The first byte of another request.
    Idle { since: Instant },
    /// The rest of a request head.
    Head { since: Instant },
    /// The end of a request or a response.
    Busy,
    /// The client, to take what is left.
    Ending { since: Instant },
}

impl Phase {
    fn deadline(self, limits: Limits, closing_since: Option<Instant>) -> Option<Instant> {
        match self {
            Phase::First { since } => {
                let deadline = since + limits.head;
                Some(closing_since.map_or(deadline, |closing| deadline.min(closing + LINGER)))
            }
            Phase::Idle { since } => Some(match closing_since {
                None => since + limits.idle,
                Some(closing) if since > closing => since + LINGER_AFTER_RESPONSE,
                Some(closing) => (since + limits.idle).min(closing + LINGER),
            }),
            Phase::Head { since } => Some(since + limits.head),
            Phase::Busy => None,
            Phase::Ending { since } => Some(since + FLUSH_TIMEOUT),
        }
    }

    /// The phase after hyper has done what it could. `is_new` says that a request came, and `arrived` that bytes were
    /// read that made none yet.
    fn next(self, client: &Client, is_new: bool, arrived: bool) -> Phase {
        let is_busy = client.requests_active.get() > 0;
        match self {
            Phase::Ending { .. } => self,
            _ if is_busy => Phase::Busy,
            // It came and was answered in one go.
            _ if is_new => Phase::Idle { since: client.worker.last_now() },
            Phase::First { .. } | Phase::Idle { .. } if arrived => {
                Phase::Head { since: runtime::monotonic() }
            }
            Phase::First { .. } | Phase::Idle { .. } | Phase::Head { .. } => self,
            Phase::Busy => Phase::Idle { since: client.worker.last_now() },
        }
    }
}

/// Runs a connection to its end. hyper moves the bytes; this decides when it has waited long enough.
pub(super) async fn drive(
    connection: impl Graceful,
    client: &Client,
    activity: &Activity,
    limits: Limits,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut closing = pin!(client.slot.closing.cancelled());
    let mut timer = pin!(sleep(limits.idle.min(limits.look())));
    let mut phase = Phase::First { since: runtime::monotonic() };
    let mut closing_since = None;
    let mut begun = 0;
    let mut quiet_since = None;
    poll_fn(|cx| {
        if closing_since.is_none() && closing.as_mut().poll(cx).is_ready() {
            closing_since = Some(runtime::monotonic());
            client.is_closing.set(true);
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            let is_new = client.requests_begun.get() != begun;
            begun = client.requests_begun.get();
            let arrived = activity.take_arrived() && !is_new;
            phase = phase.next(client, is_new, arrived);
            // Looked at only when the timer fires or must fire earlier than it is set to.
            match phase.deadline(limits, closing_since) {
                Some(deadline) if tokio::time::Instant::from(deadline) < timer.deadline() => {
                    timer.as_mut().reset(deadline.into());
                }
                Some(_) | None => {}
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = runtime::monotonic();
            let deadline = phase.deadline(limits, closing_since);
            quiet_since = if client.is_quiet() { quiet_since.or(Some(now)) } else { None };
            match phase {
                // An HTTP/2 client that gives no window keeps hyper from asking for bodies, whose own limits then never
                // run. They come first where they do, and end one stream only.
                Phase::Busy
                    if !limits.stream_idle.is_zero()
                        && quiet_since.is_some_and(|it| it + limits.stream_idle <= now) =>
                {
                    client.is_cut_idle.set(true);
                    return Poll::Ready(Ok(()));
                }
                Phase::Busy if client.is_stalled(activity) && !limits.stream_idle.is_zero() => {
                    client.is_cut_idle.set(true);
                    return Poll::Ready(Ok(()));
                }
                _ if deadline.is_none_or(|deadline| deadline > now) => {
                    let look = now + limits.look();
                    timer.as_mut().reset(deadline.map_or(look, |it| it.min(look)).into());
                }
                Phase::First { .. } | Phase::Idle { .. } => {
                    client.slot.view().http_counters.downstream_cx_idle_timeout.inc();
                    phase = Phase::Ending { since: now };
                    connection.as_mut().begin_end();
                }
                Phase::Head { .. } => {
                    client.slot.view().http_counters.downstream_rq_header_timeout.inc();
                    return Poll::Ready(Ok(()));
                }
                Phase::Ending { .. } | Phase::Busy => return Poll::Ready(Ok(())),
            }
        }
    })
    .await
}
