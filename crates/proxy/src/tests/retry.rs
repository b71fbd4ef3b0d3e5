use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body::Frame;
use proxy_config::{RetryBudget, RetryOn, UpstreamProtocol};
use tokio::io::AsyncReadExt;

use super::support::{
    Backend, Client, HANG, Refusing, Setup, channel, empty, full, soon, stat, text,
};

/// Reads the beginning of a request and closes the connection.
async fn breaking() -> Backend {
    Backend::tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await
}

#[tokio::test]
async fn a_refused_connection_is_tried_on_another_endpoint_for_any_method() {
    let web = Backend::text("web").await;
    let dead = Refusing::new();
    let proxy = Setup::new().listener("in").route("web", "/", &[dead.address, web.address]).start();
    let mut evidence = proxy.evidence().unwrap();
    assert!(proxy.evidence().is_none());
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for _ in 0..4 {
        assert_eq!(client.get("web", "/").await.0, 200);
        let request = Request::post("/").header("host", "web").body(full("body")).unwrap();
        assert_eq!(client.send(request).await.status(), 200);
    }
    let seen = soon(evidence.recv()).await.unwrap();
    assert_eq!(seen.kind, traffic::EvidenceKind::ConnectFailed);
    assert_eq!(seen.cluster, "web/");
}

#[tokio::test]
async fn when_every_endpoint_refuses_the_answer_is_503() {
    let dead = [Refusing::new(), Refusing::new()];
    let addresses = dead.each_ref().map(|it| it.address);
    let proxy = Setup::new().listener("in").route("web", "/", &addresses).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let (status, text) = client.get("web", "/").await;
    assert_eq!(status, 503);
    assert!(
        text.starts_with("upstream connect error or disconnect/reset before headers"),
        "{text}"
    );
}

#[tokio::test]
async fn a_get_whose_connection_breaks_is_tried_again_and_a_post_is_not() {
    let bad = breaking().await;
    let good = Backend::text("good").await;
    let get = Setup::new().listener("in").route("web", "/", &[bad.address, good.address]).start();
    let mut client = Client::http1(get.local_addr("in").unwrap()).await;
    for _ in 0..4 {
        assert_eq!(client.get("web", "/").await, (200, "good".to_owned()));
    }
    let before = bad.connections();
    let post = Setup::new().listener("in").route("web", "/", &[bad.address]).start();
    let mut client = Client::http1(post.local_addr("in").unwrap()).await;
    let request = Request::post("/").header("host", "web").body(full("once")).unwrap();
    assert_eq!(client.send(request).await.status(), 503);
    assert_eq!(bad.connections(), before + 1);
}

#[tokio::test]
async fn a_post_is_not_repeated_on_another_endpoint_after_it_was_sent() {
    let bad = breaking().await;
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let good = Backend::http1(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Response::new(full("good")) }
    })
    .await;
    let proxy = Setup::new().listener("in").route("web", "/", &[bad.address, good.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let (sender, body) = channel();
        sender.send(Frame::data("part".into())).await.unwrap();
        drop(sender);
        let request = Request::post("/").header("host", "web").body(body).unwrap();
        statuses.push(client.send(request).await.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    assert_eq!(served.load(Ordering::SeqCst), 1);
}

/// Runs clients that ask without a pause; kills one of three endpoints in the middle. Every answer must be good.
///
/// `body` is in one write with the head, so that no endpoint dies between the two: a response that has begun cannot
/// be asked for again.
async fn kill_under_load(protocol: UpstreamProtocol, body: &'static str) {
    let answer = move |_| async move {
        tokio::task::yield_now().await;
        Response::new(full(body))
    };
    let mut backends = Vec::new();
    for _ in 0..3 {
        backends.push(match protocol {
            UpstreamProtocol::Http2 => Backend::http2(answer).await,
            _ => Backend::http1(answer).await,
        });
    }
    let addresses: Vec<SocketAddr> = backends.iter().map(|it| it.address).collect();
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &addresses, |_, cluster| {
            cluster.protocol = protocol;
            // A third of the requests break off at once: more than the budget that there is by default.
            cluster.retry_budget = Some(RetryBudget { percent: 100, retries_min: 3 });
        })
        .start();
    let address = proxy.local_addr("in").unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let clients = (0..32).map(|_| {
        let done = done.clone();
        tokio::spawn(async move {
            let mut client = Client::http1(address).await;
            for request in 0..100 {
                let answer = client.get("web", "/").await;
                assert_eq!(answer, (200, body.to_owned()), "request {request}");
                done.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    soon(async {
        while done.load(Ordering::SeqCst) < 800 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    backends.remove(0).kill().await;
    for client in clients {
        tokio::time::timeout(HANG, client).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_get_fails_when_an_endpoint_is_killed_under_load() {
    kill_under_load(UpstreamProtocol::Http1, "alive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_get_fails_when_an_http2_endpoint_is_killed_under_load() {
    kill_under_load(UpstreamProtocol::Http2, "").await;
}

#[tokio::test]
async fn an_idle_connection_that_the_endpoint_closed_is_not_used() {
    // Answers one request per connection and closes it, without saying so.
    let web = Backend::tcp(|mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| {
            forward.retry.retries_max = 0;
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for _ in 0..5 {
        // With retries a `GET` survives the race between the close and the next request; see the test above.
        let request = Request::get("/").header("host", "web").body(empty()).unwrap();
        let response = client.send(request).await;
        let status = response.status().as_u16();
        text(response.into_body()).await;
        assert!(status == 200 || status == 503, "{status}");
    }
    assert!(web.connections() >= 2);
}

/// Answers with a status and headers, and counts.
async fn answering(status: u16, headers: &'static [(&str, &str)]) -> (Backend, Arc<AtomicUsize>) {
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let backend = Backend::http1(move |request: Request<hyper::body::Incoming>| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let body = text(request.into_body()).await;
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(full(format!("{status}{body}"))).unwrap()
        }
    })
    .await;
    (backend, served)
}

/// Asks twice of a bad endpoint and a good one; what comes of it.
async fn statuses(on: RetryOn, bad: &Backend, good: &Backend, body: &'static str) -> Vec<String> {
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[bad.address, good.address], |forward, cluster| {
            forward.retry.on = on;
            forward.retry.status_codes = vec![418];
            forward.retry.back_off.max = std::time::Duration::from_millis(1);
            cluster.outliers.consecutive_5xx.threshold = 100;
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = Request::post("/").header("host", "web").body(full(body)).unwrap();
        answers.push(text(client.send(request).await.into_body()).await);
    }
    answers.sort();
    answers
}

#[tokio::test]
async fn responses_that_the_policy_names_are_tried_again_with_the_body() {
    for (on, status, headers) in [
        (RetryOn::STATUS_5XX, 500, &[][..]),
        (RetryOn::GATEWAY_ERROR, 502, &[]),
        (RetryOn::RETRIABLE_4XX, 409, &[]),
        (RetryOn::RETRIABLE_STATUS_CODES, 418, &[]),
        (RetryOn::ENVOY_RATELIMITED, 429, &[("x-envoy-ratelimited", "true")]),
    ] {
        let (bad, bad_count) = answering(status, headers).await;
        let (good, good_count) = answering(200, &[]).await;
        assert_eq!(statuses(on, &bad, &good, "body").await, ["200body", "200body"], "{status}");
        assert!(bad_count.load(Ordering::SeqCst) >= 1, "{status}");
        assert_eq!(good_count.load(Ordering::SeqCst), 2, "{status}");
        // The connection that the thrown away response came on was not given up.
        assert_eq!(bad.connections(), 1);
    }
}

#[tokio::test]
async fn responses_that_the_policy_does_not_name_are_passed_on() {
    let (bad, _) = answering(500, &[]).await;
    let (good, _) = answering(200, &[]).await;
    assert_eq!(statuses(RetryOn::GATEWAY_ERROR, &bad, &good, "").await, ["200", "500"]);
    let (bad, _) = answering(503, &[("x-envoy-overloaded", "true")]).await;
    assert_eq!(statuses(RetryOn::STATUS_5XX, &bad, &good, "").await, ["200", "503"]);
}

#[tokio::test]
async fn a_body_that_is_too_long_to_be_kept_is_sent_once() {
    let (bad, count) = answering(503, &[]).await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[bad.address], |forward, _| {
            forward.retry.on = RetryOn::STATUS_5XX;
            forward.retry.body_bytes_max = 8;
            forward.retry.back_off.max = std::time::Duration::from_millis(1);
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for (parts, tries) in [(&["1234", "5678"][..], 2), (&["1234", "56789"], 1), (&["123456789"], 1)]
    {
        let (sender, body) = channel();
        for part in parts {
            sender.send(Frame::data((*part).into())).await.unwrap();
        }
        drop(sender);
        let request = Request::post("/").header("host", "web").body(body).unwrap();
        let response = client.send(request).await;
        assert_eq!(text(response.into_body()).await, format!("503{}", parts.concat()));
        assert_eq!(count.swap(0, Ordering::SeqCst), tries, "{parts:?}");
    }
}

#[tokio::test]
async fn a_grpc_status_in_the_head_is_tried_again() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let web = Backend::http2(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let status = if number == 0 { "14" } else { "0" };
            Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", status)
                .body(empty())
                .unwrap()
        }
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, cluster| {
            cluster.protocol = UpstreamProtocol::Http2;
            forward.retry.on = RetryOn::GRPC_UNAVAILABLE;
            forward.retry.back_off.max = std::time::Duration::from_millis(1);
        })
        .start();
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    let request = Request::post("http://web/a.B/C")
        .header("content-type", "application/grpc")
        .body(full("message"))
        .unwrap();
    assert_eq!(client.send(request).await.headers()["grpc-status"], "0");
    assert_eq!(served.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn retries_are_counted() {
    let (bad, count) = answering(503, &[]).await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[bad.address], |forward, _| {
            forward.retry.on = RetryOn::STATUS_5XX;
            forward.retry.retries_max = 3;
            forward.retry.back_off.max = std::time::Duration::from_millis(1);
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 503);
    assert_eq!(count.load(Ordering::SeqCst), 4);
    for (name, expected) in [
        ("upstream_rq_retry", 3),
        ("upstream_rq_retry_success", 0),
        ("upstream_rq_retry_limit_exceeded", 1),
        ("upstream_rq_retry_backoff_exponential", 3),
        ("upstream_rq_total", 1),
    ] {
        assert_eq!(stat(&proxy, &format!("cluster.web/.{name}")), expected, "{name}");
    }
}
