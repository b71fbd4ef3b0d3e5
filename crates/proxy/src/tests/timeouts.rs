use std::time::Duration;

use http::{Request, Response};
use http_body::Frame;
use proxy_config::{Forward, HttpListener, RetryOn};

use super::support::{Backend, Client, Setup, TestBody, channel, empty, full, soon, stat, text};

/// Never answers.
async fn silent() -> Backend {
    Backend::http1(|_| std::future::pending::<Response<TestBody>>()).await
}

/// Answers with a header of the request.
async fn told(name: &'static str) -> Backend {
    Backend::http1(move |request: Request<hyper::body::Incoming>| async move {
        let told = request.headers().get(name).map_or("-", |it| it.to_str().unwrap());
        Response::new(full(told.to_owned()))
    })
    .await
}

/// Clients are in the mesh, and believed.
fn trusted(http: &mut HttpListener) {
    http.client_address.is_edge = false;
}

fn get(headers: &[(&str, &str)]) -> Request<TestBody> {
    let mut request = Request::get("/").header("host", "web");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(empty()).unwrap()
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_followed_by_another_and_the_last_is_504() {
    let (silent, web) = (silent().await, Backend::text("web").await);
    let limited = |forward: &mut Forward| {
        forward.retry.on = RetryOn::GATEWAY_ERROR;
        forward.retry.per_try_timeout = Duration::from_millis(20);
        forward.retry.back_off.max = Duration::from_millis(1);
    };
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[silent.address, web.address], |forward, _| limited(forward))
        .route_with("never", "/", &[silent.address], |forward, _| limited(forward))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for _ in 0..2 {
        assert_eq!(client.get("web", "/").await, (200, "web".to_owned()));
    }
    assert!(stat(&proxy, "cluster.web/.upstream_rq_per_try_timeout") >= 1);
    assert_eq!(client.get("never", "/").await, (504, "upstream request timeout".to_owned()));
    assert_eq!(stat(&proxy, "cluster.never/.upstream_rq_per_try_timeout"), 2);
    assert_eq!(stat(&proxy, "cluster.never/.upstream_rq_retry_limit_exceeded"), 1);
}

#[tokio::test]
async fn the_limit_of_all_tries_holds_over_their_back_offs() {
    let web = Backend::http1(|_| async {
        Response::builder().status(503).header("retry-after", "3").body(full("busy")).unwrap()
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| {
            forward.timeout = Duration::from_secs(2);
            forward.retry.on = RetryOn::STATUS_5XX;
            forward.retry.retries_max = 3;
            forward.retry.rate_limited_back_off = Some(proxy_config::RateLimitedBackOff {
                headers: vec![proxy_config::ResetHeader {
                    name: "retry-after".to_owned(),
                    is_unix_time: false,
                }],
                max: Duration::from_secs(300),
            });
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    // No try begins after the time is up, so there is nothing to wait for.
    assert_eq!(client.get("web", "/").await, (503, "busy".to_owned()));
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_retry"), 0);
}

#[tokio::test]
async fn headers_of_clients_in_the_mesh_set_the_limit_and_others_do_not() {
    let silent = silent().await;
    let web = told("x-envoy-expected-rq-timeout-ms").await;
    for (is_trusted, expected) in [(true, "777"), (false, "15000")] {
        let proxy = Setup::new()
            .http_listener("in", |http| {
                http.client_address.is_edge = !is_trusted;
            })
            .route_with("web", "/", &[web.address], |forward, _| {
                forward.timeout = Duration::from_secs(15);
            })
            .start();
        let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
        let response = client.send(get(&[("x-envoy-upstream-rq-timeout-ms", "777")])).await;
        assert_eq!(text(response.into_body()).await, expected);
    }
    let proxy =
        Setup::new().http_listener("in", trusted).route("web", "/", &[silent.address]).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let response = client.send(get(&[("x-envoy-upstream-rq-timeout-ms", "10")])).await;
    assert_eq!(response.status(), 504);
}

#[tokio::test]
async fn a_client_in_the_mesh_may_ask_for_retries() {
    let web = told("x-envoy-attempt-count").await;
    let busy =
        Backend::http1(|_| async { Response::builder().status(503).body(full("busy")).unwrap() })
            .await;
    let proxy = Setup::new()
        .http_listener("in", trusted)
        .route_with("web", "/", &[busy.address, web.address], |forward, _| {
            forward.retry = proxy_config::RetryPolicy::none();
            forward.attempt_count_in_request = true;
            forward.attempt_count_in_response = true;
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let mut attempts = Vec::new();
    for _ in 0..2 {
        let response = client.send(get(&[("x-envoy-retry-on", "5xx")])).await;
        assert_eq!(response.status(), 200);
        let count = response.headers()["x-envoy-attempt-count"].to_str().unwrap().to_owned();
        assert_eq!(text(response.into_body()).await, count);
        attempts.push(count);
    }
    // Whose turn it is decides whether the busy one is asked first.
    assert!(attempts.iter().any(|it| it == "2"), "{attempts:?}");
}

#[tokio::test]
async fn grpc_timeout_holds_up_to_the_routes_bound() {
    let silent = Backend::http2(|_| std::future::pending::<Response<TestBody>>()).await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[silent.address], |forward, cluster| {
            cluster.protocol = proxy_config::UpstreamProtocol::Http2;
            forward.grpc_timeout_max = Some(Duration::from_secs(600));
        })
        .start();
    let mut client = Client::http2(proxy.local_addr("in").unwrap()).await;
    let request = Request::post("http://web/a.B/C")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "10m")
        .body(empty())
        .unwrap();
    let response = client.send(request).await;
    assert_eq!(response.headers()["grpc-status"], "4");
}

#[tokio::test]
async fn a_stream_ends_when_it_has_lasted_long_enough() {
    let web = Backend::http1(|_| async {
        let (sender, body) = channel();
        tokio::spawn(async move {
            sender.send(Frame::data("begin".into())).await.unwrap();
            sender.closed().await;
        });
        Response::new(body)
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| {
            forward.stream_duration_max = Some(Duration::from_millis(50));
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let response = client.send(get(&[])).await;
    assert_eq!(response.status(), 200);
    let read = soon(http_body_util::BodyExt::collect(response.into_body())).await;
    assert!(read.is_err());
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let web = Backend::http1(|request: Request<hyper::body::Incoming>| async move {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        Response::new(full("web"))
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| forward.body_bytes_max = 10)
        .start();
    let address = proxy.local_addr("in").unwrap();
    let post = |body| Request::post("/").header("host", "web").body(body).unwrap();
    for (body, status) in [("0123456789", 200), ("0123456789a", 413)] {
        let mut client = Client::http1(address).await;
        assert_eq!(client.send(post(full(body))).await.status(), status);
        // Without a length it is found out on the way.
        let mut client = Client::http1(address).await;
        let (sender, chunks) = channel();
        sender.send(Frame::data(body.into())).await.unwrap();
        drop(sender);
        assert_eq!(client.send(post(chunks)).await.status(), status);
    }
}

#[tokio::test]
async fn a_try_that_stands_still_after_its_head_ends_the_response() {
    let web = Backend::http1(|_| async {
        let (sender, body) = channel();
        tokio::spawn(async move {
            sender.send(Frame::data("begin".into())).await.unwrap();
            sender.closed().await;
        });
        Response::new(body)
    })
    .await;
    let silent = silent().await;
    let still = |forward: &mut Forward| {
        forward.retry.per_try_idle_timeout = Duration::from_millis(50);
    };
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| still(forward))
        .route_with("never", "/", &[silent.address], |forward, _| still(forward))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("never", "/").await.0, 504);
    let response = client.send(get(&[])).await;
    assert_eq!(response.status(), 200);
    assert!(soon(http_body_util::BodyExt::collect(response.into_body())).await.is_err());
}

#[tokio::test]
async fn failure_rates_are_looked_at_without_a_request_that_fails() {
    let bad =
        Backend::http1(|_| async { Response::builder().status(500).body(full("bad")).unwrap() })
            .await;
    let webs = [Backend::text("a").await, Backend::text("b").await];
    let addresses = [bad.address, webs[0].address, webs[1].address];
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &addresses, |_, cluster| {
            cluster.outliers.consecutive_5xx.threshold = 0;
            cluster.outliers.interval = Duration::from_millis(1);
            cluster.outliers.ejection_base = Duration::from_secs(60);
            cluster.outliers.ejection_max = Duration::from_secs(60);
            cluster.outliers.failure_percentage = Some(proxy_config::FailurePercentage {
                threshold_percent: 50,
                endpoints_min: 2,
                requests_min: 1,
                enforcing_percent: 100,
            });
        })
        .start();
    let mut evidence = proxy.evidence().unwrap();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let seen = soon(async {
        loop {
            client.get("web", "/").await;
            if let Ok(seen) = evidence.try_recv() {
                return seen;
            }
        }
    })
    .await;
    assert_eq!(seen.kind, traffic::EvidenceKind::FailurePercentage);
    assert_eq!(seen.endpoint, format!("node/{}", bad.address));
}
