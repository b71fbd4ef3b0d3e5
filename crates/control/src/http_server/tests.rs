use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;
use crate::agent::Agent;
use crate::agent::tests::{dev, end};

/// Nothing here takes nearly as long.
const HANG: Duration = Duration::from_secs(60);

/// A second server before the agent's door, with deadlines of its own.
struct World {
    agent: Agent,
    tasks: Tasks,
    address: SocketAddr,
}

async fn world(deadlines: Deadlines) -> World {
    let agent = Agent::start(dev()).await.unwrap();
    let mut server = HttpServer::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    server.deadlines = deadlines;
    let (tasks, address) = (Tasks::new(), server.local_addr().unwrap());
    tasks.spawn("HTTP server", server.run(Arc::clone(&agent.door), tasks.clone()));
    World { agent, tasks, address }
}

impl World {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What comes back for these bytes until the server closes the connection.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // A server that refuses a body may close before it has read all of it.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }

    async fn end(self) {
        let left = self.tasks.shut_down(HANG).await;
        assert!(left.is_empty(), "{left:?}");
        end(&self.agent).await;
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = timeout(HANG, reading).await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

fn starts(answer: &str, status: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let world = world(Deadlines::default()).await;
    let size = BODY_BYTES_MAX + 1;
    let head = "PUT /v1/agent/service/register HTTP/1.1\r\nHost: a\r\n";
    let expected = "Request body too large, max size: 4194304 bytes";

    let mut whole = format!("{head}Content-Length: {size}\r\n\r\n").into_bytes();
    whole.resize(whole.len() + size, b'a');
    let answer = world.exchange(&whole).await;
    starts(&answer, "413");
    assert!(answer.ends_with(expected), "{answer:?}");

    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..65 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.resize(chunked.len() + 0x10000, b'a');
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = world.exchange(&chunked).await;
    starts(&answer, "413");
    assert!(answer.ends_with(expected), "{answer:?}");

    // One that asks first is told before it has sent anything.
    let asking = format!("{head}Expect: 100-continue\r\nContent-Length: {size}\r\n\r\n");
    starts(&world.exchange(asking.as_bytes()).await, "413");
    world.end().await;
}

#[tokio::test]
async fn slow_clients_are_not_waited_for_without_end() {
    let soon = Duration::from_millis(50);
    let world = world(Deadlines { head: soon, body: soon, ..Deadlines::default() }).await;
    let body = b"PUT /v1/agent/service/register HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
    let answer = world.exchange(body).await;
    starts(&answer, "408");
    assert!(answer.ends_with("The request body did not arrive within 0.05 s"), "{answer:?}");
    // Half a head, no head at all, and nothing after the first request.
    world.exchange(b"GET /v1/status/lea").await;
    world.exchange(b"").await;
    let answer = world.exchange(b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\n\r\n").await;
    starts(&answer, "200");
    world.end().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let world = world(Deadlines::default()).await;
    let padding = "a".repeat(2 * HEAD_BYTES_MAX);
    let answer = world.exchange(format!("GET / HTTP/1.1\r\nX: {padding}\r\n\r\n").as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer:?}");
    world.end().await;
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let world = world(Deadlines::default()).await;
    let answer =
        world.exchange(b"HEAD /ui/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    starts(&answer, "200");
    assert!(answer.to_lowercase().contains("content-length: "), "{answer:?}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer:?}");
    let options = b"OPTIONS /v1/agent/leave HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = world.exchange(options).await;
    starts(&answer, "200");
    assert!(answer.to_lowercase().contains("allow: options,put\r\n"), "{answer:?}");
    world.end().await;
}

#[tokio::test]
async fn a_drain_ends_idle_connections_at_once_and_answers_those_who_wait() {
    let world = world(Deadlines::default()).await;
    let mut unused = world.connect().await;
    let mut half = world.connect().await;
    half.write_all(b"GET /v1/sta").await.unwrap();
    let mut idle = world.connect().await;
    idle.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    // With an index that is newer than all there is, the query waits.
    let mut waiting = world.connect().await;
    let query = b"GET /v1/catalog/nodes?index=1000000&wait=10m HTTP/1.1\r\nHost: a\r\n\r\n";
    waiting.write_all(query).await.unwrap();
    let blocked = || {
        let text =
            world.agent.door.metrics.prometheus(&world.agent.mesh.catalog(), &world.agent.info);
        text.lines().any(|it| it.starts_with("leno_blocked_queries") && it.ends_with(" 1"))
    };
    timeout(HANG, async {
        while !blocked() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the query waits");

    let began = Instant::now();
    // The waiting query listens to the drain of the agent's own doors.
    let (left, ()) = tokio::join!(world.tasks.shut_down(HANG), end(&world.agent));
    assert!(left.is_empty(), "{left:?}");
    starts(&rest(&mut waiting).await, "200");
    rest(&mut unused).await;
    rest(&mut idle).await;
    rest(&mut half).await;
    assert!(began.elapsed() < DRAIN_TIMEOUT, "{:?}", began.elapsed());
}
