//! Who asks, and what is believed of what clients say about that.

use proxy_config::{HeaderChange, HttpListener};

use super::support::{Backend, Client, Setup, text};

/// What an endpoint sees of a request with these headers.
async fn seen(change: impl FnOnce(&mut HttpListener), headers: &[(&str, &str)]) -> String {
    let echo = Backend::echo().await;
    let proxy = Setup::new()
        .http_listener("in", |http| {
            http.client_address.is_edge = false;
            change(http);
        })
        .route("web", "/", &[echo.address])
        .last_route(|route| {
            let remote = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%".to_owned();
            route.headers.request = vec![HeaderChange::Overwrite("x-remote".to_owned(), remote)];
        })
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    text(client.get_with(headers).await.into_body()).await
}

fn has(seen: &str, lines: &[&str]) {
    for line in lines {
        assert!(seen.lines().any(|it| it == *line), "{line:?} in {seen}");
    }
}

fn lacks(seen: &str, names: &[&str]) {
    for name in names {
        assert!(!seen.lines().any(|it| it.starts_with(&format!("{name}:"))), "{name} in {seen}");
    }
}

const LIES: &[(&str, &str)] = &[
    ("x-envoy-peer-metadata-id", "5xx"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-client-cert", "By=admin"),
];

#[tokio::test]
async fn a_client_of_a_private_network_is_internal_and_believed() {
    let seen = seen(|_| {}, LIES).await;
    has(
        &seen,
        &["x-envoy-internal: true", "x-envoy-peer-metadata-id: 5xx", "x-forwarded-proto: https"],
    );
    has(&seen, &["x-forwarded-port: 443", "x-forwarded-for: 127.0.0.1", "x-remote: 127.0.0.1"]);
    lacks(&seen, &["x-forwarded-client-cert", "x-envoy-external-address"]);
}

#[tokio::test]
async fn at_an_edge_nobody_is_believed() {
    let seen = seen(|http| http.client_address.is_edge = true, LIES).await;
    has(&seen, &["x-forwarded-proto: http"]);
    let lies = ["x-envoy-internal", "x-envoy-peer-metadata-id", "x-forwarded-port"];
    lacks(&seen, &lies);
    lacks(&seen, &["x-forwarded-client-cert"]);
}

#[tokio::test]
async fn a_request_that_came_through_others_is_not_internal() {
    let headers = [("x-forwarded-for", "10.0.0.1"), ("x-envoy-peer-metadata-id", "5xx")];
    let seen = seen(|_| {}, &headers).await;
    has(&seen, &["x-forwarded-for: 10.0.0.1, 127.0.0.1", "x-remote: 127.0.0.1"]);
    lacks(&seen, &["x-envoy-internal", "x-envoy-peer-metadata-id"]);
}

#[tokio::test]
async fn as_many_proxies_are_believed_as_are_trusted() {
    let headers = [("x-forwarded-for", "6.6.6.6, 8.8.8.8, 10.0.0.1")];
    let seen = seen(|http| http.client_address.trusted_hops = 2, &headers).await;
    has(&seen, &["x-remote: 8.8.8.8", "x-envoy-external-address: 8.8.8.8"]);
    has(&seen, &["x-forwarded-for: 6.6.6.6, 8.8.8.8, 10.0.0.1, 127.0.0.1"]);
}

#[tokio::test]
async fn the_trail_stays_as_it_is_where_that_is_asked_for() {
    let headers = [("x-forwarded-for", "8.8.8.8")];
    let skipped = seen(|http| http.client_address.skip_append = true, &headers).await;
    has(&skipped, &["x-forwarded-for: 8.8.8.8", "x-remote: 127.0.0.1"]);
    let passed = seen(|http| http.client_address.use_remote_address = false, &headers).await;
    has(&passed, &["x-forwarded-for: 8.8.8.8", "x-remote: 8.8.8.8"]);
    lacks(&passed, &["x-envoy-internal"]);
    let internal = [("x-forwarded-for", "10.0.0.9")];
    let passed = seen(|http| http.client_address.use_remote_address = false, &internal).await;
    has(&passed, &["x-forwarded-for: 10.0.0.9", "x-envoy-internal: true"]);
}

#[tokio::test]
async fn a_client_cannot_take_away_what_the_proxy_says_of_it() {
    let headers = [("connection", "x-forwarded-for, x-envoy-internal, x-forwarded-proto")];
    let seen = seen(|_| {}, &headers).await;
    has(
        &seen,
        &["x-forwarded-for: 127.0.0.1", "x-envoy-internal: true", "x-forwarded-proto: http"],
    );
}

#[tokio::test]
async fn ids_of_requests_are_made_kept_and_replaced() {
    let id = [("x-request-id", "abc")];
    has(&seen(|_| {}, &id).await, &["x-request-id: abc"]);
    lacks(&seen(|http| http.request_id.generate = false, &[]).await, &["x-request-id"]);
    let edge = |http: &mut HttpListener| {
        http.client_address.is_edge = true;
        http.request_id.preserve_external = false;
    };
    let replaced = seen(edge, &id).await;
    assert!(replaced.contains("x-request-id: ") && !replaced.contains("abc"), "{replaced}");
}
