//! Requests of pages of other origins.

use proxy_config::{Cors, FilterSetting, ValueMatch};

use super::support::{Backend, Client, Setup};

fn cors() -> FilterSetting<Cors> {
    FilterSetting::On(Cors {
        allow_origins: vec![ValueMatch::exact("https://a.example")],
        allow_methods: "GET,PUT".to_owned(),
        ..Cors::default()
    })
}

#[tokio::test]
async fn a_preflight_is_answered_and_a_request_is_granted_what_the_route_says() {
    let web = Backend::text("web").await;
    let setup = Setup::new().listener("in").route("web", "/", &[web.address]);
    let proxy = setup.last_route(|route| route.filters.cors = cors()).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    let origin = ("origin", "https://a.example");
    let asked = ("access-control-request-method", "PUT");
    let response = client.ask("OPTIONS", "/", &[origin, asked]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://a.example");
    assert_eq!(response.headers()["access-control-allow-methods"], "GET,PUT");
    assert_eq!(web.connections(), 0, "the endpoint is not asked");
    let response = client.get_with(&[origin]).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "https://a.example");
    assert_eq!(response.headers()["vary"], "origin");
    let response = client.get_with(&[("origin", "https://b.example")]).await;
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    let response = client.get_with(&[]).await;
    assert!(!response.headers().contains_key("vary"));
}

#[tokio::test]
async fn pages_may_read_errors_of_the_proxy_and_a_route_may_take_the_rules_away() {
    let setup = Setup::new()
        .http_listener("in", |http| http.filters.cors = cors())
        .route("web", "/none", &[])
        .route("web", "/off", &[])
        .last_route(|route| route.filters.cors = FilterSetting::Off);
    let proxy = setup.start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for (path, status, is_granted) in
        [("/none", 503, true), ("/off", 503, false), ("/x", 404, true)]
    {
        let response = client.ask("GET", path, &[("origin", "https://a.example")]).await;
        assert_eq!(response.status(), status, "{path}");
        let granted = response.headers().contains_key("access-control-allow-origin");
        assert_eq!(granted, is_granted, "{path}");
    }
}
