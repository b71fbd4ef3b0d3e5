mod certificates;
mod setup;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(super) use self::certificates::{Authority, TlsClient, tls_backend};
pub(super) use self::setup::Setup;
use crate::ProxyHandle;
use crate::access_log::Target;

/// Nothing here takes this long; it ends a test that hangs.
pub(super) const HANG: Duration = Duration::from_secs(20);

pub(super) type TestBody = BoxBody<Bytes, Infallible>;

pub(super) fn full(text: impl Into<Bytes>) -> TestBody {
    Full::new(text.into()).boxed()
}

pub(super) fn empty() -> TestBody {
    full(Bytes::new())
}

/// A body of frames that are sent when they arrive on the channel.
pub(super) fn channel() -> (tokio::sync::mpsc::Sender<Frame<Bytes>>, TestBody) {
    let (sender, mut frames) = tokio::sync::mpsc::channel(16);
    let stream = futures_util::stream::poll_fn(move |cx| {
        frames.poll_recv(cx).map(|it| it.map(Ok::<_, Infallible>))
    });
    (sender, StreamBody::new(stream).boxed())
}

/// A body with trailers.
pub(super) fn with_trailers(text: &'static str, trailers: HeaderMap) -> TestBody {
    let frames = [Frame::data(Bytes::from(text)), Frame::trailers(trailers)];
    let stream = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
    StreamBody::new(stream).boxed()
}

/// Awaits, but not for ever.
pub(super) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANG, future).await.expect("must not hang")
}

/// Waits until a number is this.
pub(super) async fn becomes(read: impl Fn() -> u64, expected: u64) {
    soon(async {
        while read() != expected {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// An access log in a file of its own.
pub(super) fn access_log(test: &str) -> (Target, PathBuf) {
    let name = format!("leno-proxy-{test}-{}.log", std::process::id());
    let path = std::env::temp_dir().join(name);
    (Target::File(path.clone()), path)
}

/// Waits until the log has this many lines, which it has at the latest when the last thread of the proxy has let it
/// go, and removes it.
pub(super) async fn lines_of(path: &Path, count: usize) -> String {
    let mut lines = String::new();
    soon(async {
        while lines.lines().count() < count {
            tokio::task::yield_now().await;
            lines = std::fs::read_to_string(path).unwrap_or_default();
        }
    })
    .await;
    std::fs::remove_file(path).unwrap();
    lines
}

/// A counter or gauge by its name in Envoy's text form.
pub(super) fn stat(proxy: &ProxyHandle, name: &str) -> u64 {
    let line = format!("{name}: ");
    let text = proxy.with_admin_view(|view| {
        let page = crate::admin::respond(&http::Method::GET, "/stats", None, view);
        String::from_utf8(page.into_body().to_vec()).unwrap()
    });
    let found = text.lines().find_map(|it| it.strip_prefix(&line));
    found.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// An endpoint.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Backend {
    /// Serves each connection with `serve`.
    pub(super) async fn tcp<F, R>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            // Dropping the set ends the connections as well: what a SIGKILL does.
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                open.spawn(serve(stream));
            }
        });
        Self { address, connections, task }
    }

    /// Answers each request with `answer`, over HTTP/1.1.
    pub(super) async fn http1<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<TestBody>> + Send + 'static,
    {
        Self::tcp(move |stream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            }
        })
        .await
    }

    /// Answers each request with `answer`, over HTTP/2.
    pub(super) async fn http2<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<TestBody>> + Send + 'static,
    {
        Self::tcp(move |stream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        })
        .await
    }

    /// Answers every request with a text.
    pub(super) async fn text(text: &'static str) -> Self {
        Self::http1(move |_| async move { Response::new(full(text)) }).await
    }

    /// Answers every request with its own head, as text.
    pub(super) async fn echo() -> Self {
        Self::http1(|request| async move {
            let mut lines = vec![format!("{} {}", request.method(), request.uri())];
            for (name, value) in request.headers() {
                lines.push(format!("{name}: {}", value.to_str().unwrap()));
            }
            Response::new(full(lines.join("\n") + "\n"))
        })
        .await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Ends it and all its connections at once.
    pub(super) async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

/// A backend whose answer ends when it is told to.
pub(super) async fn slow() -> (Backend, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let wait = go_on.clone();
    let backend = Backend::http1(move |_| {
        let wait = wait.clone();
        async move {
            let (sender, body) = channel();
            tokio::spawn(async move {
                sender.send(Frame::data("begin".into())).await.unwrap();
                wait.notified().await;
                let _ = sender.send(Frame::data(" end".into())).await;
            });
            Response::new(body)
        }
    })
    .await;
    (backend, go_on)
}

/// An address that refuses connections as long as this lives: it is held, and nobody listens.
pub(super) struct Refusing {
    pub(super) address: SocketAddr,
    _held: socket2::Socket,
}

impl Refusing {
    pub(super) fn new() -> Self {
        let held =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        held.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        Self { address, _held: held }
    }
}

/// A client connection over HTTP/1.1 or HTTP/2.
pub(super) enum Client {
    Http1(hyper::client::conn::http1::SendRequest<TestBody>),
    Http2(hyper::client::conn::http2::SendRequest<TestBody>),
}

impl Client {
    pub(super) async fn http1(address: SocketAddr) -> Self {
        Self::http1_over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(super) async fn http1_over<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Self::Http1(sender)
    }

    pub(super) async fn http2(address: SocketAddr) -> Self {
        Self::http2_over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(super) async fn http2_over<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    pub(super) async fn try_send(
        &mut self,
        request: Request<TestBody>,
    ) -> hyper::Result<Response<Incoming>> {
        soon(async {
            match self {
                Client::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Client::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
    }

    pub(super) async fn send(&mut self, request: Request<TestBody>) -> Response<Incoming> {
        self.try_send(request).await.unwrap()
    }

    /// The answer to a `GET` of `/` at `web` with these headers.
    pub(super) async fn get_with(&mut self, headers: &[(&str, &str)]) -> Response<Incoming> {
        self.ask("GET", "/", headers).await
    }

    /// The answer to a request to `web` without a body.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let uri = match self {
            Client::Http1(_) => path.to_owned(),
            Client::Http2(_) => format!("http://web{path}"),
        };
        let mut request = Request::builder().method(method).uri(uri).header("host", "web");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(empty()).unwrap()).await
    }

    /// Status and body of the answer to a `GET`.
    pub(super) async fn get(&mut self, host: &str, path: &str) -> (u16, String) {
        let uri = match self {
            Client::Http1(_) => path.to_owned(),
            Client::Http2(_) => format!("http://{host}{path}"),
        };
        let request = Request::get(uri).header("host", host).body(empty()).unwrap();
        let response = self.send(request).await;
        let status = response.status().as_u16();
        (status, text(response.into_body()).await)
    }
}

/// A whole body as text.
pub(super) async fn text<B>(body: B) -> String
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let collected = soon(body.collect()).await.unwrap();
    String::from_utf8(collected.to_bytes().to_vec()).unwrap()
}

/// Sends bytes and reads until the proxy closes the connection. A reset counts as a close.
pub(super) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    read_to_close(&mut stream).await
}

pub(super) async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let _ = soon(stream.read_to_end(&mut read)).await;
    String::from_utf8_lossy(&read).into_owned()
}
