//! The HTTP server of the agent: sockets, limits and deadlines. What is answered is decided in `api`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::{Drain, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::door::Door;
use crate::listen::{ListenError, listen};

/// Largest request body. Manifests are the largest thing that anybody sends; a registration has about 1 KiB.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a request body may take: 4 MiB at 140 KiB/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request head may take, and how long a connection may idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most connections at once; each blocked query holds one. 20,000 of them take about 200 MB.
const CONNECTIONS_MAX: usize = 20_000;
/// How long requests under way may take after a drain has begun.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A bound socket that does not serve yet.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpServer {
    /// Binds `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address cannot be had; the error says who has it, if that can be known.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let listener = listen("HTTP API", address)?;
        let address = listener.local_addr().map_err(|source| ListenError {
            what: "HTTP API",
            address,
            source,
        })?;
        Ok(Self { listener, address })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the drain begins, and then what is under way.
    pub async fn run(self, door: Arc<Door>, tasks: Tasks) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let drain = tasks.drain();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &places) => accepted,
                () = drain.begun() => return,
            };
            let Some((stream, place)) = accepted else { continue };
            let door = Arc::clone(&door);
            let drain = drain.clone();
            tasks.spawn("HTTP connection", async move {
                serve(stream, door, drain).await;
                drop(place);
            });
        }
    }
}

/// The next connection, with its place among [`CONNECTIONS_MAX`]; `None` after a failure that passes.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            // Out of file descriptors, most likely: waiting is all that helps.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn serve(stream: TcpStream, door: Arc<Door>, drain: Drain) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(respond(request, &door).await.map(Full::new)) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
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
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, connection).await;
}

async fn respond(request: Request<Incoming>, door: &Door) -> Response<Bytes> {
    match read(request).await {
        Ok(request) => door.answer(request).await,
        Err(refusal) => refusal,
    }
}

async fn read(request: Request<Incoming>) -> Result<Request<Bytes>, Response<Bytes>> {
    let (parts, body) = request.into_parts();
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let collected =
        tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect());
    match collected.await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err(refusal(StatusCode::BAD_REQUEST, format!("Cannot read the request body: {error}")))
        }
        Err(_) => Err(refusal(
            StatusCode::REQUEST_TIMEOUT,
            format!("The request body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn too_large() -> Response<Bytes> {
    refusal(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("Request body too large, max size: {BODY_BYTES_MAX} bytes"),
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
