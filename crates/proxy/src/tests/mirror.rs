use std::sync::Arc;

use http::{Request, Response};
use http_body::Frame;
use proxy_config::Mirror;
use tokio::sync::mpsc;

use super::support::{Backend, Client, Setup, channel, full, soon, stat, text};

type Seen = (String, String, String);

/// Tells what it is asked: method and path, host, body.
async fn telling() -> (Backend, mpsc::UnboundedReceiver<Seen>) {
    let (sender, seen) = mpsc::unbounded_channel();
    let backend = Backend::http1(move |request: Request<hyper::body::Incoming>| {
        let sender = sender.clone();
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            let body = text(request.into_body()).await;
            let _ = sender.send((line, host, body));
            Response::builder().status(500).body(full("from the mirror")).unwrap()
        }
    })
    .await;
    (backend, seen)
}

fn mirrored(web: &Backend, shadow: &Backend) -> Setup {
    Setup::new().listener("in").route("shadow", "/", &[shadow.address]).route_with(
        "web",
        "/",
        &[web.address],
        |forward, _| {
            let cluster = "shadow/".to_owned();
            forward.mirrors = vec![Mirror { cluster, per_million: 1_000_000, shadow_host: true }];
        },
    )
}

#[tokio::test]
async fn a_mirror_gets_a_copy_and_its_answer_goes_nowhere() {
    let web = Backend::http1(|request: Request<hyper::body::Incoming>| async move {
        Response::new(full(text(request.into_body()).await))
    })
    .await;
    let (shadow, mut seen) = telling().await;
    let proxy = mirrored(&web, &shadow).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/a?b=c").await, (200, String::new()));
    let copy = soon(seen.recv()).await.unwrap();
    assert_eq!(copy, ("GET /a?b=c".to_owned(), "web-shadow".to_owned(), String::new()));
    let request = Request::post("/").header("host", "web").body(full("body")).unwrap();
    let response = client.send(request).await;
    assert_eq!(
        (response.status().as_u16(), text(response.into_body()).await.as_str()),
        (200, "body")
    );
    assert_eq!(soon(seen.recv()).await.unwrap().2, "body");
    // Its statistics are its own.
    assert_eq!(stat(&proxy, "cluster.shadow/.upstream_rq_total"), 2);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_total"), 2);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_5xx"), 0);
}

#[tokio::test]
async fn a_mirror_that_takes_nothing_does_not_hold_up_the_request() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 256;
    let web = Backend::http1(|request: Request<hyper::body::Incoming>| async move {
        let body = text(request.into_body()).await;
        Response::new(full(body.len().to_string()))
    })
    .await;
    // Accepts and never reads: 16 MiB are more than the buffers of any socket.
    let shadow = Backend::tcp(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = mirrored(&web, &shadow).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let (sender, body) = channel();
    let chunk: Arc<[u8]> = vec![b'x'; CHUNK].into();
    tokio::spawn(async move {
        for _ in 0..CHUNKS {
            sender.send(Frame::data(bytes::Bytes::copy_from_slice(&chunk))).await.unwrap();
        }
    });
    let request = Request::post("/").header("host", "web").body(body).unwrap();
    let response = client.send(request).await;
    assert_eq!(text(response.into_body()).await, (CHUNK * CHUNKS).to_string());
}

#[tokio::test]
async fn only_the_share_that_was_asked_for_is_copied() {
    let web = Backend::text("web").await;
    let (shadow, mut seen) = telling().await;
    let mut setup = mirrored(&web, &shadow);
    setup = setup.route_with("none", "/", &[web.address], |forward, _| {
        let cluster = "shadow/".to_owned();
        forward.mirrors = vec![
            Mirror { cluster, per_million: 0, shadow_host: false },
            Mirror { cluster: "missing".to_owned(), per_million: 1_000_000, shadow_host: false },
        ];
    });
    let proxy = setup.start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("none", "/").await.0, 200);
    assert_eq!(client.get("web", "/last").await.0, 200);
    assert_eq!(soon(seen.recv()).await.unwrap().0, "GET /last");
    assert_eq!(stat(&proxy, "cluster.shadow/.upstream_rq_total"), 1);
}
