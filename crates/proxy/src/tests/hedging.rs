use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use proxy_config::{Forward, RetryOn};
use tokio::sync::Notify;

use super::support::{Backend, Client, Setup, empty, full, soon, stat, text};

/// The first request waits until it is told to go on, or its connection ends; the others are answered at once.
async fn slow_at_first() -> (Backend, Arc<Notify>, Arc<AtomicUsize>) {
    let (go_on, seen) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (wait, count) = (go_on.clone(), seen.clone());
    let backend = Backend::http1(move |_| {
        let (wait, number) = (wait.clone(), count.fetch_add(1, Ordering::SeqCst));
        async move {
            if number == 0 {
                wait.notified().await;
                return Response::new(full("slow"));
            }
            Response::new(full("fast"))
        }
    })
    .await;
    (backend, go_on, seen)
}

fn hedges(forward: &mut Forward) {
    forward.retry.on = RetryOn::STATUS_5XX;
    forward.retry.per_try_timeout = Duration::from_millis(20);
    forward.retry.back_off.base = Duration::from_millis(1);
    forward.retry.back_off.max = Duration::from_millis(1);
    forward.hedging.on_per_try_timeout = true;
}

#[tokio::test]
async fn the_first_good_response_wins_and_the_slow_try_is_broken_off() {
    let (web, _go_on, seen) = slow_at_first().await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| hedges(forward))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await, (200, "fast".to_owned()));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_per_try_timeout"), 1);
    assert_eq!(stat(&proxy, "cluster.web/.upstream_rq_retry"), 1);
    // The connection of the try that lost is gone, the other one is used again.
    assert_eq!(client.get("web", "/").await.1, "fast");
    assert_eq!(web.connections(), 2);
}

#[tokio::test]
async fn a_slow_try_still_wins_when_the_one_beside_it_fails() {
    let go_on = Arc::new(Notify::new());
    let (wait, count) = (go_on.clone(), Arc::new(AtomicUsize::new(0)));
    let web = Backend::http1(move |_| {
        let (wait, number) = (wait.clone(), count.fetch_add(1, Ordering::SeqCst));
        async move {
            if number == 0 {
                wait.notified().await;
                return Response::new(full("slow"));
            }
            wait.notify_one();
            Response::builder().status(500).body(full("bad")).unwrap()
        }
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| hedges(forward))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await, (200, "slow".to_owned()));
}

#[tokio::test]
async fn a_body_is_sent_to_both() {
    let (bodies, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let count = Arc::new(AtomicUsize::new(0));
    let web = Backend::http1(move |request: Request<hyper::body::Incoming>| {
        let (bodies, number) = (bodies.clone(), count.fetch_add(1, Ordering::SeqCst));
        async move {
            bodies.send(text(request.into_body()).await).unwrap();
            if number == 0 {
                std::future::pending::<()>().await;
            }
            Response::new(full("done"))
        }
    })
    .await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| hedges(forward))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let request = Request::post("/").header("host", "web").body(full("body")).unwrap();
    assert_eq!(client.send(request).await.status(), 200);
    for _ in 0..2 {
        assert_eq!(soon(sent.recv()).await.unwrap(), "body");
    }
}

#[tokio::test]
async fn without_tries_left_the_slow_one_is_waited_for() {
    let (web, go_on, seen) = slow_at_first().await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| {
            hedges(forward);
            // Between the limit of a try and this no other try is made.
            forward.retry.retries_max = 0;
            forward.timeout = Duration::from_secs(10);
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    go_on.notify_one();
    let request = Request::get("/").header("host", "web").body(empty()).unwrap();
    let response = client.send(request).await;
    assert_eq!(text(response.into_body()).await, "slow");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}
