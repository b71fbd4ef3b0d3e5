//! Compression of responses.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::Response;
use http_body::Frame;
use http_body_util::BodyExt;
use proxy_config::{Compression, Compressor, FilterSetting};
use tokio::sync::Mutex;

use super::support::{Backend, Client, Setup, channel, full, raw, soon, text};

fn compression(content_types: &[&str]) -> FilterSetting<Compression> {
    FilterSetting::On(Compression {
        algorithms: vec![Compressor::Brotli { quality: 3 }, Compressor::Gzip { level: 1 }],
        length_min: 30,
        content_types: content_types.iter().map(|it| (*it).to_owned()).collect(),
        keep_etag: false,
        remove_accept_encoding: true,
    })
}

async fn long() -> Backend {
    Backend::http1(|request| async move {
        let asked = request.headers().contains_key("accept-encoding");
        let body = format!("{asked} ").repeat(1000);
        Response::builder().header("content-type", "text/plain").body(full(body)).unwrap()
    })
    .await
}

async fn bytes(response: Response<hyper::body::Incoming>) -> Bytes {
    soon(response.into_body().collect()).await.unwrap().to_bytes()
}

#[tokio::test]
async fn responses_are_compressed_as_the_client_likes_it() {
    let backend = long().await;
    let proxy = Setup::new()
        .http_listener("in", |http| http.filters.compression = compression(&[]))
        .route("web", "/", &[backend.address])
        .start();
    let address = proxy.local_addr("in").unwrap();
    let expected = "false ".repeat(1000);
    for mut client in [Client::http1(address).await, Client::http2(address).await] {
        let response = client.get_with(&[("accept-encoding", "gzip")]).await;
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.headers()["vary"], "accept-encoding");
        assert!(!response.headers().contains_key("content-length"));
        let mut read = String::new();
        GzDecoder::new(&*bytes(response).await).read_to_string(&mut read).unwrap();
        assert!(read == expected);
        let response = client.get_with(&[("accept-encoding", "gzip, br")]).await;
        assert_eq!(response.headers()["content-encoding"], "br");
        let mut read = String::new();
        let compressed = bytes(response).await;
        brotli::Decompressor::new(&*compressed, 4096).read_to_string(&mut read).unwrap();
        assert!(read == expected);
        let response = client.get_with(&[]).await;
        assert_eq!(response.headers()["vary"], "accept-encoding");
        assert!(text(response.into_body()).await == expected, "as it is for who does not ask");
        let response = client.ask("HEAD", "/", &[("accept-encoding", "gzip")]).await;
        assert!(!response.headers().contains_key("content-encoding"));
    }
    let ask = b"GET / HTTP/1.0\r\nhost: web\r\naccept-encoding: br\r\n\r\n";
    let read = raw(address, ask).await;
    assert!(read.contains("content-encoding: br\r\n"), "it ends with the connection");
}

#[tokio::test]
async fn events_are_not_held_back() {
    let (events, body) = channel();
    let body = std::sync::Arc::new(Mutex::new(Some(body)));
    let backend = Backend::http1(move |_| {
        let body = body.clone();
        async move {
            let body = body.lock().await.take().unwrap();
            Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
        }
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route("web", "/", &[backend.address])
        .last_route(|route| route.filters.compression = compression(&["text/event-stream"]))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    events.send(Frame::data("data: 0\n\n".into())).await.unwrap();
    let response = client.get_with(&[("accept-encoding", "gzip")]).await;
    let mut body = response.into_body();
    let mut compressed = Vec::new();
    for nth in 0..3 {
        let expected: String = (0..=nth).map(|it| format!("data: {it}\n\n")).collect();
        let mut read = vec![0; expected.len()];
        // Each is there before the next one is sent.
        while GzDecoder::new(&*compressed).read_exact(&mut read).is_err() {
            let frame = soon(body.frame()).await.unwrap().unwrap();
            compressed.extend_from_slice(frame.data_ref().unwrap());
        }
        assert_eq!(read, expected.as_bytes());
        events.send(Frame::data(format!("data: {}\n\n", nth + 1).into())).await.unwrap();
    }
}

#[tokio::test]
async fn answers_of_the_proxy_are_compressed_too_when_they_are_long() {
    let body = "long ".repeat(100);
    let action =
        |body: &str| proxy_config::RouteAction::Respond { status: 200, body: body.to_owned() };
    let proxy = Setup::new()
        .http_listener("in", |http| http.filters.compression = compression(&[]))
        .action("web", "/long", action(&body))
        .action("web", "/short", action("short"))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let gzip = [("accept-encoding", "gzip")];
    let response = client.ask("GET", "/long", &gzip).await;
    let mut read = String::new();
    GzDecoder::new(&*bytes(response).await).read_to_string(&mut read).unwrap();
    assert_eq!(read, body);
    let response = client.ask("GET", "/short", &gzip).await;
    assert_eq!(text(response.into_body()).await, "short");
}
