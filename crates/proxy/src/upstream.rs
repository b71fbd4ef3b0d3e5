//! Connections of one worker to the endpoints of its clusters.
//!
//! Nothing here is shared with another worker. Bounds, per endpoint and worker: `connections_max` connections, and
//! [`WAITING_MAX`] requests that wait for one.

mod admission;
mod agreed;
mod connect;
mod http1;
mod http2;
mod stream;
mod wire;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::message::{Request, Response};
use foldhash::HashMap;
use proxy_config::Cluster;
use tokio::sync::oneshot;
use traffic::{ActiveConnection, EndpointState, Stage};

pub(crate) use admission::Terms;
pub(crate) use connect::{ConnectFailure, ForWhom, UpstreamTransport, connect, connect_to_port};
pub(crate) use http1::Connection as Http1Connection;
pub(crate) use stream::UpstreamStream;
pub(crate) use wire::{Greeted, Wire};

use self::admission::{DRAIN_BYTES_MAX, DRAIN_TIMEOUT, OpeningPermit, Wear};
use crate::body::RequestBody;
use crate::connection::Client;
use crate::frame::Body;
use crate::incoming::Incoming;
use crate::stats::{ClusterCounters, Shard};
use crate::tls::Offer;

/// Requests that may wait for a connection to one endpoint; Envoy's `max_pending_requests`.
const WAITING_MAX: usize = 1024;
/// Server names and clients that an endpoint has connections of their own for; each is some 300 bytes. Those without a
/// connection are forgotten at the next sweep.
const PARTS_MAX: usize = 4096;
/// A connection that only one client can use is kept for it no longer than this.
const PART_IDLE_MAX: Duration = Duration::from_secs(60);

/// Which version of HTTP a request goes out with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UpstreamVersion {
    Http1,
    Http2,
}

/// Why there is no connection. The request was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoConnection {
    /// Refused, unreachable, not resolvable, or broken while it was set up.
    Failed,
    /// Not established in time.
    TimedOut,
    /// The endpoint's connections are all in use and too many requests wait already.
    Overflow,
    /// This host cannot: it has no descriptor, port or memory left, or no address for the endpoint's name.
    Local,
    /// The endpoint was taken out of service while the request waited.
    Retired,
}

/// A request that got no response head.
pub(crate) struct SendFailure {
    pub(crate) stage: Stage,
    /// The response was not HTTP.
    pub(crate) is_protocol_error: bool,
    /// What the endpoint said first; `None` when HTTP/1.1 was spoken to it.
    pub(crate) greeted: Option<Greeted>,
    /// None of it was written: the request is as it was.
    pub(crate) is_unsent: bool,
}

/// The connections of one worker to one endpoint.
pub(crate) struct EndpointPool {
    endpoint: Arc<EndpointState>,
    transport: UpstreamTransport,
    for_whom: ForWhom,
    /// Connections that are not for anybody: a pool for each of whom they are for.
    parts: RefCell<HashMap<ForWhom, Rc<EndpointPool>>>,
    /// What the last connection that failed in TLS failed of.
    transport_failure: RefCell<Option<Rc<str>>>,
    /// What was agreed on through ALPN, where that is asked for.
    agreed: Cell<Option<UpstreamVersion>>,
    agreeing: Cell<bool>,
    counters: Shard<ClusterCounters>,
    /// Used last first, so that the others can time out.
    http1_idle: RefCell<Vec<http1::Idle>>,
    http2: RefCell<Vec<Rc<http2::Shared>>>,
    http2_connecting: Cell<bool>,
    open: Cell<u32>,
    waiting: RefCell<VecDeque<oneshot::Sender<()>>>,
    /// New requests do not come here any more; what is under way goes on.
    retired: Cell<bool>,
}

impl EndpointPool {
    pub(crate) fn new(
        endpoint: Arc<EndpointState>,
        transport: UpstreamTransport,
        counters: Shard<ClusterCounters>,
    ) -> Self {
        Self::of_part(endpoint, transport, ForWhom::default(), counters)
    }

    fn of_part(
        endpoint: Arc<EndpointState>,
        transport: UpstreamTransport,
        for_whom: ForWhom,
        counters: Shard<ClusterCounters>,
    ) -> Self {
        Self {
            endpoint,
            transport,
            for_whom,
            parts: RefCell::default(),
            transport_failure: RefCell::default(),
            agreed: Cell::new(None),
            agreeing: Cell::new(false),
            counters,
            http1_idle: RefCell::default(),
            http2: RefCell::default(),
            http2_connecting: Cell::new(false),
            open: Cell::new(0),
            waiting: RefCell::default(),
            retired: Cell::new(false),
        }
    }

    /// The connections that can be used for somebody: usually all of them. `None` when the endpoint has connections for
    /// too many already. The bounds of an endpoint hold for each of those.
    pub(crate) fn part(
        self: &Rc<Self>,
        for_whom: impl FnOnce(&UpstreamTransport) -> ForWhom,
    ) -> Option<Rc<EndpointPool>> {
        if self.transport.is_for_anybody() {
            return Some(self.clone());
        }
        let for_whom = for_whom(&self.transport);
        let mut parts = self.parts.borrow_mut();
        if let Some(part) = parts.get(&for_whom) {
            return Some(part.clone());
        }
        if parts.len() >= PARTS_MAX {
            parts.retain(|_, it| it.is_used());
        }
        if parts.len() >= PARTS_MAX {
            return None;
        }
        let (endpoint, transport) = (self.endpoint.clone(), self.transport.clone());
        let part = Self::of_part(endpoint, transport, for_whom.clone(), self.counters.clone());
        part.retired.set(self.retired.get());
        let part = Rc::new(part);
        parts.insert(for_whom, part.clone());
        Some(part)
    }

    fn is_used(&self) -> bool {
        self.open.get() > 0
    }

    /// Why the last TLS handshake that failed did.
    pub(crate) fn transport_failure(&self) -> Option<Rc<str>> {
        self.transport_failure.borrow().clone()
    }

    pub(crate) fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }

    /// Closes connections without a request, and from now on each one when its request is done.
    pub(crate) fn set_retired(&self, retired: bool) {
        self.retired.set(retired);
        self.parts.borrow().values().for_each(|it| it.retired.set(retired));
        if retired {
            self.close_idle();
        }
    }

    pub(crate) fn close_idle(&self) {
        self.parts.borrow().values().for_each(|it| it.close_idle());
        self.http1_idle.borrow_mut().clear();
        self.http2.borrow_mut().retain(|it| it.is_used());
        self.wake_one();
    }

    /// Closes connections that have been idle for `idle_timeout`, and forgets those that are closed already.
    pub(crate) fn sweep(&self, now: Instant, idle_timeout: Duration) {
        self.parts.borrow_mut().retain(|_, part| {
            let alone = part.for_whom.addresses.is_some();
            part.sweep(now, if alone { idle_timeout.min(PART_IDLE_MAX) } else { idle_timeout });
            part.is_used()
        });
        let before = now.checked_sub(idle_timeout);
        let expired = |since: Instant| before.is_some_and(|before| since <= before);
        self.http1_idle
            .borrow_mut()
            .retain(|it| it.is_usable() && !expired(it.since) && !it.is_worn(now));
        self.http2.borrow_mut().retain(|it| {
            it.look_after(now);
            !it.is_closed() && (it.is_used() || !expired(it.idle_since()))
        });
        self.wake_one();
    }

    fn wake_one(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(waiter) = waiting.pop_front() {
            if waiter.send(()).is_ok() {
                return;
            }
        }
    }

    /// Each looks for itself.
    fn wake_all(&self) {
        for waiter in self.waiting.borrow_mut().drain(..) {
            // It may have stopped waiting.
            let _ = waiter.send(());
        }
    }

    /// Waits until a connection may be free; the caller looks again.
    async fn wait(&self, limit: Duration, too_late: NoConnection) -> Result<(), NoConnection> {
        if too_late == NoConnection::Overflow {
            self.counters.upstream_cx_overflow.inc();
        }
        let was_retired = self.retired.get();
        let (waker, woken) = oneshot::channel();
        {
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|it| !it.is_closed());
            if waiting.len() >= WAITING_MAX {
                return Err(NoConnection::Overflow);
            }
            waiting.push_back(waker);
        }
        match Box::pin(tokio::time::timeout(limit, woken)).await {
            // Another endpoint may serve it. When there is none, the next wait is for this one.
            Ok(_) if self.retired.get() && !was_retired => Err(NoConnection::Retired),
            Ok(_) => Ok(()),
            Err(_) => Err(too_late),
        }
    }
}

/// Counts a connection of a pool while it is open, also while it is being opened.
pub(crate) struct OpenConnection {
    pool: Rc<EndpointPool>,
    established: OnceCell<ActiveConnection>,
    wear: Wear,
    _permit: OpeningPermit,
}

impl OpenConnection {
    /// `None` when the pool or its cluster has as many connections as it may.
    fn new(pool: &Rc<EndpointPool>, terms: &Terms<'_>) -> Option<Self> {
        let permit = terms.open(pool)?;
        pool.open.set(pool.open.get() + 1);
        let established = OnceCell::new();
        Some(Self { pool: pool.clone(), established, wear: Wear::new(terms), _permit: permit })
    }

    fn pool(&self) -> &Rc<EndpointPool> {
        &self.pool
    }

    /// Connects.
    async fn connect(&self, cluster: &Cluster, offer: Offer) -> Result<Wire, NoConnection> {
        let pool = &self.pool;
        let limit = cluster.connect_timeout;
        // Boxed, here and below: every request would carry the room for what few of them do.
        let connecting = connect(&pool.endpoint, &pool.transport, &pool.for_whom, offer, limit);
        let connected = Box::pin(connecting).await;
        count_connect(&pool.counters, &connected);
        match connected {
            Ok(stream) => {
                self.established.get_or_init(|| ActiveConnection::new(pool.endpoint.clone()));
                self.wear.begin();
                Ok(Wire::new(stream, pool.counters.clone()))
            }
            Err(ConnectFailure { why, reason }) => {
                *pool.transport_failure.borrow_mut() = reason.map(Rc::from);
                Err(why)
            }
        }
    }
}

/// Counts a connection that was opened, or that could not be.
pub(crate) fn count_connect(
    counters: &ClusterCounters,
    connected: &Result<UpstreamStream, ConnectFailure>,
) {
    match connected {
        Ok(stream) => {
            counters.upstream_cx_total.inc();
            counters.upstream_cx_active.inc();
            if let UpstreamStream::Tls(_) = stream {
                counters.ssl_handshake.inc();
            }
        }
        Err(failure) => {
            counters.upstream_cx_connect_fail.inc();
            if failure.why == NoConnection::TimedOut {
                counters.upstream_cx_connect_timeout.inc();
            }
            if failure.reason.is_some() {
                counters.ssl_connection_error.inc();
            }
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.pool.open.set(self.pool.open.get() - 1);
        if self.established.get().is_some() {
            self.pool.counters.upstream_cx_active.dec();
            self.pool.counters.upstream_cx_destroy.inc();
        }
        self.pool.wake_one();
    }
}

/// A connection while a request uses it. Dropping it before [`Lease::release`] closes an HTTP/1.1 connection and
/// resets an HTTP/2 stream.
pub(crate) enum Lease {
    Http1(http1::Lease),
    Http2(http2::Lease),
}

impl Lease {
    /// A connection to the endpoint, idle or new.
    pub(crate) async fn acquire(
        pool: &Rc<EndpointPool>,
        terms: Terms<'_>,
        version: UpstreamVersion,
    ) -> Result<Lease, NoConnection> {
        match version {
            UpstreamVersion::Http1 => http1::acquire(pool, terms).await.map(Lease::Http1),
            UpstreamVersion::Http2 => http2::acquire(pool, terms).await.map(Lease::Http2),
        }
    }

    /// True when the connection has carried a request before.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Lease::Http1(lease) => lease.is_reused,
            Lease::Http2(lease) => lease.is_reused,
        }
    }

    /// Sends the request and waits for the head of the response; heads before it go to `client`. The head of the request
    /// stays what it was, also when this fails; its body is gone, unless nothing was sent.
    pub(crate) async fn send(
        &mut self,
        request: &mut Request<RequestBody>,
        client: Option<&Client>,
    ) -> Result<Response<Incoming>, SendFailure> {
        match self {
            Lease::Http1(lease) => {
                let sent = lease.send(request, client).await;
                sent.map_err(|failed| SendFailure {
                    stage: if failed.is_unsent { Stage::ClosedUnsent } else { Stage::AfterSend },
                    is_protocol_error: failed.is_protocol_error,
                    greeted: None,
                    is_unsent: failed.is_unsent,
                })
            }
            Lease::Http2(lease) => Box::pin(lease.send(request, client)).await,
        }
    }

    /// The response has been read to its end: the connection may carry another request.
    pub(crate) fn release(self, now: Instant) {
        match self {
            Lease::Http1(lease) => lease.release(now),
            Lease::Http2(lease) => lease.release(now),
        }
    }

    /// Nobody wants the response: it is read to its end in the background, so that the connection can carry another
    /// request, if that is near; otherwise the connection is closed, or the stream reset.
    pub(crate) fn discard(self, mut response: Incoming, now: Instant) {
        if response.is_end_stream() {
            return self.release(now);
        }
        tokio::task::spawn_local(async move {
            let mut left = DRAIN_BYTES_MAX;
            let read = async {
                while let Some(frame) = poll_fn(|cx| Pin::new(&mut response).poll_frame(cx)).await {
                    let bytes = frame.ok()?.data_ref().map_or(0, bytes::Bytes::len);
                    left = left.checked_sub(bytes)?;
                }
                Some(())
            };
            if let Ok(Some(())) = tokio::time::timeout(DRAIN_TIMEOUT, read).await {
                drop(response);
                self.release(runtime::monotonic());
            }
        });
    }
}
