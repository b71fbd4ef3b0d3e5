//! Faults on purpose and adaptive concurrency.

use std::time::{Duration, Instant};

use proxy_config::{
    AbortWith, AdaptiveConcurrency, Fault, FaultAbort, FaultDelay, FilterSetting, HeaderMatch,
    ValueMatch,
};

use super::support::{Backend, Client, Setup, slow, text};

const ALL: u32 = 1_000_000;

fn abort(with: AbortWith) -> FilterSetting<Fault> {
    let abort = Some(FaultAbort { with, per_million: ALL });
    FilterSetting::On(Fault { abort, ..Fault::default() })
}

#[tokio::test]
async fn requests_are_refused_on_purpose() {
    let web = Backend::text("web").await;
    let proxy = Setup::new()
        .listener("in")
        .route("web", "/http", &[web.address])
        .last_route(|route| route.filters.fault = abort(AbortWith::Status(418)))
        .route("web", "/grpc", &[web.address])
        .last_route(|route| route.filters.fault = abort(AbortWith::Grpc(8)))
        .route("web", "/header", &[web.address])
        .last_route(|route| route.filters.fault = abort(AbortWith::Header))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/http").await, (418, "fault filter abort".to_owned()));
    let grpc = [("content-type", "application/grpc")];
    let response = client.ask("POST", "/grpc", &grpc).await;
    assert_eq!(response.headers()["grpc-status"], "8");
    assert_eq!(client.get("web", "/header").await.0, 200);
    assert_eq!(web.connections(), 1);
    let sum: u64 =
        [0, 1].iter().map(|it| proxy.stats().http("in", *it).fault_aborts_injected.get()).sum();
    assert_eq!(sum, 2);
}

#[tokio::test]
async fn a_fault_hits_only_the_requests_that_it_is_for() {
    let web = Backend::text("web").await;
    let header = HeaderMatch {
        name: "x-test".to_owned(),
        value: ValueMatch::exact("1"),
        invert: false,
        missing_as_empty: false,
    };
    let proxy = Setup::new()
        .listener("in")
        .route("web", "/", &[web.address])
        .last_route(|route| {
            let abort = Some(FaultAbort { with: AbortWith::Status(500), per_million: ALL });
            let headers = vec![header];
            route.filters.fault = FilterSetting::On(Fault { abort, headers, ..Fault::default() });
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get_with(&[]).await.status(), 200);
    assert_eq!(client.get_with(&[("x-test", "1")]).await.status(), 500);
}

#[tokio::test]
async fn a_delay_comes_before_the_time_limit_of_the_request_begins() {
    const DELAY: Duration = Duration::from_millis(300);
    let web = Backend::text("web").await;
    let proxy = Setup::new()
        .listener("in")
        .route_with("web", "/", &[web.address], |forward, _| {
            forward.timeout = DELAY.mul_f32(0.9);
        })
        .last_route(|route| {
            let delay = Some(FaultDelay { fixed: Some(DELAY), per_million: ALL });
            route.filters.fault = FilterSetting::On(Fault { delay, ..Fault::default() });
        })
        .start();
    let began = Instant::now();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 200);
    assert!(began.elapsed() >= DELAY);
}

#[tokio::test]
async fn requests_beyond_what_the_endpoints_can_bear_are_refused() {
    let (backend, go_on) = slow().await;
    let proxy = Setup::new()
        .listener("in")
        .route("web", "/", &[backend.address])
        .last_route(|route| {
            route.filters.adaptive_concurrency = FilterSetting::On(AdaptiveConcurrency {
                sample_percentile: 50,
                update_interval: Duration::from_secs(1),
                concurrency_max: 1,
                min_rtt_interval: Duration::from_secs(60),
                min_rtt_requests: 50,
                min_rtt_jitter_percent: 0,
                concurrency_min: 1,
                buffer_percent: 25,
                status: 503,
            });
        })
        .start();
    let address = proxy.local_addr("in").unwrap();
    let mut first = Client::http1(address).await;
    let response = first.get_with(&[]).await;
    let mut second = Client::http1(address).await;
    assert_eq!(second.get("web", "/").await, (503, "reached concurrency limit".to_owned()));
    go_on.notify_one();
    assert_eq!(text(response.into_body()).await, "begin end");
    assert_eq!(second.get_with(&[]).await.status(), 200, "there is room again");
}
