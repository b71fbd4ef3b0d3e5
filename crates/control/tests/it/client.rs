//! An agent in memory, and a client of it that is no more than HTTP/1.1 needs.

use std::net::SocketAddr;
use std::time::Duration;

use control::agent::{Agent, AgentOptions};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing here takes nearly as long.
pub(crate) const HANG: Duration = Duration::from_secs(60);

pub(crate) async fn start(options: AgentOptions) -> Agent {
    Agent::start(options).await.unwrap()
}

pub(crate) async fn end(agent: &Agent) {
    let left = agent.shut_down().await;
    assert!(left.is_empty(), "these tasks did not end: {left:?}");
}

/// An answer that has come whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn index(&self) -> u64 {
        self.header("x-consul-index").unwrap().parse().unwrap()
    }
}

/// Sends a request; the answer is still to be read.
pub(crate) async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    method: &str,
    path: &str,
    body: &[u8],
) {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
}

/// Reads an answer that has a `Content-Length`; the connection can be used again.
pub(crate) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let reading = async {
        let head = read_head(stream).await;
        let mut answer = Answer { status: status_of(&head), head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |it| it.parse().unwrap());
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body).await.unwrap();
        answer
    };
    tokio::time::timeout(HANG, reading).await.expect("an answer comes")
}

/// Reads to the empty line.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the head is whole"));
    }
    String::from_utf8(head).unwrap()
}

pub(crate) fn status_of(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// One request on a connection of its own.
pub(crate) async fn ask(http: SocketAddr, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(http).await.unwrap();
    send(&mut stream, method, path, body).await;
    receive(&mut stream).await
}

pub(crate) async fn get(agent: &Agent, path: &str) -> Answer {
    ask(agent.http.unwrap(), "GET", path, b"").await
}

pub(crate) async fn put(agent: &Agent, path: &str, body: impl AsRef<[u8]>) -> Answer {
    ask(agent.http.unwrap(), "PUT", path, body.as_ref()).await
}

/// A blocking read that waits by now.
pub(crate) struct Waiting(tokio::task::JoinHandle<Answer>);

impl Waiting {
    /// `count` reads wait once this one does.
    pub(crate) async fn start(agent: &Agent, path: &str, count: u64) -> Self {
        let (http, path) = (agent.http.unwrap(), path.to_owned());
        let waiting = tokio::spawn(async move { ask(http, "GET", &path, b"").await });
        let line = format!("leno_blocked_queries{{datacenter=\"dc1\"}} {count}");
        let until = async {
            while !get(agent, "/metrics").await.text().lines().any(|it| it == line) {
                assert!(!waiting.is_finished(), "it does not wait");
            }
        };
        tokio::time::timeout(HANG, until).await.expect("it waits");
        Self(waiting)
    }

    pub(crate) async fn answer(self) -> Answer {
        tokio::time::timeout(HANG, self.0).await.expect("it wakes").unwrap()
    }
}
