use std::cell::Cell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::wire::{Greeted, Greeting};
use super::{EndpointPool, LocalExecutor, NoConnection, OpenConnection, Terms, Wire};
use crate::body::RequestBody;
use crate::incoming::Incoming;
use crate::tls::Offer;

/// Streams that one connection carries before another one is opened, if the endpoint does not ask for less.
const STREAMS_PER_CONNECTION: u32 = 100;
/// Receive windows. They bound what a slow client makes the proxy hold: per stream, and per connection. The connection's
/// has room for all streams at once, 100 x 64 KiB = 6.4 MB: streams whose clients are slow leave the others theirs. 64 KiB
/// per round trip are 64 MB/s at the 1 ms of a data center.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = STREAMS_PER_CONNECTION * STREAM_WINDOW_BYTES;
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// Of an endpoint that vanished without a word (a machine that lost power) no `RST` ever comes.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that carries several requests at once.
pub(super) struct Shared {
    sender: SendRequest<RequestBody>,
    open: Rc<OpenConnection>,
    greeting: Greeting,
    streams: Cell<u32>,
    /// What the endpoint allows, and at most [`STREAMS_PER_CONNECTION`].
    streams_max: Rc<Cell<u32>>,
    carried: Cell<bool>,
    idle_since: Cell<Instant>,
}

impl Shared {
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn is_used(&self) -> bool {
        self.streams.get() > 0
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    fn has_room(&self) -> bool {
        self.streams.get() < self.streams_max.get()
    }

    /// It may take no more requests; those under way go on.
    fn is_worn(&self) -> bool {
        self.open.wear.is_over_now()
    }
}

pub(crate) struct Lease {
    connection: Rc<Shared>,
    pub(super) is_reused: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.streams.set(connection.streams.get() - 1);
        connection.open.pool.wake_one();
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
        Box::pin(over(open, stream)).await?;
        drop(connecting);
    }
}

/// A place on a connection that has room.
fn lease(pool: &EndpointPool) -> Option<Lease> {
    let connection = with_room(pool)?;
    let is_reused = connection.carried.replace(true);
    connection.streams.set(connection.streams.get() + 1);
    connection.open.wear.note_request();
    Some(Lease { connection, is_reused })
}

/// Speaks HTTP/2 on a connection, which requests find in the pool from then on.
pub(super) async fn over(open: Rc<OpenConnection>, stream: Wire) -> Result<(), NoConnection> {
    let pool = open.pool.clone();
    let connection = handshake(open, stream).await?;
    pool.http2.borrow_mut().push(Rc::new(connection));
    Ok(())
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

async fn handshake(open: Rc<OpenConnection>, stream: Wire) -> Result<Shared, NoConnection> {
    let greeting = stream.greeting();
    open.pool.counters.upstream_cx_http2_total.inc();
    let (sender, connection) = Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_reset_streams(STREAMS_PER_CONNECTION as usize)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| NoConnection::Failed)?;
    let streams_max = Rc::new(Cell::new(STREAMS_PER_CONNECTION));
    tokio::task::spawn_local(run(connection, open.clone(), streams_max.clone()));
    Ok(Shared {
        sender,
        open,
        greeting,
        streams: Cell::new(0),
        streams_max,
        carried: Cell::new(false),
        idle_since: Cell::new(runtime::monotonic()),
    })
}

async fn run(
    connection: Connection<TokioIo<Wire>, RequestBody, LocalExecutor>,
    _open: Rc<OpenConnection>,
    streams_max: Rc<Cell<u32>>,
) {
    let mut connection = pin!(connection);
    poll_fn(|cx| {
        // Its error reaches the requests that were under way.
        let ended = connection.as_mut().poll(cx).map(|_| ());
        if ended.is_pending() {
            let allowed = u32::try_from(connection.current_max_send_streams()).unwrap_or(u32::MAX);
            streams_max.set(allowed.min(STREAMS_PER_CONNECTION));
        }
        ended
    })
    .await;
}

impl Lease {
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let response = self.connection.sender.clone().try_send_request(request).await?;
        Ok(response.map(Incoming::from))
    }

    pub(super) fn greeted(&self) -> Greeted {
        self.connection.greeting.greeted()
    }

    pub(super) fn release(self, now: Instant) {
        self.connection.idle_since.set(now);
        let pool = self.connection.open.pool.clone();
        // The connection ends with its last sender; streams under way hold one each.
        if pool.retired.get() && self.connection.streams.get() == 1 {
            pool.http2.borrow_mut().retain(|it| !Rc::ptr_eq(it, &self.connection));
        }
    }
}

/// The endpoint says that it has not looked at the request (RFC 9113, sections 6.8 and 8.7).
pub(super) fn is_refused_unread(error: &hyper::Error) -> bool {
    error.source().and_then(|it| it.downcast_ref::<h2::Error>()).is_some_and(|it| {
        it.is_remote() && (it.is_go_away() || it.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}
