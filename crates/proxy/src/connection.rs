//! One client connection: TLS, telling HTTP/1.1 from HTTP/2, its time limits and its end.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proxy_config::HttpListener;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::observe::ConnectionCount;
use crate::request;
use crate::stream::{Activity, DownstreamStream, Transport};
use crate::tunnel;
use crate::view::{HttpView, ListenerKind, ListenerSlot, ListenerView};
use crate::worker::Worker;

/// An idle connection of a listener that closes is kept for this long: a request that is on its way already is
/// answered, with `Connection: close`.
const LINGER: Duration = Duration::from_millis(500);
/// After the last response a client has this long to take what is still in the buffers.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A client connection that speaks HTTP.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) slot: Rc<ListenerSlot>,
    /// The peer's address as it is added to `x-forwarded-for`.
    pub(crate) peer_header: HeaderValue,
    pub(crate) is_tls: bool,
    /// Responses say that the connection ends.
    pub(crate) is_closing: Cell<bool>,
    requests_active: Cell<u32>,
    requests_begun: Cell<u64>,
    bodies_awaited: Cell<u32>,
}

/// The client has not sent a request's body to its end.
pub(crate) struct AwaitedBody(Rc<Client>);

impl AwaitedBody {
    pub(crate) fn new(client: Rc<Client>) -> Self {
        client.bodies_awaited.set(client.bodies_awaited.get() + 1);
        Self(client)
    }
}

impl Drop for AwaitedBody {
    fn drop(&mut self) {
        self.0.bodies_awaited.set(self.0.bodies_awaited.get() - 1);
    }
}

impl Client {
    fn new(worker: Rc<Worker>, slot: Rc<ListenerSlot>, peer: SocketAddr, is_tls: bool) -> Self {
        Self {
            worker,
            slot,
            peer_header: HeaderValue::try_from(peer.ip().to_string())
                .expect("the text of an IP address is a header value"),
            is_tls,
            is_closing: Cell::new(false),
            requests_active: Cell::new(0),
            requests_begun: Cell::new(0),
            bodies_awaited: Cell::new(0),
        }
    }

    pub(crate) fn enter(&self) {
        self.requests_active.set(self.requests_active.get() + 1);
        self.requests_begun.set(self.requests_begun.get() + 1);
    }

    pub(crate) fn leave(&self) {
        self.requests_active.set(self.requests_active.get() - 1);
    }

    /// True when nothing has moved since the last call and it is the client's turn: to send the rest of a request,
    /// or to take the rest of a response. Who waits for an endpoint is not stalled.
    fn is_stalled(&self, activity: &Activity) -> bool {
        !activity.take_moved() && (self.bodies_awaited.get() > 0 || activity.is_write_blocked())
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    slot: Rc<ListenerSlot>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let view = slot.view();
    let count = ConnectionCount::new(&view, runtime::monotonic());
    let served = match &view.kind {
        ListenerKind::Tcp { cluster: None } => Ok(()),
        ListenerKind::Tcp { cluster: Some(cluster) } => {
            let cluster = cluster.clone();
            drop(view);
            tunnel::serve_tcp(&worker, &cluster, stream).await
        }
        ListenerKind::Http(_) => serve_http(worker, &slot, view, stream, peer, count).await,
    };
    if let Err(error) = served {
        let listener = &slot.view().shared.config.name;
        tracing::debug!(listener, %peer, %error, "connection ended");
    }
}

async fn serve_http(
    worker: Rc<Worker>,
    slot: &Rc<ListenerSlot>,
    view: Rc<ListenerView>,
    stream: TcpStream,
    peer: SocketAddr,
    mut count: ConnectionCount,
) -> io::Result<()> {
    let (ListenerKind::Http(http), Some(config)) = (&view.kind, view.shared.http()) else {
        return Ok(());
    };
    let opened = open_http(slot, &view, http, config, stream).await?;
    let Some((stream, is_http2)) = opened else { return Ok(()) };
    let is_tls = http.tls.is_some();
    count.is_http(&view, is_http2, is_tls);
    let client = Rc::new(Client::new(worker, slot.clone(), peer, is_tls));
    let limits = Limits { head: config.head_timeout, idle: config.idle_timeout };
    let activity = stream.activity();
    let answer = {
        let client = client.clone();
        service_fn(move |request: Request<Incoming>| request::answer(client.clone(), request))
    };
    let stream = TokioIo::new(stream);
    let served = if is_http2 {
        let connection = http.http2.serve_connection(stream, answer);
        // From here on the connection looks into the slot: it must not keep an old configuration alive.
        drop(view);
        drive(connection, &client, &activity, true, limits).await
    } else {
        let connection = http.http1.serve_connection(stream, answer).with_upgrades();
        drop(view);
        drive(connection, &client, &activity, false, limits).await
    };
    served.map_err(|error| {
        if error.is_parse() {
            client.slot.view().http_counters.downstream_cx_protocol_error.inc();
        }
        io::Error::other(error)
    })
}

/// Does the TLS handshake and finds out whether HTTP/2 is spoken. `None` when the listener closes meanwhile.
async fn open_http(
    slot: &ListenerSlot,
    view: &ListenerView,
    http: &HttpView,
    config: &HttpListener,
    stream: TcpStream,
) -> io::Result<Option<(DownstreamStream, bool)>> {
    let opened = async {
        let (transport, agreed) = match &http.tls {
            None => (Transport::Tcp(stream), None),
            Some(tls) => {
                let tls = handshake(tls, stream, view, config.head_timeout).await?;
                let agreed = tls.get_ref().1.alpn_protocol().map(|it| it == b"h2");
                (Transport::Tls(Box::new(tls)), agreed)
            }
        };
        let mut stream = DownstreamStream::new(transport, view.http_counters.clone());
        let is_http2 = match agreed {
            Some(is_http2) => is_http2,
            None => stream.detect_http2(config.idle_timeout, config.head_timeout).await?,
        };
        io::Result::Ok(Some((stream, is_http2)))
    };
    let closing = async {
        slot.closing.cancelled().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        opened = opened => opened,
        () = closing => Ok(None),
    }
}

async fn handshake(
    tls: &TlsAcceptor,
    stream: TcpStream,
    view: &ListenerView,
    limit: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let shaken = timeout(limit, tls.accept(stream)).await.map_err(io::Error::from).flatten();
    match &shaken {
        Ok(_) => view.counters.ssl_handshake.inc(),
        Err(_) => view.counters.ssl_connection_error.inc(),
    }
    shaken
}

/// A connection of hyper's that can be told to end after what is under way.
trait Graceful: Future<Output = hyper::Result<()>> {
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

#[derive(Clone, Copy)]
struct Limits {
    head: Duration,
    idle: Duration,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// The first byte of a request.
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
            Phase::Idle { since } => {
                let idle = since + limits.idle;
                Some(closing_since.map_or(idle, |closing| idle.min(since.max(closing) + LINGER)))
            }
            Phase::Head { since } => Some(since + limits.head),
            Phase::Busy => None,
            Phase::Ending { since } => Some(since + FLUSH_TIMEOUT),
        }
    }

    /// The phase after hyper has done what it could. `arrived` says that bytes were read that made no request yet.
    fn next(self, client: &Client, arrived: bool) -> Phase {
        let is_busy = client.requests_active.get() > 0;
        match self {
            Phase::Ending { .. } => self,
            _ if is_busy => Phase::Busy,
            Phase::Idle { .. } if arrived => Phase::Head { since: runtime::monotonic() },
            Phase::Idle { .. } | Phase::Head { .. } => self,
            Phase::Busy => Phase::Idle { since: client.worker.last_now() },
        }
    }
}

/// Runs a connection to its end. hyper moves the bytes; this decides when it has waited long enough.
async fn drive(
    connection: impl Graceful,
    client: &Client,
    activity: &Activity,
    is_http2: bool,
    limits: Limits,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut closing = pin!(client.slot.closing.cancelled());
    let mut timer = pin!(sleep(limits.idle));
    let mut phase = Phase::Idle { since: runtime::monotonic() };
    let mut closing_since = None;
    let mut begun = 0;
    poll_fn(|cx| {
        if closing_since.is_none() && closing.as_mut().poll(cx).is_ready() {
            closing_since = Some(runtime::monotonic());
            if is_http2 {
                // HTTP/2 has a word for it that loses no request.
                connection.as_mut().begin_end();
            } else {
                client.is_closing.set(true);
            }
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            let is_new = client.requests_begun.get() != begun;
            begun = client.requests_begun.get();
            let arrived = activity.take_arrived() && !is_new && !is_http2;
            phase = phase.next(client, arrived);
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
            match phase {
                Phase::Busy if client.is_stalled(activity) => return Poll::Ready(Ok(())),
                _ if deadline.is_none_or(|deadline| deadline > now) => {
                    let next = deadline.unwrap_or(now + limits.idle);
                    timer.as_mut().reset(next.into());
                }
                Phase::Idle { .. } => {
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
