use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body::Frame;
use proxy_config::UpstreamProtocol;
use tokio::io::AsyncReadExt;

use super::support::{Backend, Client, HANG, Refusing, Setup, channel, empty, full, soon, text};

/// Reads the beginning of a request and closes the connection.
async fn breaking() -> Backend {
    Backend::tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await
}

#[tokio::test]
async fn a_refused_connection_is_tried_on_another_endpoint_for_any_method() {
    let web = Backend::text("web").await;
    let dead = Refusing::new();
    let proxy = Setup::new().listener("in").route("web", "/", &[dead.address, web.address]).start();
    let mut evidence = proxy.evidence().unwrap();
    assert!(proxy.evidence().is_none());
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for _ in 0..4 {
        assert_eq!(client.get("web", "/").await.0, 200);
        let request = Request::post("/").header("host", "web").body(full("body")).unwrap();
        assert_eq!(client.send(request).await.status(), 200);
    }
    let seen = soon(evidence.recv()).await.unwrap();
    assert_eq!(seen.kind, traffic::EvidenceKind::ConnectFailed);
    assert_eq!(seen.cluster, "web/");
}

#[tokio::test]
async fn when_every_endpoint_refuses_the_answer_is_503() {
    let dead = [Refusing::new(), Refusing::new()];
    let addresses = dead.each_ref().map(|it| it.address);
    let proxy = Setup::new().listener("in").route("web", "/", &addresses).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let (status, text) = client.get("web", "/").await;
    assert_eq!(status, 503);
    assert!(
        text.starts_with("upstream connect error or disconnect/reset before headers"),
        "{text}"
    );
}

#[tokio::test]
async fn a_get_whose_connection_breaks_is_tried_again_and_a_post_is_not() {
    let bad = breaking().await;
    let good = Backend::text("good").await;
    let get = Setup::new().listener("in").route("web", "/", &[bad.address, good.address]).start();
    let mut client = Client::http1(get.local_addr("in").unwrap()).await;
    for _ in 0..4 {
        assert_eq!(client.get("web", "/").await, (200, "good".to_owned()));
    }
    let before = bad.connections();
    let post = Setup::new().listener("in").route("web", "/", &[bad.address]).start();
    let mut client = Client::http1(post.local_addr("in").unwrap()).await;
    let request = Request::post("/").header("host", "web").body(full("once")).unwrap();
    assert_eq!(client.send(request).await.status(), 503);
    assert_eq!(bad.connections(), before + 1);
}

#[tokio::test]
async fn a_post_is_not_repeated_on_another_endpoint_after_it_was_sent() {
    let bad = breaking().await;
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let good = Backend::http1(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Response::new(full("good")) }
    })
    .await;
    let proxy = Setup::new().listener("in").route("web", "/", &[bad.address, good.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let (sender, body) = channel();
        sender.send(Frame::data("part".into())).await.unwrap();
        drop(sender);
        let request = Request::post("/").header("host", "web").body(body).unwrap();
        statuses.push(client.send(request).await.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    assert_eq!(served.load(Ordering::SeqCst), 1);
}

/// Runs clients that ask without a pause; kills one of three endpoints in the middle. Every answer must be good.
///
/// `body` is in one write with the head, so that no endpoint dies between the two: a response that has begun cannot
/// be asked for again.
async fn kill_under_load(protocol: UpstreamProtocol, body: &'static str) {
    let answer = move |_| async move {
        tokio::task::yield_now().await;
        Response::new(full(body))
    };
    let mut backends = Vec::new();
    for _ in 0..3 {
        backends.push(match protocol {
            UpstreamProtocol::Http2 => Backend::http2(answer).await,
            _ => Backend::http1(answer).await,
        });
    }
    let addresses: Vec<SocketAddr> = backends.iter().map(|it| it.address).collect();
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &addresses, |_, cluster| cluster.protocol = protocol)
        .start();
    let address = proxy.local_addr("in").unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let clients = (0..32).map(|_| {
        let done = done.clone();
        tokio::spawn(async move {
            let mut client = Client::http1(address).await;
            for request in 0..100 {
                let answer = client.get("web", "/").await;
                assert_eq!(answer, (200, body.to_owned()), "request {request}");
                done.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    soon(async {
        while done.load(Ordering::SeqCst) < 800 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    backends.remove(0).kill().await;
    for client in clients {
        tokio::time::timeout(HANG, client).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_get_fails_when_an_endpoint_is_killed_under_load() {
    kill_under_load(UpstreamProtocol::Http1, "alive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_get_fails_when_an_http2_endpoint_is_killed_under_load() {
    kill_under_load(UpstreamProtocol::Http2, "").await;
}

#[tokio::test]
async fn an_idle_connection_that_the_endpoint_closed_is_not_used() {
    // Answers one request per connection and closes it, without saying so.
    let web = Backend::tcp(|mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| {
            forward.retry.retries_max = 0;
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for _ in 0..5 {
        // With retries a `GET` survives the race between the close and the next request; see the test above.
        let request = Request::get("/").header("host", "web").body(empty()).unwrap();
        let response = client.send(request).await;
        let status = response.status().as_u16();
        text(response.into_body()).await;
        assert!(status == 200 || status == 503, "{status}");
    }
    assert!(web.connections() >= 2);
}
