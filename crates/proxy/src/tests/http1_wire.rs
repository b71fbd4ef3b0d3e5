//! HTTP/1 as clients and endpoints may speak it, byte by byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use proxy_config::RouteAction;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::support::{Backend, Client, HANG, Setup, full, raw, read_to_close, soon};
use crate::ProxyHandle;

const GET: &str = "GET / HTTP/1.1\r\nhost: web\r\n\r\n";

fn responding(body: &str) -> Setup {
    let respond = RouteAction::Respond { status: 200, body: body.to_owned() };
    Setup::new().listener("in").action("web", "/", respond)
}

fn forwarding(web: &Backend) -> Setup {
    Setup::new().listener("in").route("web", "/", &[web.address])
}

async fn connect(proxy: &ProxyHandle) -> TcpStream {
    TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap()
}

/// Reads until the bytes end like this.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    soon(async {
        while !read.ends_with(end.as_bytes()) {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{}", read.escape_ascii());
        }
    })
    .await;
    String::from_utf8(read).unwrap()
}

/// Answers each request, which has no body, with these bytes.
async fn answering(answer: &'static str) -> Backend {
    Backend::tcp(move |mut stream| async move {
        let mut head = Vec::new();
        while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn requests_that_could_be_read_as_others_are_refused_and_the_connection_with_them() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let web = Backend::http1(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Response::new(full("web")) }
    })
    .await;
    let proxy = forwarding(&web).start();
    for (head, status) in [
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", 400),
        ("content-length: 5\r\ncontent-length: 6\r\n", 400),
        ("content-length: 5, 5\r\n", 400),
        ("content-length: +5\r\n", 400),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", 400),
        ("transfer-encoding: chunked, identity\r\n", 400),
        ("transfer-encoding: xchunked\r\n", 501),
        ("transfer-encoding : chunked\r\n", 400),
        ("x: a\r\n b\r\n", 400),
        ("x: a\nb: c\r\n", 400),
        ("x: a\0b\r\n", 400),
    ] {
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: web\r\n\r\n";
        let request = format!("POST / HTTP/1.1\r\nhost: web\r\n{head}\r\n{smuggled}");
        let answer = raw(proxy.local_addr("in").unwrap(), request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: {answer}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn requests_behind_each_other_are_answered_in_order() {
    let web =
        Backend::http1(
            |request| async move { Response::new(full(request.uri().path().to_owned())) },
        )
        .await;
    let proxy = forwarding(&web).start();
    let mut stream = connect(&proxy).await;
    let requests: String = (0..100)
        .map(|it| format!("GET /{it}. HTTP/1.1\r\nhost: web\r\n\r\n"))
        .chain(["GET /last HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n".to_owned()])
        .collect();
    stream.write_all(requests.as_bytes()).await.unwrap();
    let answers = read_to_close(&mut stream).await;
    let mut at = 0;
    for it in 0..100 {
        at += answers[at..].find(&format!("\r\n\r\n/{it}.HTTP/1.1 200")).unwrap();
    }
    assert!(answers.ends_with("/last"), "{answers}");
}

#[tokio::test]
async fn a_client_that_says_all_it_has_to_say_is_still_answered() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_asked, on_answer) = (asked.clone(), answer.clone());
    let web = Backend::http1(move |_| {
        let (asked, answer) = (on_asked.clone(), on_answer.clone());
        async move {
            asked.notify_one();
            answer.notified().await;
            Response::new(full("late"))
        }
    })
    .await;
    let proxy = forwarding(&web).start();
    let mut stream = connect(&proxy).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    soon(asked.notified()).await;
    answer.notify_one();
    let answered = read_to_close(&mut stream).await;
    assert!(answered.starts_with("HTTP/1.1 200") && answered.ends_with("late"), "{answered}");
}

#[tokio::test]
async fn a_client_that_vanishes_ends_its_request_at_the_endpoint() {
    let (asked, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_asked, on_gone) = (asked.clone(), gone.clone());
    let web = Backend::tcp(move |mut stream| {
        let (asked, gone) = (on_asked.clone(), on_gone.clone());
        async move {
            let mut read = Vec::new();
            while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
                asked.notify_one();
            }
            gone.notify_one();
        }
    })
    .await;
    let proxy = forwarding(&web).start();
    let mut stream = connect(&proxy).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    soon(asked.notified()).await;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    soon(gone.notified()).await;
    assert_eq!(soon(proxy.drain(HANG)).await, 0);
    let counters = [0, 1].map(|worker| proxy.stats().http("in", worker));
    assert_eq!(counters.iter().map(|it| it.downstream_rq_rx_reset.get()).sum::<u64>(), 1);
}

#[tokio::test]
async fn heads_before_the_last_one_are_passed_on_to_those_who_understand_them() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
    let web = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let proxy = forwarding(&web).start();
    let address = proxy.local_addr("in").unwrap();
    let get = "GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";
    let answer = raw(address, get.as_bytes()).await;
    assert!(answer.starts_with(&format!("{hints}HTTP/1.1 200 OK\r\n")), "{answer}");
    let answer = raw(address, b"GET / HTTP/1.0\r\nhost: web\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
}

#[tokio::test]
async fn an_endpoint_that_never_comes_to_the_point_is_502() {
    let web = Backend::tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {}
    })
    .await;
    let proxy = forwarding(&web).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 502);
}

#[tokio::test]
async fn old_clients_get_the_end_of_a_body_from_the_end_of_the_connection() {
    let chunked = answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    )
    .await;
    let proxy = forwarding(&chunked).start();
    let request = b"GET / HTTP/1.0\r\nhost: web\r\nconnection: keep-alive\r\n\r\n";
    let answer = raw(proxy.local_addr("in").unwrap(), request).await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nabcdef"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(!answer.contains("chunked"), "{answer}");
    // With a length the connection goes on, if they ask for it.
    let proxy = responding("here").start();
    let mut stream = connect(&proxy).await;
    for _ in 0..2 {
        stream.write_all(request).await.unwrap();
        let answer = read_until(&mut stream, "here").await;
        assert!(answer.contains("\r\nconnection: keep-alive\r\n"), "{answer}");
    }
    stream.write_all(b"GET / HTTP/1.0\r\nhost: web\r\n\r\n").await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.ends_with("here"), "{answer}");
}

#[tokio::test]
async fn an_endpoint_may_end_a_body_with_its_connection() {
    let web = Backend::tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let proxy = forwarding(&web).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for _ in 0..2 {
        assert_eq!(client.get("web", "/").await, (200, "until the end".to_owned()));
    }
    assert_eq!(web.connections(), 2);
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_read_away_if_it_is_small() {
    let proxy = responding("here").start();
    let mut stream = connect(&proxy).await;
    for body in
        ["content-length: 5\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"]
    {
        let request = format!("POST / HTTP/1.1\r\nhost: web\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "here").await;
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    // One that is not ends the connection, and the client still reads the answer.
    let request = "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 10000000\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 50_000]).await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.ends_with("here") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_none_ends_the_connection_and_blames_no_endpoint() {
    let web = Backend::http1(|request| async move {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        Response::new(full("web"))
    })
    .await;
    let proxy = forwarding(&web).start();
    let mut evidence = proxy.evidence().unwrap();
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: web\r\n\r\n";
    for body in ["5;\n\r\nhello\r\n0\r\n\r\n", "2\r\nhello\r\n0\r\n\r\n", "0\r\nx : y\r\n\r\n"] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n{body}{smuggled}"
        );
        let answer = raw(proxy.local_addr("in").unwrap(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{body:?}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{body:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{body:?}: {answer}");
    }
    assert!(evidence.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_reaches_the_client() {
    // Refuses after the first bytes of the body, and closes.
    let web = Backend::tcp(|mut stream| async move {
        let mut read = Vec::new();
        while !read.ends_with(b"begin") {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
        let _ = stream.write_all(answer).await;
    })
    .await;
    let proxy = forwarding(&web).start();
    let mut stream = connect(&proxy).await;
    let request = "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 10000000\r\n\r\nbegin";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "no").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_client_may_send_all_before_it_reads_any() {
    // More than the sockets on the way hold, in both directions.
    const SIZE: usize = 32 << 20;
    let taken = Arc::new(Notify::new());
    let on_taken = taken.clone();
    let web = Backend::tcp(move |stream| {
        let taken = on_taken.clone();
        async move {
            let (mut read, mut write) = stream.into_split();
            let mut first = [0; 1024];
            let mut count = read.read(&mut first).await.unwrap();
            tokio::spawn(async move {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
                let _ = write.write_all(head.as_bytes()).await;
                let _ = write.write_all(&vec![b'y'; SIZE]).await;
            });
            let mut buf = vec![0; 64 * 1024];
            while count < SIZE {
                count += read.read(&mut buf).await.unwrap();
            }
            taken.notify_one();
        }
    })
    .await;
    let proxy = forwarding(&web).start();
    let mut stream = connect(&proxy).await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: web\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    soon(stream.write_all(&vec![b'x'; SIZE])).await.unwrap();
    soon(taken.notified()).await;
    let answer = read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.len() > SIZE, "{}", answer.len());
}

#[tokio::test]
async fn a_response_that_breaks_off_looks_so_to_every_client() {
    for (head, request) in [
        ("content-length: 10", GET),
        ("transfer-encoding: chunked", GET),
        ("transfer-encoding: chunked", "GET / HTTP/1.0\r\nhost: web\r\n\r\n"),
    ] {
        let web = Backend::tcp(move |mut stream| async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhalf ");
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        let proxy = forwarding(&web).start();
        let mut stream = connect(&proxy).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = soon(stream.read_to_end(&mut answer)).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(read.is_err() || !text.contains("0\r\n\r\n"), "{text}");
        assert!(read.is_err() || request == GET, "a reset says what the form cannot");
    }
}
