//! The local rate limit.

use std::time::Duration;

use proxy_config::{FilterSetting, LocalRateLimit, RouteAction};

use super::support::{Client, Setup, text};

fn limit(tokens: u32) -> FilterSetting<LocalRateLimit> {
    FilterSetting::On(LocalRateLimit {
        tokens_max: tokens,
        tokens_per_fill: tokens,
        fill_interval: Duration::from_hours(1),
        status: 429,
        enabled_per_million: 1_000_000,
        enforced_per_million: 1_000_000,
        response_headers: vec![("x-limited".to_owned(), "yes".to_owned())],
        rate_limit_headers: true,
    })
}

fn here() -> RouteAction {
    RouteAction::Respond { status: 200, body: "here".to_owned() }
}

#[tokio::test]
async fn requests_over_the_rate_of_the_proxy_are_refused() {
    let setup = Setup::new()
        .http_listener("in", |http| http.filters.local_rate_limit = limit(2))
        .action("web", "/free", here())
        .last_route(|route| route.filters.local_rate_limit = FilterSetting::Off)
        .action("web", "/", here());
    let proxy = setup.start();
    let address = proxy.local_addr("in").unwrap();
    // Two workers share the bucket.
    let mut left = Vec::new();
    for _ in 0..2 {
        let response = Client::http1(address).await.get_with(&[]).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-ratelimit-limit"], "2");
        left.push(response.headers()["x-ratelimit-remaining"].to_str().unwrap().to_owned());
    }
    assert_eq!(left, ["1", "0"]);
    let mut client = Client::http1(address).await;
    let response = client.get_with(&[]).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["x-envoy-ratelimited"], "true");
    assert_eq!(response.headers()["x-limited"], "yes");
    let reset: u64 = response.headers()["x-ratelimit-reset"].to_str().unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&reset), "{reset}");
    assert_eq!(text(response.into_body()).await, "local_rate_limited");
    let grpc = [("content-type", "application/grpc")];
    let response = client.get_with(&grpc).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["grpc-status"]),
        (200, &"14".parse().unwrap())
    );
    assert_eq!(client.ask("GET", "/free", &[]).await.status(), 200, "/free is not limited");
    let sum = |read: fn(&crate::stats::HttpCounters) -> u64| -> u64 {
        [0, 1].iter().map(|worker| read(&proxy.stats().http("in", *worker))).sum()
    };
    assert_eq!(sum(|it| it.local_rate_limit_enabled.get()), 4);
    assert_eq!(sum(|it| it.local_rate_limit_ok.get()), 2);
    assert_eq!(sum(|it| it.local_rate_limit_enforced.get()), 2);
}

#[tokio::test]
async fn a_bucket_lives_through_changes_of_others_and_not_of_its_own() {
    let setup = |tokens: u32, body: &str| {
        Setup::new()
            .listener("in")
            .action("web", "/", RouteAction::Respond { status: 200, body: body.to_owned() })
            .last_route(|route| route.filters.local_rate_limit = limit(tokens))
    };
    let proxy = setup(1, "a").start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 200);
    proxy.update(setup(1, "b").config()).await.unwrap();
    assert_eq!(client.get("web", "/").await.0, 429, "the token is gone");
    proxy.update(setup(2, "b").config()).await.unwrap();
    assert_eq!(
        client.get("web", "/").await,
        (200, "b".to_owned()),
        "another limit, another bucket"
    );
}
