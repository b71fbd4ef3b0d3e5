use std::time::Duration;

use http::Response;
use proxy_config::RouteAction;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Backend, Client, Setup, access_log, full, raw, read_to_close, soon};

fn respond() -> RouteAction {
    RouteAction::Respond { status: 200, body: "here".to_owned() }
}

#[tokio::test]
async fn heads_that_are_too_large_are_431() {
    let proxy = Setup::new()
        .http_listener("in", |http| {
            http.head_bytes_max = 4096;
            http.headers_max = 20;
        })
        .action("web", "/", respond())
        .start();
    let address = proxy.local_addr("in").unwrap();
    let large = format!("GET / HTTP/1.1\r\nhost: web\r\nx: {}\r\n\r\n", "y".repeat(5000));
    let many: String = (0..30).map(|it| format!("x-{it}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: web\r\n{many}\r\n");
    for head in [large, many] {
        let answer = raw(address, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let fits = format!(
        "GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\nx: {}\r\n\r\n",
        "y".repeat(3000)
    );
    assert!(raw(address, fits.as_bytes()).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn heads_that_cannot_be_read_are_in_the_access_log() {
    let (log, path) = access_log("rejected");
    let proxy = Setup::new()
        .http_listener("in", |http| http.head_bytes_max = 4096)
        .action("web", "/", respond())
        .start_with(|options| options.access_log = Some(log));
    let address = proxy.local_addr("in").unwrap();
    raw(address, b"GET / HTTP/1.1\r\nhost web\r\n\r\n").await;
    let large = format!("GET / HTTP/1.1\r\nhost: web\r\nx: {}\r\n\r\n", "y".repeat(5000));
    raw(address, large.as_bytes()).await;
    assert_eq!(soon(proxy.drain(super::support::HANG)).await, 0);
    drop(proxy);
    let lines = super::support::lines_of(&path, 2).await;
    assert!(lines.contains("\"- - HTTP/1.1\" 400 DPE "), "{lines}");
    assert!(lines.contains("\"- - HTTP/1.1\" 431 DPE "), "{lines}");
}

#[tokio::test]
async fn bad_requests_are_400() {
    let proxy = Setup::new().listener("in").action("web", "/", respond()).start();
    let address = proxy.local_addr("in").unwrap();
    for request in [
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: web\r\nhost: other\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost web\r\n\r\n",
        "\x01\x02\x03\x04\r\n\r\n",
    ] {
        let answer = raw(address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn garbage_closes_the_connection_and_nothing_else() {
    let web = Backend::text("web").await;
    let proxy = Setup::new().listener("in").route("web", "/", &[web.address]).start();
    let address = proxy.local_addr("in").unwrap();
    let mut state = 1u32;
    for length in [1usize, 10, 100, 10_000] {
        let garbage: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&garbage).await;
        let _ = stream.shutdown().await;
        read_to_close(&mut stream).await;
        // Garbage after the preface of HTTP/2, and a preface that stops.
        let mut http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        http2.extend_from_slice(&garbage);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&http2).await;
        let _ = stream.shutdown().await;
        read_to_close(&mut stream).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&http2[..12]).await;
        let _ = stream.shutdown().await;
        read_to_close(&mut stream).await;
    }
    let mut client = Client::http1(address).await;
    assert_eq!(client.get("web", "/").await.0, 200);
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_http_is_502() {
    let bad = Backend::tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"\x00\x01 not http at all\r\n\r\n").await;
    })
    .await;
    let proxy = Setup::new().listener("in").route("web", "/", &[bad.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 502);
}

#[tokio::test]
async fn a_slow_head_is_closed_and_an_idle_connection_is_not() {
    let proxy = Setup::new()
        .http_listener("in", |http| http.head_timeout = Duration::from_millis(100))
        .action("web", "/", respond())
        .start();
    let address = proxy.local_addr("in").unwrap();
    let mut idle = Client::http1(address).await;
    assert_eq!(idle.get("web", "/").await.0, 200);
    for head in ["P", "GET / HTTP/1.1\r\nhost: w"] {
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(read_to_close(&mut slow).await, "");
    }
    assert_eq!(idle.get("web", "/").await.0, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let proxy = Setup::new()
        .http_listener("in", |http| http.idle_timeout = Duration::from_millis(100))
        .action("web", "/", respond())
        .start();
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_one_that_ends() {
    let proxy = Setup::new()
        .listener_with("in", |listener| listener.connections_max = 1)
        .action("web", "/", respond())
        .start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let mut first = Client::http1(address).await;
    assert_eq!(first.get("web", "/").await.0, 200);
    let second = tokio::spawn(async move {
        raw(address, b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").await
    });
    for _ in 0..10 {
        assert_eq!(first.get("web", "/").await.0, 200);
    }
    assert!(!second.is_finished());
    drop(first);
    assert!(soon(second).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn requests_wait_for_a_connection_when_all_are_in_use() {
    let web = Backend::http1(|_| async { Response::new(full("web")) }).await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |_, cluster| cluster.connections_max = 1)
        .start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let clients = (0..16).map(|_| {
        tokio::spawn(async move {
            let mut client = Client::http1(address).await;
            for _ in 0..10 {
                assert_eq!(client.get("web", "/").await.0, 200);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        soon(client).await.unwrap();
    }
    assert_eq!(web.connections(), 1);
}

#[tokio::test]
async fn a_head_in_pieces_that_is_answered_at_once_leaves_the_connection_idle() {
    let proxy = Setup::new()
        .http_listener("in", |http| http.head_timeout = Duration::from_millis(300))
        .action("web", "/", respond())
        .start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let mut other = Client::http1(address).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for piece in ["GET / HTTP/1.1\r\nho", "st: web\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        // By then the worker has read the piece.
        for _ in 0..3 {
            assert_eq!(other.get("web", "/").await.0, 200);
        }
    }
    // One that began later is closed first.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /").await.unwrap();
    assert_eq!(read_to_close(&mut slow).await, "");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").await.unwrap();
    let answers = read_to_close(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}

#[tokio::test]
async fn the_first_request_must_come_within_the_time_for_a_head() {
    let proxy = Setup::new()
        .http_listener("in", |http| http.head_timeout = Duration::from_millis(100))
        .action("web", "/", respond())
        .start();
    let address = proxy.local_addr("in").unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(read_to_close(&mut silent).await, "");
    let Client::Http2(client) = Client::http2(address).await else { unreachable!() };
    soon(async {
        while !client.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn paths_with_dot_segments_are_400() {
    let web = Backend::text("web").await;
    let proxy = Setup::new().listener("in").route("web", "/", &[web.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for path in ["/..", "/a/../b", "/./", "/a/%2e%2E/b", "/.%2e/", "/a/%2e?q"] {
        assert_eq!(client.get("web", path).await.0, 400, "{path}");
    }
    for path in ["/", "/...", "/.well-known/x", "/a..b", "/%2e%2e%2e", "/?a=/../b", "/%2f.."] {
        assert_eq!(client.get("web", path).await.0, 200, "{path}");
    }
}
