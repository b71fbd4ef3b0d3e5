//! The backend behind every proxy: a process of its own, one thread, hyper.
//!
//! It prints its ports as one line of JSON, and ends when its standard input does.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::io::{self, BufRead, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::machine::pinned;
use super::units::{BODY_LARGE, BODY_SMALL, grpc_message};

/// A running backend; it ends when this is dropped.
pub(super) struct Backend {
    child: Child,
    /// Two endpoints that speak HTTP/1.1.
    pub(super) http1: [u16; 2],
    /// Two endpoints that speak HTTP/2 without TLS.
    pub(super) http2: [u16; 2],
}

impl Backend {
    pub(super) fn start(cores: Option<&str>) -> anyhow::Result<Self> {
        let me = std::env::current_exe()?;
        let mut child = pinned(Path::new(&me), cores)
            .args(["bench", "data-plane", "backend"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the backend")?;
        let mut line = String::new();
        let out = child.stdout.take().context("it is piped")?;
        io::BufReader::new(out).read_line(&mut line)?;
        let ports: Value = serde_json::from_str(&line).context("the backend tells no ports")?;
        let port = |index: usize| {
            ports[index].as_u64().and_then(|it| u16::try_from(it).ok()).context("not a port")
        };
        Ok(Self { http1: [port(0)?, port(1)?], http2: [port(2)?, port(3)?], child })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The backend's process.
pub(super) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = Answers {
        small: Bytes::from(vec![b'a'; BODY_SMALL]),
        large: Bytes::from(vec![b'b'; BODY_LARGE]),
        message: Bytes::from(grpc_message()),
    };
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let mut ports = Vec::new();
        for http2 in [false, false, true, true] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            ports.push(listener.local_addr()?.port());
            tokio::task::spawn_local(accept(listener, http2, answers.clone()));
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{}", json!(ports))?;
        out.flush()?;
        // Reading the end of standard input blocks, so it has a thread of its own.
        let ended = tokio::task::spawn_blocking(|| {
            let _ = io::stdin().lock().read_line(&mut String::new());
        });
        Ok(ended.await?)
    })
}

/// Runs the tasks of an HTTP/2 connection on the one thread.
#[derive(Clone)]
pub(super) struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}

async fn accept(listener: TcpListener, http2: bool, answers: Answers) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let answers = answers.clone();
        let service = service_fn(move |request| answers.clone().answer(request));
        tokio::task::spawn_local(async move {
            // A connection that breaks concerns only who opened it; the generator counts what failed.
            let io = TokioIo::new(stream);
            if http2 {
                let _ = http2::Builder::new(Local)
                    .max_concurrent_streams(1000)
                    .serve_connection(io, service)
                    .await;
            } else {
                let _ = http1::Builder::new().serve_connection(io, service).await;
            }
        });
    }
}

#[derive(Clone)]
struct Answers {
    small: Bytes,
    large: Bytes,
    message: Bytes,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Answers {
    /// `POST`: the length of the body. `/10m`: 10 MiB. `/headers`: the headers that came. A gRPC call: one message and
    /// trailers. All else: 1 KiB.
    async fn answer(self, request: Request<Incoming>) -> hyper::Result<Response<Body>> {
        let is_grpc =
            request.headers().get(CONTENT_TYPE).is_some_and(|it| it == "application/grpc");
        let is_post = request.method() == hyper::Method::POST;
        if is_grpc {
            request.into_body().collect().await?;
            return Ok(self.grpc());
        }
        if is_post {
            let body = request.into_body().collect().await?.to_bytes();
            return Ok(whole(Bytes::from(body.len().to_string())));
        }
        Ok(match request.uri().path() {
            "/10m" => whole(self.large),
            "/headers" => whole(Bytes::from(format!("{:?}", request.headers()))),
            _ => whole(self.small),
        })
    }

    fn grpc(self) -> Response<Body> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = Full::new(self.message).with_trailers(ready(Some(Ok(trailers)))).boxed_unsync();
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

fn whole(bytes: Bytes) -> Response<Body> {
    Response::new(Full::new(bytes).boxed_unsync())
}
