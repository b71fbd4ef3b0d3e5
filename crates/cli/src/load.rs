//! A small load generator: GET requests over keep-alive connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Response header by which `leno echo` says who it is.
pub(crate) const WHO: &str = "x-leno-echo";
/// A request that takes longer counts as failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a load came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Answered requests by who answered.
    pub(crate) answered: BTreeMap<String, u64>,
    /// Requests without an answer of 200, each with what happened.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    pub(crate) fn total(&self) -> u64 {
        self.answered.values().sum::<u64>() + self.failures.len() as u64
    }

    fn add(&mut self, result: Result<String, String>) {
        match result {
            Ok(who) => *self.answered.entry(who).or_default() += 1,
            Err(what) => self.failures.push(what),
        }
    }

    fn merge(&mut self, other: Tally) {
        for (who, count) in other.answered {
            *self.answered.entry(who).or_default() += count;
        }
        self.failures.extend(other.failures);
    }
}

/// One keep-alive connection that is opened when it is needed.
pub(crate) struct Caller {
    address: SocketAddr,
    host: String,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Caller {
    /// Calls `host` through the proxy at `address`.
    pub(crate) fn new(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), sender: None }
    }

    /// One GET: who answered with 200, or what happened instead.
    pub(crate) async fn get(&mut self, path: &str) -> Result<String, String> {
        let exchange = tokio::time::timeout(TIMEOUT, self.exchange(path));
        let result = exchange.await.unwrap_or_else(|_| Err("no answer within 5 s".into()));
        if result.is_err() {
            self.sender = None;
        }
        result
    }

    async fn exchange(&mut self, path: &str) -> Result<String, String> {
        let sender = self.connected().await?;
        let request = Request::get(path)
            .header(http::header::HOST, &self.host)
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let mut sender_now = sender;
        let response = sender_now.send_request(request).await.map_err(|it| it.to_string())?;
        let status = response.status();
        let who = response.headers().get(WHO).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let body = response.into_body().collect().await.map_err(|it| it.to_string())?.to_bytes();
        self.sender = Some(sender_now);
        match who {
            Some(who) if status == http::StatusCode::OK => Ok(who),
            _ => Err(format!("{status}: {}", String::from_utf8_lossy(&body).trim())),
        }
    }

    async fn connected(&mut self) -> Result<SendRequest<Empty<Bytes>>, String> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// What is sent.
pub(crate) struct Volley {
    pub(crate) path: &'static str,
    pub(crate) requests: u64,
    /// At once.
    pub(crate) connections: u64,
}

/// Sends them all; `done` counts them for a progress bar.
pub(crate) async fn send(
    address: SocketAddr,
    host: &str,
    volley: &Volley,
    done: &Arc<AtomicU64>,
) -> Tally {
    let &Volley { path, requests, connections } = volley;
    let callers = (0..connections).map(|idx| {
        let share = requests / connections + u64::from(idx < requests % connections);
        let mut caller = Caller::new(address, host);
        let done = Arc::clone(done);
        tokio::spawn(async move {
            let mut tally = Tally::default();
            for _ in 0..share {
                tally.add(caller.get(path).await);
                done.fetch_add(1, Ordering::Relaxed);
            }
            tally
        })
    });
    gather(callers.collect()).await
}

/// Requests without pause until it is told to stop.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<Tally>>,
    done: Arc<AtomicU64>,
}

impl Stream {
    /// Starts `connections` callers, each with a pause of 1 ms between requests, so that the machine has time for
    /// those who answer.
    pub(crate) fn start(address: SocketAddr, host: &str, connections: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let callers = (0..connections).map(|_| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            let mut caller = Caller::new(address, host);
            tokio::spawn(async move {
                let mut tally = Tally::default();
                while !stop.load(Ordering::Relaxed) {
                    tally.add(caller.get("/").await);
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tally
            })
        });
        Self { callers: callers.collect(), stop, done }
    }

    /// Requests so far.
    pub(crate) fn count(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Stops and adds up.
    pub(crate) async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        gather(self.callers).await
    }
}

async fn gather(callers: Vec<tokio::task::JoinHandle<Tally>>) -> Tally {
    let mut all = Tally::default();
    for caller in callers {
        match caller.await {
            Ok(tally) => all.merge(tally),
            Err(error) => all.failures.push(error.to_string()),
        }
    }
    all
}
