//! What is not an endpoint's fault does not take it out of service.

use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use proxy_config::UpstreamProtocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{
    Backend, Client, HANG, Setup, access_log, empty, full, lines_of, read_to_close, soon, text,
};

#[tokio::test]
async fn a_client_that_breaks_off_an_upload_ejects_no_endpoint() {
    let answer = |request: Request<hyper::body::Incoming>| async move {
        let _ = request.into_body().collect().await;
        Response::new(full("web"))
    };
    let http1 = Backend::http1(answer).await;
    let http2 = Backend::http2(answer).await;
    let (log, path) = access_log("broken-off");
    let proxy = Setup::new()
        .listener("in")
        .route("http1", "/", &[http1.address])
        .route_with("http2", "/", &[http2.address], |_, cluster| {
            cluster.protocol = UpstreamProtocol::Http2;
        })
        .start_with(|options| options.access_log = Some(log));
    let mut evidence = proxy.evidence().unwrap();
    for host in ["http1", "http2"] {
        let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
        let begin = format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 10\r\n\r\n12345");
        stream.write_all(begin.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read_to_close(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert_eq!(soon(proxy.drain(HANG)).await, 0);
    assert!(evidence.try_recv().is_err());
    drop(proxy);
    let lines = lines_of(&path, 2).await;
    assert_eq!(lines.matches(" DC ").count(), 2, "{lines}");
}

#[tokio::test]
async fn a_grpc_call_to_an_endpoint_without_http2_ejects_it_not() {
    let says_so = Backend::tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        // Closed over unread bytes the connection would be reset and the answer lost.
        let _ = stream.shutdown().await;
        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let closes = Backend::tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route("says-so", "/", &[says_so.address])
        .route("closes", "/", &[closes.address])
        .start();
    let mut evidence = proxy.evidence().unwrap();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for host in ["says-so", "closes"] {
        let request = Request::post("/Service/Call")
            .header("host", host)
            .header("content-type", "application/grpc")
            .body(full("message"))
            .unwrap();
        let response = client.send(request).await;
        assert_eq!(response.headers()["grpc-status"], "14", "{host}");
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(message.contains("protocol error"), "{host}: {message}");
    }
    assert!(evidence.try_recv().is_err());
    assert_eq!((says_so.connections(), closes.connections()), (1, 1));
}

#[tokio::test]
async fn grpc_web_goes_to_an_http1_endpoint() {
    let web = Backend::text("web").await;
    let proxy = Setup::new().listener("in").route("web", "/", &[web.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let request = Request::post("/")
        .header("host", "web")
        .header("content-type", "application/grpc-web+proto")
        .body(empty())
        .unwrap();
    // A gRPC call that is refused is 200 as well.
    assert_eq!(text(client.send(request).await.into_body()).await, "web");
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_ejects_no_endpoint() {
    let mut setup =
        Setup::new().listener("in").route("web", "/", &["127.0.0.1:9".parse().unwrap()]);
    let endpoints = setup.0.endpoints.get_mut("web/").unwrap();
    // Not a name at all, so that nobody is asked.
    Arc::make_mut(endpoints).endpoints[0].host = "no name".to_owned();
    let proxy = setup.start();
    let mut evidence = proxy.evidence().unwrap();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 503);
    assert!(evidence.try_recv().is_err());
}
