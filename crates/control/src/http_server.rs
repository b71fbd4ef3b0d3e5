//! The HTTP server of the agent: sockets, limits and deadlines. What is answered is decided in `api`.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::{Drain, Tasks};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::clients::Clients;
use self::endpoint::{Connection, Listener};
pub use self::endpoint::{HttpEndpoint, UnixEndpoint};
use crate::door::Door;
use crate::door::proxies::VerifiedClient;
use crate::listen::ListenError;
use crate::streams::Pieces;

mod clients;
mod endpoint;

#[cfg(test)]
mod tests;

/// Largest request body. Manifests are the largest thing that anybody sends; a registration has about 1 KiB.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest snapshot that is taken in: it is held in memory, as is all that it becomes.
const SNAPSHOT_BYTES_MAX: usize = store::ARCHIVE_BYTES_MAX;
/// How long a snapshot may take to arrive.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_mins(10);
/// Most bytes of a body that is too large that are read and thrown away: a client that is still writing would not see
/// the answer, but a reset.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The least that a head may have: what the HTTP library reads at once.
const HEAD_BYTES_MIN: usize = 8 * 1024;
/// Most connections at once; each blocked query holds one. 20,000 of them take about 200 MB.
const CONNECTIONS_MAX: usize = 20_000;
/// How long requests under way may take after a drain has begun.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection that has had no request yet may take to bring one after a drain has begun: what the kernel has
/// received already.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_millis(100);

/// A bound socket that does not serve yet.
pub struct HttpServer {
    listener: Listener,
    tls: Option<TlsAcceptor>,
    deadlines: Deadlines,
    /// The UI is served at another address.
    without_ui: bool,
}

/// How long a client may take, and how long its requests' heads may be.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    /// For a request head, and between two requests on a connection.
    head: Duration,
    /// For the handshake of TLS.
    handshake: Duration,
    /// Most bytes of a request's head.
    head_bytes_max: usize,
    /// For a request body.
    body: Duration,
    /// Without taking in a byte of an answer, or a sign of life while it waits.
    silence: Duration,
}

impl Default for Deadlines {
    /// 60 s; 5 s, as Consul gives; 30 s, which is 4 MiB at 140 KiB/s; 60 s.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            head: seconds(60),
            handshake: seconds(5),
            head_bytes_max: HEAD_BYTES_MAX,
            body: seconds(30),
            silence: seconds(60),
        }
    }
}

impl HttpServer {
    /// Binds `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address cannot be had; the error says who has it, if that can be known.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        Self::open(&HttpEndpoint::Tcp(address))
    }

    /// Binds an endpoint.
    ///
    /// # Errors
    /// As [`HttpServer::bind`].
    pub fn open(endpoint: &HttpEndpoint) -> Result<Self, ListenError> {
        let (listener, tls) = match endpoint {
            HttpEndpoint::Tcp(address) => (Listener::tcp(*address)?, None),
            HttpEndpoint::Tls(address, tls) => {
                (Listener::tcp(*address)?, Some(TlsAcceptor::from(Arc::clone(tls))))
            }
            HttpEndpoint::Unix(endpoint) => (Listener::unix(endpoint)?, None),
        };
        Ok(Self { listener, tls, deadlines: Deadlines::default(), without_ui: false })
    }

    /// Sets limits that the agent was told; `None` leaves them as they are.
    pub(crate) fn limit(&mut self, handshake: Option<Duration>, head_bytes_max: Option<usize>) {
        self.deadlines.handshake = handshake.unwrap_or(self.deadlines.handshake);
        self.deadlines.head_bytes_max = head_bytes_max.unwrap_or(self.deadlines.head_bytes_max);
    }

    /// Has it serve the HTTP API alone.
    pub(crate) fn leave_out_ui(&mut self) {
        self.without_ui = true;
    }

    /// The address that it listens on; `None` for a socket in the file system.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the drain begins, and then what is under way.
    pub async fn run(self, door: Arc<Door>, tasks: Tasks) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let clients = door.clients.clone();
        let drain = tasks.drain();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &places) => accepted,
                () = drain.begun() => return,
            };
            let Some((stream, from, place)) = accepted else { continue };
            let (door, clients) = (Arc::clone(&door), clients.clone());
            let (tls, drain) = (self.tls.clone(), drain.clone());
            let origin = Origin { ip: from, without_ui: self.without_ui, is_verified: false };
            tasks.spawn("HTTP connection", async move {
                let Some(entered) = clients.enter(from) else {
                    if tls.is_none() {
                        refuse(stream, self.deadlines.head).await;
                    }
                    return;
                };
                notice_silence(&stream, self.deadlines.silence);
                let shaken = stream.secured(tls.as_ref());
                let shaken = tokio::select! {
                    shaken = tokio::time::timeout(self.deadlines.handshake, shaken) => shaken,
                    () = drain.begun() => return,
                };
                match shaken {
                    Ok(Ok(stream)) => serve(stream, origin, door, drain, self.deadlines).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
                drop((entered, place));
            });
        }
    }
}

/// The next connection, with its place among [`CONNECTIONS_MAX`]; `None` after a failure that passes.
async fn accept(
    listener: &Listener,
    places: &Arc<Semaphore>,
) -> Option<(Connection, Option<IpAddr>, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, from)) => Some((stream, from, place)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            // Out of file descriptors, most likely: waiting is all that helps.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// Tells a client that it has too many connections.
async fn refuse(mut stream: Connection, deadline: Duration) {
    let telling = async {
        stream.write_all(clients::REFUSAL).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(deadline, telling).await;
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    /// Address of the client; `None` at a socket in the file system.
    ip: Option<IpAddr>,
    /// It came to an address that has no UI.
    without_ui: bool,
    /// The client has shown a certificate, and it was verified.
    is_verified: bool,
}

async fn serve(
    stream: Connection,
    from: Origin,
    door: Arc<Door>,
    drain: Drain,
    deadlines: Deadlines,
) {
    let has_begun = AtomicBool::new(false);
    let from = Origin { is_verified: stream.is_verified(), ..from };
    let service = service_fn(|request: Request<Incoming>| {
        has_begun.store(true, Ordering::Relaxed);
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(respond(request, from, &door, deadlines.body).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadlines.head)
        // As Go writes them; some scripts look for `X-Consul-Index` to the letter.
        .title_case_headers(true)
        .max_buf_size(deadlines.head_bytes_max.max(HEAD_BYTES_MIN))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP connection failed");
            }
            return;
        }
        () = drain.begun() => connection.as_mut().graceful_shutdown(),
    }
    // hyper ends a connection between two requests at once, and waits for the first of one that has had none.
    let first = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, connection.as_mut()).await;
    if first.is_err() && has_begun.load(Ordering::Relaxed) {
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, connection).await;
    }
}

/// Has the kernel end the connection when the client has vanished, or does not take in what it asked for: hyper waits
/// for both without an end.
fn notice_silence(stream: &Connection, silence: Duration) {
    let stream: &TcpStream = match stream {
        Connection::Tcp(stream) => stream,
        Connection::Tls(stream) => stream.get_ref().0,
        Connection::Unix(_) => return,
    };
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(silence).with_interval(silence / 4);
    // Without these options the connection is held longer, no more.
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(silence));
}

async fn respond(
    request: Request<Incoming>,
    from: Origin,
    door: &Door,
    body_timeout: Duration,
) -> Response<OutBody> {
    let response = match read(request, body_timeout).await {
        Ok(mut request) => {
            if let Some(ip) = from.ip {
                request.extensions_mut().insert(api::ClientIp(ip));
            }
            if from.without_ui {
                request.extensions_mut().insert(api::WithoutUi);
            }
            if from.is_verified {
                request.extensions_mut().insert(VerifiedClient);
            }
            door.answer(request).await
        }
        Err(refusal) => {
            door.metrics.count_response(refusal.status());
            refusal
        }
    };
    with_body(response).await
}

/// A body that is whole, or comes in pieces.
type OutBody = Either<Full<Bytes>, StreamBody<PiecesStream>>;
type PiecesStream = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

async fn with_body(mut response: Response<Bytes>) -> Response<OutBody> {
    let pieces = match response.extensions_mut().remove::<Pieces>() {
        Some(pieces) => pieces.0.lock().await.take(),
        None => None,
    };
    response.map(|whole| match pieces {
        None => Either::Left(Full::new(whole)),
        Some(mut pieces) => {
            let next = move |context: &mut Context<'_>| {
                pieces.poll_recv(context).map(|it| it.map(|bytes| Ok(Frame::data(bytes))))
            };
            let pieces: PiecesStream = Box::pin(futures_util::stream::poll_fn(next));
            Either::Right(StreamBody::new(pieces))
        }
    })
}

async fn read(
    request: Request<Incoming>,
    body_timeout: Duration,
) -> Result<Request<Bytes>, Response<Bytes>> {
    let (parts, mut body) = request.into_parts();
    let (bytes_max, body_timeout) = match parts.uri.path() {
        "/v1/snapshot" => (SNAPSHOT_BYTES_MAX, SNAPSHOT_TIMEOUT),
        _ => (BODY_BYTES_MAX, body_timeout),
    };
    if body.size_hint().lower() > bytes_max as u64 {
        // One that waits for `100 Continue` has sent nothing yet.
        if !parts.headers.contains_key(http::header::EXPECT) {
            discard(body).await;
        }
        return Err(too_large(bytes_max));
    }
    let collected = Limited::new(&mut body, bytes_max).collect();
    match tokio::time::timeout(body_timeout, collected).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(body).await;
            Err(too_large(bytes_max))
        }
        Ok(Err(error)) => {
            Err(refusal(StatusCode::BAD_REQUEST, format!("Cannot read the request body: {error}")))
        }
        Err(_) => Err(refusal(
            StatusCode::REQUEST_TIMEOUT,
            format!("The request body did not arrive within {} s", body_timeout.as_secs_f32()),
        )),
    }
}

async fn discard(body: Incoming) {
    let rest = Limited::new(body, DISCARDED_BYTES_MAX);
    let reading = async {
        tokio::pin!(rest);
        while let Some(Ok(_)) = rest.frame().await {}
    };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
}

fn too_large(bytes_max: usize) -> Response<Bytes> {
    refusal(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("Request body too large, max size: {bytes_max} bytes"),
    )
}

fn refusal(status: StatusCode, text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(http::header::CONTENT_TYPE, plain);
    // The rest of the body is not read, so the connection cannot be used again.
    headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    response
}
