//! `leno echo`: a small real application to test a mesh with.
//!
//! Any path answers with JSON about the request and the copy that answered, with `?delay_ms=N` after so long.
//! `/health` says 200 or, after `PUT /health?status=fail`, 503. gRPC health (`/grpc.health.v1.Health/Check`) says
//! the same over HTTP/2, and `/leno.echo.v1.Echo/Talk` is a stream that says each message back, for as long as its client
//! goes on.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::Either;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::args::EchoArguments;
use crate::load::WHO;
use crate::output::print_line;

/// How long requests under way may take after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest delay that a request may ask for.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Most bytes of a request body that are read and thrown away.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

struct Echo {
    name: String,
    version: String,
    latency: Duration,
    error_rate: f64,
    is_healthy: AtomicBool,
    requests: AtomicU64,
}

pub(crate) async fn run(arguments: EchoArguments) -> anyhow::Result<ExitCode> {
    let mut termination = runtime::Termination::listen().context("cannot listen to signals")?;
    let listener = listen(&arguments)?;
    let address = listener.local_addr().context("the listener has no address")?;
    print_line(&format!("echo {} {} on http://{address}", arguments.name, arguments.app_version));
    let echo = Arc::new(Echo {
        name: arguments.name,
        version: arguments.app_version,
        latency: Duration::from_millis(arguments.latency_ms),
        error_rate: arguments.error_rate,
        is_healthy: AtomicBool::new(true),
        requests: AtomicU64::new(0),
    });
    let tasks = runtime::Tasks::new();
    let drain = tasks.drain();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tasks.spawn("connection", serve(stream, Arc::clone(&echo), drain.clone()));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            _ = termination.next() => {
                tasks.shut_down(DRAIN_TIMEOUT).await;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

fn listen(arguments: &EchoArguments) -> anyhow::Result<TcpListener> {
    Ok(control::listen::listen("echo application", arguments.listen)?)
}

async fn serve(stream: TcpStream, echo: Arc<Echo>, drain: runtime::Drain) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let echo = Arc::clone(&echo);
        async move { Ok::<_, Infallible>(echo.answer(request).await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = drain.begun() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// What a query asks for.
fn delay(query: Option<&str>) -> Duration {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    let value = pairs.find(|(name, _)| *name == "delay_ms").map(|(_, value)| value);
    let asked = value.and_then(|it| it.parse().ok()).map_or(Duration::ZERO, Duration::from_millis);
    asked.min(DELAY_MAX)
}

type Body = http_body_util::Either<Full<Bytes>, http_body_util::Either<GrpcBody, Talk>>;
type Talk = WithTrailers<Incoming, std::future::Ready<Option<Result<HeaderMap, hyper::Error>>>>;
type GrpcBody =
    StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

impl Echo {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if parts.uri.path() == "/leno.echo.v1.Echo/Talk" {
            let end = std::future::ready(Some(Ok(grpc_ok())));
            return grpc(http_body_util::Either::Right(body.with_trailers(end)));
        }
        let body = http_body_util::Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body_bytes = body.map_or(0, |body| body.to_bytes().len());
        match parts.uri.path() {
            "/health" if parts.method == Method::PUT => {
                let fail = parts.uri.query().is_some_and(|query| query.contains("fail"));
                self.is_healthy.store(!fail, Ordering::Relaxed);
                self.text(StatusCode::OK, "done\n".into())
            }
            "/health" if self.is_healthy.load(Ordering::Relaxed) => {
                self.text(StatusCode::OK, "healthy\n".into())
            }
            "/health" => self.text(StatusCode::SERVICE_UNAVAILABLE, "unhealthy\n".into()),
            "/grpc.health.v1.Health/Check" => self.grpc_health(),
            path => {
                let latency = self.latency + delay(parts.uri.query());
                let delay = if latency.is_zero() {
                    Either::Left(std::future::ready(()))
                } else {
                    Either::Right(tokio::time::sleep(latency))
                };
                delay.await;
                let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
                if self.is_to_fail(number) {
                    return self.text(StatusCode::INTERNAL_SERVER_ERROR, "told to fail\n".into());
                }
                let answer = serde_json::json!({
                    "name": self.name,
                    "version": self.version,
                    "pid": std::process::id(),
                    "request": number,
                    "method": parts.method.as_str(),
                    "path": path,
                    "headers": headers(&parts.headers),
                    "body_bytes": body_bytes,
                });
                let mut response = self.text(StatusCode::OK, format!("{answer}\n"));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                response
            }
        }
    }

    /// Spread evenly, so that what a test sees does not hang on luck.
    fn is_to_fail(&self, number: u64) -> bool {
        let failures = |requests: u64| (requests as f64 * self.error_rate).floor();
        failures(number) > failures(number - 1)
    }

    fn text(&self, status: StatusCode, text: String) -> Response<Body> {
        let mut response = Response::new(Body::Left(Full::new(Bytes::from(text))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Ok(who) = HeaderValue::from_str(&self.name) {
            headers.insert(HeaderName::from_static(WHO), who);
        }
        response
    }

    /// `HealthCheckResponse{status}`: one gRPC frame (flag 0, length 2) with field 1 as a varint; 1 is SERVING, 2 is
    /// NOT_SERVING.
    fn grpc_health(&self) -> Response<Body> {
        let status = if self.is_healthy.load(Ordering::Relaxed) { 1 } else { 2 };
        let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 0x08, status]);
        let frames = vec![Ok(Frame::data(message)), Ok(Frame::trailers(grpc_ok()))];
        grpc(http_body_util::Either::Left(StreamBody::new(futures_util::stream::iter(frames))))
    }
}

fn grpc_ok() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

fn grpc(body: http_body_util::Either<GrpcBody, Talk>) -> Response<Body> {
    let mut response = Response::new(Body::Right(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

fn headers(headers: &HeaderMap) -> serde_json::Value {
    let pairs = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), serde_json::Value::from(value))
    });
    serde_json::Value::Object(pairs.collect())
}
