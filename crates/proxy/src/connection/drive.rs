//! Runs a client connection of HTTP/2: hyper moves the bytes, this decides when it has waited long enough.

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use tokio::time::sleep;

use super::Client;
use super::phase::{Limits, Phase};
use crate::stream::{Activity, DownstreamStream};

/// A connection of hyper's that can be told to end after what is under way.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    fn begin_end(self: Pin<&mut Self>);
}

impl<S, B, E> Graceful for http2::Connection<TokioIo<DownstreamStream>, S, E>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn begin_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// The phase after hyper has done what it could. `is_new` says that a request came.
fn next(phase: Phase, client: &Client, is_new: bool) -> Phase {
    let is_busy = client.requests_active.get() > 0;
    match phase {
        Phase::Ending { .. } => phase,
        _ if is_busy => Phase::Busy,
        // It came and was answered in one go.
        _ if is_new => Phase::Idle { since: client.worker.last_now() },
        Phase::First { .. } | Phase::Idle { .. } | Phase::Head { .. } => phase,
        Phase::Busy => Phase::Idle { since: client.worker.last_now() },
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
            // HTTP/2 has a word for it that loses no request.
            connection.as_mut().begin_end();
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            let is_new = client.requests_begun.get() != begun;
            begun = client.requests_begun.get();
            phase = next(phase, client, is_new);
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
                Phase::Busy
                    if client.is_stalled(activity.take_moved(), activity.is_write_blocked())
                        && !limits.stream_idle.is_zero() =>
                {
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
