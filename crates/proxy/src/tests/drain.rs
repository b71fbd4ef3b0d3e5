use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::support::{Backend, Client, HANG, Setup, empty, full, read_to_close, slow, soon, text};
use crate::stats::ServerState;
use crate::{ProxyError, ProxyHandle};

/// A backend that says when it is asked and answers when it is told to.
struct Held {
    backend: Backend,
    asked: Arc<Notify>,
    answer: Arc<Notify>,
}

async fn held() -> Held {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_asked, on_answer) = (asked.clone(), answer.clone());
    let backend = Backend::http1(move |_| {
        let (asked, answer) = (on_asked.clone(), on_answer.clone());
        async move {
            asked.notify_one();
            answer.notified().await;
            Response::new(full("held"))
        }
    })
    .await;
    Held { backend, asked, answer }
}

/// A client in the middle of an answer that does not end.
async fn busy(address: std::net::SocketAddr, host: &str) -> (Client, hyper::body::Incoming) {
    let mut client = Client::http1(address).await;
    let request = Request::get("/").header("host", host).body(empty()).unwrap();
    let mut response = client.send(request).await.into_body();
    assert_eq!(soon(response.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin");
    (client, response)
}

async fn until_draining(proxy: &ProxyHandle) {
    soon(async {
        while proxy.with_admin_view(|view| view.state == ServerState::Live) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Connections that are opened to find out end by themselves.
async fn until_closed(address: std::net::SocketAddr) {
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_drain_ends_what_is_under_way_and_then_the_connections() {
    let (slow, end) = slow().await;
    let Held { backend: held, asked, answer } = held().await;
    let quick = Backend::text("quick").await;
    let proxy = Setup::new()
        .listener("in")
        .route("slow", "/", &[slow.address])
        .route("held", "/", &[held.address])
        .route("web", "/", &[quick.address])
        .start();
    let address = proxy.local_addr("in").unwrap();
    let mut idle = Client::http1(address).await;
    let mut multiplexed = Client::http2(address).await;
    assert_eq!(idle.get("web", "/").await.0, 200);
    assert_eq!(multiplexed.get("web", "/").await.0, 200);
    let mut busy = Client::http1(address).await;
    let request = Request::get("/").header("host", "slow").body(empty()).unwrap();
    let mut response = busy.send(request).await.into_body();
    assert_eq!(soon(response.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin");
    let waiting = tokio::spawn(async move {
        let request = Request::get("/").header("host", "held").body(empty()).unwrap();
        Client::http1(address).await.send(request).await
    });
    soon(asked.notified()).await;

    let handle = proxy.clone();
    let drained = tokio::spawn(async move { handle.drain(HANG).await });
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // What had no answer yet gets it, and is told that it was the last.
    answer.notify_one();
    let last = soon(waiting).await.unwrap();
    assert_eq!(last.headers()["connection"], "close");
    assert_eq!(text(last.into_body()).await, "held");
    assert!(!drained.is_finished());
    end.notify_one();
    assert_eq!(text(response).await, " end");
    assert_eq!(soon(drained).await.unwrap(), 0);
    let late = soon(proxy.update(Setup::new().config())).await;
    assert!(matches!(late, Err(ProxyError::WorkerGone)));
}

#[tokio::test]
async fn a_drain_cuts_what_outlasts_its_deadline() {
    let (slow, _go_on) = slow().await;
    let proxy = Setup::new().listener("in").route("slow", "/", &[slow.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let request = Request::get("/").header("host", "slow").body(empty()).unwrap();
    let mut response = client.send(request).await.into_body();
    assert_eq!(soon(response.frame()).await.unwrap().unwrap().into_data().unwrap(), "begin");
    assert_eq!(soon(proxy.drain(std::time::Duration::from_millis(50))).await, 1);
    assert!(soon(response.collect()).await.is_err());
}

/// The client keeps its connection open.
async fn ends_with_the_last_request(uri: &str, mut client: Client, proxy: ProxyHandle, held: Held) {
    let Held { asked, answer, .. } = held;
    let address = proxy.local_addr("in").unwrap();
    let request = Request::get(uri).header("host", "held").body(empty()).unwrap();
    let request = tokio::spawn(async move {
        let answered = text(client.send(request).await.into_body()).await;
        (answered, client)
    });
    soon(asked.notified()).await;
    let drained = tokio::spawn(async move { proxy.drain(HANG).await });
    until_closed(address).await;
    answer.notify_one();
    assert_eq!(soon(drained).await.unwrap(), 0);
    assert_eq!(soon(request).await.unwrap().0, "held");
}

#[tokio::test]
async fn a_drain_ends_with_the_last_request() {
    for (uri, is_http2) in [("/", false), ("http://held/", true)] {
        let held = held().await;
        let proxy = Setup::new().listener("in").route("held", "/", &[held.backend.address]).start();
        let address = proxy.local_addr("in").unwrap();
        let client = match is_http2 {
            true => Client::http2(address).await,
            false => Client::http1(address).await,
        };
        ends_with_the_last_request(uri, client, proxy, held).await;
    }
}

#[tokio::test]
async fn a_drain_ends_after_a_response_that_was_under_way() {
    let (slow, end) = slow().await;
    let proxy = Setup::new().listener("in").route("slow", "/", &[slow.address]).start();
    let address = proxy.local_addr("in").unwrap();
    let (_client, response) = busy(address, "slow").await;
    let drained = tokio::spawn(async move { proxy.drain(HANG).await });
    until_closed(address).await;
    end.notify_one();
    assert_eq!(text(response).await, " end");
    assert_eq!(soon(drained).await.unwrap(), 0);
}

#[tokio::test]
async fn a_second_drain_cuts_what_is_left() {
    let (slow, _go_on) = slow().await;
    let proxy = Setup::new().listener("in").route("slow", "/", &[slow.address]).start();
    let address = proxy.local_addr("in").unwrap();
    let (_client, response) = busy(address, "slow").await;
    let handle = proxy.clone();
    let first = tokio::spawn(async move { handle.drain(2 * HANG).await });
    until_draining(&proxy).await;
    assert!(!first.is_finished());
    assert_eq!(soon(proxy.drain(2 * HANG)).await, 1);
    assert_eq!(soon(first).await.unwrap(), 1);
    assert!(soon(response.collect()).await.is_err());
    assert_eq!(soon(proxy.drain(2 * HANG)).await, 0);
}

#[tokio::test]
async fn a_drain_ends_when_nobody_is_left_who_waits() {
    let (slow, _go_on) = slow().await;
    let proxy = Setup::new().listener("in").route("slow", "/", &[slow.address]).start();
    let address = proxy.local_addr("in").unwrap();
    let (_client, response) = busy(address, "slow").await;
    let drained = tokio::spawn(async move { proxy.drain(2 * HANG).await });
    until_closed(address).await;
    drained.abort();
    assert!(soon(response.collect()).await.is_err());
}

#[tokio::test]
async fn a_drain_serves_all_that_wait_in_the_queue() {
    // More than what tokio lets a task do before it says that nothing is ready.
    const WAITING: usize = 300;
    let respond = proxy_config::RouteAction::Respond { status: 200, body: "here".to_owned() };
    let proxy = Setup::new()
        .listener_with("in", |listener| listener.connections_max = 1)
        .action("web", "/", respond)
        .start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let mut first = Client::http1(address).await;
    assert_eq!(first.get("web", "/").await.0, 200);
    let mut waiting = Vec::new();
    for _ in 0..WAITING {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await.unwrap();
        waiting.push(stream);
    }
    let handle = proxy.clone();
    let drained = tokio::spawn(async move { handle.drain(HANG).await });
    for (idx, stream) in waiting.iter_mut().enumerate() {
        let answer = read_to_close(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "connection {idx}: {answer:?}");
    }
    drop(first);
    assert_eq!(soon(drained).await.unwrap(), 0);
}
