//! Clients that send requests at a constant rate, over connections that stay, and take note of each that fails.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use crate::support::HANG;

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speech {
    Http1,
    Http2,
    /// gRPC health checks, over HTTP/2.
    Grpc,
    /// gRPC streams of a second or two, on which message after message is said back. Each message counts as a request, and
    /// so does the status at the end of a stream.
    GrpcStream,
}

/// How long the shortest streams last; the longest last nearly twice as long.
const STREAM_AGE: Duration = Duration::from_secs(1);

/// How requests went.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    /// What went wrong with each that failed, at most the first hundred in words.
    pub(crate) failed: u64,
    pub(crate) words: Vec<String>,
    /// Answers by the name of who gave them.
    pub(crate) by_name: BTreeMap<String, u64>,
}

impl Tally {
    fn note(&mut self, result: Result<String, String>) {
        self.requests += 1;
        match result {
            Ok(name) => *self.by_name.entry(name).or_default() += 1,
            Err(words) => {
                self.failed += 1;
                if self.words.len() < 100 {
                    self.words.push(words);
                }
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.words.extend(other.words);
        for (name, count) in other.by_name {
            *self.by_name.entry(name).or_default() += count;
        }
    }
}

/// Clients at work.
pub(crate) struct Steady {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Steady {
    /// Sends `rate` requests a second to `host` at the mesh listener, over eight connections. No request is tried twice.
    pub(crate) fn start(mesh: SocketAddr, host: &str, speech: Speech, rate: f64) -> Self {
        Self::start_all((mesh, host, "/"), speech, rate, "x-envoy-max-retries: 0\r\n")
    }

    /// The same over HTTP/1.1 for a path of a host, at any listener.
    pub(crate) fn start_on(address: SocketAddr, host: &str, path: &str, rate: f64) -> Self {
        let header = "x-envoy-max-retries: 0\r\n";
        Self::start_all((address, host, path), Speech::Http1, rate, header)
    }

    /// The same over HTTP/1.1, where requests may be tried twice as the proxy sees fit.
    pub(crate) fn start_with_retries(mesh: SocketAddr, host: &str, rate: f64) -> Self {
        Self::start_all((mesh, host, "/"), Speech::Http1, rate, "")
    }

    fn start_all(
        (mesh, host, path): (SocketAddr, &str, &str),
        speech: Speech,
        rate: f64,
        header: &'static str,
    ) -> Self {
        const CONNECTIONS: u32 = 8;
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
        let began = Instant::now();
        let threads = (0..CONNECTIONS).map(|nth| {
            let (stop, host, path) = (Arc::clone(&stop), host.to_owned(), path.to_owned());
            let first = began + pause * nth / CONNECTIONS;
            let pace = Pace { stop, next: first, pause };
            thread::spawn(move || match speech {
                Speech::Http1 => http1(mesh, (&host, &path), header, pace),
                Speech::Http2 | Speech::Grpc => http2(mesh, &host, speech, pace),
                Speech::GrpcStream => {
                    let age = STREAM_AGE + STREAM_AGE * nth / CONNECTIONS;
                    streams(mesh, &host, age, pace)
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for thread in self.threads {
            all.add(thread.join().expect("a client does not panic"));
        }
        all
    }
}

struct Pace {
    stop: Arc<AtomicBool>,
    next: Instant,
    pause: Duration,
}

impl Pace {
    /// How long to wait for the next turn; `None` at the end.
    fn turn(&mut self) -> Option<Duration> {
        let wait = self.next.saturating_duration_since(Instant::now());
        self.next += self.pause;
        (!self.stop.load(Ordering::Relaxed)).then_some(wait)
    }
}

fn http1(mesh: SocketAddr, target: (&str, &str), header: &str, mut pace: Pace) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<BufReader<TcpStream>> = None;
    while let Some(wait) = pace.turn() {
        thread::sleep(wait);
        let result = exchange(&mut connection, mesh, target, header);
        if result.is_err() {
            connection = None;
        }
        tally.note(result);
    }
    tally
}

fn exchange(
    connection: &mut Option<BufReader<TcpStream>>,
    mesh: SocketAddr,
    (host, path): (&str, &str),
    header: &str,
) -> Result<String, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(mesh).map_err(words)?;
            stream.set_nodelay(true).map_err(words)?;
            stream.set_read_timeout(Some(HANG)).map_err(words)?;
            BufReader::new(stream)
        }
    };
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n");
    stream.get_mut().write_all(head.as_bytes()).map_err(words)?;
    let mut status = String::new();
    stream.read_line(&mut status).map_err(words)?;
    let (mut length, mut closes) = (0, false);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).map_err(words)?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| line.clone())?;
        }
        closes |= line == "connection: close";
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(words)?;
    if !closes {
        *connection = Some(stream);
    }
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("{} {}", status.trim_end(), String::from_utf8_lossy(&body)));
    }
    Ok(name_in(&body))
}

fn name_in(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    value["name"].as_str().unwrap_or_default().to_owned()
}

type RequestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;
type Sender = hyper::client::conn::http2::SendRequest<RequestBody>;

fn http2(mesh: SocketAddr, host: &str, speech: Speech, mut pace: Pace) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there is a runtime").block_on(async {
        let mut tally = Tally::default();
        let mut connection: Option<Sender> = None;
        while let Some(wait) = pace.turn() {
            tokio::time::sleep(wait).await;
            if connection.as_ref().is_none_or(Sender::is_closed) {
                connection = None;
            }
            let result = tokio::time::timeout(HANG, exchange2(&mut connection, mesh, host, speech));
            tally.note(result.await.unwrap_or_else(|_| Err("it hangs".to_owned())));
        }
        tally
    })
}

async fn connect(mesh: SocketAddr) -> Result<Sender, String> {
    let stream = tokio::net::TcpStream::connect(mesh).await.map_err(|it| it.to_string())?;
    stream.set_nodelay(true).map_err(|it| it.to_string())?;
    let (executor, io) = (TokioExecutor::new(), TokioIo::new(stream));
    let made = hyper::client::conn::http2::handshake(executor, io).await;
    let (sender, driver) = made.map_err(|it| it.to_string())?;
    tokio::spawn(driver);
    Ok(sender)
}

async fn exchange2(
    connection: &mut Option<Sender>,
    mesh: SocketAddr,
    host: &str,
    speech: Speech,
) -> Result<String, String> {
    let mut sender = match connection.take() {
        Some(sender) => sender,
        None => connect(mesh).await?,
    };
    let request = http::Request::builder().header("x-envoy-max-retries", "0");
    let request = if speech == Speech::Grpc {
        let path = format!("http://{host}/grpc.health.v1.Health/Check");
        let request = request.method("POST").uri(path).header("te", "trailers");
        let request = request.header("content-type", "application/grpc");
        // No compression, and a message of no bytes.
        request.body(Full::new(Bytes::from_static(&[0; 5])).boxed_unsync())
    } else {
        request.uri(format!("http://{host}/")).body(Full::default().boxed_unsync())
    };
    let response = sender.send_request(request.expect("it is one")).await;
    let response = response.map_err(in_words)?;
    let (status, head) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.map_err(|it| it.to_string())?;
    let trailers = body.trailers().cloned();
    let bytes = body.to_bytes();
    *connection = Some(sender);
    if status != 200 {
        return Err(format!("{status} {}", String::from_utf8_lossy(&bytes)));
    }
    if speech == Speech::Grpc {
        let status = trailers.as_ref().and_then(|it| it.get("grpc-status"));
        return match status.or_else(|| head.get("grpc-status")) {
            Some(status) if status == "0" => Ok("grpc".to_owned()),
            other => Err(format!("grpc-status {other:?}")),
        };
    }
    Ok(name_in(&bytes))
}

/// A stream on which messages are said back.
struct Talk {
    messages: mpsc::Sender<Bytes>,
    answers: Incoming,
    /// What has come of the next answer.
    bytes: Vec<u8>,
    began: Instant,
    said: u64,
}

fn streams(mesh: SocketAddr, host: &str, age: Duration, mut pace: Pace) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there is a runtime").block_on(async {
        let mut tally = Tally::default();
        let mut sender: Option<Sender> = None;
        let mut talk: Option<Talk> = None;
        while let Some(wait) = pace.turn() {
            tokio::time::sleep(wait).await;
            let is_over = talk.as_ref().is_some_and(|it| it.began.elapsed() >= age);
            if let Some(ended) = is_over.then(|| talk.take()).flatten() {
                tally.note(in_time(ended.end()).await);
            }
            let said = in_time(say(&mut sender, &mut talk, mesh, host)).await;
            if said.is_err() {
                (sender, talk) = (None, None);
            }
            tally.note(said);
        }
        if let Some(last) = talk {
            tally.note(in_time(last.end()).await);
        }
        tally
    })
}

async fn in_time(exchange: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    tokio::time::timeout(HANG, exchange).await.unwrap_or_else(|_| Err("it hangs".to_owned()))
}

async fn say(
    sender: &mut Option<Sender>,
    talk: &mut Option<Talk>,
    mesh: SocketAddr,
    host: &str,
) -> Result<String, String> {
    if talk.is_none() {
        if sender.as_ref().is_none_or(Sender::is_closed) {
            *sender = Some(connect(mesh).await?);
        }
        let connection = sender.as_mut().expect("it was made above");
        *talk = Some(Talk::begin(connection, host).await?);
    }
    talk.as_mut().expect("it was begun above").say().await
}

impl Talk {
    async fn begin(connection: &mut Sender, host: &str) -> Result<Self, String> {
        // One message is under way at a time.
        let (messages, mut said) = mpsc::channel::<Bytes>(1);
        let frames = futures_util::stream::poll_fn(move |context| {
            said.poll_recv(context).map(|it| it.map(|it| Ok::<_, Infallible>(Frame::data(it))))
        });
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("http://{host}/leno.echo.v1.Echo/Talk"))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("x-envoy-max-retries", "0")
            .body(StreamBody::new(frames).boxed_unsync())
            .expect("it is one");
        let response = connection.send_request(request).await.map_err(in_words)?;
        if response.status() != 200 || response.headers().contains_key("grpc-status") {
            return Err(format!("the stream does not begin: {response:?}"));
        }
        let (answers, bytes) = (response.into_body(), Vec::new());
        Ok(Self { messages, answers, bytes, began: Instant::now(), said: 0 })
    }

    /// Says a message, and waits until it is said back.
    async fn say(&mut self) -> Result<String, String> {
        self.said += 1;
        let mut message = vec![0, 0, 0, 0, 8];
        message.extend(self.said.to_be_bytes());
        let sent = self.messages.send(message.clone().into()).await;
        sent.map_err(|_| "the stream ended".to_owned())?;
        while self.bytes.len() < message.len() {
            let frame = self.answers.frame().await.ok_or("the stream ended before an answer")?;
            let frame = frame.map_err(in_words)?;
            let data = frame.into_data().map_err(|it| format!("ended early: {it:?}"))?;
            self.bytes.extend(data);
        }
        if self.bytes != message {
            return Err(format!("another answer: {:?}", self.bytes));
        }
        self.bytes.clear();
        Ok("stream".to_owned())
    }

    /// Says that no message follows, and takes the status.
    async fn end(mut self) -> Result<String, String> {
        drop(self.messages);
        while let Some(frame) = self.answers.frame().await {
            let Ok(trailers) = frame.map_err(in_words)?.into_trailers() else { continue };
            return match trailers.get("grpc-status") {
                Some(status) if status == "0" => Ok("end of a stream".to_owned()),
                other => Err(format!("grpc-status {other:?}")),
            };
        }
        Err("no status at the end of a stream".to_owned())
    }
}

#[allow(clippy::needless_pass_by_value)] // It stands in `map_err`.
fn in_words(error: hyper::Error) -> String {
    format!("{error}: {:?}", std::error::Error::source(&error))
}
