use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use proxy_config::{RetryOn, RoutingPriority};
use tokio::sync::{Notify, mpsc};

use super::support::{Backend, Client, Setup, empty, full, soon, stat, text};

/// Holds each request until it is told to answer one; says when one has come.
async fn held() -> (Backend, mpsc::UnboundedReceiver<()>, Arc<Notify>) {
    let (came, comes) = mpsc::unbounded_channel();
    let answer = Arc::new(Notify::new());
    let wait = answer.clone();
    let backend = Backend::http1(move |_| {
        let (came, wait) = (came.clone(), wait.clone());
        async move {
            let _ = came.send(());
            wait.notified().await;
            Response::new(full("held"))
        }
    })
    .await;
    (backend, comes, answer)
}

fn get() -> Request<super::support::TestBody> {
    Request::get("/").header("host", "web").body(empty()).unwrap()
}

#[tokio::test]
async fn a_request_too_many_is_refused_and_the_next_one_is_not() {
    let (web, mut comes, answer) = held().await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, cluster| {
            cluster.breakers.requests_max = 1;
            forward.retry.on = RetryOn::STATUS_5XX;
            forward.retry.retries_max = 5;
        })
        .start();
    let address = proxy.local_addr("in").unwrap();
    let (mut first, mut second) = (Client::http1(address).await, Client::http1(address).await);
    let under_way = tokio::spawn(async move { (first.get("web", "/").await, first) });
    soon(comes.recv()).await.unwrap();
    assert_eq!(stat(&proxy, "cluster.web/.circuit_breakers.default.rq_open"), 1);
    assert_eq!(stat(&proxy, "cluster.web/.circuit_breakers.default.remaining_rq"), 0);
    let refused = second.send(get()).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["x-envoy-overloaded"], "true");
    assert!(text(refused.into_body()).await.ends_with("reset reason: overflow"));
    answer.notify_one();
    assert_eq!(soon(under_way).await.unwrap().0, (200, "held".to_owned()));
    answer.notify_one();
    assert_eq!(second.get("web", "/").await.0, 200);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_pending_overflow"), 1);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_retry"), 0);
    assert_eq!(stat(&proxy, "cluster.web/.circuit_breakers.default.rq_open"), 0);
}

#[tokio::test]
async fn requests_of_high_priority_have_breakers_of_their_own() {
    let web = Backend::text("web").await;
    let change = |priority| {
        move |forward: &mut proxy_config::Forward, cluster: &mut proxy_config::Cluster| {
            cluster.breakers.requests_max = 0;
            forward.priority = priority;
        }
    };
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], change(RoutingPriority::Default))
        .route_with("high", "/", &[web.address], change(RoutingPriority::High))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 503);
    assert_eq!(client.get("high", "/").await.0, 200);
}

#[tokio::test]
async fn only_so_many_wait_for_a_connection() {
    let (web, mut comes, answer) = held().await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |_, cluster| {
            cluster.breakers.connections_max = 1;
            cluster.breakers.pending_max = 1;
        })
        .start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    let mut first = Client::http1(address).await;
    let first = tokio::spawn(async move { first.get("web", "/").await });
    soon(comes.recv()).await.unwrap();
    let mut second = Client::http1(address).await;
    let second = tokio::spawn(async move { second.get("web", "/").await });
    let open = "cluster.web/.circuit_breakers.default.rq_pending_open";
    soon(async {
        while stat(&proxy, open) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut third = Client::http1(address).await;
    assert_eq!(third.get("web", "/").await.0, 503);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_pending_overflow"), 1);
    assert!(stat(&proxy, "cluster.web/.upstream_cx_overflow") >= 1);
    answer.notify_one();
    assert_eq!(soon(first).await.unwrap().0, 200);
    soon(comes.recv()).await.unwrap();
    answer.notify_one();
    assert_eq!(soon(second).await.unwrap().0, 200);
    assert_eq!(web.connections(), 1);
}

#[tokio::test]
async fn retries_beyond_the_breaker_are_not_made() {
    let count = Arc::new(AtomicUsize::new(0));
    let served = count.clone();
    let web = Backend::http1(move |_| {
        served.fetch_add(1, Ordering::SeqCst);
        async { Response::builder().status(503).body(full("busy")).unwrap() }
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, cluster| {
            cluster.retry_budget = None;
            cluster.breakers.retries_max = 0;
            forward.retry.on = RetryOn::STATUS_5XX;
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    // The answer is what there was.
    assert_eq!(client.get("web", "/").await, (503, "busy".to_owned()));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_retry_overflow"), 1);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_pending_overflow"), 0);
}

#[tokio::test]
async fn a_connection_ends_after_its_requests() {
    let web = Backend::text("web").await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |_, cluster| {
            cluster.requests_per_connection_max = 2;
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for _ in 0..6 {
        assert_eq!(client.get("web", "/").await.0, 200);
    }
    assert_eq!(web.connections(), 3);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_cx_max_requests"), 3);
}
