//! One client connection that speaks HTTP: telling HTTP/1.1 from HTTP/2, its time limits and its end.

mod http1;
mod http2;
mod open;
mod phase;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use codec::message::HeaderMap;
use http::{HeaderValue, StatusCode};

use self::open::open_http;
use self::phase::Limits;

pub(crate) use self::http1::{RequestReader, Socket};
use crate::opening::{ClientFacts, Opened, Place};
use crate::request::Overdue;
use crate::time_limit::Timer;
use crate::view::{ListenerKind, ListenerSlot, ListenerView};
use crate::worker::Worker;

/// An idle connection of a listener that closes is kept for this long: a request that is on its way already is
/// answered, with `Connection: close`.
pub(crate) const LINGER: Duration = Duration::from_millis(500);

/// A client connection that speaks HTTP.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) slot: Rc<ListenerSlot>,
    /// The peer's address as it is added to `x-forwarded-for`.
    pub(crate) peer_header: HeaderValue,
    pub(crate) facts: ClientFacts,
    /// Its bytes, when it speaks HTTP/1.
    pub(crate) http1: Option<Socket>,
    /// Responses say that the connection ends.
    pub(crate) is_closing: Cell<bool>,
    /// It is cut because nothing moved for too long.
    pub(crate) is_cut_idle: Cell<bool>,
    /// The request that is dropped now has taken longer than it may.
    pub(crate) overdue: Cell<Option<Overdue>>,
    /// One that the last request has done with: usually one request follows the other.
    spare_timer: Cell<Option<Timer>>,
    /// The connection's place in the listener's limit and counters, until the last tunnel over it has ended.
    _place: Place,
    requests_active: Cell<u32>,
    requests_begun: Cell<u64>,
    bodies_awaited: Cell<u32>,
    /// Responses that have begun and not ended.
    bodies_open: Cell<u32>,
    /// A body moved since the driver looked last, of a request or of a response.
    body_moved: Cell<bool>,
}

/// The client has not sent a request's body to its end.
pub(crate) struct AwaitedBody(Rc<Client>);

impl AwaitedBody {
    pub(crate) fn new(client: Rc<Client>) -> Self {
        client.bodies_awaited.set(client.bodies_awaited.get() + 1);
        Self(client)
    }
}

impl AwaitedBody {
    pub(crate) fn note_moved(&self) {
        self.0.body_moved.set(true);
    }
}

/// A response has begun and not ended.
pub(crate) struct OpenBody(Rc<Client>);

impl OpenBody {
    pub(crate) fn new(client: Rc<Client>) -> Self {
        client.bodies_open.set(client.bodies_open.get() + 1);
        client.body_moved.set(true);
        Self(client)
    }

    pub(crate) fn note_moved(&self) {
        self.0.body_moved.set(true);
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        self.0.bodies_open.set(self.0.bodies_open.get() - 1);
        self.0.body_moved.set(true);
    }
}

impl Drop for AwaitedBody {
    fn drop(&mut self) {
        self.0.bodies_awaited.set(self.0.bodies_awaited.get() - 1);
    }
}

impl Client {
    fn new(
        worker: Rc<Worker>,
        slot: Rc<ListenerSlot>,
        facts: ClientFacts,
        http1: Option<Socket>,
        place: Place,
    ) -> Self {
        Self {
            worker,
            slot,
            peer_header: HeaderValue::try_from(facts.remote.ip().to_string())
                .expect("the text of an IP address is a header value"),
            facts,
            http1,
            is_closing: Cell::new(false),
            is_cut_idle: Cell::new(false),
            overdue: Cell::new(None),
            spare_timer: Cell::new(None),
            _place: place,
            requests_active: Cell::new(0),
            requests_begun: Cell::new(0),
            bodies_awaited: Cell::new(0),
            bodies_open: Cell::new(0),
            body_moved: Cell::new(false),
        }
    }

    /// Passes a head on that comes before the one that answers, if the client understands it.
    pub(crate) fn pass_on(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(socket) = &self.http1
            && self.slot.view().http().is_some_and(|it| it.pass_informational)
        {
            socket.pass_on(status, headers);
        }
    }

    pub(crate) fn enter(&self) {
        self.requests_active.set(self.requests_active.get() + 1);
        self.requests_begun.set(self.requests_begun.get() + 1);
    }

    pub(crate) fn leave(&self) {
        self.requests_active.set(self.requests_active.get() - 1);
    }

    pub(crate) fn spare_timer(&self) -> Option<Timer> {
        self.spare_timer.take()
    }

    pub(crate) fn keep_timer(&self, timer: Timer) {
        self.spare_timer.set(Some(timer));
    }

    /// True when no body moved since the last call though a response is under way.
    fn is_quiet(&self) -> bool {
        !self.body_moved.replace(false) && self.bodies_open.get() > 0
    }

    /// True when nothing has moved and it is the client's turn: to send the rest of a request,
    /// or to take the rest of a response. Who waits for an endpoint is not stalled.
    fn is_stalled(&self, has_moved: bool, is_write_blocked: bool) -> bool {
        !has_moved && (self.bodies_awaited.get() > 0 || is_write_blocked)
    }
}

/// Serves a connection that speaks HTTP until it ends.
pub(crate) async fn serve_http(
    worker: Rc<Worker>,
    slot: &Rc<ListenerSlot>,
    view: Rc<ListenerView>,
    opened: Opened,
    mut place: Place,
) -> io::Result<()> {
    let (ListenerKind::Http(_), Some(config)) = (&view.kind, view.http()) else {
        return Ok(());
    };
    let Opened { transport, read_ahead, facts } = opened;
    // Boxed, so that the room for it is given back before the connection is idle.
    let opened = Box::pin(open_http(slot, &view, config, transport, read_ahead)).await?;
    let Some((stream, is_http2)) = opened else { return Ok(()) };
    place.0.is_http(&view, is_http2, facts.tls.is_some());
    let limits = Limits {
        head: config.head_timeout,
        idle: config.idle_timeout,
        stream_idle: config.stream_idle_timeout,
        request: config.request_timeout,
        duration: config.connection_duration_max,
        requests_max: config.requests_per_connection_max,
    };
    if is_http2 {
        let client = Rc::new(Client::new(worker, slot.clone(), facts, None, place));
        let config = http2::config(config);
        // From here on the connection looks into the slot: it must not keep an old configuration alive.
        drop(view);
        return Box::pin(http2::serve(&client, stream, config, limits)).await;
    }
    let head_limits = codec::http1::Limits {
        bytes_max: config.head_bytes_max as usize,
        headers_max: config.headers_max as usize,
    };
    let socket = Socket::new(stream, head_limits);
    let client = Rc::new(Client::new(worker, slot.clone(), facts, Some(socket), place));
    drop(view);
    // Boxed, so that the room for the handshake is not carried along.
    Box::pin(http1::serve(&client, limits)).await
}
