use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::BodyExt;
use proxy_config::UpstreamProtocol;

use super::support::{Backend, Client, Setup, channel, empty, full, soon, text, with_trailers};
use http_body::Frame;

#[tokio::test]
async fn http2_by_prior_knowledge_reaches_an_http1_endpoint() {
    let web = Backend::http1(|request| async move {
        assert_eq!(request.version(), Version::HTTP_11);
        assert_eq!(request.headers()["cookie"], "a=1; b=2");
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        Response::new(full(format!("{host} {}", request.uri())))
    })
    .await;
    let proxy = Setup::new().listener("in").route("web.mesh", "/", &[web.address]).start();
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    let request = Request::get("http://web.mesh:80/a?b")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(empty())
        .unwrap();
    let response = client.send(request).await;
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(text(response.into_body()).await, "web.mesh:80 /a?b");
}

#[tokio::test]
async fn http1_reaches_an_http2_endpoint() {
    let web = Backend::http2(|request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        Response::new(full(request.uri().to_string()))
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web.mesh", "/", &[web.address], |_, cluster| {
            cluster.protocol = UpstreamProtocol::Http2;
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web.mesh", "/a").await, (200, "http://web.mesh/a".to_owned()));
}

#[tokio::test]
async fn a_grpc_call_streams_both_ways_and_ends_in_trailers() {
    let echo = Backend::http2(|request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        let (sender, body) = channel();
        let mut messages = request.into_body();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = messages.frame().await {
                sender.send(frame).await.unwrap();
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            sender.send(Frame::trailers(trailers)).await.unwrap();
        });
        Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    })
    .await;
    // The cluster is one for HTTP/1.1: that it is gRPC is seen from the request.
    let proxy = Setup::new()
        .listener("in")
        .route_with("echo", "/", &[echo.address], |forward, _| forward.timing_trailer = true)
        .start();
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    let (sender, body) = channel();
    let request = Request::post("http://echo/Service/Call")
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let mut answers = client.send(request).await.into_body();
    for message in ["one", "two"] {
        sender.send(Frame::data(Bytes::from(message))).await.unwrap();
        let frame = soon(answers.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    drop(sender);
    let trailers = soon(answers.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert!(trailers.contains_key("x-envoy-upstream-service-time"));
}

#[tokio::test]
async fn a_grpc_call_that_is_refused_gets_a_grpc_status() {
    let proxy = Setup::new().listener("in").route("empty", "/", &[]).start();
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    for (host, status) in [("empty", "14"), ("nowhere", "12")] {
        let request = Request::post(format!("http://{host}/Service/Call"))
            .header("content-type", "application/grpc")
            .body(full("message"))
            .unwrap();
        let response = client.send(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], status);
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(message.contains(if host == "empty" { "no healthy upstream" } else { host }));
    }
}

#[tokio::test]
async fn many_streams_share_one_connection_to_an_http2_endpoint() {
    let web = Backend::http2(|_| async { Response::new(full("web")) }).await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |_, cluster| {
            cluster.protocol = UpstreamProtocol::Http2;
        })
        .start_with(|options| options.workers = 1);
    let Client::Http2(client) = Client::http2(proxy.local_addr("in").unwrap()).await else {
        unreachable!()
    };
    let calls = (0..50).map(|_| {
        let mut client = client.clone();
        async move {
            let request = Request::get("http://web/").body(empty()).unwrap();
            text(client.send_request(request).await.unwrap().into_body()).await
        }
    });
    let answers = soon(futures_util::future::join_all(calls)).await;
    assert!(answers.iter().all(|it| it == "web"));
    assert_eq!(web.connections(), 1);
}

#[tokio::test]
async fn trailers_of_an_http1_endpoint_reach_an_http2_client() {
    let web = Backend::http1(|request| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        Response::builder()
            .header("trailer", "x-sum")
            .body(with_trailers("body", trailers))
            .unwrap()
    })
    .await;
    let proxy = Setup::new().listener("in").route("web", "/", &[web.address]).start();
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    let request = Request::get("http://web/").header("te", "trailers").body(empty()).unwrap();
    let collected = soon(client.send(request).await.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "42");
}

#[tokio::test]
async fn trailers_of_a_grpc_call_reach_an_http1_client_unannounced() {
    let web = Backend::http2(|_| async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("5"));
        trailers.insert("grpc-message", HeaderValue::from_static("gone"));
        Response::builder()
            .header("content-type", "application/grpc")
            .body(with_trailers("message", trailers))
            .unwrap()
    })
    .await;
    let proxy = Setup::new().listener("in").route("web", "/", &[web.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let request = Request::post("/Service/Call")
        .header("host", "web")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(full("message"))
        .unwrap();
    let collected = soon(client.send(request).await.into_body().collect()).await.unwrap();
    let trailers = collected.trailers().unwrap().clone();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"5".parse().unwrap(), &"gone".parse().unwrap())
    );
    assert_eq!(collected.to_bytes(), "message");
}

#[tokio::test]
async fn clients_that_read_nothing_do_not_block_the_others() {
    let web = Backend::http2(|request| async move {
        if request.uri().path() == "/small" {
            return Response::new(full("small"));
        }
        Response::new(full(vec![b'x'; 1 << 20]))
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |_, cluster| {
            cluster.protocol = UpstreamProtocol::Http2;
        })
        .start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut slow, connection) =
        hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .initial_stream_window_size(1024)
            .handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut unread = Vec::new();
    for _ in 0..20 {
        let request = Request::get("http://web/").body(empty()).unwrap();
        unread.push(soon(slow.send_request(request)).await.unwrap());
    }
    let mut client = Client::http1(address).await;
    for _ in 0..100 {
        assert_eq!(client.get("web", "/small").await, (200, "small".to_owned()));
    }
    assert_eq!(web.connections(), 1);
}
