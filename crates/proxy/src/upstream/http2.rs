//! Connections to endpoints that carry several requests at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use codec::http2::{Code, Config, Role, Target};
use codec::message::{Request, Response};
use proxy_config::Cluster;
use tokio::io::AsyncWrite;
use traffic::Stage;

use super::wire::{Greeted, Greeting};
use super::{EndpointPool, NoConnection, OpenConnection, SendFailure, Terms, Wire};
use crate::body::RequestBody;
use crate::buffers;
use crate::connection::Client;
use crate::frame::Body as _;
use crate::http2::{Body, Session, SessionError, Stream, StreamFailure, Upload};
use crate::incoming::Incoming;
use crate::tls::Offer;

/// What an endpoint may send on a stream before the client has taken it. It bounds what slow clients make the proxy
/// hold: 100 x 256 KiB = 25.6 MB per connection of 100 streams.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Of a request body, what waits for the endpoint's window: 100 x 64 KiB = 6.4 MB per connection.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// An endpoint that vanished without a word (a machine that lost power) is asked for a sign of life when a request
/// waits for its response and nothing has come for so long.
const SILENCE_BEFORE_PING: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Servers of gRPC send clients away that ask more often than this while nothing is said.
const PING_INTERVAL_MIN: Duration = Duration::from_mins(5);
/// How long the last words to an endpoint may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that carries several requests at once.
pub(super) struct Shared {
    session: Rc<Session>,
    open: Rc<OpenConnection>,
    greeting: Greeting,
    /// Requests that have a lease.
    leases: Cell<u32>,
    leases_max: u32,
    /// Requests whose response has not begun.
    waiting: Cell<u32>,
    pinged_last: Cell<Option<Instant>>,
    carried: Cell<bool>,
    idle_since: Cell<Instant>,
}

impl Shared {
    pub(super) fn is_closed(&self) -> bool {
        self.session.is_ended() || self.session.ask(|codec| codec.is_leaving())
    }

    pub(super) fn is_used(&self) -> bool {
        self.leases.get() > 0
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    fn has_room(&self) -> bool {
        let leases = self.leases.get();
        leases < self.leases_max
            && self.session.ask(|codec| leases < codec.streams_allowed() && codec.can_open())
    }

    /// It may take no more requests; those under way go on.
    fn is_worn(&self) -> bool {
        self.open.wear.is_over_now()
    }

    /// Finds out whether an endpoint lives that lets requests wait and says nothing.
    pub(super) fn look_after(&self, now: Instant) {
        if self.waiting.get() == 0 {
            return;
        }
        let (heard_at, pinged_at) = self.session.heard_at();
        match care(heard_at, pinged_at, self.pinged_last.get(), now) {
            Care::None => {}
            Care::Ping => {
                self.pinged_last.set(Some(now));
                self.session.ping(now);
            }
            Care::GiveUp => self.session.give_up(),
        }
    }
}

/// What is done about an endpoint that lets a request wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Care {
    None,
    Ping,
    GiveUp,
}

/// `unanswered` is when the ping was sent that it has not answered, `pinged_last` when the last one was.
fn care(
    heard_at: Instant,
    unanswered: Option<Instant>,
    pinged_last: Option<Instant>,
    now: Instant,
) -> Care {
    let may_ping = pinged_last.is_none_or(|it| it + PING_INTERVAL_MIN <= now);
    match unanswered {
        Some(pinged_at) if pinged_at + PING_TIMEOUT <= now => Care::GiveUp,
        None if may_ping && heard_at + SILENCE_BEFORE_PING <= now => Care::Ping,
        None | Some(_) => Care::None,
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.session.abandon();
    }
}

pub(crate) struct Lease {
    connection: Rc<Shared>,
    pub(super) is_reused: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.leases.set(connection.leases.get() - 1);
        connection.open.pool().wake_one();
    }
}

pub(super) async fn acquire(
    pool: &Rc<EndpointPool>,
    terms: Terms<'_>,
) -> Result<Lease, NoConnection> {
    match lease(pool) {
        Some(lease) => Ok(lease),
        // Boxed: every request would carry the room for what few of them do.
        None => Box::pin(wait_for_one(pool, terms)).await,
    }
}

async fn wait_for_one(pool: &Rc<EndpointPool>, terms: Terms<'_>) -> Result<Lease, NoConnection> {
    let _waiting = terms.wait(pool)?;
    loop {
        if let Some(lease) = lease(pool) {
            return Ok(lease);
        }
        if pool.http2_connecting.get() {
            pool.wait(terms.connect_timeout, NoConnection::TimedOut).await?;
            continue;
        }
        let Some(open) = OpenConnection::new(pool, &terms) else {
            pool.wait(terms.connect_timeout, NoConnection::Overflow).await?;
            continue;
        };
        let (connecting, open) = (Connecting::new(pool), Rc::new(open));
        let stream = open.connect(&terms, Offer::Http2).await?;
        over(open, stream, &terms);
        drop(connecting);
    }
}

/// A place on a connection that has room.
fn lease(pool: &EndpointPool) -> Option<Lease> {
    let connection = with_room(pool)?;
    let is_reused = connection.carried.replace(true);
    connection.leases.set(connection.leases.get() + 1);
    connection.open.wear.note_request();
    Some(Lease { connection, is_reused })
}

/// Speaks HTTP/2 on a connection, which requests find in the pool from then on.
pub(super) fn over(open: Rc<OpenConnection>, wire: Wire, cluster: &Cluster) {
    let pool = open.pool().clone();
    let connection = begin(open, wire, cluster);
    pool.http2.borrow_mut().push(Rc::new(connection));
}

/// One connection is set up at a time: the requests that wait meanwhile share it.
struct Connecting<'a>(&'a EndpointPool);

impl<'a> Connecting<'a> {
    fn new(pool: &'a EndpointPool) -> Self {
        pool.http2_connecting.set(true);
        Self(pool)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.http2_connecting.set(false);
        // All of them: each looks for room, or the next one opens a connection.
        for waiter in self.0.waiting.borrow_mut().drain(..) {
            let _ = waiter.send(());
        }
    }
}

fn with_room(pool: &EndpointPool) -> Option<Rc<Shared>> {
    let mut connections = pool.http2.borrow_mut();
    connections.retain(|it| !it.is_closed() && !it.is_worn());
    connections.iter().find(|it| it.has_room()).cloned()
}

fn begin(open: Rc<OpenConnection>, wire: Wire, cluster: &Cluster) -> Shared {
    let greeting = wire.greeting();
    open.pool().counters.upstream_cx_http2_total.inc();
    let config = Config {
        stream_window: STREAM_WINDOW_BYTES,
        send_buffer_bytes: SEND_BUFFER_BYTES,
        header_list_bytes_max: HEADER_LIST_BYTES_MAX,
        streams_max: cluster.streams_max,
        new_map: buffers::take_map,
        ..Config::default()
    };
    let session = Session::new(Role::Client, config);
    tokio::task::spawn_local(drive(session.clone(), wire, open.clone()));
    Shared {
        session,
        open,
        greeting,
        leases: Cell::new(0),
        leases_max: cluster.streams_max,
        waiting: Cell::new(0),
        pinged_last: Cell::new(None),
        carried: Cell::new(false),
        idle_since: Cell::new(runtime::monotonic()),
    }
}

/// Tells the requests when the connection is over, however it ends.
struct Ending(Rc<Session>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn drive(session: Rc<Session>, mut wire: Wire, open: Rc<OpenConnection>) {
    let ending = Ending(session.clone());
    let mut streams_before = 0;
    let ended = poll_fn(|cx| {
        let driven = session.poll_drive(cx, &mut wire);
        // The endpoint may allow more streams now, or one has ended.
        let (streams, is_finished) =
            session.ask(|codec| (codec.streams_open(), codec.is_finished()));
        if std::mem::replace(&mut streams_before, streams) > streams {
            open.pool().wake_one();
        }
        match driven {
            Poll::Pending if is_finished || session.is_abandoned() && streams == 0 => {
                Poll::Ready(Ok(()))
            }
            driven => driven,
        }
    })
    .await;
    if let Err(SessionError::Protocol(error)) = &ended {
        tracing::debug!(%error, "an endpoint does not speak HTTP/2");
    }
    if ended.is_ok() {
        session.tell(|codec| codec.go_away(Code::NO_ERROR));
    }
    let last_words = async {
        poll_fn(|cx| session.poll_flush(cx, &mut wire)).await?;
        poll_fn(|cx| Pin::new(&mut wire).poll_shutdown(cx)).await
    };
    // Requests need not wait for that; nobody is left who could be told how it went.
    drop(ending);
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, last_words).await;
}

/// Counts a request whose response has not begun.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(connection: &'a Shared) -> Self {
        connection.waiting.set(connection.waiting.get() + 1);
        Self(connection)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// Resets the stream of a request that nobody waits for any more.
struct Asking<'a> {
    session: &'a Session,
    stream: Option<Rc<Stream>>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream
            && stream.failure().is_none()
        {
            self.session.tell(|codec| codec.reset(stream.key(), Code::CANCEL));
        }
    }
}

impl Lease {
    pub(super) async fn send(
        &mut self,
        request: &mut Request<RequestBody>,
        client: Option<&Client>,
    ) -> Result<Response<Incoming>, SendFailure> {
        let session = &self.connection.session;
        let end = request.body().is_end_stream();
        let target = Target { method: request.method(), uri: request.uri(), protocol: None };
        let Some(stream) = session.open(target, request.headers(), end) else {
            return Err(self.failure(StreamFailure::ConnectionEnded { is_unsent: true }));
        };
        let waiting = Waiting::new(&self.connection);
        let mut asking = Asking { session, stream: Some(stream.clone()) };
        let mut upload =
            (!end).then(|| Upload::new(std::mem::replace(request.body_mut(), RequestBody::Empty)));
        let head = poll_fn(|cx| {
            if let Some(upload) = &mut upload
                && let Poll::Ready(Err(_)) = upload.poll_send(cx, session, &stream)
            {
                let failure = StreamFailure::ConnectionEnded { is_unsent: false };
                return Poll::Ready(Err(failure));
            }
            while let Some(interim) = stream.take_interim() {
                if let Some(client) = client {
                    client.pass_on(interim.status(), interim.headers());
                }
            }
            stream.poll_head(cx)
        })
        .await;
        drop(waiting);
        asking.stream = None;
        match head {
            Ok(head) => {
                let upload = upload.filter(|it| !it.is_done());
                let body = Body::of_response(session.clone(), stream, upload);
                Ok(head.map(|()| body.into()))
            }
            Err(failure) => {
                let failed = self.failure(failure);
                if failed.is_unsent
                    && let Some(body) = upload.and_then(Upload::into_body)
                {
                    *request.body_mut() = body;
                }
                Err(failed)
            }
        }
    }

    fn failure(&self, failure: StreamFailure) -> SendFailure {
        let is_unsent = matches!(failure, StreamFailure::ConnectionEnded { is_unsent: true });
        let stage = match failure {
            _ if is_unsent => Stage::ClosedUnsent,
            _ if failure.is_unread() => Stage::RefusedUnread,
            _ => Stage::AfterSend,
        };
        SendFailure {
            stage,
            is_protocol_error: failure.is_protocol_error(),
            greeted: Some(self.greeted()),
            is_unsent,
        }
    }

    fn greeted(&self) -> Greeted {
        self.connection.greeting.greeted()
    }

    pub(super) fn release(self, now: Instant) {
        self.connection.idle_since.set(now);
        let pool = self.connection.open.pool().clone();
        // The connection ends with its last lease; streams under way hold one each.
        if pool.retired.get() && self.connection.leases.get() == 1 {
            pool.http2.borrow_mut().retain(|it| !Rc::ptr_eq(it, &self.connection));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_endpoint_is_pinged_once_and_given_up_when_it_does_not_answer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(care(at(0), None, None, at(14)), Care::None);
        assert_eq!(care(at(0), None, None, at(15)), Care::Ping);
        assert_eq!(care(at(0), Some(at(15)), Some(at(15)), at(24)), Care::None);
        assert_eq!(care(at(0), Some(at(15)), Some(at(15)), at(25)), Care::GiveUp);
        // It answered, and is silent again.
        assert_eq!(care(at(16), None, Some(at(15)), at(100)), Care::None);
        assert_eq!(care(at(16), None, Some(at(15)), at(315)), Care::Ping);
    }
}
