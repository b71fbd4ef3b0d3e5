//! How long a stream may take: the head of a response in time, then as long as something moves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use proxy_config::UpstreamProtocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use super::support::{
    Backend, Client, HANG, Setup, TestBody, access_log, becomes, channel, empty, full, lines_of,
    read_to_close, soon, text,
};

const LIMIT: Duration = Duration::from_millis(100);

/// Answers at once, with bodies whose ends are handed out.
async fn streaming(
    protocol: UpstreamProtocol,
) -> (Backend, mpsc::Receiver<mpsc::Sender<Frame<Bytes>>>) {
    let (bodies, given) = mpsc::channel(16);
    let answer = move |request: Request<_>| {
        let bodies = bodies.clone();
        async move {
            let (sender, body) = channel();
            bodies.send(sender).await.unwrap();
            let kind = request.headers().get("content-type").cloned();
            let mut response: Response<TestBody> = Response::new(body);
            response.headers_mut().extend(kind.map(|it| (http::header::CONTENT_TYPE, it)));
            response
        }
    };
    let backend = match protocol {
        UpstreamProtocol::Http2 => Backend::http2(answer).await,
        _ => Backend::http1(answer).await,
    };
    (backend, given)
}

/// A response goes on for several times the time limit of its route.
async fn outlasts_the_limit(downstream_http2: bool, upstream: UpstreamProtocol, kind: &str) {
    let (backend, mut bodies) = streaming(upstream).await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[backend.address], |forward, cluster| {
            forward.timeout = LIMIT;
            cluster.protocol = upstream;
        })
        .start();
    let address = proxy.local_addr("in").unwrap();
    let mut client = match downstream_http2 {
        true => Client::http2(address).await,
        false => Client::http1(address).await,
    };
    let uri = if downstream_http2 { "http://web/" } else { "/" };
    let request =
        Request::get(uri).header("host", "web").header("content-type", kind).body(empty()).unwrap();
    let mut response = client.send(request).await;
    assert_eq!(response.status(), 200);
    let sender = soon(bodies.recv()).await.unwrap();
    let begun = Instant::now();
    while begun.elapsed() < 3 * LIMIT {
        sender.send(Frame::data("event".into())).await.unwrap();
        let frame = soon(response.frame()).await.unwrap().unwrap();
        assert!(!frame.into_data().unwrap().is_empty());
    }
    drop(sender);
    assert!(!text(response.into_body()).await.contains("timeout"));
}

#[tokio::test]
async fn a_response_may_go_on_beyond_the_limit_for_its_head() {
    for downstream_http2 in [false, true] {
        for upstream in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
            outlasts_the_limit(downstream_http2, upstream, "text/event-stream").await;
        }
    }
    outlasts_the_limit(true, UpstreamProtocol::Http2, "application/grpc").await;
}

#[tokio::test]
async fn the_head_must_come_in_time_after_the_end_of_the_request() {
    let web = Backend::http1(|request| async move {
        let _ = request.into_body().collect().await;
        Response::new(full("late"))
    })
    .await;
    let never = Backend::http1(|_| std::future::pending::<Response<_>>()).await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| forward.timeout = LIMIT)
        .route_with("never", "/", &[never.address], |forward, _| forward.timeout = LIMIT)
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("never", "/").await, (504, "upstream request timeout".to_owned()));
    let (sender, body) = channel();
    let request = Request::post("/").header("host", "web").body(body).unwrap();
    let upload = async {
        let begun = Instant::now();
        while begun.elapsed() < 3 * LIMIT {
            sender.send(Frame::data("part".into())).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(sender);
    };
    let (response, ()) = soon(futures_util::future::join(client.send(request), upload)).await;
    assert_eq!(
        (response.status().as_u16(), text(response.into_body()).await.as_str()),
        (200, "late")
    );
}

#[tokio::test]
async fn a_response_that_stands_still_is_ended() {
    let (log, path) = access_log("idle");
    let (backend, mut bodies) = streaming(UpstreamProtocol::Http1).await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.stream_idle_timeout = LIMIT)
        .route("web", "/", &[backend.address])
        .start_with(|options| options.access_log = Some(log));
    let address = proxy.local_addr("in").unwrap();
    let mut open = Vec::new();
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        let uri = if matches!(client, Client::Http2(_)) { "http://web/" } else { "/" };
        let request = Request::get(uri).header("host", "web").body(empty()).unwrap();
        let response = client.send(request).await;
        let sender = soon(bodies.recv()).await.unwrap();
        sender.send(Frame::data("begin".into())).await.unwrap();
        open.push(sender);
        assert!(soon(response.into_body().collect()).await.is_err());
    }
    assert_eq!(soon(proxy.drain(HANG)).await, 0);
    drop(proxy);
    let lines = lines_of(&path, 2).await;
    assert_eq!(lines.matches(" 200 SI ").count(), 2, "{lines}");
}

#[tokio::test]
async fn a_large_body_is_sent_after_100_continue() {
    let web = Backend::http1(|request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(body.len().to_string()))
    })
    .await;
    let respond = proxy_config::RouteAction::Respond { status: 403, body: "no".to_owned() };
    let proxy = Setup::new()
        .listener("in")
        .route("web", "/", &[web.address])
        .action("web", "/", respond.clone())
        .action("refused", "/", respond)
        .start();
    let begin = |host: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 1000000\r\n\
             expect: 100-continue\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    stream.write_all(begin("web").as_bytes()).await.unwrap();
    let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    soon(stream.read_exact(&mut go_on)).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    soon(stream.write_all(&vec![b'x'; 1_000_000])).await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("1000000"), "{answer}");
    // Who is refused need not send the body.
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    stream.write_all(begin("refused").as_bytes()).await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_a_body_is_closed() {
    let web = Backend::http1(|request| async move {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        Response::new(full("web"))
    })
    .await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.stream_idle_timeout = Duration::from_millis(100))
        .route("web", "/", &[web.address])
        .start();
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    let begin = b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 10\r\n\r\n12345";
    stream.write_all(begin).await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.ends_with("stream timeout"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let cut = Arc::new(Notify::new());
    let seen = cut.clone();
    let endless = Backend::http1(move |_| {
        let seen = seen.clone();
        async move {
            let (sender, body) = channel();
            tokio::spawn(async move {
                let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
                while sender.send(Frame::data(chunk.clone())).await.is_ok() {}
                seen.notify_one();
            });
            Response::new(body)
        }
    })
    .await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.stream_idle_timeout = Duration::from_millis(200))
        .route("web", "/", &[endless.address])
        .start();
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await.unwrap();
    soon(cut.notified()).await;
    let counters = [0, 1].map(|worker| proxy.stats().http("in", worker));
    // The client knows of its end before the proxy has counted it.
    becomes(|| counters.iter().map(|it| it.downstream_rq_idle_timeout.get()).sum(), 1).await;
}

#[tokio::test]
async fn a_client_that_waits_for_its_endpoint_is_not_closed() {
    let slow = Backend::http1(|_| async {
        // Longer than twice the idle timeout, after which a stalled client would be closed.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        Response::new(full("slow"))
    })
    .await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.stream_idle_timeout = Duration::from_millis(500))
        .route("web", "/", &[slow.address])
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await, (200, "slow".to_owned()));
}

#[tokio::test]
async fn an_http2_client_that_gives_no_window_is_closed() {
    let web = Backend::http1(|_| async { Response::new(full(vec![b'x'; 1 << 20])) }).await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.stream_idle_timeout = LIMIT)
        .route("web", "/", &[web.address])
        .start();
    let stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .initial_stream_window_size(0)
            .handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://web/").body(empty()).unwrap();
    let response = soon(client.send_request(request)).await.unwrap();
    let _ = soon(connection).await.unwrap();
    assert!(soon(response.into_body().collect()).await.is_err());
    let counters = [0, 1].map(|worker| proxy.stats().http("in", worker));
    let counted = || counters.iter().map(|it| it.downstream_rq_idle_timeout.get()).sum();
    // Counted after the client knows.
    becomes(counted, 1).await;
}
