//! What a proxy must do with requests.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::support::{Setup, raw, read_to_close, soon};
use super::{Recorder, statuses};
use crate::ProxyHandle;

async fn world() -> (Recorder, ProxyHandle, std::net::SocketAddr) {
    let recorder = Recorder::start().await;
    let proxy = Setup::new().listener("in").route("*", "/", &[recorder.backend.address]).start();
    let address = proxy.local_addr("in").unwrap();
    (recorder, proxy, address)
}

/// RFC 9112, section 3.
#[tokio::test]
async fn request_lines_that_are_none_are_400() {
    let (recorder, _proxy, address) = world().await;
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET /",
        "GET / HTTP",
        "GET / HTTP/1",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1.1x",
        "GET / XTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET \x01 HTTP/1.1",
        "G(T / HTTP/1.1",
        "/ HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
    ] {
        let read = raw(address, format!("{line}\r\nhost: web\r\n\r\n").as_bytes()).await;
        let got = statuses(&read);
        assert!(got == [400] || got == [505], "{line:?}: {read:?}");
        let seen = recorder.take();
        assert!(seen.is_empty(), "{line:?}: {seen:?}");
    }
}

/// RFC 9112, section 2.2: at least one empty line before a request line is passed over.
#[tokio::test]
async fn an_empty_line_before_a_request_is_passed_over() {
    let (recorder, _proxy, address) = world().await;
    let request = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n\r\n\
                   GET /b HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";
    let read = raw(address, format!("\r\n{request}").as_bytes()).await;
    assert_eq!(statuses(&read), [200, 200], "{read:?}");
    let targets: Vec<String> = recorder.take().iter().map(|it| it.target().to_owned()).collect();
    assert_eq!(targets, ["/a", "/b"]);
}

/// RFC 9112, section 3.2.
#[tokio::test]
async fn hosts_that_are_missing_doubled_or_none_are_400() {
    let (recorder, _proxy, address) = world().await;
    for hosts in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nhost: b\r\n",
        "host: a b\r\n",
        "host: a/b\r\n",
        "host: a@b\r\n",
        "host: a:b\r\n",
        "host: a?b\r\n",
        "host: a#b\r\n",
        "host: [::1\r\n",
        "host: a\\b\r\n",
        "host: a, b\r\n",
    ] {
        let request = format!("GET / HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let read = raw(address, request.as_bytes()).await;
        assert_eq!(statuses(&read), [400], "{hosts:?}: {read:?}");
        assert!(recorder.take().is_empty(), "{hosts:?}");
    }
}

/// RFC 9112, sections 3.2.1 to 3.2.4.
#[tokio::test]
async fn targets_are_sent_on_in_origin_form_with_the_right_host() {
    let (recorder, _proxy, address) = world().await;
    for (target, host, sent, host_sent) in [
        ("/a?b=c", "web", "/a?b=c", "web"),
        ("http://other/a?b", "web", "/a?b", "other"),
        ("http://other", "web", "/", "other"),
        ("http://other?x", "web", "/?x", "other"),
        ("HTTP://Other:80/a", "web", "/a", "Other:80"),
        ("/a%20b/%7Ec", "web", "/a%20b/%7Ec", "web"),
        ("//double", "web", "//double", "web"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let read = raw(address, request.as_bytes()).await;
        assert_eq!(statuses(&read), [200], "{target}: {read:?}");
        let seen = recorder.take();
        assert_eq!(seen[0].target(), sent, "{target}");
        assert_eq!(seen[0].header("host").as_deref(), Some(host_sent), "{target}");
    }
    let options = "OPTIONS * HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";
    let read = raw(address, options.as_bytes()).await;
    assert_eq!(statuses(&read), [200], "{read:?}");
    assert_eq!(recorder.take()[0].target(), "*");
}

/// RFC 9110, section 7.6.1.
#[tokio::test]
async fn fields_that_concern_one_connection_are_not_sent_on() {
    let (recorder, _proxy, address) = world().await;
    let request = "GET / HTTP/1.1\r\nhost: web\r\nconnection: close, x-a\r\nconnection: X-B\r\n\
                   x-a: 1\r\nx-b: 2\r\nx-c: 3\r\nkeep-alive: timeout=5\r\nte: gzip, trailers\r\n\
                   proxy-connection: keep-alive\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n\
                   proxy-authorization: Basic Zm9v\r\n\r\n";
    raw(address, request.as_bytes()).await;
    let seen = recorder.take();
    for name in [
        "x-a",
        "x-b",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "http2-settings",
        "proxy-authorization",
    ] {
        assert_eq!(seen[0].header(name), None, "{name}");
    }
    assert_eq!(seen[0].header("x-c").as_deref(), Some("3"));
    assert!(seen[0].header("te").is_none_or(|it| it == "trailers"));
}

/// RFC 9110, section 7.6.2.
#[tokio::test]
async fn max_forwards_is_counted_down_and_ends_at_zero() {
    let (recorder, _proxy, address) = world().await;
    for method in ["OPTIONS", "TRACE"] {
        let request = |left: u32| {
            format!(
                "{method} /a HTTP/1.1\r\nhost: web\r\nmax-forwards: {left}\r\nconnection: close\r\n\r\n"
            )
        };
        let read = raw(address, request(5).as_bytes()).await;
        assert_eq!(statuses(&read).len(), 1, "{read:?}");
        let seen = recorder.take();
        assert_eq!(seen[0].header("max-forwards").as_deref(), Some("4"), "{method}");
        let read = raw(address, request(0).as_bytes()).await;
        assert_eq!(statuses(&read).len(), 1, "{read:?}");
        assert!(recorder.take().is_empty(), "{method}: the proxy is the last recipient");
    }
    let get = "GET /a HTTP/1.1\r\nhost: web\r\nmax-forwards: 0\r\nconnection: close\r\n\r\n";
    raw(address, get.as_bytes()).await;
    assert_eq!(recorder.take().len(), 1, "it means nothing for other methods");
}

/// RFC 9112, section 9.3.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (recorder, _proxy, address) = world().await;
    let mut requests = String::new();
    for nth in 0..20 {
        let body = "x".repeat(nth);
        requests.push_str(&format!(
            "POST /{nth} HTTP/1.1\r\nhost: web\r\ncontent-length: {nth}\r\n\r\n{body}"
        ));
    }
    requests.push_str("GET /last HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    let read = raw(address, requests.as_bytes()).await;
    assert_eq!(statuses(&read), vec![200; 21], "{read:?}");
    let bodies: Vec<usize> = read.match_indices("\r\n\r\n/").map(|it| it.0).collect();
    assert!(bodies.is_sorted());
    let seen = recorder.take();
    assert_eq!(seen.len(), 21);
    assert!(seen.iter().take(20).enumerate().all(|(nth, it)| it.body().len() == nth));
}

/// RFC 9112, section 9.3: HTTP/1.0 closes unless asked not to; section 7.1: it is sent no chunks.
#[tokio::test]
async fn a_client_of_http_1_0_gets_what_it_understands() {
    let (_recorder, _proxy, address) = world().await;
    let read = raw(address, b"GET /a HTTP/1.0\r\nhost: web\r\n\r\n").await;
    assert!(read.ends_with("\r\n\r\n/a"), "{read:?}");
    assert!(!read.to_ascii_lowercase().contains("transfer-encoding"), "{read:?}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        let request = "GET /a HTTP/1.0\r\nhost: web\r\nconnection: keep-alive\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n/a") {
            assert_ne!(soon(stream.read_buf(&mut read)).await.unwrap(), 0, "closed too early");
        }
        let head = String::from_utf8(read).unwrap().to_ascii_lowercase();
        assert!(head.contains("connection: keep-alive"), "{head:?}");
    }
}

/// RFC 9110, section 10.1.1.
#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_before_its_body() {
    let (recorder, _proxy, address) = world().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: web\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\
                connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    soon(stream.read_exact(&mut interim)).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let read = read_to_close(&mut stream).await;
    assert_eq!(statuses(&read), [200], "{read:?}");
    assert_eq!(recorder.take()[0].body(), b"abc");
}

/// RFC 9112, section 9.6.
#[tokio::test]
async fn a_client_that_has_closed_its_side_still_gets_its_answer() {
    let (_recorder, _proxy, address) = world().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /a HTTP/1.1\r\nhost: web\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let read = read_to_close(&mut stream).await;
    assert!(read.ends_with("\r\n\r\n/a"), "{read:?}");
}

/// RFC 9112, section 7.1.2, and RFC 9110, section 6.5.
#[tokio::test]
async fn a_head_in_pieces_is_the_same_head() {
    let (recorder, _proxy, address) = world().await;
    let request = b"POST /a HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\
                    connection: close\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in request {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let read = read_to_close(&mut stream).await;
    assert_eq!(statuses(&read), [200], "{read:?}");
    assert_eq!(recorder.take()[0].body(), b"abcde");
}
