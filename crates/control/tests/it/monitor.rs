//! `agent/monitor` and `agent/metrics/stream`: answers without an end. Whoever follows the log follows that of the whole
//! process.

use std::time::{Duration, Instant};

use control::agent::{Agent, AgentOptions};
use control::monitor::{Event, publish, wants};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tracing::Level;

use crate::client::{HANG, end, get, read_head, send, start, status_of};

/// One after the other: lines of one test are in the way of another's followers.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn agent() -> Agent {
    start(AgentOptions::default()).await
}

fn say(level: Level, target: &str, message: &str) {
    publish(&Event { level, target, message, fields: &[("node", "n1".into())], at_ms: 1000 });
}

/// A stream that is being answered.
struct Followed(BufReader<TcpStream>);

impl Followed {
    async fn start(agent: &Agent, path: &str) -> Self {
        let stream = TcpStream::connect(agent.http.unwrap()).await.unwrap();
        Self::on(stream, path).await
    }

    async fn on(mut stream: TcpStream, path: &str) -> Self {
        send(&mut stream, "GET", path, b"").await;
        let mut stream = BufReader::new(stream);
        let head = tokio::time::timeout(HANG, read_head(&mut stream)).await.expect("it begins");
        assert_eq!(status_of(&head), 200, "{head}");
        assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
        Self(stream)
    }

    /// The next chunk; `None` at the end.
    async fn chunk(&mut self) -> Option<String> {
        let reading = async {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                size.push(self.0.read_u8().await.ok()?);
            }
            let size = std::str::from_utf8(&size).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.0.read_exact(&mut chunk).await.ok()?;
            chunk.truncate(size);
            (size > 0).then(|| String::from_utf8(chunk).unwrap())
        };
        tokio::time::timeout(HANG, reading).await.expect("something comes, or the end")
    }

    /// The next chunk in which `word` stands.
    async fn chunk_with(&mut self, word: &str) -> String {
        loop {
            let chunk = self.chunk().await.expect("it goes on");
            if chunk.contains(word) {
                return chunk;
            }
        }
    }
}

#[tokio::test]
async fn lines_come_as_they_are_logged_at_the_level_that_is_asked() {
    let _alone = ALONE.lock().await;
    let agent = agent().await;
    let mut text = Followed::start(&agent, "/v1/agent/monitor?loglevel=warn").await;
    let mut json = Followed::start(&agent, "/v1/agent/monitor?logjson&loglevel=ERR").await;
    say(Level::INFO, "lines", "no");
    say(Level::WARN, "lines", "one");
    say(Level::ERROR, "lines", "two");
    let line = text.chunk_with(" lines: ").await;
    assert_eq!(line, "1970-01-01T00:00:01Z [WARN]  lines: one: node=n1\n");
    assert_eq!(
        text.chunk_with(" lines: ").await,
        "1970-01-01T00:00:01Z [ERROR] lines: two: node=n1\n"
    );
    let object: serde_json::Value =
        serde_json::from_str(&json.chunk_with("\"lines\"").await).unwrap();
    assert_eq!((&object["@message"], &object["node"]), (&"two".into(), &"n1".into()));
    assert_eq!(
        get(&agent, "/v1/agent/monitor?loglevel=loud").await.text(),
        "Unknown log level: loud"
    );
    end(&agent).await;
    assert_eq!(text.chunk().await, None, "the end is told");
    assert_eq!(json.chunk().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_in_loses_lines_and_hears_of_it() {
    let _alone = ALONE.lock().await;
    let agent = agent().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(agent.http.unwrap()).await.unwrap();
    let mut slow = Followed::on(stream, "/v1/agent/monitor").await;
    // More than all buffers of the way hold.
    let padding = "x".repeat(10_000);
    for number in 0..5_000 {
        say(Level::INFO, "flood", &format!("{number} {padding}"));
    }
    let told = async {
        let mut lines = 0;
        loop {
            let chunk = slow.chunk().await.expect("it goes on");
            if let Some((_, rest)) = chunk.split_once("[WARN]  monitor: ") {
                let lost: u32 = rest.split(' ').next().unwrap().parse().unwrap();
                break (lines, lost);
            }
            lines += u32::from(chunk.contains(" flood: "));
            // The next line tells what was lost before it.
            say(Level::INFO, "flood", "after");
        }
    };
    let (lines, lost) = tokio::time::timeout(HANG, told).await.expect("it is told");
    assert!(lines > 0 && lost > 0, "{lines} taken, {lost} lost");
    end(&agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_nothing_in_do_not_hold_up_the_end() {
    let _alone = ALONE.lock().await;
    let agent = agent().await;
    let mut held = Vec::new();
    for path in ["/v1/agent/monitor?loglevel=error", "/v1/agent/metrics/stream"] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(agent.http.unwrap()).await.unwrap();
        held.push(Followed::on(stream, path).await);
    }
    let padding = "x".repeat(10_000);
    for _ in 0..5_000 {
        say(Level::ERROR, "held", &padding);
    }
    let began = Instant::now();
    end(&agent).await;
    // The servers give requests under way 5 s.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_goes_is_not_kept_and_only_so_many_may_follow() {
    let _alone = ALONE.lock().await;
    let agent = agent().await;
    let mut followers = Vec::new();
    let refused = loop {
        assert!(followers.len() <= 64);
        let mut stream = TcpStream::connect(agent.http.unwrap()).await.unwrap();
        send(&mut stream, "GET", "/v1/agent/monitor?loglevel=trace", b"").await;
        let head = read_head(&mut stream).await;
        if status_of(&head) != 200 {
            break status_of(&head);
        }
        followers.push(stream);
    };
    assert_eq!(refused, 503);
    assert!(wants(Level::TRACE));
    drop(followers);
    // The next lines find that they are gone.
    let settled = async {
        while wants(Level::TRACE) {
            say(Level::TRACE, "gone", "anybody?");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, settled).await.expect("they are forgotten");
    end(&agent).await;
}

#[tokio::test]
async fn metrics_come_at_once_and_end_with_the_agent() {
    let _alone = ALONE.lock().await;
    let agent = agent().await;
    let mut stream = Followed::start(&agent, "/v1/agent/metrics/stream").await;
    let first: serde_json::Value = serde_json::from_str(&stream.chunk().await.unwrap()).unwrap();
    let gauges = first["Gauges"].as_array().unwrap();
    assert!(gauges.iter().any(|it| it["Name"] == "consul.state.nodes" && it["Value"] == 1));
    let began = Instant::now();
    end(&agent).await;
    assert_eq!(stream.chunk().await, None);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
