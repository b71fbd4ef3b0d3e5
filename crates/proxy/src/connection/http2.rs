//! A client connection that speaks HTTP/2: one task drives the socket, and each request has one of its own.

mod seats;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use codec::http2::{Accepted, Code, Config, Role};
use codec::message::Response;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Method, StatusCode};
use proxy_config::HttpListener;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Sleep, sleep, timeout};

use self::seats::Seats;
use super::Client;
use super::phase::{Limits, Phase};
use crate::body::ResponseBody;
use crate::buffers;
use crate::frame::{Body as _, Frame};
use crate::headers;
use crate::http2::{Asked, Body, Rejected, Session, SessionError, Stream, StreamFailure, Tunnel};
use crate::incoming::{Incoming, Upgrade};
use crate::observe;
use crate::request;
use crate::stream::{Activity, DownstreamStream};

/// What a client may send on a stream before the endpoint has taken it. Of a connection this is, with 100 streams,
/// 100 x 256 KiB = 25.6 MB: all of them may be uploads to endpoints that take nothing.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Response bytes buffered per stream before the endpoint is slowed down. A client that takes nothing makes the proxy
/// hold this much for each stream: 100 x 64 KiB = 6.4 MB per connection.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How long the end of a connection may take that has something to say at its end, and what is read meanwhile.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const UNREAD_BYTES_MAX: u64 = 256 * 1024;

/// What a listener allows a connection.
pub(super) fn config(http: &HttpListener) -> Config {
    Config {
        streams_max: http.streams_max,
        stream_window: STREAM_WINDOW_BYTES,
        header_list_bytes_max: http.head_bytes_max,
        send_buffer_bytes: SEND_BUFFER_BYTES,
        new_map: buffers::take_map,
        ..Config::default()
    }
}

/// Tells the tasks of the requests when the connection is over, however it ends.
struct Ending {
    session: Rc<Session>,
    seats: Rc<Seats>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.session.end();
        self.seats.close();
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(
    client: &Rc<Client>,
    mut stream: DownstreamStream,
    config: Config,
    limits: Limits,
) -> io::Result<()> {
    let session = Session::new(Role::Server, config);
    let seats = Rc::new(Seats::default());
    let ending = Ending { session: session.clone(), seats: seats.clone() };
    let mut driver = Driver {
        client,
        session: &session,
        seats: &seats,
        activity: stream.activity(),
        limits,
        phase: Phase::First { since: runtime::monotonic() },
        closing_since: None,
        begun: 0,
        quiet_since: None,
        ends_at: limits.ends_at(runtime::monotonic()),
        is_leaving: false,
    };
    let ended = driver.run(&mut stream).await;
    drop(ending);
    if let Err(SessionError::Protocol(_)) = &ended {
        client.slot.view().http_counters.downstream_cx_protocol_error.inc();
    }
    if !client.is_cut_idle.get() {
        // How it goes does not matter any more: the client may have gone first.
        let _ = timeout(CLOSE_TIMEOUT, close(&mut stream, ended.is_err())).await;
    }
    ended.map_err(|error| match error {
        SessionError::Io(error) => error,
        SessionError::Protocol(error) => io::Error::other(error),
    })
}

/// Ends the connection. A client that is told why is read for a while (`lingers`): closing over unread bytes would
/// reset the connection, and the last words would be lost.
async fn close(stream: &mut DownstreamStream, lingers: bool) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await?;
    if lingers {
        tokio::io::copy(&mut stream.take(UNREAD_BYTES_MAX), &mut tokio::io::sink()).await?;
    }
    Ok(())
}

/// Moves the bytes, begins the requests, and decides when it has waited long enough.
struct Driver<'a> {
    client: &'a Rc<Client>,
    session: &'a Rc<Session>,
    seats: &'a Rc<Seats>,
    activity: Activity,
    limits: Limits,
    phase: Phase,
    closing_since: Option<Instant>,
    begun: u64,
    quiet_since: Option<Instant>,
    /// When it takes no more requests, whatever the listener does; `None` once that has been said.
    ends_at: Option<Instant>,
    /// It takes no more requests.
    is_leaving: bool,
}

impl Driver<'_> {
    async fn run(&mut self, stream: &mut DownstreamStream) -> Result<(), SessionError> {
        let mut closing = pin!(self.client.slot.closing.cancelled());
        let mut timer = pin!(sleep(self.limits.idle.min(self.limits.look())));
        poll_fn(|cx| {
            if self.closing_since.is_none() && closing.as_mut().poll(cx).is_ready() {
                self.closing_since = Some(runtime::monotonic());
                self.session.tell(|codec| codec.go_away_gracefully());
            }
            loop {
                if let Poll::Ready(ended) = self.session.poll_drive(cx, stream) {
                    return Poll::Ready(ended);
                }
                self.begin_requests();
                self.enter_next_phase();
                if self.limits.are_enough(self.begun) {
                    self.look_at_end();
                }
                if self.is_finished() {
                    return Poll::Ready(Ok(()));
                }
                if !self.is_due(cx, timer.as_mut()) {
                    return Poll::Pending;
                }
                if self.is_over(timer.as_mut()) {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }

    fn begin_requests(&self) {
        while let Some(asked) = self.session.next_asked() {
            if let Some(asked) = self.seats.give(asked) {
                let (client, session, seats) =
                    (self.client.clone(), self.session.clone(), self.seats.clone());
                tokio::task::spawn_local(answer_all(client, session, seats, asked));
            }
        }
        for rejected in self.session.take_rejected() {
            let status = match rejected {
                Rejected::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Rejected::Malformed(reason) => {
                    tracing::debug!(reason, "a client's request is none");
                    StatusCode::BAD_REQUEST
                }
            };
            observe::rejected_http2(self.client, status);
        }
    }

    fn enter_next_phase(&mut self) {
        let begun = self.client.requests_begun.get();
        let is_new = std::mem::replace(&mut self.begun, begun) != begun;
        let (streams_open, is_inside_head) =
            self.session.ask(|codec| (codec.streams_open(), codec.is_inside_head()));
        let is_busy = streams_open > 0 || self.client.requests_active.get() > 0;
        self.phase = match self.phase {
            Phase::Ending { .. } => self.phase,
            _ if is_busy => Phase::Busy,
            // It came and was answered since the last look.
            _ if is_new => Phase::Idle { since: self.client.worker.last_now() },
            Phase::Busy => Phase::Idle { since: self.client.worker.last_now() },
            Phase::First { .. } | Phase::Idle { .. } if is_inside_head => {
                Phase::Head { since: runtime::monotonic() }
            }
            Phase::Head { .. } if !is_inside_head => Phase::Idle { since: runtime::monotonic() },
            Phase::First { .. } | Phase::Idle { .. } | Phase::Head { .. } => self.phase,
        };
    }

    /// Says that no more requests are taken, when the connection has had its time or its number of them.
    fn look_at_end(&mut self) {
        if self.is_leaving {
            return;
        }
        let view = self.client.slot.view();
        if self.limits.are_enough(self.begun) {
            view.http_counters.downstream_cx_max_requests_reached.inc();
        } else if self.ends_at.is_some_and(|at| at <= runtime::monotonic()) {
            view.http_counters.downstream_cx_max_duration_reached.inc();
        } else {
            return;
        }
        (self.is_leaving, self.ends_at) = (true, None);
        self.session.tell(|codec| codec.go_away_gracefully());
        if matches!(self.phase, Phase::First { .. } | Phase::Idle { .. }) {
            self.phase = Phase::Ending { since: runtime::monotonic() };
            self.session.tell(|codec| codec.finish_going_away());
        }
    }

    /// When the connection has waited long enough for what it is waiting for, or takes no more requests.
    fn deadline(&self) -> Option<Instant> {
        let deadline = self.phase.deadline(self.limits, self.closing_since);
        deadline.into_iter().chain(self.ends_at).min()
    }

    /// True when both ends know that it is over, and all is written.
    fn is_finished(&self) -> bool {
        self.client.requests_active.get() == 0
            && self.session.ask(|codec| codec.is_finished() && codec.output_len() == 0)
    }

    /// The timer is set only when it fires or must fire earlier than it is set to.
    fn is_due(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> bool {
        if let Some(deadline) = self.deadline()
            && tokio::time::Instant::from(deadline) < timer.deadline()
        {
            timer.as_mut().reset(deadline.into());
        }
        timer.poll(cx).is_ready()
    }

    /// Looks at what has waited for how long. True when the connection has waited long enough.
    fn is_over(&mut self, mut timer: Pin<&mut Sleep>) -> bool {
        let now = runtime::monotonic();
        let client = self.client;
        self.look_at_end();
        let deadline = self.deadline();
        let stream_idle = self.limits.stream_idle;
        let activity = &self.activity;
        let is_quiet = client.is_quiet();
        self.quiet_since = if is_quiet { self.quiet_since.or(Some(now)) } else { None };
        let is_limited = self.phase == Phase::Busy && !stream_idle.is_zero();
        if is_limited
            && (self.quiet_since.is_some_and(|it| it + stream_idle <= now)
                || client.is_stalled(activity.take_moved(), activity.is_write_blocked()))
        {
            client.is_cut_idle.set(true);
            return true;
        }
        // When nothing moves at all the whole connection is cut, which is found out in less than twice this time.
        if is_limited
            && !is_quiet
            && let Some(before) = now.checked_sub(2 * stream_idle)
        {
            self.cut_stalled(before);
        }
        if deadline.is_none_or(|deadline| deadline > now) {
            let look = now + self.limits.look();
            timer.as_mut().reset(deadline.map_or(look, |it| it.min(look)).into());
            if matches!(self.phase, Phase::Idle { .. }) {
                self.seats.release();
                self.session.rest();
            }
            return false;
        }
        let view = client.slot.view();
        match self.phase {
            Phase::First { .. } | Phase::Idle { .. } => {
                view.http_counters.downstream_cx_idle_timeout.inc();
                self.phase = Phase::Ending { since: now };
                self.session.tell(|codec| {
                    codec.go_away_gracefully();
                    codec.finish_going_away();
                });
                false
            }
            Phase::Head { .. } => {
                view.http_counters.downstream_rq_header_timeout.inc();
                true
            }
            Phase::Ending { .. } | Phase::Busy => true,
        }
    }

    /// Resets the streams whose client gives no window while it goes on with others. Of those whose response has been
    /// handed over to its end nobody else counts it.
    fn cut_stalled(&self, before: Instant) {
        for stream in self.session.cut_stalled(before) {
            if stream.is_handed_over() {
                let view = self.client.slot.view();
                view.http_counters.downstream_rq_idle_timeout.inc();
            }
        }
    }
}

/// Answers one request after the other.
async fn answer_all(client: Rc<Client>, session: Rc<Session>, seats: Rc<Seats>, first: Asked) {
    let mut next = Some(first);
    while let Some(asked) = next {
        answer(&client, &session, asked).await;
        next = seats.next().await;
    }
}

/// Answers one request, unless the stream is over before.
async fn answer(client: &Rc<Client>, session: &Rc<Session>, asked: Asked) {
    let Asked { stream, request } = asked;
    let method = request.method().clone();
    let (body, upgrade) = if method == Method::CONNECT {
        let tunnel = Tunnel::new(session.clone(), stream.clone());
        (Incoming::Empty, Some(Upgrade::Http2(tunnel)))
    } else {
        (Body::of_request(session.clone(), stream.clone()).into(), None)
    };
    let request = request.map(|()| body);
    let response = {
        let mut answered = pin!(request::answer(client.clone(), request, upgrade));
        poll_fn(|cx| match stream.poll_failure(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => answered.as_mut().poll(cx).map(Some),
        })
        .await
    };
    let Some(response) = response else { return };
    let mut sending = Sending { client, session, stream: &stream, rest: Bytes::new(), end: false };
    let Some(mut body) = sending.begin(response, &method) else { return };
    poll_fn(|cx| sending.poll(cx, &mut body)).await;
    if stream.failure() == Some(StreamFailure::Stalled) {
        // For this exchange alone.
        let before = client.is_cut_idle.replace(true);
        drop(body);
        client.is_cut_idle.set(before);
    }
}

/// A response on its way.
struct Sending<'a> {
    client: &'a Client,
    session: &'a Session,
    stream: &'a Stream,
    /// What there was no room for.
    rest: Bytes,
    /// Nothing follows `rest`.
    end: bool,
}

impl Sending<'_> {
    /// Sends the head and gives the body, if one is to be sent.
    fn begin(&self, response: Response<ResponseBody>, method: &Method) -> Option<ResponseBody> {
        let (mut parts, body) = response.into_parts();
        let is_tunnel = *method == Method::CONNECT && parts.status.is_success();
        let is_empty = body.is_end_stream();
        if !is_empty
            && let Some(length) = body.size_hint().exact()
            && !parts.headers.contains_key(CONTENT_LENGTH)
        {
            parts.headers.insert(CONTENT_LENGTH, headers::number(length));
        }
        if !parts.headers.contains_key(DATE) {
            let date = HeaderValue::from_bytes(&self.client.worker.http_date());
            parts.headers.insert(DATE, date.expect("a date is printable ASCII"));
        }
        let end = (is_empty || *method == Method::HEAD) && !is_tunnel;
        let key = self.stream.key();
        let is_sent =
            self.session.tell(|codec| codec.send_response(key, parts.status, &parts.headers, end));
        buffers::put_map(&mut parts.headers);
        self.stream.set_answered();
        let is_over = end || is_tunnel || !is_sent;
        if is_over {
            self.stream.set_handed_over();
        }
        (!is_over).then_some(body)
    }

    /// Ready when all is handed over, or nobody wants it any more.
    fn poll(&mut self, cx: &mut Context<'_>, body: &mut ResponseBody) -> Poll<()> {
        if self.stream.poll_failure(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            if !self.rest.is_empty() || self.end {
                match self.session.send_data(self.stream, &mut self.rest, self.end) {
                    Accepted::All if self.end => {
                        self.stream.set_handed_over();
                        return Poll::Ready(());
                    }
                    Accepted::All => {}
                    Accepted::Some => {
                        body.poll_upload(cx);
                        return Poll::Pending;
                    }
                    Accepted::Gone => return Poll::Ready(()),
                }
            }
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                return Poll::Pending;
            };
            match frame {
                None => self.end = true,
                Some(Ok(Frame::Data(data))) => {
                    self.rest = data;
                    self.end = body.is_end_stream();
                }
                Some(Ok(Frame::Trailers(trailers))) => {
                    let key = self.stream.key();
                    self.session.tell(|codec| codec.send_trailers(key, trailers));
                    self.stream.set_handed_over();
                    return Poll::Ready(());
                }
                Some(Err(_)) => {
                    let key = self.stream.key();
                    self.session.tell(|codec| codec.reset(key, Code::INTERNAL_ERROR));
                    return Poll::Ready(());
                }
            }
        }
    }
}
