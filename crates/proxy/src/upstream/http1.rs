//! HTTP/1.1 to an endpoint: one request at a time per connection, written and read by the task that serves it.

mod exchange;

use std::rc::Rc;
use std::time::Instant;

use codec::message::{Request, Response};

pub(crate) use exchange::Connection;

use super::{EndpointPool, NoConnection, OpenConnection, Terms, Wire};
use crate::body::RequestBody;
use crate::connection::Client;
use crate::incoming::Incoming;
use crate::stream::ReadAhead;
use crate::tls::Offer;

/// A connection that waits for a request.
pub(super) struct Idle {
    connection: Rc<Connection>,
    pub(super) since: Instant,
}

impl Idle {
    /// False when the endpoint has closed it, or has said something that nobody asked for.
    pub(super) fn is_usable(&self) -> bool {
        self.connection.is_quiet()
    }

    /// It has been open for as long as it may.
    pub(super) fn is_worn(&self, now: Instant) -> bool {
        self.connection.wear().is_over(now)
    }
}

/// A connection while a request has it.
pub(crate) struct Lease {
    connection: Rc<Connection>,
    pub(super) is_reused: bool,
}

/// A request that got no response head.
pub(super) struct Failed {
    /// Nothing of it was written: the request is as it was.
    pub(super) is_unsent: bool,
    /// The response was not HTTP/1.
    pub(super) is_protocol_error: bool,
}

pub(super) async fn acquire(
    pool: &Rc<EndpointPool>,
    terms: Terms<'_>,
) -> Result<Lease, NoConnection> {
    match reuse(pool) {
        Some(lease) => Ok(lease),
        // Boxed: every request would carry the room for what few of them do.
        None => Box::pin(wait_for_one(pool, terms)).await,
    }
}

async fn wait_for_one(pool: &Rc<EndpointPool>, terms: Terms<'_>) -> Result<Lease, NoConnection> {
    let _waiting = terms.wait(pool)?;
    loop {
        // Counted from here on, so that connections being set up are within the bound too.
        if let Some(open) = OpenConnection::new(pool, &terms) {
            let wire = open.connect(&terms, Offer::Http1).await?;
            return Ok(over(open, wire));
        }
        pool.wait(terms.connect_timeout, NoConnection::Overflow).await?;
        if let Some(lease) = reuse(pool) {
            return Ok(lease);
        }
    }
}

fn reuse(pool: &EndpointPool) -> Option<Lease> {
    loop {
        let idle = pool.http1_idle.borrow_mut().pop()?;
        if idle.is_usable() {
            idle.connection.wear().note_request();
            return Some(Lease { connection: idle.connection, is_reused: true });
        }
    }
}

/// Speaks HTTP/1.1 on a connection.
pub(super) fn over(open: OpenConnection, wire: Wire) -> Lease {
    open.pool.counters.upstream_cx_http1_total.inc();
    open.wear.note_request();
    Lease { connection: Rc::new(Connection::new(wire, open)), is_reused: false }
}

impl Lease {
    /// Sends the request and waits for the head of the response; heads before the last one go to the client. The body of
    /// the request is gone when this fails, unless nothing was sent.
    pub(super) async fn send(
        &mut self,
        request: &mut Request<RequestBody>,
        client: Option<&Client>,
    ) -> Result<Response<Incoming>, Failed> {
        self.connection.send(request, client).await
    }

    pub(super) fn release(self, now: Instant) {
        let connection = self.connection;
        let pool = connection.pool().clone();
        if connection.wear().takes_no_more() {
            pool.counters.upstream_cx_max_requests.inc();
            return;
        }
        if pool.retired.get() || !connection.is_done() || connection.wear().is_over(now) {
            return;
        }
        pool.http1_idle.borrow_mut().push(Idle { connection, since: now });
        pool.wake_one();
    }

    /// The bytes of the connection after it has changed to another protocol, counted as long as they flow. `None` when
    /// they are still read as a body.
    pub(crate) fn into_tunnel(self) -> Option<(ReadAhead<Wire>, OpenConnection)> {
        Rc::into_inner(self.connection).map(|connection| {
            let (read, wire, open) = connection.into_parts();
            (ReadAhead::new(read, wire), open)
        })
    }
}
