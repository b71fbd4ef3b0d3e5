//! Clients that send requests at a constant rate, over connections that stay, and take note of each that fails.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::HANG;

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speech {
    Http1,
    Http2,
    /// gRPC health checks, over HTTP/2.
    Grpc,
}

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
        Self::start_all(mesh, host, speech, rate, "x-envoy-max-retries: 0\r\n")
    }

    /// The same over HTTP/1.1, where requests may be tried twice as the proxy sees fit.
    pub(crate) fn start_with_retries(mesh: SocketAddr, host: &str, rate: f64) -> Self {
        Self::start_all(mesh, host, Speech::Http1, rate, "")
    }

    fn start_all(
        mesh: SocketAddr,
        host: &str,
        speech: Speech,
        rate: f64,
        header: &'static str,
    ) -> Self {
        const CONNECTIONS: u32 = 8;
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
        let began = Instant::now();
        let threads = (0..CONNECTIONS).map(|nth| {
            let (stop, host) = (Arc::clone(&stop), host.to_owned());
            let first = began + pause * nth / CONNECTIONS;
            let pace = Pace { stop, next: first, pause };
            thread::spawn(move || match speech {
                Speech::Http1 => http1(mesh, &host, header, pace),
                Speech::Http2 | Speech::Grpc => http2(mesh, &host, speech, pace),
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

fn http1(mesh: SocketAddr, host: &str, header: &str, mut pace: Pace) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<BufReader<TcpStream>> = None;
    while let Some(wait) = pace.turn() {
        thread::sleep(wait);
        let result = exchange(&mut connection, mesh, host, header);
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
    host: &str,
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
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{header}\r\n");
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

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

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

async fn exchange2(
    connection: &mut Option<Sender>,
    mesh: SocketAddr,
    host: &str,
    speech: Speech,
) -> Result<String, String> {
    let mut sender = match connection.take() {
        Some(sender) => sender,
        None => {
            let stream = tokio::net::TcpStream::connect(mesh).await.map_err(|it| it.to_string())?;
            let (sender, driver) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .map_err(|it| it.to_string())?;
            tokio::spawn(driver);
            sender
        }
    };
    let request = http::Request::builder().header("x-envoy-max-retries", "0");
    let request = if speech == Speech::Grpc {
        let path = format!("http://{host}/grpc.health.v1.Health/Check");
        let request = request.method("POST").uri(path).header("te", "trailers");
        let request = request.header("content-type", "application/grpc");
        // No compression, and a message of no bytes.
        request.body(Full::new(Bytes::from_static(&[0; 5])))
    } else {
        request.uri(format!("http://{host}/")).body(Full::default())
    };
    let response = sender.send_request(request.expect("it is one")).await;
    let response = response.map_err(|it| format!("{it}: {:?}", std::error::Error::source(&it)))?;
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
