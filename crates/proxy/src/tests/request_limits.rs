//! Limits of requests and connections as a whole.

use std::time::Duration;

use http_body::Frame;
use proxy_config::{HttpListener, RouteAction};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::{Backend, Client, Setup, channel, raw, read_to_close, slow, soon};

const SHORT: Duration = Duration::from_millis(200);

fn here() -> RouteAction {
    RouteAction::Respond { status: 200, body: "here".to_owned() }
}

#[tokio::test]
async fn a_request_that_does_not_end_in_time_is_answered_408() {
    let backend = Backend::http1(|request| async move {
        use http_body_util::BodyExt;
        let _ = request.into_body().collect().await;
        http::Response::new(super::support::full("never"))
    })
    .await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.request_timeout = SHORT)
        .route("web", "/", &[backend.address])
        .start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let half = "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 10\r\n\r\nhalf";
    stream.write_all(half.as_bytes()).await.unwrap();
    let read = read_to_close(&mut stream).await;
    assert!(read.starts_with("HTTP/1.1 408 ") && read.ends_with("request timeout"), "{read}");
    let (sender, body) = channel();
    let mut client = Client::http2(address).await;
    let request = http::Request::post("http://web/").body(body).unwrap();
    sender.send(Frame::data("half".into())).await.unwrap();
    assert_eq!(client.send(request).await.status(), 408);
    assert_eq!(proxy.stats().http("in", 0).downstream_rq_timeout.get(), 2);
    assert_eq!(client.get("web", "/").await.0, 200, "the others are unharmed");
}

#[tokio::test]
async fn a_response_that_does_not_end_in_time_is_broken_off() {
    let (backend, _go_on) = slow().await;
    let silent = Backend::tcp(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.stream_duration_max = SHORT)
        .route("web", "/begun", &[backend.address])
        .route("web", "/silent", &[silent.address])
        .start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    let read = raw(address, ask("/silent").as_bytes()).await;
    assert!(read.starts_with("HTTP/1.1 504 "), "{read}");
    let read = raw(address, ask("/begun").as_bytes()).await;
    assert!(read.starts_with("HTTP/1.1 200 ") && read.contains("begin"), "{read}");
    assert!(!read.contains("\r\n0\r\n"), "it does not look whole: {read}");
    assert_eq!(proxy.stats().http("in", 0).downstream_rq_max_duration_reached.get(), 2);
}

async fn limited(change: impl FnOnce(&mut HttpListener)) -> crate::ProxyHandle {
    Setup::new().http_listener("in", change).action("web", "/", here()).start()
}

#[tokio::test]
async fn a_connection_ends_after_its_number_of_requests() {
    let proxy = limited(|http| http.requests_per_connection_max = 3).await;
    let address = proxy.local_addr("in").unwrap();
    let read = raw(address, "GET / HTTP/1.1\r\nhost: web\r\n\r\n".repeat(5).as_bytes()).await;
    assert_eq!(read.matches("HTTP/1.1 200 ").count(), 3, "{read}");
    assert_eq!(read.matches("connection: close").count(), 1, "{read}");
    let mut client = Client::http2(address).await;
    for _ in 0..3 {
        assert_eq!(client.get("web", "/").await.0, 200);
    }
    let gone = async {
        while client
            .try_send(http::Request::get("http://web/").body(super::support::empty()).unwrap())
            .await
            .is_ok()
        {}
    };
    soon(gone).await;
}

#[tokio::test]
async fn a_connection_ends_after_its_time() {
    let proxy = limited(|http| http.connection_duration_max = SHORT).await;
    let address = proxy.local_addr("in").unwrap();
    let read = raw(address, b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await;
    assert!(read.starts_with("HTTP/1.1 200 ") && read.ends_with("here"), "{read}");
    assert!(!read.contains("connection: close"), "nothing was known of the end: {read}");
    let mut client = Client::http2(address).await;
    let gone = async {
        while client
            .try_send(http::Request::get("http://web/").body(super::support::empty()).unwrap())
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    };
    soon(gone).await;
}
