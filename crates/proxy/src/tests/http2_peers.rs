//! HTTP/2 against other implementations and against clients and endpoints that misbehave.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use proxy_config::{RouteAction, UpstreamProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::support::{
    Backend, Client, HANG, Setup, access_log, channel, empty, full, lines_of, soon, text,
    with_trailers,
};
use crate::ProxyHandle;

fn respond(body: String) -> RouteAction {
    RouteAction::Respond { status: 200, body }
}

/// A proxy with one worker before an HTTP/2 endpoint.
fn before(backend: &Backend, change: impl FnOnce(&mut proxy_config::HttpListener)) -> ProxyHandle {
    Setup::new()
        .http_listener("in", change)
        .route_with("web", "/", &[backend.address], |_, cluster| {
            cluster.protocol = UpstreamProtocol::Http2;
        })
        .start_with(|options| options.workers = 1)
}

/// The `h2` crate as a client, with small windows.
async fn raw_client(
    proxy: &ProxyHandle,
    window: u32,
) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    let (client, connection) =
        h2::client::Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
    (client, tokio::spawn(connection))
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://web{path}")).body(()).unwrap()
}

/// Sends all of it as the windows allow.
async fn upload(mut stream: h2::SendStream<Bytes>, mut body: Bytes, trailers: bool) {
    if body.is_empty() && !trailers {
        stream.send_data(body, true).unwrap();
        return;
    }
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        let piece = body.split_to(room.min(body.len()));
        stream.send_data(piece, body.is_empty() && !trailers).unwrap();
    }
    if trailers {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        stream.send_trailers(trailers).unwrap();
    }
}

async fn download(mut body: h2::RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut received = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        received.extend_from_slice(&piece);
    }
    (received, body.trailers().await.unwrap())
}

#[tokio::test]
async fn bodies_and_trailers_pass_between_foreign_peers_through_small_windows() {
    // An endpoint of the `h2` crate that sends back what it gets.
    let echo = Backend::tcp(|stream| async move {
        let mut connection = h2::server::Builder::new()
            .initial_window_size(3000)
            .max_concurrent_streams(7)
            .handshake::<_, Bytes>(stream)
            .await
            .unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let (body, trailers) = download(request.into_body()).await;
                let stream = respond.send_response(Response::new(()), false).unwrap();
                upload(stream, body.into(), trailers.is_some()).await;
            });
        }
    })
    .await;
    let proxy = before(&echo, |_| {});
    let (mut client, _connection) = raw_client(&proxy, 1111).await;
    // The endpoint's settings are known before content is sent. The `h2` crate forgets to give back what was sent before
    // its settings made the window smaller: it looks whether an update is due only when content is taken.
    let (first, _) = client.send_request(request(Method::GET, "/"), true).unwrap();
    download(soon(first).await.unwrap().into_body()).await;
    let calls = [0usize, 1, 1110, 1112, 30_000, 70_000, 200_000].map(|length| {
        let mut client = client.clone();
        async move {
            let body: Bytes = (0..length).map(|at| at as u8).collect::<Vec<u8>>().into();
            client = client.ready().await.unwrap();
            let is_empty = body.is_empty();
            let (response, stream) =
                client.send_request(request(Method::POST, "/"), is_empty).unwrap();
            if !is_empty {
                tokio::spawn(upload(stream, body.clone(), length % 2 == 0));
            }
            let (received, trailers) = download(response.await.unwrap().into_body()).await;
            assert!(received == body, "{length}: {}", received.len());
            assert_eq!(trailers.is_some(), length > 0 && length % 2 == 0);
        }
    });
    soon(futures_util::future::join_all(calls)).await;
}

#[tokio::test]
async fn uploads_to_an_endpoint_that_takes_nothing_leave_the_others_their_window() {
    let web = Backend::http1(|request| async move {
        if request.uri().path() == "/stuck" {
            // Held, and never read.
            let _held = request;
            return std::future::pending().await;
        }
        let length = request.into_body().collect().await.unwrap().to_bytes().len();
        Response::new(full(length.to_string()))
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route("web", "/", &[web.address])
        .start_with(|options| options.workers = 1);
    let (mut client, _connection) = raw_client(&proxy, 65_535).await;
    // More than all buffers on the way.
    let endless = Bytes::from(vec![b'x'; 30_000_000]);
    let large = Bytes::from(vec![b'x'; 600_000]);
    let mut stuck = Vec::new();
    for _ in 0..8 {
        client = client.ready().await.unwrap();
        let (response, stream) =
            client.send_request(request(Method::POST, "/stuck"), false).unwrap();
        tokio::spawn(upload(stream, endless.clone(), false));
        stuck.push(response);
    }
    // What the stuck ones may send is more than the connection's window.
    for _ in 0..4 {
        client = client.ready().await.unwrap();
        let (response, stream) = client.send_request(request(Method::POST, "/"), false).unwrap();
        tokio::spawn(upload(stream, large.clone(), false));
        let response = soon(response).await.unwrap();
        assert_eq!(soon(download(response.into_body())).await.0, b"600000");
    }
}

#[tokio::test]
async fn a_stream_whose_client_gives_no_window_is_reset_though_its_response_is_small() {
    let proxy = Setup::new()
        .http_listener("in", |http| http.stream_idle_timeout = Duration::from_millis(100))
        .action("web", "/", respond("a small response".to_owned()))
        .start_with(|options| options.workers = 1);
    let (mut client, connection) = raw_client(&proxy, 0).await;
    client = client.ready().await.unwrap();
    let (response, _) = client.send_request(request(Method::GET, "/"), true).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    let error = soon(body.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    let counters = proxy.stats().http("in", 0);
    assert_eq!(counters.downstream_rq_idle_timeout.get(), 1);
    assert!(!connection.is_finished());
}

#[tokio::test]
async fn requests_that_are_none_and_heads_that_are_too_large_are_counted_and_logged() {
    let (log, path) = access_log("rejected-http2");
    let proxy = Setup::new()
        .http_listener("in", |http| http.head_bytes_max = 4096)
        .action("web", "/", respond("here".to_owned()))
        .start_with(|options| {
            options.access_log = Some(log);
            options.workers = 1;
        });
    let (mut client, _connection) = raw_client(&proxy, 65_535).await;
    client = client.ready().await.unwrap();
    let mut large = request(Method::GET, "/");
    large.headers_mut().insert("x", HeaderValue::from_str(&"y".repeat(5000)).unwrap());
    let (response, _) = client.send_request(large, true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 431);
    let mut twofold = request(Method::GET, "/");
    twofold.headers_mut().insert("host", HeaderValue::from_static("other"));
    let (response, _) = client.send_request(twofold, true).unwrap();
    let error = soon(response).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
    // The connection goes on.
    let (response, _) = client.send_request(request(Method::GET, "/"), true).unwrap();
    assert_eq!(soon(download(soon(response).await.unwrap().into_body())).await.0, b"here");
    let counters = proxy.stats().http("in", 0);
    assert_eq!(counters.downstream_rq_http2_total.get(), 3);
    drop(client);
    assert_eq!(soon(proxy.drain(HANG)).await, 0);
    drop(proxy);
    let lines = lines_of(&path, 3).await;
    assert!(lines.contains("\"- - HTTP/2\" 400 DPE "), "{lines}");
    assert!(lines.contains("\"- - HTTP/2\" 431 DPE "), "{lines}");
}

#[tokio::test]
async fn a_client_that_takes_its_requests_back_at_once_is_sent_away() {
    let asked = Arc::new(Notify::new());
    let on_asked = asked.clone();
    let web = Backend::http2(move |_| {
        let asked = on_asked.clone();
        async move {
            asked.notify_one();
            std::future::pending::<Response<_>>().await
        }
    })
    .await;
    let proxy = before(&web, |_| {});
    let (mut client, connection) = raw_client(&proxy, 65_535).await;
    let sent = async {
        loop {
            client = client.ready().await?;
            let (response, mut stream) = client.send_request(request(Method::GET, "/"), true)?;
            stream.send_reset(Reason::CANCEL);
            drop(response);
            tokio::task::yield_now().await;
        }
    };
    let error: Result<(), h2::Error> = soon(sent).await;
    assert!(error.is_err());
    let ended = soon(connection).await.unwrap().unwrap_err();
    assert_eq!(ended.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    assert_eq!(proxy.stats().http("in", 0).downstream_cx_protocol_error.get(), 1);
    // Nothing of it stays under way.
    soon(async {
        while proxy.stats().http("in", 0).downstream_rq_active.get() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_gives_up_cancels_the_request_to_the_endpoint() {
    let asked = Arc::new(Notify::new());
    let cancelled = Arc::new(Notify::new());
    let (on_asked, on_cancelled) = (asked.clone(), cancelled.clone());
    let web = Backend::tcp(move |stream| {
        let (asked, cancelled) = (on_asked.clone(), on_cancelled.clone());
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                asked.notify_one();
                let cancelled = cancelled.clone();
                tokio::spawn(async move {
                    let mut stream: h2::SendStream<Bytes> =
                        respond.send_response(Response::new(()), false).unwrap();
                    let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
                    assert_eq!(reason, Reason::CANCEL);
                    cancelled.notify_one();
                    let _ = stream.send_data(Bytes::new(), true);
                });
            }
        }
    })
    .await;
    let proxy = before(&web, |_| {});
    let (mut client, _connection) = raw_client(&proxy, 65_535).await;
    client = client.ready().await.unwrap();
    let (response, mut stream) = client.send_request(request(Method::GET, "/"), true).unwrap();
    soon(asked.notified()).await;
    soon(response).await.unwrap();
    stream.send_reset(Reason::CANCEL);
    soon(cancelled.notified()).await;
    assert_eq!(web.connections(), 1);
}

#[tokio::test]
async fn requests_that_an_endpoint_did_not_look_at_are_sent_again() {
    // The first connection refuses its first stream, and leaves at the second one.
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let web = Backend::tcp(move |stream| {
        let count = count.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                    respond.send_reset(Reason::REFUSED_STREAM);
                    continue;
                }
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from_static(b"second"), true).unwrap();
                connection.graceful_shutdown();
            }
        }
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, cluster| {
            cluster.protocol = UpstreamProtocol::Http2;
            forward.retry.retries_max = 2;
        })
        .start_with(|options| options.workers = 1);
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    for _ in 0..4 {
        assert_eq!(client.get("web", "/").await, (200, "second".to_owned()));
    }
    assert!(web.connections() > 1);
}

#[tokio::test]
async fn connect_over_http2_is_a_tunnel_and_the_other_streams_go_on() {
    let echo = Backend::tcp(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await;
    let web = Backend::text("web").await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.forward_proxy = true)
        .route("echo.mesh", "/", &[echo.address])
        .route("web.mesh", "/", &[web.address])
        .start_with(|options| options.workers = 1);
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    let request = Request::connect("echo.mesh:443").body(empty()).unwrap();
    let mut response = client.send(request).await;
    assert_eq!(response.status(), 200);
    let upgraded = soon(hyper::upgrade::on(&mut response)).await.unwrap();
    let mut stream = hyper_util::rt::TokioIo::new(upgraded);
    let sent: Vec<u8> = (0..300_000u32).map(|at| at as u8).collect();
    stream.write_all(b"through the tunnel").await.unwrap();
    let mut word = [0; 18];
    soon(stream.read_exact(&mut word)).await.unwrap();
    assert_eq!(&word, b"through the tunnel");
    assert_eq!(client.get("web.mesh", "/").await, (200, "web".to_owned()));
    let (mut read, mut write) = tokio::io::split(stream);
    let mut received = Vec::new();
    soon(async {
        let send = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        tokio::join!(send, read.read_to_end(&mut received)).1.unwrap();
    })
    .await;
    assert!(received == sent, "{}", received.len());
    let refused = Request::connect("nowhere.mesh:443").body(empty()).unwrap();
    assert_eq!(client.send(refused).await.status(), 404);
}

#[tokio::test]
async fn an_answer_may_come_before_the_end_of_the_request() {
    let web = Backend::http2(|request| async move {
        let _unread = request;
        Response::new(full("early"))
    })
    .await;
    let proxy = before(&web, |_| {});
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    let (sender, body) = channel();
    sender.send(http_body::Frame::data("begin".into())).await.unwrap();
    let post = Request::post("http://web/").body(body).unwrap();
    let response = client.send(post).await;
    assert_eq!(text(response.into_body()).await, "early");
    assert_eq!(client.get("web", "/").await, (200, "early".to_owned()));
    assert_eq!(web.connections(), 1);
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_endpoint() {
    let web = Backend::http2(|request| async move {
        let body = request.into_body().collect().await.unwrap();
        Response::new(full(format!("{:?}", body.trailers().unwrap()["x-sum"])))
    })
    .await;
    let proxy = before(&web, |_| {});
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    let post = Request::post("http://web/").body(with_trailers("body", trailers)).unwrap();
    assert_eq!(text(client.send(post).await.into_body()).await, "\"42\"");
}

#[tokio::test]
async fn a_client_that_reads_late_gets_all_of_many_answers() {
    // More than all buffers on the way take: 90 times 60 KiB.
    const COUNT: u32 = 90;
    let proxy = Setup::new()
        .listener("in")
        .action("web", "/", respond("x".repeat(60 * 1024)))
        .start_with(|options| options.workers = 1);
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // Settings: an initial window of 2^31-1; and a window for the connection that is nearly as large.
    bytes.extend_from_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
    bytes.extend_from_slice(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x70, 0, 0, 0]);
    for idx in 0..COUNT {
        // `:method GET`, `:scheme http`, `:path /`, `:authority web`, and the end of the stream.
        bytes.extend_from_slice(&[0, 0, 8, 1, 5]);
        bytes.extend_from_slice(&(2 * idx + 1).to_be_bytes());
        bytes.extend_from_slice(&[0x82, 0x86, 0x84, 0x01, 3, b'w', b'e', b'b']);
    }
    stream.write_all(&bytes).await.unwrap();
    let counters = proxy.stats().http("in", 0);
    soon(async {
        while counters.downstream_rq_http2_total.get() < u64::from(COUNT) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut input = bytes::BytesMut::new();
    let (mut content, mut ends) = (0, 0);
    while ends < COUNT {
        assert!(soon(stream.read_buf(&mut input)).await.unwrap() > 0);
        while let Some(length) = frame_length(&input)
            && input.len() >= 9 + length
        {
            let frame = input.split_to(9 + length);
            let is_data = frame[3] == 0;
            content += if is_data { length } else { 0 };
            ends += u32::from(is_data && frame[4] & 1 == 1);
        }
    }
    assert_eq!(content, COUNT as usize * 60 * 1024);
}

fn frame_length(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, ..] = *bytes else { return None };
    Some(u32::from_be_bytes([0, a, b, c]) as usize)
}

#[tokio::test]
async fn a_head_request_has_no_content_but_its_length() {
    let proxy =
        Setup::new().listener("in").action("web", "/", respond("twelve bytes".to_owned())).start();
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    let head = Request::head("http://web/").body(empty()).unwrap();
    let response = client.send(head).await;
    assert_eq!(response.headers()["content-length"], "12");
    assert_eq!(text(response.into_body()).await, "");
}

#[tokio::test]
async fn garbage_after_the_preface_is_answered_with_go_away() {
    let proxy = Setup::new().listener("in").action("web", "/", respond(String::new())).start();
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    // A PING where SETTINGS must be.
    stream.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let mut written = Vec::new();
    let _ = soon(stream.read_to_end(&mut written)).await;
    // `GOAWAY` with PROTOCOL_ERROR and no stream.
    assert!(written.ends_with(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), "{written:?}");
}
