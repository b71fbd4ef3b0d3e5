//! What a proxy must do with responses.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::support::{Backend, Setup, raw, read_to_close, soon};
use super::statuses;

/// An endpoint that answers whatever comes with these bytes, and then closes the connection or keeps it.
async fn answering(bytes: &'static str, closes: bool) -> Backend {
    Backend::tcp(move |mut stream| async move {
        let mut read = Vec::new();
        while stream.read_buf(&mut read).await.unwrap_or(0) > 0 {
            if read.ends_with(b"\r\n\r\n") {
                read.clear();
                let _ = stream.write_all(bytes.as_bytes()).await;
                if closes {
                    return;
                }
            }
        }
    })
    .await
}

/// What a client reads for one `method` request to an endpoint that answers with `bytes`.
async fn through(method: &str, version: &str, bytes: &'static str, closes: bool) -> String {
    let backend = answering(bytes, closes).await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[backend.address], |forward, _| forward.retry.retries_max = 0)
        .start();
    let request = format!("{method} / {version}\r\nhost: web\r\nconnection: close\r\n\r\n");
    raw(proxy.local_addr("in").unwrap(), request.as_bytes()).await
}

/// RFC 9112, section 6.3 and 11.1.
#[tokio::test]
async fn responses_that_are_none_or_ambiguous_are_502() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\ncontent-length: 3, 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx y: z\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : z\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
        "XTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ] {
        let read = through("GET", "HTTP/1.1", bytes, true).await;
        assert_eq!(statuses(&read), [502], "{bytes:?}: {read:?}");
    }
}

/// RFC 9112, section 8: a message that is cut is not passed on as a whole one.
#[tokio::test]
async fn a_response_that_is_cut_is_cut_for_the_client() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
    ] {
        let read = through("GET", "HTTP/1.1", bytes, true).await;
        let is_502 = statuses(&read) == [502];
        let head = read.to_ascii_lowercase();
        let is_whole = head.contains("chunked") && read.ends_with("0\r\n\r\n")
            || head.contains("content-length: 5") && read.ends_with("abcde")
            || head.contains("content-length: 3") && read.ends_with("abc");
        assert!(is_502 || !is_whole, "{bytes:?}: {read:?}");
    }
}

/// RFC 9112, section 6.3, and RFC 9110, section 15.
#[tokio::test]
async fn responses_without_a_body_end_with_their_head() {
    for (method, bytes) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
    ] {
        // The endpoint keeps the connection: who waited for a body would wait for ever.
        let read = through(method, "HTTP/1.1", bytes, false).await;
        assert_eq!(statuses(&read).len(), 1, "{method} {bytes:?}: {read:?}");
        assert!(read.ends_with("\r\n\r\n"), "{method} {bytes:?}: {read:?}");
        if bytes.contains(" 204 ") {
            let head = read.to_ascii_lowercase();
            assert!(!head.contains("content-length") && !head.contains("transfer-encoding"));
        }
    }
}

/// RFC 9112, sections 6.3 and 7.1.
#[tokio::test]
async fn a_response_that_ends_with_its_connection_is_framed_for_the_client() {
    let bytes = "HTTP/1.0 200 OK\r\nserver: old\r\n\r\nabc";
    let read = through("GET", "HTTP/1.1", bytes, true).await;
    assert!(read.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{read:?}");
    assert!(read.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{read:?}");
    let read = through("GET", "HTTP/1.0", bytes, true).await;
    assert!(!read.to_ascii_lowercase().contains("transfer-encoding"), "{read:?}");
    assert!(read.ends_with("\r\n\r\nabc"), "{read:?}");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let read = through("GET", "HTTP/1.0", chunked, false).await;
    assert!(!read.to_ascii_lowercase().contains("transfer-encoding"), "{read:?}");
    assert!(read.ends_with("\r\n\r\nabc"), "{read:?}");
}

/// RFC 9110, sections 7.6.1 and 6.6.1.
#[tokio::test]
async fn fields_of_the_endpoints_connection_stay_and_a_date_is_added() {
    let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x-a, keep-alive\r\nx-a: 1\r\n\
                 keep-alive: timeout=5\r\nproxy-connection: close\r\nx-b: 2\r\n\r\n";
    let read = through("GET", "HTTP/1.1", bytes, false).await.to_ascii_lowercase();
    assert!(!read.contains("x-a") && !read.contains("keep-alive"), "{read:?}");
    assert!(!read.contains("proxy-connection"), "{read:?}");
    assert!(read.contains("x-b: 2"), "{read:?}");
    assert_eq!(read.matches("\r\ndate: ").count(), 1, "{read:?}");
    let dated =
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: Tue, 15 Nov 1994 08:12:31 GMT\r\n\r\n";
    let read = through("GET", "HTTP/1.1", dated, false).await.to_ascii_lowercase();
    assert!(read.contains("date: tue, 15 nov 1994 08:12:31 gmt"), "{read:?}");
    assert_eq!(read.matches("\r\ndate: ").count(), 1, "{read:?}");
}

/// RFC 9110, section 15.2.
#[tokio::test]
async fn informational_responses_are_passed_on_before_the_final_one() {
    let bytes = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                 HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let read = through("GET", "HTTP/1.1", bytes, false).await;
    assert!(read.starts_with("HTTP/1.1 103 "), "{read:?}");
    assert!(read.contains("HTTP/1.1 102 "), "{read:?}");
    assert_eq!(statuses(&read), [200], "{read:?}");
    assert!(read.contains("link: </a>\r\n"), "{read:?}");
    // HTTP/1.0 knows none.
    let read = through("GET", "HTTP/1.0", bytes, false).await;
    assert!(!read.contains(" 103 ") && !read.contains(" 102 "), "{read:?}");
    assert!(read.ends_with("ok"), "{read:?}");
}

/// RFC 9112, section 6.3: what follows a response was not asked for, and answers nobody else.
#[tokio::test]
async fn bytes_after_a_response_do_not_answer_the_next_request() {
    let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\
                 HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for _ in 0..3 {
        let backend = answering(bytes, false).await;
        let proxy = Setup::new().listener("in").route("web", "/", &[backend.address]).start();
        let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
        for _ in 0..5 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"ok") {
                assert_ne!(soon(stream.read_buf(&mut read)).await.unwrap(), 0);
                assert!(!read.windows(6).any(|it| it == b"poison"));
            }
        }
        stream.shutdown().await.unwrap();
        assert_eq!(read_to_close(&mut stream).await, "");
    }
}

/// RFC 9112, section 7.1.2: trailers of chunks reach the client that asked for them.
#[tokio::test]
async fn trailers_are_passed_on() {
    let bytes = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                 3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n";
    let backend = answering(bytes, false).await;
    let proxy = Setup::new().listener("in").route("web", "/", &[backend.address]).start();
    let request = "GET / HTTP/1.1\r\nhost: web\r\nte: trailers\r\nconnection: close, te\r\n\r\n";
    let read = raw(proxy.local_addr("in").unwrap(), request.as_bytes()).await;
    assert!(read.ends_with("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"), "{read:?}");
}
